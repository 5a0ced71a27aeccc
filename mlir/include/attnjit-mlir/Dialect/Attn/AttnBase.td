//===- AttnBase.td - the attn dialect, its types and attributes -------------------------------------------------------===//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef ATTNJIT_DIALECT_ATTN_BASE_TD
#define ATTNJIT_DIALECT_ATTN_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def AttnDialect : Dialect {
  let name = "attn";
  let cppNamespace = "::attnjit::attn";
  let summary = "What attention computes: formula, operands and direction, without a word about how";
  let description = [{
    `attn.attention` is the op that an ML compiler writes in a module of its own, on tensors or memrefs. `attn.forward` is one kernel: the same
    formulas on the arguments of a function, with the choices of a schedule; attnjit builds it from `attn.attention` or from formula text
    (Import/ImportFormula.h). Both hold the formulas of flex attention, and prob_mod, as scalar regions.

    The regions speak arith and math on scalars plus two ops of our own, which the `tile` dialect and every lowering share:
    `attn.load` reads one element of a captured tensor, `attn.pointwise` has the operations with Python's or PyTorch's meaning that no
    arith or math op has.

    Numbers A1..A13 in descriptions refer to docs/semantics.md.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

class Attn_Op<string mnemonic, list<Trait> traits = []> : Op<AttnDialect, mnemonic, traits>;

//===------------------------------------------------------------------------------------------------------------------===//
// Types and attributes
//===------------------------------------------------------------------------------------------------------------------===//

def Attn_CaptureTypeInterface : TypeInterface<"CaptureTypeInterface"> {
  let cppNamespace = "::attnjit::attn";
  let description = [{A type other than memref that stands for a captured tensor, so that `attn.load` serves every stage.}];
  let methods = [
    InterfaceMethod<"Element type in memory.", "::mlir::Type", "getCaptureElementType">,
    InterfaceMethod<"Number of indices a load needs.", "int64_t", "getCaptureRank">,
  ];
}

def Attn_Captured : Type<CPred<"::attnjit::attn::isCaptured($_self)">,
                         "memref or tensor of rank 0 to 6, or !tile.capture, of f64, f32, bf16, f16, f8E4M3FN, f8E5M2, i1, i8, ui8, i16, i32 or i64">;
def Attn_Float : AnyTypeOf<[F32, F64], "f32 or f64">;
def Attn_Int : AnyTypeOf<[I32, I64], "i32 or i64">;
def Attn_Scalar : AnyTypeOf<[I1, I32, I64, F32, F64], "i1, i32, i64, f32 or f64">;
class Attn_Shaped<list<Type> elements, int rank> : AnyTypeOf<[TensorRankOf<elements, [rank]>, MemRefRankOf<elements, [rank]>]>;
def Attn_Operand : Attn_Shaped<[F64, F32, BF16, F16, F8E4M3FN, F8E5M2], 4>;
def Attn_Sinks : Attn_Shaped<[F64, F32, BF16, F16], 1>;
def Attn_AnyShaped : AnyTypeOf<[AnyRankedTensor, AnyMemRef]>;
def Attn_OperandRef : MemRefRankOf<[F64, F32, BF16, F16, F8E4M3FN, F8E5M2], [4]>;
def Attn_RowRef : MemRefRankOf<[F64, F32], [3]>;
def Attn_PageTable : MemRefRankOf<[I64], [2]>;
def Attn_SinkRef : MemRefRankOf<[F64, F32, BF16, F16], [1]>;

def Attn_ConfigAttr : AttrDef<AttnDialect, "Config"> {
  let mnemonic = "config";
  let summary = "free choices of a schedule and facts about the launch that are compiled in";
  let description = [{
    * `tile_rows`, `tile_cols`: query rows per tile and keys per block; at least 1.
    * `checked_indices`: some captured index could not be proved in bounds, so loads are checked and reported (A10).
    * `narrow`: b, h, q, kv and integer scalars lie within +-2^30, so that index arguments are i32; otherwise they are i64.
  }];
  let parameters = (ins "int64_t":$tile_rows, "int64_t":$tile_cols, "bool":$checked_indices, "bool":$narrow);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // ATTNJIT_DIALECT_ATTN_BASE_TD
