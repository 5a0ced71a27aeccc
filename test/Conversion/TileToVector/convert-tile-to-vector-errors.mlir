// RUN: attnjit-opt %s --convert-tile-to-vector=pipeline=math --verify-diagnostics

tile.kernel @unknown_function(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 16, tile_cols = 32, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<16xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<16x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<16xf32>, %li: !tile.row<16xf32>, %acci: !tile.tile<16x8xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<32x8xf32>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<16x8xf32>, !tile.tile<32x8xf32> -> !tile.tile<16x32xf32>
    %t = tile.map %s at(%b, %h, %q0, %kv0) : !tile.tile<16x32xf32> {
    ^bb0(%e: f32, %eb: i32, %eh: i32, %i: i32, %j: i32):
      // expected-error @below {{'math.cbrt' op cannot be lowered for the CPU inside a formula}}
      %a = math.cbrt %e : f32
      tile.yield %a : f32
    }
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %t cols(%cols) : !tile.row<16xf32>, !tile.tile<16x32xf32>
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
