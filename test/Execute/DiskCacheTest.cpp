// The disk cache: whatever is wrong with a directory or an entry is a miss, never an error and never executed.
#include "EngineTestUtil.h"

#include <csignal>
#include <doctest/doctest.h>
#include <fstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

using namespace attnjit;
using namespace attnjit::test;
namespace fs = std::filesystem;

namespace {

struct Setup {
  TempDir temp;
  FakeCompiler compiler;
  std::vector<std::string> logged;

  EngineOptions options() {
    EngineOptions options;
    options.cacheDirectory = temp.file("cache");
    options.hooks.log = [this](LogLevel level, std::string_view line) {
      if (level == LogLevel::Warning)
        logged.emplace_back(line);
    };
    return options;
  }

  /// A fresh engine's way to the kernel, as a new process would go it.
  KernelSource run(EngineCounters *counters = nullptr) {
    Operands mine;
    const Engine engine = makeEngine(compiler, options());
    Result<ForwardReport> report = engine.forward(mine.call);
    REQUIRE(report);
    if (counters)
      *counters = engine.counters();
    return report->source;
  }

  fs::path entry() const {
    fs::path found;
    for (const auto &file : fs::directory_iterator(temp.file("cache"))) {
      REQUIRE(found.empty());
      found = file.path();
    }
    REQUIRE(!found.empty());
    return found;
  }
};

std::string slurp(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void spit(const fs::path &path, std::string_view bytes) { std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes; }

} // namespace

TEST_CASE("a second engine finds the kernel on disk and needs no compiler") {
  Setup setup;
  EngineCounters counters;
  CHECK(setup.run(&counters) == KernelSource::Compiled);
  CHECK(counters.diskWrites == 1);
  CHECK(setup.run(&counters) == KernelSource::Disk);
  CHECK(counters.diskHits == 1);
  CHECK(counters.compiles == 0);
  CHECK(setup.compiler.calls == 1);

  Operands mine;
  EngineOptions options = setup.options();
  Result<Engine> bare =
      engine::makeEngine(options, []() -> Result<compiler::CompilerInterface *> { return Error{ErrorCode::Unsupported, "none here"}; });
  REQUIRE(bare);
  REQUIRE(bare->forward(mine.call));
  mine.call.mod = parseMod("score + 1.0", "");
  Result<ForwardReport> missing = bare->forward(mine.call);
  REQUIRE(!missing);
  CHECK(missing.error().message == "none here");
}

TEST_CASE("the cache directory is private and holds only whole entries") {
  Setup setup;
  setup.run();
  struct stat info;
  REQUIRE(::stat(setup.temp.file("cache").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);
  REQUIRE(::stat(setup.entry().c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(setup.entry().extension() == ".attnjit");
}

TEST_CASE("truncated, flipped, foreign and other-build entries are misses and are replaced") {
  Setup setup;
  setup.run();
  const fs::path entry = setup.entry();
  const std::string whole = slurp(entry);
  auto expectRejected = [&](std::string_view what) {
    CAPTURE(what);
    EngineCounters counters;
    CHECK(setup.run(&counters) == KernelSource::Compiled);
    CHECK(counters.diskRejects == 1);
    CHECK(counters.diskWrites == 1);
    CHECK(slurp(entry) == whole); // mended
    CHECK(setup.run() == KernelSource::Disk);
  };

  for (std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{20}, whole.size() / 2, whole.size() - 1}) {
    spit(entry, whole.substr(0, length));
    expectRejected("truncated");
  }
  for (std::size_t at = 0; at < whole.size(); at += whole.size() / 9) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    spit(entry, flipped);
    expectRejected("bit flipped");
  }
  spit(entry, whole + "more");
  expectRejected("longer");
  spit(entry, "#!/bin/sh\n");
  expectRejected("another file");

  Result<KernelImage> image = deserialize(std::as_bytes(std::span(whole)));
  REQUIRE(image);
  auto store = [&](const KernelImage &changed) {
    const std::vector<std::byte> bytes = serialize(changed);
    spit(entry, {reinterpret_cast<const char *>(bytes.data()), bytes.size()});
  };
  KernelImage changed = *image;
  changed.meta.buildId = "another build";
  store(changed);
  expectRejected("another compiler's");
  changed = *image;
  changed.meta.problemText += " ";
  store(changed);
  expectRejected("another problem under the same name");

  fs::permissions(entry, fs::perms::all);
  expectRejected("writable by everybody");
  fs::remove(entry);
  const fs::path elsewhere = setup.temp.file("elsewhere");
  spit(elsewhere, whole);
  fs::create_symlink(elsewhere, entry);
  expectRejected("a symbolic link");
  fs::remove(entry);
  REQUIRE(::mkfifo(entry.c_str(), 0600) == 0);
  expectRejected("a pipe without a writer");
  if (::geteuid() == 0) {
    REQUIRE(::chown(entry.c_str(), 65534, 65534) == 0);
    expectRejected("another user's");
  }
}

TEST_CASE("a directory that cannot be trusted or used is worked without, with a warning") {
  auto expectWithout = [](Setup &setup, std::string_view reason) {
    CAPTURE(reason);
    EngineCounters counters;
    CHECK(setup.run(&counters) == KernelSource::Compiled);
    CHECK(setup.run(&counters) == KernelSource::Compiled);
    CHECK(counters.diskWrites == 0);
    REQUIRE(!setup.logged.empty());
    CHECK(contains(setup.logged.front(), reason));
  };
  SUBCASE("open to others") {
    Setup setup;
    fs::create_directory(setup.temp.file("cache"));
    fs::permissions(setup.temp.file("cache"), fs::perms::all);
    expectWithout(setup, "chmod 700");
  }
  SUBCASE("a file is in the way") {
    Setup setup;
    spit(setup.temp.file("cache"), "x");
    expectWithout(setup, "Not a directory");
  }
  SUBCASE("below a file") {
    Setup setup;
    EngineOptions options = setup.options();
    spit(setup.temp.file("plain"), "x");
    options.cacheDirectory = setup.temp.file("plain/cache");
    const Engine engine = makeEngine(setup.compiler, options);
    Operands mine;
    CHECK(engine.forward(mine.call));
    CHECK(engine.cacheDirectory().empty());
    CHECK(setup.logged.size() == 1);
  }
  SUBCASE("another user's") {
    if (::geteuid() != 0)
      return;
    Setup setup;
    fs::create_directory(setup.temp.file("cache"));
    fs::permissions(setup.temp.file("cache"), fs::perms::owner_all);
    REQUIRE(::chown(setup.temp.file("cache").c_str(), 65534, 65534) == 0);
    expectWithout(setup, "belongs to user 65534");
  }
}

TEST_CASE("a full disk leaves no entry, no rubbish and no error") {
  Setup setup;
  const Engine engine = makeEngine(setup.compiler, setup.options());
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{40, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &full) == 0);
  Operands mine;
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  REQUIRE(report);
  CHECK(engine.counters().diskWrites == 0);
  CHECK(fs::is_empty(setup.temp.file("cache")));
  REQUIRE(setup.logged.size() == 1);
  CHECK(contains(setup.logged.front(), "cannot be written"));
}

TEST_CASE("processes that write one entry at the same time leave a whole one") {
  Setup setup;
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int round = 0; round < 30; ++round) {
        Operands mine;
        mine.call.threads = 1;
        std::error_code ignored;
        if (round % 5 == i % 5)
          for (const auto &file : fs::directory_iterator(setup.temp.file("cache"), ignored))
            if (file.path().extension() == ".attnjit")
              fs::remove(file.path(), ignored);
        const Engine engine = makeEngine(setup.compiler, setup.options());
        if (!engine.forward(mine.call) || engine.counters().diskRejects != 0)
          ::_exit(1);
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  setup.run();
  CHECK(setup.run() == KernelSource::Disk);
}

TEST_CASE("the default directory follows the XDG rules") {
  ::setenv("XDG_CACHE_HOME", "/somewhere/cache", 1);
  CHECK(engine::DiskCache::defaultDirectory() == "/somewhere/cache/attnjit");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  ::setenv("HOME", "/home/of/test", 1);
  CHECK(engine::DiskCache::defaultDirectory() == "/home/of/test/.cache/attnjit");
  ::unsetenv("XDG_CACHE_HOME");
  ::unsetenv("HOME");
  CHECK(engine::DiskCache::defaultDirectory() == "");
}
