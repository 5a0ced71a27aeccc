// RUN: attnjit-opt %s --split-input-file --verify-diagnostics

!t = tensor<1x4x8x16xf32>

func.func @mixed(%q: !t, %k: memref<1x4x8x16xf32>) {
  // expected-error @below {{expected tensors only, as q is one, got 'memref<1x4x8x16xf32>'}}
  %0 = attn.attention ins(%q, %k, %q : !t, memref<1x4x8x16xf32>, !t) outs(%q : !t) -> !t
  return
}

// -----

!t = tensor<1x4x8x16xf32>

func.func @no_result(%q: !t) {
  // expected-error @below {{expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%q : !t)
  return
}

// -----

!t = tensor<1x4x8x16xf32>

func.func @heads(%q: !t, %k: tensor<1x3x8x16xf32>) {
  // expected-error @below {{operand q, dimension 1: expected a multiple of the 3 heads of k, got 4}}
  %0 = attn.attention ins(%q, %k, %k : !t, tensor<1x3x8x16xf32>, tensor<1x3x8x16xf32>) outs(%q : !t) -> !t
  return
}

// -----

!t = tensor<3x4x8x16xf32>

func.func @batch(%q: !t, %k: tensor<2x4x8x16xf32>) {
  // expected-error @below {{operand k, dimension 0: expected 3 as dimension 0 of q, got 2}}
  %0 = attn.attention ins(%q, %k, %k : !t, tensor<2x4x8x16xf32>, tensor<2x4x8x16xf32>) outs(%q : !t) -> !t
  return
}

// -----

!t = tensor<1x4x8x16xf32>

func.func @lse_type(%q: !t, %l: tensor<1x4x8xf64>) {
  // expected-error @below {{operand lse: expected element type 'f32', got 'f64'}}
  %0:2 = attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%q, %l : !t, tensor<1x4x8xf64>) -> !t, tensor<1x4x8xf64>
  return
}

// -----

!t = tensor<1x4x8x16xf32>

func.func @two_offsets(%q: !t, %i: index) {
  // expected-error @below {{offsets: expected none or three (batch, head, query), got 2}}
  %0 = attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%q : !t) offsets(%i, %i) -> !t
  return
}

// -----

!t = tensor<1x4x8x16xf32>

func.func @narrow_region(%q: !t) {
  // expected-error @below {{mask region argument 0: expected 'i64', got 'i32'}}
  %0 = attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%q : !t)
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32):
        %m = arith.cmpi sle, %j, %i : i32
        attn.yield %m : i1
      } -> !t
  return
}
