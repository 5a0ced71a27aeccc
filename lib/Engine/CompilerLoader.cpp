#include "Engine/CompilerLoader.h"

#include "Support/ForkMutex.h"

#include <cstdlib>
#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <memory>
#include <mutex>
#include <unistd.h>
#include <vector>

namespace attnjit::engine {

namespace {

constexpr std::string_view kLibrary = "libattnjit-compiler.so";
constexpr std::string_view kEntry = "attnjit_compiler_entry";

/// The directory of the object that holds this function: libattnjit.so, or the program when the library is linked in statically.
std::string ownDirectory() {
  Dl_info info;
  link_map *object = nullptr;
  if (::dladdr1(reinterpret_cast<const void *>(&ownDirectory), &info, reinterpret_cast<void **>(&object), RTLD_DL_LINKMAP) == 0)
    return ".";
  // The program itself has no name here, and dli_fname is what it was called as, which need not be a path.
  const char *name = *object->l_name ? object->l_name : "/proc/self/exe";
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(name, nullptr), &std::free);
  const std::string path = real ? real.get() : name;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

/// Where the compiler may lie, most specific wish first. A wish that was spelled out is not second-guessed.
std::vector<std::string> candidates(const std::string &option) {
  if (!option.empty())
    return {option};
  if (const char *named = std::getenv("ATTNJIT_COMPILER_LIBRARY"); named && *named)
    return {named};
  const std::string own = ownDirectory();
  return {fmt::format("{}/{}", own, kLibrary), fmt::format("{}/attnjit/{}", own, kLibrary), fmt::format("{}/../lib/{}", own, kLibrary)};
}

Result<compiler::CompilerInterface *> openCompiler(const std::string &path) {
  // RTLD_LAZY: of the 29 000 functions that MLIR's library and ours call by name a kernel needs a few; to find them all is a tenth of the
  // time until a new process has its first one (docs/performance.md). RTLD_LOCAL: its LLVM must not get in the way of another one in this
  // process. It is never closed: its threads and statics live on.
  void *library = ::dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (!library)
    return Error{ErrorCode::Unsupported, ::dlerror()};
  auto *entry = reinterpret_cast<decltype(&attnjit_compiler_entry)>(::dlsym(library, std::string(kEntry).c_str()));
  if (!entry)
    return Error{ErrorCode::Unsupported, fmt::format("{} is no attnjit compiler: it has no symbol {}", path, kEntry)};
  compiler::CompilerInterface *found = entry();
  if (found->buildId() != compiler::buildId())
    return Error{ErrorCode::Unsupported, fmt::format("{} is of build {}, this library of build {}; install both from one build", path,
                                                     found->buildId(), compiler::buildId())};
  return found;
}

Result<compiler::CompilerInterface *> loadCompiler(const std::string &option) {
  std::string tried;
  for (const std::string &path : candidates(option)) {
    const bool absent = ::access(path.c_str(), F_OK) != 0;
    Result<compiler::CompilerInterface *> found = absent ? Error{ErrorCode::Unsupported, "no such file"} : openCompiler(path);
    if (found)
      return found;
    tried += fmt::format("\n  {}: {}", path, found.error().message);
  }
  return Error{ErrorCode::Unsupported, fmt::format("this kernel is in no cache and there is no compiler to make it. Looked for:{}\nInstall "
                                                   "{} beside libattnjit.so, name it with EngineOptions::compilerLibrary "
                                                   "or $ATTNJIT_COMPILER_LIBRARY, or run saved images (Kernel::load).",
                                                   tried, kLibrary)};
}

/// What one engine has found; a failure is not kept, because the library may be installed meanwhile.
struct Found {
  ForkMutex mutex;
  compiler::CompilerInterface *compiler = nullptr;
};

} // namespace

CompilerSource findCompiler(std::string path) {
  return [path = std::move(path), found = std::make_shared<Found>()]() -> Result<compiler::CompilerInterface *> {
    std::lock_guard lock(found->mutex);
    if (!found->compiler) {
      Result<compiler::CompilerInterface *> loaded = loadCompiler(path);
      if (!loaded)
        return loaded;
      found->compiler = *loaded;
    }
    return found->compiler;
  };
}

} // namespace attnjit::engine
