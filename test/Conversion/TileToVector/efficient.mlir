// The streaming schedule: units of packed rows and parts, register tiles along D and Dv, K and V in their own type and place, states and their merging.
// RUN: attnjit-opt %s --attn-to-tile=split-keys=true --convert-tile-to-vector="pipeline=efficient vector-bits=512" | FileCheck %s \
// RUN:   --implicit-check-not="llvm.call{{[^_]}}" --implicit-check-not="math." --implicit-check-not=memref --implicit-check-not=masked
// RUN: attnjit-opt %s --attn-to-tile=split-keys=true --convert-tile-to-vector="pipeline=efficient vector-bits=128" | FileCheck %s --check-prefix=NARROW
// A program without parts is not its kind, nor are parts flash's.
// RUN: not attnjit-opt %s --attn-to-tile --convert-tile-to-vector=pipeline=efficient 2>&1 | FileCheck %s --check-prefix=WHOLE
// RUN: not attnjit-opt %s --attn-to-tile=split-keys=true --convert-tile-to-vector=pipeline=flash 2>&1 | FileCheck %s --check-prefix=PARTS
// WHOLE: error: the efficient schedule does not take this program: it computes parts of the keys, the program does not cut them (tile.split)
// PARTS: error: the flash schedule does not take this program: it walks all keys of a tile at once, the program cuts them into parts (tile.split)

!view = memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>
!row = memref<?x?x?xf32, strided<[?, ?, ?], offset: ?>>

// Vectors of 128 bits have one part, and rows that fill no vector still go by two: 2 x 4 sums, from either row a vector of 4 scores.
// NARROW-LABEL: func.func @causal(
// NARROW:       scf.for {{.*}} step %c32
// NARROW-COUNT-16: llvm.intr.fma({{.*}} -> vector<4xf32>
// NARROW-COUNT-16: vector.shuffle {{.*}} : vector<4xf32>, vector<4xf32>
// NARROW:       scf.for {{.*}} step %c2
// NARROW:       llvm.intr.prefetch{{.*}} hint = 3
// NARROW-COUNT-8: llvm.intr.fma({{.*}} -> vector<4xf32>
// NARROW-NOT:   llvm.intr.fma
// NARROW-COUNT-2: llvm.store {{.*}} : vector<4xf32>
// NARROW-NOT:   llvm.store {{.*}} : vector<4xf32>
// NARROW:       scf.for

// A state has per row the 64 columns of O and one vector with maximum, sum and weight.
// CHECK-LABEL: func.func @causal(
// CHECK-SAME:  %{{.*}}: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64, %{{.*}}: !llvm.ptr {llvm.noalias})
// CHECK-SAME:  attnjit.state_row_bytes = 320 : i64, attnjit.workspace_bytes = 40064 : i64
// CHECK:       scf.for %{{.*}} = %[[BEGIN]] to %[[END]]
// Either a part, or the merging of a tile.
// CHECK:       scf.if %{{.*}} {
// One row: 8 keys at a time, converted in registers; what 4 of them leave in 4 vectors is added up by pairs. Lines to come are asked for into
// the second-level cache.
// CHECK:       llvm.intr.prefetch{{.*}} hint = 2
// CHECK-COUNT-8: llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK:       vector.shuffle
// CHECK:       llvm.store {{.*}} : vector<4xf32>
// Whole vectors of rows: 16 keys, widened first; an element of each is broadcast to 16 rows. What 32 steps along D have summed up is added
// to what the ones before have. The 16 x 16 sums change rows and keys.
// CHECK:       arith.extui {{.*}} : vector<16xi16> to vector<16xi32>
// CHECK:       scf.for {{.*}} step %c32
// CHECK:       llvm.intr.prefetch{{.*}} hint = 3
// CHECK-COUNT-32: llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK-COUNT-16: arith.addf {{.*}} : vector<16xf32>
// CHECK-COUNT-64: vector.shuffle {{.*}} : vector<16xf32>, vector<16xf32>
// CHECK-COUNT-16: llvm.store {{.*}} : vector<16xf32>
// Rows that are left: 4 keys x 4 rows; the 16 sums are one vector.
// CHECK:       llvm.intr.prefetch{{.*}} hint = 3
// CHECK-COUNT-16: llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK:       vector.shuffle {{.*}} [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27]
// CHECK-COUNT-4: llvm.store {{.*}} : vector<4xf32>
// The mask: a vector of keys against the query of the row.
// CHECK:       scf.if %{{.*}} -> (vector<16xf32>)
// CHECK:       arith.cmpi sge, {{.*}} : vector<16xi32>
// The maxima of 4 rows are one vector. An empty row has no reference point.
// CHECK:       arith.cmpf ogt, {{.*}} : vector<4xf32>
// CHECK:       arith.cmpf oeq, {{.*}} : vector<4xf32>
// O is rescaled where a maximum has risen.
// CHECK:       arith.cmpf une
// CHECK-NEXT:  scf.if
// O of one row: all its 4 vectors; of few rows 4 at a time, 4 vectors each; for many V is widened first.
// CHECK:       llvm.intr.prefetch{{.*}} hint = 2
// CHECK-COUNT-4: llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK:       llvm.intr.prefetch{{.*}} hint = 3
// CHECK-COUNT-16: llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK:       arith.extui {{.*}} : vector<16xi16> to vector<16xi32>
// CHECK:       llvm.intr.prefetch{{.*}} hint = 3
// CHECK-COUNT-16: llvm.intr.fma({{.*}} -> vector<16xf32>
// Alone, a part writes results; else its state, of rows that saw something.
// CHECK:       arith.divf
// CHECK:       } else {
// CHECK:       arith.cmpf une
// Merging: the maximum over the parts and weights, for the reciprocal of the sum; then the sum of what saw something.
// CHECK:       scf.for {{.*}} -> (f32, !llvm.ptr)
// CHECK:       scf.for {{.*}} -> (f32, !llvm.ptr)
// CHECK:       arith.divf
// CHECK:       scf.for {{.*}} -> (vector<16xf32>, !llvm.ptr)
// CHECK:       arith.cmpf une
// CHECK:       return
func.func @causal(%q: !view, %k: !view, %v: !view, %out: !view, %lse: !row, %max: !row, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) lse(%lse : !row) max(%max : !row) scale(%scale : f32)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32):
        %m = arith.cmpi sge, %i, %j : i32
        attn.yield %m : i1
      }
  return
}
