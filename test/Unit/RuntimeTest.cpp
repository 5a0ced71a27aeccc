// The launcher and what it stands on: mapped code, function table, threads, scratch, fork.
#include "Runtime/CpuLauncher.h"
#include "Runtime/FunctionTable.h"
#include "Runtime/GpuParts.h"
#include "Runtime/ImageMapping.h"
#include "Runtime/ThreadPool.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <doctest/doctest.h>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include <xmmintrin.h>

using namespace attnjit;
using namespace attnjit::runtime;

namespace {

/// Permissions of the mapping that holds an address, as in /proc/self/maps.
std::string permissionsAt(const void *address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::string permissions;
    std::istringstream(line) >> std::hex >> begin >> dash >> end >> permissions;
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    if (begin <= at && at < end)
      return permissions;
  }
  return "";
}

/// Parts of tiles: checks the order that KernelAbi.h promises to merges and to rounds.
struct SeenParts {
  std::int64_t tiles, parts, tilesPerHead;
  std::size_t stateBytes;
  std::vector<std::atomic<int>> unitRuns, mergeRuns;
  std::atomic<bool> cameEarly{false}, statesWrong{false};
  SeenParts(std::int64_t heads, std::int64_t tilesPerHead, std::int64_t parts, std::size_t stateBytes)
      : tiles(heads * tilesPerHead), parts(parts), tilesPerHead(tilesPerHead), stateBytes(stateBytes),
        unitRuns(static_cast<std::size_t>(tiles * parts)), mergeRuns(static_cast<std::size_t>(tiles)) {}

  unsigned char *state(const KernelArgs *args, std::int64_t unit) const {
    return static_cast<unsigned char *>(args->split.states) + static_cast<std::size_t>(unit) * stateBytes;
  }
  std::int64_t tileOf(std::int64_t unit) const { return unit / (parts * tilesPerHead) * tilesPerHead + unit % tilesPerHead; }
  /// What a unit leaves in its state.
  static int mark(std::int64_t unit, int round) { return static_cast<int>((unit + 100 * round) % 251); }
};
SeenParts *seenParts = nullptr;

void recordParts(const KernelArgs *args, std::int64_t begin, std::int64_t end, void *) {
  SeenParts &here = *seenParts;
  here.statesWrong = here.statesWrong || args->split.parts != here.parts || (here.parts > 1) != (args->split.states != nullptr) ||
                     reinterpret_cast<std::uintptr_t>(args->split.states) % 64 != 0;
  const std::int64_t units = here.tiles * here.parts, perRound = units + here.tiles;
  for (std::int64_t number = begin; number < end; ++number) {
    const int round = static_cast<int>(number / perRound);
    const std::int64_t unit = number % perRound;
    if (unit < units) {
      here.cameEarly = here.cameEarly || here.unitRuns[static_cast<std::size_t>(unit)]++ != round ||
                       here.mergeRuns[static_cast<std::size_t>(here.tileOf(unit))] != round;
      if (!args->split.states)
        continue;
      unsigned char *state = here.state(args, unit);
      here.statesWrong = here.statesWrong || (round > 0 && state[0] != SeenParts::mark(unit, round - 1));
      std::memset(state, SeenParts::mark(unit, round), here.stateBytes);
      continue;
    }
    const std::int64_t tile = unit - units, first = tile / here.tilesPerHead * here.parts * here.tilesPerHead + tile % here.tilesPerHead;
    here.cameEarly = here.cameEarly || here.mergeRuns[static_cast<std::size_t>(tile)]++ != round;
    for (std::int64_t part = 0; part < here.parts; ++part) {
      const std::int64_t of = first + part * here.tilesPerHead;
      const unsigned char *state = here.state(args, of);
      here.cameEarly = here.cameEarly || here.unitRuns[static_cast<std::size_t>(of)] != round + 1 ||
                       state[0] != SeenParts::mark(of, round) || state[here.stateBytes - 1] != SeenParts::mark(of, round);
    }
  }
}

struct Seen {
  std::mutex mutex;
  std::vector<int> tiles;
  std::set<std::thread::id> threads;
  std::set<void *> workspaces;
  std::atomic<bool> misaligned{false}, strangeEnvironment{false};
};
Seen *seen = nullptr;

void recordTiles(const KernelArgs *args, std::int64_t begin, std::int64_t end, void *workspace) {
  seen->misaligned = seen->misaligned || reinterpret_cast<std::uintptr_t>(workspace) % 64 != 0;
  seen->strangeEnvironment =
      seen->strangeEnvironment || (_mm_getcsr() & ~0x3fu) != 0x1f80 || !args->functions || *args->status != kStatusOk;
  std::lock_guard lock(seen->mutex);
  for (std::int64_t tile = begin; tile < end; ++tile)
    ++seen->tiles[static_cast<std::size_t>(tile)];
  seen->threads.insert(std::this_thread::get_id());
  seen->workspaces.insert(workspace);
}

} // namespace

