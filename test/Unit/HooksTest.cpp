// What an embedder may replace, and what happens when its code misbehaves.
#include "Execute/EngineTestUtil.h"

#include <doctest/doctest.h>
#include <map>
#include <mutex>
#include <stdexcept>

using namespace attnjit;
using namespace attnjit::test;

namespace {

/// Enough work for several threads.
struct LargeOperands : Operands {
  LargeOperands() : Operands(1, 8, 8, 320, 256) {}
};

Result<ForwardReport> forwardWith(const ParallelForHook &hook, Operands &operands) {
  FakeCompiler compiler;
  EngineOptions options;
  options.threads = 4;
  options.hooks.parallelFor = hook;
  return makeEngine(compiler, options).forward(operands.call);
}

} // namespace

TEST_CASE("the threads hook runs the work, in any order, even one after the other") {
  LargeOperands expected, mine;
  expected.call.threads = 1;
  REQUIRE(forwardWith({}, expected));
  int asked = 0;
  Result<ForwardReport> report = forwardWith(
      [&](int workers, const std::function<void(int)> &body) {
        asked = workers;
        for (int worker = workers - 1; worker >= 0; --worker)
          body(worker);
      },
      mine);
  REQUIRE(report);
  CHECK(asked == 4);
  CHECK(report->workers == 4);
  CHECK(mine.out == expected.out);
}

TEST_CASE("a threads hook that breaks its promise is found out") {
  auto messageOf = [](const ParallelForHook &hook) {
    LargeOperands mine;
    Result<ForwardReport> report = forwardWith(hook, mine);
    return report ? std::string("no error") : report.error().message;
  };
  CHECK(contains(messageOf([](int, const std::function<void(int)> &) { throw std::runtime_error("pool is gone"); }), "pool is gone"));
  CHECK(contains(messageOf([](int, const std::function<void(int)> &) { throw 3; }), "threw an exception"));
  CHECK(contains(messageOf([](int, const std::function<void(int)> &) {}), "left out a worker"));
  CHECK(contains(messageOf([](int, const std::function<void(int)> &body) { body(0); }), "left out a worker"));
  CHECK(contains(messageOf([](int workers, const std::function<void(int)> &body) {
                   for (int i = 0; i <= workers; ++i)
                     body(i);
                 }),
                 "does not exist"));
  CHECK(contains(messageOf([](int workers, const std::function<void(int)> &body) {
                   for (int i = 0; i < workers; ++i)
                     body(i), body(i);
                 }),
                 "twice"));
}

TEST_CASE("scratch comes from the memory hook, aligned, reused and given back") {
  std::map<void *, std::size_t> live;
  std::mutex mutex;
  int allocations = 0;
  bool mismatched = false;
  {
    FakeCompiler compiler;
    EngineOptions options;
    options.threads = 4;
    options.hooks.memory.allocate = [&](std::size_t bytes, std::size_t alignment) {
      std::lock_guard lock(mutex);
      void *memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
      live[memory] = bytes;
      ++allocations;
      return memory;
    };
    options.hooks.memory.free = [&](void *memory, std::size_t bytes, std::size_t) {
      std::lock_guard lock(mutex);
      mismatched |= live[memory] != bytes;
      live.erase(memory);
      std::free(memory);
    };
    const Engine engine = makeEngine(compiler, options);
    LargeOperands mine;
    for (int i = 0; i < 5; ++i)
      REQUIRE(engine.forward(mine.call));
    CHECK(allocations == 4); // one per worker, for all five calls
    CHECK(live.size() == 4);
  }
  CHECK(live.empty());
  CHECK(!mismatched);
}

TEST_CASE("a memory hook that fails, throws or misaligns is an error of the call") {
  auto errorOf = [](std::function<void *(std::size_t, std::size_t)> allocate) {
    FakeCompiler compiler;
    EngineOptions options;
    options.hooks.memory = {std::move(allocate), [](void *, std::size_t, std::size_t) {}};
    Operands mine;
    Result<ForwardReport> report = makeEngine(compiler, options).forward(mine.call);
    return report ? Error{ErrorCode::Internal, "no error"} : report.error();
  };
  CHECK(contains(errorOf([](std::size_t, std::size_t) -> void * { return nullptr; }).message, "out of memory: the memory hook"));
  CHECK(contains(errorOf([](std::size_t, std::size_t) -> void * { throw std::runtime_error("no arena"); }).message, "no arena"));
  alignas(64) static char arena[1024];
  CHECK(contains(errorOf([](std::size_t, std::size_t) -> void * { return arena + 8; }).message, "not aligned to 64"));
}

TEST_CASE("a log hook hears of compilations and may throw") {
  FakeCompiler compiler;
  EngineOptions options;
  int lines = 0;
  options.hooks.log = [&](LogLevel, std::string_view line) {
    ++lines;
    CHECK(!contains(line, "\n"));
    throw std::runtime_error("disk full");
  };
  Operands mine;
  CHECK(makeEngine(compiler, options).forward(mine.call));
  CHECK(lines == 1);
}
