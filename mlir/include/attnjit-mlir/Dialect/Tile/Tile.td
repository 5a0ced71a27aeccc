//===- Tile.td - the attention algorithm on tiles ---------------------------------------------------------------------===//
//
// Every `mlir` code block of a description is a complete module; test/Dialect/examples.test runs them all through attnjit-opt.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef ATTNJIT_DIALECT_TILE_TD
#define ATTNJIT_DIALECT_TILE_TD

include "attnjit-mlir/Dialect/Tile/TileKernel.td"

//===------------------------------------------------------------------------------------------------------------------===//
// Memory
//===------------------------------------------------------------------------------------------------------------------===//

def Tile_LoadOp : Tile_Op<"load", [Pure]> {
  let summary = "a tile of an operand";
  let description = [{
    Rows [row, row + rows) of view[b, head], wherever the view says that they lie (`paged`: through the page table); rows past the end read as
    zero and are never touched in memory. Operands that are read are
    not written by the kernel, so the op is pure. The tile has the view's element type and all of its columns.

    ```mlir
    func.func @rows(%k: !tile.view<?x64xbf16, strided>, %b: i64, %hkv: i64, %kv0: i64) {
      %t = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x64xbf16, strided> -> !tile.tile<128x64xbf16>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyView:$view, I64:$b, I64:$head, I64:$row);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$view `[` $b `,` $head `,` $row `]` attr-dict `:` qualified(type($view)) `->` qualified(type($result))";
  let hasVerifier = 1;
}

def Tile_LoadRowOp : Tile_Op<"load_row", [Pure]> {
  let summary = "one value per row of an operand without columns";
  let description = [{
    result[i] = view[b, head, row + i] in the row's element type, rounded to nearest even where that is narrower; rows past the end read as
    anything and are never touched in memory.

    ```mlir
    func.func @sinks(%sinks: !tile.view<?xbf16>, %b: i64, %h: i64, %q0: i64) {
      %s = tile.load_row %sinks[%b, %h, %q0] : !tile.view<?xbf16> -> !tile.row<16xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyView:$view, I64:$b, I64:$head, I64:$row);
  let results = (outs Tile_AnyRow:$result);
  let assemblyFormat = "$view `[` $b `,` $head `,` $row `]` attr-dict `:` qualified(type($view)) `->` qualified(type($result))";
  let hasVerifier = 1;
}

def Tile_StoreOp : Tile_Op<"store", [HasParent<"KernelOp">, MemoryEffects<[MemWrite]>]> {
  let summary = "writes a tile; rows past the end are dropped";
  let description = [{
    view[b, head, row + i, j] = tile[i, j] for every row inside the view.

    ```mlir
    tile.kernel @part(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                      %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %window: i32)
        config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
      %b, %h, %hkv, %q0 = tile.position
      %t = tile.fill 0.0 : !tile.tile<4x8xf32>
      tile.store %t, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$tile, Tile_AnyView:$view, I64:$b, I64:$head, I64:$row);
  let assemblyFormat = [{
    $tile `,` $view `[` $b `,` $head `,` $row `]` attr-dict `:` qualified(type($tile)) `,` qualified(type($view))
  }];
  let hasVerifier = 1;
}

def Tile_StoreRowOp : Tile_Op<"store_row", [HasParent<"KernelOp">, MemoryEffects<[MemWrite]>]> {
  let summary = "writes one value per row; nothing when the output is not wanted";
  let description = [{
    view[b, head, row + i] = values[i] for every row inside the view.

    ```mlir
    tile.kernel @part(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                      %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %window: i32)
        config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
      %b, %h, %hkv, %q0 = tile.position
      %m, %l = tile.softmax_init : !tile.row<4xf32>
      tile.store_row %m, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
    }
    ```
  }];
  let arguments = (ins Tile_AnyRow:$values, Tile_AnyView:$view, I64:$b, I64:$head, I64:$row);
  let assemblyFormat = [{
    $values `,` $view `[` $b `,` $head `,` $row `]` attr-dict `:` qualified(type($values)) `,` qualified(type($view))
  }];
  let hasVerifier = 1;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Arithmetic on tiles
//===------------------------------------------------------------------------------------------------------------------===//

def Tile_FillOp : Tile_Op<"fill", [Pure]> {
  let summary = "a tile of one constant";
  let description = [{
    result[i, j] = value.

    ```mlir
    func.func @zero() {
      %t = tile.fill 0.0 : !tile.tile<16x64xf32>
      return
    }
    ```
  }];
  let arguments = (ins F64Attr:$value);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "custom<PlainFloat>($value) attr-dict `:` qualified(type($result))";
}

def Tile_DotOp : Tile_Op<"dot", [Pure, AttrSizedOperandSegments]> {
  let summary = "a matrix product with an optional transpose, scale and accumulator";
  let description = [{
        result = acc + scale * (a . b)        with `trans %b`:  acc + scale * (a . b^T)

    a is [M, K], b is [K, N] (transposed: [N, K]), acc and result are [M, N]. Products and sums are formed in the result's type (A1); the
    types of a and b may differ from it and from each other. A schedule may round p to the type of v.

    ```mlir
    func.func @scores(%q: !tile.tile<16x64xbf16>, %k: !tile.tile<128x64xbf16>, %scale: f32) {
      %s = tile.dot qk %q, trans %k scale(%scale) : !tile.tile<16x64xbf16>, !tile.tile<128x64xbf16> -> !tile.tile<16x128xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_DotRole:$role, Tile_AnyTile:$a, Tile_AnyTile:$b, UnitAttr:$transposeB, Optional<Attn_Float>:$scale,
                       Optional<Tile_AnyTile>:$acc);
  let results = (outs Tile_AnyTile:$result);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Tile_MapOp : Tile_Op<"map", [Pure, IsolatedFromAbove, SingleBlock, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>, AllTypesMatch<["input", "result"]>]> {
  let summary = "score_mod on every element of a score tile (A2)";
  let description = [{
        result[i, j] = region(input[i, j], b, h, q0 + i, kv0 + j, captures..., scalars...)

    Index arguments have the kernel's index type; the region yields the compute type. A map that returns the score folds away.

    ```mlir
    func.func @relative(%s: !tile.tile<16x128xf32>, %b: i64, %h: i64, %q0: i64, %kv0: i64, %table: !tile.capture<1xf16>) {
      %t = tile.map %s at(%b, %h, %q0, %kv0) captures(%table : !tile.capture<1xf16>) : !tile.tile<16x128xf32> {
      ^bb0(%e: f32, %eb: i64, %eh: i64, %eq: i64, %ekv: i64, %c: !tile.capture<1xf16>):
        %d = arith.subi %eq, %ekv : i64
        %bias = attn.load %c[%d] : !tile.capture<1xf16>, i64 -> f32
        %r = arith.addf %e, %bias : f32
        tile.yield %r : f32
      }
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$input, I64:$b, I64:$h, I64:$q0, I64:$kv0, Variadic<Tile_AnyCapture>:$captures, Variadic<Attn_Scalar>:$scalars);
  let results = (outs Tile_AnyTile:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $input `at` `(` $b `,` $h `,` $q0 `,` $kv0 `)` (`captures` `(` $captures^ `:` qualified(type($captures)) `)`)?
    (`scalars` `(` $scalars^ `:` type($scalars) `)`)? attr-dict `:` qualified(type($input)) $body
  }];
  let hasFolder = 1;
  let hasRegionVerifier = 1;
}

def Tile_MaskOp : Tile_Op<"mask", [Pure, IsolatedFromAbove, SingleBlock, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>, AllTypesMatch<["input", "result"]>]> {
  let summary = "mask_mod on every element of a score tile (A3)";
  let description = [{
        result[i, j] = region(b, h, q0 + i, kv0 + j, captures..., scalars...) ? input[i, j] : -inf

    a select: it wins even over NaN. When `partial` is false the region is true everywhere and is not evaluated. A mask that
    is constantly true folds away.

    ```mlir
    func.func @window(%s: !tile.tile<16x128xf32>, %partial: i1, %b: i64, %h: i64, %q0: i64, %kv0: i64, %size: i64) {
      %u = tile.mask %s if %partial at(%b, %h, %q0, %kv0) scalars(%size : i64) : !tile.tile<16x128xf32> {
      ^bb0(%eb: i64, %eh: i64, %eq: i64, %ekv: i64, %w: i64):
        %d = arith.subi %eq, %ekv : i64
        %near = arith.cmpi slt, %d, %w : i64
        tile.yield %near : i1
      }
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$input, I1:$partial, I64:$b, I64:$h, I64:$q0, I64:$kv0, Variadic<Tile_AnyCapture>:$captures,
                       Variadic<Attn_Scalar>:$scalars);
  let results = (outs Tile_AnyTile:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $input `if` $partial `at` `(` $b `,` $h `,` $q0 `,` $kv0 `)` (`captures` `(` $captures^ `:` qualified(type($captures)) `)`)?
    (`scalars` `(` $scalars^ `:` type($scalars) `)`)? attr-dict `:` qualified(type($input)) $body
  }];
  let hasFolder = 1;
  let hasRegionVerifier = 1;
}

def Tile_ProbOp : Tile_Op<"prob", [Pure, IsolatedFromAbove, SingleBlock, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>, AllTypesMatch<["probs", "scores", "result"]>]> {
  let summary = "prob_mod on every element of a tile of p (A13)";
  let description = [{
        result[i, j] = scores[i, j] == -inf ? 0 : region(probs[i, j], b, h, q0 + i, kv0 + j, captures..., scalars...)

    a select: a masked pair contributes exactly 0 whatever the region makes of it. `probs` may be a multiple of p, of one positive factor
    per row, where the region is proportional to its first argument. A prob that returns it folds away.

    ```mlir
    func.func @halved(%p: !tile.tile<16x128xf32>, %u: !tile.tile<16x128xf32>, %b: i64, %h: i64, %q0: i64, %kv0: i64) {
      %w = tile.prob %p of %u at(%b, %h, %q0, %kv0) : !tile.tile<16x128xf32> {
      ^bb0(%e: f32, %eb: i64, %eh: i64, %eq: i64, %ekv: i64):
        %half = arith.constant 5.0e-01 : f32
        %r = arith.mulf %e, %half : f32
        tile.yield %r : f32
      }
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$probs, Tile_AnyTile:$scores, I64:$b, I64:$h, I64:$q0, I64:$kv0, Variadic<Tile_AnyCapture>:$captures,
                       Variadic<Attn_Scalar>:$scalars);
  let results = (outs Tile_AnyTile:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $probs `of` $scores `at` `(` $b `,` $h `,` $q0 `,` $kv0 `)` (`captures` `(` $captures^ `:` qualified(type($captures)) `)`)?
    (`scalars` `(` $scalars^ `:` type($scalars) `)`)? attr-dict `:` qualified(type($probs)) $body
  }];
  let hasFolder = 1;
  let hasRegionVerifier = 1;
}

def Tile_CastOp : Tile_Op<"cast", [Pure]> {
  let summary = "rounds a tile to another float type, to nearest even";
  let description = [{
    Same shape, other element type.

    ```mlir
    func.func @round(%o: !tile.tile<16x64xf32>) {
      %r = tile.cast %o : !tile.tile<16x64xf32> to !tile.tile<16x64xbf16>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$input);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$input attr-dict `:` qualified(type($input)) `to` qualified(type($result))";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Tile_RowScaleOp : Tile_Op<"row_scale", [Pure, AllTypesMatch<["tile", "result"]>]> {
  let summary = "multiplies every row of a tile by its factor";
  let description = [{
    result[i, j] = factors[i] * tile[i, j].

    ```mlir
    func.func @rescale(%acc: !tile.tile<16x64xf32>, %alpha: !tile.row<16xf32>) {
      %r = tile.row_scale %acc, %alpha : !tile.tile<16x64xf32>, !tile.row<16xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$tile, Tile_AnyRow:$factors);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$tile `,` $factors attr-dict `:` qualified(type($tile)) `,` qualified(type($factors))";
  let hasVerifier = 1;
}

def Tile_AddOp : Tile_Op<"add", [Pure, AllTypesMatch<["a", "b", "result"]>]> {
  let summary = "adds two tiles";
  let description = [{
    result[i, j] = a[i, j] + b[i, j]: what two parts of the keys make of an output whose p is normalised already.

    ```mlir
    func.func @both(%a: !tile.tile<16x64xf32>, %b: !tile.tile<16x64xf32>) {
      %r = tile.add %a, %b : !tile.tile<16x64xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$a, Tile_AnyTile:$b);
  let results = (outs Tile_AnyTile:$result);
  let assemblyFormat = "$a `,` $b attr-dict `:` qualified(type($result))";
}

//===------------------------------------------------------------------------------------------------------------------===//
// Softmax state
//===------------------------------------------------------------------------------------------------------------------===//

def Tile_SoftmaxInitOp : Tile_Op<"softmax_init", [Pure, AllTypesMatch<["max", "sum"]>]> {
  let summary = "the state before any key: maximum -inf, sum 0";
  let description = [{
    The neutral state: stepping over no key and finishing gives an empty row.

    ```mlir
    func.func @start() {
      %m, %l = tile.softmax_init : !tile.row<16xf32>
      return
    }
    ```
  }];
  let results = (outs Tile_AnyRow:$max, Tile_AnyRow:$sum);
  let assemblyFormat = "attr-dict `:` qualified(type($max))";
}

def Tile_SoftmaxStepOp : Tile_Op<"softmax_step", [Pure, AllTypesMatch<["max", "sum", "newMax", "newSum", "alpha"]>,
    AllTypesMatch<["scores", "probs"]>]> {
  let summary = "takes one block of scores into the state";
  let description = [{
    Over the first `cols` columns j of scores u (the others count for nothing and get p 0):

        max'  = max(max, max_j u[j])            NaN propagates (A6)
        r     = max' == -inf ? 0 : max'         no exp(-inf + inf)
        alpha = exp(max - r)                     0 while max is -inf
        p[j]  = exp(u[j] - r)                    exactly 0 where u[j] is -inf (A5)
        sum'  = alpha * sum + sum_j p[j]

    ```mlir
    func.func @step(%m: !tile.row<16xf32>, %l: !tile.row<16xf32>, %u: !tile.tile<16x128xf32>, %cols: i64) {
      %m1, %l1, %p, %alpha = tile.softmax_step %m, %l, %u cols(%cols) : !tile.row<16xf32>, !tile.tile<16x128xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyRow:$max, Tile_AnyRow:$sum, Tile_AnyTile:$scores, I64:$cols);
  let results = (outs Tile_AnyRow:$newMax, Tile_AnyRow:$newSum, Tile_AnyTile:$probs, Tile_AnyRow:$alpha);
  let assemblyFormat = "$max `,` $sum `,` $scores `cols` `(` $cols `)` attr-dict `:` qualified(type($max)) `,` qualified(type($scores))";
  let hasVerifier = 1;
}

def Tile_SoftmaxMergeOp : Tile_Op<"softmax_merge", [Pure, AttrSizedOperandSegments,
    AllTypesMatch<["maxA", "sumA", "maxB", "sumB", "max", "sum"]>]> {
  let summary = "one state out of two that saw different keys";
  let description = [{
        max = max(maxA, maxB)                        NaN propagates (A6)
        r   = max == -inf ? 0 : max                  no exp(-inf + inf)
        wX  = exp(maxX - r)                          exactly 0 for a state that saw no score above -inf (A5)
        sum = wA * sumA + wB * sumB,  acc = wA * accA + wB * accB

    softmax_init with a zero accumulator is neutral on either side. Merging in another order gives the same up to rounding; a program that
    promises equal bits (A11) fixes the order. States of a program with two passes have no accumulators.

    ```mlir
    func.func @merge(%ma: !tile.row<16xf32>, %la: !tile.row<16xf32>, %a: !tile.tile<16x64xf32>,
                     %mb: !tile.row<16xf32>, %lb: !tile.row<16xf32>, %b: !tile.tile<16x64xf32>) {
      %m, %l, %acc = tile.softmax_merge (%ma, %la, %a), (%mb, %lb, %b) : !tile.row<16xf32>, !tile.tile<16x64xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyRow:$maxA, Tile_AnyRow:$sumA, Optional<Tile_AnyTile>:$accA, Tile_AnyRow:$maxB, Tile_AnyRow:$sumB,
                       Optional<Tile_AnyTile>:$accB);
  let results = (outs Tile_AnyRow:$max, Tile_AnyRow:$sum, Optional<Tile_AnyTile>:$acc);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Tile_SoftmaxFinishOp : Tile_Op<"softmax_finish", [Pure, AllTypesMatch<["max", "sum", "lse", "rowMax"]>, AllTypesMatch<["acc", "out"]>]> {
  let summary = "the results of the state";
  let description = [{
        out = acc / sum,  lse = max + ln(sum),  rowMax = max

    and for a row that has seen no score above -inf: out 0, lse -inf, rowMax -inf (A5). Natural log (A7). With a sink, one more logit of
    each row that no key stands behind, the row is first brought to a common reference point (A15):

        r   = max(max, sink), or 0 if that is -inf;   sum' = sum * exp(max - r) + exp(sink - r)
        out = acc * exp(max - r) / sum',  lse = r + ln(sum'),  rowMax = max

    So max and sum are those of the scores alone up to here, and a huge sink overflows nothing. out is 0 for a row without a score above
    -inf, whatever the sink.

    ```mlir
    func.func @finish(%m: !tile.row<16xf32>, %l: !tile.row<16xf32>, %acc: !tile.tile<16x64xf32>) {
      %o, %lse, %max = tile.softmax_finish %m, %l, %acc : !tile.row<16xf32>, !tile.tile<16x64xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyRow:$max, Tile_AnyRow:$sum, Tile_AnyTile:$acc, Optional<Tile_AnyRow>:$sink);
  let results = (outs Tile_AnyTile:$out, Tile_AnyRow:$lse, Tile_AnyRow:$rowMax);
  let assemblyFormat = [{
    $max `,` $sum `,` $acc (`sink` `(` $sink^ `:` qualified(type($sink)) `)`)? attr-dict `:` qualified(type($max)) `,` qualified(type($acc))
  }];
  let hasVerifier = 1;
}

def Tile_SoftmaxNormOp : Tile_Op<"softmax_norm", [Pure, AllTypesMatch<["max", "sum", "lse", "factor"]>]> {
  let summary = "what normalises p, of a state that has no accumulator";
  let description = [{
        lse = max + ln(sum),  factor = 1 / sum,  so that p = exp(u - max) * factor

    and with a sink, where r is as in tile.softmax_finish:

        sum' = sum * exp(max - r) + exp(sink - r),  lse = r + ln(sum'),  factor = exp(max - r) / sum'

    A row that has seen no score above -inf has factor 0. p is not exp(u - lse): where |max| is so large that max + ln(sum) rounds to max,
    that would be 1 for every score at the maximum.

    ```mlir
    func.func @normaliser(%m: !tile.row<16xf32>, %l: !tile.row<16xf32>, %s: !tile.row<16xf32>) {
      %lse, %factor = tile.softmax_norm %m, %l sink(%s : !tile.row<16xf32>) : !tile.row<16xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyRow:$max, Tile_AnyRow:$sum, Optional<Tile_AnyRow>:$sink);
  let results = (outs Tile_AnyRow:$lse, Tile_AnyRow:$factor);
  let assemblyFormat = "$max `,` $sum (`sink` `(` $sink^ `:` qualified(type($sink)) `)`)? attr-dict `:` qualified(type($max))";
  let hasVerifier = 1;
}

def Tile_SoftmaxProbsOp : Tile_Op<"softmax_probs", [Pure, AllTypesMatch<["scores", "probs"]>, AllTypesMatch<["max", "factor"]>]> {
  let summary = "the normalised p of a block of scores, from the maxima and normalising factors of their rows";
  let description = [{
        r    = max == -inf ? 0 : max             as in a step
        p[j] = exp(u[j] - r) * factor            for the first `cols` columns, 0 for the others; exactly 0 where u[j] is -inf (A5)

    ```mlir
    func.func @recompute(%u: !tile.tile<16x128xf32>, %m: !tile.row<16xf32>, %factor: !tile.row<16xf32>, %cols: i64) {
      %p = tile.softmax_probs %u, %m, %factor cols(%cols) : !tile.tile<16x128xf32>, !tile.row<16xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$scores, Tile_AnyRow:$max, Tile_AnyRow:$factor, I64:$cols);
  let results = (outs Tile_AnyTile:$probs);
  let assemblyFormat = [{
    $scores `,` $max `,` $factor `cols` `(` $cols `)` attr-dict `:` qualified(type($scores)) `,` qualified(type($max))
  }];
  let hasVerifier = 1;
}

#endif // ATTNJIT_DIALECT_TILE_TD
