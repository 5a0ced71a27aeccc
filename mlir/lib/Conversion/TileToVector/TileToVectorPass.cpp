#include "attnjit-mlir/Conversion/TileToVector/TileToVector.h"

#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace attnjit::tile {

#define GEN_PASS_DECL_CONVERTTILETOVECTORPASS
#define GEN_PASS_DEF_CONVERTTILETOVECTORPASS
#include "attnjit-mlir/Conversion/TileToVector/TileToVector.h.inc"

namespace {

struct ConvertTileToVectorPass : impl::ConvertTileToVectorPassBase<ConvertTileToVectorPass> {
  using ConvertTileToVectorPassBase::ConvertTileToVectorPassBase;

  void runOnOperation() override {
    if (pipeline != "math" && pipeline != "flash" && pipeline != "efficient") {
      getOperation().emitError() << "pipeline: expected 'math', 'flash' or 'efficient', got '" << pipeline << "'";
      return signalPassFailure();
    }
    if (vectorBits != 128 && vectorBits != 256 && vectorBits != 512) {
      getOperation().emitError() << "vector-bits: expected 128, 256 or 512, got " << vectorBits.getValue();
      return signalPassFailure();
    }
    std::optional<Bf16Unit> unit = llvm::StringSwitch<std::optional<Bf16Unit>>(bf16)
                                       .Case("none", Bf16Unit::None)
                                       .Case("vector", Bf16Unit::Vector)
                                       .Case("tile", Bf16Unit::Tile)
                                       .Default(std::nullopt);
    if (!unit || (*unit != Bf16Unit::None && vectorBits != 512)) {
      getOperation().emitError() << "bf16: expected 'none' or, with vector-bits=512, 'vector' or 'tile', got '" << bf16 << "'";
      return signalPassFailure();
    }
    CpuTarget target{vectorBits, vectorBits == 512 ? 32 : 16, *unit};
    for (KernelOp kernel : llvm::make_early_inc_range(getOperation().getOps<KernelOp>()))
      if (failed(lower(kernel, target)))
        return signalPassFailure();
  }

  LogicalResult lower(KernelOp kernel, const CpuTarget &target) {
    FailureOr<TileProgram> program = TileProgram::match(kernel);
    if (failed(program))
      return failure();
    if (pipeline == "math")
      return lowerGeneric(*program, target);
    bool flash = pipeline == "flash";
    if (std::optional<std::string> reason = flash ? flashRefusal(*program, target) : efficientRefusal(*program, target))
      return kernel.emitError() << "the " << pipeline << " schedule does not take this program: " << *reason;
    return flash ? lowerFlash(*program, target) : lowerEfficient(*program, target);
  }
};

} // namespace

void registerConvertTileToVectorPass() {
  registerPass([] { return createConvertTileToVectorPass(); });
}

} // namespace attnjit::tile
