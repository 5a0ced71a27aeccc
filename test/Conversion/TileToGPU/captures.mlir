// Captured tensors: positions of padding are clamped before they become indices, checked loads report through the status word (A10).
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-gpu | FileCheck %s

#any = strided<[?, ?, ?, 1], offset: ?>
// CHECK-LABEL: llvm.func @bias(
// The bias of one head is read once for the tile, ahead of the loop over blocks.
// CHECK:         llvm.load {{.*}} : !llvm.ptr -> f32
// CHECK:         nvvm.cp.async.commit.group
// CHECK:         scf.for
// CHECK:           nvvm.mma.sync
// CHECK:           arith.minsi
// CHECK-NOT:     llvm.atomicrmw
func.func @bias(%q: memref<?x?x?x64xf16, #any>, %k: memref<?x?x?x64xf16, #any>, %v: memref<?x?x?x64xf16, #any>,
                %out: memref<?x?x?x64xf16, #any>, %scale: f32, %per_head: memref<?xf32>, %per_key: memref<?xf32>) {
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>)
      outs(%out : memref<?x?x?x64xf16, #any>) scale(%scale : f32)
      captures(%per_head, %per_key : memref<?xf32>, memref<?xf32>)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32, %hs: memref<?xf32>, %ks: memref<?xf32>):
        %x = attn.load %hs[%h] : memref<?xf32>, i32 -> f32
        %y = attn.load %ks[%j] : memref<?xf32>, i32 -> f32
        %z = arith.mulf %x, %y : f32
        %t = arith.addf %s, %z : f32
        attn.yield %t : f32
      }
  return
}

// CHECK-LABEL: llvm.func @checked(
// CHECK:         nvvm.mma.sync
// CHECK:         llvm.atomicrmw min {{.*}} : !llvm.ptr, i64
func.func @checked(%q: memref<?x?x?x64xf16, #any>, %k: memref<?x?x?x64xf16, #any>, %v: memref<?x?x?x64xf16, #any>,
                   %out: memref<?x?x?x64xf16, #any>, %scale: f32, %per_key: memref<?xf32>) {
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>)
      outs(%out : memref<?x?x?x64xf16, #any>) scale(%scale : f32) captures(%per_key : memref<?xf32>)
      config <tile_rows = 64, tile_cols = 64, checked_indices = true, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32, %ks: memref<?xf32>):
        %y = attn.load %ks[%j] : memref<?xf32>, i32 -> f32
        %t = arith.addf %s, %y : f32
        attn.yield %t : f32
      }
  return
}
