#include "Engine/CallOptions.h"

#include "Engine/ModImpl.h"
#include "Engine/RecentMods.h"
#include "Expr/Rewrite.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

namespace attnjit::engine {

namespace {

using expr::Builder;
using expr::Kind;
using expr::Op;
using expr::Param;
using expr::ValueId;

/// Seed and offset travel in parts: a number past +-2^30 would put the whole kernel into the class of 64-bit indices, another one for
/// another seed.
constexpr int kPartBits = 21;
constexpr int kParts = 4; // 63 bits and one more

constexpr const char *kSoftcap = "softcap__";
constexpr const char *kShare = "dropout_p__", *kFactor = "dropout_factor__";
constexpr std::array<const char *, kParts> kSeed = {"dropout_seed_0__", "dropout_seed_1__", "dropout_seed_2__", "dropout_seed_3__"};
constexpr std::array<const char *, kParts> kOffset = {"dropout_offset_0__", "dropout_offset_1__", "dropout_offset_2__",
                                                      "dropout_offset_3__"};
constexpr const char *kHeads = "dropout_heads__", *kQueries = "dropout_queries__", *kKeys = "dropout_keys__";

/// Share, factor, seed, offset, and the three sizes.
constexpr std::size_t kDropoutNumbers = 2 + 2 * kParts + 3;

bool drops(const ForwardCall &call) { return call.dropout && call.dropout->p != 0; }

Error invalid(std::string why) { return {ErrorCode::InvalidArgument, std::move(why)}; }

Result<void> checkSoftcap(double cap) {
  // Past these the number, or its reciprocal, is none in f32.
  constexpr double kLeast = 1e-30, kMost = 1e30;
  if (!(cap >= kLeast && cap <= kMost))
    return invalid(fmt::format("softcap: {}; expected a positive number from {} to {}, or 0 for none", cap, kLeast, kMost));
  return {};
}

Result<void> checkNumbers(const ForwardCall &call) {
  if (Result<void> checked = call.softcap != 0 ? checkSoftcap(call.softcap) : Result<void>(); !checked)
    return checked;
  if (call.dropout && !(call.dropout->p >= 0 && call.dropout->p <= 1))
    return invalid(fmt::format("dropout.p: {} is no probability; expected a number from 0 to 1", call.dropout->p));
  return {};
}

/// A formula with numbers added to its captures.
class Composer {
public:
  explicit Composer(const Mod &mod) : formula(mod.impl().formula), captures(mod.captures()), original(mod.impl().formula) {}

  /// softcap * tanh(score / softcap) is what score_mod gets. Without a `known` one it is a number of the call.
  void addSoftcap(std::optional<double> known = std::nullopt) {
    Builder builder;
    const ValueId cap = known ? builder.constantFloat(*known) : number(builder, kSoftcap, Kind::Float);
    // One division for all scores: softcap does not change among them.
    const ValueId inverse = builder.op(Op::Div, {builder.constantFloat(1), cap});
    expr::Replacements capped;
    capped[Param::Score] = builder.op(Op::Mul, {cap, builder.op(Op::Tanh, {builder.op(Op::Mul, {builder.param(Param::Score), inverse})})});
    formula.score = builder.finish(expr::inlineInto(builder, original.score, expr::Renaming::none(original), capped));
  }

  /// What prob_mod returns is dropped or divided by 1 - p.
  void addDropout() {
    Builder builder;
    const ValueId weight = expr::inlineInto(builder, original.prob, expr::Renaming::none(original));
    const ValueId share = number(builder, kShare, Kind::Float), factor = number(builder, kFactor, Kind::Float);
    const ValueId seed = wide(builder, kSeed), offset = wide(builder, kOffset);
    // What depends on the row stands together, so that it is computed once for its keys.
    ValueId place = builder.param(Param::B);
    for (const auto &[count, param] : {std::pair{kHeads, Param::H}, std::pair{kQueries, Param::Q}})
      place = builder.op(Op::Add, {builder.op(Op::Mul, {place, number(builder, count, Kind::Int)}), builder.param(param)});
    place = builder.op(Op::Add, {builder.op(Op::Mul, {place, number(builder, kKeys, Kind::Int)}), offset});
    place = builder.op(Op::Add, {place, builder.param(Param::Kv)});
    const ValueId isKept = builder.op(Op::Le, {share, builder.op(Op::Rand, {seed, place})});
    formula.prob = builder.finish(builder.op(Op::Select, {isKept, builder.op(Op::Mul, {weight, factor}), builder.constantFloat(0)}));
  }

  Result<Mod> finish() && {
    if (error)
      return *error;
    return Mod(makeModImpl(std::move(formula), std::move(captures)));
  }

private:
  ValueId number(Builder &builder, const char *name, Kind kind) {
    if (std::any_of(captures.begin(), captures.end(), [&](const CaptureInfo &other) { return other.name == name; }) && !error)
      error =
          invalid(fmt::format("capture '{}': the name is needed for a value that this call adds to the formula; use another one", name));
    captures.push_back({name, kind == Kind::Float ? DType::F64 : DType::I64, CaptureInfo::kNumber});
    formula.scalars.push_back({.name = name, .kind = kind});
    return builder.scalar(static_cast<int>(formula.scalars.size()) - 1, kind);
  }

