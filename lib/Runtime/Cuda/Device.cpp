#include "Runtime/Cuda/Device.h"

#include <array>
#include <bit>
#include <fmt/format.h>
#include <tuple>

namespace attnjit::runtime {

Result<CudaDevice *> CudaDevice::open(const std::string &library, int ordinal) {
  Result<const CudaDriver *> driver = CudaDriver::open(library);
  if (!driver)
    return driver.error();
  static std::mutex mutex;
  static auto &devices = *new std::map<std::tuple<const CudaDriver *, int>, std::unique_ptr<CudaDevice>>;
  std::lock_guard lock(mutex);
  std::unique_ptr<CudaDevice> &slot = devices[{*driver, ordinal}];
  if (!slot) {
    std::unique_ptr<CudaDevice> device(new CudaDevice(**driver, ordinal));
    if (Result<void> started = device->start(); !started)
      return started.error();
    slot = std::move(device);
  }
  return slot.get();
}

Result<void> CudaDevice::start() {
  int count = 0;
  if (Result<void> counted = driver.check(driver.cuDeviceGetCount(&count), "counting the GPUs"); !counted)
    return counted;
  if (ordinal < 0 || ordinal >= count)
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("EngineOptions::device: there is no GPU {}; the driver finds {}{}", ordinal, count,
                             count > 0 ? fmt::format(", numbered from 0 (of 0 to {})", count - 1) : ". Look at CUDA_VISIBLE_DEVICES")};
  std::array<char, 128> text{};
  int major = 0, minor = 0;
  const std::string doing = fmt::format("opening GPU {}", ordinal);
  for (const int status :
       {driver.cuDeviceGet(&device, ordinal), driver.cuDeviceGetName(text.data(), static_cast<int>(text.size()), device),
        driver.cuDeviceGetAttribute(&major, cuda::kComputeCapabilityMajor, device),
        driver.cuDeviceGetAttribute(&minor, cuda::kComputeCapabilityMinor, device),
        driver.cuDeviceGetAttribute(&processors, cuda::kMultiprocessorCount, device), driver.cuDevicePrimaryCtxRetain(&context, device)})
    if (Result<void> done = driver.check(status, doing); !done)
      return done;
  deviceName = text.data();
  capability = major * 10 + minor;
  return {};
}

Result<void> CudaDevice::enter() { return driver.check(driver.cuCtxPushCurrent_v2(context), "entering the GPU's context"); }

CudaDevice::Leave::~Leave() {
  CudaContext left = nullptr;
  device.driver.cuCtxPopCurrent_v2(&left);
}

Result<CudaFunction> CudaDevice::function(const GpuSource &source) {
  Loaded *loaded = nullptr;
  {
    std::lock_guard lock(mutex);
    std::unique_ptr<Loaded> &slot = functions[fmt::format("{}\n{}\n{}", source.entry, source.sharedBytes, source.ptx)];
    if (!slot)
      slot = std::make_unique<Loaded>();
    loaded = slot.get();
  }
  std::lock_guard lock(loaded->mutex);
  if (loaded->function)
    return loaded->function;
  OutsideCapture outside(driver);
  Result<CudaFunction> function = loadFunction(source);
  if (function)
    loaded->function = *function;
  return function;
}

/// By loading, not by the driver's linker: for that one a kernel is assembled as a part of a larger program, where setmaxnreg is ignored
/// and wgmma waits for itself (half of the speed on an H100, docs/performance.md).
Result<CudaModule> CudaDevice::assemble(const GpuSource &source) const {
  std::array<char, 8192> log{};
  std::array<int, 2> options = {cuda::kJitErrorLogBuffer, cuda::kJitErrorLogBufferBytes};
  std::array<void *, 2> values = {log.data(), std::bit_cast<void *>(log.size())};
  CudaModule module = nullptr;
  const int status = driver.cuModuleLoadDataEx(&module, source.ptx.c_str(), options.size(), options.data(), values.data());
  if (Result<void> done = driver.check(status, fmt::format("assembling {} for {}", source.name, deviceName)); !done)
    return Error{done.error().code, log[0] ? fmt::format("{}\n{}", done.error().message, log.data()) : done.error().message};
  return module;
}

Result<CudaFunction> CudaDevice::loadFunction(const GpuSource &source) const {
  Result<CudaModule> module = assemble(source);
  if (!module)
    return module.error();
  CudaFunction function = nullptr;
  Result<void> found = driver.check(driver.cuModuleGetFunction(&function, *module, source.entry.c_str()),
                                    fmt::format("loading {} onto {}", source.name, deviceName));
  if (found && source.sharedBytes > 0)
    found = driver.check(driver.cuFuncSetAttribute(function, cuda::kMaxDynamicSharedBytes, static_cast<int>(source.sharedBytes)),
                         fmt::format("asking for {} bytes of shared memory for {}", source.sharedBytes, source.name));
  if (found)
    return function;
  driver.cuModuleUnload(*module);
  return found.error();
}

Result<CudaMemPool> CudaDevice::memoryPool() {
  std::lock_guard lock(mutex);
  if (pool)
    return pool;
  OutsideCapture outside(driver);
  int supported = 0;
  driver.cuDeviceGetAttribute(&supported, cuda::kMemoryPoolsSupported, device);
  if (!supported)
    return Error{ErrorCode::Unsupported,
                 fmt::format("{} has no memory pools, which attnjit takes small tables from; set hooks.deviceMemory to take them elsewhere",
                             deviceName)};
  CudaMemPoolProperties properties;
  properties.location = device;
  CudaMemPool made = nullptr;
  std::uint64_t keepAll = UINT64_MAX; // else a synchronisation of the caller's gives everything back to the system
  if (Result<void> created = driver.check(driver.cuMemPoolCreate(&made, &properties), "making a pool of device memory"); !created)
    return created.error();
  driver.cuMemPoolSetAttribute(made, cuda::kPoolReleaseThreshold, &keepAll);
  return pool = made;
}

Result<CudaPointer> CudaDevice::allocate(std::size_t bytes, CudaStream stream) {
  Result<CudaMemPool> from = memoryPool();
  if (!from)
    return from.error();
  CudaPointer memory = nullptr;
  if (Result<void> taken = driver.check(driver.cuMemAllocFromPoolAsync(&memory, bytes, *from, stream), "allocating device memory"); !taken)
    return taken.error();
  return memory;
}

Result<void> CudaDevice::free(CudaPointer memory, CudaStream stream) {
  return driver.check(driver.cuMemFreeAsync(memory, stream), "freeing device memory");
}

} // namespace attnjit::runtime
