// RUN: attnjit-opt %s --tile-verify --split-input-file --verify-diagnostics

// Each kernel is causal attention with one thing wrong that the ops' own verifiers let pass.
// expected-note @below {{expected this value}}
tile.kernel @causal(%q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32>, %v: !tile.view<?x64xf32>, %out: !tile.view<?x64xf32>,
                    %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  // expected-error @below {{not the normal form of a tile program: view of 'tile.load' is another value than expected}}
  %qt = tile.load %k[%b, %h, %q0] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
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

// -----

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
  // expected-note @below {{expected this value}}
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<64xf32>, %li: !tile.row<64xf32>, %acci: !tile.tile<64x64xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<64x64xf32>, !tile.tile<64x64xf32> -> !tile.tile<64x64xf32>
    %u = tile.mask %s if %partial at(%b, %h, %q0, %kv0) : !tile.tile<64x64xf32> {
    ^bb0(%eb: i32, %eh: i32, %eq: i32, %ekv: i32):
      %visible = arith.cmpi sle, %ekv, %eq : i32
      tile.yield %visible : i1
    }
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %u cols(%cols) : !tile.row<64xf32>, !tile.tile<64x64xf32>
    // expected-error @below {{not the normal form of a tile program: row of 'tile.load' is another value than expected}}
    %vt = tile.load %v[%b, %hkv, %cols] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
    %scaled = tile.row_scale %acci, %alpha : !tile.tile<64x64xf32>, !tile.row<64xf32>
    %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<64x64xf32>, !tile.tile<64x64xf32> -> !tile.tile<64x64xf32>
    tile.yield %m1, %l1, %acc1 : !tile.row<64xf32>, !tile.row<64xf32>, !tile.tile<64x64xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<64xf32>, !tile.tile<64x64xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<64x64xf32>, !tile.view<?x64xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<64xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<64xf32>, !tile.view<?xf32>
}

// -----

tile.kernel @causal(%q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32>, %v: !tile.view<?x64xf32>, %out: !tile.view<?x64xf32>,
                    %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<64xf32>
  // expected-error @below {{not the normal form of a tile program: the accumulator starts at 0.0}}
  %acc0 = tile.fill 1.0 : !tile.tile<64x64xf32>
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

// -----

tile.kernel @causal(%q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32>, %v: !tile.view<?x64xf32>, %out: !tile.view<?x64xf32>,
                    %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
  // expected-note @below {{expected this value}}
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
  // expected-error @below {{not the normal form of a tile program: initial states of 'tile.stream' is another value than expected}}
  %m, %l, %acc = tile.stream %plan iter(%l0, %m0, %acc0 : !tile.row<64xf32>, !tile.row<64xf32>, !tile.tile<64x64xf32>) {
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

// -----

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
    // expected-error @below {{not the normal form of a tile program: expected a dot of role qk with a transposed k and a scale, and without accumulator}}
    %s = tile.dot qk %qt, trans %kt : !tile.tile<64x64xf32>, !tile.tile<64x64xf32> -> !tile.tile<64x64xf32>
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

// -----

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
    // expected-error @below {{not the normal form of a tile program: expected a dot of role pv with an accumulator, without scale or transposition}}
    %acc1 = tile.dot pv %p, %vt scale(%scale) acc(%scaled) : !tile.tile<64x64xf32>, !tile.tile<64x64xf32> -> !tile.tile<64x64xf32>
    tile.yield %m1, %l1, %acc1 : !tile.row<64xf32>, !tile.row<64xf32>, !tile.tile<64x64xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<64xf32>, !tile.tile<64x64xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<64x64xf32>, !tile.view<?x64xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<64xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<64xf32>, !tile.view<?xf32>
}

// -----

tile.kernel @causal(%q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32>, %v: !tile.view<?x64xf32>, %out: !tile.view<?x64xf32>,
                    %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true> {
  // expected-note @below {{expected this value}}
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
    // expected-error @below {{not the normal form of a tile program: q0 of 'tile.mask' is another value than expected}}
    %u = tile.mask %s if %partial at(%b, %h, %kv0, %kv0) : !tile.tile<64x64xf32> {
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

// -----

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
    // expected-note @below {{expected this value}}
    %u = tile.mask %s if %partial at(%b, %h, %q0, %kv0) : !tile.tile<64x64xf32> {
    ^bb0(%eb: i32, %eh: i32, %eq: i32, %ekv: i32):
      %visible = arith.cmpi sle, %ekv, %eq : i32
      tile.yield %visible : i1
    }
    // expected-error @below {{not the normal form of a tile program: scores of 'tile.softmax_step' is another value than expected}}
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<64xf32>, !tile.tile<64x64xf32>
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

// -----

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
  // expected-error @below {{not the normal form of a tile program: expected 'tile.softmax_finish' here, got 'tile.fill'}}
  %more = tile.fill 0.0 : !tile.tile<64x64xf32>
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<64xf32>, !tile.tile<64x64xf32>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<64x64xf32>, !tile.view<?x64xf32>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<64xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<64xf32>, !tile.view<?xf32>
}

// -----

// expected-error @below {{not the normal form of a tile program: expected 'tile.store_row' here, got the end}}
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
}

// -----

tile.kernel @causal(%q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32>, %v: !tile.view<?x64xf32>, %out: !tile.view<?x64xf32>,
                    %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 64, tile_cols = 32, checked_indices = false, narrow = true> {
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
    // expected-error @below {{not the normal form of a tile program: expected config.tile_cols rows of k}}
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

// -----

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
  // expected-error @below {{'tile.fill' op is not part of the normal form of a tile program here; expected nothing more in this block}}
  %more = tile.fill 0.0 : !tile.tile<64x64xf32>
}

// -----

tile.kernel @causal(%q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32>, %v: !tile.view<?x64xf32>, %out: !tile.view<?x64xf32>,
                    %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %n: i32)
    config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x64xf32> -> !tile.tile<64x64xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<64xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<64x64xf32>
  // expected-error @below {{not the normal form of a tile program: expected 1 scalars of 'tile.plan', got 0}}
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

// -----

!view = memref<?x?x?x64xf32>

func.func @left(%q: !view, %scale: f32) {
  // expected-error @below {{attn.forward is left; expected attn-to-tile to have run}}
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
  return
}
