// A layer of a transformer in somebody else's module: linalg.matmul before and after attention with 4 query heads on 2 kv heads, an ALiBi bias by a
// captured tensor and a causal mask. The same attention written out in linalg is the reference; main counts the numbers that agree, of 50 x 32.
//
// RUN: mlir-opt %s --load-dialect-plugin=%{plugin} --load-pass-plugin=%{plugin} --pass-pipeline='builtin.module(attn-lower-to-llvm)' \
// RUN:   | mlir-runner -e main --entry-point-result=i32 --shared-libs=%{mlir_runner_utils},%{mlir_c_runner_utils} | FileCheck %s
// RUN: attnjit-opt %s --attn-lower-to-llvm \
// RUN:   | mlir-runner -e main --entry-point-result=i32 --shared-libs=%{mlir_runner_utils},%{mlir_c_runner_utils} | FileCheck %s
// CHECK: {{^}}1600{{$}}
//
// In tiles of one head and 16 queries, the last of which has two, positions are those of the whole.
// RUN: mlir-opt %s --load-dialect-plugin=%{plugin} --load-pass-plugin=%{plugin} \
// RUN:     --pass-pipeline='builtin.module(transform-preload-library{transform-library-paths=%S/Inputs/tile_attention.mlir},transform-interpreter,attn-lower-to-llvm)' \
// RUN:   | mlir-runner -e main --entry-point-result=i32 --shared-libs=%{mlir_runner_utils},%{mlir_c_runner_utils} | FileCheck %s

//
// The reference is attention, too, and found out.
// RUN: attnjit-opt %s --raise-linalg-to-attn --canonicalize | FileCheck %s --check-prefix=RAISED
// RAISED-LABEL: func.func private @written_out
// RAISED-NOT: linalg
// RAISED: attn.attention ins({{.*}} : tensor<1x4x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>) {{.*}} captures(%{{.*}} : tensor<4xf32>) score {
// RAISED: } mask {

#rows = affine_map<(i, j) -> (i, j)>
#q = affine_map<(b, h, i, j, d) -> (b, h, i, d)>
#k = affine_map<(b, h, i, j, d) -> (b, h floordiv 2, j, d)>
#s = affine_map<(b, h, i, j, d) -> (b, h, i, j)>
#p = affine_map<(b, h, i, d, j) -> (b, h, i, j)>
#v = affine_map<(b, h, i, d, j) -> (b, h floordiv 2, j, d)>
#o = affine_map<(b, h, i, d, j) -> (b, h, i, d)>
#pair = affine_map<(b, h, i, j) -> (b, h, i, j)>
#row = affine_map<(b, h, i, j) -> (b, h, i)>
#head = affine_map<(b, h, i, j) -> (h)>

