//===- TileKernel.td - a kernel and its parts -------------------------------------------------------------------------===//
//
// Every `mlir` code block of a description is a complete module; test/Dialect/examples.test runs them all through attnjit-opt.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef ATTNJIT_DIALECT_TILE_KERNEL_TD
#define ATTNJIT_DIALECT_TILE_KERNEL_TD

include "attnjit-mlir/Dialect/Tile/TileSchedule.td"

def Tile_KernelOp : Tile_Op<"kernel", [IsolatedFromAbove, Symbol, SingleBlock, NoTerminator,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "the program of one query tile";
  let description = [{
    Arguments follow KernelArgs (attnjit/KernelAbi.h): views q, k, v, out, then the row views lse and max, scale (f32 or f64: the compute
    type), the row view of the sinks if the kernel has any, one `!tile.capture` per captured tensor, one number per captured scalar (i1,
    i32 or i64, f32 or f64). But for the sinks they are always all there; at run time lse and max may be unwanted, and then storing to them
    does nothing.

    `config.tile_rows` x `config.tile_cols` is the shape of a score tile. The normal form, which `tile-verify` checks and `TileProgram`
    reads, is the order of ops in this example; tile.map, tile.mask, tile.prob and the region of tile.plan may be absent. In a program whose
    keys are split, a tile.split stands in place of the tile.stream (see there). With sinks, a tile.load_row stands before
    tile.softmax_finish, which takes it. A prob_mod that is not proportional to p takes two streams: the first one has no v and carries
    (max, sum) only, tile.softmax_norm follows, and the second one carries the accumulator, with tile.softmax_probs and tile.prob in place of
    tile.softmax_step and tile.row_scale; it computes the scores with the same maps.

    `schedule`: what the chooser of a GPU made of it; absent before it, and on the way to a CPU.

    ```mlir
    tile.kernel @causal(%q: !tile.view<?x64xbf16>, %k: !tile.view<?x64xbf16>, %v: !tile.view<?x32xbf16>, %out: !tile.view<?x32xbf16>,
                        %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %cap: f32)
        config<tile_rows = 16, tile_cols = 128, checked_indices = false, narrow = true> {
      %b, %h, %hkv, %q0 = tile.position
      %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x64xbf16> -> !tile.tile<16x64xbf16>
      %m0, %l0 = tile.softmax_init : !tile.row<16xf32>
      %acc0 = tile.fill 0.0 : !tile.tile<16x32xf32>
      %plan = tile.plan at(%b, %h, %q0) scalars(%cap : f32) {
      ^bb0(%pb: i32, %ph: i32, %qlo: i32, %qhi: i32, %klo: i32, %khi: i32, %pc: f32):
        %may_be_true = arith.cmpi sle, %klo, %qhi : i32
        %may_be_false = arith.cmpi sgt, %khi, %qlo : i32
        tile.yield %may_be_true, %may_be_false : i1, i1
      }
      %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x32xf32>) {
      ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<16xf32>, %li: !tile.row<16xf32>, %acci: !tile.tile<16x32xf32>):
        %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x64xbf16> -> !tile.tile<128x64xbf16>
        %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<16x64xbf16>, !tile.tile<128x64xbf16> -> !tile.tile<16x128xf32>
        %t = tile.map %s at(%b, %h, %q0, %kv0) scalars(%cap : f32) : !tile.tile<16x128xf32> {
        ^bb0(%e: f32, %eb: i32, %eh: i32, %eq: i32, %ekv: i32, %ec: f32):
          %x = arith.divf %e, %ec : f32
          %y = math.tanh %x : f32
          %z = arith.mulf %y, %ec : f32
          tile.yield %z : f32
        }
        %u = tile.mask %t if %partial at(%b, %h, %q0, %kv0) scalars(%cap : f32) : !tile.tile<16x128xf32> {
        ^bb0(%eb: i32, %eh: i32, %eq: i32, %ekv: i32, %ec: f32):
          %visible = arith.cmpi sle, %ekv, %eq : i32
          tile.yield %visible : i1
        }
        %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %u cols(%cols) : !tile.row<16xf32>, !tile.tile<16x128xf32>
        %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x32xbf16> -> !tile.tile<128x32xbf16>
        %scaled = tile.row_scale %acci, %alpha : !tile.tile<16x32xf32>, !tile.row<16xf32>
        %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<16x128xf32>, !tile.tile<128x32xbf16> -> !tile.tile<16x32xf32>
        tile.yield %m1, %l1, %acc1 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x32xf32>
      }
      %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<16xf32>, !tile.tile<16x32xf32>
      %oc = tile.cast %o : !tile.tile<16x32xf32> to !tile.tile<16x32xbf16>
      tile.store %oc, %out[%b, %h, %q0] : !tile.tile<16x32xbf16>, !tile.view<?x32xbf16>
      tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
      tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Attn_ConfigAttr:$config, OptionalAttr<StrArrayAttr>:$names,
                       OptionalAttr<Tile_Schedule>:$schedule);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The fixed arguments, in order; captures and scalars follow.
    enum Argument : unsigned { Q, K, V, Out, Lse, Max, Scale, Sinks };
    ::mlir::BlockArgument getArgument(unsigned index) { return getBody().getArgument(index); }
    ::mlir::Type getComputeType() { return getArgument(Scale).getType(); }
    /// Type of b, h, q and kv in map bodies.
    ::mlir::Type getIndexType();
    /// The view of the sinks; null if there are none.
    ::mlir::BlockArgument getSinks();
    unsigned getFirstCapture() { return getSinks() ? Sinks + 1 : Sinks; }
    ::llvm::SmallVector<::mlir::Value> getCaptures();
    ::llvm::SmallVector<::mlir::Value> getScalars();
  }];
}

def Tile_PositionOp : Tile_Op<"position", [Pure, HasParent<"KernelOp">]> {
  let summary = "which tile this is";
  let description = [{
    Batch, query head, kv head (query head / (Hq / Hkv), A4) and first query row of the tile, all i64.

    ```mlir
    tile.kernel @part(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                      %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %window: i32)
        config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
      %b, %h, %hkv, %q0 = tile.position
    }
    ```
  }];
  let results = (outs I64:$b, I64:$h, I64:$kvHead, I64:$q0);
  let assemblyFormat = "attr-dict";
}

def Tile_PlanOp : Tile_Op<"plan", [Pure, IsolatedFromAbove, HasParent<"KernelOp">, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "the runs of keys that a query tile visits, with the closed form of the mask if there is one";
  let description = [{
    The plan is what KernelArgs::plan says, or one partial run over all keys. The region, if present, is the interval extension
    of the mask as code: arguments (b, h, q_lo, q_hi, kv_lo, kv_hi, scalars...), bounds inclusive, of the index type; it yields
    (may be true, may be false). A block that cannot be true is skipped; one that cannot be false is not partial. It must be sound, not tight.

    ```mlir
    tile.kernel @part(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                      %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %window: i32)
        config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
      %b, %h, %hkv, %q0 = tile.position
      %plan = tile.plan at(%b, %h, %q0) scalars(%window : i32) {
      ^bb0(%pb: i32, %ph: i32, %qlo: i32, %qhi: i32, %klo: i32, %khi: i32, %w: i32):
        %nearest = arith.subi %qlo, %khi : i32
        %farthest = arith.subi %qhi, %klo : i32
        %may_be_true = arith.cmpi slt, %nearest, %w : i32
        %may_be_false = arith.cmpi sge, %farthest, %w : i32
        tile.yield %may_be_true, %may_be_false : i1, i1
      }
    }
    ```
  }];
  let arguments = (ins I64:$b, I64:$h, I64:$q0, Variadic<Attn_Scalar>:$scalars);
  let results = (outs Tile_Plan:$plan);
  let regions = (region MaxSizedRegion<1>:$closedForm);
  let assemblyFormat = "`at` `(` $b `,` $h `,` $q0 `)` (`scalars` `(` $scalars^ `:` type($scalars) `)`)? attr-dict-with-keyword ($closedForm^)?";
  let hasRegionVerifier = 1;
}

def Tile_StreamOp : Tile_Op<"stream", [SingleBlock, ParentOneOf<["KernelOp", "SplitOp"]>, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "the loop over the blocks of keys of a plan";
  let description = [{
    Walks every run of the plan in blocks of at most config.tile_cols keys. Body arguments: first key of the block and number of keys
    in it (i64), whether the mask has to be evaluated (i1), and the carried state; the body yields the next state. Only
    loads, dots, maps, masks and row ops may stand in it. An empty plan returns the initial state.

    ```mlir
    tile.kernel @part(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                      %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %window: i32)
        config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
      %b, %h, %hkv, %q0 = tile.position
      %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
      %zero = tile.fill 0.0 : !tile.tile<4x16xf32>
      %plan = tile.plan at(%b, %h, %q0) scalars(%window : i32)
      %sum = tile.stream %plan iter(%zero : !tile.tile<4x16xf32>) {
      ^bb0(%kv0: i64, %cols: i64, %partial: i1, %state: !tile.tile<4x16xf32>):
        %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
        %next = tile.dot qk %qt, trans %kt scale(%scale) acc(%state) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
        tile.yield %next : !tile.tile<4x16xf32>
      }
    }
    ```
  }];
  let arguments = (ins Tile_Plan:$plan, Variadic<AnyType>:$inits);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
}

def Tile_SplitOp : Tile_Op<"split", [SingleBlock, HasParent<"KernelOp">, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "the parts of a plan, each computed on its own, combined in index order";
  let description = [{
    Cuts the keys into parts of KernelArgs::split.keys keys (the last may be shorter) and calls the body once per part, in index order, with
    the plan narrowed to the part and the state so far. The body computes the state of the part from nothing but its plan and combines
    the two; so a schedule may compute the parts at the same time, on different processors, as long as it combines them in
    index order (A11). With one part this is the program without the split.

    ```mlir
    tile.kernel @part(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                      %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %window: i32)
        config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
      %b, %h, %hkv, %q0 = tile.position
      %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
      %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
      %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
      %plan = tile.plan at(%b, %h, %q0) scalars(%window : i32)
      %m, %l, %acc = tile.split %plan iter(%m0, %l0, %acc0 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
      ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>, %acca: !tile.tile<4x8xf32>):
        %mn, %ln = tile.softmax_init : !tile.row<4xf32>
        %accn = tile.fill 0.0 : !tile.tile<4x8xf32>
        %mp, %lp, %accp = tile.stream %part iter(%mn, %ln, %accn : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
        ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>, %acci: !tile.tile<4x8xf32>):
          %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
          %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
          %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
          %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
          %scaled = tile.row_scale %acci, %alpha : !tile.tile<4x8xf32>, !tile.row<4xf32>
          %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
          tile.yield %m1, %l1, %acc1 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
        }
        %mb, %lb, %accb = tile.softmax_merge (%ma, %la, %acca), (%mp, %lp, %accp) : !tile.row<4xf32>, !tile.tile<4x8xf32>
        tile.yield %mb, %lb, %accb : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
      }
    }
    ```
  }];
  let arguments = (ins Tile_Plan:$plan, Variadic<AnyType>:$inits);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
}

def Tile_YieldOp : Tile_Op<"yield", [Pure, Terminator, ParentOneOf<["PlanOp", "SplitOp", "StreamOp", "MapOp", "MaskOp", "ProbOp"]>]> {
  let summary = "the values of a region";
  let description = [{
    Ends the region of a plan (two i1), split or stream (the next state), map or prob (the new element) or mask (i1).

    ```mlir
    func.func @negated(%s: !tile.tile<4x16xf32>, %b: i64, %h: i64, %q0: i64, %kv0: i64) {
      %t = tile.map %s at(%b, %h, %q0, %kv0) : !tile.tile<4x16xf32> {
      ^bb0(%e: f32, %eb: i64, %eh: i64, %eq: i64, %ekv: i64):
        %n = arith.negf %e : f32
        tile.yield %n : f32
      }
      return
    }
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "attr-dict ($values^ `:` type($values))?";
}

#endif // ATTNJIT_DIALECT_TILE_KERNEL_TD
