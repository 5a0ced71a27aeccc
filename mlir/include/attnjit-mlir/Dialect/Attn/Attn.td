//===- Attn.td - attention as a semantic op ----------------------------------------------------------------------------===//
//
// Every `mlir` code block of a description is a complete module; test/Dialect/examples.test runs them all through attnjit-opt.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef ATTNJIT_DIALECT_ATTN_TD
#define ATTNJIT_DIALECT_ATTN_TD

include "attnjit-mlir/Dialect/Attn/AttnBase.td"

def Attn_ForwardOp : Attn_Op<"forward", [
    AttrSizedOperandSegments, IsolatedFromAbove,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "fused attention with a score_mod, a mask_mod and a prob_mod, in destination style";
  let description = [{
    For every batch b, query head h and query row i, with kv head g = h / (Hq / Hkv) (A4):

        s[j]   = scale * sum_d q[b,h,i,d] * k[b,g,j,d]             (A1)
        t[j]   = score(s[j], b, h, i, j)                            (A2)
        u[j]   = mask(b, h, i, j) ? t[j] : -inf                     (A3)
        p[j]   = exp(u[j]) / (exp(sinks[h]) + sum_j exp(u[j]))      (A5, A15)
        w[j]   = u[j] == -inf ? 0 : prob(p[j], b, h, i, j)          (A13)
        out[i] = sum_j w[j] * v[b,g,j,:]
        lse[i] = ln (exp(sinks[h]) + sum_j exp(u[j]))               (A7)
        max[i] = max_j u[j]

    Without sinks their term is absent; then a row whose every u is -inf gives out 0, lse -inf and max -inf.

    | operand  | shape           | rule |
    |----------|-----------------|------|
    | q        | [B, Hq, M, D]   | D static, 1 to 512 |
    | k        | [B, Hkv, N, D]  | same D as q |
    | v        | [B, Hkv, N, Dv] | Dv static, 1 to 512; same element type as k |
    | out      | [B, Hq, M, Dv]  | same Dv as v |
    | lse, max | [B, Hq, M]      | element type of scale |
    | sinks    | [Hq]            | one logit per query head, of any float type |

    A batch stride of 0 broadcasts.

    With `pages` the keys and values of all batches lie in one pool of pages of S rows: k is [P, Hkv, S, D], v is [P, Hkv, S, Dv], and row j of
    batch b is row j mod S of page pages[b, floor(j / S)]. The table is [B, at least ceil(N / S)]; N comes with the launch, and entries past
    the last key are not read. Formulas see j as ever.

    scale, the score and floats in the regions have one type: f64 if q is f64, else f32.

    Regions, each may be absent (identity score; a mask that is always true; identity prob):
    * `score`: arguments (score, b, h, q, kv, captures..., scalars...), yields a float;
    * `mask`: arguments (b, h, q, kv, captures..., scalars...), yields i1;
    * `prob`: arguments (p, b, h, q, kv, captures..., scalars...), yields a float.

    Index arguments and integer scalars are i32 when the configuration says narrow, else i64; inside a region an i32 operation promises
    not to overflow. h is the QUERY head. An i64 or f64 scalar operand arrives in the region as the index type or the score's type.

    Example (causal, with one captured slope per head):

    ```mlir
    func.func @alibi(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>,
                     %out: memref<?x?x?x64xf32>, %lse: memref<?x?x?xf32>, %scale: f32, %slope: memref<?xf32>) {
      attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>)
          outs(%out : memref<?x?x?x64xf32>) lse(%lse : memref<?x?x?xf32>) scale(%scale : f32)
          captures(%slope : memref<?xf32>)
          config<tile_rows = 64, tile_cols = 128, checked_indices = false, narrow = true>
          score {
          ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32, %c: memref<?xf32>):
            %m = attn.load %c[%h] : memref<?xf32>, i32 -> f32
            %d = arith.subi %j, %i : i32
            %f = arith.sitofp %d : i32 to f32
            %p = arith.mulf %m, %f : f32
            %t = arith.addf %s, %p : f32
            attn.yield %t : f32
          } mask {
          ^bb0(%b: i32, %h: i32, %i: i32, %j: i32, %c: memref<?xf32>):
            %m = arith.cmpi sle, %j, %i : i32
            attn.yield %m : i1
          }
      return
    }
    ```
  }];
  let arguments = (ins
    Arg<Attn_OperandRef, "queries", [MemRead]>:$q,
    Arg<Attn_OperandRef, "keys", [MemRead]>:$k,
    Arg<Attn_OperandRef, "values", [MemRead]>:$v,
    Arg<Optional<Attn_PageTable>, "page table of keys and values", [MemRead]>:$pages,
    Arg<Attn_OperandRef, "output", [MemWrite]>:$out,
    Arg<Optional<Attn_RowRef>, "log-sum-exp", [MemWrite]>:$lse,
    Arg<Optional<Attn_RowRef>, "row maximum", [MemWrite]>:$max,
    Attn_Float:$scale,
    Arg<Optional<Attn_SinkRef>, "attention sinks", [MemRead]>:$sinks,
    Arg<Variadic<AnyMemRef>, "captured tensors", [MemRead]>:$captures,
    Variadic<Attn_Scalar>:$scalars,
    Attn_ConfigAttr:$config,
    OptionalAttr<StrArrayAttr>:$names);
  let regions = (region MaxSizedRegion<1>:$score, MaxSizedRegion<1>:$mask, MaxSizedRegion<1>:$prob);
  let assemblyFormat = [{
    `ins` `(` $q `,` $k `,` $v `:` type($q) `,` type($k) `,` type($v) `)` (`pages` `(` $pages^ `:` type($pages) `)`)?
    `outs` `(` $out `:` type($out) `)` (`lse` `(` $lse^ `:` type($lse) `)`)? (`max` `(` $max^ `:` type($max) `)`)?
    `scale` `(` $scale `:` type($scale) `)` (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    (`captures` `(` $captures^ `:` type($captures) `)`)? (`scalars` `(` $scalars^ `:` type($scalars) `)`)?
    `config` `` $config attr-dict-with-keyword (`score` $score^)? (`mask` $mask^)? (`prob` $prob^)?
  }];
  let hasRegionVerifier = 1;
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
  let extraClassDeclaration = [{
    /// Type of scores and of floats in the regions.
    ::mlir::Type getComputeType() { return getScale().getType(); }
    /// Type of b, h, q and kv in the regions.
    ::mlir::Type getRegionIndexType();
    /// How many arguments of a region of this op stand before those of captures and scalars: the value that a score or a prob region
    /// maps, and b, h, q, kv.
    unsigned getFixedArguments(::mlir::Region &region) { return &region == &getMask() ? 4 : 5; }
    /// Argument types that a region of this op has to have.
    ::llvm::SmallVector<::mlir::Type> getRegionArgumentTypes(::mlir::Region &region);
    /// Head dimension of q and k, and of v and out.
    int64_t getHeadDim() { return getQ().getType().getDimSize(3); }
    int64_t getValueDim() { return getV().getType().getDimSize(3); }
    /// The last stride of q, k and v is 1 at compile time.
    bool isContiguous();
  }];
}

def Attn_AttentionOp : Attn_Op<"attention", [
    AttrSizedOperandSegments, IsolatedFromAbove, DestinationStyleOpInterface,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "attention with a score_mod, a mask_mod and a prob_mod, on tensors or memrefs";
  let description = [{
    Computes what `attn.forward` computes, with its numbers A1 to A15, but says nothing of how: no tiles, no widths. For every batch b, query head h
    and query i, with kv head g = h / (Hq / Hkv), all counted within the operands, and with the offsets (b0, h0, i0), which are 0 unless given:

        u[j]   = mask(b0 + b, h0 + h, i0 + i, j) ? score(scale * <q[b,h,i], k[b,g,j]>, b0 + b, h0 + h, i0 + i, j) : -inf
        p[j]   = exp(u[j]) / (exp(sinks[h]) + sum_j exp(u[j]))
        out[i] = sum_j (u[j] == -inf ? 0 : prob(p[j], b0 + b, h0 + h, i0 + i, j)) * v[b,g,j,:]
        lse[i] = ln (exp(sinks[h]) + sum_j exp(u[j])),   max[i] = max_j u[j]

    | operand     | shape            | rule |
    |-------------|------------------|------|
    | q           | [B, Hq, M, D]    | D static, 1 to 512 |
    | k           | [B or 1, Hkv, N, D]  | Hkv divides Hq |
    | v           | [B or 1, Hkv, N, Dv] | Dv static, 1 to 512; same element type as k |
    | outs        | [B, Hq, M, Dv], then [B, Hq, M] twice | out; lse and max if they are wanted, of the type of scores |
    | scale       | a number         | of the type of scores; 1 / sqrt(D) if absent |
    | sinks       | [Hq]             | one logit per query head |
    | offsets     | three indices    | what position (0, 0, 0) of q is called in the regions: how tiles keep their place |

    All shaped operands are tensors, and then each of `outs` is tied to a result; or all are memrefs. Every other size may be dynamic. What is in `outs` before is not
    read. Scores and floats in the regions are f64 if q is f64, else f32; index arguments and integer scalars are i64; a captured tensor is an
    argument of its own type, read by `attn.load`. The regions are those of `attn.forward`: score(s, b, h, q, kv, captures..., scalars...),
    mask(b, h, q, kv, captures..., scalars...), prob(p, b, h, q, kv, captures..., scalars...), each of which may be absent.

    The op implements DestinationStyleOpInterface; BufferizableOpInterface and TilingInterface over batch, head and query are external
    models (Dialect/Attn/InterfaceModels.h).

    Example (causal with a captured slope per head, the queries at the end of the keys):

    ```mlir
    func.func @decode(%q: tensor<?x16x?x64xbf16>, %k: tensor<?x4x?x64xbf16>, %v: tensor<?x4x?x64xbf16>, %out: tensor<?x16x?x64xbf16>,
                      %slope: tensor<16xf32>, %past: i64) -> tensor<?x16x?x64xbf16> {
      %0 = attn.attention ins(%q, %k, %v : tensor<?x16x?x64xbf16>, tensor<?x4x?x64xbf16>, tensor<?x4x?x64xbf16>)
          outs(%out : tensor<?x16x?x64xbf16>) captures(%slope : tensor<16xf32>) scalars(%past : i64)
          score {
          ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %c: tensor<16xf32>, %n: i64):
            %m = attn.load %c[%h] : tensor<16xf32>, i64 -> f32
            %p = arith.addi %i, %n : i64
            %d = arith.subi %j, %p : i64
            %f = arith.sitofp %d : i64 to f32
            %x = arith.mulf %m, %f : f32
            %t = arith.addf %s, %x : f32
            attn.yield %t : f32
          } mask {
          ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %c: tensor<16xf32>, %n: i64):
            %p = arith.addi %i, %n : i64
            %m = arith.cmpi sle, %j, %p : i64
            attn.yield %m : i1
          } -> tensor<?x16x?x64xbf16>
      return %0 : tensor<?x16x?x64xbf16>
    }
    ```
  }];
  let arguments = (ins
    Attn_Operand:$q, Attn_Operand:$k, Attn_Operand:$v,
    Variadic<Attn_AnyShaped>:$outs,
    Optional<Attn_Float>:$scale,
    Optional<Attn_Sinks>:$sinks,
    Variadic<Attn_AnyShaped>:$captures,
    Variadic<Attn_Scalar>:$scalars,
    Variadic<Index>:$offsets,
    OptionalAttr<StrArrayAttr>:$names);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$score, MaxSizedRegion<1>:$mask, MaxSizedRegion<1>:$prob);
  let assemblyFormat = [{
    `ins` `(` $q `,` $k `,` $v `:` type($q) `,` type($k) `,` type($v) `)` `outs` `(` $outs `:` type($outs) `)`
    (`scale` `(` $scale^ `:` type($scale) `)`)? (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    (`captures` `(` $captures^ `:` type($captures) `)`)? (`scalars` `(` $scalars^ `:` type($scalars) `)`)?
    (`offsets` `(` $offsets^ `)`)? attr-dict-with-keyword (`score` $score^)? (`mask` $mask^)? (`prob` $prob^)? (`->` type($results)^)?
  }];
  let hasRegionVerifier = 1;
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutsMutable(); }
    /// The destination of the output, of lse and of max; null for one that is not wanted.
    ::mlir::Value getOut() { return getOuts()[0]; }
    ::mlir::Value getLse() { return getOuts().size() > 1 ? getOuts()[1] : ::mlir::Value(); }
    ::mlir::Value getMax() { return getOuts().size() > 2 ? getOuts()[2] : ::mlir::Value(); }
    /// Operands are tensors, not memrefs.
    bool hasTensors() { return ::mlir::isa<::mlir::TensorType>(getQ().getType()); }
    // As of attn.forward.
    ::mlir::Type getComputeType();
    ::mlir::Type getRegionIndexType() { return ::mlir::IntegerType::get(getContext(), 64); }
    unsigned getFixedArguments(::mlir::Region &region) { return &region == &getMask() ? 4 : 5; }
    ::llvm::SmallVector<::mlir::Type> getRegionArgumentTypes(::mlir::Region &region);
  }];
}

