// RUN: attnjit-opt %s --attn-to-tile --split-input-file --verify-diagnostics

!view = memref<?x?x?x64xf32>

func.func @company(%q: !view, %scale: f32) {
  %0 = arith.constant 1.0 : f32
  // expected-error @below {{expected the function to hold only this attn.forward and a return without values; outline it into a function of its own first}}
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
  return
}

// -----

!view = memref<?x?x?x64xf32>

func.func @result(%q: !view, %scale: f32) -> f32 {
  // expected-error @below {{expected the function to hold only this attn.forward and a return without values}}
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
  return %scale : f32
}

// -----

!view = memref<?x?x?x64xf32>

func.func @capture_is_operand(%q: !view, %scale: f32) {
  // expected-error @below {{a captured value is also an operand of attention; expected an argument of its own}}
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32) captures(%q : !view)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
  return
}

// -----

!view = memref<?x?x?x64xf32>

func.func @strange_argument(%q: !view, %scale: f32, %t: tensor<4xf32>) {
  // expected-error @below {{argument 2 of the function: expected a memref or a number, got 'tensor<4xf32>'}}
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
  return
}

// -----

!view = memref<?x?x?x64xf32>

func.func @nested(%q: !view, %scale: f32, %c: i1) {
  scf.if %c {
    // expected-error @below {{expected attn.forward directly in a func.func, got 'scf.if'}}
    attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32)
        config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
  }
  return
}
