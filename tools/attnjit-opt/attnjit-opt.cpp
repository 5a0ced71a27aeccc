// Runs passes on text: the work horse of the lit tests.
#include "Passes.h"

#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit/Version.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"

namespace {

constexpr const char *kOverview = R"(Runs attnjit's MLIR passes on text, in the order of the flags.

Examples:
  attnjit-dump --shape S=256,D=64 --mask-mod 'q_idx >= kv_idx' --emit attn -o attn.mlir
  attnjit-opt attn.mlir --attn-to-tile --tile-verify
  attnjit-opt attn.mlir --attn-to-tile --convert-tile-to-vector='pipeline=flash vector-bits=512' --canonicalize
  attnjit-opt attn.mlir --attn-to-tile --mlir-print-ir-after-all -o tile.mlir
)";

} // namespace

int main(int argc, char **argv) {
  llvm::cl::HideUnrelatedOptions(llvm::ArrayRef<const llvm::cl::OptionCategory *>{}); // what is there by now belongs to code generators
  llvm::cl::SetVersionPrinter([](llvm::raw_ostream &out) { out << ATTNJIT_VERSION_STRING "\n"; });
  mlir::DialectRegistry registry;
  registry.insert<attnjit::attn::AttnDialect, attnjit::tile::TileDialect, mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::gpu::GPUDialect,
                  mlir::LLVM::LLVMDialect, mlir::math::MathDialect, mlir::memref::MemRefDialect, mlir::NVVM::NVVMDialect, mlir::scf::SCFDialect,
                  mlir::vector::VectorDialect>();
  attnjit::registerPasses();
  const auto [input, output] = mlir::registerAndParseCLIOptions(argc, argv, kOverview, registry);
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, input, output, registry));
}
