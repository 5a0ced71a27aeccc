// Every operand at once, against the definition in f64: sizes known when it runs, rows that lie apart, a batch that all share, grouped heads, sinks, lse and max, captured
// numbers and tensors, offsets, a prob_mod that takes two passes. main counts the numbers that agree: 2 x 4 x 9 rows of 8 columns, lse and max.
//
// DEFINE: %{run} = mlir-runner -e main --entry-point-result=i32 --shared-libs=%{mlir_runner_utils},%{mlir_c_runner_utils}
// RUN: attnjit-opt %s --attn-lower-to-llvm | %{run} | FileCheck %s
// RUN: attnjit-opt %s --attn-lower-to-llvm=pipeline=math | %{run} | FileCheck %s
// RUN: attnjit-opt %s --attn-lower-to-llvm=pipeline=flash | %{run} | FileCheck %s
// RUN: attnjit-opt %s --attn-lower-to-llvm=pipeline=efficient | %{run} | FileCheck %s
// CHECK: {{^}}720{{$}}

!q = memref<?x?x?x8xf32, strided<[?, ?, ?, 1], offset: ?>>
!k = memref<1x?x?x8xf32>
!o = memref<?x?x?x8xf32>
!r = memref<?x?x?xf32>

func.func private @fused(%q: !q, %k: !k, %v: !k, %o: !o, %l: !r, %m: !r, %sinks: memref<?xf32>, %bias: memref<?x?xf16>, %cap: f64, %window: i32, %first: index) {
  %scale = arith.constant 0.5 : f32
  %c0 = arith.constant 0 : index
  attn.attention ins(%q, %k, %v : !q, !k, !k) outs(%o, %l, %m : !o, !r, !r) scale(%scale : f32) sinks(%sinks : memref<?xf32>)
      captures(%bias : memref<?x?xf16>) scalars(%cap, %window : f64, i32) offsets(%c0, %c0, %first)
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %c: memref<?x?xf16>, %n: f32, %w: i64):
        %0 = attn.load %c[%h, %j] : memref<?x?xf16>, i64, i64 -> f32
        %1 = arith.addf %s, %0 : f32
        %2 = arith.divf %1, %n : f32
        %3 = math.tanh %2 : f32
        %4 = arith.mulf %3, %n : f32
        attn.yield %4 : f32
      } mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %c: memref<?x?xf16>, %n: f32, %w: i64):
        %0 = arith.cmpi sle, %j, %i : i64
        %1 = arith.subi %i, %j : i64
        %2 = arith.cmpi slt, %1, %w : i64
        %3 = arith.andi %0, %2 : i1
        attn.yield %3 : i1
      } prob {
      ^bb0(%p: f32, %b: i64, %h: i64, %i: i64, %j: i64, %c: memref<?x?xf16>, %n: f32, %w: i64):
        %0 = math.sqrt %p : f32
        attn.yield %0 : f32
      }
  return
}

// Score of a visible pair, or -inf.
func.func private @score(%q: !q, %k: !k, %bias: memref<?x?xf16>, %cap: f64, %window: i32, %first: index, %b: index, %h: index, %i: index, %j: index) -> f64 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c8 = arith.constant 8 : index
  %zero = arith.constant 0.0 : f64
  %least = arith.constant 0xFFF0000000000000 : f64
  %g = arith.divui %h, %c2 : index
  %dot = scf.for %d = %c0 to %c8 step %c1 iter_args(%sum = %zero) -> f64 {
    %x = memref.load %q[%b, %h, %i, %d] : !q
    %y = memref.load %k[%c0, %g, %j, %d] : !k
    %x2 = arith.extf %x : f32 to f64
    %y2 = arith.extf %y : f32 to f64
    %m = arith.mulf %x2, %y2 : f64
    %n = arith.addf %sum, %m : f64
    scf.yield %n : f64
  }
  %half = arith.constant 0.5 : f64
  %s0 = arith.mulf %dot, %half : f64
  %t = memref.load %bias[%h, %j] : memref<?x?xf16>
  %t2 = arith.extf %t : f16 to f64
  %s1 = arith.addf %s0, %t2 : f64
  %s2 = arith.divf %s1, %cap : f64
  %s3 = math.tanh %s2 : f64
  %s4 = arith.mulf %s3, %cap : f64
  %p = arith.addi %i, %first : index
  %w = arith.index_cast %window : i32 to index
  %past = arith.cmpi sle, %j, %p : index
  %distance = arith.subi %p, %j : index
  %near = arith.cmpi slt, %distance, %w : index
  %seen = arith.andi %past, %near : i1
  %u = arith.select %seen, %s4, %least : f64
  return %u : f64
}

