#include "CudaDriver.h"

#include <dlfcn.h>
#include <utility>

namespace attnjit::gputest {

/// Names and signatures of the driver's ABI; the suffix _v2 is part of the name of those that have one.
struct CudaDriver::Functions {
  int (*cuInit)(unsigned);
  int (*cuDeviceGet)(int *, int);
  int (*cuDeviceGetName)(char *, int, int);
  int (*cuDevicePrimaryCtxRetain)(void **, int);
  int (*cuCtxSetCurrent)(void *);
  int (*cuModuleLoadDataEx)(void **, const void *, unsigned, int *, void **);
  int (*cuModuleGetFunction)(void **, void *, const char *);
  int (*cuFuncSetAttribute)(void *, int, int);
  int (*cuMemAlloc_v2)(std::uint64_t *, std::size_t);
  int (*cuMemFree_v2)(std::uint64_t);
  int (*cuMemcpyHtoD_v2)(std::uint64_t, const void *, std::size_t);
  int (*cuMemcpyDtoH_v2)(void *, std::uint64_t, std::size_t);
  int (*cuLaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
  int (*cuCtxSynchronize)();
  int (*cuDeviceGetAttribute)(int *, int, int);
  /// Null in drivers before CUDA 12.
  int (*cuTensorMapEncodeTiled)(TensorMap *, int, std::uint32_t, void *, const std::uint64_t *, const std::uint64_t *, const std::uint32_t *,
                                const std::uint32_t *, int, int, int, int);
  int device = 0;
};

std::optional<CudaDriver> CudaDriver::open(std::string &why) {
  static Functions functions;
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  if (!library) {
    why = "no CUDA driver (libcuda.so.1) on this machine";
    return std::nullopt;
  }
  bool complete = true;
  auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    complete &= function != nullptr;
  };
#define FIND(NAME) find(functions.NAME, #NAME)
  FIND(cuInit), FIND(cuDeviceGet), FIND(cuDeviceGetName), FIND(cuDevicePrimaryCtxRetain), FIND(cuCtxSetCurrent), FIND(cuModuleLoadDataEx);
  FIND(cuModuleGetFunction), FIND(cuFuncSetAttribute), FIND(cuMemAlloc_v2), FIND(cuMemFree_v2), FIND(cuMemcpyHtoD_v2), FIND(cuMemcpyDtoH_v2);
  FIND(cuLaunchKernel), FIND(cuCtxSynchronize), FIND(cuDeviceGetAttribute);
  const bool hasAll = std::exchange(complete, true);
  FIND(cuTensorMapEncodeTiled);
  complete = hasAll;
#undef FIND
  void *context = nullptr;
  if (!complete || functions.cuInit(0) != 0 || functions.cuDeviceGet(&functions.device, 0) != 0 ||
      functions.cuDevicePrimaryCtxRetain(&context, functions.device) != 0 || functions.cuCtxSetCurrent(context) != 0) {
    why = "the CUDA driver finds no usable GPU";
    return std::nullopt;
  }
  CudaDriver driver;
  driver.functions = &functions;
  return driver;
}

std::string CudaDriver::deviceName() const {
  char name[128] = {};
  functions->cuDeviceGetName(name, sizeof name, functions->device);
  return name;
}

std::optional<void *> CudaDriver::loadKernel(const std::string &ptx, const char *entry, std::uint32_t sharedBytes, std::string &error) const {
  constexpr int kErrorLogBuffer = 5, kErrorLogBufferBytes = 6, kMaxDynamicSharedBytes = 8; // CUjit_option, CUfunction_attribute
  std::vector<char> log(16384);
  int options[] = {kErrorLogBuffer, kErrorLogBufferBytes};
  void *values[] = {log.data(), reinterpret_cast<void *>(log.size())};
  void *module = nullptr, *kernel = nullptr;
  if (int code = functions->cuModuleLoadDataEx(&module, ptx.c_str(), 2, options, values)) {
    error = "driver error " + std::to_string(code) + ": " + log.data();
    return std::nullopt;
  }
  if (int code = functions->cuModuleGetFunction(&kernel, module, entry)) {
    error = std::string("no kernel '") + entry + "' (driver error " + std::to_string(code) + ")";
    return std::nullopt;
  }
  if (int code = functions->cuFuncSetAttribute(kernel, kMaxDynamicSharedBytes, int(sharedBytes))) {
    error = std::to_string(sharedBytes) + " bytes of shared memory are refused (driver error " + std::to_string(code) + ")";
    return std::nullopt;
  }
  return kernel;
}

std::uint64_t CudaDriver::allocate(std::size_t bytes) const {
  std::uint64_t pointer = 0;
  return functions->cuMemAlloc_v2(&pointer, bytes) == 0 ? pointer : 0;
}
void CudaDriver::free(std::uint64_t pointer) const { functions->cuMemFree_v2(pointer); }
bool CudaDriver::copyIn(std::uint64_t to, const void *from, std::size_t bytes) const { return functions->cuMemcpyHtoD_v2(to, from, bytes) == 0; }
bool CudaDriver::copyOut(void *to, std::uint64_t from, std::size_t bytes) const { return functions->cuMemcpyDtoH_v2(to, from, bytes) == 0; }

int CudaDriver::launch(void *kernel, std::uint32_t blocks, std::uint32_t threads, std::uint32_t sharedBytes, std::vector<void *> parameters) const {
  if (int code = functions->cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, sharedBytes, nullptr, parameters.data(), nullptr))
    return code;
  return functions->cuCtxSynchronize();
}

std::optional<TensorMap> CudaDriver::makeTensorMap(bool isBf16, std::uint64_t address, const std::uint64_t (&sizes)[4], const std::uint64_t (&strides)[3],
                                                   std::uint32_t boxRows) const {
  constexpr int kFloat16 = 6, kBfloat16 = 9, kSwizzle128B = 3, kPromotionL2_128B = 2; // CUtensorMapDataType, ...Swizzle, ...L2promotion
  const std::uint32_t box[4] = {64, boxRows, 1, 1}, elementStrides[4] = {1, 1, 1, 1};
  TensorMap map;
  if (!functions->cuTensorMapEncodeTiled ||
      functions->cuTensorMapEncodeTiled(&map, isBf16 ? kBfloat16 : kFloat16, 4, reinterpret_cast<void *>(address), sizes, strides, box, elementStrides,
                                        /*interleave=*/0, kSwizzle128B, kPromotionL2_128B, /*fill=*/0))
    return std::nullopt;
  return map;
}

std::uint32_t CudaDriver::multiprocessors() const {
  constexpr int kMultiprocessorCount = 16; // CUdevice_attribute
  int count = 1;
  functions->cuDeviceGetAttribute(&count, kMultiprocessorCount, functions->device);
  return std::uint32_t(count);
}

} // namespace attnjit::gputest
