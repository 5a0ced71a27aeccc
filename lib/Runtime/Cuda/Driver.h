// The CUDA driver, found at run time: no CUDA header and no CUDA library is needed to build, and none to run on a machine without a GPU.
#pragma once

#include "attnjit/Result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace attnjit::runtime {

using CudaContext = struct CudaContextTag *;
using CudaModule = struct CudaModuleTag *;
using CudaFunction = struct CudaFunctionTag *;
using CudaStream = struct CudaStreamTag *;
using CudaEvent = struct CudaEventTag *;
using CudaMemPool = struct CudaMemPoolTag *;
/// A CUdeviceptr, which is an integer of the same size: as a pointer it needs no casts.
using CudaPointer = std::byte *;

/// CUtensorMap: of use to kernels alone.
struct alignas(64) CudaTensorMap {
  std::uint64_t opaque[16];
};

/// CUmemPoolProps.
struct CudaMemPoolProperties {
  int allocationType = 1; ///< pinned
  int handleTypes = 0;    ///< not for other processes
  int locationType = 1;   ///< a device
  int location = 0;       ///< which
  void *security = nullptr;
  std::size_t maxBytes = 0;
  std::uint16_t usage = 0;
  unsigned char reserved[54] = {};
};
static_assert(sizeof(CudaMemPoolProperties) == 88);

/// The values of the driver's enums that are used, under the names of cuda.h.
namespace cuda {
inline constexpr int kSuccess = 0, kNotReady = 600;
inline constexpr int kJitErrorLogBuffer = 5, kJitErrorLogBufferBytes = 6;
inline constexpr int kComputeCapabilityMajor = 75, kComputeCapabilityMinor = 76, kMemoryPoolsSupported = 115;
inline constexpr int kMaxDynamicSharedBytes = 8;
inline constexpr int kMultiprocessorCount = 16;
inline constexpr int kFloat16 = 6, kBfloat16 = 9, kNoInterleave = 0, kSwizzle128B = 3, kPromotion128B = 2,
                     kFillZeros = 0; ///< of tensor maps
inline constexpr int kPoolReleaseThreshold = 4;
inline constexpr int kPointerMemoryType = 2, kPointerIsManaged = 8, kPointerDeviceOrdinal = 9;
inline constexpr unsigned kMemoryTypeHost = 1, kMemoryTypeDevice = 2;
inline constexpr unsigned kHostAllocPortable = 1, kHostAllocDeviceMap = 2;
inline constexpr unsigned kEventDefault = 0;
inline constexpr int kCaptureNone = 0, kCaptureModeRelaxed = 2;
} // namespace cuda

/// The functions of one opened driver. Never closed: contexts and modules of it live until the process ends.
class CudaDriver {
public:
  /// The driver at `library`; "" is $ATTNJIT_CUDA_LIBRARY, else libcuda.so.1. Opened once per process. Error: Unsupported, with what to do
  /// about it, where there is no driver, it is too old, or it finds no GPU.
  static Result<const CudaDriver *> open(const std::string &library);

  /// Success, or what the driver says, by its name for the error, and the cure: "DOING: CUDA_ERROR_... (...). CURE".
  Result<void> check(int status, std::string_view doing) const;

#define ATTNJIT_CUDA_FUNCTION(NAME, PARAMETERS) int(*NAME) PARAMETERS = nullptr;
#include "Runtime/Cuda/Functions.def"

private:
  explicit CudaDriver(std::string path) : path(std::move(path)) {}
  Result<void> load();

  std::string path;
  int versionNumber = 0; ///< 12080 is CUDA 12.8
};

} // namespace attnjit::runtime