func.func private @agree(%got: f32, %expected: f64) -> i32 {
  %g = arith.extf %got : f32 to f64
  %d = arith.subf %g, %expected : f64
  %e = math.absf %d : f64
  %tolerance = arith.constant 2.0e-5 : f64
  %ok = arith.cmpf olt, %e, %tolerance : f64
  %n = arith.extui %ok : i1 to i32
  return %n : i32
}

func.func private @fill(%x: memref<?xf32>, %seed: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %x, %c0 : memref<?xf32>
  scf.for %i = %c0 to %n step %c1 {
    %c2 = arith.constant 7919 : index
    %c3 = arith.constant 1009 : index
    %a = arith.addi %i, %seed : index
    %b = arith.muli %a, %c2 : index
    %r = arith.remui %b, %c3 : index
    %j = arith.index_cast %r : index to i64
    %f = arith.sitofp %j : i64 to f32
    %half = arith.constant 504.5 : f32
    %y = arith.divf %f, %half : f32
    %one = arith.constant 1.0 : f32
    %z = arith.subf %y, %one : f32
    memref.store %z, %x[%i] : memref<?xf32>
  }
  return
}

func.func @main() -> i32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %c9 = arith.constant 9 : index
  %c20 = arith.constant 20 : index
  %zero = arith.constant 0.0 : f64
  %least = arith.constant 0xFFF0000000000000 : f64
  %cap = arith.constant 3.0 : f64
  %window = arith.constant 7 : i32

  // Queries are every other row of a larger buffer.
  %qAll = memref.alloc() : memref<2x4x18x8xf32>
  %kAll = memref.alloc() : memref<1x2x20x8xf32>
  %vAll = memref.alloc() : memref<1x2x20x8xf32>
  %sAll = memref.alloc() : memref<4xf32>
  %tAll = memref.alloc() : memref<4x20xf16>
  %q1 = memref.collapse_shape %qAll [[0, 1, 2, 3]] : memref<2x4x18x8xf32> into memref<1152xf32>
  %k1 = memref.collapse_shape %kAll [[0, 1, 2, 3]] : memref<1x2x20x8xf32> into memref<320xf32>
  %v1 = memref.collapse_shape %vAll [[0, 1, 2, 3]] : memref<1x2x20x8xf32> into memref<320xf32>
  %qf = memref.cast %q1 : memref<1152xf32> to memref<?xf32>
  %kf = memref.cast %k1 : memref<320xf32> to memref<?xf32>
  %vf = memref.cast %v1 : memref<320xf32> to memref<?xf32>
  %sinks = memref.cast %sAll : memref<4xf32> to memref<?xf32>
  call @fill(%qf, %c1) : (memref<?xf32>, index) -> ()
  call @fill(%kf, %c8) : (memref<?xf32>, index) -> ()
  call @fill(%vf, %c20) : (memref<?xf32>, index) -> ()
  call @fill(%sinks, %c9) : (memref<?xf32>, index) -> ()
  scf.for %h = %c0 to %c4 step %c1 {
    scf.for %j = %c0 to %c20 step %c1 {
      %a = memref.load %kAll[%c0, %c1, %j, %h] : memref<1x2x20x8xf32>
      %b = arith.truncf %a : f32 to f16
      memref.store %b, %tAll[%h, %j] : memref<4x20xf16>
    }
  }
  %qRows = memref.subview %qAll[0, 0, 1, 0] [2, 4, 9, 8] [1, 1, 2, 1] : memref<2x4x18x8xf32> to memref<2x4x9x8xf32, strided<[576, 144, 16, 1], offset: 8>>
  %q = memref.cast %qRows : memref<2x4x9x8xf32, strided<[576, 144, 16, 1], offset: 8>> to !q
  %k = memref.cast %kAll : memref<1x2x20x8xf32> to !k
  %v = memref.cast %vAll : memref<1x2x20x8xf32> to !k
  %bias = memref.cast %tAll : memref<4x20xf16> to memref<?x?xf16>
  %o = memref.alloc(%c2, %c4, %c9) : !o
  %l = memref.alloc(%c2, %c4, %c9) : !r
  %m = memref.alloc(%c2, %c4, %c9) : !r
  call @fused(%q, %k, %v, %o, %l, %m, %sinks, %bias, %cap, %window, %c4)
      : (!q, !k, !k, !o, !r, !r, memref<?xf32>, memref<?x?xf16>, f64, i32, index) -> ()

  %none = arith.constant 0 : i32
  %right = scf.for %b = %c0 to %c2 step %c1 iter_args(%nb = %none) -> i32 {
    %inBatch = scf.for %h = %c0 to %c4 step %c1 iter_args(%nh = %nb) -> i32 {
      %g = arith.divui %h, %c2 : index
      %inHead = scf.for %i = %c0 to %c9 step %c1 iter_args(%ni = %nh) -> i32 {
        %max = scf.for %j = %c0 to %c20 step %c1 iter_args(%x = %least) -> f64 {
          %u = func.call @score(%q, %k, %bias, %cap, %window, %c4, %b, %h, %i, %j) : (!q, !k, memref<?x?xf16>, f64, i32, index, index, index, index, index) -> f64
          %y = arith.maximumf %x, %u : f64
          scf.yield %y : f64
        }
        %sink0 = memref.load %sinks[%h] : memref<?xf32>
        %sink = arith.extf %sink0 : f32 to f64
        %first = math.exp %sink : f64
        %sum = scf.for %j = %c0 to %c20 step %c1 iter_args(%x = %first) -> f64 {
          %u = func.call @score(%q, %k, %bias, %cap, %window, %c4, %b, %h, %i, %j) : (!q, !k, memref<?x?xf16>, f64, i32, index, index, index, index, index) -> f64
          %e = math.exp %u : f64
          %y = arith.addf %x, %e : f64
          scf.yield %y : f64
        }
        %lse = math.log %sum : f64
        %gotLse = memref.load %l[%b, %h, %i] : !r
        %gotMax = memref.load %m[%b, %h, %i] : !r
        %n0 = func.call @agree(%gotLse, %lse) : (f32, f64) -> i32
        %n1 = func.call @agree(%gotMax, %max) : (f32, f64) -> i32
        %n2 = arith.addi %n0, %n1 : i32
        %n3 = arith.addi %ni, %n2 : i32
        %inRow = scf.for %d = %c0 to %c8 step %c1 iter_args(%nd = %n3) -> i32 {
          %out = scf.for %j = %c0 to %c20 step %c1 iter_args(%x = %zero) -> f64 {
            %u = func.call @score(%q, %k, %bias, %cap, %window, %c4, %b, %h, %i, %j) : (!q, !k, memref<?x?xf16>, f64, i32, index, index, index, index, index) -> f64
            %e = math.exp %u : f64
            %p = arith.divf %e, %sum : f64
            %w = math.sqrt %p : f64
            %y0 = memref.load %v[%c0, %g, %j, %d] : !k
            %y1 = arith.extf %y0 : f32 to f64
            %y2 = arith.mulf %w, %y1 : f64
            %y = arith.addf %x, %y2 : f64
            scf.yield %y : f64
          }
          %got = memref.load %o[%b, %h, %i, %d] : !o
          %n4 = func.call @agree(%got, %out) : (f32, f64) -> i32
          %n5 = arith.addi %nd, %n4 : i32
          scf.yield %n5 : i32
        }
        scf.yield %inRow : i32
      }
      scf.yield %inHead : i32
    }
    scf.yield %inBatch : i32
  }
  return %right : i32
}
