#include "Runtime/GpuLauncher.h"

#include <algorithm>
#include <array>
#include <exception>
#include <fmt/format.h>
#include <limits>
#include <vector>

namespace attnjit::runtime {

namespace {

CudaStream cudaStream(void *stream) { return static_cast<CudaStream>(stream); }

Result<void> checkArchitecture(const CudaDevice &device, const GpuProgram &program) {
  if (runsOnGpu(program.builtFor, device.computeCapability()))
    return {};
  return Error{ErrorCode::Unsupported,
               fmt::format("{} does not run on GPU {}, {}, which is an sm_{}. Compile with target native-gpu, or for an older architecture",
                           program.source.name, device.ordinal, device.name(), device.computeCapability())};
}

/// The embedder's code: whatever it throws is an error of the call.
template <typename Body> auto askHook(std::string_view which, Body &&body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception &exception) {
    return Error{ErrorCode::Unsupported, fmt::format("hooks.deviceMemory.{} threw an exception: {}", which, exception.what())};
  } catch (...) {
    return Error{ErrorCode::Unsupported, fmt::format("hooks.deviceMemory.{} threw an exception", which)};
  }
}

Result<CudaTensorMap> mapOf(const CudaDriver &driver, const TensorBoxes &boxes) {
  const std::uint32_t box[] = {64, boxes.rows, 1, 1}, elementStrides[] = {1, 1, 1, 1};
  CudaTensorMap map;
  const int status =
      driver.cuTensorMapEncodeTiled(&map, boxes.isBf16 ? cuda::kBfloat16 : cuda::kFloat16, 4, boxes.data, boxes.sizes, boxes.strides, box,
                                    elementStrides, cuda::kNoInterleave, cuda::kSwizzle128B, cuda::kPromotion128B, cuda::kFillZeros);
  if (Result<void> encoded = driver.check(status, "describing q, k or v for tensor copies"); !encoded)
    return encoded.error();
  return map;
}

Error inKernel(const GpuProgram &program, const Error &error) {
  return {error.code, fmt::format("launching {}: {}", program.source.name, error.message)};
}

} // namespace

int capabilityOf(std::string_view builtFor) {
  int built = 0;
  for (const char c : builtFor)
    if (c >= '0' && c <= '9')
      built = built * 10 + (c - '0');
  return built;
}

bool runsOnGpu(std::string_view builtFor, int computeCapability) {
  const int built = capabilityOf(builtFor);
  return builtFor.ends_with('a') ? computeCapability == built : computeCapability >= built;
}

Result<GpuLauncher::Open *> GpuLauncher::open() const {
  std::lock_guard lock(mutex);
  if (!opened) {
    Result<CudaDevice *> device = CudaDevice::open(library, ordinal);
    if (!device)
      return device.error();
    opened = std::make_unique<Open>(**device);
  }
  return opened.get();
}

Result<CudaDevice *> GpuLauncher::device() const {
  Result<Open *> on = open();
  if (!on)
    return on.error();
  return &(*on)->device;
}

Result<MemoryPlace> GpuLauncher::placeOf(const void *pointer) const {
  Result<Open *> on = open();
  if (!on)
    return on.error();
  CudaDevice &device = (*on)->device;
  unsigned type = 0, managed = 0;
  int owner = -1;
  std::array<int, 3> attributes = {cuda::kPointerMemoryType, cuda::kPointerIsManaged, cuda::kPointerDeviceOrdinal};
  std::array<void *, 3> values = {&type, &managed, &owner};
  const int status = device.driver.cuPointerGetAttributes(attributes.size(), attributes.data(), values.data(),
                                                          const_cast<CudaPointer>(static_cast<const std::byte *>(pointer)));
  if (Result<void> asked = device.driver.check(status, "asking where a pointer leads"); !asked)
    return asked.error();
  if (type == cuda::kMemoryTypeHost || managed)
    return MemoryPlace::Shared;
  if (type != cuda::kMemoryTypeDevice)
    return MemoryPlace::Host;
  return owner == ordinal ? MemoryPlace::Device : MemoryPlace::Other;
}

