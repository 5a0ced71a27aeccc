//===- TileVerify.td - pass tile-verify -------------------------------------------------------------------------------===//
#ifndef ATTNJIT_TRANSFORMS_TILEVERIFY_TD
#define ATTNJIT_TRANSFORMS_TILEVERIFY_TD

include "mlir/Pass/PassBase.td"

def TileVerifyPass : Pass<"tile-verify", "::mlir::ModuleOp"> {
  let summary = "Checks that every tile.kernel is in the normal form that schedules understand";
  let description = [{
    Before: any module. After: the same module; every tile.kernel in it is one that TileProgram::match reads, and no
    attn.forward is left. Fails with a diagnostic on the op that breaks the normal form.
  }];
}

#endif // ATTNJIT_TRANSFORMS_TILEVERIFY_TD
