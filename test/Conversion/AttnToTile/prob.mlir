// Sinks are an operand of the end. A prob_mod that is proportional to p stands in the one stream, any other takes two.
// RUN: attnjit-opt %s --attn-to-tile --tile-verify --split-input-file | FileCheck %s
// It stays the normal form.
// RUN: attnjit-opt %s --attn-to-tile --split-input-file | attnjit-opt --canonicalize --cse --tile-verify --split-input-file | FileCheck %s

!view = memref<?x?x?x64xf32, strided<[?, ?, ?, 1], offset: ?>>
!row = memref<?x?x?xf32, strided<[?, ?, ?], offset: ?>>
!sinks = memref<?xbf16, strided<[?], offset: ?>>

// CHECK-LABEL: tile.kernel @sinks(
// CHECK-SAME: %scale: f32, %sinks: !tile.view<?xbf16>, %c: f32)
// CHECK: %[[R:.*]]:3 = tile.stream
// CHECK: %[[S:.*]] = tile.load_row %sinks[%b, %h, %q0] : !tile.view<?xbf16> -> !tile.row<16xf32>
// CHECK: tile.softmax_finish %[[R]]#0, %[[R]]#1, %[[R]]#2 sink(%[[S]] : !tile.row<16xf32>) : !tile.row<16xf32>, !tile.tile<16x64xf32>
func.func @sinks(%q: !view, %k: !view, %v: !view, %out: !view, %lse: !row, %max: !row, %scale: f32, %sinks: !sinks, %cap: f64) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) lse(%lse : !row) max(%max : !row) scale(%scale : f32)
      sinks(%sinks : !sinks) scalars(%cap : f64)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32, %c: f32):
        %t = arith.mulf %s, %c : f32
        attn.yield %t : f32
      }
  return
}

// -----

!view = memref<?x?x?x64xf32, strided<[?, ?, ?, 1], offset: ?>>

// CHECK-LABEL: tile.kernel @proportional(
// CHECK: tile.stream
// CHECK: %[[U:.*]] = tile.mask
// CHECK: %{{.*}}, %{{.*}}, %[[P:.*]], %{{.*}} = tile.softmax_step %{{.*}}, %{{.*}}, %[[U]] cols
// CHECK: %[[W:.*]] = tile.prob %[[P]] of %[[U]] at(%b, %h, %q0, %{{.*}})
// CHECK: ^bb0(%[[E:.*]]: f32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %[[KV:.*]]: i32):
// CHECK: tile.dot pv %[[W]],
// CHECK-NOT: tile.stream
// CHECK: tile.softmax_finish
func.func @proportional(%q: !view, %k: !view, %v: !view, %out: !view, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) scale(%scale : f32)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32):
        %m = arith.cmpi sle, %j, %i : i32
        attn.yield %m : i1
      } prob {
      ^bb0(%p: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %f = arith.sitofp %j : i32 to f32
        %w = arith.mulf %p, %f : f32
        attn.yield %w : f32
      }
  return
}

// -----

!view = memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>
!row = memref<?x?x?xf32, strided<[?, ?, ?], offset: ?>>
!sinks = memref<?xf32, strided<[?], offset: ?>>

// CHECK-LABEL: tile.kernel @any_other(
// CHECK: %[[M0:.*]], %[[L0:.*]] = tile.softmax_init
// CHECK: %[[A0:.*]] = tile.fill
// CHECK: %[[PLAN:.*]] = tile.plan
// CHECK: %[[ML:.*]]:2 = tile.stream %[[PLAN]] iter(%[[M0]], %[[L0]] :
// CHECK: tile.dot qk
// CHECK: tile.softmax_step
// CHECK-NOT: tile.dot pv
// CHECK: %[[S:.*]] = tile.load_row %sinks
// CHECK: %[[LSE:.*]], %[[FACTOR:.*]] = tile.softmax_norm %[[ML]]#0, %[[ML]]#1 sink(%[[S]] : !tile.row<16xf32>) : !tile.row<16xf32>
// CHECK: %[[ACC:.*]] = tile.stream %[[PLAN]] iter(%[[A0]] :
// CHECK: ^bb0(%{{.*}}: i64, %[[COLS:.*]]: i64, %{{.*}}: i1, %[[A:.*]]: !tile.tile<16x64xf32>):
// CHECK: %[[U:.*]] = tile.dot qk
// CHECK: %[[P:.*]] = tile.softmax_probs %[[U]], %[[ML]]#0, %[[FACTOR]] cols(%[[COLS]]) : !tile.tile<16x128xf32>, !tile.row<16xf32>
// CHECK: %[[W:.*]] = tile.prob %[[P]] of %[[U]]
// CHECK: tile.dot pv %[[W]], %{{.*}} acc(%[[A]])
// CHECK: %[[O:.*]] = tile.cast %[[ACC]]
// CHECK: tile.store %[[O]], %out
// CHECK: tile.store_row %[[LSE]], %lse
// CHECK: tile.store_row %[[ML]]#0, %max
func.func @any_other(%q: !view, %k: !view, %v: !view, %out: !view, %lse: !row, %max: !row, %scale: f32, %sinks: !sinks) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) lse(%lse : !row) max(%max : !row) scale(%scale : f32)
      sinks(%sinks : !sinks)
      config<tile_rows = 16, tile_cols = 128, checked_indices = false, narrow = true>
      prob {
      ^bb0(%p: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %w = arith.mulf %p, %p : f32
        attn.yield %w : f32
      }
  return
}
