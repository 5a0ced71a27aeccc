#include "Expr/Interp.h"

#include "Expr/Analysis.h"
#include "Expr/Loops.h"

namespace attnjit::expr {

Interp::Interp(const Formula &, const Function &function, const Bindings &bindings, Floats floats)
    : result(function.result), values(function, bindings, floats) {
  const std::vector<std::uint8_t> depends = dependences(function), open = openLevels(function.nodes);
  const std::vector<std::vector<ValueId>> bodies = loopBodies(function.nodes);
  for (ValueId id = 0; id < function.nodes.size(); ++id) {
    if (open[id])
      continue; // a step of some loop
    const Stage stage = depends[id] & (DependsKv | DependsScore) ? PerPair
                        : depends[id] & DependsQ                 ? PerQuery
                        : depends[id] & (DependsB | DependsH)    ? PerHead
                                                                 : Uniform;
    steps[stage].push_back(stepOf(function, id, bodies));
  }
  run(Uniform, 0, {});
}

Value Interp::evaluate(double score, const Position &position, bool &outOfRange) {
  const bool sameHead = hasLast && last.b == position.b && last.h == position.h;
  if (!sameHead)
    run(PerHead, score, position);
  if (!sameHead || last.q != position.q)
    run(PerQuery, score, position);
  run(PerPair, score, position);
  last = position;
  hasLast = true;
  for (bool stage : stageOutOfRange)
    outOfRange |= stage;
  return values[result];
}

void Interp::run(Stage stage, double score, const Position &position) {
  bool outOfRange = false;
  for (const Step &step : steps[stage])
    outOfRange |= values.run(step, score, position);
  stageOutOfRange[stage] = outOfRange;
}

} // namespace attnjit::expr
