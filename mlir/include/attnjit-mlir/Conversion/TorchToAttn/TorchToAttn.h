// torch-mlir's flex_attention -> attn.attention. Pass documentation: TorchToAttn.td.
#pragma once

#include "mlir/Pass/Pass.h"

namespace attnjit::attn {

std::unique_ptr<mlir::Pass> createConvertTorchToAttnPass();
void registerConvertTorchToAttnPass();

} // namespace attnjit::attn
