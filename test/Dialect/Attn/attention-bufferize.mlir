// RUN: attnjit-opt %s --one-shot-bufferize='bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map' --split-input-file | FileCheck %s

!t = tensor<1x4x?x16xf32>

// The result is written where `out` lies, which is not read; a captured tensor's argument follows its operand.
// CHECK-LABEL: func.func @in_place
// CHECK-SAME: %[[Q:.*]]: memref<1x4x?x16xf32>, %[[OUT:.*]]: memref<1x4x?x16xf32>, %[[C:.*]]: memref<4xf32>)
// CHECK-NOT: alloc
// CHECK-NOT: copy
// CHECK: attn.attention ins(%[[Q]], %[[Q]], %[[Q]] : {{.*}}) outs(%[[OUT]] : memref<1x4x?x16xf32>) captures(%[[C]] : memref<4xf32>)
// CHECK: %{{.*}}: memref<4xf32>):
// CHECK: attn.load %{{.*}}[%{{.*}}] : memref<4xf32>, i64 -> f32
// CHECK: return %[[OUT]]
func.func @in_place(%q: !t, %out: !t {bufferization.writable = true}, %c: tensor<4xf32>) -> !t {
  %0 = attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%out : !t) captures(%c : tensor<4xf32>)
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %d: tensor<4xf32>):
        %0 = attn.load %d[%h] : tensor<4xf32>, i64 -> f32
        %1 = arith.mulf %s, %0 : f32
        attn.yield %1 : f32
      } -> !t
  return %0 : !t
}

// -----

!t = tensor<1x4x?x16xf32>

// Never in the place of what the same op reads, nor of what is read later.
// CHECK-LABEL: func.func @not_over_inputs
// CHECK: %[[NEW:.*]] = memref.alloc
// CHECK: attn.attention ins(%{{.*}}) outs(%[[NEW]] :
// CHECK: return %[[NEW]]
func.func @not_over_inputs(%q: !t {bufferization.writable = true}) -> !t {
  %0 = attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%q : !t) -> !t
  return %0 : !t
}
