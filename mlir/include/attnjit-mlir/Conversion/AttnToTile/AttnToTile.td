//===- AttnToTile.td - pass attn-to-tile ------------------------------------------------------------------------------===//
#ifndef ATTNJIT_CONVERSION_ATTNTOTILE_TD
#define ATTNJIT_CONVERSION_ATTNTOTILE_TD

include "mlir/Pass/PassBase.td"

def AttnToTilePass : Pass<"attn-to-tile", "::mlir::ModuleOp"> {
  let summary = "Replaces each function that holds an attn.forward by a tile.kernel in normal form";
  let description = [{
    This is the attention algorithm itself, shared by all targets: an online softmax over blocks of keys, the mask last, empty rows
    handled at the end (A1 to A7).

    Before: `func.func @f(...)` whose body is one attn.forward on the function's own arguments and a return. Any order of arguments will do: the
    kernel takes q, k, v, out, lse, max and scale by their role, then the other memrefs of the function as captures and its other
    numbers as scalars, both in the function's order, whether the formula uses them or not; so a captured tensor keeps
    its place in KernelArgs whatever was canonicalised before.

    After: `tile.kernel @f` in the normal form that tile-verify checks. The region of its tile.plan is the interval extension of the mask where
    one can be derived (expr::closedForm); not so when indices are checked and the mask reads captured tensors, because skipping
    a block would hide an index out of range (A10).

    With `split-keys` the stream stands inside a tile.split, whose parts are merged in index order: the program of schedules that spread the keys
    of one tile over several processors.
  }];
  let options = [Option<"splitKeys", "split-keys", "bool", "false", "cut the keys into parts and merge their states">];
  let dependentDialects = ["::attnjit::tile::TileDialect", "::attnjit::attn::AttnDialect"];
}

#endif // ATTNJIT_CONVERSION_ATTNTOTILE_TD
