#include "Attention/HiddenCaptures.h"

#include "Engine/ModImpl.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::attention {

Rewriting::Rewriting(const Mod &mod)
    : inner(mod.impl().formula), names(expr::Renaming::none(inner)), formula(inner), captures(mod.captures()) {}

Result<void> Rewriting::declare(const CaptureInfo &capture) {
  const auto same = [&](const CaptureInfo &other) { return other.name == capture.name; };
  if (std::any_of(captures.begin(), captures.end(), same))
    return Error{
        ErrorCode::InvalidArgument,
        fmt::format("capture '{}': the name is needed for a value that this call adds to the formula; use another one", capture.name)};
  captures.push_back(capture);
  return {};
}

Result<int> Rewriting::addNumber(std::string name, expr::Kind kind) {
  const DType dtype = kind == expr::Kind::Float ? DType::F64 : kind == expr::Kind::Int ? DType::I64 : DType::Bool;
  if (Result<void> declared = declare({name, dtype, CaptureInfo::kNumber}); !declared)
    return declared.error();
  formula.scalars.push_back({std::move(name), kind});
  return static_cast<int>(formula.scalars.size() - 1);
}

Result<int> Rewriting::addTensor(std::string name, DType dtype, int rank) {
  if (Result<void> declared = declare({name, dtype, rank}); !declared)
    return declared.error();
  formula.captures.push_back({std::move(name), dtype, rank});
  return static_cast<int>(formula.captures.size() - 1);
}

Mod Rewriting::finish(expr::Function score, expr::Function mask, expr::Function prob) && {
  formula.score = std::move(score);
  formula.mask = std::move(mask);
  formula.prob = std::move(prob);
  return Mod(makeModImpl(std::move(formula), std::move(captures)));
}

Result<std::vector<CaptureArgument>> withHidden(const std::vector<CaptureArgument> &given, const Mod &mod,
                                                std::vector<CaptureArgument> hidden) {
  const bool positional = !given.empty() && given.front().name.empty();
  if (positional && given.size() != mod.captures().size())
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("captures: {} values were given by position, the formula declares {}", given.size(), mod.captures().size())};
  std::vector<CaptureArgument> all = given;
  for (CaptureArgument &one : hidden) {
    if (positional)
      one.name.clear();
    all.push_back(std::move(one));
  }
  return all;
}

} // namespace attnjit::attention
