#include "Runtime/Cuda/Driver.h"

#include <cstdlib>
#include <dlfcn.h>
#include <fmt/format.h>
#include <map>
#include <memory>
#include <mutex>

namespace attnjit::runtime {

namespace {

/// CUDA 12.0, whose PTX (8.0) kernels are written in.
constexpr int kOldestVersion = 12000;

std::string versionText(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

/// What an error of the driver means for a caller of attnjit.
struct Meaning {
  int status;
  ErrorCode code;
  std::string_view cure;
};
constexpr Meaning kMeanings[] = {
    {2, ErrorCode::Unsupported, "The GPU is out of memory: free some of it"},
    {3, ErrorCode::Unsupported, "This process was forked after CUDA was used in its parent; start GPU work in a process that was not"},
    {4, ErrorCode::Unsupported, "The process is ending, and the driver has ended already"},
    {100, ErrorCode::Unsupported, "The driver finds no GPU: look at nvidia-smi and at CUDA_VISIBLE_DEVICES"},
    {101, ErrorCode::InvalidArgument, "There is no such device: look at EngineOptions::device and CUDA_VISIBLE_DEVICES"},
    {201, ErrorCode::InvalidArgument, "The stream is of another context than the device's primary one, which is the one that attnjit uses"},
    {209, ErrorCode::Unsupported, "The kernel is for another GPU: compile for this one (target native-gpu)"},
    {218, ErrorCode::Unsupported, "The driver's assembler refuses the PTX"},
    {222, ErrorCode::Unsupported, "The driver is older than the PTX: install a newer one"},
    {400, ErrorCode::InvalidArgument, "The stream is none, or was destroyed"},
    {700, ErrorCode::Unsupported,
     "A kernel that ran before, not necessarily this one, touched memory that is not there: look at the sizes, strides and lifetimes of "
     "its "
     "operands. The device's context is lost, and with it this process's use of the GPU"},
    {701, ErrorCode::Unsupported, "The kernel needs more registers or shared memory than this GPU has: ask for smaller tiles"},
    {719, ErrorCode::Unsupported,
     "A kernel that ran before failed. The device's context is lost, and with it this process's use of the GPU"},
    {803, ErrorCode::Unsupported,
     "The driver's library and its kernel module are of two versions: restart the machine, or mend the container"},
    {900, ErrorCode::InvalidArgument, "The stream is being captured, where this cannot be done"},
    {901, ErrorCode::InvalidArgument, "The capture of the stream has failed already: end it and begin anew"},
};

const Meaning *meaningOf(int status) {
  for (const Meaning &meaning : kMeanings)
    if (meaning.status == status)
      return &meaning;
  return nullptr;
}

constexpr std::string_view kWithoutGpu = "Compiling for GPUs, and computing on the CPU (target native), work without.";

} // namespace

Result<void> CudaDriver::check(int status, std::string_view doing) const {
  if (status == cuda::kSuccess)
    return {};
  const char *name = nullptr, *text = nullptr;
  if (cuGetErrorName(status, &name) != cuda::kSuccess || !name)
    name = "an error without a name";
  if (cuGetErrorString(status, &text) != cuda::kSuccess || !text)
    text = "no description";
  const Meaning *meaning = meaningOf(status);
  return Error{meaning ? meaning->code : ErrorCode::Internal,
               fmt::format("{}: {} ({}, {}).{}", doing, name, status, text, meaning ? fmt::format(" {}.", meaning->cure) : "")};
}

Result<void> CudaDriver::load() {
  void *handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return Error{
        ErrorCode::Unsupported,
        fmt::format("there is no CUDA driver on this machine, which launching on a GPU needs: {}. Install NVIDIA's driver, or name "
                    "its library with $ATTNJIT_CUDA_LIBRARY. {}",
                    ::dlerror(), kWithoutGpu)};
  std::string missing;
#define ATTNJIT_CUDA_FUNCTION(NAME, PARAMETERS)                                                                                            \
  NAME = reinterpret_cast<decltype(NAME)>(::dlsym(handle, #NAME));                                                                         \
  if (!NAME && missing.empty())                                                                                                            \
    missing = #NAME;
#include "Runtime/Cuda/Functions.def"
  const bool answers = cuDriverGetVersion && cuDriverGetVersion(&versionNumber) == cuda::kSuccess;
  if (!missing.empty() || !answers || versionNumber < kOldestVersion)
    return Error{
        ErrorCode::Unsupported,
        fmt::format("the CUDA driver {} is too old{}: it serves CUDA {}, and launching needs {} or later. Install a newer driver. {}", path,
                    missing.empty() ? "" : fmt::format(" (it has no {})", missing), versionText(versionNumber), versionText(kOldestVersion),
                    kWithoutGpu)};
  if (Result<void> started = check(cuInit(0), "starting the CUDA driver"); !started)
    return Error{started.error().code, fmt::format("{} {}", started.error().message, kWithoutGpu)};
  return {};
}

Result<const CudaDriver *> CudaDriver::open(const std::string &library) {
  static std::mutex mutex;
  static auto &drivers = *new std::map<std::string, std::unique_ptr<CudaDriver>>; // outlives everything that could still call it
  const char *named = std::getenv("ATTNJIT_CUDA_LIBRARY");
  const std::string path = !library.empty() ? library : named && *named ? named : "libcuda.so.1";

  std::lock_guard lock(mutex);
  std::unique_ptr<CudaDriver> &slot = drivers[path];
  if (!slot) {
    std::unique_ptr<CudaDriver> driver(new CudaDriver(path));
    if (Result<void> loaded = driver->load(); !loaded) // not kept: a GPU may appear
      return loaded.error();
    slot = std::move(driver);
  }
  return slot.get();
}

} // namespace attnjit::runtime