// Numbers between -1 and 1 that look like chance.
func.func private @numbers(%rows: index, %cols: index, %seed: index) -> tensor<?x?xf32> {
  %empty = tensor.empty(%rows, %cols) : tensor<?x?xf32>
  %0 = linalg.generic {indexing_maps = [#rows], iterator_types = ["parallel", "parallel"]} outs(%empty : tensor<?x?xf32>) {
  ^bb0(%out: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %c1 = arith.constant 7919 : index
    %c2 = arith.constant 104729 : index
    %c3 = arith.constant 1009 : index
    %a = arith.muli %i, %c1 : index
    %b = arith.muli %j, %c2 : index
    %s0 = arith.addi %a, %b : index
    %s1 = arith.addi %s0, %seed : index
    %r = arith.remui %s1, %c3 : index
    %n = arith.index_cast %r : index to i64
    %f = arith.sitofp %n : i64 to f32
    %half = arith.constant 504.5 : f32
    %x = arith.divf %f, %half : f32
    %one = arith.constant 1.0 : f32
    %y = arith.subf %x, %one : f32
    linalg.yield %y : f32
  } -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

func.func private @project(%x: tensor<50x32xf32>, %w: tensor<32x?xf32>) -> tensor<50x?xf32> {
  %c1 = arith.constant 1 : index
  %n = tensor.dim %w, %c1 : tensor<32x?xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty(%n) : tensor<50x?xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<50x?xf32>) -> tensor<50x?xf32>
  %0 = linalg.matmul ins(%x, %w : tensor<50x32xf32>, tensor<32x?xf32>) outs(%init : tensor<50x?xf32>) -> tensor<50x?xf32>
  return %0 : tensor<50x?xf32>
}

func.func private @attention_of_heads(%q: tensor<1x4x50x16xf32>, %k: tensor<1x2x50x16xf32>, %v: tensor<1x2x50x16xf32>, %slopes: tensor<4xf32>) -> tensor<1x4x50x16xf32> {
  %out = tensor.empty() : tensor<1x4x50x16xf32>
  %0 = attn.attention ins(%q, %k, %v : tensor<1x4x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>) outs(%out : tensor<1x4x50x16xf32>)
      captures(%slopes : tensor<4xf32>)
      score {
      ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %c: tensor<4xf32>):
        %m = attn.load %c[%h] : tensor<4xf32>, i64 -> f32
        %d = arith.subi %j, %i : i64
        %f = arith.sitofp %d : i64 to f32
        %x = arith.mulf %m, %f : f32
        %t = arith.addf %s, %x : f32
        attn.yield %t : f32
      } mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %c: tensor<4xf32>):
        %m = arith.cmpi sle, %j, %i : i64
        attn.yield %m : i1
      } -> tensor<1x4x50x16xf32>
  return %0 : tensor<1x4x50x16xf32>
}

