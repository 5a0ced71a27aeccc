// Products of bf16 in words of two elements: by vdpbf16ps with the f32 register tiles, or by AMX with tiles that the kernel names itself.
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-vector="pipeline=flash vector-bits=512 bf16=vector" | FileCheck %s --check-prefixes=CHECK,VECTOR
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-vector="pipeline=flash vector-bits=512 bf16=tile" | FileCheck %s --check-prefixes=CHECK,TILE
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-vector="pipeline=flash vector-bits=512" | FileCheck %s --check-prefix=NONE --implicit-check-not="{{avx512bf16|x86.t}}"

!view = memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>

// CHECK-LABEL: func.func @whole(
// TILE:        llvm.call_intrinsic "llvm.x86.ldtilecfg"
// Q^T: 16 queries x 16 words, exchanged.
// CHECK:       vector.shuffle {{.*}} [0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30]
// S^T: 8 x 2 vectors, or 2 x 2 tiles.
// VECTOR-COUNT-32: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
// TILE-COUNT-4: llvm.call_intrinsic "llvm.x86.tilezero"
// TILE-COUNT-4: llvm.call_intrinsic "llvm.x86.tileloadd64"
// TILE-COUNT-4: llvm.call_intrinsic "llvm.x86.tdpbf16ps"
// TILE-COUNT-4: llvm.call_intrinsic "llvm.x86.tilestored64"
// The scores are raw: the exponential multiplies them with the scale, in one step with the subtraction.
// CHECK:       %[[REFERENCE:.*]] = arith.negf
// CHECK:       llvm.intr.fma({{.*}}, {{.*}}, %[[REFERENCE]])
// P^T: rows of two keys become one of words.
// CHECK:       llvm.call_intrinsic "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
// O^T.
// VECTOR-COUNT-16: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
// TILE-COUNT-8: llvm.call_intrinsic "llvm.x86.tileloadd64"
// TILE-COUNT-4: llvm.call_intrinsic "llvm.x86.tdpbf16ps"
// TILE:        llvm.call_intrinsic "llvm.x86.tilerelease"
// CHECK:       return
// NONE-LABEL:  func.func @whole(
func.func @whole(%q: !view, %k: !view, %v: !view, %out: !view, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// Heads that fill no tiles are computed as f32 where there is AMX.
// TILE-LABEL:  func.func @odd(
// TILE-NOT:    {{avx512bf16|x86.t}}
// VECTOR-LABEL: func.func @odd(
// VECTOR:      llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
!odd = memref<?x?x?x40xbf16, strided<[?, ?, ?, 1], offset: ?>>
func.func @odd(%q: !odd, %k: !odd, %v: !odd, %out: !odd, %scale: f32) {
  attn.forward ins(%q, %k, %v : !odd, !odd, !odd) outs(%out : !odd) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}
