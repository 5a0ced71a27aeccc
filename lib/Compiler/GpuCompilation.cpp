// The GPU's way down the ladder: tile -> gpu -> llvm -> ll -> ptx. The PTX text is the image; the driver of the machine where it runs
// assembles it.
#include "Compiler/Compilation.h"

#include "Expr/Ir.h"
#include "Target/Cpu/CpuBackend.h"
#include "Target/Nvptx/NvptxBackend.h"
#include "Target/Nvptx/ProblemText.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

using namespace mlir;

namespace attnjit::compiler {

static constexpr const char *kStateRowAttr = "attnjit.state_row_bytes";

tile::GpuTarget Compilation::gpuTarget() const {
  tile::GpuTarget target = tile::GpuTarget::forChip(header.spec.target.cpu);
  target.alignedOperands = header.spec.aligned;
  return target;
}

tile::GpuPipeline Compilation::gpuPipeline() const {
  return header.spec.backend == SDPBackend::Math ? tile::GpuPipeline::Math : tile::GpuPipeline::Flash;
}

/// Whether the formulas are long, or hold many addresses through a block of keys. Those of score_mod do not take many: elements lie at
/// constant offsets, or are staged.
static bool needsRegisters(const expr::Formula &formula) {
  constexpr std::size_t kLong = 24;
  const auto isLoad = [](const expr::Node &node) { return node.op == expr::Op::Load; };
  const auto isLoop = [](const expr::Node &node) { return expr::isReduction(node.op); };
  return formula.score.nodes.size() + formula.mask.nodes.size() + formula.prob.nodes.size() > kLong ||
         std::ranges::any_of(formula.score.nodes, isLoop) || std::ranges::any_of(formula.mask.nodes, isLoad) ||
         std::ranges::any_of(formula.prob.nodes, isLoad);
}

tile::TileSizes Compilation::chooseGpuTile() const {
  const KernelSpec &spec = header.spec;
  if (gpuPipeline() == tile::GpuPipeline::Math)
    return tile::chooseSimtTile(spec.Dv, spec.qType == DType::F64 ? 64 : 32);
  if (spec.backend == SDPBackend::EfficientAttention)
    return tile::chooseMmaSplitTile(spec.D, spec.Dv, isFloat8(spec.kvType), gpuTarget());
  const bool isReached = spec.aligned || tile::threadsCopyForWgmma(spec.D, spec.Dv, spec.narrowIndices);
  const bool onWgmma = gpuTarget().hasWgmma && isReached && spec.kvType == spec.qType && spec.contiguous && !spec.paged;
  return onWgmma ? tile::chooseWgmmaTile(spec.D, spec.Dv, needsRegisters(spec.formula)) : tile::chooseMmaSyncTile(spec.D, spec.Dv);
}

Result<KernelImage> Compilation::goOnFromTileOnGpu(const tile::TileProgram &program) {
  const tile::GpuTarget target = gpuTarget();
  if (std::optional<std::string> reason = tile::gpuRefusal(program, target))
    return Error{ErrorCode::Unsupported, fmt::format("{} cannot compute this problem: {}", attnjit::name(header.spec.backend), *reason)};
  if (timed("tile-to-gpu", [&] { return failed(pipelines::tileToGpu(*module, target)); }))
    return failure("tile-to-gpu");
  return goOnFromGpu();
}

Result<KernelImage> Compilation::goOnFromGpu() {
  auto function = pipelines::singleOp<LLVM::LLVMFuncOp>(*module);
  auto number = [&](llvm::StringRef name) { return static_cast<std::uint32_t>(function->getAttrOfType<IntegerAttr>(name).getInt()); };
  header.threadsPerBlock = number("attnjit.threads_per_block");
  header.sharedBytes = number("attnjit.shared_bytes");
  header.qBoxRows = number("attnjit.q_box_rows");
  header.kvBoxRows = number("attnjit.kv_box_rows");
  header.stateRowBytes = function->hasAttr(kStateRowAttr) ? number(kStateRowAttr) : 0;
  showModule(Stage::Gpu);
  if (stopsAt(Stage::Gpu))
    return withoutCode();
  if (timed("gpu-to-llvm", [&] { return failed(slot.vectorToLlvm.run(*module)); }))
    return failure("gpu-to-llvm");
  return goOnFromLlvm();
}

Result<KernelImage> Compilation::goOnFromLlvmOnGpu() {
  // The translation warns about attributes it does not know.
  (*module)->removeAttr("attnjit.problem");
  auto function = pipelines::singleOp<LLVM::LLVMFuncOp>(*module);
  for (llvm::StringRef name :
       {"attnjit.threads_per_block", "attnjit.shared_bytes", "attnjit.q_box_rows", "attnjit.kv_box_rows", kStateRowAttr})
    function->removeAttr(name);
  llvmContext = target::createCpuContext(); // no loop strength reduction here either: ptxas does its own
  llvmModule = timed("llvm-to-ll", [&] { return pipelines::llvmToLl(*module, *llvmContext); });
  if (!llvmModule)
    return failure("translation to LLVM IR");
  Result<target::NvptxBackend> backend = createGpuBackend();
  if (!backend)
    return backend.error();
  backend->prepare(*llvmModule);
  if (options.onStage)
    target::attachProblemMetadata(*llvmModule, print(header));
  return goOnFromLl();
}

static KernelImage imageOfPtx(ImageMetadata meta, llvm::StringRef ptx) {
  KernelImage image{std::move(meta), std::vector<std::byte>(ptx.size())};
  std::memcpy(image.code.data(), ptx.data(), ptx.size());
  return image;
}

Result<KernelImage> Compilation::goOnFromLlOnGpu() {
  Result<target::NvptxBackend> backend = createGpuBackend();
  if (!backend)
    return backend.error();
  if (llvm::Error error = timed("optimize", [&] { return backend->optimize(*llvmModule); }))
    return failure("optimizing LLVM IR", llvm::toString(std::move(error)));
  auto ptx = timed("codegen", [&] { return backend->emitPtx(*llvmModule); });
  if (!ptx)
    return failure("code generation", llvm::toString(ptx.takeError()));
  if (options.onStage)
    options.onStage(Stage::Ptx, target::withProblemComment(*ptx, print(header)));
  if (stopsAt(Stage::Ptx))
    return withoutCode();
  return imageOfPtx(metadataOf(header, buildId), *ptx);
}

Result<KernelImage> Compilation::fromPtxText(std::string_view text) {
  llvm::StringRef ptx = text;
  if (Result<void> read = readHeader(Stage::Ptx, target::takeProblemComment(ptx)); !read)
    return read.error();
  if (!ptx.contains(fmt::format(".entry {}(", kEntryName)))
    return Error{ErrorCode::InvalidArgument, fmt::format("the 'ptx' text has no kernel: expected '.visible .entry {}('", kEntryName)};
  if (ptx.count('{') != ptx.count('}'))
    return Error{ErrorCode::InvalidArgument, "the 'ptx' text is not whole: its braces do not match"};
  if (options.onStage)
    options.onStage(Stage::Ptx, text);
  if (stopsAt(Stage::Ptx))
    return withoutCode();
  return imageOfPtx(metadataOf(header, buildId), ptx);
}

Result<target::NvptxBackend> Compilation::createGpuBackend() {
  llvm::Expected<target::NvptxBackend> backend = target::NvptxBackend::create(header.spec.target);
  if (!backend)
    return Error{ErrorCode::Unsupported, "cannot generate code for " + header.spec.target.cpu + ": " + llvm::toString(backend.takeError())};
  return std::move(*backend);
}

} // namespace attnjit::compiler
