// Expands the scalar body of a map (score_mod, mask_mod, prob_mod) on whatever a schedule calls an element.
//
// A CPU schedule's element is one native vector of `lanes` values whose positions are (b, h) uniform and q and kv each either a
// scalar (the same for every lane) or a vector (one per lane). Values of the body are computed at the level of what they depend on: uniform
// ones once as scalars, q-only or kv-only ones once per bind, only the rest per element. Usage:
//
//   MapExpander score(builder, loc, program, *program.score, abi, lanes);
//   score.bindHeads(b, h);                    // at the top of the tile
//   score.bindQuery(qVector);                 // e.g. per panel: emits everything that depends on (b, h, q) only
//   score.bindKey(kvScalar);                  // per row of the panel
//   MapResult r = score.expand(s);            // per element
//
// A reduction (attn.reduce) is a loop at the level of whatever enters it: one over a row of queries runs once per bindQuery, a dot product
// of a row of queries and a row of keys once per element, where an element is a vector of them.
//
// bindQuery and bindKey may come in either order and be repeated; a later bind forgets what hung on the earlier one. Each bind emits at the
// builder's insertion point, which must dominate later uses. A lowering calls verifyFormulas() once before it expands anything.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

namespace attnjit::tile {

struct MapResult {
  mlir::Value value;      ///< vector<lanes x computeType> or vector<lanes x i1>; may be a scalar if the whole body was uniform: use splat()
  mlir::Value outOfRange; ///< vector<lanes x i1> (or scalar i1): a captured index left its tensor here; null if none can (A10)
};

/// Fails, with a diagnostic on the op, if a map body holds an op that no CPU lowering can emit.
llvm::LogicalResult verifyFormulas(const TileProgram &program);

class MapExpander {
public:
  /// `root` is the value of the body that is asked for: by default what it yields.
  MapExpander(mlir::OpBuilder &builder, mlir::Location loc, const TileProgram &program, mlir::Region &body, AbiAccess &abi, int64_t lanes,
              mlir::Value root = {});

  /// b, h: scalars of any integer type. Captured scalars, and extents and strides of captured tensors, are read here too.
  void bindHeads(mlir::Value b, mlir::Value h);
  /// What a caller knows of the lanes of an index: nothing, or that they count up by one.
  enum class Lanes { Any, Counting };
  /// Scalar or vector<lanes> of program.indexType. Lanes past the end must be clamped to the last valid index by the caller.
  void bindQuery(mlir::Value q, Lanes inLanes = Lanes::Any);
  void bindKey(mlir::Value kv, Lanes inLanes = Lanes::Any);
  /// Whether every captured tensor that is read at another place for another key has a last stride of 1 (i1, the same everywhere; null:
  /// none is read so).
  mlir::Value hasUnitStrides();
  /// From here on that is taken for granted, or no more.
  void assumeUnitStrides(bool yes) { unitStrides = yes; }
  /// A select that carries this attribute is a refinement: its second value is as good where only the absolute error counts.
  static constexpr llvm::StringLiteral kRefinement = "attnjit.refinement";
  /// What to take of refinements: the choice, or because a caller knows better one of its two values.
  enum class Refinement { Choice, First, Second };
  void takeOfRefinements(Refinement what) { refinement = what; }
  /// From here on the result of this operation is not computed: it comes with each expand(), in the order of these calls, as a
  /// vector<lanes>.
  void takeGiven(mlir::Operation *op);
  /// The rest of the body. `element`, the score or p, is vector<lanes x computeType>; null for a mask, and for a root that does not need
  /// it.
  MapResult expand(mlir::Value element, mlir::ValueRange given = {});

