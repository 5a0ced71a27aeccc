// The frame: signature, tiles, the walk over the plan, the mask only in partial blocks.
// RUN: attnjit-opt %s --convert-tile-to-vector=pipeline=math | FileCheck %s

// CHECK-LABEL: func.func @causal(
// CHECK-SAME:    %[[ARGS:.*]]: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64, %[[WS:.*]]: !llvm.ptr {llvm.noalias})
// CHECK-SAME:    attnjit.workspace_bytes
// CHECK:         scf.for {{.*}} = %[[BEGIN]] to %[[END]]
// An i1 says whether there is a table of runs; without one there is one run, and it is partial.
// CHECK:           %[[NONE:.*]] = llvm.icmp "eq" {{.*}} : !llvm.ptr
// CHECK:           %[[RANGE:.*]]:2 = scf.if %[[NONE]] -> (i64, i64)
// CHECK:           scf.for %{{.*}} = %[[RANGE]]#0 to %[[RANGE]]#1
// CHECK:             %[[SPAN:.*]]:3 = scf.if %[[NONE]] -> (i64, i64, i1)
// CHECK:             scf.for %{{.*}} = %[[SPAN]]#0 to %[[SPAN]]#1 step %{{.*}} : i64 {
// The closed form, first on a group of blocks, then on each block: skip, or walk; evaluate the mask only where it may be false.
// CHECK:               %[[GROUP_TRUE:.*]] = arith.cmpi sle, {{.*}} : i32
// CHECK:               %[[GROUP:.*]] = arith.ori %[[SPAN]]#2, %[[GROUP_TRUE]] : i1
// CHECK:               scf.if %[[GROUP]] {
// CHECK:               scf.for
// CHECK:               %[[TRUE:.*]] = arith.cmpi sle, {{.*}} : i32
// CHECK:               %[[FALSE:.*]] = arith.cmpi sgt, {{.*}} : i32
// CHECK:               %[[PARTIAL:.*]] = arith.andi %{{.*}}, %[[FALSE]] : i1
// CHECK:               %[[VISIT:.*]] = arith.ori %[[SPAN]]#2, %[[TRUE]] : i1
// CHECK:               scf.if %[[VISIT]] {
// CHECK:                 scf.if %[[PARTIAL]] {
// CHECK:                   arith.cmpi sle, {{.*}} : vector<8xi32>
// CHECK:                   arith.select {{.*}} : vector<8xi1>, vector<8xf32>
// A6 and A10: nothing but whole vectors inside the operands, and no call to a library.
// CHECK-NOT:     llvm.call
// CHECK-NOT:     math.
// CHECK-NOT:     llvm.atomicrmw
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

// Without a mask there is nothing to classify: the run is full.
// CHECK-LABEL: func.func @plain(
// CHECK:         scf.if %{{.*}} -> (i64, i64, i1)
// CHECK:         %[[FULL:.*]] = arith.constant true
// CHECK-NOT:     arith.cmpi sgt
// CHECK:         return
tile.kernel @plain(%q: !tile.view<?x8xf32>, %k: !tile.view<?x8xf32>, %v: !tile.view<?x8xf32>, %out: !tile.view<?x8xf32>,
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
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<16xf32>, !tile.tile<16x32xf32>
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
