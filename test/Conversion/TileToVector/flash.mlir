// The flash schedule: register tiles of native vectors, carried in registers; K and V read in place or made dense; one masked body.
// RUN: attnjit-opt %s --convert-tile-to-vector="pipeline=flash vector-bits=256" | FileCheck %s --check-prefixes=CHECK,AVX2 \
// RUN:   --implicit-check-not=llvm.call --implicit-check-not="math." --implicit-check-not="memref" --implicit-check-not="vector<16x" --implicit-check-not="vector<24x"
// RUN: attnjit-opt %s --convert-tile-to-vector="pipeline=flash vector-bits=512" | FileCheck %s --check-prefixes=CHECK,AVX512 \
// RUN:   --implicit-check-not="llvm.call{{[^_]}}" --implicit-check-not="math." --implicit-check-not="memref" --implicit-check-not="vector<8x" --implicit-check-not="vector<32x"

// CHECK-LABEL: func.func @causal(
// Scores (32 + 3 or 7 rows), Q^T, O^T, three row states, K, V, a bit per pair of the mask; each in whole cache lines.
// AVX2-SAME:     attnjit.workspace_bytes = 7488 : i64
// AVX512-SAME:   attnjit.workspace_bytes = 9600 : i64
// Rows of K that do not lie behind each other are copied.
// CHECK:         %[[DENSE:.*]] = arith.cmpi eq
// CHECK:         %[[STRIDED:.*]] = arith.xori %[[DENSE]]
// CHECK-NEXT:    scf.if %[[STRIDED]] {
// CHECK:         arith.select %[[DENSE]], {{.*}} : !llvm.ptr
// Per panel: the keys that it sees of a partial block. The closed form says, and what it leaves open is looked at.
// CHECK:         %[[OPEN:.*]]:3 = scf.if %{{.*}} -> (i64, i64, i1)
// CHECK:         %[[KEYS:.*]]:3 = scf.if %[[OPEN]]#2 -> (i64, i64, i1)
// CHECK:           scf.for %{{.*}} = %[[OPEN]]#0 to %[[OPEN]]#1
// AVX2-COUNT-3:      arith.cmpi sle, {{.*}} : vector<8xi32>
// AVX512-COUNT-2:    arith.cmpi sle, {{.*}} : vector<16xi32>
// CHECK:         arith.cmpi slt, %[[KEYS]]#0, %[[KEYS]]#1 : i64
// S^T: a loop over register tiles of keys, which carries the maxima; in it a loop over the head dimension, which carries 4 x 3 (8 x 2) vectors.
// CHECK:         scf.for %{{.*}} = %[[KEYS]]#0 to %[[KEYS]]#1
// AVX2-COUNT-48: llvm.intr.fma({{.*}} -> vector<8xf32>
// AVX512-COUNT-32: llvm.intr.fma({{.*}} -> vector<16xf32>
// CHECK:         arith.cmpf ogt
// CHECK:         llvm.intr.prefetch
// The mask, where it is needed, is a pass over what was stored, with the bits that were found.
// CHECK:         scf.if %[[KEYS]]#2
// AVX2:            llvm.bitcast %{{.*}} : i8 to vector<8xi1>
// AVX512:          llvm.bitcast %{{.*}} : i16 to vector<16xi1>
// CHECK:         } else {
// An empty row has no reference point.
// CHECK:         arith.cmpf oeq
// The exponentials; O^T; the results.
// CHECK:         scf.for
// AVX2:            arith.shli
// AVX512:          llvm.x86.avx512.mask.reduce.ps.512
// AVX512:          llvm.x86.avx512.mask.scalef.ps.512
// CHECK:         scf.for
// CHECK:         arith.divf
// CHECK:         return
tile.kernel @causal(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 16, tile_cols = 32, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<16xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<16x8xf32>
  %plan = tile.plan at(%b, %h, %q0) {
  ^bb0(%pb: i32, %ph: i32, %qlo: i32, %qhi: i32, %klo: i32, %khi: i32):
    %may_be_true = arith.cmpi sle, %klo, %qhi : i32
    %may_be_false = arith.cmpi sgt, %khi, %qlo : i32
    tile.yield %may_be_true, %may_be_false : i1, i1
  }
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<16xf32>, %li: !tile.row<16xf32>, %acci: !tile.tile<16x8xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<32x8xf32>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<16x8xf32>, !tile.tile<32x8xf32> -> !tile.tile<16x32xf32>
    %u = tile.mask %s if %partial at(%b, %h, %q0, %kv0) : !tile.tile<16x32xf32> {
    ^bb0(%eb: i32, %eh: i32, %i: i32, %j: i32):
      %visible = arith.cmpi sle, %j, %i : i32
      tile.yield %visible : i1
    }
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %u cols(%cols) : !tile.row<16xf32>, !tile.tile<16x32xf32>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<32x8xf32>
    %scaled = tile.row_scale %acci, %alpha : !tile.tile<16x8xf32>, !tile.row<16xf32>
    %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<16x32xf32>, !tile.tile<32x8xf32> -> !tile.tile<16x8xf32>
    tile.yield %m1, %l1, %acc1 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<16xf32>, !tile.tile<16x8xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<16x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
}
