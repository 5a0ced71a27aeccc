// With split-keys the same stream stands inside a tile.split: each part from the neutral state, merged behind what came before.
// RUN: attnjit-opt %s --attn-to-tile=split-keys=true --tile-verify | FileCheck %s
// Common subexpression elimination finds that the neutral state inside is the one outside; that is still the normal form.
// RUN: attnjit-opt %s --attn-to-tile=split-keys=true | attnjit-opt --canonicalize --cse --tile-verify | FileCheck %s --check-prefix=CSE

!view = memref<?x?x?x64xf32, strided<[?, ?, ?, 1], offset: ?>>
!row = memref<?x?x?xf32, strided<[?, ?, ?], offset: ?>>

// CHECK-LABEL: tile.kernel @plain(
// CHECK: %[[QT:.*]] = tile.load %q
// CHECK: %[[M0:.*]], %[[L0:.*]] = tile.softmax_init : !tile.row<16xf32>
// CHECK: %[[A0:.*]] = tile.fill 0.0{{[0-9e+]*}} : !tile.tile<16x64xf32>
// CHECK: %[[PLAN:.*]] = tile.plan
// CHECK: %[[R:.*]]:3 = tile.split %[[PLAN]] iter(%[[M0]], %[[L0]], %[[A0]] :
// CHECK: ^bb0(%[[PART:.*]]: !tile.plan, %[[MA:.*]]: !tile.row<16xf32>, %[[LA:.*]]: !tile.row<16xf32>, %[[AA:.*]]: !tile.tile<16x64xf32>):
// CHECK: %[[MN:.*]], %[[LN:.*]] = tile.softmax_init
// CHECK: %[[AN:.*]] = tile.fill 0.0
// CHECK: %[[P:.*]]:3 = tile.stream %[[PART]] iter(%[[MN]], %[[LN]], %[[AN]] :
// CHECK: tile.dot qk %[[QT]]
// CHECK: tile.dot pv
// CHECK: %[[MB:.*]], %[[LB:.*]], %[[AB:.*]] = tile.softmax_merge(%[[MA]], %[[LA]], %[[AA]]), (%[[P]]#0, %[[P]]#1, %[[P]]#2)
// CHECK: tile.yield %[[MB]], %[[LB]], %[[AB]]
// CHECK: tile.softmax_finish %[[R]]#0, %[[R]]#1, %[[R]]#2
// CSE: %[[M0:.*]], %[[L0:.*]] = tile.softmax_init
// CSE: %[[A0:.*]] = tile.fill
// CSE: tile.split
// CSE-NOT: tile.softmax_init
// CSE: tile.stream %{{.*}} iter(%[[M0]], %[[L0]], %[[A0]] :
func.func @plain(%q: !view, %k: !view, %v: !view, %out: !view, %lse: !row, %max: !row, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) lse(%lse : !row) max(%max : !row) scale(%scale : f32)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
  return
}
