#include "../TileToVector/Elements.h"
#include "FormulaMath.h"
#include "MmaSync.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace attnjit::tile {

GpuTarget GpuTarget::forChip(StringRef chip) {
  // CUDA C++ Programming Guide, technical specifications: shared memory per thread block, less the one kilobyte that the system keeps.
  int64_t kibibytes =
      llvm::StringSwitch<int64_t>(chip).Cases({"sm_80", "sm_87"}, 163).Cases({"sm_90", "sm_90a", "sm_100", "sm_100a"}, 227).Default(99);
  return {chip.str(), kibibytes * 1024};
}

TileSizes chooseMmaSyncTile(int64_t headDim, int64_t valueDim) {
  // Per thread, 64 keys cost 32 registers of scores and D 128 costs 64 of accumulators; wider heads leave room for 32 keys.
  return {64, std::max(headDim, valueDim) <= 128 ? 64 : 32};
}

static std::string toText(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

static std::optional<std::string> refuseDim(StringRef what, int64_t size) {
  if (size % 16 == 0 && size <= 256)
    return std::nullopt;
  return (what + " is " + Twine(size) + "; mma.sync tiles need a multiple of 16 up to 256").str();
}

static std::optional<std::string> refuseFormula(StringRef what, Region *formula) {
  std::optional<std::string> missing = functionMissingOnGpu(formula);
  if (!missing)
    return std::nullopt;
  return (what + " uses " + *missing + ", which has no GPU form yet").str();
}

std::optional<std::string> mmaSyncRefusal(const TileProgram &program, const GpuTarget &target) {
  if (!program.qType.isBF16() && !program.qType.isF16())
    return "q is " + toText(program.qType) + "; tensor cores of " + target.chip + " multiply bf16 or f16";
  if (program.kvType != program.qType && !isFloat8(program.kvType))
    return "k and v are " + toText(program.kvType) + " but q is " + toText(program.qType) + "; tensor cores need one type, to which 8-bit floats are widened";
  if (program.outType != program.qType && !program.outType.isF32())
    return "out is " + toText(program.outType) + "; expected f32 or the type of q";
  if (program.paged)
    return "k and v lie in pages, whose table mma.sync kernels do not read";
  if (program.isSplit)
    return "it walks all keys of a tile at once, the program cuts them into parts (tile.split)";
  if (program.isTwoPass)
    return "prob_mod is not proportional to p, so it takes two passes over the keys; this schedule has one";
  for (auto refusal : {refuseDim("D", program.headDim), refuseDim("Dv", program.valueDim)})
    if (refusal)
      return refusal;
  if (program.tileRows % 16 || program.tileRows < 16 || program.tileRows > 128)
    return llvm::formatv("tiles of {0} rows; expected a multiple of 16 from 16 to 128", program.tileRows).str();
  if (program.tileCols % 16 || program.tileCols < 16 || program.tileCols > 128)
    return llvm::formatv("tiles of {0} keys; expected a multiple of 16 from 16 to 128", program.tileCols).str();
  MmaSyncShape shape = MmaSyncShape::of(program);
  if (shape.sharedBytes() > target.sharedBytes)
    return llvm::formatv("tiles of {0} x {1} at D {2}, Dv {3} take {4} bytes of shared memory; a block of {5} has {6}", shape.rows,
                         shape.cols, shape.headDim, shape.valueDim, shape.sharedBytes(), target.chip, target.sharedBytes)
        .str();
  for (auto refusal : {refuseFormula("score_mod", program.score), refuseFormula("mask_mod", program.mask),
                       refuseFormula("prob_mod", program.prob), refuseFormula("the closed form of the mask", program.closedForm)})
    if (refusal)
      return refusal;
  return std::nullopt;
}

} // namespace attnjit::tile
