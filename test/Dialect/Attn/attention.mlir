// RUN: attnjit-opt %s --split-input-file | attnjit-opt --split-input-file | FileCheck %s
// RUN: attnjit-opt %s --split-input-file --canonicalize | FileCheck %s --check-prefix=CANON

!q = tensor<?x8x?x64xbf16>
!k = tensor<1x2x?x64xbf16>
!v = tensor<1x2x?x32xbf16>
!o = tensor<?x8x?x32xf32>
!r = tensor<?x8x?xf32>

// All operands at once, on tensors: every output is a result.
// CHECK-LABEL: func.func @everything
// CHECK: %{{.*}}:3 = attn.attention ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x8x?x64xbf16>, tensor<1x2x?x64xbf16>, tensor<1x2x?x32xbf16>)
// CHECK-SAME: outs(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x8x?x32xf32>, tensor<?x8x?xf32>, tensor<?x8x?xf32>)
// CHECK-SAME: scale(%{{.*}} : f32) sinks(%{{.*}} : tensor<8xf32>) captures(%{{.*}} : tensor<8xf32>) scalars(%{{.*}} : i64) offsets(%{{.*}}, %{{.*}}, %{{.*}})
// CHECK-SAME: attributes {names = ["slope", "window"]} score {
// CHECK: ^bb0(%score: f32, %b: i64, %h: i64, %q: i64, %kv: i64, %{{.*}}: tensor<8xf32>, %{{.*}}: i64):
// CHECK: } mask {
// CHECK: ^bb0(%b: i64, %h: i64, %q: i64, %kv: i64, %{{.*}}: tensor<8xf32>, %{{.*}}: i64):
// CHECK: } prob {
// CHECK: } -> tensor<?x8x?x32xf32>, tensor<?x8x?xf32>, tensor<?x8x?xf32>
// CANON-LABEL: func.func @everything
func.func @everything(%q: !q, %k: !k, %v: !v, %o: !o, %l: !r, %m: !r, %scale: f32, %sinks: tensor<8xf32>, %slope: tensor<8xf32>, %window: i64,
                      %i: index) -> (!o, !r, !r) {
  %0:3 = attn.attention ins(%q, %k, %v : !q, !k, !v) outs(%o, %l, %m : !o, !r, !r) scale(%scale : f32) sinks(%sinks : tensor<8xf32>)
      captures(%slope : tensor<8xf32>) scalars(%window : i64) offsets(%i, %i, %i) attributes {names = ["slope", "window"]}
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %x: i64, %j: i64, %c: tensor<8xf32>, %w: i64):
        %0 = attn.load %c[%h] : tensor<8xf32>, i64 -> f32
        %1 = arith.addf %s, %0 : f32
        attn.yield %1 : f32
      } mask {
      ^bb0(%b: i64, %h: i64, %x: i64, %j: i64, %c: tensor<8xf32>, %w: i64):
        %0 = arith.addi %j, %w : i64
        %1 = arith.cmpi sgt, %0, %x : i64
        attn.yield %1 : i1
      } prob {
      ^bb0(%p: f32, %b: i64, %h: i64, %x: i64, %j: i64, %c: tensor<8xf32>, %w: i64):
        %0 = math.sqrt %p : f32
        attn.yield %0 : f32
      } -> !o, !r, !r
  return %0#0, %0#1, %0#2 : !o, !r, !r
}

// -----

!t = memref<2x4x?x64xf64>

// On memrefs there is no result. A score that is the identity, a mask that is true and a capture that neither reads go.
// CHECK-LABEL: func.func @buffers
// CHECK: attn.attention ins({{.*}}) outs(%{{.*}} : memref<2x4x?x64xf64>) captures
// CANON-LABEL: func.func @buffers
// CANON-NEXT: attn.attention ins(%{{.*}}, %{{.*}}, %{{.*}} : memref<2x4x?x64xf64>, memref<2x4x?x64xf64>, memref<2x4x?x64xf64>) outs(%{{.*}} : memref<2x4x?x64xf64>){{$}}
// CANON-NEXT: return
func.func @buffers(%q: !t, %k: !t, %v: !t, %o: !t, %c: memref<?xi32>) {
  attn.attention ins(%q, %k, %v : !t, !t, !t) outs(%o : !t) captures(%c : memref<?xi32>)
      score {
      ^bb0(%s: f64, %b: i64, %h: i64, %x: i64, %j: i64, %d: memref<?xi32>):
        attn.yield %s : f64
      } mask {
      ^bb0(%b: i64, %h: i64, %x: i64, %j: i64, %d: memref<?xi32>):
        %true = arith.constant true
        attn.yield %true : i1
      }
  return
}

// -----

// On tensors nothing is written: what nobody uses goes.
// CANON-LABEL: func.func @unused
// CANON-NEXT: return
func.func @unused(%q: tensor<1x1x4x8xf32>) {
  %0 = attn.attention ins(%q, %q, %q : tensor<1x1x4x8xf32>, tensor<1x1x4x8xf32>, tensor<1x1x4x8xf32>) outs(%q : tensor<1x1x4x8xf32>) -> tensor<1x1x4x8xf32>
  return
}
