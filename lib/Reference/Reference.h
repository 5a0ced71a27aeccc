// The f64 oracle: attention by the definition, no MLIR, no blocking, no cleverness. Also a plain f32 / bf16 / f16 implementation which
// error ratios are measured against.
#pragma once

#include "Expr/Interp.h"
#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <optional>
#include <vector>

namespace attnjit::reference {

struct Call {
  const expr::Formula *formula = nullptr;
  expr::Bindings bindings;
  TensorRef q, k, v;           ///< [B,Hq,M,D] [B or 1,Hkv,N,D] [B or 1,Hkv,N,Dv], any strides, float dtypes
  std::optional<double> scale; ///< default 1/sqrt(D)
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

/// By the definition, every step in f64 (A1..A9).
Output forwardF64(const Call &call);

/// The plain implementation at the operands' dtype: scores accumulated in f32 (f64 for f64), softmax in f32 over the whole row, P rounded
/// to v's dtype, output rounded to q's dtype. The yardstick of "mean error at most k times that of a plain implementation".
Output forwardPlain(const Call &call);

} // namespace attnjit::reference
