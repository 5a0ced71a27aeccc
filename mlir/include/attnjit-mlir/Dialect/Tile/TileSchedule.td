//===- TileSchedule.td - which schedule a kernel gets, and its choices ------------------------------------------------===//
#ifndef ATTNJIT_DIALECT_TILE_SCHEDULE_TD
#define ATTNJIT_DIALECT_TILE_SCHEDULE_TD

include "attnjit-mlir/Dialect/Tile/TileBase.td"

def Tile_MmaSyncAttr : AttrDef<TileDialect, "MmaSync"> {
  let mnemonic = "mma_sync";
  let summary = "the schedule of sm_80 and later: a thread block per tile, a warp per 16 rows";
}

def Tile_MmaSplitAttr : AttrDef<TileDialect, "MmaSplit"> {
  let mnemonic = "mma_split";
  let summary = "the schedule of sm_80 and later for few queries: a thread block per part of the keys, all heads of a kv head in one tile";
  let description = [{
    * `kv_stages`: blocks of K and V in shared memory, one of which is computed on while the others arrive; 2 to 8.
  }];
  let parameters = (ins "int64_t":$kv_stages);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Tile_WgmmaAttr : AttrDef<TileDialect, "Wgmma"> {
  let mnemonic = "wgmma";
  let summary = "the schedule of sm_90a: a producer warpgroup, and a consumer warpgroup per 64 rows";
  let description = [{
    * `kv_stages`, `q_buffers`: buffers of K and of V, and of Q; 1, 2 or 4.
    * `consumer_registers`, `producer_registers`: per thread; multiples of 8 from 24 to 240.
    * `overlap`: the softmax of a block runs while the output of the block before is summed up.
    * `turns`: consumers issue their products in turn.
    * `stages_loads`: a captured tensor with an element for each pair comes to shared memory a block ahead.
    * `thread_copies`: all threads of the producer copy Q, K and V, which tensor copies cannot reach; a thread block per tile.
  }];
  let parameters = (ins "int64_t":$kv_stages, "int64_t":$q_buffers, "int64_t":$consumer_registers, "int64_t":$producer_registers,
                        "bool":$overlap, "bool":$turns, DefaultValuedParameter<"bool", "false">:$stages_loads,
                        DefaultValuedParameter<"bool", "false">:$thread_copies);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Tile_SimtAttr : AttrDef<TileDialect, "Simt"> {
  let mnemonic = "simt";
  let summary = "the schedule of any program on any GPU: multiply-adds in the compute type, without tensor cores";
  let description = [{
    * `threads`: of a block; a multiple of 32.
    * `row_lanes`: neighbouring threads that share a row of the tile; a power of two up to 32.
    * `depth`: columns of Q and K that lie in shared memory at once. With less than D of them, both come in pieces, for every block of keys.
    * `value_rows`: rows of V that do.
  }];
  let parameters = (ins "int64_t":$threads, "int64_t":$row_lanes, "int64_t":$depth, "int64_t":$value_rows);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Tile_Schedule : Attr<CPred<"::llvm::isa<::attnjit::tile::MmaSyncAttr, ::attnjit::tile::MmaSplitAttr, ::attnjit::tile::WgmmaAttr, ::attnjit::tile::SimtAttr>($_self)">,
                         "#tile.mma_sync, #tile.mma_split, #tile.wgmma or #tile.simt"> {
  let storageType = "::mlir::Attribute";
  let returnType = "::mlir::Attribute";
  let convertFromStorage = "$_self";
}

#endif // ATTNJIT_DIALECT_TILE_SCHEDULE_TD
