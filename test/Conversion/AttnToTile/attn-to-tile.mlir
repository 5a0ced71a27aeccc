// RUN: attnjit-opt %s --attn-to-tile --tile-verify | FileCheck %s
// RUN: attnjit-opt %s --canonicalize --cse --attn-to-tile --canonicalize --tile-verify | FileCheck %s --check-prefix=CANON

!view = memref<?x?x?x64xf32, strided<[?, ?, ?, 1], offset: ?>>
!any = memref<?x?x?x32xf16, strided<[?, ?, ?, ?], offset: ?>>
!row = memref<?x?x?xf32, strided<[?, ?, ?], offset: ?>>

// The algorithm, with the closed form of the mask: key kv_lo may be seen by query q_hi, and key kv_hi may be hidden from query q_lo.
// CHECK-LABEL: tile.kernel @causal(
// CHECK-SAME: %q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32>, %v: !tile.view<?x64xf32>, %out: !tile.view<?x64xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32) config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true> {
// CHECK: %[[B:.*]], %[[H:.*]], %[[HKV:.*]], %[[Q0:.*]] = tile.position
// CHECK: %[[QT:.*]] = tile.load %q[%[[B]], %[[H]], %[[Q0]]] : !tile.view<?x64xf32> -> !tile.tile<16x64xf32>
// CHECK: %[[M0:.*]], %[[L0:.*]] = tile.softmax_init : !tile.row<16xf32>
// CHECK: %[[A0:.*]] = tile.fill 0.0{{[0-9e+]*}} : !tile.tile<16x64xf32>
// CHECK: %[[PLAN:.*]] = tile.plan at(%[[B]], %[[H]], %[[Q0]]) {
// CHECK: ^bb0(%{{.*}}: i32, %{{.*}}: i32, %[[QLO:.*]]: i32, %[[QHI:.*]]: i32, %[[KLO:.*]]: i32, %[[KHI:.*]]: i32):
// CHECK-DAG: %[[QLO64:.*]] = arith.extsi %[[QLO]]
// CHECK-DAG: %[[QHI64:.*]] = arith.extsi %[[QHI]]
// CHECK-DAG: %[[KLO64:.*]] = arith.extsi %[[KLO]]
// CHECK-DAG: %[[KHI64:.*]] = arith.extsi %[[KHI]]
// CHECK-DAG: %[[TRUE:.*]] = arith.cmpi sle, %[[KLO64]], %[[QHI64]] : i64
// CHECK-DAG: %[[FALSE:.*]] = arith.cmpi slt, %[[QLO64]], %[[KHI64]] : i64
// CHECK: tile.yield %[[TRUE]], %[[FALSE]] : i1, i1
// CHECK: %[[R:.*]]:3 = tile.stream %[[PLAN]] iter(%[[M0]], %[[L0]], %[[A0]] :
// CHECK: ^bb0(%[[KV0:.*]]: i64, %[[COLS:.*]]: i64, %[[PARTIAL:.*]]: i1, %[[M:.*]]: !tile.row<16xf32>, %[[L:.*]]: !tile.row<16xf32>, %[[A:.*]]: !tile.tile<16x64xf32>):
// CHECK: %[[K:.*]] = tile.load %k[%[[B]], %[[HKV]], %[[KV0]]]
// CHECK: %[[S:.*]] = tile.dot qk %[[QT]], trans %[[K]] scale(%scale)
// CHECK-NOT: tile.map
// CHECK: %[[U:.*]] = tile.mask %[[S]] if %[[PARTIAL]] at(%[[B]], %[[H]], %[[Q0]], %[[KV0]])
// CHECK: %[[M1:.*]], %[[L1:.*]], %[[P:.*]], %[[ALPHA:.*]] = tile.softmax_step %[[M]], %[[L]], %[[U]] cols(%[[COLS]])
// CHECK: %[[V:.*]] = tile.load %v[%[[B]], %[[HKV]], %[[KV0]]]
// CHECK: %[[SCALED:.*]] = tile.row_scale %[[A]], %[[ALPHA]]
// CHECK: %[[A1:.*]] = tile.dot pv %[[P]], %[[V]] acc(%[[SCALED]])
// CHECK: tile.yield %[[M1]], %[[L1]], %[[A1]]
// CHECK: %[[O:.*]], %[[LSE:.*]], %[[MAX:.*]] = tile.softmax_finish %[[R]]#0, %[[R]]#1, %[[R]]#2
// CHECK-NOT: tile.cast
// CHECK: tile.store %[[O]], %out[%[[B]], %[[H]], %[[Q0]]]
// CHECK: tile.store_row %[[LSE]], %lse[%[[B]], %[[H]], %[[Q0]]]
// CHECK: tile.store_row %[[MAX]], %max[%[[B]], %[[H]], %[[Q0]]]
// CHECK-NOT: func.func
func.func @causal(%q: !view, %k: !view, %v: !view, %out: !view, %lse: !row, %max: !row, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) lse(%lse : !row) max(%max : !row) scale(%scale : f32)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32):
        %m = arith.cmpi sge, %i, %j : i32
        attn.yield %m : i1
      }
  return
}

