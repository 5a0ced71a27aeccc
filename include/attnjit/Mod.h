// The parsed formulas of a call: the score_mod and mask_mod of flex attention and a prob_mod, as text in, ready to be asked about and
// compiled.
#pragma once

#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace attnjit::inline v0 {

/// What a formula may refer to besides its arguments: a tensor (rank >= 0) or a number (rank kNumber). Only the kind is fixed here;
/// sizes, strides, data and the value of a number come with each call and never cause a new compilation.
struct CaptureInfo {
  static constexpr int kNumber = -1;
  std::string name;
  DType dtype = DType::F32; ///< of the tensor; for a number F64 (float), I64 (int) or Bool
  int rank = kNumber;
};

/// The value of one capture: a tensor, or a number whose alternative has to fit the kind that the Mod declared (an int is accepted where a
/// float is declared).
using CaptureValue = std::variant<TensorRef, double, std::int64_t, bool>;

/// A capture by name, or by position when `name` is empty. A call uses one way or the other for all of them.
struct CaptureArgument {
  std::string name;
  CaptureValue value;
};

/// The texts of a Mod. Each may be written out, or name a function of `module`: "sliding_window(256)".
struct ModText {
  std::string_view scoreMod = {};       ///< empty: the score untouched
  std::string_view maskMod = {};        ///< empty: everything visible
  std::string_view module = {};         ///< Python text: functions, factories, constants (docs/language.md)
  std::string_view moduleName = "mods"; ///< what messages call it, e.g. its file
  /// prob_mod(p, b, h, q_idx, kv_idx): what becomes of the normalised softmax p before the product with v (A13). Empty: p untouched.
  std::string_view probMod = {};
};

struct ModImpl;

/// A score_mod, a mask_mod and a prob_mod over one table of captures. A cheap value: copies share the parsed program, which never changes.
/// Any number of threads may use one Mod at once.
class Mod {
public:
  /// score -> score, mask -> True, prob -> p, no captures.
  Mod();
  ~Mod();
  Mod(const Mod &);
  Mod(Mod &&) noexcept;
  Mod &operator=(const Mod &);
  Mod &operator=(Mod &&) noexcept;

  /// Parses, checks and simplifies both texts; an empty text means the default (the score untouched, everything visible).
  /// Errors: InvalidFormula with line, column, the user's own text, a caret and what would be accepted; InvalidArgument for an
  /// impossible `captures` entry (empty or repeated name, a rank above kMaxRank).
  static Result<Mod> parse(std::string_view scoreMod, std::string_view maskMod, std::vector<CaptureInfo> captures = {});
  /// The same with a prob_mod, and a module of text behind all. A number written in an expression that names a mod (the 256 above) is an
  /// argument of the kernel, as a captured number is: another one is another Mod, but no new compilation.
  static Result<Mod> parse(const ModText &text, std::vector<CaptureInfo> captures = {});

  /// The inverse of canonicalText().
  static Result<Mod> parseCanonical(std::string_view text);

  /// The captures in the order in which positional arguments are matched.
  const std::vector<CaptureInfo> &captures() const;
  /// Canonical text of the simplified formula; equal meaning of structure = equal text, but for the values of numbers in mod-naming
  /// expressions.
  const std::string &canonicalText() const;
  /// False when the mask is the constant True.
  bool hasMask() const;
  /// True when the score is returned untouched.
  bool scoreIsIdentity() const;
  /// True when p is returned untouched.
  bool probIsIdentity() const;
  /// True when the prob_mod is proved proportional to p, as p * f(b, h, q_idx, kv_idx) and torch.where(.., p, 0) are: one pass over the
  /// keys then computes it, else two do.
  bool probIsHomogeneous() const;

  /// The mask with the captures that it reads; score and p stay untouched.
  Mod maskOnly() const;
  /// The score with the captures that it reads; everything becomes visible and p stays untouched.
  Mod scoreOnly() const;
  /// The prob_mod with the captures that it reads; everything becomes visible and the score stays untouched.
  Mod probOnly() const;

  /// The same formulas with other names for the captures, in the order of captures(): for two mods whose captures happen to have the same
  /// name and are about to be joined. Error: InvalidArgument for another number of names, an empty or a repeated one.
  Result<Mod> withCaptureNames(const std::vector<std::string> &names) const;

  /// For attnjit's own rooms.
  explicit Mod(std::shared_ptr<const ModImpl> program);
  const ModImpl &impl() const { return *program; }

private:
  std::shared_ptr<const ModImpl> program;
};

/// Masks combined: visible where all, any, an odd number, or where the one mask does not say True (torch's and_masks and or_masks, with the
/// two that it lacks). The result is one plain formula, so blocks are skipped by what it means as a whole. Of no masks: and is True, or and
/// xor are False. Captures of the same name are one capture, given once. Errors: InvalidArgument when a name is declared in two ways, or
/// when a mod has a score_mod or a prob_mod too (say mod.maskOnly()).
Result<Mod> andMasks(const std::vector<Mod> &masks);
Result<Mod> orMasks(const std::vector<Mod> &masks);
Result<Mod> xorMasks(const std::vector<Mod> &masks);
Result<Mod> notMask(const Mod &mask);

/// One mod after another: each score_mod and each prob_mod gets what the one before it returned, and a pair is visible where every mask
/// says so. Captures as above.
Result<Mod> chainMods(const std::vector<Mod> &mods);

} // namespace attnjit::inline v0
