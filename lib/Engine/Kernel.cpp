#include "attnjit/Kernel.h"

#include "Engine/CallCheck.h"
#include "Engine/CallOptions.h"
#include "Engine/GpuLaunch.h"
#include "Engine/Guard.h"
#include "Engine/KernelImpl.h"
#include "Engine/Launch.h"
#include "Engine/MaskedCall.h"
#include "Runtime/ThreadPool.h"
#include "Support/Files.h"
#include "Support/TargetDesc.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace attnjit {

namespace engine {

namespace {

/// Larger than any kernel; keeps a file that is none from filling the memory.
constexpr std::size_t kMaxImageBytes = std::size_t{256} << 20;

/// Metadata come from a file: a launch must not divide by them or index with them before they were looked at.
Result<void> checkMetadata(const ImageMetadata &meta) {
  const bool sizes = meta.D >= 1 && meta.D <= kMaxHeadDim && meta.Dv >= 1 && meta.Dv <= kMaxHeadDim && meta.tileRows >= 1 &&
                     meta.tileRows <= (1 << 20) && meta.tileCols >= 1 && meta.tileCols <= (1 << 20) &&
                     meta.workspaceBytes <= (std::uint64_t{1} << 40) && meta.stateRowBytes <= (1 << 20) && meta.rounds >= 1 &&
                     meta.rounds <= 2;
  const bool types = isFloat(meta.qType) && isFloat(meta.kvType) && isFloat(meta.outType) && isFloat(meta.sinks.value_or(DType::F32));
  if (sizes && types)
    return {};
  return Error{ErrorCode::Io, "not a usable kernel image: its metadata make no sense (sizes or dtypes out of range)"};
}

} // namespace

Result<void> checkCpu(const ImageMetadata &meta) {
  Result<TargetDesc> host = hostTarget();
  if (!host)
    return host.error();
  Result<TargetDesc> wanted = parseTarget(meta.cpu);
  if (!wanted)
    return Error{ErrorCode::Unsupported, fmt::format("the kernel was compiled for '{}', which this library does not know", meta.cpu)};
  if (!host->runs(*wanted))
    return Error{ErrorCode::Unsupported,
                 fmt::format("the kernel was compiled for {} ({}); this CPU is {}", meta.cpu, meta.features, host->cpu)};
  return {};
}

namespace {

constexpr std::string_view kFormulaMark = "formula:\n";

/// Makes the kernel compute `mod`. Where the two formulas differ in numbers only, what the image says of itself follows, so that it can be
/// saved.
void setMod(KernelImpl &kernel, const Mod &mod) {
  kernel.mod = mod;
  std::string &text = kernel.meta.problemText;
  const std::size_t mark = text.find(kFormulaMark);
  if (mark == std::string::npos)
    return;
  const std::size_t at = mark + kFormulaMark.size();
  const std::string_view own = std::string_view(text).substr(at), wanted = mod.canonicalText();
  if (own != wanted && expr::withoutLiteralValues(own) == expr::withoutLiteralValues(wanted))
    text.replace(at, std::string::npos, wanted);
}

} // namespace

std::shared_ptr<const KernelImpl> withMod(const std::shared_ptr<const KernelImpl> &kernel, const Mod &mod) {
  const std::string &own = kernel->mod.canonicalText(), &wanted = mod.canonicalText();
  const auto sameName = [](const CaptureInfo &a, const CaptureInfo &b) { return a.name == b.name; };
  const std::vector<CaptureInfo> &order = kernel->mod.captures();
  const bool sameOrder = std::equal(order.begin(), order.end(), mod.captures().begin(), mod.captures().end(), sameName);
  if ((own == wanted && sameOrder) || expr::withoutLiteralValues(own) != expr::withoutLiteralValues(wanted))
    return kernel;
  auto copy = std::make_shared<KernelImpl>(*kernel);
  setMod(*copy, mod);
  return copy;
}

Result<Mod> modOf(const ImageMetadata &meta) {
  constexpr std::string_view mark = kFormulaMark;
  const std::size_t at = meta.problemText.find(mark);
  if (at == std::string::npos)
    return Error{ErrorCode::Io, "not a usable kernel image: it does not say which formula it computes"};
  Result<Mod> mod = Mod::parseCanonical(std::string_view(meta.problemText).substr(at + mark.size()));
  if (!mod)
    return Error{ErrorCode::Io, "not a usable kernel image: its formula cannot be read: " + mod.error().message};
  return mod;
}

bool sameCaptures(const ImageMetadata &meta, const expr::Formula &formula) {
  auto sameTensor = [](const CaptureMeta &a, const expr::CaptureDecl &b) { return a.dtype == b.dtype && a.rank == b.rank; };
  auto sameNumber = [](const ScalarMeta &a, const expr::ScalarDecl &b) { return a.isFloat == (b.kind == expr::Kind::Float); };
  return std::equal(meta.captures.begin(), meta.captures.end(), formula.captures.begin(), formula.captures.end(), sameTensor) &&
         std::equal(meta.scalars.begin(), meta.scalars.end(), formula.scalars.begin(), formula.scalars.end(), sameNumber);
}

std::shared_ptr<const runtime::GpuProgram> programOf(const KernelImage &image) {
  const ImageMetadata &meta = image.meta;
  std::string name =
      fmt::format("the {} kernel for {} ({}, D {}, Dv {})", meta.pipeline, meta.cpu, attnjit::name(meta.qType), meta.D, meta.Dv);
  runtime::GpuSource source{
      {reinterpret_cast<const char *>(image.code.data()), image.code.size()}, meta.entry, std::move(name), meta.sharedBytes};
  return std::make_shared<const runtime::GpuProgram>(std::move(source), meta.threadsPerBlock, meta.cpu);
}

Result<std::shared_ptr<const KernelImpl>> loadImage(KernelImage image, const Mod &mod, const LaunchSite &site) {
  if (Result<void> meta = checkMetadata(image.meta); !meta)
    return meta.error();
  if (!sameCaptures(image.meta, mod.impl().formula))
    return Error{ErrorCode::Io, "not a usable kernel image: its argument list does not fit its formula"};
  auto kernel = std::make_shared<KernelImpl>();
  if (isCpu(image.meta.kind) && !image.code.empty() && checkCpu(image.meta)) {
    Result<std::shared_ptr<const runtime::ImageMapping>> mapping = runtime::ImageMapping::map(image.code, image.meta.entryOffset);
    if (!mapping)
      return mapping.error();
    kernel->mapping = std::move(*mapping);
  } else if (image.meta.kind == ImageKind::Ptx && !image.code.empty()) {
    kernel->program = programOf(image);
  } else {
    kernel->unmapped = std::move(image.code);
  }
  kernel->backend = parseSDPBackend(image.meta.pipeline).value_or(SDPBackend::Overrideable);
  kernel->pipeline = image.meta.pipeline;
  kernel->meta = std::move(image.meta);
  setMod(*kernel, mod);
  kernel->launcher = site.launcher;
  kernel->gpu = site.gpu;
  kernel->threads = site.threads;
  return std::shared_ptr<const KernelImpl>(std::move(kernel));
}

} // namespace engine

