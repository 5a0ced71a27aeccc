// A parsed pair of formulas: the score_mod and mask_mod of flex attention, as text in, ready to be asked about and compiled.
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

struct ModImpl;

/// A score_mod and a mask_mod over one table of captures. A cheap value: copies share the parsed program, which never changes.
/// Any number of threads may use one Mod at once.
class Mod {
public:
  /// score -> score, mask -> True, no captures.
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

  /// The inverse of canonicalText().
  static Result<Mod> parseCanonical(std::string_view text);

  /// The captures in the order in which positional arguments are matched.
  const std::vector<CaptureInfo> &captures() const;
  /// Canonical text of the simplified formula; equal meaning of structure = equal text.
  const std::string &canonicalText() const;
  /// False when the mask is the constant True.
  bool hasMask() const;
  /// False when the score is returned untouched.
  bool hasScore() const;

  /// For attnjit's own rooms.
  explicit Mod(std::shared_ptr<const ModImpl> program);
  const ModImpl &impl() const { return *program; }

private:
  std::shared_ptr<const ModImpl> program;
};

/// Masks joined by logic: visible where all, some, an odd number of the masks, or not the mask are. The captures are those of all mods; an
/// equal name is the same capture. The score is untouched; of no mod at all andMasks sees everything, orMasks and xorMasks nothing. Error:
/// InvalidArgument when two mods declare a name in two ways.
Result<Mod> andMasks(const std::vector<Mod> &mods);
Result<Mod> orMasks(const std::vector<Mod> &mods);
Result<Mod> xorMasks(const std::vector<Mod> &mods);
Result<Mod> notMask(const Mod &mod);

/// The score_mod of one with the mask_mod of another. Captures and error as for andMasks.
Result<Mod> withMask(const Mod &score, const Mod &mask);

} // namespace attnjit::inline v0
