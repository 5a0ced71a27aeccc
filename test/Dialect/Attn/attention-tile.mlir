// Tiling by the transform dialect of the stock tool: a tile keeps its place by its offsets, and takes the kv heads of its query heads.
//
// RUN: mlir-opt %s --load-dialect-plugin=%{plugin} --pass-pipeline='builtin.module(transform-interpreter,canonicalize,cse)' --split-input-file | FileCheck %s

!q = tensor<2x8x64x16xf32>
!k = tensor<2x2x64x16xf32>

// Two heads of a group of four, and 16 queries: one kv head per tile.
// CHECK: #[[GROUP:.*]] = affine_map<(d0) -> (d0 floordiv 4)>
// CHECK-LABEL: func.func @within_a_group
// CHECK: scf.for %[[H:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args
// CHECK: scf.for %[[I:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args
// CHECK: %[[G:.*]] = affine.apply #[[GROUP]](%[[H]])
// CHECK: tensor.extract_slice %{{.*}}[0, %[[H]], %[[I]], 0] [2, 2, 16, 16]
// CHECK: tensor.extract_slice %{{.*}}[0, %[[G]], 0, 0] [2, 1, 64, 16]
// CHECK: attn.attention ins(%{{.*}} : tensor<2x2x16x16xf32>, tensor<2x1x64x16xf32>, tensor<2x1x64x16xf32>)
// CHECK-SAME: offsets(%{{.*}}, %[[H]], %[[I]]) mask
// CHECK: tensor.insert_slice
func.func @within_a_group(%q: !q, %k: !k, %out: !q) -> !q {
  %0 = attn.attention ins(%q, %k, %k : !q, !k, !k) outs(%out : !q)
      mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64):
        %m = arith.cmpi sle, %j, %i : i64
        attn.yield %m : i1
      } -> !q
  return %0 : !q
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["attn.attention"]} in %root : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [0, 2, 16] : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}
