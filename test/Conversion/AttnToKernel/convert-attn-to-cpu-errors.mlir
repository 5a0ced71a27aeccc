// RUN: attnjit-opt %s --split-input-file --convert-attn-to-cpu --verify-diagnostics

!t = tensor<1x4x32x16xf32>

func.func @tensors(%q: !t) -> !t {
  // expected-error @below {{'attn.attention' op is on tensors; expected memrefs, which one-shot-bufferize makes of them}}
  %0 = attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%q : !t) -> !t
  return %0 : !t
}

// -----

!t = memref<1x4x32x16xf32>

func.func @no_formula(%q: !t, %o: !t) {
  attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%o : !t)
      mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64):
        // expected-error @below {{'arith.cmpi' has no counterpart among the operations of a formula}}
        %m = arith.cmpi ule, %j, %i : i64
        attn.yield %m : i1
      }
  return
}

// -----

!t = memref<1x4x32x16xf32>
!o = memref<1x4x32x16xf32, strided<[2048, 512, 1, 32]>>

func.func @columns_apart(%q: !t, %o: !o) {
  // expected-error @below {{operand out: expected a last stride of 1, got 32; write to a buffer of its own and copy}}
  attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%o : !o)
  return
}
