// The f64 oracle: attention by the definition, no MLIR, no blocking, no cleverness; formulas are evaluated along a row of keys, the same
// bit by bit as one by one (LaneTest). Also a plain implementation at the precision of the operands, which error ratios are measured
// against.
#pragma once

#include "Expr/Interp.h"
#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace attnjit::reference {

struct Call {
  const expr::Formula *formula = nullptr;
  expr::Bindings bindings;
  TensorRef q, k, v;                                     ///< [B,Hq,M,D] [B or 1,Hkv,N,D] [B or 1,Hkv,N,Dv], any strides, float dtypes
  std::optional<double> scale;                           ///< default 1/sqrt(D)
  std::optional<TensorRef> qDescale, kDescale, vDescale; ///< f32 [B or 1, Hkv or 1]: factors of the elements
  std::optional<DType> outType;                          ///< what forwardPlain rounds its output to; default q's
  std::optional<TensorRef> sinks = {};                   ///< [Hq], any float dtype
  double softcap = 0;                                    ///< 0: none
  double dropoutP = 0;                                   ///< as Dropout of attnjit/Problem.h
  std::uint64_t dropoutSeed = 0, dropoutOffset = 0;
  int threads = 1;
  /// Only query rows q with q % rowStep == 0 are computed (the rest of Output stays 0): an honest sample of a problem that is too large for
  /// the whole.
  std::int64_t rowStep = 1;
};

/// Dense [B,Hq,M,Dv] and [B,Hq,M], in f64.
struct Output {
  std::vector<double> out, lse, max;
  std::int64_t status = kStatusOk; ///< as KernelArgs::status would be (A10)
};

/// By the definition, every step in f64 (A1..A9, A13, A15).
Output forwardF64(const Call &call);

/// The plain implementation at q's dtype, to which k and v are widened (exactly): scores accumulated in f32 (f64 for q of f64),
/// every operation of score_mod and prob_mod rounded to that, softmax in f32 over the whole row, P, after prob_mod, rounded to q's dtype,
/// whatever the output's is, as tensor cores and dot units want it; output rounded to outType. A q of 8 bits leaves P as it is: such a P
/// would let anything pass. The yardstick of "mean error at most k times that of a plain implementation".
Output forwardPlain(const Call &call);

} // namespace attnjit::reference
