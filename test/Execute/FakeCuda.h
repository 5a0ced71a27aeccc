// What a test and the library that stands in for the CUDA driver (FakeCuda.cpp) say to each other.
#pragma once

#include "attnjit/KernelAbi.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace attnjit::test {

struct FakeCuda {
  /// Names of the functions that were called, but for those that only ask for errors and versions.
  std::vector<std::string> calls;
  /// Functions that fail, and how; "attention" is cuLaunchKernel for kernels of attention only.
  std::map<std::string, int> failures;
  std::string assemblerLog; ///< what the assembler says then
  std::vector<int> capabilities = {90, 80, 86, 75, 103};
  int version = 12080;
  bool capturing = false; ///< every stream is

  struct Launch {
    std::string kernel;
    unsigned blocks, threads, sharedBytes;
    void *stream;
  };
  std::vector<Launch> launches;
  /// A tensor map is what it was made of.
  struct Map {
    int type;
    const void *data;
    std::uint64_t sizes[4], strides[3];
    std::uint32_t rows;
  };
  std::function<void(const Map *const (&maps)[3], const std::uint32_t *counters)>
      copies; ///< what an attention kernel with tensor maps "computes"
  std::vector<std::unique_ptr<Map>> maps;
  int multiprocessors = 4;
  std::function<void(const KernelArgs &)> kernel; ///< what attention "computes", while its tables are there

  /// Memory by its begin: bytes and the device that it is on. What is not here is memory of the host.
  struct Memory {
    std::size_t bytes;
    int device;
    bool pinned = false;
    void *stream = nullptr;
    bool managed = false;
  };
  std::map<std::uintptr_t, Memory> memory;
  void add(const void *begin, std::size_t bytes, int device = 0) { memory[reinterpret_cast<std::uintptr_t>(begin)] = {bytes, device}; }
  std::size_t count(const std::string &call) const {
    std::size_t found = 0;
    for (const std::string &other : calls)
      found += other == call;
    return found;
  }
};

} // namespace attnjit::test

extern "C" attnjit::test::FakeCuda *fake_cuda();
