// Causal attention in f32, D 64: the plainest tile program with a mask and a closed form. Lowerings use this file as input too.
// RUN: attnjit-opt %s --tile-verify | FileCheck %s
// RUN: attnjit-opt %s | attnjit-opt --tile-verify | FileCheck %s

// CHECK-LABEL: tile.kernel @causal(
// CHECK: tile.plan at(
// CHECK: tile.stream
// CHECK: tile.mask
// CHECK: tile.softmax_finish
tile.kernel @causal(%q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32>, %v: !tile.view<?x64xf32>, %out: !tile.view<?x64xf32>,
                    %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<64xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<64x64xf32>
  %plan = tile.plan at(%b, %h, %q0) {
  ^bb0(%pb: i32, %ph: i32, %qlo: i32, %qhi: i32, %klo: i32, %khi: i32):
    %klo64 = arith.extsi %klo : i32 to i64
    %qhi64 = arith.extsi %qhi : i32 to i64
    %may_be_true = arith.cmpi sle, %klo64, %qhi64 : i64
    %qlo64 = arith.extsi %qlo : i32 to i64
    %khi64 = arith.extsi %khi : i32 to i64
    %may_be_false = arith.cmpi slt, %qlo64, %khi64 : i64
    tile.yield %may_be_true, %may_be_false : i1, i1
  }
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<64xf32>, !tile.row<64xf32>, !tile.tile<64x64xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<64xf32>, %li: !tile.row<64xf32>, %acci: !tile.tile<64x64xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<64x64xf32>, !tile.tile<64x64xf32> -> !tile.tile<64x64xf32>
    %u = tile.mask %s if %partial at(%b, %h, %q0, %kv0) : !tile.tile<64x64xf32> {
    ^bb0(%eb: i32, %eh: i32, %eq: i32, %ekv: i32):
      %visible = arith.cmpi sle, %ekv, %eq : i32
      tile.yield %visible : i1
    }
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %u cols(%cols) : !tile.row<64xf32>, !tile.tile<64x64xf32>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
    %scaled = tile.row_scale %acci, %alpha : !tile.tile<64x64xf32>, !tile.row<64xf32>
    %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<64x64xf32>, !tile.tile<64x64xf32> -> !tile.tile<64x64xf32>
    tile.yield %m1, %l1, %acc1 : !tile.row<64xf32>, !tile.row<64xf32>, !tile.tile<64x64xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<64xf32>, !tile.tile<64x64xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<64x64xf32>, !tile.view<?x64xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<64xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<64xf32>, !tile.view<?xf32>
}
