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
  %m, %l, %acc = tile.split %plan iter(%m0, %l0, %acc0 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>, %acca: !tile.tile<4x8xf32>):
    %mn, %ln = tile.softmax_init : !tile.row<4xf32>
    %accn = tile.fill 0.0 : !tile.tile<4x8xf32>
    %mp, %lp, %accp = tile.stream %part iter(%mn, %ln, %accn : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>, %acci: !tile.tile<4x8xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %scaled = tile.row_scale %acci, %alpha : !tile.tile<4x8xf32>, !tile.row<4xf32>
      %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
      tile.yield %m1, %l1, %acc1 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
    }
    %mb, %lb, %accb = tile.softmax_merge (%ma, %la, %acca), (%mp, %lp, %accp) : !tile.row<4xf32>, !tile.tile<4x8xf32>
    tile.yield %mb, %lb, %accb : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<4xf32>, !tile.tile<4x8xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}

// -----

// A part that goes on from what came before would count it twice.
tile.kernel @k(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
               %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.split %plan iter(%m0, %l0, %acc0 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>, %acca: !tile.tile<4x8xf32>):
    // expected-error @below {{not the normal form of a tile program: a part starts from tile.softmax_init and tile.fill}}
    %mp, %lp, %accp = tile.stream %part iter(%ma, %la, %acca : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>, %acci: !tile.tile<4x8xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %scaled = tile.row_scale %acci, %alpha : !tile.tile<4x8xf32>, !tile.row<4xf32>
      %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
      tile.yield %m1, %l1, %acc1 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
    }
    %mb, %lb, %accb = tile.softmax_merge (%ma, %la, %acca), (%mp, %lp, %accp) : !tile.row<4xf32>, !tile.tile<4x8xf32>
    tile.yield %mb, %lb, %accb : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<4xf32>, !tile.tile<4x8xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}

// -----

// What is merged, and in which order, is part of the form.
tile.kernel @k(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
               %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.split %plan iter(%m0, %l0, %acc0 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
  // expected-note @below {{expected this value}}
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>, %acca: !tile.tile<4x8xf32>):
    %mn, %ln = tile.softmax_init : !tile.row<4xf32>
    %accn = tile.fill 0.0 : !tile.tile<4x8xf32>
    %mp, %lp, %accp = tile.stream %part iter(%mn, %ln, %accn : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>, %acci: !tile.tile<4x8xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %scaled = tile.row_scale %acci, %alpha : !tile.tile<4x8xf32>, !tile.row<4xf32>
      %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
      tile.yield %m1, %l1, %acc1 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
    }
    // expected-error @below {{not the normal form of a tile program: states of 'tile.softmax_merge' is another value than expected}}
    %mb, %lb, %accb = tile.softmax_merge (%mp, %lp, %accp), (%ma, %la, %acca) : !tile.row<4xf32>, !tile.tile<4x8xf32>
    tile.yield %mb, %lb, %accb : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<4xf32>, !tile.tile<4x8xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}

// -----

// Each part walks its own keys.
tile.kernel @k(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
               %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.split %plan iter(%m0, %l0, %acc0 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
  // expected-note @below {{expected this value}}
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>, %acca: !tile.tile<4x8xf32>):
    %mn, %ln = tile.softmax_init : !tile.row<4xf32>
    %accn = tile.fill 0.0 : !tile.tile<4x8xf32>
    // expected-error @below {{not the normal form of a tile program: plan of 'tile.stream' is another value than expected}}
    %mp, %lp, %accp = tile.stream %plan iter(%mn, %ln, %accn : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>, %acci: !tile.tile<4x8xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %scaled = tile.row_scale %acci, %alpha : !tile.tile<4x8xf32>, !tile.row<4xf32>
      %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
      tile.yield %m1, %l1, %acc1 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
    }
    %mb, %lb, %accb = tile.softmax_merge (%ma, %la, %acca), (%mp, %lp, %accp) : !tile.row<4xf32>, !tile.tile<4x8xf32>
    tile.yield %mb, %lb, %accb : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<4xf32>, !tile.tile<4x8xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}

// -----

// An accumulator that is not zero.
tile.kernel @k(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
               %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 4, tile_cols = 16, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<4x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<4x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.split %plan iter(%m0, %l0, %acc0 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
  ^bb0(%part: !tile.plan, %ma: !tile.row<4xf32>, %la: !tile.row<4xf32>, %acca: !tile.tile<4x8xf32>):
    %mn, %ln = tile.softmax_init : !tile.row<4xf32>
    // expected-error @below {{not the normal form of a tile program: the accumulator starts at 0.0}}
    %accn = tile.fill 1.0 : !tile.tile<4x8xf32>
    %mp, %lp, %accp = tile.stream %part iter(%mn, %ln, %accn : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf32>, %li: !tile.row<4xf32>, %acci: !tile.tile<4x8xf32>):
      %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x8xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x16xf32>
      %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<4xf32>, !tile.tile<4x16xf32>
      %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
      %scaled = tile.row_scale %acci, %alpha : !tile.tile<4x8xf32>, !tile.row<4xf32>
      %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<4x16xf32>, !tile.tile<16x8xf32> -> !tile.tile<4x8xf32>
      tile.yield %m1, %l1, %acc1 : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
    }
    %mb, %lb, %accb = tile.softmax_merge (%ma, %la, %acca), (%mp, %lp, %accp) : !tile.row<4xf32>, !tile.tile<4x8xf32>
    tile.yield %mb, %lb, %accb : !tile.row<4xf32>, !tile.row<4xf32>, !tile.tile<4x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<4xf32>, !tile.tile<4x8xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<4x8xf32>, !tile.view<?x8xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<4xf32>, !tile.view<?xf32>
}
