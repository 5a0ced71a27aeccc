#include "ElementMaps.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using Values = Emitter::Values;

/// Whether a captured tensor is read at an index that depends on an argument: the `fromLast`-th last before captures and scalars.
static bool readsBy(const TileProgram &program, unsigned fromLast) {
  unsigned others = program.captures.size() + program.scalars.size();
  return llvm::any_of(program.maps(), [&](Region *formula) {
    llvm::DenseSet<Value> moving{formula->getArgument(formula->getNumArguments() - others - fromLast)};
    return formula
        ->walk<WalkOrder::PreOrder>([&](Operation *op) {
          if (llvm::none_of(op->getOperands(), [&](Value operand) { return moving.contains(operand); }))
            return WalkResult::advance();
          if (isa<attn::LoadOp>(op))
            return WalkResult::interrupt();
          // A loop moves with whatever in it does.
          for (; op && op->getParentRegion() && formula->isAncestor(op->getParentRegion()); op = op->getParentOp())
            moving.insert(op->result_begin(), op->result_end());
          return WalkResult::advance();
        })
        .wasInterrupted();
  });
}

bool readsAtQuery(const TileProgram &program) { return readsBy(program, 2); }
bool readsAtKey(const TileProgram &program) { return readsBy(program, 1); }

ElementMaps::ElementMaps(OpBuilder &builder, Location loc, const TileProgram &program, AbiAccess &abi, SmallVector<int64_t> columns,
                         int64_t blockCols)
    : emit(builder, loc), program(program), abi(abi), columns(std::move(columns)), blockCols(blockCols),
      clampsQueries(readsAtQuery(program)), clampsKeys(readsAtKey(program)) {}

void ElementMaps::bindTile(const TileCoords &coords, ArrayRef<Value> rows, Value first) {
  tile = coords;
  firstColumn = first;
  queries.clear(), exists.clear();
  for (Value row : rows) {
    queries.push_back(emit.add(tile.q0, row));
    exists.push_back(emit.cmp(CmpI::slt, row, tile.rows));
  }
  auto bind = [&](std::optional<MapExpander> &expander, Region *formula) {
    if (formula)
      expander.emplace(emit.builder, emit.loc, program, *formula, abi, /*lanes=*/1).bindHeads(tile.b, tile.h);
  };
  bind(score, program.score), bind(mask, program.mask), bind(prob, program.prob);
}

/// Padding positions only have to be harmless where a captured tensor is read at them (A10).
Value ElementMaps::insideOf(bool needed, Value index, Value end) {
  return needed ? emit.minS(index, emit.toInt(program.indexType, emit.sub(end, 1))) : index;
}

/// Visits all elements, with the expander bound to each.
void ElementMaps::forEachElement(MapExpander &expander, const KvBlock &block, llvm::function_ref<void(size_t)> body) {
  Value first = emit.toInt(program.indexType, emit.add(block.begin, emit.make<arith::ExtUIOp>(emit.i64(), firstColumn)));
  for (auto [row, query] : llvm::enumerate(queries)) {
    expander.bindQuery(insideOf(clampsQueries, emit.toInt(program.indexType, query), abi.queries()));
    for (auto [place, column] : llvm::enumerate(columns)) {
      expander.bindKey(insideOf(clampsKeys, emit.add(first, column), block.end));
      body(row * columns.size() + place);
    }
  }
}

ElementMaps::Flags ElementMaps::applyScore(MutableArrayRef<Value> elements, const KvBlock &block) {
  Flags outOfRange(elements.size());
  if (score)
    forEachElement(*score, block, [&](size_t element) {
      MapResult result = score->expand(elements[element]);
      elements[element] = result.value;
      outOfRange[element] = result.outOfRange;
    });
  return outOfRange;
}

/// The mask must be evaluated, or there are fewer keys than columns; i1.
Value ElementMaps::isSpecial(const KvBlock &block) {
  Value isShort = emit.cmp(CmpI::slt, emit.sub(block.end, block.begin), emit.index(blockCols));
  return mask ? emit.bitOr(isShort, block.partial) : isShort;
}

/// Most blocks are not special, so what those need is one branch, which all threads of a block take alike.
void ElementMaps::applyScores(MutableArrayRef<Value> elements, const KvBlock &block) {
  Flags outOfRange = applyScore(elements, block);
  Values plain(elements.begin(), elements.end());
  SmallVector<Type> types(elements.size(), program.computeType);
  Values changed = emit.ifElse(
      types, isSpecial(block),
      [&] {
        Values special = plain;
        dropHidden(special, block, outOfRange);
        return special;
      },
      [&] {
        for (auto [element, flag] : llvm::enumerate(outOfRange))
          report(flag, Value(), block, element);
        return plain;
      });
  llvm::copy(changed, elements.begin());
}

/// A select after score_mod: it wins even over NaN (A3). Where the plan knows the mask to be true it is not evaluated.
void ElementMaps::dropHidden(MutableArrayRef<Value> elements, const KvBlock &block, ArrayRef<Value> outOfRange) {
  Values visible(elements.size());
  if (mask) {
    Value isKnown = emit.logicalNot(block.partial);
    forEachElement(*mask, block, [&](size_t element) {
      MapResult result = mask->expand(Value());
      report(result.outOfRange, block.partial, block, element);
      visible[element] = emit.bitOr(result.value, isKnown);
    });
  }
  Value keysLeft = emit.sub(emit.toInt(emit.i32(), emit.sub(block.end, block.begin)), firstColumn);
  Value lowest = emit.constFloat(program.computeType, -HUGE_VAL);
  for (auto [element, score] : llvm::enumerate(elements)) {
    Value shown = visible[element];
    report(outOfRange[element], shown, block, element);
    Value isKey = emit.cmp(CmpI::sgt, keysLeft, emit.constInt(emit.i32(), columns[element % columns.size()]));
    score = emit.select(shown ? emit.bitAnd(shown, isKey) : isKey, score, lowest);
  }
}

void ElementMaps::applyProb(MutableArrayRef<Value> probs, ArrayRef<Value> visible, const KvBlock &block) {
  Value zero = emit.constFloat(program.computeType, 0.0);
  forEachElement(*prob, block, [&](size_t element) {
    MapResult mapped = prob->expand(probs[element]);
    report(mapped.outOfRange, visible[element], block, element);
    probs[element] = emit.select(visible[element], mapped.value, zero);
  });
}

/// Notes the positions at which a captured index left its tensor; padding never counts.
void ElementMaps::report(Value outOfRange, Value counts, const KvBlock &block, size_t element) {
  if (!outOfRange)
    return;
  size_t row = element / columns.size();
  Value column = emit.make<arith::ExtUIOp>(emit.i64(), emit.add(firstColumn, columns[element % columns.size()]));
  Value key = emit.add(block.begin, column);
  Value isPair = emit.bitAnd(exists[row], emit.cmp(CmpI::slt, key, block.end));
  emitReport(emit.builder, emit.loc, abi, outOfRange, counts ? emit.bitAnd(isPair, counts) : isPair, tile.b, tile.h, queries[row], key,
             /*lanes=*/1);
}

} // namespace attnjit::tile
