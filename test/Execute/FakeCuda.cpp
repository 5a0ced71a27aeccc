// A CUDA driver without a GPU: device memory is host memory that it keeps a list of, and kernels are what the test says. It is strict where
// the real one is: what may not happen during a capture fails, and so does a stream-ordered free on another stream.
#include "FakeCuda.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <list>

using attnjit::KernelArgs;
using attnjit::test::FakeCuda;

namespace {

constexpr int kInvalid = 1, kUnsupportedInCapture = 900, kNotFound = 500, kRelaxed = 2;

FakeCuda &fake() {
  static auto &state = *new FakeCuda;
  return state;
}

int captureMode = 0;
int current = 0; ///< depth of the stack of contexts

struct Function {
  std::string name;
};
struct Module {
  std::string image;
  std::list<Function> functions;
};
/// What is loaded stays the driver's, whether or not its user keeps the handle.
std::list<Module> &modules() {
  static auto &loaded = *new std::list<Module>;
  return loaded;
}

int asked(const char *name) {
  fake().calls.push_back(name);
  const auto failure = fake().failures.find(name);
  return failure == fake().failures.end() ? 0 : failure->second;
}

/// What takes memory or loads code may not happen while a capture of this thread is on, unless it is said to be no part of it.
int askedOutsideCapture(const char *name) {
  if (const int failed = asked(name))
    return failed;
  return fake().capturing && captureMode != kRelaxed ? kUnsupportedInCapture : 0;
}

FakeCuda::Memory *find(std::uint64_t pointer) {
  auto after = fake().memory.upper_bound(pointer);
  if (after == fake().memory.begin())
    return nullptr;
  auto found = std::prev(after);
  return pointer < found->first + std::max<std::size_t>(found->second.bytes, 1) ? &found->second : nullptr;
}

} // namespace

extern "C" {

FakeCuda *fake_cuda() { return &fake(); }

int cuInit(unsigned) { return asked("cuInit"); }
int cuDriverGetVersion(int *version) {
  *version = fake().version;
  return 0;
}
int cuGetErrorName(int error, const char **name) {
  *name = error == 2     ? "CUDA_ERROR_OUT_OF_MEMORY"
          : error == 100 ? "CUDA_ERROR_NO_DEVICE"
          : error == 218 ? "CUDA_ERROR_INVALID_PTX"
          : error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                         : "CUDA_ERROR_OTHER";
  return 0;
}
int cuGetErrorString(int, const char **text) {
  *text = "as the test wants it";
  return 0;
}
int cuDeviceGetCount(int *count) {
  *count = static_cast<int>(fake().capabilities.size());
  return asked("cuDeviceGetCount");
}
int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return asked("cuDeviceGet");
}
int cuDeviceGetName(char *name, int bytes, int) {
  std::strncpy(name, "Fake GPU", static_cast<std::size_t>(bytes));
  return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  const int capability = fake().capabilities[static_cast<std::size_t>(device)];
  *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : attribute == 16 ? fake().multiprocessors : 1;
  return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
  *context = reinterpret_cast<void *>(static_cast<std::uintptr_t>(device) + 0x1000);
  return asked("cuDevicePrimaryCtxRetain");
}
int cuCtxPushCurrent_v2(void *) {
  ++current;
  return 0;
}
int cuCtxPopCurrent_v2(void **) {
  --current;
  return 0;
}

int cuModuleLoadDataEx(void **module, const void *image, unsigned count, int *options, void **values) {
  if (count == 2 && options[0] == 5)
    std::strncpy(static_cast<char *>(values[0]), fake().assemblerLog.c_str(), reinterpret_cast<std::size_t>(values[1]) - 1);
  *module = &modules().emplace_back(static_cast<const char *>(image));
  return askedOutsideCapture("cuModuleLoadDataEx");
}
int cuModuleUnload(void *module) {
  modules().remove_if([&](const Module &loaded) { return &loaded == module; });
  return asked("cuModuleUnload");
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
  auto &[image, functions] = *static_cast<Module *>(module);
  if (std::strncmp(name, "attnjit_upload_", 15) == 0 && image.find(std::string(".entry ") + name + "(") == std::string::npos)
    return kNotFound;
  *function = &functions.emplace_back(name);
  return asked("cuModuleGetFunction");
}
int cuFuncSetAttribute(void *, int, int) { return asked("cuFuncSetAttribute"); }

int cuLaunchKernel(void *function, unsigned gridX, unsigned, unsigned, unsigned blockX, unsigned, unsigned, unsigned sharedBytes,
                   void *stream, void **parameters, void **) {
  if (const int failed = asked("cuLaunchKernel"); failed || current == 0)
    return failed ? failed : kInvalid;
  const std::string &name = static_cast<Function *>(function)->name;
  fake().launches.push_back({name, gridX, blockX, sharedBytes, stream});
  if (name.starts_with("attnjit_upload_")) {
    struct Parcel {
      std::uint64_t to, count, words[1];
    };
    const auto *parcel = static_cast<const Parcel *>(parameters[0]);
    const std::size_t bytes = parcel->count * 8;
    if (!find(parcel->to) || bytes + 16 > std::stoul(name.substr(15)) || static_cast<std::uint64_t>(gridX) * blockX < parcel->count)
      return kInvalid;
    std::memcpy(reinterpret_cast<void *>(parcel->to), parcel->words, bytes);
    return 0;
  }
  if (const auto failure = fake().failures.find(name); failure != fake().failures.end())
    return failure->second;
  if (fake().kernel)
    fake().kernel(*static_cast<const KernelArgs *>(parameters[0]));
  if (fake().copies) {
    const FakeCuda::Map *maps[3];
    for (int i = 0; i < 3; ++i)
      std::memcpy(&maps[i], parameters[1 + i], sizeof maps[i]);
    fake().copies(maps, *static_cast<const std::uint32_t *const *>(parameters[4]));
  }
  return 0;
}