TEST_CASE("mapped code runs and cannot be written") {
  // mov rax, rdx; ret after a byte that is no part of the function
  const std::vector<std::byte> code = {std::byte{0xcc}, std::byte{0xc6}, std::byte{0x01}, std::byte{0x2a},
                                       std::byte{0xc3}}; // int3; mov byte [rcx], 42; ret
  Result<std::shared_ptr<const ImageMapping>> mapping = ImageMapping::map(code, 1);
  REQUIRE(mapping);
  char workspace = 0;
  (*mapping)->entry()(nullptr, 0, 0, &workspace);
  CHECK(workspace == 42);
  CHECK(std::equal(code.begin(), code.end(), (*mapping)->code().begin(), (*mapping)->code().end()));
  CHECK(permissionsAt((*mapping)->code().data()) == "r-xp");
  const void *address = (*mapping)->code().data();
  *mapping = nullptr;
  CHECK(permissionsAt(address) != "r-xp");

  CHECK(!ImageMapping::map(code, 5));
  CHECK(!ImageMapping::map({}, 0));
}

TEST_CASE("the function table holds the C library's functions, in place") {
  const FunctionTable &table = functionTable();
  float x[3] = {0.5f, -1.0f, 2.0f};
  table.tanhF32(x, 2);
  CHECK(x[0] == std::tanh(0.5f));
  CHECK(x[1] == std::tanh(-1.0f));
  CHECK(x[2] == 2.0f);
  double a[2] = {2.0, 9.0}, b[2] = {3.0, 0.5};
  table.powF64(a, b, 2);
  CHECK(a[0] == 8.0);
  CHECK(a[1] == 3.0);
  double e = 1.0;
  table.erfcF64(&e, 1);
  CHECK(e == std::erfc(1.0));
  float m = 7.5f, n = 2.0f;
  table.fmodF32(&m, &n, 1);
  CHECK(m == 1.5f);
}

TEST_CASE("every tile is computed exactly once, whatever the shape and the number of threads") {
  CpuLauncher launcher({});
  for (auto [heads, perHead] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 1000}, {1000, 1}, {7, 13}, {64, 64}})
    for (int threads : {1, 2, 3, 16}) {
      CAPTURE(heads);
      CAPTURE(perHead);
      CAPTURE(threads);
      Seen here;
      seen = &here;
      here.tiles.resize(static_cast<std::size_t>(heads * perHead));
      Result<LaunchResult> result = launcher.launch(recordTiles, KernelArgs{}, {heads, perHead, 100, 1e12}, threads);
      REQUIRE(result);
      CHECK(result->status == kStatusOk);
      CHECK(here.tiles == std::vector<int>(here.tiles.size(), 1));
      CHECK(!here.misaligned);
      CHECK(!here.strangeEnvironment);
      CHECK(static_cast<int>(here.workspaces.size()) <= threads);
    }
}

TEST_CASE("every part is computed once a round, and every tile merged once, after its last part") {
  CpuLauncher launcher({});
  for (int rounds : {1, 2})
    for (auto [heads, perHead, parts] : {std::array<std::int64_t, 3>{1, 1, 2}, {1, 1, 100}, {40, 1, 3}, {5, 3, 7}, {3, 2, 1}})
      for (int threads : {1, 2, 3, 16}) {
        CAPTURE(rounds);
        CAPTURE(heads);
        CAPTURE(perHead);
        CAPTURE(parts);
        CAPTURE(threads);
        const int expected = parts > 1 ? rounds : 1;
        SeenParts here(heads, perHead, parts, 192);
        seenParts = &here;
        LaunchShape shape{heads, perHead, 100, 1e12};
        shape.keysPerPart = 512;
        shape.parts = parts;
        shape.stateBytes = 192;
        shape.rounds = expected;
        REQUIRE(launcher.launch(recordParts, KernelArgs{}, shape, threads));
        CHECK(std::all_of(here.unitRuns.begin(), here.unitRuns.end(), [&](int runs) { return runs == expected; }));
        CHECK(std::all_of(here.mergeRuns.begin(), here.mergeRuns.end(), [&](int runs) { return runs == (parts > 1 ? expected : 0); }));
        CHECK(!here.cameEarly);
        CHECK(!here.statesWrong);
      }
}

