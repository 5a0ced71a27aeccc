// Which schedule a GPU program gets, with which choices, and why one cannot take it.
#include "ElementMaps.h"
#include "FormulaMath.h"
#include "MmaSplit.h"
#include "MmaSync.h"
#include "SimtShape.h"
#include "WgmmaShape.h"

#include "../TileToVector/Elements.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace attnjit::tile {

GpuTarget GpuTarget::forChip(StringRef chip) {
  // CUDA C++ Programming Guide, technical specifications: shared memory per thread block, less the one kilobyte that the system keeps.
  int64_t kibibytes =
      llvm::StringSwitch<int64_t>(chip).Cases({"sm_80", "sm_87"}, 163).Cases({"sm_90", "sm_90a", "sm_100", "sm_100a"}, 227).Default(99);
  return {chip.str(), kibibytes * 1024, /*hasWgmma=*/chip == "sm_90a"};
}

//===------------------------------------------------------------------------------------------------------------------===//
// What the schedules ask
//===------------------------------------------------------------------------------------------------------------------===//

static std::string toText(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

static std::optional<std::string> refuseDim(StringRef what, int64_t size) {
  if (size <= 256)
    return std::nullopt;
  return (what + " is " + Twine(size) + "; registers of tensor cores' fragments end at 256").str();
}

static std::optional<std::string> refuseFormula(StringRef what, Region *formula) {
  std::optional<std::string> missing = functionMissingOnGpu(formula);
  if (!missing)
    return std::nullopt;
  return (what + " uses " + *missing + ", which has no GPU form").str();
}

static std::optional<std::string> refuseFormulas(const TileProgram &program) {
  for (auto refusal : {refuseFormula("score_mod", program.score), refuseFormula("mask_mod", program.mask),
                       refuseFormula("prob_mod", program.prob), refuseFormula("the closed form of the mask", program.closedForm)})
    if (refusal)
      return refusal;
  return std::nullopt;
}

static std::optional<std::string> refuseSplit(const TileProgram &program, bool computesParts = false) {
  if (program.isSplit == computesParts)
    return std::nullopt;
  return computesParts ? "it computes parts of the keys, the program does not cut them (tile.split)"
                       : "it walks all keys of a tile at once, the program cuts them into parts (tile.split)";
}

static std::optional<std::string> refuseProgram(const TileProgram &program, const GpuTarget &target, bool computesParts = false) {
  if (!program.qType.isBF16() && !program.qType.isF16())
    return "q is " + toText(program.qType) + "; tensor cores of " + target.chip + " multiply bf16 or f16";
  if (program.outType != program.qType && !program.outType.isF32())
    return "out is " + toText(program.outType) + "; expected f32 or the type of q";
  if (program.isTwoPass)
    return "prob_mod is not proportional to p, so it takes two passes over the keys; this schedule has one";
  for (auto refusal :
       {refuseSplit(program, computesParts), refuseDim("D", program.headDim), refuseDim("Dv", program.valueDim), refuseFormulas(program)})
    if (refusal)
      return refusal;
  return std::nullopt;
}

/// What mma.sync asks of K and V.
static std::optional<std::string> refuseKeys(const TileProgram &program) {
  if (program.kvType != program.qType && !isFloat8(program.kvType))
    return "k and v are " + toText(program.kvType) + " but q is " + toText(program.qType) +
           "; tensor cores need one type, to which 8-bit floats are widened";
  if (program.tileCols % 16 || program.tileCols < 16 || program.tileCols > 128)
    return llvm::formatv("tiles of {0} keys; expected a multiple of 16 from 16 to 128", program.tileCols).str();
  return std::nullopt;
}

static std::optional<std::string> refuseShared(const TileProgram &program, const GpuTarget &target, int64_t sharedBytes) {
  if (sharedBytes <= target.sharedBytes)
    return std::nullopt;
  return llvm::formatv("tiles of {0} x {1} at D {2}, Dv {3} take {4} bytes of shared memory; a block of {5} has {6}", program.tileRows,
                       program.tileCols, program.headDim, program.valueDim, sharedBytes, target.chip, target.sharedBytes)
      .str();
}

//===------------------------------------------------------------------------------------------------------------------===//
// mma.sync
//===------------------------------------------------------------------------------------------------------------------===//

TileSizes chooseMmaSyncTile(int64_t headDim, int64_t valueDim) {
  // Per thread, 64 keys cost 32 registers of scores and D 128 costs 64 of accumulators; wider heads leave room for 32 keys.
  return {64, std::max(headDim, valueDim) <= 128 ? 64 : 32};
}

std::optional<std::string> mmaSyncRefusal(const TileProgram &program, const GpuTarget &target) {
  if (auto refusal = refuseProgram(program, target))
    return refusal;
  if (program.tileRows % 16 || program.tileRows < 16 || program.tileRows > 128)
    return llvm::formatv("tiles of {0} rows; expected a multiple of 16 from 16 to 128", program.tileRows).str();
  if (auto refusal = refuseKeys(program))
    return refusal;
  return refuseShared(program, target, MmaSyncShape::of(program).sharedBytes());
}

//===------------------------------------------------------------------------------------------------------------------===//
// mma.sync by parts
//===------------------------------------------------------------------------------------------------------------------===//

static constexpr int64_t kFewestStages = 2, kMostStages = 4;

/// Shared memory of each of two blocks on one multiprocessor: one computes while the other begins or ends.
static int64_t halfOfShared(const GpuTarget &target) { return target.sharedBytes / 2 - 512; }

TileSizes chooseMmaSplitTile(int64_t headDim, int64_t valueDim, bool widensKeys, const GpuTarget &target) {
  // 16 keys for each of four warps, or where wide heads leave no room for that, of two.
  bool fits = MmaSplitShape::of(64, headDim, valueDim, widensKeys, kFewestStages).sharedBytes() <= target.sharedBytes;
  return {MmaSplitShape::kMaxRows, fits ? 64 : 32};
}

static MmaSplitAttr chooseMmaSplit(const TileProgram &program, const GpuTarget &target) {
  int64_t stages = kMostStages;
  while (stages > kFewestStages && MmaSplitShape::of(program, stages).sharedBytes() > halfOfShared(target))
    --stages;
  return MmaSplitAttr::get(program.kernel->getContext(), stages);
}

std::optional<std::string> mmaSplitRefusal(const TileProgram &program, const GpuTarget &target, MmaSplitAttr choices) {
  if (auto refusal = refuseProgram(program, target, /*computesParts=*/true))
    return refusal;
  if (program.tileRows < 1 || program.tileRows > MmaSplitShape::kMaxRows)
    return llvm::formatv("tiles of {0} rows; expected at most {1}", program.tileRows, MmaSplitShape::kMaxRows).str();
  if (auto refusal = refuseKeys(program))
    return refusal;
  return refuseShared(program, target, MmaSplitShape::of(program, choices.getKvStages()).sharedBytes());
}

//===------------------------------------------------------------------------------------------------------------------===//
// wgmma
//===------------------------------------------------------------------------------------------------------------------===//

TileSizes chooseWgmmaTile(int64_t headDim, int64_t valueDim, bool formulasNeedRegisters) {
  // Measured (docs/performance.md): a thread has 232 registers with two consumers and 160 with three, for half of the keys in scores, a
  // quarter in probabilities, half of Dv in accumulators, and what a formula needs: addresses, where it reads tensors.
  int64_t largest = std::max(headDim, valueDim);
  if (largest <= 64 && !formulasNeedRegisters)
    return {192, 128};
  if (valueDim <= 128 && headDim <= 192)
    return {128, 128};
  return {128, largest <= 192 ? 112 : 80};
}

/// How many instructions an element of the formulas comes to, roughly; a loop counts as more than any.
static int64_t weightOf(const TileProgram &program) {
  constexpr int64_t kFunction = 30, kLoop = 1000; // a polynomial or two; see VectorMath.h
  int64_t weight = 0;
  for (Region *formula : program.maps())
    formula->walk([&](Operation *op) {
      bool isInstruction =
          !isa<math::MathDialect, attn::AttnDialect>(op->getDialect()) || isa<attn::LoadOp, math::AbsFOp, math::Exp2Op>(op);
      weight += isa<attn::ReduceOp>(op) ? kLoop : isInstruction ? 1 : kFunction;
    });
  return weight;
}

bool threadsCopyForWgmma(int64_t headDim, int64_t valueDim, bool narrowIndices) {
  return headDim % 2 == 0 && valueDim % 2 == 0 && narrowIndices;
}

/// For scores, probabilities and accumulators, and what else a thread of a consumer needs.
static int64_t consumerRegistersOf(const TileProgram &program) {
  constexpr int64_t kOthers = 32;
  return program.tileCols / 2 + program.tileCols / 4 + paddedColumns(program.valueDim) / 2 + kOthers;
}

static WgmmaAttr chooseWgmma(const TileProgram &program, const GpuTarget &target) {
  // The producer computes the closed form, for which it gets registers that the consumers can spare. Together they have 65536 (with two
  // consumers 64512).
  bool isLarge = program.tileRows > 128;
  int64_t consumer = isLarge ? 160 : 232, producer = isLarge ? 32 : 40;
  bool threadCopies = !target.alignedOperands;
  if ((program.closedForm || threadCopies) && consumerRegistersOf(program) <= consumer - 8)
    consumer -= 8, producer = 56;
  // Overlap has the formulas in two places, and ptxas takes seconds for long ones, beside which nobody sees the products; a product on
  // its way while a loop turns would be waited for at once.
  constexpr int64_t kLongFormula = 80;
  bool overlaps = weightOf(program) < kLongFormula;
  auto withBuffers = [&](int64_t kvStages, int64_t qBuffers, bool stagesLoads = false) {
    return WgmmaAttr::get(program.kernel->getContext(), kvStages, qBuffers, consumer, producer, overlaps,
                          /*turns=*/program.valueDim > 64, stagesLoads, threadCopies);
  };
  auto fits = [&](WgmmaAttr choices) { return WgmmaShape::of(program, choices).sharedBytes() <= target.sharedBytes; };
  // A second buffer of Q hides how Q comes and how the output goes, where there is another tile.
  int64_t fewest = 2, most = threadCopies ? 1 : 2;
  if (overlaps && BlockScore::hasLoadToStage(program) && fits(withBuffers(fewest, most, /*stagesLoads=*/true)))
    return withBuffers(fewest, most, /*stagesLoads=*/true);
  // Under a mask consumers differ in what they have to do, and more stages keep them from waiting for each other. What shared memory
  // takes the cache lacks, from which formulas read.
  if (program.mask && !readsAtKey(program) && fits(withBuffers(2 * fewest, most)))
    return withBuffers(2 * fewest, most);
  return withBuffers(fewest, fits(withBuffers(fewest, most)) ? most : 1);
}

std::optional<std::string> wgmmaRefusal(const TileProgram &program, const GpuTarget &target, WgmmaAttr choices) {
  if (!target.hasWgmma)
    return target.chip + " has no wgmma; sm_90a has";
  if (!target.alignedOperands && !choices.getThreadCopies())
    return "q, k and v may lie at any address (aligned = false); tensor copies need multiples of 16 bytes, thread_copies does not";
  if (choices.getThreadCopies() && !threadsCopyForWgmma(program.headDim, program.valueDim, program.indexType.isInteger(32)))
    return llvm::formatv("D is {0}, Dv {1}, and indices are {2}; threads copy rows of whole 4 bytes, numbered by i32", program.headDim,
                         program.valueDim, toText(program.indexType))
        .str();
  if (auto refusal = refuseProgram(program, target))
    return refusal;
  if (program.kvType != program.qType)
    return "k and v are " + toText(program.kvType) + " but q is " + toText(program.qType) + "; tensor copies convert nothing";
  if (!program.contiguous)
    return "last strides may be other than 1; tensor copies read contiguous rows";
  if (program.paged)
    return "k and v lie in pages, whose table wgmma kernels do not read";
  if (program.tileRows != 128 && program.tileRows != 192)
    return llvm::formatv("tiles of {0} rows; expected 128 or 192, two or three warpgroups", program.tileRows).str();
  if (program.tileCols % 16 || program.tileCols < 16 || program.tileCols > 256)
    return llvm::formatv("tiles of {0} keys; expected a multiple of 16 from 16 to 256", program.tileCols).str();
  int64_t registers = consumerRegistersOf(program);
  if (registers > choices.getConsumerRegisters())
    return llvm::formatv("tiles of {0} keys at Dv {1} take {2} registers of a thread; a consumer has {3}", program.tileCols,
                         program.valueDim, registers, choices.getConsumerRegisters())
        .str();
  return refuseShared(program, target, WgmmaShape::of(program, choices).sharedBytes());
}

//===------------------------------------------------------------------------------------------------------------------===//
// Threads alone
//===------------------------------------------------------------------------------------------------------------------===//

namespace {

/// How a tile is shared out, by the width of the output and the bytes of an element: a thread has 64 registers for its part of the output
/// and at most 32 scores.
struct SimtCut {
  static constexpr int64_t kThreads = 128;
  int64_t rowLanes, rowsPerThread, colsPerThread;

  static SimtCut of(int64_t valueDim, int64_t elementBytes) {
    bool isDouble = elementBytes == 8;
    int64_t narrow = isDouble ? 64 : 128;
    if (valueDim <= narrow)
      return {8, 4, isDouble ? 4 : 8};
    if (valueDim <= 2 * narrow)
      return {16, 4, 4};
    if (valueDim <= 4 * narrow)
      return {32, 4, isDouble ? 2 : 4};
    return {32, 2, 2};
  }
};

} // namespace

TileSizes chooseSimtTile(int64_t valueDim, int64_t computeBits) {
  SimtCut cut = SimtCut::of(valueDim, computeBits / 8);
  return {SimtCut::kThreads / cut.rowLanes * cut.rowsPerThread, cut.rowLanes * cut.colsPerThread};
}

/// What lies in shared memory at once: all of a block of keys if two thread blocks still find room on a multiprocessor, so that one
/// computes while the other waits. Else as many columns of Q and K as leave room for 16 rows of V, or for 8; every piece costs two
/// barriers.
static SimtAttr chooseSimt(const TileProgram &program, const GpuTarget &target) {
  constexpr int64_t kLeastDepth = 32, kMostRows = 1024;
  int64_t bytes = program.computeType.getIntOrFloatBitWidth() / 8, rowLanes = SimtCut::of(program.valueDim, bytes).rowLanes;
  auto choicesOf = [&](int64_t depth, int64_t valueRows) {
    return SimtAttr::get(program.kernel->getContext(), SimtCut::kThreads, rowLanes, depth, valueRows);
  };
  for (int64_t leastRows : {16, 8})
    for (int64_t depth = llvm::alignTo(program.headDim, 32 / bytes); depth > 0; depth = llvm::alignDown(depth / 2, kLeastDepth))
      for (int64_t rows = std::min(program.tileCols, kMostRows); rows % 4 == 0 && rows >= std::min(leastRows, program.tileCols); rows /= 2)
        if (SimtAttr choices = choicesOf(depth, rows); SimtShape::of(program, choices).sharedBytes() <= target.sharedBytes / 2)
          return choices;
  return choicesOf(kLeastDepth, program.tileCols % 8 == 0 ? 8 : 4);
}

std::optional<std::string> simtRefusal(const TileProgram &program, const GpuTarget &target, SimtAttr choices) {
  for (auto refusal : {refuseSplit(program), refuseFormulas(program)})
    if (refusal)
      return refusal;
  int64_t rowsAtOnce = choices.getThreads() / choices.getRowLanes();
  if (program.tileRows % rowsAtOnce || program.tileRows > 8 * rowsAtOnce)
    return llvm::formatv("tiles of {0} rows; {1} threads, {2} to a row, take a multiple of {3} up to {4}", program.tileRows,
                         choices.getThreads(), choices.getRowLanes(), rowsAtOnce, 8 * rowsAtOnce)
        .str();
  int64_t unit = std::max<int64_t>(choices.getRowLanes(), 4);
  if (program.tileCols % unit || program.tileCols % std::min(choices.getValueRows(), program.tileCols))
    return llvm::formatv("tiles of {0} keys; expected a multiple of {1}, and of value_rows = {2}", program.tileCols, unit,
                         choices.getValueRows())
        .str();
  SimtShape shape = SimtShape::of(program, choices);
  constexpr int64_t kMostRegisters = 224;
  int64_t registers = (shape.scoresPerThread() + shape.outPerThread()) * shape.elementBytes / 4;
  if (registers > kMostRegisters)
    return llvm::formatv("tiles of {0} x {1} at Dv {2} take {3} registers of a thread for scores and output; expected at most {4}",
                         program.tileRows, program.tileCols, program.valueDim, registers, kMostRegisters)
        .str();
  return refuseShared(program, target, shape.sharedBytes());
}

//===------------------------------------------------------------------------------------------------------------------===//
// The choice
//===------------------------------------------------------------------------------------------------------------------===//

void chooseGpuSchedule(const TileProgram &program, const GpuTarget &target, GpuPipeline pipeline) {
  auto kernel = cast<KernelOp>(program.kernel);
  if (kernel.getSchedule())
    return;
  if (pipeline == GpuPipeline::Math) {
    kernel.setScheduleAttr(chooseSimt(program, target));
    return;
  }
  if (program.isSplit)
    return kernel.setScheduleAttr(chooseMmaSplit(program, target));
  WgmmaAttr choices = chooseWgmma(program, target);
  if (wgmmaRefusal(program, target, choices))
    kernel.setScheduleAttr(MmaSyncAttr::get(kernel.getContext()));
  else
    kernel.setScheduleAttr(choices);
}

std::optional<std::string> gpuRefusal(const TileProgram &program, const GpuTarget &target) {
  return llvm::TypeSwitch<Attribute, std::optional<std::string>>(cast<KernelOp>(program.kernel).getScheduleAttr())
      .Case([&](WgmmaAttr choices) { return wgmmaRefusal(program, target, choices); })
      .Case([&](MmaSplitAttr choices) { return mmaSplitRefusal(program, target, choices); })
      .Case([&](SimtAttr choices) { return simtRefusal(program, target, choices); })
      .Case([&](MmaSyncAttr) { return mmaSyncRefusal(program, target); });
}

LogicalResult lowerForGpu(const TileProgram &program, const GpuTarget &target) {
  return llvm::TypeSwitch<Attribute, LogicalResult>(cast<KernelOp>(program.kernel).getScheduleAttr())
      .Case([&](WgmmaAttr choices) { return lowerWgmma(program, target, choices); })
      .Case([&](MmaSplitAttr choices) { return lowerMmaSplit(program, target, choices); })
      .Case([&](SimtAttr choices) { return lowerSimt(program, target, choices); })
      .Case([&](MmaSyncAttr) { return lowerMmaSync(program, target); });
}

} // namespace attnjit::tile
