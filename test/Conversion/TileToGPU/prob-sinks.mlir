// A prob_mod is applied to the fragments of p, with 0 where the score is -inf; a sink is read once per tile and joins at the end.
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-gpu=chip=sm_80 | FileCheck %s

#any = strided<[?, ?, ?, 1], offset: ?>

// CHECK-LABEL: llvm.func @dropped
// CHECK: nvvm.mma.sync
// CHECK: arith.cmpf une
// CHECK: arith.xori
// CHECK: arith.select
// CHECK: nvvm.mma.sync
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> i16
// CHECK: llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"
func.func @dropped(%q: memref<?x?x?x64xbf16, #any>, %k: memref<?x?x?x64xbf16, #any>, %v: memref<?x?x?x64xbf16, #any>,
                   %out: memref<?x?x?x64xbf16, #any>, %scale: f32, %sinks: memref<?xbf16, strided<[?], offset: ?>>) {
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xbf16, #any>, memref<?x?x?x64xbf16, #any>, memref<?x?x?x64xbf16, #any>)
      outs(%out : memref<?x?x?x64xbf16, #any>) scale(%scale : f32) sinks(%sinks : memref<?xbf16, strided<[?], offset: ?>>)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      prob {
      ^bb0(%p: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %zero = arith.constant 0.0 : f32
        %half = arith.constant 0.5 : f32
        %seed = arith.constant 7 : i64
        %offset = arith.extsi %j : i32 to i64
        %r = attn.pointwise rand %seed, %offset : i64 -> f32
        %kept = arith.cmpf ole, %half, %r : f32
        %w = arith.select %kept, %p, %zero : f32
        attn.yield %w : f32
      }
  return
}
