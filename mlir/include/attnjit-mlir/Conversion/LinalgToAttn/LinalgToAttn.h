// Attention written out in linalg -> attn.attention. Pass documentation: LinalgToAttn.td.
#pragma once

#include "mlir/Pass/Pass.h"

namespace attnjit::attn {

std::unique_ptr<mlir::Pass> createRaiseLinalgToAttnPass();
void registerRaiseLinalgToAttnPass();

} // namespace attnjit::attn
