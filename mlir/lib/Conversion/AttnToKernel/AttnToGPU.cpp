#include "Outliner.h"

#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace attnjit::attn {

#define GEN_PASS_DEF_CONVERTATTNTOGPUPASS
#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h.inc"

namespace {

using tile::GpuPipeline;

class GpuKernels {
public:
  GpuKernels(Outliner &outliner, StringRef chip) : outliner(outliner), target(tile::GpuTarget::forChip(chip)) {
    target.alignedOperands = false; // tensor maps would be made on the host, for each launch
  }

  /// The first pipeline that takes the program: tensor cores, else multiply-adds.
  LogicalResult build(AttentionOp op, KernelSource &source, func::FuncOp function) {
    std::string reasons;
    for (GpuPipeline pipeline : {GpuPipeline::Flash, GpuPipeline::Math}) {
      AttnProblem &problem = source.problem;
      const tile::TileSizes sizes = pipeline == GpuPipeline::Flash
                                        ? tile::chooseMmaSyncTile(problem.D, problem.Dv)
                                        : tile::chooseSimtTile(problem.Dv, problem.qType == DType::F64 ? 64 : 32);
      problem.tileRows = sizes.rows;
      problem.tileCols = sizes.cols;
      OwningOpRef<ModuleOp> module = importFormula(op.getContext(), source.formula, problem);
      if (!module || failed(pipelines::attnToTile(*module)))
        return op.emitOpError() << "could not be lowered to tiles";
      FailureOr<tile::TileProgram> program = tile::TileProgram::match(pipelines::singleOp<tile::KernelOp>(*module));
      if (failed(program))
        return failure();
      tile::chooseGpuSchedule(*program, target, pipeline);
      if (std::optional<std::string> reason = tile::gpuRefusal(*program, target)) {
        reasons += "; " + *reason;
        continue;
      }
      if (failed(pipelines::tileToGpu(*module, target)))
        return op.emitOpError() << "could not be lowered to a GPU";
      adopt(op, *module, sizes, function);
      return success();
    }
    return op.emitOpError() << "is taken by no schedule for " << target.chip << reasons;
  }

private:
  /// The kernel and its shared memory move into a gpu.module; the function says where to find it and how it is launched.
  void adopt(AttentionOp op, ModuleOp from, const tile::TileSizes &sizes, func::FuncOp function) {
    OpBuilder builder(op.getContext());
    auto target = NVVM::NVVMTargetAttr::get(op.getContext(), /*optLevel=*/3, "nvptx64-nvidia-cuda", this->target.chip, "+ptx80");
    auto module = gpu::GPUModuleOp::create(builder, op.getLoc(), "attention_module", ArrayRef<Attribute>{target});
    outliner.insert(module);
    module.getBody()->getOperations().splice(module.getBody()->begin(), from.getBody()->getOperations());
    auto kernel = *module.getOps<LLVM::LLVMFuncOp>().begin();
    kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), builder.getUnitAttr());
    for (StringRef fact : {"attnjit.threads_per_block", "attnjit.shared_bytes", "attnjit.q_box_rows", "attnjit.kv_box_rows"}) {
      Attribute value = kernel->removeAttr(fact);
      if (!fact.ends_with("box_rows")) // there are no boxes
        function->setAttr(fact, value);
    }
    function->setAttr("attnjit.tile_rows", builder.getI64IntegerAttr(sizes.rows));
    auto inner = SymbolRefAttr::get(op.getContext(), kernel.getSymName());
    function->setAttr("attnjit.kernel", SymbolRefAttr::get(module.getSymNameAttr(), {cast<FlatSymbolRefAttr>(inner)}));
  }

  Outliner &outliner;
  tile::GpuTarget target;
};

struct ConvertAttnToGPUPass : impl::ConvertAttnToGPUPassBase<ConvertAttnToGPUPass> {
  using ConvertAttnToGPUPassBase::ConvertAttnToGPUPassBase;

  void runOnOperation() override {
    Outliner outliner(getOperation());
    GpuKernels kernels(outliner, chip);
    auto build = [&](AttentionOp op, KernelSource &source, func::FuncOp function) { return kernels.build(op, source, function); };
    if (failed(outliner.run(build)))
      signalPassFailure();
  }
};

} // namespace

void registerConvertAttnToGPUPass() {
  registerPass([] { return createConvertAttnToGPUPass(); });
}

} // namespace attnjit::attn
