// Why mma.sync does not take a program: one reason each.
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-gpu=chip=sm_86 --split-input-file --verify-diagnostics

#any = strided<[?, ?, ?, 1], offset: ?>
func.func @single(%q: memref<?x?x?x64xf32, #any>, %k: memref<?x?x?x64xf32, #any>, %v: memref<?x?x?x64xf32, #any>,
                  %out: memref<?x?x?x64xf32, #any>, %scale: f32) {
  // expected-error @below {{'tile.kernel' op cannot be scheduled for mma.sync: q is f32; tensor cores of sm_86 multiply bf16 or f16}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32, #any>, memref<?x?x?x64xf32, #any>, memref<?x?x?x64xf32, #any>)
      outs(%out : memref<?x?x?x64xf32, #any>) scale(%scale : f32)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

#any = strided<[?, ?, ?, 1], offset: ?>
func.func @mixed(%q: memref<?x?x?x64xbf16, #any>, %k: memref<?x?x?x64xf16, #any>, %v: memref<?x?x?x64xf16, #any>,
                 %out: memref<?x?x?x64xbf16, #any>, %scale: f32) {
  // expected-error @below {{k and v are f16 but q is bf16; tensor cores need one type}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xbf16, #any>, memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>)
      outs(%out : memref<?x?x?x64xbf16, #any>) scale(%scale : f32)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

#any = strided<[?, ?, ?, 1], offset: ?>
func.func @wide_head(%q: memref<?x?x?x264xf16, #any>, %k: memref<?x?x?x264xf16, #any>, %v: memref<?x?x?x64xf16, #any>,
                    %out: memref<?x?x?x64xf16, #any>, %scale: f32) {
  // expected-error @below {{D is 264; registers of tensor cores' fragments end at 256}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x264xf16, #any>, memref<?x?x?x264xf16, #any>, memref<?x?x?x64xf16, #any>)
      outs(%out : memref<?x?x?x64xf16, #any>) scale(%scale : f32)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

#any = strided<[?, ?, ?, 1], offset: ?>
func.func @rows(%q: memref<?x?x?x64xf16, #any>, %k: memref<?x?x?x64xf16, #any>, %v: memref<?x?x?x64xf16, #any>,
                %out: memref<?x?x?x64xf16, #any>, %scale: f32) {
  // expected-error @below {{tiles of 24 rows; expected a multiple of 16 from 16 to 128}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>)
      outs(%out : memref<?x?x?x64xf16, #any>) scale(%scale : f32)
      config <tile_rows = 24, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

#any = strided<[?, ?, ?, 1], offset: ?>
func.func @too_large(%q: memref<?x?x?x256xf16, #any>, %k: memref<?x?x?x256xf16, #any>, %v: memref<?x?x?x256xf16, #any>,
                     %out: memref<?x?x?x256xf16, #any>, %scale: f32) {
  // expected-error @below {{tiles of 128 x 128 at D 256, Dv 256 take 202752 bytes of shared memory; a block of sm_86 has 101376}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x256xf16, #any>, memref<?x?x?x256xf16, #any>, memref<?x?x?x256xf16, #any>)
      outs(%out : memref<?x?x?x256xf16, #any>) scale(%scale : f32)
      config <tile_rows = 128, tile_cols = 128, checked_indices = false, narrow = true>
  return
}

// -----

#any = strided<[?, ?, ?, 1], offset: ?>
func.func @foreign(%q: memref<?x?x?x64xf16, #any>, %k: memref<?x?x?x64xf16, #any>, %v: memref<?x?x?x64xf16, #any>,
                %out: memref<?x?x?x64xf16, #any>, %scale: f32) {
  // expected-error @below {{score_mod uses arith.ceildivui, which has no GPU form}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>)
      outs(%out : memref<?x?x?x64xf16, #any>) scale(%scale : f32)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %blocks = arith.ceildivui %i, %j : i32
        %bias = arith.sitofp %blocks : i32 to f32
        %t = arith.addf %s, %bias : f32
        attn.yield %t : f32
      }
  return
}

// -----

#any = strided<[?, ?, ?, 1], offset: ?>
func.func @two_passes(%q: memref<?x?x?x64xf16, #any>, %k: memref<?x?x?x64xf16, #any>, %v: memref<?x?x?x64xf16, #any>,
                      %out: memref<?x?x?x64xf16, #any>, %scale: f32) {
  // expected-error @below {{prob_mod is not proportional to p, so it takes two passes over the keys; this schedule has one}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>, memref<?x?x?x64xf16, #any>)
      outs(%out : memref<?x?x?x64xf16, #any>) scale(%scale : f32)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      prob {
      ^bb0(%p: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %w = arith.mulf %p, %p : f32
        attn.yield %w : f32
      }
  return
}
