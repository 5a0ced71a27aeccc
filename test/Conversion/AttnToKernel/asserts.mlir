// What types leave open is checked when the module runs: an index past a captured tensor stops it, as do outputs of another length; with all in order it goes on.
//
// DEFINE: %{run} = mlir-runner --entry-point-result=void --shared-libs=%{mlir_runner_utils},%{mlir_c_runner_utils}
// RUN: attnjit-opt %s --attn-lower-to-llvm > %t.mlir
// RUN: %{run} -e inside %t.mlir
// RUN: not --crash %{run} -e outside %t.mlir
// RUN: not --crash %{run} -e lengths %t.mlir

!t = memref<?x?x?x8xf32>

func.func private @attend(%q: !t, %k: !t, %o: !t, %c: memref<?xf32>) {
  attn.attention ins(%q, %k, %k : !t, !t, !t) outs(%o : !t) captures(%c : memref<?xf32>)
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %d: memref<?xf32>):
        %0 = attn.load %d[%j] : memref<?xf32>, i64 -> f32
        %1 = arith.addf %s, %0 : f32
        attn.yield %1 : f32
      }
  return
}

func.func private @run(%queries: index, %outs: index, %keys: index, %table: index) {
  %c1 = arith.constant 1 : index
  %q = memref.alloc(%c1, %c1, %queries) : !t
  %o = memref.alloc(%c1, %c1, %outs) : !t
  %k = memref.alloc(%c1, %c1, %keys) : !t
  %c = memref.alloc(%table) : memref<?xf32>
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%q : !t)
  linalg.fill ins(%zero : f32) outs(%k : !t)
  linalg.fill ins(%zero : f32) outs(%c : memref<?xf32>)
  call @attend(%q, %k, %o, %c) : (!t, !t, !t, memref<?xf32>) -> ()
  return
}

func.func @inside() {
  %c9 = arith.constant 9 : index
  call @run(%c9, %c9, %c9, %c9) : (index, index, index, index) -> ()
  return
}

func.func @outside() {
  %c9 = arith.constant 9 : index
  %c8 = arith.constant 8 : index
  call @run(%c9, %c9, %c9, %c8) : (index, index, index, index) -> ()
  return
}

func.func @lengths() {
  %c9 = arith.constant 9 : index
  %c8 = arith.constant 8 : index
  call @run(%c9, %c8, %c9, %c9) : (index, index, index, index) -> ()
  return
}
