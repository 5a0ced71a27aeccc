// The CUDA driver as a program of somebody else's would use it: found at run time, no header and no library of CUDA's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <string>
#include <utility>
#include <vector>

namespace gpu {

/// Device 0 with its primary context, and a stream that is not ordered against the default one.
class Driver {
public:
  /// False: there is no driver, or it finds no GPU; `reason` says which.
  bool open(std::string &reason) {
    library = ::dlopen("libcuda.so.1", RTLD_NOW);
    if (!library)
      return reason = "there is no libcuda.so.1", false;
    int device = 0;
    void *context = nullptr;
    if (ask("cuInit", 0u) != 0 || ask("cuDeviceGet", &device, 0) != 0)
      return reason = "the driver finds no GPU", false;
    call("cuDeviceGetAttribute", &major, 75, device);
    call("cuDeviceGetAttribute", &minor, 76, device);
    call("cuDevicePrimaryCtxRetain", &context, device);
    call("cuCtxSetCurrent", context);
    call("cuStreamCreate", &stream, 1u);
    return true;
  }

  /// Ends the program if the driver refuses.
  template <typename... Arguments> void call(const char *name, Arguments... arguments) const {
    if (const int status = ask(name, arguments...); status != 0) {
      const char *text = "?";
      ask("cuGetErrorString", status, &text);
      std::fprintf(stderr, "%s: %s (%d)\n", name, text, status);
      std::exit(1);
    }
  }
  void wait() const { call("cuStreamSynchronize", stream); }
  /// Runs an sm_`major``minor`.
  int capability() const { return 10 * major + minor; }

  void *stream = nullptr;

private:
  template <typename... Arguments> int ask(const char *name, Arguments... arguments) const {
    auto *function = reinterpret_cast<int (*)(Arguments...)>(::dlsym(library, name));
    return function ? function(arguments...) : -1;
  }

  void *library = nullptr;
  int major = 0, minor = 0;
};

/// Memory of the GPU with a copy of `values`.
template <typename T> class Memory {
public:
  Memory(const Driver &driver, const std::vector<T> &values) : driver(&driver), count(values.size()) {
    driver.call("cuMemAlloc_v2", &pointer, bytes() + 1); // of nothing as well
    driver.call("cuMemcpyHtoDAsync_v2", pointer, static_cast<const void *>(values.data()), bytes(), driver.stream);
    driver.wait();
  }
  ~Memory() {
    if (pointer)
      driver->call("cuMemFree_v2", pointer);
  }
  Memory(Memory &&other) noexcept : driver(other.driver), count(other.count), pointer(std::exchange(other.pointer, nullptr)) {}
  Memory &operator=(Memory &&) = delete;

  T *data() const { return pointer; }
  /// What it holds when all work of the stream is done.
  std::vector<T> values() const {
    std::vector<T> result(count);
    driver->call("cuMemcpyDtoHAsync_v2", static_cast<void *>(result.data()), pointer, bytes(), driver->stream);
    driver->wait();
    return result;
  }

private:
  std::size_t bytes() const { return count * sizeof(T); }

  const Driver *driver;
  std::size_t count;
  T *pointer = nullptr;
};

} // namespace gpu
