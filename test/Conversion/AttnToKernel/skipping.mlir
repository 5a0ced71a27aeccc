// Blocks of keys that a mask hides are left out in a foreign module as well: the region is read back, and the kernel asks the mask's bounds, first for 4096
// keys, then for each block. Without a mask nothing is asked.
//
// RUN: attnjit-opt %s --convert-attn-to-cpu | FileCheck %s

!t = memref<1x2x512x64xf32>

// CHECK-LABEL: llvm.func internal @attention_kernel(
// CHECK: %[[CHUNK:.*]] = arith.constant 4096 : i64
// CHECK: scf.for %[[BEGIN:.*]] = %{{.*}} to %{{.*}} step %[[CHUNK]]
// CHECK: %[[FIRST:.*]] = arith.extsi %{{.*}} : i32 to i64
// CHECK: %[[LAST_QUERY:.*]] = arith.extsi
// CHECK: %[[SEEN:.*]] = arith.cmpi sle, %[[FIRST]], %[[LAST_QUERY]] : i64
// CHECK: %[[ASKED:.*]] = arith.ori %{{.*}}, %[[SEEN]] : i1
// CHECK-NEXT: scf.if %[[ASKED]] {
// CHECK: %[[BLOCK:.*]] = arith.constant 128 : i64
// CHECK-NEXT: scf.for %{{.*}} = %[[BEGIN]] to %{{.*}} step %[[BLOCK]]
// CHECK: arith.cmpi sle
// CHECK: scf.if
func.func @causal(%q: !t, %k: !t, %v: !t, %o: !t) {
  attn.attention ins(%q, %k, %v : !t, !t, !t) outs(%o : !t) mask {
  ^bb0(%b: i64, %h: i64, %i: i64, %j: i64):
    %seen = arith.cmpi sge, %i, %j : i64
    attn.yield %seen : i1
  }
  return
}

// CHECK-LABEL: llvm.func internal @attention_kernel_1(
// CHECK-NOT: arith.constant 4096 : i64
// CHECK: llvm.return
func.func @full(%q: !t, %k: !t, %v: !t, %o: !t) {
  attn.attention ins(%q, %k, %v : !t, !t, !t) outs(%o : !t)
  return
}
