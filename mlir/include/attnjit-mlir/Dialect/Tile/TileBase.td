//===- TileBase.td - the tile dialect and its types -------------------------------------------------------------------===//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef ATTNJIT_DIALECT_TILE_BASE_TD
#define ATTNJIT_DIALECT_TILE_BASE_TD

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
  let useDefaultAttributePrinterParser = 1;
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

class Tile_Op<string mnemonic, list<Trait> traits = []> : Op<TileDialect, mnemonic, traits>;

#endif // ATTNJIT_DIALECT_TILE_BASE_TD
