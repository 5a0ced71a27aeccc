// The small SSA IR of a formula: what a score_mod, mask_mod or prob_mod means, with names, types and closures resolved.
//
// A Formula holds three Functions (score, mask and prob) over one table of captures. A Function is a list of Nodes in topological order
// (operands come before users) without control flow: a run-time `if` is a Select. Three kinds of value exist: Bool, Int (i64 unless a
// target narrows it) and Float (f32, or f64 for f64 problems). Worked example, `score + slope[h] * (kv_idx - q_idx)`:
//
//   score(%score: float, %b: int, %h: int, %q: int, %kv: int)
//     %0 = load slope[%h] : float
//     %1 = sub %kv, %q : int
//     %2 = to_float %1 : float
//     %3 = mul %0, %2 : float
//     %4 = add %score, %3 : float
//     return %4
//
// That text is canonical: equal formulas print and hash alike, whatever names and layout the user chose.
//
// A reduction is a node too. Its index is an Iter, which runs from 0 below its operand, the length; a Reduce joins its second operand, the
// body, over all values of its first, the Iter. Whatever leads from an Iter to the Reduce that binds it is open: it is computed anew in
// each step of that loop; all else is computed once. `score + torch.dot(qr[q_idx], kr[kv_idx])`:
//
//     %0 = scalar kr.size(1) : int
//     %1 = iter 0 %0 : int                   // level 0: the innermost loop of this nest
//     %2 = load qr[%q, %1] : float
//     %3 = load kr[%kv, %1] : float
//     %4 = mul %2, %3 : float
//     %5 = reduce_sum %1, %4 : float
//     %6 = add %score, %5 : float
//
// Levels count from the inside, so that a reduction prints alike alone and within others. The length is the same for every pair.
#pragma once

#include "attnjit/KernelAbi.h"
#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::expr {

enum class Kind : std::uint8_t { Bool, Int, Float };

enum class Op : std::uint8_t {
  Param,     ///< imm.i = Param
  Scalar,    ///< imm.i = index into Formula::scalars
  Const,     ///< imm by kind (Bool and Int in i, Float in f)
  Load,      ///< imm.i = index into Formula::captures; operands are the Int indices, one per dimension. A negative index counts
             ///< from the end, as in Python: i < 0 reads element i + size. What is outside after that wrap is an error (A10)
  Iter,      ///< imm.i = level, from 0 below kMaxLevels; the operand is the length, an Int that no argument enters
  ReduceSum, ///< operands: an Iter, the body. 0 where the length is not above 0; in index order
  ReduceMax, ///< of Bools: any. NaN wins. The smallest value of the kind (-inf, false) where the length is not above 0
  ReduceMin, ///< of Bools: all. NaN wins. The largest value of the kind (inf, true) where the length is not above 0
#define EXPR_OP(Name, spelling, arity, Types, lowering) Name,
#include "Expr/ExprOps.def"
};

/// Reductions nest at most so deep.
inline constexpr int kMaxLevels = 8;

inline bool isReduction(Op op) { return op == Op::ReduceSum || op == Op::ReduceMax || op == Op::ReduceMin; }

/// The standard arguments. Score is the value that a score_mod (the score) or a prob_mod (p) maps; a mask has none.
enum class Param : std::uint8_t { Score, B, H, Q, Kv };

/// Half-open byte range in the user's text.
struct TextRange {
  std::uint32_t begin = 0, end = 0;
};

using ValueId = std::uint32_t;

struct Node {
  Op op = Op::Const;
  Kind kind = Kind::Int;
  std::vector<ValueId> operands;
  union Immediate {
    std::int64_t i;
    double f;
  } imm{0};
  TextRange range; ///< where the user wrote it; no part of equality, printing or hashing
};

/// What the tensors that a text makes may hold, all of a formula together.
inline constexpr std::size_t kMaxTableElements = 65536;

/// The elements of a tensor that the text itself makes, dense and row-major.
struct Table {
  std::vector<std::int64_t> sizes;
  std::vector<std::byte> bytes;
};