// Arguments go by role, in any order; what the formula does not use keeps its place in the ABI. A result of another type than the
// accumulator is cast.
// CHECK-LABEL: tile.kernel @shuffled(
// CHECK-SAME: %q: !tile.view<?x32xf16, strided>, %k: !tile.view<?x32xf16, strided>, %v: !tile.view<?x32xf16, strided>, %out: !tile.view<?x32xf16, strided>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32,
// CHECK-SAME: %{{.*}}: !tile.capture<0xi1>, %{{.*}}: !tile.capture<2xi32>, %{{.*}}: i64, %{{.*}}: f32) config<{{.*}}> attributes {names = ["unused", "doc", "window", "cap"]} {
// CHECK: tile.plan at(%{{.*}}) scalars(%{{.*}}, %{{.*}} : i64, f32)
// CHECK: tile.map
// CHECK: tile.mask {{.*}} captures(%{{.*}}, %{{.*}} : !tile.capture<0xi1>, !tile.capture<2xi32>) scalars(%{{.*}}, %{{.*}} : i64, f32)
// CHECK: ^bb0(%{{.*}}: i64, %{{.*}}: i64, %[[I:.*]]: i64, %{{.*}}: i64, %{{.*}}: !tile.capture<0xi1>, %[[DOC:.*]]: !tile.capture<2xi32>, %{{.*}}: i64, %{{.*}}: f32):
// CHECK: attn.load %[[DOC]][%{{.*}}, %[[I]]] : !tile.capture<2xi32>, i64, i64 -> i32
// CHECK: tile.cast %{{.*}} : !tile.tile<16x32xf32> to !tile.tile<16x32xf16>
// CANON-LABEL: tile.kernel @shuffled(
// CANON-SAME: %{{.*}}: !tile.capture<0xi1>, %{{.*}}: !tile.capture<2xi32>, %{{.*}}: i64, %{{.*}}: f32) config<{{.*}}> attributes {names = ["", "doc", "window", "cap"]} {
func.func @shuffled(%scale: f32, %window: i64, %unused: memref<i1>, %out: !any, %v: !any, %k: !any, %doc: memref<?x?xi32>, %q: !any, %cap: f64) {
  attn.forward ins(%q, %k, %v : !any, !any, !any) outs(%out : !any) scale(%scale : f32)
      captures(%unused, %doc : memref<i1>, memref<?x?xi32>) scalars(%window, %cap : i64, f64)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = false>
      attributes {names = ["unused", "doc", "window", "cap"]}
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %u: memref<i1>, %d: memref<?x?xi32>, %w: i64, %c: f32):
        %t = arith.mulf %s, %c : f32
        attn.yield %t : f32
      } mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %u: memref<i1>, %d: memref<?x?xi32>, %w: i64, %c: f32):
        %x = attn.load %d[%b, %i] : memref<?x?xi32>, i64, i64 -> i32
        %y = attn.load %d[%b, %j] : memref<?x?xi32>, i64, i64 -> i32
        %same = arith.cmpi eq, %x, %y : i32
        %dist = arith.subi %i, %j : i64
        %near = arith.cmpi slt, %dist, %w : i64
        %m = arith.andi %same, %near : i1
        attn.yield %m : i1
      }
  return
}

// A mask with an operation that no formula has still lowers; it only has no closed form.
// CHECK-LABEL: tile.kernel @foreign(
// CHECK: tile.plan at(%{{.*}}, %{{.*}}, %{{.*}}){{$}}
// CHECK: tile.mask
// CHECK: arith.cmpi ult
func.func @foreign(%q: !view, %k: !view, %v: !view, %out: !view, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) scale(%scale : f32)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32):
        %m = arith.cmpi ult, %j, %i : i32
        attn.yield %m : i1
      }
  return
}

// A10: where indices are checked, a mask that reads captured tensors must see every pair, so it has no closed form ...
// CHECK-LABEL: tile.kernel @checked(
// CHECK: tile.plan at(%{{.*}}, %{{.*}}, %{{.*}}){{$}}
// ... and where they are proved, it has.
// CHECK-LABEL: tile.kernel @unchecked(
// CHECK: tile.plan at(%{{.*}}, %{{.*}}, %{{.*}}) {
func.func @checked(%q: !view, %k: !view, %v: !view, %out: !view, %scale: f32, %doc: memref<?xi32>) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) scale(%scale : f32) captures(%doc : memref<?xi32>)
      config<tile_rows = 16, tile_cols = 64, checked_indices = true, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32, %d: memref<?xi32>):
        %x = attn.load %d[%j] : memref<?xi32>, i32 -> i32
        %seen = arith.cmpi slt, %x, %i : i32
        %past = arith.cmpi sle, %j, %i : i32
        %m = arith.andi %seen, %past : i1
        attn.yield %m : i1
      }
  return
}
func.func @unchecked(%q: !view, %k: !view, %v: !view, %out: !view, %scale: f32, %doc: memref<?xi32>) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) scale(%scale : f32) captures(%doc : memref<?xi32>)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32, %d: memref<?xi32>):
        %x = attn.load %d[%j] : memref<?xi32>, i32 -> i32
        %seen = arith.cmpi slt, %x, %i : i32
        %past = arith.cmpi sle, %j, %i : i32
        %m = arith.andi %seen, %past : i1
        attn.yield %m : i1
      }
  return
}

// Pages are a matter of the views of k and v; the table is no argument of the kernel, which finds it in KernelArgs.
// CHECK-LABEL: tile.kernel @pages(
// CHECK-SAME: %q: !tile.view<?x64xf32>, %k: !tile.view<?x64xf32, paged>, %v: !tile.view<?x64xf32, paged>, %out: !tile.view<?x64xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32) config
// CHECK: tile.load %k[{{.*}}] : !tile.view<?x64xf32, paged> -> !tile.tile<64x64xf32>
func.func @pages(%q: !view, %k: !view, %v: !view, %table: memref<?x?xi64>, %out: !view, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) pages(%table : memref<?x?xi64>) outs(%out : !view) scale(%scale : f32)
      config<tile_rows = 16, tile_cols = 64, checked_indices = false, narrow = true>
  return
}
