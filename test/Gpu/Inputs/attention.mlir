// What a compiler for GPUs has before convert-attn-to-gpu: attention on memrefs of any size, once on bf16 and once on f32, with a captured tensor,
// numbers, and the place of the tile within the whole. LaunchModule.cpp launches what comes out and knows these formulas.

!q16 = memref<?x?x?x64xbf16>
!q32 = memref<?x?x?x24xf32>
!row = memref<?x?x?xf32>

func.func @of_bf16(%q: !q16, %k: !q16, %v: !q16, %o: !q16, %l: !row, %slope: memref<?xf32>, %gain: f32, %window: i64, %b0: index, %h0: index, %q0: index) {
  attn.attention ins(%q, %k, %v : !q16, !q16, !q16) outs(%o, %l : !q16, !row) captures(%slope : memref<?xf32>) scalars(%gain, %window : f32, i64)
      offsets(%b0, %h0, %q0)
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %c: memref<?xf32>, %g: f32, %w: i64):
        %m = attn.load %c[%h] : memref<?xf32>, i64 -> f32
        %d = arith.subi %j, %i : i64
        %f = arith.sitofp %d : i64 to f32
        %x = arith.mulf %m, %f : f32
        %y = arith.mulf %s, %g : f32
        %t = arith.addf %y, %x : f32
        attn.yield %t : f32
      } mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %c: memref<?xf32>, %g: f32, %w: i64):
        %d = arith.subi %i, %j : i64
        %zero = arith.constant 0 : i64
        %past = arith.cmpi sge, %d, %zero : i64
        %near = arith.cmpi slt, %d, %w : i64
        %both = arith.andi %past, %near : i1
        attn.yield %both : i1
      }
  return
}

func.func @of_f32(%q: !q32, %k: !q32, %v: !q32, %o: !q32, %l: !row, %slope: memref<?xf32>, %gain: f32, %window: i64, %b0: index, %h0: index, %q0: index) {
  attn.attention ins(%q, %k, %v : !q32, !q32, !q32) outs(%o, %l : !q32, !row) captures(%slope : memref<?xf32>) scalars(%gain, %window : f32, i64)
      offsets(%b0, %h0, %q0)
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %c: memref<?xf32>, %g: f32, %w: i64):
        %m = attn.load %c[%h] : memref<?xf32>, i64 -> f32
        %d = arith.subi %j, %i : i64
        %f = arith.sitofp %d : i64 to f32
        %x = arith.mulf %m, %f : f32
        %y = arith.mulf %s, %g : f32
        %t = arith.addf %y, %x : f32
        attn.yield %t : f32
      } mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %c: memref<?xf32>, %g: f32, %w: i64):
        %d = arith.subi %i, %j : i64
        %zero = arith.constant 0 : i64
        %past = arith.cmpi sge, %d, %zero : i64
        %near = arith.cmpi slt, %d, %w : i64
        %both = arith.andi %past, %near : i1
        attn.yield %both : i1
      }
  return
}