/// A captured tensor. `dtype` and `rank` are structural; sizes, strides and data come with each call, or for a tensor that the text makes
/// (`#t0`, `#t1` ...) with the Formula: bindOwnTensors() fills those in. Its contents are never compiled in.
struct CaptureDecl {
  std::string name;
  DType dtype = DType::F32;
  int rank = 0;
  std::shared_ptr<const Table> table{}; ///< of a tensor that the text makes; no part of equality, and of the hash
  /// Kind of a loaded element: Float for float dtypes, Bool for bool, else Int.
  Kind elementKind() const { return isFloat(dtype) ? Kind::Float : dtype == DType::Bool ? Kind::Bool : Kind::Int; }
  /// Whether the name is that of a tensor which the text makes.
  bool isOwn() const { return name.starts_with("#t"); }
};

/// A number that the kernel gets as an argument, never compiled in. Its name tells where the value comes from: a captured number has the
/// user's name; `#0`,
/// `#1` ... are number literals of a mod-naming expression such as sliding_window(256), whose values the Formula carries; `doc.size(1)` is
/// the size of a captured tensor. Only captured numbers are the caller's business, bindOwnScalars() fills in the others.
struct ScalarDecl {
  enum class Source : std::uint8_t { Caller, Literal, Size };

  std::string name;
  Kind kind = Kind::Float;
  Source source = Source::Caller;
  ScalarArg value{};        ///< of a Literal; no part of equality, and of the hash
  int capture = 0, dim = 0; ///< of a Size

  /// To be named by Formula::adoptScalars.
  static ScalarDecl literal(Kind kind, ScalarArg value);
  static ScalarDecl size(const std::string &captureName, int capture, int dim);
  /// Reads the source off the name. Empty for a size of no capture.
  static std::optional<ScalarDecl> named(std::string name, Kind kind, std::span<const CaptureDecl> captures);
};

/// One mod. `nodes` is topologically ordered; `result` is Float for a score and a prob, and Bool for a mask.
struct Function {
  std::vector<Node> nodes;
  ValueId result = 0;
  const Node &operator[](ValueId id) const { return nodes[id]; }
};

/// score_mod, mask_mod and prob_mod over shared captures. The defaults are `score`, `True` and `p`.
struct Formula {
  Function score;
  Function mask;
  Function prob;
  std::vector<CaptureDecl> captures;
  std::vector<ScalarDecl> scalars;

  /// score -> score, mask -> True, prob -> p.
  static Formula identity();
  /// The score is returned untouched.
  bool scoreIsIdentity() const;
  /// The mask is the constant True.
  bool maskIsTrue() const;
  /// p is returned untouched.
  bool probIsIdentity() const;
  std::array<Function *, 3> functions() { return {&score, &mask, &prob}; }
  std::array<const Function *, 3> functions() const { return {&score, &mask, &prob}; }
  /// Drops the formula's own captures and scalars that no node uses, those from these indices on, and numbers the others in the order of
  /// their first use, naming tables and literals.
  void adoptOwn(std::size_t firstCapture, std::size_t firstScalar);
};

/// Fills the slots of `scalars` (one per Formula::scalars) that are not the caller's: literals and sizes of `captures`.
void bindOwnScalars(const Formula &formula, std::span<const TensorRef> captures, std::span<ScalarArg> scalars);
/// Fills the slots of `captures` (one per Formula::captures) that are not the caller's. The formula owns what they point to.
void bindOwnTensors(const Formula &formula, std::span<TensorRef> captures);
/// A canonical text without the values of literals and tables: what is compiled in. Two formulas that differ in such values only agree in
/// it.
std::string withoutLiteralValues(std::string_view canonicalText);

/// Spelling of an op in the canonical text ("add", "floordiv" ...).
std::string_view spelling(Op op);
/// Number of operands; -1 for Load.
int arity(Op op);

/// Canonical text of a formula, as shown above; equal meaning of structure = equal text. A prob that is the identity is left out.
/// parse-able by parseCanonical.
std::string print(const Formula &formula);
/// Reads what print() wrote (`attnjit-dump --from expr`).
Result<Formula> parseCanonical(std::string_view text);
/// 128-bit stable hash of the canonical text with captures numbered instead of named (two 64-bit halves); the same on every machine and
/// run, and for formulas that differ in names and layout only. Order, dtype, rank and kind of the captures count.
struct Hash128 {
  std::uint64_t hi = 0, lo = 0;
  bool operator==(const Hash128 &) const = default;
};
Hash128 hash(const Formula &formula);

/// Structural invariants (operand order, arity, kinds, indices in range). For tests and for IR that comes from outside.
Result<void> verify(const Formula &formula);

/// Constant folding, algebraic identities that are exact, common subexpressions, dead code. Idempotent.
void simplify(Formula &formula);

} // namespace attnjit::expr
