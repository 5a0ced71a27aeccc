// How a consumer of the wgmma schedule stores its output. Private to this room.
#pragma once

#include "WgmmaShape.h"

namespace attnjit::tile {

/// Fragments have pairs of elements in each thread; whole rows reach memory at less cost. So the output goes through the warpgroup's rows
/// of Q, which nobody needs any more, and out again in pieces of 16 bytes, eight threads to a row. Each warp does so with its own 16 rows.
/// Where rows do not consist of pieces, or their strides do not fit them, elements go out one by one in a loop, which is less code than all
/// of them in a row.
class WgmmaOutput {
public:
  /// `qAddress`: of the warpgroup's rows; `group`: its number, `warp`: that of the warp among all consumers' warps.
  WgmmaOutput(const Emitter &emit, const WgmmaKernel &kernel, AbiAccess &abi, FragmentRows &rows, mlir::Value group, mlir::Value warp,
              mlir::Value qAddress)
      : emit(emit), kernel(kernel), program(kernel.program), shape(kernel.shape), abi(abi), rows(rows), group(group), warp(warp),
        qAddress(qAddress) {}

  /// `release`: says, once, that Q may be overwritten. It comes before what nobody has to wait for.
  void store(const Fragments &out, llvm::function_ref<void()> release);

private:
  static constexpr int64_t kPieceBytes = 16, kPieceElements = 8, kPiecesPerRow = 8, kWarpRows = 16;

  mlir::Value isDense(const OperandAccess &access);
  void stage(const Fragments &out, int64_t firstBox, int64_t boxes, mlir::Value warpAddress);
  void unstagePieces(const OperandAccess &access, int64_t firstBox, int64_t boxes, mlir::Value warpAddress,
                     llvm::function_ref<void()> afterReading);
  void unstageElements(const OperandAccess &access, int64_t firstBox, int64_t boxes, mlir::Value warpAddress);
  mlir::Value tilePointer(const OperandAccess &access);
  mlir::Value sharedUnit(mlir::Value warpAddress, mlir::Value row, mlir::Value unit);

  const Emitter &emit;
  const WgmmaKernel &kernel;
  const TileProgram &program;
  const WgmmaShape &shape;
  AbiAccess &abi;
  FragmentRows &rows;
  mlir::Value group, warp, qAddress;
};

} // namespace attnjit::tile
