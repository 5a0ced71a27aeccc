#include "attnjit/Mod.h"

#include "Engine/Guard.h"
#include "Engine/Hashing.h"
#include "Engine/ModImpl.h"
#include "Expr/Analysis.h"
#include "Expr/Frontend.h"
#include "Expr/Rewrite.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

namespace attnjit::inline v0 {

namespace {

Result<void> checkCaptures(const std::vector<CaptureInfo> &captures) {
  for (std::size_t i = 0; i < captures.size(); ++i) {
    const CaptureInfo &capture = captures[i];
    auto refuse = [&](std::string why) {
      return Error{ErrorCode::InvalidArgument, fmt::format("capture {} ('{}'): {}", i, capture.name, why)};
    };
    if (capture.name.empty())
      return refuse("it needs a name, the one that the formula uses");
    for (std::size_t j = 0; j < i; ++j)
      if (captures[j].name == capture.name)
        return refuse(fmt::format("capture {} has the same name", j));
    if (capture.rank != CaptureInfo::kNumber && (capture.rank < 0 || capture.rank > kMaxRank))
      return refuse(fmt::format("rank {} is not possible; a tensor has 0 to {} dimensions, a number has CaptureInfo::kNumber", capture.rank,
                                kMaxRank));
    if (capture.rank == CaptureInfo::kNumber && capture.dtype != DType::F64 && capture.dtype != DType::I64 && capture.dtype != DType::Bool)
      return refuse(fmt::format("a number is f64, i64 or bool, not {}", name(capture.dtype)));
  }
  return {};
}

bool readsCaptures(const expr::Function &function) {
  return std::any_of(function.nodes.begin(), function.nodes.end(), [](const expr::Node &node) { return node.op == expr::Op::Load; });
}

/// The place of `name` in a table of the formula, or -1.
template <typename Decl> int indexOf(const std::vector<Decl> &table, const std::string &name) {
  auto found = std::find_if(table.begin(), table.end(), [&](const Decl &decl) { return decl.name == name; });
  return found == table.end() ? -1 : static_cast<int>(found - table.begin());
}

DType numberType(expr::Kind kind) { return kind == expr::Kind::Float ? DType::F64 : kind == expr::Kind::Int ? DType::I64 : DType::Bool; }

} // namespace

std::shared_ptr<const ModImpl> makeModImpl(expr::Formula formula, std::vector<CaptureInfo> captures) {
  auto impl = std::make_shared<ModImpl>();
  impl->canonicalText = expr::print(formula);
  const std::string compiledIn = expr::withoutLiteralValues(impl->canonicalText);
  impl->textHash = engine::hashBytes(compiledIn.data(), compiledIn.size());
  const std::string mask = expr::print(expr::maskOnly(formula));
  impl->maskHash = engine::hashBytes(mask.data(), mask.size());
  impl->hasMask = !formula.maskIsTrue();
  impl->scoreIsIdentity = formula.scoreIsIdentity();
  impl->probIsIdentity = formula.probIsIdentity();
  impl->probIsHomogeneous = expr::isHomogeneous(formula.prob);
  const auto functions = std::as_const(formula).functions();
  impl->hasLoads = std::any_of(functions.begin(), functions.end(), [](const expr::Function *function) { return readsCaptures(*function); });
  impl->wantsHostPlan = impl->hasMask && !expr::closedForm(formula).exact;
  for (const CaptureInfo &capture : captures) {
    const bool tensor = capture.rank != CaptureInfo::kNumber;
    impl->slots.push_back({tensor, tensor ? indexOf(formula.captures, capture.name) : indexOf(formula.scalars, capture.name)});
  }
  impl->captures = std::move(captures);
  impl->formula = std::move(formula);
  return impl;
}

std::shared_ptr<const ModImpl> makeModImpl(expr::Formula formula) {
  std::vector<CaptureInfo> captures;
  for (const expr::CaptureDecl &capture : formula.captures)
    if (!capture.isOwn())
      captures.push_back({capture.name, capture.dtype, capture.rank});
  for (const expr::ScalarDecl &scalar : formula.scalars)
    if (scalar.source == expr::ScalarDecl::Source::Caller)
      captures.push_back({scalar.name, numberType(scalar.kind), CaptureInfo::kNumber});
  return makeModImpl(std::move(formula), std::move(captures));
}

bool ModImpl::indicesProved(std::int64_t B, std::int64_t Hq, std::int64_t M, std::int64_t N, const expr::Bindings &bindings) const {
  if (!hasLoads || B == 0 || Hq == 0 || M == 0 || N == 0)
    return true;

  std::vector<std::int64_t> question = {B, Hq, M, N};
  for (const TensorRef &capture : bindings.captures)
    question.insert(question.end(), capture.sizes.begin(), capture.sizes.begin() + capture.rank);
  for (const ScalarArg &scalar : bindings.scalars)
    question.push_back(scalar.i);

  {
    std::lock_guard lock(proofMutex);
    if (hasLastProof && question == provedFor)
      return lastProof;
  }
  const expr::Box box{.bHi = B - 1, .hHi = Hq - 1, .qHi = M - 1, .kvHi = N - 1};
  const auto functions = formula.functions();
  const bool proof = std::all_of(functions.begin(), functions.end(), [&](const expr::Function *function) {
    return expr::indicesProvedInBounds(formula, *function, box, bindings);
  });
  std::lock_guard lock(proofMutex);
  provedFor = std::move(question);
  lastProof = proof;
  hasLastProof = true;
  return proof;
}

Mod::Mod(std::shared_ptr<const ModImpl> program) : program(std::move(program)) {}

Mod::Mod() {
  static const std::shared_ptr<const ModImpl> identity = makeModImpl(expr::Formula::identity(), {});
  program = identity;
}

Mod::~Mod() = default;
Mod::Mod(const Mod &) = default;
Mod::Mod(Mod &&other) noexcept : program(other.program) {} // a moved-from Mod stays usable
Mod &Mod::operator=(const Mod &) = default;
Mod &Mod::operator=(Mod &&other) noexcept {
  program = other.program;
  return *this;
}

Result<Mod> Mod::parse(std::string_view scoreMod, std::string_view maskMod, std::vector<CaptureInfo> captures) {
  return parse(ModText{.scoreMod = scoreMod, .maskMod = maskMod}, std::move(captures));
}

Result<Mod> Mod::parse(const ModText &text, std::vector<CaptureInfo> captures) {
  return engine::guarded([&]() -> Result<Mod> {
    if (Result<void> checked = checkCaptures(captures); !checked)
      return checked.error();
    std::vector<expr::CaptureInfo> infos;
    for (const CaptureInfo &capture : captures)
      infos.push_back({capture.name, capture.dtype, capture.rank});
    Result<expr::Formula> formula = expr::parseFormula({text.scoreMod, text.maskMod, text.module, text.moduleName, text.probMod}, infos);
    if (!formula)
      return formula.error();
    return Mod(makeModImpl(std::move(*formula), std::move(captures)));
  });
}

Result<Mod> Mod::withCaptureNames(const std::vector<std::string> &names) const {
  return engine::guarded([&]() -> Result<Mod> {
    std::vector<CaptureInfo> captures = program->captures;
    if (names.size() != captures.size())
      return Error{ErrorCode::InvalidArgument, fmt::format("{} names for {} captures", names.size(), captures.size())};
    expr::Formula formula = program->formula;
    for (std::size_t i = 0; i < names.size(); ++i) {
      captures[i].name = names[i];
      const ModImpl::Slot slot = program->slots[i];
      if (slot.index >= 0 && slot.tensor)
        formula.captures[static_cast<std::size_t>(slot.index)].name = names[i];
      else if (slot.index >= 0)
        formula.scalars[static_cast<std::size_t>(slot.index)].name = names[i];
    }
    if (Result<void> checked = checkCaptures(captures); !checked)
      return checked.error();
    for (expr::ScalarDecl &scalar : formula.scalars)
      if (scalar.source == expr::ScalarDecl::Source::Size)
        scalar = expr::ScalarDecl::size(formula.captures[static_cast<std::size_t>(scalar.capture)].name, scalar.capture, scalar.dim);
    return Mod(makeModImpl(std::move(formula), std::move(captures)));
  });
}

Result<Mod> Mod::parseCanonical(std::string_view text) {
  return engine::guarded([&]() -> Result<Mod> {
    Result<expr::Formula> formula = expr::parseCanonical(text);
    if (!formula)
      return formula.error();
    std::shared_ptr<const ModImpl> impl = makeModImpl(std::move(*formula));
    if (Result<void> checked = checkCaptures(impl->captures); !checked)
      return checked.error();
    return Mod(std::move(impl));
  });
}

const std::vector<CaptureInfo> &Mod::captures() const { return program->captures; }
const std::string &Mod::canonicalText() const { return program->canonicalText; }
bool Mod::hasMask() const { return program->hasMask; }
bool Mod::scoreIsIdentity() const { return program->scoreIsIdentity; }
bool Mod::probIsIdentity() const { return program->probIsIdentity; }
bool Mod::probIsHomogeneous() const { return program->probIsHomogeneous; }

} // namespace attnjit::inline v0