  /// A number of 64 bits from its parts.
  ValueId wide(Builder &builder, const std::array<const char *, kParts> &names) {
    ValueId whole = number(builder, names[0], Kind::Int);
    for (int part = 1; part < kParts; ++part) {
      const ValueId shifted = builder.op(Op::Shl, {number(builder, names[part], Kind::Int), builder.constantInt(part * kPartBits)});
      whole = builder.op(Op::BitOr, {whole, shifted});
    }
    return whole;
  }

  expr::Formula formula;
  std::vector<CaptureInfo> captures;
  const expr::Formula &original;
  std::optional<Error> error;
};

/// Which options become part of the formula.
struct Added {
  bool softcap, dropout;
  bool operator==(const Added &) const = default;
};

Result<Mod> compose(const Mod &mod, Added added) {
  static RecentMods<Mod, Added> recent;
  return recent.get(mod, added, [&] {
    Composer composer(mod);
    if (added.softcap)
      composer.addSoftcap();
    if (added.dropout)
      composer.addDropout();
    return std::move(composer).finish();
  });
}

/// The numbers that the options give to the formula, by name.
std::vector<CaptureArgument> optionNumbers(const ForwardCall &call) {
  std::vector<CaptureArgument> numbers;
  if (call.softcap != 0)
    numbers.push_back({kSoftcap, call.softcap});
  if (!drops(call))
    return numbers;
  const Dropout &dropout = *call.dropout;
  numbers.push_back({kShare, static_cast<double>(static_cast<float>(dropout.p))}); // as every kernel compares it
  numbers.push_back({kFactor, 1 / (1 - dropout.p)});
  for (const auto &[names, number] : {std::pair{&kSeed, dropout.seed}, std::pair{&kOffset, dropout.offset}})
    for (std::size_t part = 0; part < names->size(); ++part)
      numbers.push_back({(*names)[part], static_cast<std::int64_t>(number >> (part * kPartBits) & ((std::uint64_t{1} << kPartBits) - 1))});
  numbers.push_back({kHeads, call.q.sizes[1]});
  numbers.push_back({kQueries, call.q.sizes[2]});
  numbers.push_back({kKeys, call.pages ? call.pages->keys : call.k.sizes[2]});
  return numbers;
}

/// The numbers behind the captures of the call, in its manner (by name or by position), and the options taken off it.
Result<void> moveNumbers(ForwardCall &call, std::size_t declared) {
  const bool positional = !call.captures.empty() && call.captures.front().name.empty();
  if (positional && call.captures.size() != declared)
    return invalid(fmt::format("captures: {} values were given by position, the formula declares {}", call.captures.size(), declared));
  for (CaptureArgument &number : optionNumbers(call)) {
    if (positional)
      number.name.clear();
    call.captures.push_back(std::move(number));
  }
  call.softcap = 0;
  call.dropout.reset();
  return {};
}

std::ptrdiff_t countOf(const Mod &mod, const char *name) {
  const std::vector<CaptureInfo> &captures = mod.captures();
  return std::count_if(captures.begin(), captures.end(), [&](const CaptureInfo &capture) { return capture.name == name; });
}

} // namespace

bool hasOptions(const ForwardCall &call) { return call.softcap != 0 || call.dropout; }
bool hasOptions(const Mod &formula) { return countOf(formula, kSoftcap) != 0 || countOf(formula, kShare) != 0; }

Result<Mod> withSoftcap(const Mod &mod, double cap) {
  if (Result<void> checked = checkSoftcap(cap); !checked)
    return checked.error();
  Composer composer(mod);
  composer.addSoftcap(cap);
  return std::move(composer).finish();
}

Result<ForwardCall> withKernelOptions(const ForwardCall &call, const Mod &formula) {
  if (Result<void> checked = checkNumbers(call); !checked)
    return checked.error();
  std::size_t own = 0; // captures that are not the user's
  for (const auto &[what, name, given] : {std::tuple{"softcap", kSoftcap, call.softcap != 0}, std::tuple{"dropout", kShare, drops(call)}}) {
    const bool compiled = countOf(formula, name) != 0;
    if (compiled != given)
      return invalid(fmt::format("{}: the kernel was compiled {} it, the call has {}; prepare one with the call's options", what,
                                 compiled ? "with" : "without", given ? "it" : "none"));
    if (given)
      own += name == kSoftcap ? 1 : kDropoutNumbers;
  }
  ForwardCall made = call;
  if (Result<void> moved = moveNumbers(made, formula.captures().size() - own); !moved)
    return moved.error();
  return made;
}

} // namespace attnjit::engine

namespace attnjit::inline v0 {

using namespace engine;

Result<ForwardCall> withOptions(const ForwardCall &call) {
  if (Result<void> checked = checkNumbers(call); !checked)
    return checked.error();
  ForwardCall made = call;
  if (call.softcap != 0 || drops(call)) {
    Result<Mod> mod = compose(call.mod, {.softcap = call.softcap != 0, .dropout = drops(call)});
    if (!mod)
      return mod.error();
    made.mod = std::move(*mod);
  }
  if (Result<void> moved = moveNumbers(made, call.mod.captures().size()); !moved)
    return moved.error();
  return made;
}

} // namespace attnjit::inline v0