func.func private @written_out(%q: tensor<1x4x50x16xf32>, %k: tensor<1x2x50x16xf32>, %v: tensor<1x2x50x16xf32>, %slopes: tensor<4xf32>) -> tensor<1x4x50x16xf32> {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %pairs = tensor.empty() : tensor<1x4x50x50xf32>
  %rows = tensor.empty() : tensor<1x4x50xf32>
  %outs = tensor.empty() : tensor<1x4x50x16xf32>
  %zeroPairs = linalg.fill ins(%zero : f32) outs(%pairs : tensor<1x4x50x50xf32>) -> tensor<1x4x50x50xf32>
  %dots = linalg.generic {indexing_maps = [#q, #k, #s], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%q, %k : tensor<1x4x50x16xf32>, tensor<1x2x50x16xf32>) outs(%zeroPairs : tensor<1x4x50x50xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %c, %m : f32
    linalg.yield %n : f32
  } -> tensor<1x4x50x50xf32>
  %scores = linalg.generic {indexing_maps = [#pair, #head, #pair], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%dots, %slopes : tensor<1x4x50x50xf32>, tensor<4xf32>) outs(%pairs : tensor<1x4x50x50xf32>) {
  ^bb0(%dot: f32, %slope: f32, %out: f32):
    %quarter = arith.constant 0.25 : f32
    %s = arith.mulf %dot, %quarter : f32
    %i = linalg.index 2 : index
    %j = linalg.index 3 : index
    %d = arith.subi %j, %i : index
    %n = arith.index_cast %d : index to i64
    %f = arith.sitofp %n : i64 to f32
    %x = arith.mulf %slope, %f : f32
    %t = arith.addf %s, %x : f32
    %seen = arith.cmpi sle, %j, %i : index
    %u = arith.select %seen, %t, %least : f32
    linalg.yield %u : f32
  } -> tensor<1x4x50x50xf32>
  %leastRows = linalg.fill ins(%least : f32) outs(%rows : tensor<1x4x50xf32>) -> tensor<1x4x50xf32>
  %maxima = linalg.reduce ins(%scores : tensor<1x4x50x50xf32>) outs(%leastRows : tensor<1x4x50xf32>) dimensions = [3]
    (%a: f32, %b: f32) {
      %m = arith.maximumf %a, %b : f32
      linalg.yield %m : f32
    }
  %exps = linalg.generic {indexing_maps = [#pair, #row, #pair], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%scores, %maxima : tensor<1x4x50x50xf32>, tensor<1x4x50xf32>) outs(%pairs : tensor<1x4x50x50xf32>) {
  ^bb0(%s: f32, %m: f32, %out: f32):
    %d = arith.subf %s, %m : f32
    %e = math.exp %d : f32
    linalg.yield %e : f32
  } -> tensor<1x4x50x50xf32>
  %zeroRows = linalg.fill ins(%zero : f32) outs(%rows : tensor<1x4x50xf32>) -> tensor<1x4x50xf32>
  %sums = linalg.reduce ins(%exps : tensor<1x4x50x50xf32>) outs(%zeroRows : tensor<1x4x50xf32>) dimensions = [3]
    (%a: f32, %b: f32) {
      %m = arith.addf %a, %b : f32
      linalg.yield %m : f32
    }
  %probs = linalg.generic {indexing_maps = [#pair, #row, #pair], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%exps, %sums : tensor<1x4x50x50xf32>, tensor<1x4x50xf32>) outs(%pairs : tensor<1x4x50x50xf32>) {
  ^bb0(%e: f32, %sum: f32, %out: f32):
    %d = arith.divf %e, %sum : f32
    linalg.yield %d : f32
  } -> tensor<1x4x50x50xf32>
  %zeroOuts = linalg.fill ins(%zero : f32) outs(%outs : tensor<1x4x50x16xf32>) -> tensor<1x4x50x16xf32>
  %0 = linalg.generic {indexing_maps = [#p, #v, #o], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%probs, %v : tensor<1x4x50x50xf32>, tensor<1x2x50x16xf32>) outs(%zeroOuts : tensor<1x4x50x16xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %c, %m : f32
    linalg.yield %n : f32
  } -> tensor<1x4x50x16xf32>
  return %0 : tensor<1x4x50x16xf32>
}

func.func private @layer(%fused: i1) -> tensor<50x32xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c32 = arith.constant 32 : index
  %c50 = arith.constant 50 : index
  %c64 = arith.constant 64 : index
  %c128 = arith.constant 128 : index
  %slopes = arith.constant dense<[0.25, 0.125, 0.0625, 0.03125]> : tensor<4xf32>
  %x0 = call @numbers(%c50, %c32, %c0) : (index, index, index) -> tensor<?x?xf32>
  %w0 = call @numbers(%c32, %c128, %c1) : (index, index, index) -> tensor<?x?xf32>
  %o0 = call @numbers(%c64, %c32, %c2) : (index, index, index) -> tensor<?x?xf32>
  %x = tensor.cast %x0 : tensor<?x?xf32> to tensor<50x32xf32>
  %w = tensor.cast %w0 : tensor<?x?xf32> to tensor<32x?xf32>
  %wo = tensor.cast %o0 : tensor<?x?xf32> to tensor<64x32xf32>

  // Queries, keys and values by one product.
  %qkv0 = call @project(%x, %w) : (tensor<50x32xf32>, tensor<32x?xf32>) -> tensor<50x?xf32>
  %qkv1 = tensor.cast %qkv0 : tensor<50x?xf32> to tensor<50x128xf32>
  %qkv2 = tensor.expand_shape %qkv1 [[0], [1, 2]] output_shape [50, 8, 16] : tensor<50x128xf32> into tensor<50x8x16xf32>
  %empty = tensor.empty() : tensor<8x50x16xf32>
  %qkv = linalg.transpose ins(%qkv2 : tensor<50x8x16xf32>) outs(%empty : tensor<8x50x16xf32>) permutation = [1, 0, 2]
  %q0 = tensor.extract_slice %qkv[0, 0, 0] [4, 50, 16] [1, 1, 1] : tensor<8x50x16xf32> to tensor<4x50x16xf32>
  %k0 = tensor.extract_slice %qkv[4, 0, 0] [2, 50, 16] [1, 1, 1] : tensor<8x50x16xf32> to tensor<2x50x16xf32>
  %v0 = tensor.extract_slice %qkv[6, 0, 0] [2, 50, 16] [1, 1, 1] : tensor<8x50x16xf32> to tensor<2x50x16xf32>
  %q = tensor.expand_shape %q0 [[0, 1], [2], [3]] output_shape [1, 4, 50, 16] : tensor<4x50x16xf32> into tensor<1x4x50x16xf32>
  %k = tensor.expand_shape %k0 [[0, 1], [2], [3]] output_shape [1, 2, 50, 16] : tensor<2x50x16xf32> into tensor<1x2x50x16xf32>
  %v = tensor.expand_shape %v0 [[0, 1], [2], [3]] output_shape [1, 2, 50, 16] : tensor<2x50x16xf32> into tensor<1x2x50x16xf32>

  %a = scf.if %fused -> tensor<1x4x50x16xf32> {
    %0 = func.call @attention_of_heads(%q, %k, %v, %slopes)
        : (tensor<1x4x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>, tensor<4xf32>) -> tensor<1x4x50x16xf32>
    scf.yield %0 : tensor<1x4x50x16xf32>
  } else {
    %0 = func.call @written_out(%q, %k, %v, %slopes)
        : (tensor<1x4x50x16xf32>, tensor<1x2x50x16xf32>, tensor<1x2x50x16xf32>, tensor<4xf32>) -> tensor<1x4x50x16xf32>
    scf.yield %0 : tensor<1x4x50x16xf32>
  }

  %a1 = tensor.collapse_shape %a [[0, 1], [2], [3]] : tensor<1x4x50x16xf32> into tensor<4x50x16xf32>
  %empty2 = tensor.empty() : tensor<50x4x16xf32>
  %a2 = linalg.transpose ins(%a1 : tensor<4x50x16xf32>) outs(%empty2 : tensor<50x4x16xf32>) permutation = [1, 0, 2]
  %a3 = tensor.collapse_shape %a2 [[0], [1, 2]] : tensor<50x4x16xf32> into tensor<50x64xf32>
  %zero = arith.constant 0.0 : f32
  %empty3 = tensor.empty() : tensor<50x32xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty3 : tensor<50x32xf32>) -> tensor<50x32xf32>
  %0 = linalg.matmul ins(%a3, %wo : tensor<50x64xf32>, tensor<64x32xf32>) outs(%init : tensor<50x32xf32>) -> tensor<50x32xf32>
  return %0 : tensor<50x32xf32>
}

func.func @main() -> i32 {
  %true = arith.constant true
  %false = arith.constant false
  %got = call @layer(%true) : (i1) -> tensor<50x32xf32>
  %expected = call @layer(%false) : (i1) -> tensor<50x32xf32>
  %none = arith.constant dense<0> : tensor<i32>
  %right = linalg.generic {indexing_maps = [#rows, #rows, affine_map<(i, j) -> ()>], iterator_types = ["reduction", "reduction"]}
      ins(%got, %expected : tensor<50x32xf32>, tensor<50x32xf32>) outs(%none : tensor<i32>) {
  ^bb0(%a: f32, %b: f32, %count: i32):
    %d = arith.subf %a, %b : f32
    %e = math.absf %d : f32
    %tolerance = arith.constant 2.0e-4 : f32
    %ok = arith.cmpf olt, %e, %tolerance : f32
    %one = arith.extui %ok : i1 to i32
    %n = arith.addi %count, %one : i32
    linalg.yield %n : i32
  } -> tensor<i32>
  %0 = tensor.extract %right[] : tensor<i32>
  return %0 : i32
}
