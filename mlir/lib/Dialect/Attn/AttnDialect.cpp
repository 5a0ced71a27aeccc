#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

// g++ 12 takes the generated parser of a struct of plain integers for one that reads them unset.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "attnjit-mlir/Dialect/Attn/AttnDialect.cpp.inc"
#include "attnjit-mlir/Dialect/Attn/AttnEnums.cpp.inc"
#include "attnjit-mlir/Dialect/Attn/AttnInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "attnjit-mlir/Dialect/Attn/AttnAttrs.cpp.inc"

using namespace mlir;

namespace attnjit::attn {

void AttnDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "attnjit-mlir/Dialect/Attn/AttnAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "attnjit-mlir/Dialect/Attn/AttnOps.cpp.inc"
      >();
}

LogicalResult ConfigAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, int64_t tileRows, int64_t tileCols, bool, bool) {
  if (tileRows < 1)
    return emitError() << "tile_rows: expected at least 1, got " << tileRows;
  if (tileCols < 1)
    return emitError() << "tile_cols: expected at least 1, got " << tileCols;
  return success();
}

} // namespace attnjit::attn
