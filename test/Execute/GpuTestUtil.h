// An engine over the driver that is none (FakeCuda.h), and operands in what it takes for device memory.
#pragma once

#include "EngineTestUtil.h"
#include "FakeCuda.h"

#include <dlfcn.h>
#include <filesystem>
#include <string>
#include <vector>

namespace attnjit::test {

/// Another copy of the library is another driver, with nothing loaded: what another process would find.
class FakeDriver {
public:
  FakeDriver() {
    static int number = 0;
    path = std::string(ATTNJIT_FAKE_CUDA) + "." + std::to_string(::getpid()) + "." + std::to_string(number++);
    std::filesystem::copy_file(ATTNJIT_FAKE_CUDA, path);
    void *library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library)
      std::abort();
    state = reinterpret_cast<decltype(&fake_cuda)>(::dlsym(library, "fake_cuda"))();
  }
  ~FakeDriver() { std::filesystem::remove(path); }
  FakeDriver(const FakeDriver &) = delete;
  FakeDriver &operator=(const FakeDriver &) = delete;

  FakeCuda *operator->() const { return state; }
  EngineOptions options(std::string target = "sm_90") const {
    EngineOptions options;
    options.target = std::move(target);
    options.cudaLibrary = path;
    return options;
  }

  std::string path;

private:
  FakeCuda *state;
};

/// bf16 operands of `driver`'s device.
struct GpuOperands {
  explicit GpuOperands(const FakeDriver &driver, std::int64_t M = 20, std::int64_t N = 40, int device = 0)
      : q(2 * M * 16), k(2 * N * 16), v(2 * N * 16), out(2 * M * 16) {
    for (std::vector<std::uint16_t> *memory : {&q, &k, &v, &out})
      driver->add(memory->data(), memory->size() * 2, device);
    call.q = TensorRef::dense(q.data(), DType::BF16, {1, 2, M, 16});
    call.k = TensorRef::dense(k.data(), DType::BF16, {1, 2, N, 16});
    call.v = TensorRef::dense(v.data(), DType::BF16, {1, 2, N, 16});
    call.out = TensorRef::dense(out.data(), DType::BF16, {1, 2, M, 16});
  }
  GpuOperands(const GpuOperands &) = delete;
  GpuOperands &operator=(const GpuOperands &) = delete;

  std::vector<std::uint16_t> q, k, v, out;
  ForwardCall call;
};

} // namespace attnjit::test
