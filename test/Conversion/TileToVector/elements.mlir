// Elements of operands: bf16 widened by a shift and rounded to nearest even by integers (NaN stays NaN); f16 by the conversions of the
// hardware; 8-bit floats widened by way of f16, rounded by integers.
// RUN: attnjit-opt %s --convert-tile-to-vector=pipeline=math | FileCheck %s

// CHECK-LABEL: func.func @bf16(
// CHECK:         llvm.load {{.*}} : !llvm.ptr -> vector<8xi16>
// CHECK:         arith.extui {{.*}} : vector<8xi16> to vector<8xi32>
// CHECK:         arith.cmpf uno, {{.*}} : vector<8xf32>
// CHECK:         arith.trunci {{.*}} : vector<8xi32> to vector<8xi16>
// CHECK:         llvm.store {{.*}} : vector<8xi16>, !llvm.ptr
// CHECK-NOT:     arith.truncf {{.*}} to {{.*}}bf16
// CHECK:         return
tile.kernel @bf16(%q: !tile.view<?x8xbf16>, %k: !tile.view<?x8xbf16>, %v: !tile.view<?x8xbf16>, %out: !tile.view<?x8xbf16>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 16, tile_cols = 32, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xbf16> -> !tile.tile<16x8xbf16>
  %m0, %l0 = tile.softmax_init : !tile.row<16xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<16x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<16xf32>, %li: !tile.row<16xf32>, %acci: !tile.tile<16x8xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xbf16> -> !tile.tile<32x8xbf16>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<16x8xbf16>, !tile.tile<32x8xbf16> -> !tile.tile<16x32xf32>
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<16xf32>, !tile.tile<16x32xf32>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xbf16> -> !tile.tile<32x8xbf16>
    %scaled = tile.row_scale %acci, %alpha : !tile.tile<16x8xf32>, !tile.row<16xf32>
    %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<16x32xf32>, !tile.tile<32x8xbf16> -> !tile.tile<16x8xf32>
    tile.yield %m1, %l1, %acc1 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<16xf32>, !tile.tile<16x8xf32>
  %oc = tile.cast %o : !tile.tile<16x8xf32> to !tile.tile<16x8xbf16>
  tile.store %oc, %out[%b, %h, %q0] : !tile.tile<16x8xbf16>, !tile.view<?x8xbf16>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
}

// CHECK-LABEL: func.func @f16(
// CHECK:         arith.extf {{.*}} : vector<8xf16> to vector<8xf32>
// CHECK:         arith.truncf {{.*}} : vector<8xf32> to vector<8xf16>
tile.kernel @f16(%q: !tile.view<?x8xf16>, %k: !tile.view<?x8xf16>, %v: !tile.view<?x8xf16>, %out: !tile.view<?x8xf16>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 16, tile_cols = 32, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf16> -> !tile.tile<16x8xf16>
  %m0, %l0 = tile.softmax_init : !tile.row<16xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<16x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<16xf32>, %li: !tile.row<16xf32>, %acci: !tile.tile<16x8xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf16> -> !tile.tile<32x8xf16>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<16x8xf16>, !tile.tile<32x8xf16> -> !tile.tile<16x32xf32>
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<16xf32>, !tile.tile<16x32xf32>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf16> -> !tile.tile<32x8xf16>
    %scaled = tile.row_scale %acci, %alpha : !tile.tile<16x8xf32>, !tile.row<16xf32>
    %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<16x32xf32>, !tile.tile<32x8xf16> -> !tile.tile<16x8xf32>
    tile.yield %m1, %l1, %acc1 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<16xf32>, !tile.tile<16x8xf32>
  %oc = tile.cast %o : !tile.tile<16x8xf32> to !tile.tile<16x8xf16>
  tile.store %oc, %out[%b, %h, %q0] : !tile.tile<16x8xf16>, !tile.view<?x8xf16>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
}

// CHECK-LABEL: func.func @f64(
// CHECK:         llvm.intr.fma({{.*}}) : (vector<4xf64>, vector<4xf64>, vector<4xf64>) -> vector<4xf64>
tile.kernel @f64(%q: !tile.view<?x8xf64>, %k: !tile.view<?x8xf64>, %v: !tile.view<?x8xf64>, %out: !tile.view<?x8xf64>,
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
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<16xf64>, !tile.tile<16x32xf64>
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

// e4m3 lies in an f16 2^8 too small, with its NaN made by a carry; e5m2 is the upper byte of one.
// CHECK-LABEL: func.func @f8(
// CHECK:         llvm.load {{.*}} : !llvm.ptr -> vector<8xi8>
// CHECK:         arith.extsi {{.*}} : vector<8xi8> to vector<8xi16>
// CHECK:         arith.bitcast {{.*}} : vector<8xi16> to vector<8xf16>
// CHECK:         arith.extf {{.*}} : vector<8xf16> to vector<8xf32>
// CHECK:         arith.mulf {{.*}} : vector<8xf32>
// CHECK:         arith.cmpi ult, {{.*}} : vector<8xi32>
// CHECK:         arith.trunci {{.*}} : vector<8xi32> to vector<8xi8>
// CHECK:         llvm.store {{.*}} : vector<8xi8>, !llvm.ptr
// CHECK-NOT:     arith.{{.*}}f8E
// CHECK:         return
tile.kernel @f8(%q: !tile.view<?x8xf8E4M3FN>, %k: !tile.view<?x8xf8E5M2>, %v: !tile.view<?x8xf8E5M2>, %out: !tile.view<?x8xf8E4M3FN>,
                   %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 16, tile_cols = 32, checked_indices = false, narrow = true> {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x8xf8E4M3FN> -> !tile.tile<16x8xf8E4M3FN>
  %m0, %l0 = tile.softmax_init : !tile.row<16xf32>
  %acc0 = tile.fill 0.0 : !tile.tile<16x8xf32>
  %plan = tile.plan at(%b, %h, %q0)
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<16xf32>, %li: !tile.row<16xf32>, %acci: !tile.tile<16x8xf32>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x8xf8E5M2> -> !tile.tile<32x8xf8E5M2>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<16x8xf8E4M3FN>, !tile.tile<32x8xf8E5M2> -> !tile.tile<16x32xf32>
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %s cols(%cols) : !tile.row<16xf32>, !tile.tile<16x32xf32>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x8xf8E5M2> -> !tile.tile<32x8xf8E5M2>
    %scaled = tile.row_scale %acci, %alpha : !tile.tile<16x8xf32>, !tile.row<16xf32>
    %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<16x32xf32>, !tile.tile<32x8xf8E5M2> -> !tile.tile<16x8xf32>
    tile.yield %m1, %l1, %acc1 : !tile.row<16xf32>, !tile.row<16xf32>, !tile.tile<16x8xf32>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<16xf32>, !tile.tile<16x8xf32>
  %oc = tile.cast %o : !tile.tile<16x8xf32> to !tile.tile<16x8xf8E4M3FN>
  tile.store %oc, %out[%b, %h, %q0] : !tile.tile<16x8xf8E4M3FN>, !tile.view<?x8xf8E4M3FN>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<16xf32>, !tile.view<?xf32>
}
