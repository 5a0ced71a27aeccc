// The few functions of the CUDA driver that a test needs, found at run time: no CUDA header, no CUDA library at build time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace attnjit::gputest {

/// What a kernel takes as CUtensorMap.
struct alignas(64) TensorMap {
  std::uint64_t opaque[16];
};

/// The driver with a context on device 0. Every failure is a message; there is nothing to recover in a test.
class CudaDriver {
public:
  /// Empty, with a reason in `why`, on a machine without a driver or a GPU.
  static std::optional<CudaDriver> open(std::string &why);

  /// Assembles PTX and finds the kernel. Empty, with the assembler's words in `error`, if the driver refuses it.
  std::optional<void *> loadKernel(const std::string &ptx, const char *entry, std::uint32_t sharedBytes, std::string &error) const;

  std::uint64_t allocate(std::size_t bytes) const;
  void free(std::uint64_t pointer) const;
  bool copyIn(std::uint64_t to, const void *from, std::size_t bytes) const;
  bool copyOut(void *to, std::uint64_t from, std::size_t bytes) const;
  /// Launches with parameters that lie at these addresses, and waits. Returns the driver's error, 0 for none.
  int launch(void *kernel, std::uint32_t blocks, std::uint32_t threads, std::uint32_t sharedBytes, std::vector<void *> parameters) const;
  /// A map for tensor copies: sizes in elements of 16 bits, strides of dimensions 1 .. 3 in bytes, boxes of 64 x rows x 1 x 1. Empty where the
  /// driver refuses it or has none.
  std::optional<TensorMap> makeTensorMap(bool isBf16, std::uint64_t address, const std::uint64_t (&sizes)[4], const std::uint64_t (&strides)[3],
                                         std::uint32_t boxRows) const;
  std::uint32_t multiprocessors() const;
  std::string deviceName() const;

private:
  struct Functions;
  const Functions *functions = nullptr;
};

/// Device memory that holds a copy of host bytes and is given back at the end.
class DeviceBuffer {
public:
  DeviceBuffer(const CudaDriver &driver, const void *data, std::size_t bytes)
      : driver(driver), bytes(bytes), pointer(driver.allocate(bytes ? bytes : 1)) {
    ok = pointer != 0 && (bytes == 0 || driver.copyIn(pointer, data, bytes));
  }
  ~DeviceBuffer() { driver.free(pointer); }
  DeviceBuffer(const DeviceBuffer &) = delete;
  DeviceBuffer &operator=(const DeviceBuffer &) = delete;

  bool copyTo(void *host) const { return bytes == 0 || driver.copyOut(host, pointer, bytes); }
  /// Address of byte `offset`, as kernels want it.
  void *at(std::size_t offset = 0) const { return reinterpret_cast<void *>(pointer + offset); }
  bool ok = false;

private:
  const CudaDriver &driver;
  std::size_t bytes;
  std::uint64_t pointer;
};

} // namespace attnjit::gputest
