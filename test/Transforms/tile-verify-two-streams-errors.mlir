// RUN: attnjit-opt %s --tile-verify --verify-diagnostics

// Two streams have to compute the scores alike: a schedule reads the formula off the first one only.
tile.kernel @differ(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                    %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l = tile.stream %plan iter(%m0, %l0 : !tile.row<4xf32>, !tile.row<4xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
    %t = tile.map %s at(%b, %h, %q0, %kv0) : !tile.tile<4x16xf32> {
    ^bb0(%e: f32, %eb: i32, %eh: i32, %eq: i32, %ekv: i32):
      %r = arith.negf %e : f32
      tile.yield %r : f32
    }
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %t cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
    tile.yield %m1, %l1 : !tile.row<4xf32>, !tile.row<4xf32>
  }
  %rlse, %factor = tile.softmax_norm %m, %l : !tile.row<4xf32>
  // expected-error @below {{not the normal form of a tile program: both streams compute the scores by the same map and mask}}
  %acc = tile.stream %plan iter(%acc0 : !tile.tile<4x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %acci: !tile.tile<4x8xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
    %t = tile.map %s at(%b, %h, %q0, %kv0) : !tile.tile<4x16xf32> {
    ^bb0(%e: f32, %eb: i32, %eh: i32, %eq: i32, %ekv: i32):
      %r = math.absf %e : f32
      tile.yield %r : f32
    }
    %p = tile.softmax_probs %t, %m, %factor cols(%cols) : !tile.tile<4x16xf32>, !tile.row<4xf32>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
    %acc1 = tile.dot pv %p, %vt acc(%acci) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
    tile.yield %acc1 : !tile.tile<4x8xf32>
  }
  tile.store %acc, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %m, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}
