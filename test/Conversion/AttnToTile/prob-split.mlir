// A prob_mod that takes two passes, in a program whose keys are cut: both loops are split. The first one's states are merged before any part of
// the second one has its lse; what parts of the second one leave is added up.
// RUN: attnjit-opt %s --attn-to-tile=split-keys=true --tile-verify | FileCheck %s
// It stays the normal form.
// RUN: attnjit-opt %s --attn-to-tile=split-keys=true | attnjit-opt --canonicalize --cse --tile-verify | FileCheck %s --check-prefix=CSE

!view = memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>
!row = memref<?x?x?xf32, strided<[?, ?, ?], offset: ?>>
!sinks = memref<?xf32, strided<[?], offset: ?>>

// CHECK-LABEL: tile.kernel @two_passes(
// CHECK: %[[M0:.*]], %[[L0:.*]] = tile.softmax_init
// CHECK: %[[A0:.*]] = tile.fill
// CHECK: %[[PLAN:.*]] = tile.plan
// CHECK: %[[ML:.*]]:2 = tile.split %[[PLAN]] iter(%[[M0]], %[[L0]] :
// CHECK: ^bb0(%[[PART:.*]]: !tile.plan, %[[MA:.*]]: !tile.row<16xf32>, %[[LA:.*]]: !tile.row<16xf32>):
// CHECK: %[[MN:.*]], %[[LN:.*]] = tile.softmax_init
// CHECK: %[[P:.*]]:2 = tile.stream %[[PART]] iter(%[[MN]], %[[LN]] :
// CHECK: tile.softmax_step
// CHECK-NOT: tile.dot pv
// CHECK: %[[MB:.*]], %[[LB:.*]] = tile.softmax_merge(%[[MA]], %[[LA]]), (%[[P]]#0, %[[P]]#1) : !tile.row<16xf32>
// CHECK: tile.yield %[[MB]], %[[LB]]
// CHECK: %[[S:.*]] = tile.load_row %sinks
// CHECK: %[[LSE:.*]], %[[FACTOR:.*]] = tile.softmax_norm %[[ML]]#0, %[[ML]]#1 sink(%[[S]] :
// CHECK: %[[ACC:.*]] = tile.split %[[PLAN]] iter(%[[A0]] :
// CHECK: ^bb0(%[[PART2:.*]]: !tile.plan, %[[AA:.*]]: !tile.tile<16x64xf32>):
// CHECK: %[[AN:.*]] = tile.fill
// CHECK: %[[AP:.*]] = tile.stream %[[PART2]] iter(%[[AN]] :
// CHECK: %[[PROBS:.*]] = tile.softmax_probs %{{.*}}, %[[ML]]#0, %[[FACTOR]]
// CHECK: %[[W:.*]] = tile.prob %[[PROBS]]
// CHECK: tile.dot pv %[[W]]
// CHECK: %[[AB:.*]] = tile.add %[[AA]], %[[AP]] : !tile.tile<16x64xf32>
// CHECK: tile.yield %[[AB]]
// CHECK: %[[O:.*]] = tile.cast %[[ACC]]
// CHECK: tile.store %[[O]], %out
// CHECK: tile.store_row %[[LSE]], %lse
// CHECK: tile.store_row %[[ML]]#0, %max
// CSE: %[[M0:.*]], %[[L0:.*]] = tile.softmax_init
// CSE: %[[A0:.*]] = tile.fill
// CSE: tile.split
// CSE-NOT: tile.softmax_init
// CSE: tile.stream %{{.*}} iter(%[[M0]], %[[L0]] :
// CSE: tile.split
// CSE-NOT: tile.fill
// CSE: tile.stream %{{.*}} iter(%[[A0]] :
func.func @two_passes(%q: !view, %k: !view, %v: !view, %out: !view, %lse: !row, %max: !row, %scale: f32, %sinks: !sinks) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) lse(%lse : !row) max(%max : !row) scale(%scale : f32)
      sinks(%sinks : !sinks)
      config<tile_rows = 16, tile_cols = 128, checked_indices = false, narrow = true>
      prob {
      ^bb0(%p: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %w = math.exp %p : f32
        attn.yield %w : f32
      }
  return
}
