#include "ScoreTables.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;

namespace attnjit::tile {

/// Places of the arguments of score_mod.
namespace {
enum Argument : unsigned { Score, B, H, Q, Kv };
} // namespace

static bool isCheap(Operation &op) {
  return isa<arith::ConstantOp, arith::AddIOp, arith::SubIOp, arith::MulIOp, arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::NegFOp,
             arith::MinSIOp, arith::MaxSIOp, arith::ExtSIOp, arith::TruncIOp, arith::ExtUIOp, arith::SIToFPOp, arith::CmpIOp, arith::CmpFOp,
             arith::SelectOp, arith::AndIOp, arith::OrIOp, arith::XOrIOp>(op);
}

/// What an operation takes from without, its region included.
static SmallVector<Value> inputsOf(Operation &op) {
  SmallVector<Value> inputs;
  op.walk([&](Operation *inner) {
    for (Value operand : inner->getOperands()) {
      Operation *parent = operand.getParentBlock()->getParentOp();
      if (!parent || !op.isAncestor(parent))
        inputs.push_back(operand);
    }
  });
  return inputs;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Diagonal values
//===------------------------------------------------------------------------------------------------------------------===//

DiagonalValues::DiagonalValues(Region &formula) : body(formula.front()) {
  const bool mapsScore = isa<FloatType>(body.getArgument(Score).getType()); // a mask_mod does not
  for (BlockArgument argument : body.getArguments()) {
    const unsigned place = argument.getArgNumber() + !mapsScore;
    if (place != Score)
      slopes[argument] = {place == Q, place == Kv};
  }
  for (Operation &op : body.without_terminator())
    visit(op);
}

bool DiagonalValues::isUniform(Value value) const {
  auto slope = slopes.find(value);
  return slope != slopes.end() && slope->second.q == 0 && slope->second.kv == 0;
}

/// Uniform values are of every diagonal.
bool DiagonalValues::isOfDiagonal(Value value) const {
  auto slope = slopes.find(value);
  return diagonal.contains(value) || (slope != slopes.end() && slope->second.q == -slope->second.kv);
}

void DiagonalValues::visit(Operation &op) {
  if (op.getNumResults() != 1)
    return;
  SmallVector<Value> inputs = inputsOf(op);
  if (llvm::all_of(inputs, [&](Value input) { return isUniform(input); }))
    slopes[op.getResult(0)] = {};
  else if (std::optional<Slope> slope = slopeMadeBy(op))
    slopes[op.getResult(0)] = *slope;
  else if (llvm::all_of(inputs, [&](Value input) { return isOfDiagonal(input); }))
    diagonal.insert(op.getResult(0));
}

/// Integer arithmetic wraps alike on both ways to a difference, so that nothing has to be known of the size of its parts.
std::optional<DiagonalValues::Slope> DiagonalValues::slopeMadeBy(Operation &op) const {
  SmallVector<Slope> operands;
  for (Value operand : op.getOperands()) {
    auto slope = slopes.find(operand);
    if (slope == slopes.end())
      return std::nullopt;
    operands.push_back(slope->second);
  }
  if (isa<arith::AddIOp>(op))
    return Slope{operands[0].q + operands[1].q, operands[0].kv + operands[1].kv};
  if (isa<arith::SubIOp>(op))
    return Slope{operands[0].q - operands[1].q, operands[0].kv - operands[1].kv};
  if (isa<arith::ExtSIOp>(op)) // of an i32 that promises not to overflow
    return operands[0];
  return std::nullopt;
}

std::optional<DiagonalValues::Slope> DiagonalValues::slopeOf(Value value) const {
  auto slope = slopes.find(value);
  return slope == slopes.end() ? std::nullopt : std::optional(slope->second);
}

SmallVector<Operation *> DiagonalValues::numbers() const {
  SmallVector<Operation *> found;
  for (Operation &op : body.without_terminator())
    if (op.getNumResults() == 1 && isa<FloatType>(op.getResult(0).getType()) && contains(op.getResult(0)) && leaves(op))
      found.push_back(&op);
  return found;
}

SmallVector<Operation *> DiagonalValues::worthTables() const {
  SmallVector<Operation *> found;
  for (Operation &op : body.without_terminator())
    if (op.getNumResults() == 1 && contains(op.getResult(0)) && leaves(op) && isWorthTable(op))
      found.push_back(&op);
  return found;
}

/// Whether the result is used by anything that moves otherwise.
bool DiagonalValues::leaves(Operation &op) const {
  return llvm::any_of(op.getResult(0).getUsers(), [&](Operation *user) {
    return user->hasTrait<OpTrait::IsTerminator>() || user->getBlock() != &body || !isOfDiagonal(user->getResult(0));
  });
}

/// Truth values have no table.
bool DiagonalValues::isWorthTable(Operation &op) const {
  if (op.getResult(0).getType().isInteger(1))
    return false;
  SmallVector<Operation *> open{&op};
  llvm::SmallPtrSet<Operation *, 16> seen;
  while (!open.empty()) {
    Operation *next = open.pop_back_val();
    if (!seen.insert(next).second || !contains(next->getResult(0)))
      continue;
    if (!isCheap(*next))
      return true;
    for (Value operand : next->getOperands())
      if (Operation *made = operand.getDefiningOp())
        open.push_back(made);
  }
  return false;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Loads along keys
//===------------------------------------------------------------------------------------------------------------------===//

namespace {

/// What values of a score_mod move with.
class Dependences {
public:
  static constexpr unsigned kScore = 1, kQuery = 2, kKey = 4;

  explicit Dependences(Block &body) {
    bits[body.getArgument(Score)] = kScore;
    bits[body.getArgument(Q)] = kQuery;
    bits[body.getArgument(Kv)] = kKey;
    for (Operation &op : body.without_terminator()) {
      unsigned all = 0;
      for (Value input : inputsOf(op))
        all |= of(input);
      for (Value result : op.getResults())
        bits[result] = all;
    }
  }
  unsigned of(Value value) const { return bits.lookup(value); }

private:
  llvm::DenseMap<Value, unsigned> bits;
};

} // namespace

/// An i32 index may be widened on its way to a load.
static bool isKey(Value index) {
  if (auto widened = index.getDefiningOp<arith::ExtSIOp>())
    index = widened.getIn();
  auto argument = dyn_cast<BlockArgument>(index);
  return argument && argument.getArgNumber() == Kv;
}

unsigned keyDimension(attn::LoadOp load) { return std::distance(load.getIndices().begin(), llvm::find_if(load.getIndices(), isKey)); }

SmallVector<attn::LoadOp> findKeyLoads(Region &scoreMod) {
  Block &body = scoreMod.front();
  const Dependences dependences(body);
  SmallVector<attn::LoadOp> found;
  for (auto load : body.getOps<attn::LoadOp>()) {
    bool movesWithQuery = false, isAlongKeys = llvm::count_if(load.getIndices(), isKey) == 1;
    for (Value index : load.getIndices()) {
      isAlongKeys &= isKey(index) || !(dependences.of(index) & (Dependences::kScore | Dependences::kKey));
      movesWithQuery |= (dependences.of(index) & Dependences::kQuery) != 0;
    }
    if (isAlongKeys && movesWithQuery)
      found.push_back(load);
  }
  return found;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Bias
//===------------------------------------------------------------------------------------------------------------------===//

/// Operations per key or pair of which a register tile may hold a copy for each of its keys.
static constexpr unsigned kMostCopies = 4;
static constexpr unsigned kMostTerms = 3;

/// How many such operations `value` takes; nothing if one of them is long.
static std::optional<unsigned> countCopies(Value value, const Dependences &dependences, llvm::function_ref<bool(Value)> isLoaded) {
  llvm::SmallPtrSet<Operation *, 16> seen;
  SmallVector<Value> open{value};
  while (!open.empty()) {
    Value next = open.pop_back_val();
    Operation *op = next.getDefiningOp();
    unsigned of = dependences.of(next);
    if (!op || !(of & Dependences::kKey) || isLoaded(next) || !seen.insert(op).second)
      continue;
    bool isScalarLoad = of == Dependences::kKey && isa<attn::LoadOp>(op);
    if (!isScalarLoad && !isCheap(*op))
      return std::nullopt;
    llvm::append_range(open, op->getOperands());
  }
  return seen.size();
}

SmallVector<BiasTerm> readBias(Region &scoreMod, llvm::function_ref<bool(Value)> isLoaded) {
  Block &body = scoreMod.front();
  const Dependences dependences(body);
  const Value score = body.getArgument(Score);
  Value rest = body.getTerminator()->getOperand(0);
  SmallVector<BiasTerm> terms;
  unsigned copies = 0;
  while (rest != score) {
    Operation *sum = rest.getDefiningOp();
    if (!sum || !isa<arith::AddFOp, arith::SubFOp>(sum) || terms.size() == kMostTerms)
      return {};
    bool scoreIsFirst = dependences.of(sum->getOperand(0)) & Dependences::kScore;
    Value term = sum->getOperand(scoreIsFirst);
    if ((dependences.of(term) & Dependences::kScore) || (!scoreIsFirst && isa<arith::SubFOp>(sum)))
      return {};
    terms.push_back({term, isa<arith::SubFOp>(sum)});
    std::optional<unsigned> count = countCopies(term, dependences, isLoaded);
    if (!count || (copies += *count) > kMostCopies)
      return {};
    rest = sum->getOperand(!scoreIsFirst);
  }
  return terms;
}

} // namespace attnjit::tile
