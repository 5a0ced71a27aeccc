// RUN: attnjit-opt %s --split-input-file --convert-attn-to-cpu | FileCheck %s
// RUN: attnjit-opt %s --split-input-file --convert-attn-to-cpu='pipeline=math vector-bits=512' | FileCheck %s --check-prefix=MATH

!t = memref<1x4x?x16xf32>

// Two equal ops share a launcher and a kernel, a third with another formula has its own. Sizes that types leave open are checked, and indices that
// nothing proves.
// CHECK-LABEL: func.func @three
// CHECK: call @attention(%{{.*}}) : (memref<1x4x?x16xf32>, memref<1x4x?x16xf32>, memref<1x4x?x16xf32>, memref<1x4x?x16xf32>) -> ()
// CHECK: call @attention(
// CHECK: call @[[OTHER:attention_[0-9]+]](
// CHECK: func.func private @attention(
// CHECK: cf.assert %{{.*}}, "attn.attention: the sizes of the operands do not agree"
// CHECK: cf.assert %{{.*}}, "attn.attention: sizes, offsets and integer scalars have to lie between -2^30 and 2^30"
// CHECK: scf.parallel
// CHECK: llvm.call @aligned_alloc
// CHECK: llvm.call @attention_kernel
// CHECK: llvm.call @free
// CHECK-NOT: cf.assert
// CHECK: llvm.func internal @attention_kernel(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr) attributes {no_inline}
// CHECK: vector<8xf32>
// CHECK: func.func private @[[OTHER]](
// CHECK: scf.parallel
// CHECK: cf.assert %{{.*}}, "attn.attention: a captured tensor is indexed out of range"
// MATH-LABEL: func.func @three
// MATH: llvm.func internal @attention_kernel
// MATH: vector<16xf32>
func.func @three(%q: !t, %o: !t, %c: memref<?xf32>) {
  attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%o : !t)
  attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%o : !t)
  attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%o : !t) captures(%c : memref<?xf32>)
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %d: memref<?xf32>):
        %0 = attn.load %d[%j] : memref<?xf32>, i64 -> f32
        %1 = arith.addf %s, %0 : f32
        attn.yield %1 : f32
      }
  return
}

// -----

!t = memref<1x4x32x16xf32>

// Static sizes prove the index in bounds.
// CHECK-LABEL: func.func @proved
// CHECK-NOT: indexed out of range
func.func @proved(%q: !t, %o: !t, %c: memref<32xf32>) {
  attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%o : !t) captures(%c : memref<32xf32>)
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %d: memref<32xf32>):
        %0 = attn.load %d[%j] : memref<32xf32>, i64 -> f32
        %1 = arith.addf %s, %0 : f32
        attn.yield %1 : f32
      }
  return
}