  /// Whether the root takes the result of this operation, and it is not given.
  bool needs(mlir::Operation *op) const { return needed.contains(op); }
  /// Where the element lies that this load of the body reads at the query and key that were bound last, scalars both; none of its indices
  /// may move with the two together.
  mlir::Value addressOf(attn::LoadOp load);
  /// The stride, in elements, of a dimension of what this load reads.
  mlir::Value strideOf(attn::LoadOp load, unsigned dimension) const { return captureOf(load).strides[dimension]; }
  mlir::Value pointerOf(attn::LoadOp load) const { return captureOf(load).pointer; }
  /// Whether a value of the body cannot be negative, so that Python's wrap is not needed. Only cheap, certain cases.
  bool isNonNegative(mlir::Value bodyValue, unsigned depth = 0) const;

  /// Broadcasts a scalar to a vector of `lanes`; vectors pass through.
  mlir::Value splat(mlir::Value value);

private:
  /// What a value of the body depends on beyond (b, h); decides where it is emitted. The mapped value, or q and kv together, make an
  /// Element.
  enum Level : unsigned { Heads = 0, Query = 1, Key = 2, Element = 3 };
  static constexpr unsigned kLevels = 4;

  /// Values of one level, and their broadcasts.
  struct Scope {
    llvm::DenseMap<mlir::Value, mlir::Value> values, splats;
    mlir::Value outOfRange;
  };
  /// Extents of a captured tensor, read once per bindHeads.
  struct Capture {
    mlir::Value pointer;
    llvm::SmallVector<mlir::Value> sizes, strides;
    mlir::Value isEmpty; ///< only when indices are checked
  };

  void computeLevels();
  void findNeeded();
  Level levelOfLoop(mlir::Operation &op);
  Level levelOf(mlir::Value bodyValue) const { return levels.lookup(bodyValue); }
  void define(Level level, mlir::Value bodyValue, mlir::Value emitted);
  void emitLevel(Level level);
  void emitOp(Level level, mlir::Operation &op);
  mlir::Value emitReduce(Level level, attn::ReduceOp op);
  llvm::SmallVector<mlir::Value> operandsOf(Level level, mlir::Operation &op);
  mlir::Value lookup(mlir::Value bodyValue);
  mlir::Value lookupSplat(Level level, mlir::Value bodyValue);
  void readCaptures();
  const Capture &captureOf(attn::LoadOp load) const;
  bool movesWithKey(attn::LoadOp load) const { return levelOf(load.getResult()) >= Key && !load.getIndices().empty(); }
  mlir::Value emitLoad(Level level, attn::LoadOp load, llvm::ArrayRef<mlir::Value> indices);
  mlir::Value emitOffset(Level level, attn::LoadOp load, llvm::ArrayRef<mlir::Value> indices);
  mlir::Value emitLanes(attn::LoadOp load, llvm::function_ref<mlir::Value()> gather);
  mlir::Value countsIf(mlir::Value bodyValue);
  void flag(Level level, mlir::Value outOfRange);

  mlir::OpBuilder &builder;
  mlir::Location loc;
  const TileProgram &program;
  mlir::Block &body;
  mlir::Value root;
  AbiAccess &abi;
  int64_t lanes;
  bool unitStrides = false;
  Refinement refinement = Refinement::Choice;
  bool hasElement; ///< the body maps a value: it is no mask
  llvm::DenseMap<mlir::Value, Level> levels;
  llvm::SmallVector<mlir::Operation *> given;
  llvm::DenseSet<mlir::Operation *> needed; ///< what the root takes, but for what is given
  llvm::DenseMap<unsigned, Capture> captures;
  bool counts[kLevels] = {}; ///< the lanes of what was bound at this level do
  Scope scopes[kLevels];
};

/// Lowers the smallest code of the lanes in `outOfRange and visible` into the status word, atomically. Emits nothing if outOfRange is null.
/// b, h: scalars; q and kv: scalar or vector, of any integer type; visible: vector<lanes x i1> or i1, or null for all.
void emitReport(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, mlir::Value outOfRange, mlir::Value visible, mlir::Value b,
                mlir::Value h, mlir::Value q, mlir::Value kv, int64_t lanes);

} // namespace attnjit::tile
