#include "Engine/GpuLaunch.h"

#include "Engine/TensorCheck.h"
#include "Expr/Table.h"
#include "Runtime/GpuParts.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fmt/format.h>
#include <optional>

namespace attnjit::engine {

using runtime::GpuArguments;
using runtime::GpuLauncher;
using runtime::MemoryPlace;

Result<TargetDesc> nativeGpuTarget(const EngineOptions &options) {
  Result<runtime::CudaDevice *> device = runtime::CudaDevice::open(options.cudaLibrary, options.device);
  if (!device)
    return Error{device.error().code, "target native-gpu: " + device.error().message};
  const int capability = (*device)->computeCapability();
  // Code for an "a" runs on that architecture alone and may use all of it; other code runs on all later ones too.
  if (Result<TargetDesc> exact = parseTarget(fmt::format("sm_{}a", capability)))
    return exact;
  for (int older = capability; older >= 80; --older)
    if (Result<TargetDesc> known = parseTarget(fmt::format("sm_{}", older)))
      return known;
  return Error{ErrorCode::Unsupported,
               fmt::format("target native-gpu: GPU {} is {} (sm_{}); attnjit's kernels need sm_80 (Ampere) or later", options.device,
                           (*device)->name(), capability)};
}

namespace {

/// Tables of more bytes than this are the caller's to keep on the GPU: they would travel anew with every launch.
constexpr std::int64_t kMostHostBytes = std::int64_t{1} << 20;

bool isHostReadable(MemoryPlace place) { return place == MemoryPlace::Host || place == MemoryPlace::Shared; }
bool isDeviceReadable(MemoryPlace place) { return place == MemoryPlace::Device || place == MemoryPlace::Shared; }

Error onOtherGpu(std::string_view name) {
  return invalidTensor(name,
                       "its memory is on another GPU than the engine's; copy it, or make an engine for that GPU (EngineOptions::device)");
}

/// Nothing can be said of a null pointer, and nothing need be said of an empty tensor.
bool isNothing(const TensorRef &tensor) { return !tensor.data; }

Result<void> checkOnDevice(std::string_view name, const TensorRef &tensor, const GpuLauncher &gpu) {
  if (isNothing(tensor))
    return {};
  const Result<MemoryPlace> place = gpu.placeOf(tensor.data);
  if (!place)
    return place.error();
  if (*place == MemoryPlace::Other)
    return onOtherGpu(name);
  if (!isDeviceReadable(*place))
    return invalidTensor(name,
                         "its data is in host memory, and the engine's target is a GPU; copy it there (DeviceBuffer, or any CUDA call)");
  return {};
}

/// A tensor that may travel with the launch.
Result<void> checkTravels(std::string_view name, const TensorRef &tensor, MemoryPlace place) {
  if (place == MemoryPlace::Other)
    return onOtherGpu(name);
  const ByteRange bytes = touchedBytes(tensor);
  if (place == MemoryPlace::Host && bytes.end - bytes.begin > kMostHostBytes)
    return invalidTensor(
        name, fmt::format("it spans {} bytes of host memory, which would go to the GPU with every launch; up to {} do. Keep it on the GPU",
                          bytes.end - bytes.begin, kMostHostBytes));
  return {};
}

/// A view's memory, put into the block; the place of its element (0, 0, ...) there.
std::size_t addView(GpuArguments &arguments, const TensorRef &tensor) {
  const ByteRange bytes = touchedBytes(tensor);
  const auto count = static_cast<std::size_t>(bytes.end - bytes.begin);
  const std::intptr_t lead = count > 0 ? reinterpret_cast<std::intptr_t>(tensor.data) - bytes.begin : 0;
  return arguments.add(static_cast<const std::byte *>(tensor.data) - lead, count) + static_cast<std::size_t>(lead);
}

void packCaptures(GpuArguments &arguments, std::span<const CaptureArg> captures, const std::vector<TensorRef> &tensors,
                  std::span<const MemoryPlace> places) {
  arguments.args.captures = nullptr;
  if (captures.empty())
    return;
  const std::size_t table = arguments.add(captures);
  arguments.point(arguments.args.captures, table);
  for (std::size_t i = 0; i < captures.size(); ++i)
    if (places[i] == MemoryPlace::Host)
      arguments.pointInBlock(table + i * sizeof(CaptureArg) + offsetof(CaptureArg, data), addView(arguments, tensors[i]));
}

/// sinks or a descale: small, so both memories will do.
template <typename T>
Result<void> packSmall(std::string_view name, const TensorRef &tensor, T *&pointer, GpuArguments &arguments, const GpuLauncher &gpu) {
  if (isNothing(tensor))
    return {};
  const Result<MemoryPlace> place = gpu.placeOf(tensor.data);
  if (!place)
    return place.error();
  if (Result<void> travels = checkTravels(name, tensor, *place); !travels)
    return travels;
  if (*place == MemoryPlace::Host)
    arguments.point(pointer, addView(arguments, tensor));
  return {};
}

/// What a tensor map says of an operand. A dimension of one element has no neighbour, so its stride may be anything, and none is empty.
runtime::TensorBoxes boxesOf(const TensorRef &tensor, std::uint32_t rows) {
  runtime::TensorBoxes boxes{tensor.dtype == DType::BF16, tensor.data, {}, {}, rows};
  for (std::size_t dim = 0; dim < 4; ++dim)
    boxes.sizes[dim] = static_cast<std::uint64_t>(std::max<std::int64_t>(tensor.sizes[3 - dim], 1));
  for (std::size_t dim = 0; dim < 3; ++dim)
    boxes.strides[dim] = boxes.sizes[dim + 1] == 1 ? 16 : static_cast<std::uint64_t>(tensor.strides[2 - dim]) * sizeInBytes(tensor.dtype);
  return boxes;
}

/// The counters of a launch are its own, so that launches on several streams may run at once.
void packTensorCopies(const ForwardCall &call, const ImageMetadata &meta, GpuArguments &arguments) {
  if (meta.qBoxRows == 0)
    return;
  arguments.boxes = {boxesOf(call.q, meta.qBoxRows), boxesOf(call.k, meta.kvBoxRows), boxesOf(call.v, meta.kvBoxRows)};
  const std::uint32_t none[2] = {};
  arguments.point(arguments.counters, arguments.add(std::span<const std::uint32_t>(none)));
}

Result<void> packDescales(const ForwardCall &call, GpuArguments &arguments, const GpuLauncher &gpu) {
  struct Descale {
    std::string_view name;
    const std::optional<TensorRef> &tensor;
    DescaleArg &arg;
  };
  for (const Descale &descale :
       {Descale{"qDescale", call.qDescale, arguments.args.qDescale}, Descale{"kDescale", call.kDescale, arguments.args.kDescale},
        Descale{"vDescale", call.vDescale, arguments.args.vDescale}}) {
    if (!descale.arg.data)
      continue;
    static float one = 1;
    const TensorRef given = descale.tensor ? *descale.tensor : TensorRef::dense(&one, DType::F32, {1, 1});
    if (Result<void> packed = packSmall(descale.name, given, descale.arg.data, arguments, gpu); !packed)
      return packed;
  }
  return {};
}

} // namespace

Result<void> checkMemory(const ForwardCall &call, const GpuLauncher &gpu) {
  for (const auto &[name, tensor] : {std::pair{"q", &call.q}, {"k", &call.k}, {"v", &call.v}, {"out", &call.out}})
    if (Result<void> on = checkOnDevice(name, *tensor, gpu); !on)
      return on;
  for (const auto &[name, tensor] : {std::pair{"lse", &call.lse}, {"max", &call.max}})
    if (*tensor)
      if (Result<void> on = checkOnDevice(name, **tensor, gpu); !on)
        return on;
  if (!call.pages || isNothing(call.pages->table))
    return {};
  const Result<MemoryPlace> place = gpu.placeOf(call.pages->table.data);
  if (!place)
    return place.error();
  return isHostReadable(*place)
             ? Result<void>()
             : invalidTensor("pages.table", "its data is on the GPU, and its entries are checked on the host; give a copy in host memory");
}

Result<std::vector<MemoryPlace>> placesOfCaptures(const std::vector<TensorRef> &captures, const ModImpl &mod, const GpuLauncher &gpu) {
  std::vector<MemoryPlace> places;
  for (std::size_t i = 0; i < captures.size(); ++i) {
    const Result<MemoryPlace> place = isNothing(captures[i]) ? MemoryPlace::Host : gpu.placeOf(captures[i].data);
    if (!place)
      return place.error();
    if (Result<void> travels = checkTravels(fmt::format("capture '{}'", mod.formula.captures[i].name), captures[i], *place); !travels)
      return travels.error();
    places.push_back(*place);
  }
  return places;
}

bool areReadable(std::span<const MemoryPlace> places) {
  return std::all_of(places.begin(), places.end(), [](MemoryPlace place) { return place == MemoryPlace::Host; });
}

Result<void> packArguments(PreparedCall &prepared, const std::vector<TensorRef> &captures, std::span<const MemoryPlace> places) {
  prepared.gpu = std::make_unique<GpuArguments>();
  GpuArguments &arguments = *prepared.gpu;
  KernelArgs &args = arguments.args = prepared.job.args;
  const GpuLauncher &gpu = *prepared.kernel->gpu;
  packCaptures(arguments, prepared.captures, captures, places);
  packTensorCopies(*prepared.call, prepared.kernel->meta, arguments);
  args.scalars = nullptr;
  if (!prepared.scalars.empty())
    arguments.point(args.scalars, arguments.add(std::span<const ScalarArg>(prepared.scalars)));
  if (args.plan.offsets) {
    arguments.point(args.plan.offsets, arguments.add(std::span<const std::int64_t>(prepared.plan.offsets)));
    arguments.point(args.plan.runs, arguments.add(std::span<const RunArg>(prepared.plan.runs)));
  }
  if (prepared.call->pages)
    arguments.point(args.pages.table, arguments.add(std::span<const std::int64_t>(prepared.pages)));
  if (prepared.call->sinks)
    if (Result<void> packed = packSmall("sinks", *prepared.call->sinks, args.sinks.data, arguments, gpu); !packed)
      return packed;
  return packDescales(*prepared.call, arguments, gpu);
}

namespace {

/// One block per tile.
runtime::GpuGrid gridOfTiles(const ImageMetadata &meta, const KernelArgs &args) {
  return {args.B * args.Hq * ((args.M + meta.tileRows - 1) / meta.tileRows), 0, 0};
}

/// One block per part of a tile, about as many as fill the GPU. Says in `args` how keys are cut.
runtime::GpuGrid gridOfParts(const ImageMetadata &meta, KernelArgs &args, std::int64_t fullGrid) {
  const std::int64_t rows = args.M * (args.Hq / args.Hkv), rowTiles = (rows + meta.tileRows - 1) / meta.tileRows;
  const std::int64_t tiles = args.B * args.Hkv * rowTiles;
  const std::int64_t keys = runtime::gpuKeysPerPart(args.N, tiles, meta.tileCols, fullGrid);
  args.split = {keys, std::max<std::int64_t>(1, (args.N + keys - 1) / keys), nullptr};
  runtime::GpuGrid grid{tiles * args.split.parts, 0, 0};
  if (args.split.parts > 1) {
    grid.stateBytes = static_cast<std::size_t>(grid.blocks * std::min(rows, meta.tileRows)) * meta.stateRowBytes;
    grid.counterBytes = static_cast<std::size_t>(tiles) * sizeof(std::uint32_t);
  }
  return grid;
}

Result<runtime::GpuGrid> gridOf(const KernelImpl &kernel, KernelArgs &args) {
  if (kernel.meta.stateRowBytes == 0)
    return gridOfTiles(kernel.meta, args);
  Result<runtime::CudaDevice *> device = kernel.gpu->device();
  if (!device)
    return device.error();
  // K and V that are widened, or looked up in a table, keep a multiprocessor waiting for its own work: two blocks take turns at that.
  const int blocksPerMultiprocessor = isFloat8(kernel.meta.kvType) || kernel.meta.paged ? 2 : 1;
  return gridOfParts(kernel.meta, args, std::int64_t{(*device)->multiprocessors()} * blocksPerMultiprocessor);
}

} // namespace

Result<void> enqueue(PreparedCall &prepared) {
  const KernelImpl &kernel = *prepared.kernel;
  const auto inFormula = [&](const Error &error) {
    return Error{error.code, fmt::format("{}\nIts formula:\n{}", error.message, kernel.mod.canonicalText())};
  };
  if (!kernel.program->isLoaded()) {
    const std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
    if (Result<void> loaded = kernel.gpu->load(*kernel.program); !loaded)
      return inFormula(loaded.error());
    prepared.report.loadNs += nanosecondsSince(begin);
  }
  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  KernelArgs &args = prepared.gpu->args;
  const Result<runtime::GpuGrid> grid = gridOf(kernel, args);
  if (!grid)
    return inFormula(grid.error());
  const GpuLauncher::Options options{prepared.call->stream, prepared.call->timeOnDevice, kernel.meta.checkedIndices};
  Result<std::optional<runtime::GpuTicket>> ticket = kernel.gpu->launch(*kernel.program, *prepared.gpu, *grid, options);
  if (!ticket)
    return inFormula(ticket.error());
  if (*ticket)
    prepared.report.launches.emplace_back(
        std::make_shared<const LaunchImpl>(LaunchImpl{std::move(**ticket), args, expr::listCaptures(prepared.mod->formula)}));
  prepared.report.runNs = nanosecondsSince(start);
  return {};
}

} // namespace attnjit::engine

namespace attnjit::inline v0 {

Result<void> Launch::status() const {
  const std::int64_t status = launch->ticket.status();
  return status == kStatusOk ? Result<void>() : engine::outOfRangeError(status, launch->args, launch->captures);
}

Result<std::int64_t> Launch::deviceNs() const { return launch->ticket.deviceNs(); }

} // namespace attnjit::inline v0
