// RUN: attnjit-opt %s | FileCheck %s
// RUN: attnjit-opt %s | attnjit-opt | FileCheck %s
// RUN: attnjit-opt %s --mlir-print-op-generic | attnjit-opt | FileCheck %s

!view = memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>
!row = memref<?x?x?xf32>

// CHECK-LABEL: func.func @plain
// CHECK: attn.forward ins(%{{.*}}, %{{.*}}, %{{.*}} : memref<?x?x?x64xbf16, strided<[?, ?, ?, 1], offset: ?>>, {{.*}}) outs(%{{.*}} : {{.*}}) scale(%{{.*}} : f32) config<tile_rows = 64, tile_cols = 128, checked_indices = false, narrow = true>{{$}}
func.func @plain(%q: !view, %k: !view, %v: !view, %out: !view, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 128, checked_indices = false, narrow = true>
  return
}

// CHECK-LABEL: func.func @everything
// CHECK: lse(%{{.*}} : memref<?x?x?xf32>) max(%{{.*}} : memref<?x?x?xf32>) scale(%{{.*}} : f32)
// CHECK-SAME: captures(%{{.*}}, %{{.*}} : memref<?xi64>, memref<f16>) scalars(%{{.*}}, %{{.*}}, %{{.*}} : i1, i64, f64)
// CHECK-SAME: config<tile_rows = 1, tile_cols = 1, checked_indices = true, narrow = false>
// CHECK-SAME: attributes {names = ["offset", "bias", "flag", "window", "cap"]} score {
// CHECK-NEXT: ^bb0(%score: f32, %b: i64, %h: i64, %q: i64, %kv: i64, %c: memref<?xi64>, %{{.*}}: memref<f16>, %{{.*}}: i1, %{{.*}}: i64, %{{.*}}: f32):
// CHECK: attn.load %{{.*}}[] : memref<f16> -> f32
// CHECK: attn.load %{{.*}}[%{{.*}}] : memref<?xi64>, i64 -> i64
// CHECK: attn.pointwise pow %{{.*}}, %{{.*}} : f32
// CHECK: attn.pointwise to_int %{{.*}} : f32 -> i64
// CHECK: attn.pointwise sign %{{.*}} : i64
// CHECK: } mask {
// CHECK: attn.yield %{{.*}} : i1
func.func @everything(%q: !view, %k: !view, %v: !view, %out: !view, %lse: !row, %max: !row, %scale: f32,
                      %offset: memref<?xi64>, %bias: memref<f16>, %flag: i1, %window: i64, %cap: f64) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) lse(%lse : !row) max(%max : !row) scale(%scale : f32)
      captures(%offset, %bias : memref<?xi64>, memref<f16>) scalars(%flag, %window, %cap : i1, i64, f64)
      config<tile_rows = 1, tile_cols = 1, checked_indices = true, narrow = false>
      attributes {names = ["offset", "bias", "flag", "window", "cap"]}
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %o: memref<?xi64>, %c: memref<f16>, %f: i1, %w: i64, %x: f32):
        %0 = attn.load %c[] : memref<f16> -> f32
        %1 = attn.load %o[%i] : memref<?xi64>, i64 -> i64
        %2 = attn.pointwise pow %0, %x : f32
        %3 = attn.pointwise to_int %2 : f32 -> i64
        %4 = attn.pointwise sign %3 : i64
        %5 = arith.addi %4, %1 : i64
        %6 = arith.sitofp %5 : i64 to f32
        attn.yield %6 : f32
      } mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %o: memref<?xi64>, %c: memref<f16>, %f: i1, %w: i64, %x: f32):
        attn.yield %f : i1
      }
  return
}

// CHECK-LABEL: func.func @f64
// CHECK: attn.forward {{.*}} lse(%{{.*}} : memref<?x?x?xf64>) scale(%{{.*}} : f64) {{.*}} mask {
func.func @f64(%q: memref<2x8x100x3xf64>, %k: memref<2x2x7x3xf64>, %v: memref<2x2x7x512xf64>, %out: memref<2x8x100x512xf64>,
               %lse: memref<?x?x?xf64>, %scale: f64) {
  attn.forward ins(%q, %k, %v : memref<2x8x100x3xf64>, memref<2x2x7x3xf64>, memref<2x2x7x512xf64>) outs(%out : memref<2x8x100x512xf64>)
      lse(%lse : memref<?x?x?xf64>) scale(%scale : f64) config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32):
        %m = arith.cmpi sle, %j, %i : i32
        attn.yield %m : i1
      }
  return
}

// CHECK-LABEL: func.func @pages
// CHECK: attn.forward ins({{.*}}) pages(%{{.*}} : memref<?x?xi64>) outs(
func.func @pages(%q: memref<2x8x?x64xf32>, %k: memref<100x2x16x64xf32>, %v: memref<100x2x16x64xf32>, %table: memref<?x?xi64>,
                 %out: memref<2x8x?x64xf32>, %scale: f32) {
  attn.forward ins(%q, %k, %v : memref<2x8x?x64xf32>, memref<100x2x16x64xf32>, memref<100x2x16x64xf32>) pages(%table : memref<?x?xi64>)
      outs(%out : memref<2x8x?x64xf32>) scale(%scale : f32) config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
  return
}

// A reduction within another; both use what stands outside.
// CHECK-LABEL: func @reductions
func.func @reductions(%t: memref<?x?xf32>, %q: i64, %n: i64, %m: i32) -> f32 {
  // CHECK: %[[R:.*]] = attn.reduce sum %{{.*}} : i32 -> f32 {
  // CHECK-NEXT: ^bb0(%[[I:.*]]: i32):
  // CHECK-NEXT: %[[J:.*]] = arith.extsi %[[I]]
  // CHECK-NEXT: %[[MAX:.*]] = attn.reduce max %{{.*}} : i64 -> f32 {
  // CHECK: attn.load %{{.*}}[%[[J]], %{{.*}}]
  // CHECK: attn.yield %{{.*}} : f32
  // CHECK: attn.yield %[[MAX]] : f32
  %r = attn.reduce sum %m : i32 -> f32 {
  ^bb0(%i: i32):
    %j = arith.extsi %i : i32 to i64
    %inner = attn.reduce max %n : i64 -> f32 {
    ^bb0(%k: i64):
      %x = attn.load %t[%j, %k] : memref<?x?xf32>, i64, i64 -> f32
      attn.yield %x : f32
    }
    attn.yield %inner : f32
  }
  return %r : f32
}
