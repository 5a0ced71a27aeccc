// RUN: attnjit-opt %s --tile-verify | FileCheck %s
// RUN: attnjit-opt %s | attnjit-opt --tile-verify | FileCheck %s
// RUN: attnjit-opt %s --mlir-print-op-generic | attnjit-opt --tile-verify | FileCheck %s

// CHECK-LABEL: tile.kernel @strided(%q: !tile.view<?x3xf64, strided>, %k: !tile.view<?x3xf64, strided>, %v: !tile.view<?x5xf64, strided>, %out: !tile.view<?x5xf64>, %lse: !tile.view<?xf64>, %max: !tile.view<?xf64>, %scale: f64, %c: !tile.capture<2xi8>, %{{.*}}: i64)
// CHECK-SAME: config<tile_rows = 4, tile_cols = 8, checked_indices = true, narrow = false> attributes {names = ["codes", "n"]} {
// CHECK: %[[B:.*]], %[[H:.*]], %[[HKV:.*]], %[[Q0:.*]] = tile.position
// CHECK: %[[Q:.*]] = tile.load %q[%[[B]], %[[H]], %[[Q0]]] : !tile.view<?x3xf64, strided> -> !tile.tile<4x3xf64>
// CHECK: tile.softmax_init : !tile.row<4xf64>
// CHECK: tile.fill 0.0{{[0-9e+]*}} : !tile.tile<4x5xf64>
// CHECK: %[[PLAN:.*]] = tile.plan at(%[[B]], %[[H]], %[[Q0]]) scalars(%{{.*}} : i64){{$}}
// CHECK: tile.stream %[[PLAN]] iter(%{{.*}}, %{{.*}}, %{{.*}} : !tile.row<4xf64>, !tile.row<4xf64>, !tile.tile<4x5xf64>) {
// CHECK: ^bb0(%kv0: i64, %cols: i64, %partial: i1, %{{.*}}: !tile.row<4xf64>, %{{.*}}: !tile.row<4xf64>, %{{.*}}: !tile.tile<4x5xf64>):
// CHECK: tile.dot qk %[[Q]], trans %{{.*}} scale(%scale) : !tile.tile<4x3xf64>, !tile.tile<8x3xf64> -> !tile.tile<4x8xf64>
// CHECK: tile.map %{{.*}} at(%[[B]], %[[H]], %[[Q0]], %kv0) captures(%c : !tile.capture<2xi8>) scalars(%{{.*}} : i64) : !tile.tile<4x8xf64> {
// CHECK: attn.load %{{.*}}[%{{.*}}, %kv] : !tile.capture<2xi8>, i64, i64 -> i64
// CHECK: attn.pointwise floor_mod
// CHECK: tile.mask %{{.*}} if %partial at(%[[B]], %[[H]], %[[Q0]], %kv0)
// CHECK: tile.softmax_step %{{.*}}, %{{.*}}, %{{.*}} cols(%cols) : !tile.row<4xf64>, !tile.tile<4x8xf64>
// CHECK: tile.row_scale
// CHECK: tile.dot pv %{{.*}}, %{{.*}} acc(%{{.*}}) : !tile.tile<4x8xf64>, !tile.tile<8x5xf64> -> !tile.tile<4x5xf64>
// CHECK: tile.softmax_finish
// CHECK: tile.cast %{{.*}} : !tile.tile<4x5xf64> to !tile.tile<4x5xf64>
// CHECK: tile.store
// CHECK: tile.store_row
// CHECK: tile.store_row
tile.kernel @strided(%q: !tile.view<?x3xf64, strided>, %k: !tile.view<?x3xf64, strided>, %v: !tile.view<?x5xf64, strided>, %out: !tile.view<?x5xf64>,
                  %lse: !tile.view<?xf64>, %max: !tile.view<?xf64>, %scale: f64, %codes: !tile.capture<2xi8>, %n: i64)
    config<tile_rows = 4, tile_cols = 8, checked_indices = true, narrow = false> attributes {names = ["codes", "n"]} {
  %b, %h, %hkv, %q0 = tile.position
  %qt = tile.load %q[%b, %h, %q0] : !tile.view<?x3xf64, strided> -> !tile.tile<4x3xf64>
  %m0, %l0 = tile.softmax_init : !tile.row<4xf64>
  %acc0 = tile.fill 0.0 : !tile.tile<4x5xf64>
  %plan = tile.plan at(%b, %h, %q0) scalars(%n : i64)
  %m, %l, %acc = tile.stream %plan iter(%m0, %l0, %acc0 : !tile.row<4xf64>, !tile.row<4xf64>, !tile.tile<4x5xf64>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<4xf64>, %li: !tile.row<4xf64>, %acci: !tile.tile<4x5xf64>):
    %kt = tile.load %k[%b, %hkv, %kv0] : !tile.view<?x3xf64, strided> -> !tile.tile<8x3xf64>
    %s = tile.dot qk %qt, trans %kt scale(%scale) : !tile.tile<4x3xf64>, !tile.tile<8x3xf64> -> !tile.tile<4x8xf64>
    %t = tile.map %s at(%b, %h, %q0, %kv0) captures(%codes : !tile.capture<2xi8>) scalars(%n : i64) : !tile.tile<4x8xf64> {
    ^bb0(%e: f64, %eb: i64, %eh: i64, %eq: i64, %ekv: i64, %ec: !tile.capture<2xi8>, %en: i64):
      %x = attn.load %ec[%eb, %ekv] : !tile.capture<2xi8>, i64, i64 -> i64
      %y = attn.pointwise floor_mod %x, %en : i64
      %z = arith.sitofp %y : i64 to f64
      %w = arith.addf %e, %z : f64
      tile.yield %w : f64
    }
    %u = tile.mask %t if %partial at(%b, %h, %q0, %kv0) captures(%codes : !tile.capture<2xi8>) scalars(%n : i64) : !tile.tile<4x8xf64> {
    ^bb0(%eb: i64, %eh: i64, %eq: i64, %ekv: i64, %ec: !tile.capture<2xi8>, %en: i64):
      %x = attn.load %ec[%eb, %ekv] : !tile.capture<2xi8>, i64, i64 -> i64
      %y = arith.cmpi sge, %x, %en : i64
      tile.yield %y : i1
    }
    %m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, %u cols(%cols) : !tile.row<4xf64>, !tile.tile<4x8xf64>
    %vt = tile.load %v[%b, %hkv, %kv0] : !tile.view<?x5xf64, strided> -> !tile.tile<8x5xf64>
    %scaled = tile.row_scale %acci, %alpha : !tile.tile<4x5xf64>, !tile.row<4xf64>
    %acc1 = tile.dot pv %p, %vt acc(%scaled) : !tile.tile<4x8xf64>, !tile.tile<8x5xf64> -> !tile.tile<4x5xf64>
    tile.yield %m1, %l1, %acc1 : !tile.row<4xf64>, !tile.row<4xf64>, !tile.tile<4x5xf64>
  }
  %o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : !tile.row<4xf64>, !tile.tile<4x5xf64>
  %oc = tile.cast %o : !tile.tile<4x5xf64> to !tile.tile<4x5xf64>
  tile.store %oc, %out[%b, %h, %q0] : !tile.tile<4x5xf64>, !tile.view<?x5xf64>
  tile.store_row %rlse, %lse[%b, %h, %q0] : !tile.row<4xf64>, !tile.view<?xf64>
  tile.store_row %rmax, %max[%b, %h, %q0] : !tile.row<4xf64>, !tile.view<?xf64>
}

// CHECK-LABEL: func.func @pages
// CHECK-SAME: !tile.view<?x64xf32, paged>, %{{.*}}: !tile.view<?x64xf32, strided, paged>
func.func @pages(%k: !tile.view<?x64xf32, paged>, %v: !tile.view<?x64xf32, paged, strided>, %i: i64) {
  // CHECK: tile.load %{{.*}} : !tile.view<?x64xf32, paged> -> !tile.tile<16x64xf32>
  %t = tile.load %k[%i, %i, %i] : !tile.view<?x64xf32, paged> -> !tile.tile<16x64xf32>
  return
}