TEST_CASE("parts of keys: whole blocks, not too short, not too many") {
  for (std::int64_t keys : {0, 1, 511, 4096, 131072, 1 << 24})
    for (std::int64_t rows : {1, 4, 64, 512})
      for (std::int64_t block : {1, 48, 128}) {
        const std::int64_t part = keysPerPart(keys, rows, block);
        CHECK(part % block == 0);
        CHECK(part >= 512);
        CHECK((keys + part - 1) / part <= 128);
        CHECK((keys + part - 1) / part * rows <= std::max<std::int64_t>(1024, 8 * rows));
      }
  CHECK(keysPerPart(4096, 1, 128) == 512); // eight parts for the cores of one short sequence
}

TEST_CASE("parts on a GPU cover the keys, fill its multiprocessors and are few") {
  constexpr std::int64_t kBlock = 64, kMultiprocessors = 132;
  const auto parts = [&](std::int64_t keys, std::int64_t tiles) {
    const std::int64_t part = gpuKeysPerPart(keys, tiles, kBlock, kMultiprocessors);
    CHECK(part % kBlock == 0);
    CHECK(part >= kBlock);
    return std::max<std::int64_t>((keys + part - 1) / part, 1);
  };
  CHECK(parts(131072, 8) == 16); // 128 thread blocks
  CHECK(parts(8192, 8) == 16);
  CHECK(parts(2048, 32) == 4);
  CHECK(parts(8192, 128) == 1);  // full as it is
  CHECK(parts(4096, 1024) == 1); // four waves of 264, the last of 232
  CHECK(parts(131072, 270) > 1); // a second wave of six
  CHECK(parts(20000, 24) == 5);  // 120; with 144 a few multiprocessors would run two
  CHECK(parts(100000, 1000000) == 1);
  CHECK(parts(0, 8) == 1);
  CHECK(parts(1, 1) == 1);
  CHECK(parts(64 * 5, 1) <= 5);
  for (std::int64_t keys = 1; keys < 3000000; keys += keys / 3 + 1)
    for (std::int64_t tiles : {1, 2, 7, 64, 264, 265, 5000})
      CHECK(parts(keys, tiles) * tiles <= 4 * kMultiprocessors + tiles);
}

TEST_CASE("kernels run in the default float environment and the caller's comes back") {
  Seen here;
  seen = &here;
  here.tiles.resize(4);
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040 | 0x6000); // flush to zero, denormals are zero, round toward zero
  const unsigned changed = _mm_getcsr();
  Result<LaunchResult> result = CpuLauncher({}).launch(recordTiles, KernelArgs{}, {1, 4, 0, 0}, 1);
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  REQUIRE(result);
  CHECK(!here.strangeEnvironment);
  CHECK(after == changed);
}

TEST_CASE("tiny work wakes nobody") {
  Seen here;
  seen = &here;
  here.tiles.resize(100);
  int asked = 0;
  Hooks hooks;
  hooks.parallelFor = [&](int, const std::function<void(int)> &) { ++asked; };
  CpuLauncher launcher(hooks);
  Result<LaunchResult> result = launcher.launch(recordTiles, KernelArgs{}, {10, 10, 0, 1e5}, 8);
  REQUIRE(result);
  CHECK(result->workers == 1);
  CHECK(asked == 0);
  CHECK(here.threads == std::set{std::this_thread::get_id()});
  CHECK(here.tiles == std::vector<int>(100, 1));
}

TEST_CASE("status codes name their position") {
  KernelArgs args{};
  args.B = 3;
  args.Hq = 5;
  args.M = 7;
  args.N = 11;
  for (auto [b, h, q, kv] : {std::array<std::int64_t, 4>{0, 0, 0, 0}, {2, 4, 6, 10}, {1, 3, 0, 9}}) {
    const StatusPosition at = decodeStatus(((b * 5 + h) * 7 + q) * 11 + kv, args);
    CHECK(at.b == b);
    CHECK(at.h == h);
    CHECK(at.q == q);
    CHECK(at.kv == kv);
  }
}

TEST_CASE("a forked child computes with threads of its own") {
  std::atomic<int> ran{0};
  REQUIRE(parallelFor({}, 4, [&](int) { ++ran; }));
  CHECK(ran == 4);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(20); // a hang must not outlive the test
    std::atomic<int> inChild{0};
    std::mutex mutex;
    std::set<std::thread::id> threads;
    const bool ok = bool(parallelFor({}, 4, [&](int worker) {
      inChild += 1 << (8 * worker);
      std::lock_guard lock(mutex);
      threads.insert(std::this_thread::get_id());
    }));
    ::_exit(ok && inChild == 0x01010101 && threads.size() == 4 ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  REQUIRE(parallelFor({}, 4, [&](int) { ++ran; })); // the parent's pool still works
  CHECK(ran == 8);
}

TEST_CASE("at least one processor is usable") { CHECK(usableProcessors() >= 1); }