Result<CudaFunction> GpuLauncher::functionOf(CudaDevice &device, const GpuProgram &program) const {
  if (Result<void> fits = checkArchitecture(device, program); !fits)
    return fits.error();
  Result<CudaFunction> function = device.function(program.source);
  if (function)
    program.function = *function;
  return function;
}

Result<void> GpuLauncher::load(const GpuProgram &program) const {
  if (program.isLoaded())
    return {};
  Result<Open *> on = open();
  if (!on)
    return on.error();
  Result<CudaFunction> function = (*on)->device.inContext([&] { return functionOf((*on)->device, program); });
  return function ? Result<void>() : Result<void>(function.error());
}

Result<CudaPointer> GpuLauncher::takeMemory(CudaDevice &device, std::size_t bytes, CudaStream stream) const {
  if (!memory.allocate)
    return device.allocate(bytes, stream);
  return askHook("allocate", [&]() -> Result<CudaPointer> {
    void *taken = memory.allocate(bytes, ordinal, stream);
    if (!taken)
      return Error{ErrorCode::Unsupported,
                   fmt::format("hooks.deviceMemory.allocate gave no memory for {} bytes on GPU {}", bytes, ordinal)};
    return static_cast<CudaPointer>(taken);
  });
}

Result<void> GpuLauncher::giveMemory(CudaDevice &device, CudaPointer pointer, std::size_t bytes, CudaStream stream) const {
  if (!memory.free)
    return device.free(pointer, stream);
  return askHook("free", [&]() -> Result<void> {
    memory.free(pointer, bytes, ordinal, stream);
    return {};
  });
}

/// The one place where a kernel gets its parameters.
Result<void> GpuLauncher::startKernel(Open &on, CudaFunction function, const GpuProgram &program, GpuArguments &arguments,
                                      const GpuGrid &grid, CudaStream stream) const {
  std::vector<CudaTensorMap> maps;
  for (const TensorBoxes &boxes : arguments.boxes) {
    Result<CudaTensorMap> map = mapOf(on.device.driver, boxes);
    if (!map)
      return map.error();
    maps.push_back(*map);
  }
  std::vector<void *> parameters = {&arguments.args};
  for (CudaTensorMap &map : maps)
    parameters.push_back(&map);
  std::int64_t blocks = grid.blocks;
  if (!maps.empty()) { // each block takes tiles until there are none
    parameters.push_back(static_cast<void *>(&arguments.counters));
    blocks = std::min<std::int64_t>(blocks, on.device.multiprocessors());
  }
  const int status = on.device.driver.cuLaunchKernel(function, static_cast<unsigned>(blocks), 1, 1, program.threadsPerBlock, 1, 1,
                                                     program.source.sharedBytes, stream, parameters.data(), nullptr);
  return on.device.driver.check(status, on.device.name());
}

/// With the block on the device while the body runs, in stream order.
template <typename Body> Result<void> GpuLauncher::withBlock(Open &on, GpuArguments &arguments, CudaStream stream, Body &&body) const {
  if (!arguments.needsBlock())
    return body();
  const std::size_t bytes = arguments.bytes().size();
  Result<CudaPointer> block = takeMemory(on.device, bytes, stream);
  if (!block)
    return block.error();
  arguments.bind(*block);
  Result<void> done = on.upload.upload(*block, arguments.bytes(), stream);
  if (done)
    done = body();
  Result<void> given = giveMemory(on.device, *block, bytes, stream);
  return done ? given : done;
}

/// With memory for the states of parts while the body runs, in stream order.
template <typename Body>
Result<void> GpuLauncher::withStates(Open &on, GpuArguments &arguments, const GpuGrid &grid, CudaStream stream, Body &&body) const {
  if (grid.memoryBytes() == 0)
    return body();
  Result<CudaPointer> states = takeMemory(on.device, grid.memoryBytes(), stream);
  if (!states)
    return states.error();
  arguments.args.split.states = *states;
  const int status = on.device.driver.cuMemsetD8Async(*states + grid.stateBytes, 0, grid.counterBytes, stream);
  Result<void> done = on.device.driver.check(status, "clearing the counters of parts");
  if (done)
    done = body();
  Result<void> given = giveMemory(on.device, *states, grid.memoryBytes(), stream);
  return done ? given : done;
}

