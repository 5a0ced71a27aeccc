// Runs passes on text: the work horse of the lit tests.
#include "Passes.h"

#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h"
#include "attnjit-mlir/InitAll.h"
#include "attnjit/Version.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
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
  attnjit::registerAllDialects(registry);
  attnjit::attn::registerLowerToLlvmDialects(registry);
  registry.insert<mlir::gpu::GPUDialect>();
  attnjit::registerPasses();
  const auto [input, output] = mlir::registerAndParseCLIOptions(argc, argv, kOverview, registry);
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, input, output, registry));
}