def Attn_LoadOp : Attn_Op<"load", [Pure]> {
  let summary = "one element of a captured tensor";
  let description = [{
    Reads `capture[i0, i1, ...]`, one index per dimension. An index in [-size, -1] counts from the end, as in Python. No read outside the
    tensor's extents ever happens: an index out of range is clamped, and reported when the kernel was compiled with checked
    indices (A10). Captures are read-only (A8), so the op is pure.

    The result has the kind of the element: f32 or f64 for floats, i32 or i64 for integers (sign extended, ui8 zero extended), i1 for i1, which takes one
    byte in memory.

    ```mlir
    func.func @bias(%table: memref<?x?xbf16, strided<[?, ?], offset: ?>>, %h: i32, %d: i64) -> f32 {
      %e = attn.load %table[%h, %d] : memref<?x?xbf16, strided<[?, ?], offset: ?>>, i32, i64 -> f32
      return %e : f32
    }
    ```
  }];
  let arguments = (ins Attn_Captured:$capture, Variadic<Attn_Int>:$indices);
  let results = (outs Attn_Scalar:$result);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Attn_FloorDiv : I32EnumAttrCase<"FloorDiv", 0, "floor_div">;
def Attn_FloorMod : I32EnumAttrCase<"FloorMod", 1, "floor_mod">;
def Attn_Rem : I32EnumAttrCase<"Rem", 2, "rem">;
def Attn_Pow : I32EnumAttrCase<"Pow", 3, "pow">;
def Attn_Sign : I32EnumAttrCase<"Sign", 4, "sign">;
def Attn_Shl : I32EnumAttrCase<"Shl", 5, "shl">;
def Attn_Shr : I32EnumAttrCase<"Shr", 6, "shr">;
def Attn_Hypot : I32EnumAttrCase<"Hypot", 7, "hypot">;
def Attn_ToInt : I32EnumAttrCase<"ToInt", 8, "to_int">;
def Attn_Rand : I32EnumAttrCase<"Rand", 9, "rand">;
def Attn_RandInt : I32EnumAttrCase<"RandInt", 10, "randint">;
def Attn_PointwiseKind : I32EnumAttr<"PointwiseKind", "operation of attn.pointwise",
    [Attn_FloorDiv, Attn_FloorMod, Attn_Rem, Attn_Pow, Attn_Sign, Attn_Shl, Attn_Shr, Attn_Hypot, Attn_ToInt, Attn_Rand, Attn_RandInt]> {
  let cppNamespace = "::attnjit::attn";
}

def Attn_PointwiseOp : Attn_Op<"pointwise", [Pure, SameTypeOperands]> {
  let summary = "a scalar operation with Python's or PyTorch's meaning that arith and math lack";
  let description = [{
    | kind      | operands           | result |
    |-----------|--------------------|--------|
    | floor_div | a, b int or float  | floor(a / b); int division by zero gives 0 |
    | floor_mod | a, b int or float  | a - b * floor(a / b), sign of b; int modulo zero gives 0 |
    | rem       | a, b int or float  | C's fmod, sign of a; int remainder by zero gives 0 |
    | pow       | a, b int or float  | a ** b; int: wraps, an exponent below 0 gives 0 unless a is 1 or -1 |
    | sign      | a int or float     | -1, 0 or 1; NaN gives 0, as in PyTorch |
    | shl       | a, b int           | a << b; a count below 0 or past the width gives 0 |
    | shr       | a, b int           | a >> b, arithmetic; a count below 0 or past the width gives 0, or -1 for a negative a |
    | hypot     | a, b float         | sqrt(a * a + b * b) |
    | to_int    | a float            | toward zero, saturated to the result type (i32 or i64); NaN gives 0 |
    | randint   | seed, offset i64   | first word of Philox4x32-10 with key seed and counter offset, as a signed 32-bit number |
    | rand      | seed, offset i64   | that word as a number in [0, 1), rounded to f32 whatever the result type |

    Operands have one type, and the result has it too except for to_int, randint (i32 or i64) and rand (f32 or f64). Nothing traps:
    INT_MIN floor_div -1 wraps.

    ```mlir
    func.func @same_block(%q: i32, %kv: i32, %size: i32) -> i1 {
      %a = attn.pointwise floor_div %q, %size : i32
      %b = attn.pointwise floor_div %kv, %size : i32
      %same = arith.cmpi eq, %a, %b : i32
      return %same : i1
    }
    ```
  }];
  let arguments = (ins Attn_PointwiseKind:$kind, Variadic<Attn_Scalar>:$inputs);
  let results = (outs Attn_Scalar:$result);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def Attn_ReduceSum : I32EnumAttrCase<"Sum", 0, "sum">;
def Attn_ReduceMax : I32EnumAttrCase<"Max", 1, "max">;
def Attn_ReduceMin : I32EnumAttrCase<"Min", 2, "min">;
def Attn_ReduceKind : I32EnumAttr<"ReduceKind", "operation of attn.reduce", [Attn_ReduceSum, Attn_ReduceMax, Attn_ReduceMin]> {
  let cppNamespace = "::attnjit::attn";
}

def Attn_ReduceOp : Attn_Op<"reduce", [Pure, SingleBlock]> {
  let summary = "a sum or an extreme over an index, within a formula";
  let description = [{
    Joins what its region yields for the indices 0, 1, ... below `length`, in that order:

    | kind | result | of no index (length 0 or less) |
    |------|--------|--------------------------------|
    | sum  | the sum; ints wrap | 0 |
    | max  | the largest; NaN wins; of i1: any | -inf, the smallest int, false |
    | min  | the smallest; NaN wins; of i1: all | inf, the largest int, true |

    The region has one argument, the index, in the type of `length`; it yields a value of the result's type, and may use values from outside.
    It holds what a formula may hold, reductions included. A sum has no i1. The length is the same for every pair of positions: in a formula
    it is computed from constants and captured numbers only.

    Example (a low-rank bias, the dot product of a row of queries and a row of keys):

    ```mlir
    func.func @low_rank(%a: memref<?x?xf32>, %b: memref<?x?xf32>, %rank: i64, %q: i64, %kv: i64) -> f32 {
      %bias = attn.reduce sum %rank : i64 -> f32 {
      ^bb0(%i: i64):
        %x = attn.load %a[%q, %i] : memref<?x?xf32>, i64, i64 -> f32
        %y = attn.load %b[%kv, %i] : memref<?x?xf32>, i64, i64 -> f32
        %p = arith.mulf %x, %y : f32
        attn.yield %p : f32
      }
      return %bias : f32
    }
    ```
  }];
  let arguments = (ins Attn_ReduceKind:$kind, Attn_Int:$length);
  let results = (outs Attn_Scalar:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$kind $length `:` type($length) `->` type($result) $body attr-dict";
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def Attn_YieldOp : Attn_Op<"yield", [Pure, Terminator, ParentOneOf<["AttentionOp", "ForwardOp", "ReduceOp"]>]> {
  let summary = "the value of a score, mask or prob region, or of a step of a reduction";
  let description = [{
    Ends a region of `attn.attention` or `attn.forward` with its one value: a float for `score` and `prob`, an i1 for `mask`; that of `attn.reduce` with a value of its
    result's type.

    ```mlir
    func.func @soft(%q: memref<?x?x?x8xf16>, %out: memref<?x?x?x8xf16>, %scale: f32) {
      attn.forward ins(%q, %q, %q : memref<?x?x?x8xf16>, memref<?x?x?x8xf16>, memref<?x?x?x8xf16>)
          outs(%out : memref<?x?x?x8xf16>) scale(%scale : f32)
          config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = false>
          score {
          ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64):
            %t = math.tanh %s : f32
            attn.yield %t : f32
          }
      return
    }
    ```
  }];
  let arguments = (ins Attn_Scalar:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

#endif // ATTNJIT_DIALECT_ATTN_TD
