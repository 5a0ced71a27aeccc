// Types and registration of the tile dialect.
#include "attnjit-mlir/Dialect/Tile/Tile.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

// g++ 12 takes the generated parser of a struct of plain integers for one that reads them unset.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "attnjit-mlir/Dialect/Tile/TileDialect.cpp.inc"
#include "attnjit-mlir/Dialect/Tile/TileEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "attnjit-mlir/Dialect/Tile/TileAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "attnjit-mlir/Dialect/Tile/TileTypes.cpp.inc"

using namespace mlir;

namespace attnjit::tile {

void TileDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "attnjit-mlir/Dialect/Tile/TileAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "attnjit-mlir/Dialect/Tile/TileTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "attnjit-mlir/Dialect/Tile/TileOps.cpp.inc"
      >();
}

using EmitError = llvm::function_ref<InFlightDiagnostic()>;

static LogicalResult verifyFloat(EmitError emitError, Type type, StringRef what) {
  if (attn::isMemoryFloat(type))
    return success();
  return emitError() << what << ": expected an element type of f64, f32, bf16, f16, f8E4M3FN or f8E5M2, got " << type;
}

LogicalResult WgmmaAttr::verify(EmitError emitError, int64_t kvStages, int64_t qBuffers, int64_t consumerRegisters,
                                int64_t producerRegisters, bool overlap, bool, bool stagesLoads, bool) {
  for (auto [name, count] : {std::pair("kv_stages", kvStages), std::pair("q_buffers", qBuffers)})
    if (count != 1 && count != 2 && count != 4)
      return emitError() << name << ": expected 1, 2 or 4, got " << count;
  for (auto [name, count] : {std::pair("consumer_registers", consumerRegisters), std::pair("producer_registers", producerRegisters)})
    if (count < 24 || count > 240 || count % 8)
      return emitError() << name << ": expected a multiple of 8 from 24 to 240, got " << count;
  if (stagesLoads && !overlap)
    return emitError() << "stages_loads: expected with overlap only, whose steps bring the next one's loads";
  return success();
}

LogicalResult SimtAttr::verify(EmitError emitError, int64_t threads, int64_t rowLanes, int64_t depth, int64_t valueRows) {
  if (threads < 32 || threads > 1024 || threads % 32)
    return emitError() << "threads: expected a multiple of 32 from 32 to 1024, got " << threads;
  if (rowLanes < 1 || rowLanes > 32 || !llvm::isPowerOf2_64(rowLanes))
    return emitError() << "row_lanes: expected a power of two from 1 to 32, got " << rowLanes;
  for (auto [name, count] : {std::pair("depth", depth), std::pair("value_rows", valueRows)})
    if (count < 4 || count > 1024 || count % 4)
      return emitError() << name << ": expected a multiple of 4 from 4 to 1024, got " << count;
  return success();
}

LogicalResult MmaSplitAttr::verify(EmitError emitError, int64_t kvStages) {
  if (kvStages < 2 || kvStages > 8)
    return emitError() << "kv_stages: expected 2 to 8, got " << kvStages;
  return success();
}

LogicalResult TileType::verify(EmitError emitError, int64_t rows, int64_t cols, Type elementType) {
  if (rows < 1 || cols < 1)
    return emitError() << "!tile.tile: expected at least one row and one column, got " << rows << "x" << cols;
  return verifyFloat(emitError, elementType, "!tile.tile");
}

LogicalResult RowType::verify(EmitError emitError, int64_t rows, Type elementType) {
  if (rows < 1)
    return emitError() << "!tile.row: expected at least one row, got " << rows;
  return verifyFloat(emitError, elementType, "!tile.row");
}

LogicalResult ViewType::verify(EmitError emitError, int64_t cols, Type elementType, bool, bool paged) {
  if (cols < 0)
    return emitError() << "!tile.view: expected at least one column, or none, got " << cols;
  if (paged && cols == 0)
    return emitError() << "!tile.view: only a view with columns can be paged";
  return verifyFloat(emitError, elementType, "!tile.view");
}

LogicalResult CaptureType::verify(EmitError emitError, int64_t rank, Type elementType) {
  if (rank < 0 || rank > 6)
    return emitError() << "!tile.capture: expected a rank from 0 to 6, got " << rank;
  if (elementType.isInteger(1) || elementType.isSignlessInteger(8) || elementType.isUnsignedInteger(8) ||
      elementType.isSignlessInteger(16) || elementType.isSignlessInteger(32) || elementType.isSignlessInteger(64))
    return success();
  return verifyFloat(emitError, elementType, "!tile.capture");
}

Type CaptureType::getCaptureElementType() const { return getElementType(); }
int64_t CaptureType::getCaptureRank() const { return getRank(); }

/// Parses `<` dims elementType, with exactly `count` dims.
static bool parseShaped(AsmParser &parser, unsigned count, SmallVectorImpl<int64_t> &dims, Type &elementType, bool dynamic = false) {
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(dims, dynamic) || parser.parseType(elementType))
    return false;
  if (dims.size() != count) {
    parser.emitError(loc) << "expected " << count << " dimensions, got " << dims.size();
    return false;
  }
  return true;
}

Type TileType::parse(AsmParser &parser) {
  SmallVector<int64_t> dims;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (!parseShaped(parser, 2, dims, element) || parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), dims[0], dims[1], element);
}

void TileType::print(AsmPrinter &printer) const { printer << '<' << getRows() << 'x' << getCols() << 'x' << getElementType() << '>'; }

Type RowType::parse(AsmParser &parser) {
  SmallVector<int64_t> dims;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (!parseShaped(parser, 1, dims, element) || parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), dims[0], element);
}

void RowType::print(AsmPrinter &printer) const { printer << '<' << getRows() << 'x' << getElementType() << '>'; }

Type CaptureType::parse(AsmParser &parser) {
  // A captured number of rank 0 is written !tile.capture<0xf32>: the number in front of x is the rank, not a size.
  SmallVector<int64_t> dims;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (!parseShaped(parser, 1, dims, element) || parser.parseGreater())
    return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), dims[0], element);
}

void CaptureType::print(AsmPrinter &printer) const { printer << '<' << getRank() << 'x' << getElementType() << '>'; }

Type ViewType::parse(AsmParser &parser) {
  SmallVector<int64_t> dims;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseDimensionList(dims, /*allowDynamic=*/true) || parser.parseType(element))
    return {};
  bool strided = false, paged = false;
  while (succeeded(parser.parseOptionalComma())) {
    SMLoc at = parser.getCurrentLocation();
    StringRef keyword;
    if (parser.parseKeyword(&keyword))
      return {};
    bool &flag = keyword == "strided" ? strided : paged;
    if ((keyword != "strided" && keyword != "paged") || flag) {
      parser.emitError(at) << "expected strided or paged, each once, got '" << keyword << "'";
      return {};
    }
    flag = true;
  }
  if (parser.parseGreater())
    return {};
  if (dims.empty() || dims.size() > 2 || !ShapedType::isDynamic(dims[0]) || (dims.size() == 2 && dims[1] < 1)) {
    parser.emitError(loc) << "expected ?xCOLSxTYPE for an operand or ?xTYPE for a row output";
    return {};
  }
  int64_t cols = dims.size() == 2 ? dims[1] : 0;
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), cols, element, !strided, paged);
}

void ViewType::print(AsmPrinter &printer) const {
  printer << "<?x";
  if (getCols())
    printer << getCols() << 'x';
  printer << getElementType() << (getContiguous() ? "" : ", strided") << (getPaged() ? ", paged>" : ">");
}

} // namespace attnjit::tile
