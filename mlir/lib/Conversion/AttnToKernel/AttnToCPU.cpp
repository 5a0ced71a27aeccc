#include "CpuLauncher.h"
#include "KernelSource.h"

#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;

namespace attnjit::attn {

#define GEN_PASS_DECL_CONVERTATTNTOCPUPASS
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

class Converter {
public:
  Converter(ModuleOp module, ArrayRef<CpuSchedule> schedules, const tile::CpuTarget &target)
      : symbols(module), schedules(schedules), target(target) {}

  LogicalResult convert(AttentionOp op) {
    if (op.hasTensors())
      return op.emitOpError() << "is on tensors; expected memrefs, which one-shot-bufferize makes of them";
    FailureOr<func::FuncOp> launcher = launcherOf(op);
    if (failed(launcher))
      return failure();
    OpBuilder builder(op);
    func::CallOp::create(builder, op.getLoc(), *launcher, op->getOperands());
    op.erase();
    return success();
  }

private:
  /// One launcher and one kernel for all ops that agree in formula, types and the roles of their operands.
  FailureOr<func::FuncOp> launcherOf(AttentionOp op) {
    FailureOr<KernelSource> source = kernelSourceOf(op);
    if (failed(source))
      return failure();
    std::string key = expr::print(source->formula);
    llvm::raw_string_ostream os(key);
    llvm::interleaveComma(op->getOperandTypes(), os);
    os << op.getProperties().operandSegmentSizes[3] << (op.getScale() ? "s" : "") << (op.getSinks() ? "k" : "");
    func::FuncOp &known = launchers[key];
    if (known)
      return known;
    FailureOr<CpuKernel> kernel = buildKernel(op, *source);
    if (failed(kernel))
      return failure();
    OpBuilder builder(op.getContext());
    auto launcher = func::FuncOp::create(builder, op.getLoc(), "attention", builder.getFunctionType(op->getOperandTypes(), {}));
    launcher.setPrivate();
    symbols.insert(launcher);
    buildCpuLauncher(op, *kernel, launcher);
    return known = launcher;
  }

  /// The kernel of the first schedule that takes it.
  FailureOr<CpuKernel> buildKernel(AttentionOp op, KernelSource &source) {
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
    symbols.insert(kernel);
    kernel.getBody().takeBody(function.getBody());
    Operation *end = kernel.getBody().front().getTerminator();
    builder.setInsertionPoint(end);
    LLVM::ReturnOp::create(builder, end->getLoc(), ValueRange());
    end->erase();
    return kernel;
  }

  SymbolTable symbols;
  ArrayRef<CpuSchedule> schedules; ///< in this order; empty: as is best
  tile::CpuTarget target;
  llvm::StringMap<func::FuncOp> launchers;
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
    Converter converter(getOperation(), chosen->second, target);
    SmallVector<AttentionOp> ops;
    getOperation().walk([&](AttentionOp op) { ops.push_back(op); });
    for (AttentionOp op : ops)
      if (failed(converter.convert(op)))
        return signalPassFailure();
  }
};

} // namespace

void registerConvertAttnToCPUPass() {
  registerPass([] { return createConvertAttnToCPUPass(); });
}

} // namespace attnjit::attn
