// What a schedule sees of a tile program: dots, maps, state and operands by role. Schedules never walk IR.
//
// The algorithm (online softmax, mask last, empty rows) is written once, by AttnToTile, as tile ops. A schedule asks for this view, says
// accepts or a reason, and then emits its own loops, filling in the formula by expanding the map bodies on whatever it calls an element.
#pragma once

#include "mlir/IR/Operation.h"
#include "mlir/IR/Region.h"
#include "mlir/IR/Types.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/LogicalResult.h"

#include <cstdint>
#include <string>

namespace attnjit::tile {

/// A captured tensor as the kernel sees it: its place in KernelArgs::captures, element type and rank.
struct CaptureView {
  unsigned index;
  mlir::Type elementType;
  int64_t rank;
};

/// A captured number: its place in KernelArgs::scalars and its type in the map bodies (i1, i32, i64, f32 or f64).
struct ScalarView {
  unsigned index;
  mlir::Type type;
};

/// Forward attention in normal form. Pointers stay valid while the kernel op lives.
struct TileProgram {
  mlir::Operation *kernel = nullptr; ///< the tile.kernel op
  std::string name;                  ///< symbol, becomes the entry point

  int64_t tileRows = 0; ///< query rows per tile (BQ)
  int64_t tileCols = 0; ///< keys per block (BK)
  int64_t headDim = 0;  ///< D of q and k
  int64_t valueDim = 0; ///< D of v and out

  mlir::Type qType, kvType, outType; ///< element types in memory
  mlir::Type computeType;            ///< f32, or f64 for f64 problems
  mlir::Type indexType;              ///< type of b, h, q, kv in map bodies: i32 when narrow, else i64
  bool contiguous = true;            ///< last stride of q, k, v is 1 at compile time
  bool paged = false;                ///< rows of k and v lie in pages (KernelArgs::pages)
  bool outIsContiguous = true;       ///< last stride of out is 1 at compile time
  bool checkedIndices = false;       ///< captured loads must be checked and reported (A10)
  bool isSplit = false;              ///< keys are cut into parts whose states are merged in index order (tile.split)
  bool isTwoPass = false;            ///< prob needs the normalised p: one stream for the state, a second one for the output
  mlir::Type sinkType;               ///< element type of the sinks in memory; null: there are none

  /// Map bodies, null when the map is absent (identity score, True mask, identity prob). Block arguments: score has (score, b, h, q, kv),
  /// mask has (b, h, q, kv), prob has (p, b, h, q, kv), followed in all by one argument per capture (!tile.capture) and per scalar.
  /// Terminator tile.yield with one value: computeType for score and prob, i1 for mask.
  mlir::Region *score = nullptr;
  mlir::Region *mask = nullptr;
  mlir::Region *prob = nullptr;
  /// Closed form of the plan, null when absent: arguments (b, h, qLo, qHi, kvLo, kvHi) of indexType, bounds inclusive, then the
  /// scalars; yields (mayBeTrue, mayBeFalse).
  mlir::Region *closedForm = nullptr;

  llvm::SmallVector<CaptureView> captures;
  llvm::SmallVector<ScalarView> scalars;

  /// The formulas: score, mask and prob, without those that are absent.
  llvm::SmallVector<mlir::Region *> maps() const;

  /// Reads the view off a tile.kernel in normal form; fails with a diagnostic on the op that breaks it.
  static llvm::FailureOr<TileProgram> match(mlir::Operation *kernel);
};

} // namespace attnjit::tile