Result<std::optional<GpuTicket>> GpuLauncher::launch(const GpuProgram &program, GpuArguments &arguments, const GpuGrid &grid,
                                                     const Options &options) const {
  if (Result<void> loaded = load(program); !loaded)
    return loaded.error();
  Result<Open *> on = open();
  if (!on)
    return on.error();
  CudaDevice &device = (*on)->device;
  const CudaStream stream = cudaStream(options.stream);
  Result<std::optional<GpuTicket>> ticket = device.inContext([&]() -> Result<std::optional<GpuTicket>> {
    if (grid.blocks > std::numeric_limits<std::int32_t>::max())
      return Error{ErrorCode::Unsupported,
                   fmt::format("the call has {} tiles of queries, more than a grid of 2^31 - 1 blocks", grid.blocks)};
    const CudaFunction function = program.function;
    const auto withMemory = [&](auto &&body) {
      return withBlock(**on, arguments, stream, [&] { return withStates(**on, arguments, grid, stream, body); });
    };
    if (!options.timed && !options.reports) {
      Result<void> ran = withMemory([&] { return startKernel(**on, function, program, arguments, grid, stream); });
      return ran ? Result<std::optional<GpuTicket>>(std::nullopt) : ran.error();
    }
    GpuTickets &tickets = (*on)->tickets;
    Result<std::shared_ptr<GpuSlot>> slot = tickets.take();
    if (!slot)
      return slot.error();
    arguments.args.status = reinterpret_cast<std::int64_t *>((*slot)->onDevice);
    Result<void> ran = withMemory([&]() -> Result<void> {
      if (Result<void> begun = tickets.begin(**slot, stream, options.timed); !begun)
        return begun;
      if (Result<void> started = startKernel(**on, function, program, arguments, grid, stream); !started)
        return started;
      return tickets.end(**slot, stream);
    });
    if (!ran)
      return ran.error();
    return std::optional(tickets.ticketOf(std::move(*slot), options.timed));
  });
  if (!ticket)
    return inKernel(program, ticket.error());
  return ticket;
}

Result<void> GpuLauncher::synchronize(void *stream) const {
  Result<CudaDevice *> on = device();
  if (!on)
    return on.error();
  return (*on)->inContext(
      [&] { return (*on)->driver.check((*on)->driver.cuStreamSynchronize(cudaStream(stream)), "waiting for a stream"); });
}

Result<CudaPointer> GpuLauncher::allocate(std::size_t bytes, void *stream) const {
  Result<CudaDevice *> on = device();
  if (!on)
    return on.error();
  return (*on)->inContext([&] { return takeMemory(**on, bytes, cudaStream(stream)); });
}

Result<void> GpuLauncher::free(CudaPointer pointer, std::size_t bytes, void *stream) const {
  Result<CudaDevice *> on = device();
  if (!on)
    return on.error();
  return (*on)->inContext([&] { return giveMemory(**on, pointer, bytes, cudaStream(stream)); });
}

Result<void> GpuLauncher::copyIn(CudaPointer to, const void *from, std::size_t bytes, void *stream) const {
  Result<CudaDevice *> on = device();
  if (!on)
    return on.error();
  return (*on)->inContext(
      [&] { return (*on)->driver.check((*on)->driver.cuMemcpyHtoDAsync_v2(to, from, bytes, cudaStream(stream)), "copying to the GPU"); });
}

Result<void> GpuLauncher::copyOut(void *to, CudaPointer from, std::size_t bytes, void *stream) const {
  Result<CudaDevice *> on = device();
  if (!on)
    return on.error();
  return (*on)->inContext(
      [&] { return (*on)->driver.check((*on)->driver.cuMemcpyDtoHAsync_v2(to, from, bytes, cudaStream(stream)), "copying from the GPU"); });
}

} // namespace attnjit::runtime
