//===- Tile.td - the attention algorithm on tiles ---------------------------------------------------------------------===//
//
// Every `mlir` code block of a description is a complete module; test/Dialect/examples.test runs them all through attnjit-opt.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef ATTNJIT_DIALECT_TILE_TD
#define ATTNJIT_DIALECT_TILE_TD

include "attnjit-mlir/Dialect/Attn/AttnBase.td"
include "mlir/IR/SymbolInterfaces.td"

def TileDialect : Dialect {
  let name = "tile";
  let cppNamespace = "::attnjit::tile";
  let summary = "How attention is computed, on tiles: dots, maps and row state, without lanes or threads";
  let description = [{
    A `tile.kernel` computes one tile of query rows. Its body is the algorithm of attention, written once for all targets: a `tile.stream`
    walks the plan of the tile in blocks of keys and carries the state of an online softmax; dots, maps, masks and row operations work on
    values of static shape. A prob_mod that needs the normalised p walks the plan a second time. Shapes are those of a whole tile; at ragged ends the missing rows and columns read as zero, take part in
    nothing and are never written.

    A schedule may change only: the order over blocks, the reference point of the softmax, transposition, peeling, packing and the
    precision of p. `TileProgram` is how it sees a kernel.
  }];
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = ["::attnjit::attn::AttnDialect"];
}

//===------------------------------------------------------------------------------------------------------------------===//
// Types
//===------------------------------------------------------------------------------------------------------------------===//

class Tile_Type<string name, string typeMnemonic, list<Trait> traits = []> : TypeDef<TileDialect, name, traits> {
  let mnemonic = typeMnemonic;
}

def Tile_TileType : Tile_Type<"Tile", "tile"> {
  let summary = "a matrix of static shape held by a kernel: !tile.tile<64x128xf32>";
  let parameters = (ins "int64_t":$rows, "int64_t":$cols, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Tile_RowType : Tile_Type<"Row", "row"> {
  let summary = "one value per row of a tile: !tile.row<64xf32>";
  let parameters = (ins "int64_t":$rows, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Tile_ViewType : Tile_Type<"View", "view"> {
  let summary = "an operand in memory: !tile.view<?x64xf32> ([batch, head, rows, 64]), !tile.view<?xf32> ([batch, head, rows])";
  let description = [{
    Extents of batch, head and rows and all strides come with each launch. `strided` says that the last stride may be other than 1, `paged`
    that the rows of a batch lie in the pages that KernelArgs::pages names. `cols` is 0 for a view without columns (lse, max and sinks; the
    latter repeat over batches and rows, by strides of 0).
  }];
  let parameters = (ins "int64_t":$cols, "::mlir::Type":$elementType, "bool":$contiguous, "bool":$paged);
  let builders = [TypeBuilder<(ins "int64_t":$cols, "::mlir::Type":$elementType, "bool":$contiguous), [{
    return $_get($_ctxt, cols, elementType, contiguous, /*paged=*/false);
  }]>];
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Tile_CaptureType : Tile_Type<"Capture", "capture", [DeclareTypeInterfaceMethods<Attn_CaptureTypeInterface>]> {
  let summary = "a captured tensor of some rank, of any sizes and strides: !tile.capture<2xbf16>";
  let parameters = (ins "int64_t":$rank, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Tile_PlanType : Tile_Type<"Plan", "plan"> {
  let summary = "the runs of keys that one query tile has to visit";
}

def Tile_AnyTile : Type<CPred<"::llvm::isa<::attnjit::tile::TileType>($_self)">, "!tile.tile", "::attnjit::tile::TileType">;
def Tile_AnyRow : Type<CPred<"::llvm::isa<::attnjit::tile::RowType>($_self)">, "!tile.row", "::attnjit::tile::RowType">;
def Tile_AnyView : Type<CPred<"::llvm::isa<::attnjit::tile::ViewType>($_self)">, "!tile.view", "::attnjit::tile::ViewType">;
def Tile_AnyCapture : Type<CPred<"::llvm::isa<::attnjit::tile::CaptureType>($_self)">, "!tile.capture", "::attnjit::tile::CaptureType">;
def Tile_Plan : Type<CPred<"::llvm::isa<::attnjit::tile::PlanType>($_self)">, "!tile.plan", "::attnjit::tile::PlanType">,
                BuildableType<"$_builder.getType<::attnjit::tile::PlanType>()">;

def Tile_DotRole : I32EnumAttr<"DotRole", "what a dot is for", [
    I32EnumAttrCase<"QK", 0, "qk">, I32EnumAttrCase<"PV", 1, "pv">]> {
  let cppNamespace = "::attnjit::tile";
}

//===------------------------------------------------------------------------------------------------------------------===//
// The kernel and its parts
//===------------------------------------------------------------------------------------------------------------------===//

class Tile_Op<string mnemonic, list<Trait> traits = []> : Op<TileDialect, mnemonic, traits>;

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
    (max, sum) only, tile.softmax_lse follows, and the second one carries the accumulator, with tile.softmax_probs and tile.prob in place of
    tile.softmax_step and tile.row_scale; it computes the scores with the same maps.

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
  let arguments = (ins SymbolNameAttr:$sym_name, Attn_ConfigAttr:$config, OptionalAttr<StrArrayAttr>:$names);
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

def Tile_SoftmaxLseOp : Tile_Op<"softmax_lse", [Pure, AllTypesMatch<["max", "sum", "lse"]>]> {
  let summary = "the log-sum-exp of a state that has no accumulator";
  let description = [{
    lse = max + ln(sum), and with a sink as in tile.softmax_finish.

    ```mlir
    func.func @normaliser(%m: !tile.row<16xf32>, %l: !tile.row<16xf32>, %s: !tile.row<16xf32>) {
      %lse = tile.softmax_lse %m, %l sink(%s : !tile.row<16xf32>) : !tile.row<16xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyRow:$max, Tile_AnyRow:$sum, Optional<Tile_AnyRow>:$sink);
  let results = (outs Tile_AnyRow:$lse);
  let assemblyFormat = "$max `,` $sum (`sink` `(` $sink^ `:` qualified(type($sink)) `)`)? attr-dict `:` qualified(type($max))";
  let hasVerifier = 1;
}

def Tile_SoftmaxProbsOp : Tile_Op<"softmax_probs", [Pure, AllTypesMatch<["scores", "probs"]>]> {
  let summary = "the normalised p of a block of scores, from the log-sum-exp of their rows";
  let description = [{
        p[j] = exp(u[j] - lse) for the first `cols` columns, 0 for the others; exactly 0 where u[j] is -inf (A5)

    ```mlir
    func.func @recompute(%u: !tile.tile<16x128xf32>, %lse: !tile.row<16xf32>, %cols: i64) {
      %p = tile.softmax_probs %u, %lse cols(%cols) : !tile.tile<16x128xf32>, !tile.row<16xf32>
      return
    }
    ```
  }];
  let arguments = (ins Tile_AnyTile:$scores, Tile_AnyRow:$lse, I64:$cols);
  let results = (outs Tile_AnyTile:$probs);
  let assemblyFormat = "$scores `,` $lse `cols` `(` $cols `)` attr-dict `:` qualified(type($scores)) `,` qualified(type($lse))";
  let hasVerifier = 1;
}

#endif // ATTNJIT_DIALECT_TILE_TD
