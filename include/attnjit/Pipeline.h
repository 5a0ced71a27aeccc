// Pipelines that an embedder adds under SDPBackend::Overrideable.
//
//   engine.registerPipeline({.name = "tiny",
//                            .predicates = {{"short", [](const Problem &p) { return p.M <= 8 ? "" : "M is above 8"; }}},
//                            .build = [](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> {
//                              return BuiltPipeline(HostKernel([](const ForwardCall &call) -> Result<void> { ... return {}; }));
//                            }});
#pragma once

#include "attnjit/Kernel.h"
#include "attnjit/Problem.h"

#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace attnjit::inline v0 {

/// Which computations a pipeline offers.
struct Directions {
  bool forward = true;
};

/// A condition on the problem. `refusal` answers "" (fine) or why not, naming the offending value.
struct PipelinePredicate {
  std::string name; ///< stable, e.g. "head-dim"
  std::function<std::string(const Problem &)> refusal;
};

/// A pipeline that is host code: called with the validated call for every forward. All sizes are positive except N, which may be 0.
using HostKernel = std::function<Result<void>(const ForwardCall &call)>;

/// What a builder answers: an image kernel (Kernel::fromBytes, Engine::prepare ...) or a host callable.
using BuiltPipeline = std::variant<Kernel, HostKernel>;

/// What a builder may ask for besides the problem.
struct PipelineContext {
  const Mod &mod;
  /// The problem as a module of the attn dialect, as text; needs the compiler.
  std::function<Result<std::string>()> attnModule;
};

/// A registered pipeline. `build` is called once per class of problem (formula with its own numbers, dtypes, D, Dv, stride class, index
/// classes, tiles) and its result is kept in the engine's memory cache; the lengths, batch and heads in the Problem are those of the call
/// that came first.
struct OverridePipeline {
  std::string name;
  Directions directions;
  bool takesDescales = false; ///< it heeds ForwardCall::qDescale, kDescale and vDescale; else it is not asked about calls that have them
  std::vector<PipelinePredicate> predicates; ///< asked in order; all are asked for every call
  std::function<Result<BuiltPipeline>(const Problem &problem, const PipelineContext &context)> build;
};

/// Makes an implementation of FLASH_ATTENTION when it is activated: the place to load a library. Its name is the one it was registered
/// under.
using FlashImplProvider = std::function<Result<OverridePipeline>()>;

} // namespace attnjit::inline v0
