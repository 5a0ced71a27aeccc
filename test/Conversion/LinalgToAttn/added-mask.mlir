// A mask that is added shows through where a score is inf or NaN, so it is a mask only for who promises that none is.
//
// RUN: attnjit-opt %s --raise-linalg-to-attn --canonicalize | FileCheck %s
// RUN: attnjit-opt %s --raise-linalg-to-attn=assume-finite --canonicalize | FileCheck %s --check-prefix=FINITE

#qk = [affine_map<(i, j, d) -> (i, d)>, affine_map<(i, j, d) -> (j, d)>, affine_map<(i, j, d) -> (i, j)>]
#pv = [affine_map<(i, d, j) -> (i, j)>, affine_map<(i, d, j) -> (j, d)>, affine_map<(i, d, j) -> (i, d)>]
#pair = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>

!t = tensor<12x8xf32>
!s = tensor<12x12xf32>
!row = tensor<12xf32>

// CHECK-LABEL: func.func @added
// CHECK: attn.attention ins(%{{.*}} : tensor<1x1x12x8xf32>, tensor<1x1x12x8xf32>, tensor<1x1x12x8xf32>) {{.*}} scale(%{{.*}} : f32) score {
// CHECK: arith.select
// CHECK: arith.addf %score,
// CHECK-NOT: mask {
// FINITE-LABEL: func.func @added
// FINITE: scale(%{{.*}} : f32) mask {
// FINITE: arith.cmpi sle, %kv, %q : i64
// FINITE-NOT: arith.addf

// Causal, as an upper triangle of -inf that is added.
func.func @added(%q: !t, %k: !t, %v: !t) -> !t {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %scores = linalg.generic {indexing_maps = [#pair, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots : !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %hidden = arith.cmpi sgt, %j, %i : index
    %x = arith.select %hidden, %least, %zero : f32
    %half = arith.constant 0.5 : f32
    %y = arith.mulf %a, %half : f32
    %m = arith.addf %y, %x : f32
    linalg.yield %m : f32
  } -> !s
  %probs = linalg.softmax dimension(1) ins(%scores : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}
