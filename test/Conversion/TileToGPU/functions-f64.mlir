// A formula of another compiler may compute in f64. On a GPU its functions are inline in every schedule: the CPU's table of functions holds
// addresses of the host.
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-gpu=chip=sm_80 | FileCheck %s
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-gpu=chip=sm_90a | FileCheck %s
// RUN: attnjit-opt %s --attn-to-tile=split-keys=true --convert-tile-to-gpu=chip=sm_80 | FileCheck %s
// RUN: attnjit-opt %s --attn-to-tile '--convert-tile-to-gpu=chip=sm_80 math=true' | FileCheck %s

!view = memref<?x?x?x64xf16, strided<[?, ?, ?, 1], offset: ?>>

// CHECK-LABEL: llvm.func @sine
// CHECK-NOT: llvm.call %
// CHECK: llvm.return
func.func @sine(%q: !view, %k: !view, %v: !view, %out: !view, %scale: f32) {
  attn.forward ins(%q, %k, %v : !view, !view, !view) outs(%out : !view) scale(%scale : f32)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %wide = arith.extf %s : f32 to f64
        %sine = math.sin %wide : f64
        %t = arith.truncf %sine : f64 to f32
        attn.yield %t : f32
      }
  return
}
