// Everything that can be wrong with a call is found here, before anything is compiled or run.
#pragma once

#include "Engine/ModImpl.h"
#include "attnjit/KernelAbi.h"
#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <span>
#include <vector>

namespace attnjit::engine {

/// Whether `data` pointers matter: they do for a launch, not for explain and compile.
enum class CheckFor { Shapes, Launch };

/// A call that is in order, in the form that selection and launch need.
struct CheckedCall {
  Problem problem;
  KernelArgs args{};               ///< dims, operands and scale are set; the rest belongs to the launch
  std::vector<TensorRef> captures; ///< in the order of formula.captures
  std::vector<ScalarArg> scalars;  ///< in the order of formula.scalars
  std::vector<std::int64_t> pages; ///< what args.pages.table points to
  expr::Bindings bindings() const { return {captures, scalars}; }
};

/// Errors: InvalidArgument; each names the operand or capture, what was expected, what came, and the cure.
Result<CheckedCall> checkCall(const ForwardCall &call, const ModImpl &mod, CheckFor purpose);

/// That no two calls of a group surely write to the same memory. Error: InvalidArgument naming both.
Result<void> checkGroupOutputs(std::span<const ForwardCall> calls);

} // namespace attnjit::engine
