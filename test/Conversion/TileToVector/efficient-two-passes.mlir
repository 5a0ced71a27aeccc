// The streaming schedule where prob_mod needs the normalised p: two rounds over the parts, or two walks in one where there is but one part.
// RUN: attnjit-opt %s --attn-to-tile=split-keys=true --convert-tile-to-vector="pipeline=efficient vector-bits=512" | FileCheck %s

!view = memref<?x?x?x64xf32, strided<[?, ?, ?, 1], offset: ?>>
!row = memref<?x?x?xf32, strided<[?, ?, ?], offset: ?>>

// CHECK-LABEL: func.func @squared(
// CHECK-SAME:  attnjit.rounds = 2 : i64, attnjit.state_row_bytes = 320 : i64
// Which round: that of units from U + T on, which are counted from there.
// CHECK:       %[[SECOND:.*]] = arith.cmpi sge, %[[NUMBER:.*]], %[[ROUND:.*]] : i64
// CHECK-NEXT:  %[[LATER:.*]] = arith.subi %[[NUMBER]], %[[ROUND]] : i64
// CHECK-NEXT:  %[[UNIT:.*]] = arith.select %[[SECOND]], %[[LATER]], %[[NUMBER]] : i64
// CHECK:       arith.cmpi slt, %[[UNIT]],
// A part. In the second round it reads what the first one found out ...
// CHECK:       %[[ALONE:.*]] = arith.cmpi eq, %{{.*}}, %{{.*}} : i64
// CHECK:       scf.if %[[SECOND]] {
// CHECK:       llvm.load
// CHECK:       } else {
// ... which the first one does by the scores alone: a maximum, exponentials and their sum.
// CHECK:       llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK:       scf.if %[[ALONE]] {
// CHECK:       } else {
// CHECK:       %[[BOTH:.*]] = arith.ori %[[SECOND]], %[[ALONE]] : i1
// CHECK:       scf.if %[[BOTH]] {
// The second walk: the scores again, exponentials over lse, prob_mod, and the product with V.
// CHECK:       llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK:       arith.cmpf une, %{{.*}}, %{{.*}} : vector<16xf32>
// CHECK:       arith.mulf %[[P:.*]], %[[P]] : vector<16xf32>
// CHECK:       llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK:       scf.if %[[ALONE]] {
// Merging: states with their weights, or outputs, which are added up.
// CHECK:       scf.if %[[SECOND]] {
// CHECK:       scf.for {{.*}} -> (vector<16xf32>, !llvm.ptr)
// CHECK:       } else {
// CHECK:       scf.for {{.*}} -> (f32, !llvm.ptr)
// CHECK:       scf.for {{.*}} -> (f32, !llvm.ptr)
// CHECK:       return
func.func @squared(%q: !view, %k: !view, %v: !view, %out: !view, %lse: !row, %max: !row, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) lse(%lse : !row) max(%max : !row) scale(%scale : f32)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
      prob {
      ^bb0(%p: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %w = arith.mulf %p, %p : f32
        attn.yield %w : f32
      }
  return
}
