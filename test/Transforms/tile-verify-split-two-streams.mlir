// RUN: attnjit-opt %s --tile-verify --split-input-file --verify-diagnostics

// In order.
tile.kernel @k(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
               %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l = tile.split %plan iter(%m0, %l0 : !tile.row<4xf32>, !tile.row<4xf32>) {
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>):
    %mn, %ln = tile.softmax_init : !tile.row<4xf32>
    %mp, %lp = tile.stream %part iter(%mn, %ln : !tile.row<4xf32>, !tile.row<4xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      tile.yield %m1, %l1 : !tile.row<4xf32>, !tile.row<4xf32>
    }
    %mb, %lb = tile.softmax_merge (%ma, %la), (%mp, %lp) : !tile.row<4xf32>
    tile.yield %mb, %lb : !tile.row<4xf32>, !tile.row<4xf32>
  }
  %rlse, %factor = tile.softmax_norm %m, %l : !tile.row<4xf32>
  %acc = tile.split %plan iter(%acc0 : !tile.tile<4x8xf32>) {
  ^bb0(%part: !tile.plan, %acca: !tile.tile<4x8xf32>):
    %accn = tile.fill 0.0 : !tile.tile<4x8xf32>
    %accp = tile.stream %part iter(%accn : !tile.tile<4x8xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %acci: !tile.tile<4x8xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %p = tile.softmax_probs %s, %m, %factor cols(%cols) : !tile.tile<4x16xf32>, !tile.row<4xf32>
      %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %acc1 = tile.dot pv %p, %vt acc(%acci) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
      tile.yield %acc1 : !tile.tile<4x8xf32>
    }
    %accb = tile.add %acca, %accp : !tile.tile<4x8xf32>
    tile.yield %accb : !tile.tile<4x8xf32>
  }
  tile.store %acc, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %m, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}

// -----

// A part whose state goes on from what came before would count it twice.
tile.kernel @k(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
               %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l = tile.split %plan iter(%m0, %l0 : !tile.row<4xf32>, !tile.row<4xf32>) {
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>):
    %mn, %ln = tile.softmax_init : !tile.row<4xf32>
    // expected-error @below {{not the normal form of a tile program: a part starts from tile.softmax_init and tile.fill}}
    %mp, %lp = tile.stream %part iter(%ma, %la : !tile.row<4xf32>, !tile.row<4xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      tile.yield %m1, %l1 : !tile.row<4xf32>, !tile.row<4xf32>
    }
    %mb, %lb = tile.softmax_merge (%ma, %la), (%mp, %lp) : !tile.row<4xf32>
    tile.yield %mb, %lb : !tile.row<4xf32>, !tile.row<4xf32>
  }
  %rlse, %factor = tile.softmax_norm %m, %l : !tile.row<4xf32>
  %acc = tile.split %plan iter(%acc0 : !tile.tile<4x8xf32>) {
  ^bb0(%part: !tile.plan, %acca: !tile.tile<4x8xf32>):
    %accn = tile.fill 0.0 : !tile.tile<4x8xf32>
    %accp = tile.stream %part iter(%accn : !tile.tile<4x8xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %acci: !tile.tile<4x8xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %p = tile.softmax_probs %s, %m, %factor cols(%cols) : !tile.tile<4x16xf32>, !tile.row<4xf32>
      %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %acc1 = tile.dot pv %p, %vt acc(%acci) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
      tile.yield %acc1 : !tile.tile<4x8xf32>
    }
    %accb = tile.add %acca, %accp : !tile.tile<4x8xf32>
    tile.yield %accb : !tile.tile<4x8xf32>
  }
  tile.store %acc, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %m, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}

// -----

// The order of the sum is part of the form.
tile.kernel @k(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
               %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l = tile.split %plan iter(%m0, %l0 : !tile.row<4xf32>, !tile.row<4xf32>) {
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>):
    %mn, %ln = tile.softmax_init : !tile.row<4xf32>
    %mp, %lp = tile.stream %part iter(%mn, %ln : !tile.row<4xf32>, !tile.row<4xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      tile.yield %m1, %l1 : !tile.row<4xf32>, !tile.row<4xf32>
    }
    %mb, %lb = tile.softmax_merge (%ma, %la), (%mp, %lp) : !tile.row<4xf32>
    tile.yield %mb, %lb : !tile.row<4xf32>, !tile.row<4xf32>
  }
  %rlse, %factor = tile.softmax_norm %m, %l : !tile.row<4xf32>
  %acc = tile.split %plan iter(%acc0 : !tile.tile<4x8xf32>) {
  // expected-note @below {{expected this value}}
  ^bb0(%part: !tile.plan, %acca: !tile.tile<4x8xf32>):
    %accn = tile.fill 0.0 : !tile.tile<4x8xf32>
    %accp = tile.stream %part iter(%accn : !tile.tile<4x8xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %acci: !tile.tile<4x8xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %p = tile.softmax_probs %s, %m, %factor cols(%cols) : !tile.tile<4x16xf32>, !tile.row<4xf32>
      %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %acc1 = tile.dot pv %p, %vt acc(%acci) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
      tile.yield %acc1 : !tile.tile<4x8xf32>
    }
    // expected-error @below {{not the normal form of a tile program: states of 'tile.add' is another value than expected}}
    %accb = tile.add %accp, %acca : !tile.tile<4x8xf32>
    tile.yield %accb : !tile.tile<4x8xf32>
  }
  tile.store %acc, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %m, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}

// -----

// Both loops are split, or none.
tile.kernel @k(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
               %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l = tile.split %plan iter(%m0, %l0 : !tile.row<4xf32>, !tile.row<4xf32>) {
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>):
    %mn, %ln = tile.softmax_init : !tile.row<4xf32>
    %mp, %lp = tile.stream %part iter(%mn, %ln : !tile.row<4xf32>, !tile.row<4xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      tile.yield %m1, %l1 : !tile.row<4xf32>, !tile.row<4xf32>
    }
    %mb, %lb = tile.softmax_merge (%ma, %la), (%mp, %lp) : !tile.row<4xf32>
    tile.yield %mb, %lb : !tile.row<4xf32>, !tile.row<4xf32>
  }
  %rlse, %factor = tile.softmax_norm %m, %l : !tile.row<4xf32>
  // expected-error @below {{not the normal form of a tile program: expected 'tile.split' here, got 'tile.stream'}}
  %acc = tile.stream %plan iter(%acc0 : !tile.tile<4x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %acci: !tile.tile<4x8xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
    %p = tile.softmax_probs %s, %m, %factor cols(%cols) : !tile.tile<4x16xf32>, !tile.row<4xf32>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
    %acc1 = tile.dot pv %p, %vt acc(%acci) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
    tile.yield %acc1 : !tile.tile<4x8xf32>
  }
  tile.store %acc, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %m, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}
