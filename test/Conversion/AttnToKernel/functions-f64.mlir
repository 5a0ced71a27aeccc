// Functions of f64 are inline here: nobody fills in KernelArgs::functions. With one key of one number, lse is the score, so it says what a formula computes;
// main counts the rows that agree with the same functions in the module around it.
//
// DEFINE: %{run} = mlir-runner -e main --entry-point-result=i32 --shared-libs=%{mlir_runner_utils},%{mlir_c_runner_utils}
// RUN: attnjit-opt %s --attn-lower-to-llvm=pipeline=flash | %{run} | FileCheck %s
// RUN: attnjit-opt %s --attn-lower-to-llvm=pipeline=math | %{run} | FileCheck %s
// CHECK: {{^}}100{{$}}

!q = memref<1x1x100x1xf64>
!k = memref<1x1x1x1xf64>
!r = memref<1x1x100xf64>

func.func private @fused(%q: !q, %k: !k, %o: !q, %l: !r) {
  attn.attention ins(%q, %k, %k : !q, !k, !k) outs(%o, %l : !q, !r)
      score {
      ^bb0(%x: f64, %b: i64, %h: i64, %i: i64, %j: i64):
        %one = arith.constant 1.0 : f64
        %power = arith.constant 1.5 : f64
        %0 = math.absf %x : f64
        %1 = arith.addf %0, %one : f64
        %2 = math.log %1 : f64
        %3 = math.powf %1, %power : f64
        %4 = math.tanh %x : f64
        %5 = math.sin %x : f64
        %6 = math.exp %5 : f64
        %7 = arith.addf %2, %3 : f64
        %8 = arith.addf %4, %6 : f64
        %9 = arith.mulf %7, %8 : f64
        attn.yield %9 : f64
      }
  return
}

func.func @main() -> i32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c100 = arith.constant 100 : index
  %one = arith.constant 1.0 : f64
  %power = arith.constant 1.5 : f64
  %none = arith.constant 0 : i32
  %q = memref.alloc() : !q
  %k = memref.alloc() : !k
  %o = memref.alloc() : !q
  %l = memref.alloc() : !r
  memref.store %one, %k[%c0, %c0, %c0, %c0] : !k
  scf.for %i = %c0 to %c100 step %c1 {
    %n = arith.index_cast %i : index to i64
    %f = arith.sitofp %n : i64 to f64
    %fifty = arith.constant 49.5 : f64
    %a = arith.subf %f, %fifty : f64
    %tenth = arith.constant 0.1 : f64
    %x = arith.mulf %a, %tenth : f64
    memref.store %x, %q[%c0, %c0, %i, %c0] : !q
  }
  call @fused(%q, %k, %o, %l) : (!q, !k, !q, !r) -> ()
  %right = scf.for %i = %c0 to %c100 step %c1 iter_args(%count = %none) -> i32 {
    %x = memref.load %q[%c0, %c0, %i, %c0] : !q
    %0 = math.absf %x : f64
    %1 = arith.addf %0, %one : f64
    %2 = math.log %1 : f64
    %3 = math.powf %1, %power : f64
    %4 = math.tanh %x : f64
    %5 = math.sin %x : f64
    %6 = math.exp %5 : f64
    %7 = arith.addf %2, %3 : f64
    %8 = arith.addf %4, %6 : f64
    %9 = arith.mulf %7, %8 : f64
    %got = memref.load %l[%c0, %c0, %i] : !r
    %d = arith.subf %got, %9 : f64
    %e = math.absf %d : f64
    %tolerance = arith.constant 1.0e-12 : f64
    %ok = arith.cmpf olt, %e, %tolerance : f64
    %n = arith.extui %ok : i1 to i32
    %next = arith.addi %count, %n : i32
    scf.yield %next : i32
  }
  return %right : i32
}
