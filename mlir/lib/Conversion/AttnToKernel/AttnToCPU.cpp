#include "CpuLauncher.h"
#include "Outliner.h"

#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace attnjit::attn {

#define GEN_PASS_DEF_CONVERTATTNTOCPUPASS
#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h.inc"

namespace {

using pipelines::CpuOptions;
using pipelines::CpuSchedule;

/// Up to so many queries the streaming schedule is the faster one (docs/performance.md).
constexpr int64_t kFewQueries = 16;

/// Takes what a kernel has to tell its launcher off the function.
int64_t takeSize(func::FuncOp function, StringRef name) {
  auto attribute = cast_or_null<IntegerAttr>(function->removeAttr(name));
  return attribute ? attribute.getInt() : 0;
}

class CpuKernels {
public:
  CpuKernels(Outliner &outliner, ArrayRef<CpuSchedule> schedules, const tile::CpuTarget &target)
      : outliner(outliner), schedules(schedules), target(target) {}

  /// The kernel of the first schedule that takes it.
  FailureOr<CpuKernel> build(AttentionOp op, KernelSource &source) {
    std::string reasons;
    for (CpuSchedule schedule : schedules.empty() ? automatic(op) : SmallVector<CpuSchedule>(schedules)) {
      const CpuOptions options{schedule, target};
      AttnProblem &problem = source.problem;
      const bool inBf16 = problem.qType == DType::BF16 && problem.kvType == DType::BF16;
      const tile::TileSizes sizes = pipelines::chooseTile(options, problem.D, problem.Dv, problem.qType == DType::F64 ? 64 : 32, inBf16);
      problem.tileRows = sizes.rows;
      problem.tileCols = sizes.cols;
      OwningOpRef<ModuleOp> module = importFormula(op.getContext(), source.formula, problem);
      if (!module || failed(pipelines::attnToTile(*module, schedule == CpuSchedule::Efficient)))
        return op.emitOpError() << "could not be lowered to tiles";
      FailureOr<tile::TileProgram> program = tile::TileProgram::match(pipelines::singleOp<tile::KernelOp>(*module));
      if (failed(program))
        return failure();
      if (std::optional<std::string> reason = pipelines::refusal(*program, options)) {
        reasons += "; " + *reason;
        continue;
      }
      if (failed(pipelines::tileToVector(*module, options)))
        return op.emitOpError() << "could not be lowered to vectors";
      return adopt(pipelines::singleOp<func::FuncOp>(*module), sizes, problem);
    }
    return op.emitOpError() << "is taken by no schedule that was allowed" << reasons;
  }

private:
  static SmallVector<CpuSchedule> automatic(AttentionOp op) {
    const int64_t queries = cast<MemRefType>(op.getQ().getType()).getDimSize(2);
    SmallVector<CpuSchedule> order{CpuSchedule::Flash, CpuSchedule::Generic};
    if (!ShapedType::isDynamic(queries) && queries <= kFewQueries)
      order.insert(order.begin(), CpuSchedule::Efficient);
    return order;
  }

  CpuKernel adopt(func::FuncOp function, const tile::TileSizes &sizes, const AttnProblem &problem) {
    const bool hasParts = takeSize(function, "attnjit.state_row_bytes") > 0;
    takeSize(function, "attnjit.rounds"); // of one part there is one
    const int64_t workspaceBytes = takeSize(function, "attnjit.workspace_bytes");
    return {asLlvmFunction(function), sizes, workspaceBytes, hasParts, problem.checkedIndices};
  }

  /// An llvm.func, for it holds no memref: passes that go through functions for the sake of those, as deallocation does, pass it by.
  LLVM::LLVMFuncOp asLlvmFunction(func::FuncOp function) {
    OpBuilder builder(function.getContext());
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), function.getArgumentTypes());
    auto kernel = LLVM::LLVMFuncOp::create(builder, function.getLoc(), "attention_kernel", type, LLVM::Linkage::Internal);
    // Its loads of KernelArgs are invariant, which holds in the kernel and not where the stores stand.
    kernel.setNoInline(true);
    outliner.insert(kernel);
    kernel.getBody().takeBody(function.getBody());
    Operation *end = kernel.getBody().front().getTerminator();
    builder.setInsertionPoint(end);
    LLVM::ReturnOp::create(builder, end->getLoc(), ValueRange());
    end->erase();
    return kernel;
  }

  Outliner &outliner;
  ArrayRef<CpuSchedule> schedules; ///< in this order; empty: as is best
  tile::CpuTarget target;
};

struct ConvertAttnToCPUPass : impl::ConvertAttnToCPUPassBase<ConvertAttnToCPUPass> {
  using ConvertAttnToCPUPassBase::ConvertAttnToCPUPassBase;

  void runOnOperation() override {
    const std::pair<StringRef, SmallVector<CpuSchedule>> pipelines[] = {
        {"auto", {}}, {"math", {CpuSchedule::Generic}}, {"flash", {CpuSchedule::Flash}}, {"efficient", {CpuSchedule::Efficient}}};
    const auto *chosen = llvm::find_if(pipelines, [&](const auto &row) { return row.first == pipeline; });
    if (chosen == std::end(pipelines)) {
      getOperation().emitError() << "pipeline: expected 'auto', 'math', 'flash' or 'efficient', got '" << pipeline << "'";
      return signalPassFailure();
    }
    if (vectorBits != 256 && vectorBits != 512) {
      getOperation().emitError() << "vector-bits: expected 256 or 512, got " << vectorBits.getValue();
      return signalPassFailure();
    }
    const tile::CpuTarget target{vectorBits, vectorBits == 512 ? 32 : 16, tile::Bf16Unit::None, /*callsFunctions=*/false};
    Outliner outliner(getOperation());
    CpuKernels kernels(outliner, chosen->second, target);
    auto build = [&](AttentionOp op, KernelSource &source, func::FuncOp launcher) -> LogicalResult {
      FailureOr<CpuKernel> kernel = kernels.build(op, source);
      if (succeeded(kernel))
        buildCpuLauncher(op, *kernel, launcher);
      return kernel;
    };
    if (failed(outliner.run(build)))
      signalPassFailure();
  }
};

} // namespace

void registerConvertAttnToCPUPass() {
  registerPass([] { return createConvertAttnToCPUPass(); });
}

} // namespace attnjit::attn
