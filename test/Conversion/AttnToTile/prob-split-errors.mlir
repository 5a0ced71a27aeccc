// RUN: attnjit-opt %s --attn-to-tile=split-keys=true --verify-diagnostics

!view = memref<?x?x?x64xf32>

func.func @two_passes(%q: !view, %scale: f32) {
  // expected-error @below {{prob: it is not proportional to p, so that it needs two passes over the keys; expected a program whose keys are not cut into parts}}
  attn.forward ins(%q, %q, %q : !view, !view, !view) outs(%q : !view) scale(%scale : f32)
      config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
      prob {
      ^bb0(%p: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %w = math.exp %p : f32
        attn.yield %w : f32
      }
  return
}
