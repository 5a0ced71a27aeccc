// Transcendental functions: inline recipes, or in f64 calls through the function table on a buffer of the frame. Never a symbol.
// RUN: attnjit-opt %s --convert-tile-to-vector="pipeline=math vector-bits=512" | FileCheck %s --implicit-check-not=math.

// CHECK-LABEL: func.func @inline_recipes(
// CHECK-NOT:     llvm.alloca
// CHECK:         llvm.intr.fma({{.*}}) : (vector<16xf32>, vector<16xf32>, vector<16xf32>) -> vector<16xf32>
// CHECK:         arith.divf {{.*}} : vector<16xf32>
// CHECK:         llvm.intr.sqrt({{.*}}) : (vector<16xf32>) -> vector<16xf32>
// CHECK-NOT:     llvm.call
// CHECK:         return
tile.kernel @inline_recipes(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
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
      %a = math.tanh %e : f32
      %c = math.exp %a : f32
      %d = math.log %c : f32
      %f = math.sqrt %d : f32
      tile.yield %f : f32
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

// Functions of many steps are arithmetic too. Only huge angles take a branch of their own, lane by lane.
// CHECK-LABEL: func.func @inline_functions(
// CHECK-NOT:     llvm.alloca
// CHECK:         llvm.intr.fma({{.*}}) : (vector<16xf32>, vector<16xf32>, vector<16xf32>) -> vector<16xf32>
// CHECK:         scf.if
// CHECK:           scf.for
// CHECK:             llvm.intr.fshl({{.*}}) : (i32, i32, i32) -> i32
// CHECK:             arith.muli {{.*}} : i64
// CHECK:         } else {
// CHECK:         arith.divf {{.*}} : vector<16xf32>
// CHECK-NOT:     llvm.call
// CHECK:         return
tile.kernel @inline_functions(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
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
      %a = math.sin %e : f32
      %c = attn.pointwise pow %a, %e : f32
      tile.yield %c : f32
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

// f64 goes through the function table. Two buffers serve both calls of the map and one the logarithm of a row's sum; no loop grows the stack.
// CHECK-LABEL: func.func @calls(
// CHECK-COUNT-3: llvm.alloca
// CHECK-NOT:     llvm.alloca
// CHECK:         scf.for
// CHECK:         llvm.call %{{.*}}(%{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64) -> ()
// CHECK:         llvm.call %{{.*}}(%{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, i64) -> ()
// CHECK-NOT:     llvm.alloca
// CHECK:         return
tile.kernel @calls(%q: !tile.view<?x8xf64>, %k: !tile.view<?x8xf64>, %v: !tile.view<?x8xf64>, %out: !tile.view<?x8xf64>,
                   %lse: !tile.view<?xf64>, %max: !tile.view<?xf64>, %scale: f64)
    config<tile_rows = 16, tile_cols = 32, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf64> -> !tile.tile<16x8xf64>
  %m0, %l0 = tile.softmax_init : !tile.row<16xf64>
  %acc0 = tile.fill 0.0 : !tile.tile<16x8xf64>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<16xf64>, !tile.row<16xf64>, !tile.tile<16x8xf64>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<16xf64>, %li: !tile.row<16xf64>, %acci: !tile.tile<16x8xf64>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf64> -> !tile.tile<32x8xf64>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<16x8xf64>, !tile.tile<32x8xf64> -> !tile.tile<16x32xf64>
    %t = tile.map %s at(%b, %h, %q0, %kv0) : !tile.tile<16x32xf64> {
    ^bb0(%e: f64, %eb: i32, %eh: i32, %i: i32, %j: i32):
      %a = math.sin %e : f64
      %c = attn.pointwise pow %a, %e : f64
      tile.yield %c : f64
    }
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %t cols(%cols) : !tile.row<16xf64>, !tile.tile<16x32xf64>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf64> -> !tile.tile<32x8xf64>
    %scaled = tile.row_scale %acci, %alpha : !tile.tile<16x8xf64>, !tile.row<16xf64>
    %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<16x32xf64>, !tile.tile<32x8xf64> -> !tile.tile<16x8xf64>
    tile.yield %m1, %l1, %acc1 : !tile.row<16xf64>, !tile.row<16xf64>, !tile.tile<16x8xf64>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<16xf64>, !tile.tile<16x8xf64>
  tile.store %o, %out[%b, %h, %q0] : !tile.tile<16x8xf64>, !tile.view<?x8xf64>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<16xf64>, !tile.view<?xf64>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<16xf64>, !tile.view<?xf64>
}

// x86 cannot divide vectors of integers: an i32 quotient goes through f64, by a divisor that is never 0.
// CHECK-LABEL: func.func @floor_div(
// CHECK:         %[[ZERO:.*]] = arith.cmpi eq, %[[DIVISOR:[^,]*]], {{.*}} : vector<16xi32>
// CHECK:         %[[SAFE:.*]] = arith.select {{.*}}, %[[DIVISOR]] : vector<16xi1>, vector<16xi32>
// CHECK:         arith.sitofp %[[SAFE]] : vector<16xi32> to vector<16xf64>
// CHECK:         arith.divf {{.*}} : vector<16xf64>
// CHECK:         arith.fptosi {{.*}} : vector<16xf64> to vector<16xi32>
// CHECK-NOT:     arith.divsi {{.*}} : vector
// CHECK:         return
tile.kernel @floor_div(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
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
      %n = attn.pointwise floor_div %j, %i : i32
      %f = arith.sitofp %n : i32 to f32
      tile.yield %f : f32
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
