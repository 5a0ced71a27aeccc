// The tile dialect: the attention algorithm on tiles. Definitions and documentation: the .td files; the view for schedules: TileProgram.h.
#pragma once

#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "mlir/IR/SymbolTable.h"

#include "attnjit-mlir/Dialect/Tile/TileDialect.h.inc"
#include "attnjit-mlir/Dialect/Tile/TileEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "attnjit-mlir/Dialect/Tile/TileAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "attnjit-mlir/Dialect/Tile/TileTypes.h.inc"
#define GET_OP_CLASSES
#include "attnjit-mlir/Dialect/Tile/TileOps.h.inc"
