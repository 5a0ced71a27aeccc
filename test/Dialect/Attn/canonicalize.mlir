// RUN: attnjit-opt %s --canonicalize --split-input-file | FileCheck %s

!view = memref<?x?x?x64xf32>

// An identity score and a mask that is always true are no regions at all; then no capture is needed either.
// CHECK-LABEL: func.func @identity
// CHECK-NOT: captures
// CHECK: scale(%{{.*}} : f32) config<{{.*}}>{{$}}
// CHECK-NOT: score
// CHECK-NOT: mask
func.func @identity(%q: !view, %scale: f32, %c: memref<?xf32>, %n: i64) {
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32) captures(%c : memref<?xf32>) scalars(%n : i64)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32, %x: memref<?xf32>, %m: i32):
        attn.yield %s : f32
      } mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32, %x: memref<?xf32>, %m: i32):
        %e = arith.cmpi eq, %i, %i : i32
        attn.yield %e : i1
      }
  return
}

// -----

!view = memref<?x?x?x64xf32>

// What neither region uses is dropped, with its name; the rest keeps its order.
// CHECK-LABEL: func.func @dead
// CHECK-SAME: %[[C0:[a-z0-9]+]]: memref<?xf32>, %[[C1:[a-z0-9]+]]: memref<?xi32>, %[[C2:[a-z0-9]+]]: memref<f32>, %[[N:[a-z0-9]+]]: i64, %[[X:[a-z0-9]+]]: f64)
// CHECK: captures(%[[C1]], %[[C2]] : memref<?xi32>, memref<f32>) scalars(%[[X]] : f64)
// CHECK-SAME: names = ["offset", "bias", "cap"]
// CHECK: ^bb0(%score: f32, %b: i32, %h: i32, %q: i32, %kv: i32, %{{.*}}: memref<?xi32>, %{{.*}}: memref<f32>, %{{.*}}: f32):
// CHECK: ^bb0(%b: i32, %h: i32, %q: i32, %kv: i32, %{{.*}}: memref<?xi32>, %{{.*}}: memref<f32>, %{{.*}}: f32):
func.func @dead(%q: !view, %scale: f32, %c0: memref<?xf32>, %c1: memref<?xi32>, %c2: memref<f32>, %n: i64, %x: f64) {
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32)
      captures(%c0, %c1, %c2 : memref<?xf32>, memref<?xi32>, memref<f32>) scalars(%n, %x : i64, f64)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
      attributes {names = ["slope", "offset", "bias", "window", "cap"]}
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32, %d0: memref<?xf32>, %d1: memref<?xi32>, %d2: memref<f32>, %m: i32, %y: f32):
        %dead = attn.load %d0[%h] : memref<?xf32>, i32 -> f32
        %0 = attn.load %d2[] : memref<f32> -> f32
        %1 = arith.mulf %0, %y : f32
        attn.yield %1 : f32
      } mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32, %d0: memref<?xf32>, %d1: memref<?xi32>, %d2: memref<f32>, %m: i32, %y: f32):
        %0 = attn.load %d1[%j] : memref<?xi32>, i32 -> i32
        %1 = arith.cmpi sle, %0, %i : i32
        attn.yield %1 : i1
      }
  return
}

// -----

!view = memref<?x?x?x64xf32>

// A mask that is always false stays: it makes every row empty.
// CHECK-LABEL: func.func @never
// CHECK: mask {
// CHECK: arith.constant false
func.func @never(%q: !view, %scale: f32) {
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32):
        %0 = arith.constant false
        attn.yield %0 : i1
      }
  return
}