inline namespace v0 {

std::string_view name(KernelSource source) {
  constexpr std::array<std::string_view, 6> names = {"none", "compiled", "memory", "disk", "saved", "host"};
  return names[static_cast<std::size_t>(source)];
}

Kernel::Kernel(std::shared_ptr<const KernelImpl> kernel, KernelSource source) : kernel(std::move(kernel)), from(source) {}
Kernel::~Kernel() = default;
Kernel::Kernel(const Kernel &) = default;
Kernel::Kernel(Kernel &&other) noexcept : kernel(other.kernel), from(other.from) {} // a moved-from Kernel stays usable
Kernel &Kernel::operator=(const Kernel &) = default;
Kernel &Kernel::operator=(Kernel &&other) noexcept {
  kernel = other.kernel;
  from = other.from;
  return *this;
}

Result<ForwardReport> Kernel::forward(const ForwardCall &given) const {
  return engine::guarded([&]() -> Result<ForwardReport> {
    std::optional<ForwardCall> whole; // where it is the given one nothing is copied
    if (engine::hasOptions(given) || engine::hasOptions(kernel->mod)) {
      Result<ForwardCall> resolved = engine::withKernelOptions(given, kernel->mod);
      if (!resolved)
        return resolved.error();
      whole = std::move(*resolved);
    }
    if (given.blockMask) {
      Result<ForwardCall> resolved = engine::withBlockMask(whole ? *whole : given, kernel->mod);
      if (!resolved)
        return resolved.error();
      whole = std::move(*resolved);
    }
    const ForwardCall &call = whole ? *whole : given;
    if (kernel->program)
      if (Result<void> reachable = engine::checkMemory(call, *kernel->gpu); !reachable)
        return reachable.error();
    Result<engine::CheckedCall> checked = engine::checkCall(call, kernel->mod.impl(), engine::CheckFor::Launch);
    if (!checked)
      return checked.error();
    if (Result<void> fits = engine::checkFits(*kernel, checked->problem); !fits)
      return fits.error();
    const engine::PlanGrid grid = engine::planGrid(kernel->meta, checked->problem);
    if (call.blockMask && !kernel->host && engine::needsStateTable(*call.blockMask, checked->problem, grid))
      return Error{
          ErrorCode::InvalidArgument,
          grid.sharesHeads
              ? "blockMask: its lists tell query heads of one kv head apart, which this kernel computes together; use Engine::forward, "
                "which compiles for them"
              : fmt::format("blockMask: rows of blocks of {} queries, which come from lists, cut the tiles of {} queries of this "
                            "kernel; use a multiple of {}, or Engine::forward, which compiles for them",
                            call.blockMask->blockQ(), grid.rows, grid.rows)};
    Result<engine::PreparedCall> prepared = engine::prepareLaunch(*kernel, kernel->mod.impl(), std::move(*checked), call);
    if (!prepared)
      return prepared.error();
    std::size_t failed;
    Result<ForwardReport> report =
        engine::launch({&*prepared, 1}, *kernel->launcher, call.threads > 0 ? call.threads : kernel->threads, failed);
    if (report)
      report->source = kernel->host ? KernelSource::Host : from;
    return report;
  });
}

Result<std::vector<std::byte>> Kernel::bytes() const {
  if (kernel->host)
    return Error{ErrorCode::Unsupported, fmt::format("pipeline '{}' is a host callable, which has no image to save", kernel->pipeline)};
  const std::span<const std::byte> code = kernel->code();
  return serialize({kernel->meta, {code.begin(), code.end()}});
}

Result<void> Kernel::save(const std::string &path) const {
  Result<std::vector<std::byte>> image = bytes();
  if (!image)
    return image.error();
  return writeWholeFile(path, *image);
}

Result<Kernel> Kernel::fromBytes(std::span<const std::byte> bytes, Hooks hooks, int device) {
  return engine::guarded([&]() -> Result<Kernel> {
    if (Result<void> checked = engine::checkHooks(hooks); !checked)
      return checked.error();
    const engine::LaunchSite site{std::make_shared<runtime::CpuLauncher>(hooks), runtime::usableProcessors(),
                                  std::make_shared<runtime::GpuLauncher>("", device, hooks.deviceMemory)};
    Result<KernelImage> image = engine::chooseImage(bytes, *site.gpu);
    if (!image)
      return image.error();
    if (isCpu(image->meta.kind))
      if (Result<void> cpu = engine::checkCpu(image->meta); !cpu)
        return cpu.error();
    Result<Mod> mod = engine::modOf(image->meta);
    if (!mod)
      return mod.error();
    Result<std::shared_ptr<const KernelImpl>> kernel = engine::loadImage(std::move(*image), *mod, site);
    if (!kernel)
      return kernel.error();
    return Kernel(std::move(*kernel), KernelSource::Saved);
  });
}

Result<Kernel> Kernel::load(const std::string &path, Hooks hooks, int device) {
  Result<std::vector<std::byte>> file = readFile(path, engine::kMaxImageBytes);
  if (!file)
    return file.error();
  Result<Kernel> kernel = fromBytes(*file, std::move(hooks), device);
  if (!kernel)
    return Error{kernel.error().code, fmt::format("{}: {}", path, kernel.error().message)};
  return kernel;
}

SDPBackend Kernel::backend() const { return kernel->backend; }
const std::string &Kernel::pipeline() const { return kernel->pipeline; }
KernelSource Kernel::source() const { return from; }
const Mod &Kernel::mod() const { return kernel->mod; }
const std::string &Kernel::problemText() const { return kernel->meta.problemText; }
const std::string &Kernel::buildId() const { return kernel->meta.buildId; }
std::string_view Kernel::ptx() const { return kernel->program ? std::string_view(kernel->program->source.ptx) : std::string_view(); }
std::size_t Kernel::codeBytes() const { return kernel->code().size(); }
std::size_t Kernel::workspaceBytes() const { return kernel->meta.workspaceBytes; }
std::int64_t Kernel::tileRows() const { return kernel->meta.tileRows; }
std::int64_t Kernel::tileCols() const { return kernel->meta.tileCols; }

} // namespace v0

} // namespace attnjit