int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *data, const std::uint64_t *sizes, const std::uint64_t *strides,
                           const std::uint32_t *box, const std::uint32_t *, int, int, int, int) {
  if (const int failed = asked("cuTensorMapEncodeTiled"); failed)
    return failed;
  // What the driver says in its documentation of this function.
  bool fits = rank == 4 && reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && box[0] == 64 && box[1] <= 256;
  for (int i = 0; i < 3; ++i)
    fits &= strides[i] % 16 == 0 && strides[i] > 0;
  for (int i = 0; i < 4; ++i)
    fits &= sizes[i] > 0 && sizes[i] <= std::uint64_t{1} << 32;
  if (!fits)
    return kInvalid;
  FakeCuda::Map made{type, data, {}, {}, box[1]};
  std::copy_n(sizes, 4, made.sizes);
  std::copy_n(strides, 3, made.strides);
  fake().maps.push_back(std::make_unique<FakeCuda::Map>(made));
  const FakeCuda::Map *pointer = fake().maps.back().get();
  std::memcpy(map, &pointer, sizeof pointer);
  return 0;
}

int cuMemPoolCreate(void **pool, const void *) {
  *pool = &fake();
  return askedOutsideCapture("cuMemPoolCreate");
}
int cuMemPoolSetAttribute(void *, int, void *) { return 0; }
int cuMemAllocFromPoolAsync(std::uint64_t *memory, std::size_t bytes, void *, void *stream) {
  if (const int failed = asked("cuMemAllocFromPoolAsync"))
    return failed;
  *memory = reinterpret_cast<std::uint64_t>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  fake().memory[*memory] = {bytes, 0, false, stream};
  return 0;
}
int cuMemFreeAsync(std::uint64_t memory, void *stream) {
  const auto found = fake().memory.find(memory);
  if (found == fake().memory.end() || found->second.stream != stream)
    return kInvalid;
  std::memset(reinterpret_cast<void *>(memory), 0xdd, found->second.bytes);
  std::free(reinterpret_cast<void *>(memory));
  fake().memory.erase(found);
  return asked("cuMemFreeAsync");
}
int cuMemsetD8Async(std::uint64_t memory, unsigned char value, std::size_t bytes, void *) {
  if (const int failed = asked("cuMemsetD8Async"))
    return failed;
  const FakeCuda::Memory *of = find(memory);
  if (!of || !find(memory + bytes - 1))
    return kInvalid;
  std::memset(reinterpret_cast<void *>(memory), value, bytes);
  return 0;
}
int cuMemcpyHtoDAsync_v2(std::uint64_t to, const void *from, std::size_t bytes, void *) {
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return asked("cuMemcpyHtoDAsync_v2");
}
int cuMemcpyDtoHAsync_v2(void *to, std::uint64_t from, std::size_t bytes, void *) {
  std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
  return asked("cuMemcpyDtoHAsync_v2");
}
int cuMemHostAlloc(void **memory, std::size_t bytes, unsigned) {
  *memory = std::calloc(1, bytes);
  fake().memory[reinterpret_cast<std::uintptr_t>(*memory)] = {bytes, 0, true};
  return askedOutsideCapture("cuMemHostAlloc");
}
int cuMemHostGetDevicePointer_v2(std::uint64_t *pointer, void *memory, unsigned) {
  *pointer = reinterpret_cast<std::uint64_t>(memory);
  return 0;
}
int cuPointerGetAttributes(unsigned count, int *attributes, void **values, std::uint64_t pointer) {
  const FakeCuda::Memory *memory = find(pointer);
  for (unsigned i = 0; i < count; ++i)
    if (attributes[i] == 2)
      *static_cast<unsigned *>(values[i]) = !memory ? 0 : memory->pinned ? 1 : 2;
    else if (attributes[i] == 8)
      *static_cast<unsigned *>(values[i]) = memory && memory->managed;
    else if (attributes[i] == 9)
      *static_cast<int *>(values[i]) = memory ? memory->device : -2;
    else
      return kInvalid;
  return 0;
}

int cuEventCreate(void **event, unsigned) {
  *event = new int(0);
  return askedOutsideCapture("cuEventCreate");
}
int cuEventDestroy_v2(void *event) {
  delete static_cast<int *>(event);
  return asked("cuEventDestroy_v2");
}
int cuEventRecord(void *, void *) { return asked("cuEventRecord"); }
int cuEventQuery(void *) { return askedOutsideCapture("cuEventQuery"); }
int cuEventElapsedTime(float *milliseconds, void *, void *) {
  *milliseconds = 0.25f;
  return asked("cuEventElapsedTime");
}
int cuStreamSynchronize(void *) { return askedOutsideCapture("cuStreamSynchronize"); }
int cuStreamIsCapturing(void *, int *status) {
  *status = fake().capturing;
  return asked("cuStreamIsCapturing");
}
int cuThreadExchangeStreamCaptureMode(int *mode) {
  std::swap(*mode, captureMode);
  return 0;
}
}
