// Captured loads by what their index depends on, with and without checks (A10).
// RUN: attnjit-opt %s --convert-tile-to-vector=pipeline=math | FileCheck %s

// An index of the head alone: one scalar load outside of the loops over elements.
// CHECK-LABEL: func.func @per_head(
// CHECK-NOT:     llvm.intr.masked.gather
// CHECK-NOT:     llvm.atomicrmw
// CHECK:         return
tile.kernel @per_head(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %kc: !tile.capture<1xf32>)
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
    %t = tile.map %s at(%b, %h, %q0, %kv0) captures(%kc : !tile.capture<1xf32>) : !tile.tile<16x32xf32> {
    ^bb0(%e: f32, %eb: i32, %eh: i32, %i: i32, %j: i32, %c: !tile.capture<1xf32>):
      %x = attn.load %c[%eh] : !tile.capture<1xf32>, i32 -> f32
      %r = arith.addf %e, %x : f32
      tile.yield %r : f32
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

// One index per key: a gather per vector of keys, before the loop over rows. A key index is never negative, so it does not wrap.
// CHECK-LABEL: func.func @per_key(
// CHECK:         %[[KV:.*]] = arith.minsi {{.*}} : vector<8xi32>
// CHECK-NOT:     arith.cmpi slt
// CHECK:         %[[WIDE:.*]] = arith.extsi %[[KV]] : vector<8xi32> to vector<8xi64>
// CHECK:         %[[OFFSET:.*]] = arith.muli %[[WIDE]]
// CHECK:         %[[AT:.*]] = llvm.getelementptr %{{.*}}[%[[OFFSET]]] : (!llvm.ptr, vector<8xi64>) -> vector<8x!llvm.ptr>, f32
// CHECK:         llvm.intr.masked.gather %[[AT]]
// CHECK:         scf.for
// CHECK-NOT:     llvm.intr.masked.gather
// CHECK-NOT:     llvm.atomicrmw
// CHECK:         return
tile.kernel @per_key(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %kc: !tile.capture<1xf32>)
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
    %t = tile.map %s at(%b, %h, %q0, %kv0) captures(%kc : !tile.capture<1xf32>) : !tile.tile<16x32xf32> {
    ^bb0(%e: f32, %eb: i32, %eh: i32, %i: i32, %j: i32, %c: !tile.capture<1xf32>):
      %x = attn.load %c[%j] : !tile.capture<1xf32>, i32 -> f32
      %r = arith.addf %e, %x : f32
      tile.yield %r : f32
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

// The same, checked: lanes outside read element 0, an empty tensor is not read at all, and the smallest position goes to the status word.
// CHECK-LABEL: func.func @checked(
// CHECK:         %[[EMPTY:.*]] = arith.ori
// CHECK:         arith.select %[[EMPTY]], {{.*}} : !llvm.ptr
// CHECK:         %[[OUT:.*]] = arith.cmpi uge, {{.*}} : vector<8xi64>
// CHECK:         arith.select %[[OUT]]
// CHECK:         llvm.intr.masked.gather
// CHECK:         %[[ANY:.*]] = "llvm.intr.vector.reduce.or"
// CHECK:         scf.if %[[ANY]] {
// A score counts only where the mask is true.
// CHECK:           arith.cmpi sle, {{.*}} : vector<8xi32>
// CHECK:           "llvm.intr.vector.reduce.smin"
// CHECK:           llvm.atomicrmw min
tile.kernel @checked(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %kc: !tile.capture<1xf32>)
    config<tile_rows = 16, tile_cols = 32, checked_indices = true, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf32> -> !tile.tile<16x8xf32>
  %m0, %l0 = tile.softmax_init : !tile.row<16xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<16x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<16xf32>, %li: !tile.row<16xf32>, %acci: !tile.tile<16x8xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf32> -> !tile.tile<32x8xf32>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<16x8xf32>, !tile.tile<32x8xf32> -> !tile.tile<16x32xf32>
    %t = tile.map %s at(%b, %h, %q0, %kv0) captures(%kc : !tile.capture<1xf32>) : !tile.tile<16x32xf32> {
    ^bb0(%e: f32, %eb: i32, %eh: i32, %i: i32, %j: i32, %c: !tile.capture<1xf32>):
      %x = attn.load %c[%j] : !tile.capture<1xf32>, i32 -> f32
      %r = arith.addf %e, %x : f32
      tile.yield %r : f32
    }
    %u = tile.mask %t if %partial at(%b, %h, %q0, %kv0) captures(%kc : !tile.capture<1xf32>) : !tile.tile<16x32xf32> {
    ^bb0(%eb: i32, %eh: i32, %i: i32, %j: i32, %c: !tile.capture<1xf32>):
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

// kv - q may be negative: Python's wrap. bf16 is widened by a shift.
// CHECK-LABEL: func.func @relative(
// CHECK:         %[[NEG:.*]] = arith.cmpi slt, {{.*}} : vector<8xi64>
// CHECK:         arith.select %[[NEG]]
// CHECK:         llvm.intr.masked.gather {{.*}} -> vector<8xi16>
// CHECK:         arith.extui {{.*}} : vector<8xi16> to vector<8xi32>
// CHECK:         arith.shli
// CHECK:         arith.bitcast {{.*}} : vector<8xi32> to vector<8xf32>
tile.kernel @relative(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %kc: !tile.capture<1xbf16>)
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
    %t = tile.map %s at(%b, %h, %q0, %kv0) captures(%kc : !tile.capture<1xbf16>) : !tile.tile<16x32xf32> {
    ^bb0(%e: f32, %eb: i32, %eh: i32, %i: i32, %j: i32, %c: !tile.capture<1xbf16>):
      %n = arith.subi %j, %i : i32
      %x = attn.load %c[%n] : !tile.capture<1xbf16>, i32 -> f32
      %r = arith.addf %e, %x : f32
      tile.yield %r : f32
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
