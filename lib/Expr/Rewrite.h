// Formulas made from formulas: arguments replaced by expressions, masks combined, scores chained. What comes out is a plain formula, so the
// analyses, the planner and every pipeline treat it as if the user had written it.
//
//   Formula merged = Formula::identity();
//   Result<Renaming> names = adopt(merged, inner);                       // inner's captures, in the tables of merged
//   Builder builder;
//   Replacements inSequence;                                             // what inner's mask sees as q_idx:
//   inSequence[Param::Q] = builder.op(Op::Sub, {builder.param(Param::Q), builder.scalar(offset, Kind::Int)});
//   merged.mask = builder.finish(inlineInto(builder, inner.mask, *names, inSequence));
#pragma once

#include "Expr/Builder.h"
#include "Expr/Ir.h"
#include "attnjit/Result.h"

#include <array>
#include <optional>
#include <vector>

namespace attnjit::expr {

/// Where the captures and numbers of one formula stand in the tables of another.
struct Renaming {
  std::vector<int> captures, scalars;
  /// Everything stays where it is.
  static Renaming none(const Formula &formula);
};

/// Enters the captures and numbers of `from` into the tables of `into`. One that stands there already under the same name is shared; number
/// literals stay apart. Error: InvalidArgument when the name stands for something else there (another dtype, rank or kind).
Result<Renaming> adopt(Formula &into, const Formula &from);

/// What the arguments of an inlined function stand for: values of the builder of the kind of the argument. Those not given stay what they
/// are.
class Replacements {
public:
  std::optional<ValueId> &operator[](Param param) { return values[static_cast<std::size_t>(param)]; }
  std::optional<ValueId> operator[](Param param) const { return values[static_cast<std::size_t>(param)]; }

private:
  std::array<std::optional<ValueId>, 5> values;
};

/// Builds `function` anew in `builder` with its captures renamed and its arguments replaced; answers its result.
ValueId inlineInto(Builder &builder, const Function &function, const Renaming &renaming, const Replacements &replacements = {});

/// One mod of `formula` beside the defaults of the others, with the captures and numbers that it reads, in the order of their first use.
Formula scoreOnly(const Formula &formula);
Formula maskOnly(const Formula &formula);
Formula probOnly(const Formula &formula);

} // namespace attnjit::expr
