#include "KernelPhases.h"

#include "Emitter.h"

#include "mlir/IR/Iterators.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;

namespace attnjit::tile {

static SmallVector<scf::ExecuteRegionOp> phasesOf(func::FuncOp kernel) {
  SmallVector<scf::ExecuteRegionOp> phases;
  kernel.walk([&](scf::ExecuteRegionOp op) {
    if (op->hasAttr(kPhaseAttr))
      phases.push_back(op);
  });
  return phases;
}

static scf::ExecuteRegionOp phaseAround(Operation *op) {
  auto phase = op->getParentOfType<scf::ExecuteRegionOp>();
  while (phase && !phase->hasAttr(kPhaseAttr))
    phase = phase->getParentOfType<scf::ExecuteRegionOp>();
  return phase;
}

/// Whether a phase may compute it for itself: constants, arithmetic, and loads of what does not change while the kernel runs.
static bool isRepeatable(Operation *op) {
  if (auto load = dyn_cast<LLVM::LoadOp>(op))
    return load.getInvariant();
  return op->getNumRegions() == 0 && isMemoryEffectFree(op);
}

/// What the code around the phases computes for them alone, such as what a formula takes of a head, and all constants; users come before
/// what they use.
static SmallVector<Operation *> findMadeForPhases(func::FuncOp kernel) {
  llvm::SetVector<Operation *> made;
  kernel->walk<WalkOrder::PostOrder, ReverseIterator>([&](Operation *op) {
    auto isForPhase = [&](Operation *user) { return made.contains(user) || phaseAround(user); };
    if (!phaseAround(op) && isRepeatable(op) && (op->hasTrait<OpTrait::ConstantLike>() || llvm::all_of(op->getUsers(), isForPhase)))
      made.insert(op);
  });
  return made.takeVector();
}

/// Gives a phase its own of that, so that the code around it does not tell one formula from another.
static void repeatWithin(scf::ExecuteRegionOp phase, ArrayRef<Operation *> made) {
  Region &region = phase.getRegion();
  for (Operation *op : made) {
    auto isOfPhase = [&](Operation *user) { return region.isAncestor(user->getParentRegion()); };
    if (!llvm::any_of(op->getUsers(), isOfPhase))
      continue;
    Operation *own = OpBuilder::atBlockBegin(&region.front()).clone(*op);
    for (auto [shared, result] : llvm::zip(op->getResults(), own->getResults()))
      replaceAllUsesInRegionWith(shared, result, region);
  }
}

/// What `phase` uses from around it.
static SmallVector<Value> argumentsOf(scf::ExecuteRegionOp phase) {
  llvm::SetVector<Value> used;
  getUsedValuesDefinedAbove(phase.getRegion(), used);
  return used.takeVector();
}

void outlinePhases(func::FuncOp kernel) {
  OpBuilder builder(kernel.getContext());
  Operation *last = kernel;
  const SmallVector<Operation *> made = findMadeForPhases(kernel);
  for (auto [number, phase] : llvm::enumerate(phasesOf(kernel))) {
    const Location loc = phase.getLoc();
    repeatWithin(phase, made);
    SmallVector<Value> arguments = argumentsOf(phase);
    Operation *yield = phase.getRegion().front().getTerminator();
    builder.setInsertionPoint(yield);
    func::ReturnOp::create(builder, loc, yield->getOperands());
    yield->erase();

    builder.setInsertionPointAfter(last);
    const std::string name = (kernel.getName() + "." + Twine(number) + "." + phase->getAttrOfType<StringAttr>(kPhaseAttr).getValue()).str();
    auto function =
        func::FuncOp::create(builder, loc, name, builder.getFunctionType(TypeRange(ValueRange(arguments)), phase.getResultTypes()));
    function.setPrivate();
    function.getBody().takeBody(phase.getRegion());
    for (Value argument : arguments)
      replaceAllUsesInRegionWith(argument, function.getBody().front().addArgument(argument.getType(), loc), function.getBody());

    builder.setInsertionPoint(phase);
    phase->replaceAllUsesWith(func::CallOp::create(builder, loc, function, arguments));
    phase.erase();
    last = function;
  }
  for (Operation *op : made)
    if (isOpTriviallyDead(op))
      op->erase();
}

void inlinePhases(func::FuncOp kernel) {
  for (scf::ExecuteRegionOp phase : phasesOf(kernel)) {
    Block &body = phase.getRegion().front();
    Operation *yield = body.getTerminator();
    phase->replaceAllUsesWith(yield->getOperands());
    yield->erase();
    phase->getBlock()->getOperations().splice(phase->getIterator(), body.getOperations());
    phase.erase();
  }
}

} // namespace attnjit::tile
