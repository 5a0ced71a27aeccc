// Sizes that nobody knows yet, and a number from outside: queries stand behind those of a cache.
//
// RUN: attnjit-opt %s --raise-linalg-to-attn --canonicalize | FileCheck %s
// CHECK-LABEL: func.func @dyn
// CHECK: attn.attention ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>, tensor<?x?x?x64xf32>) {{.*}} scalars(%{{.*}} : i64) mask {
// CHECK: ^bb0(%b: i64, %h: i64, %q: i64, %kv: i64, %[[PAST:.*]]: i64):
// CHECK: %[[POSITION:.*]] = arith.addi %q, %[[PAST]] : i64
// CHECK: arith.cmpi sle, %kv, %[[POSITION]] : i64
// CHECK-NOT: linalg

!q = tensor<?x?x?x64xf32>
!s = tensor<?x?x?x?xf32>
func.func @dyn(%q: !q, %k: !q, %v: !q, %s: !s, %o: !q, %past: i64) -> !q {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %z1 = linalg.fill ins(%zero : f32) outs(%s : !s) -> !s
  %dots = linalg.generic {indexing_maps = [affine_map<(a, b, c, d, e) -> (a, b, c, e)>, affine_map<(a, b, c, d, e) -> (a, b, d, e)>, affine_map<(a, b, c, d, e) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%q, %k : !q, !q) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %m = arith.mulf %a, %b : f32
    %x = arith.addf %c, %m : f32
    linalg.yield %x : f32
  } -> !s
  %masked = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%dots : !s) outs(%s : !s) {
  ^bb0(%a: f32, %c: f32):
    %i = linalg.index 2 : index
    %j = linalg.index 3 : index
    %i64 = arith.index_cast %i : index to i64
    %j64 = arith.index_cast %j : index to i64
    %p = arith.addi %i64, %past : i64
    %ok = arith.cmpi sle, %j64, %p : i64
    %m = arith.select %ok, %a, %least : f32
    linalg.yield %m : f32
  } -> !s
  %p = linalg.softmax dimension(3) ins(%masked : !s) outs(%s : !s) -> !s
  %z2 = linalg.fill ins(%zero : f32) outs(%o : !q) -> !q
  %r = linalg.generic {indexing_maps = [affine_map<(a, b, c, d, e) -> (a, b, c, e)>, affine_map<(a, b, c, d, e) -> (a, b, e, d)>, affine_map<(a, b, c, d, e) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%p, %v : !s, !q) outs(%z2 : !q) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %m = arith.mulf %a, %b : f32
    %x = arith.addf %c, %m : f32
    linalg.yield %x : f32
  } -> !q
  return %r : !q
}
