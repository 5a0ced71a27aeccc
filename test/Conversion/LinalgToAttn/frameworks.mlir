// Attention as frameworks write it out. Each case becomes one attn.attention, and computes what it did before.
//
// RUN: attnjit-opt %s --raise-linalg-to-attn --canonicalize --cse | FileCheck %s
// RUN: mlir-opt %s --load-pass-plugin=%{plugin} --load-dialect-plugin=%{plugin} \
// RUN:     --pass-pipeline='builtin.module(transform-preload-library{transform-library-paths=%S/Inputs/decompose_softmax.mlir},transform-interpreter,attn-lower-to-llvm)' \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{mlir_runner_utils},%{mlir_c_runner_utils} > %t.before
// RUN: attnjit-opt %s --raise-linalg-to-attn --canonicalize --attn-lower-to-llvm \
// RUN:   | mlir-runner -e main --entry-point-result=void --shared-libs=%{mlir_runner_utils},%{mlir_c_runner_utils} > %t.after
// RUN: %{python} %S/Inputs/same_numbers.py 6 %t.before %t.after

#all4 = affine_map<(a, b, c, d) -> (a, b, c, d)>
#row4 = affine_map<(a, b, c, d) -> (a, b, c)>
#keep4 = affine_map<(a, b, c, d) -> (a, b, c, 0)>
#mask4 = affine_map<(a, b, c, d) -> (a, 0, c, d)>

#first5 = affine_map<(a, b, c, d, e) -> (a, b, c, e)>
#second5 = affine_map<(a, b, c, d, e) -> (a, b, d, e)>
#values5 = affine_map<(a, b, c, d, e) -> (a, b, e, d)>
#out5 = affine_map<(a, b, c, d, e) -> (a, b, c, d)>

!q = tensor<2x4x12x8xf32>
!s = tensor<2x4x12x12xf32>
!keep = tensor<2x4x12x1xf32>

// PyTorch, through torch-mlir: batches and heads joined for linalg.batch_matmul, keys transposed, a scale, a mask that is added, reductions that keep
// their dimension.
// CHECK-LABEL: func.func private @torch(
// CHECK-SAME: %[[Q:.*]]: tensor<2x4x12x8xf32>, %[[K:.*]]: tensor<2x4x12x8xf32>, %[[V:.*]]: tensor<2x4x12x8xf32>, %[[MASK:.*]]: tensor<2x1x12x12xf32>)
// CHECK-NOT: linalg
// CHECK: %[[SCALE:.*]] = arith.constant 0.353553385 : f32
// CHECK: %[[A:.*]] = attn.attention ins(%[[Q]], %[[K]], %[[V]] : {{.*}}) scale(%[[SCALE]] : f32) captures(%[[MASK]] : tensor<2x1x12x12xf32>) score {
// CHECK: ^bb0(%score: f32, %b: i64, %h: i64, %q: i64, %kv: i64, %[[C:.*]]: tensor<2x1x12x12xf32>):
// CHECK: %[[L:.*]] = attn.load %[[C]][%b, %{{.*}}, %q, %kv]
// CHECK: arith.addf %score, %[[L]]
// CHECK: return %[[A]]
func.func private @torch(%q: !q, %k: !q, %v: !q, %mask: tensor<2x1x12x12xf32>) -> !q {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %scale = arith.constant 0.353553385 : f32
  %e0 = tensor.empty() : tensor<2x4x8x12xf32>
  %kt = linalg.transpose ins(%k : !q) outs(%e0 : tensor<2x4x8x12xf32>) permutation = [0, 1, 3, 2]
  %q3 = tensor.collapse_shape %q [[0, 1], [2], [3]] : !q into tensor<8x12x8xf32>
  %k3 = tensor.collapse_shape %kt [[0, 1], [2], [3]] : tensor<2x4x8x12xf32> into tensor<8x8x12xf32>
  %e1 = tensor.empty() : tensor<8x12x12xf32>
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<8x12x12xf32>) -> tensor<8x12x12xf32>
  %dots3 = linalg.batch_matmul ins(%q3, %k3 : tensor<8x12x8xf32>, tensor<8x8x12xf32>) outs(%z1 : tensor<8x12x12xf32>) -> tensor<8x12x12xf32>
  %dots = tensor.expand_shape %dots3 [[0, 1], [2], [3]] output_shape [2, 4, 12, 12] : tensor<8x12x12xf32> into !s
  %e2 = tensor.empty() : !s
  %scaled = linalg.generic {indexing_maps = [#all4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%dots : !s) outs(%e2 : !s) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.mulf %a, %scale : f32
    linalg.yield %m : f32
  } -> !s
  %masked = linalg.generic {indexing_maps = [#all4, #mask4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%scaled, %mask : !s, tensor<2x1x12x12xf32>) outs(%e2 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.addf %a, %b : f32
    linalg.yield %m : f32
  } -> !s
  %e3 = tensor.empty() : !keep
  %least1 = linalg.fill ins(%least : f32) outs(%e3 : !keep) -> !keep
  %max = linalg.generic {indexing_maps = [#all4, #keep4], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%masked : !s) outs(%least1 : !keep) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.maximumf %a, %o : f32
    linalg.yield %m : f32
  } -> !keep
  %shifted = linalg.generic {indexing_maps = [#all4, #keep4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%masked, %max : !s, !keep) outs(%e2 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.subf %a, %b : f32
    linalg.yield %m : f32
  } -> !s
  %exp = linalg.generic {indexing_maps = [#all4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%shifted : !s) outs(%e2 : !s) {
  ^bb0(%a: f32, %o: f32):
    %m = math.exp %a : f32
    linalg.yield %m : f32
  } -> !s
  %zero1 = linalg.fill ins(%zero : f32) outs(%e3 : !keep) -> !keep
  %sum = linalg.generic {indexing_maps = [#all4, #keep4], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%exp : !s) outs(%zero1 : !keep) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.addf %a, %o : f32
    linalg.yield %m : f32
  } -> !keep
  %probs = linalg.generic {indexing_maps = [#all4, #keep4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%exp, %sum : !s, !keep) outs(%e2 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.divf %a, %b : f32
    linalg.yield %m : f32
  } -> !s
  %p3 = tensor.collapse_shape %probs [[0, 1], [2], [3]] : !s into tensor<8x12x12xf32>
  %v3 = tensor.collapse_shape %v [[0, 1], [2], [3]] : !q into tensor<8x12x8xf32>
  %e4 = tensor.empty() : tensor<8x12x8xf32>
  %z4 = linalg.fill ins(%zero : f32) outs(%e4 : tensor<8x12x8xf32>) -> tensor<8x12x8xf32>
  %out3 = linalg.batch_matmul ins(%p3, %v3 : tensor<8x12x12xf32>, tensor<8x12x8xf32>) outs(%z4 : tensor<8x12x8xf32>) -> tensor<8x12x8xf32>
  %out = tensor.expand_shape %out3 [[0, 1], [2], [3]] output_shape [2, 4, 12, 8] : tensor<8x12x8xf32> into !q
  return %out : !q
}

!half = tensor<2x4x12x8xf16>
!row = tensor<2x4x12xf32>

// Halves, widened before the product; causal by comparing positions; probabilities rounded to the type of v.
// CHECK-LABEL: func.func private @causal_halves(
// CHECK: attn.attention ins(%{{.*}} : tensor<2x4x12x8xf16>, tensor<2x4x12x8xf16>, tensor<2x4x12x8xf16>)
// CHECK-SAME: scale(%{{.*}} : f32) mask {
// CHECK: ^bb0(%b: i64, %h: i64, %q: i64, %kv: i64):
// CHECK: arith.cmpi sge, %q, %kv : i64
func.func private @causal_halves(%q: !half, %k: !half, %v: !half) -> !q {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e0 = tensor.empty() : !q
  %wide = linalg.generic {indexing_maps = [#all4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%q : !half) outs(%e0 : !q) {
  ^bb0(%a: f16, %o: f32):
    %m = arith.extf %a : f16 to f32
    linalg.yield %m : f32
  } -> !q
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = [#first5, #second5, #out5], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%wide, %k : !q, !half) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f16, %o: f32):
    %w = arith.extf %b : f16 to f32
    %m = arith.mulf %a, %w : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %masked = linalg.generic {indexing_maps = [#all4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%dots : !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %o: f32):
    %four = arith.constant 4.0 : f32
    %x = arith.divf %a, %four : f32
    %i = linalg.index 2 : index
    %j = linalg.index 3 : index
    %seen = arith.cmpi sge, %i, %j : index
    %m = arith.select %seen, %x, %least : f32
    linalg.yield %m : f32
  } -> !s
  %e3 = tensor.empty() : !row
  %least1 = linalg.fill ins(%least : f32) outs(%e3 : !row) -> !row
  %max = linalg.reduce ins(%masked : !s) outs(%least1 : !row) dimensions = [3]
    (%a: f32, %o: f32) {
      %m = arith.maxnumf %a, %o : f32
      linalg.yield %m : f32
    }
  %exp = linalg.generic {indexing_maps = [#all4, #row4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%masked, %max : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %d = arith.subf %a, %b : f32
    %m = math.exp %d : f32
    linalg.yield %m : f32
  } -> !s
  %zero1 = linalg.fill ins(%zero : f32) outs(%e3 : !row) -> !row
  %sum = linalg.reduce ins(%exp : !s) outs(%zero1 : !row) dimensions = [3]
    (%a: f32, %o: f32) {
      %m = arith.addf %a, %o : f32
      linalg.yield %m : f32
    }
  %e4 = tensor.empty() : tensor<2x4x12x12xf16>
  %probs = linalg.generic {indexing_maps = [#all4, #row4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%exp, %sum : !s, !row) outs(%e4 : tensor<2x4x12x12xf16>) {
  ^bb0(%a: f32, %b: f32, %o: f16):
    %m = arith.divf %a, %b : f32
    %n = arith.truncf %m : f32 to f16
    linalg.yield %n : f16
  } -> tensor<2x4x12x12xf16>
  %z4 = linalg.fill ins(%zero : f32) outs(%e0 : !q) -> !q
  %out = linalg.generic {indexing_maps = [#first5, #values5, #out5], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%probs, %v : tensor<2x4x12x12xf16>, !half) outs(%z4 : !q) {
  ^bb0(%a: f16, %b: f16, %o: f32):
    %x = arith.extf %a : f16 to f32
    %y = arith.extf %b : f16 to f32
    %m = arith.mulf %x, %y : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !q
  return %out : !q
}

!b3 = tensor<3x?x8xf32>
!s3 = tensor<3x?x?xf32>

// linalg.softmax between two batched products, of any length.
// CHECK-LABEL: func.func private @softmax_op(
// CHECK: tensor.expand_shape %{{.*}} {{\[\[}}0, 1], [2], [3]] output_shape [3, 1, %{{.*}}, 8] : tensor<3x?x8xf32> into tensor<3x1x?x8xf32>
// CHECK: attn.attention ins(%{{.*}} : tensor<3x1x?x8xf32>, tensor<3x1x?x8xf32>, tensor<3x1x?x8xf32>)
// CHECK: tensor.collapse_shape %{{.*}} {{\[\[}}0, 1], [2], [3]] : tensor<3x1x?x8xf32> into tensor<3x?x8xf32>
// CHECK-NOT: linalg.softmax
func.func private @softmax_op(%q: !b3, %k: !b3, %v: !b3) -> !b3 {
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %m = tensor.dim %q, %c1 : !b3
  %n = tensor.dim %k, %c1 : !b3
  %e1 = tensor.empty(%m, %n) : !s3
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s3) -> !s3
  %dots = linalg.batch_matmul indexing_maps = [affine_map<(b, m, n, k) -> (b, m, k)>, affine_map<(b, m, n, k) -> (b, n, k)>, affine_map<(b, m, n, k) -> (b, m, n)>]
      ins(%q, %k : !b3, !b3) outs(%z1 : !s3) -> !s3
  %probs = linalg.softmax dimension(2) ins(%dots : !s3) outs(%e1 : !s3) -> !s3
  %e2 = tensor.empty(%m) : !b3
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !b3) -> !b3
  %out = linalg.batch_matmul ins(%probs, %v : !s3, !b3) outs(%z2 : !b3) -> !b3
  return %out : !b3
}

!kv = tensor<2x2x12x8xf32>

// Two kv heads, each repeated for two query heads before the products.
// CHECK-LABEL: func.func private @repeated_heads(
// CHECK-SAME: %[[Q:.*]]: tensor<2x4x12x8xf32>, %[[K:.*]]: tensor<2x2x12x8xf32>, %[[V:.*]]: tensor<2x2x12x8xf32>)
// CHECK: attn.attention ins(%[[Q]], %[[K]], %[[V]] : tensor<2x4x12x8xf32>, tensor<2x2x12x8xf32>, tensor<2x2x12x8xf32>)
func.func private @repeated_heads(%q: !q, %k: !kv, %v: !kv) -> !q {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x2x2x12x8xf32>
  %kr = linalg.broadcast ins(%k : !kv) outs(%e : tensor<2x2x2x12x8xf32>) dimensions = [2]
  %vr = linalg.broadcast ins(%v : !kv) outs(%e : tensor<2x2x2x12x8xf32>) dimensions = [2]
  %k4 = tensor.collapse_shape %kr [[0], [1, 2], [3], [4]] : tensor<2x2x2x12x8xf32> into !q
  %v4 = tensor.collapse_shape %vr [[0], [1, 2], [3], [4]] : tensor<2x2x2x12x8xf32> into !q
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = [#first5, #second5, #out5], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%q, %k4 : !q, !q) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %probs = linalg.softmax dimension(3) ins(%dots : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !q
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !q) -> !q
  %out = linalg.generic {indexing_maps = [#first5, #values5, #out5], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%probs, %v4 : !s, !q) outs(%z2 : !q) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !q
  return %out : !q
}

!x = tensor<2x12x4x8xf32>

// JAX: heads behind positions, a mask of truth values that hides by the least number, which is a score like others. The reciprocal of the sum is multiplied.
// CHECK-LABEL: func.func private @jax(
// CHECK: %[[Q:.*]] = linalg.transpose {{.*}} permutation = [0, 2, 1, 3]
// CHECK: attn.attention ins({{.*}} : tensor<2x4x12x8xf32>, tensor<2x4x12x8xf32>, tensor<2x4x12x8xf32>) {{.*}} captures(%{{.*}} : tensor<2x12xi1>) score {
// CHECK: attn.load %{{.*}}[%b, %kv] : tensor<2x12xi1>, i64, i64 -> i1
// CHECK: arith.select
// CHECK-NOT: mask {
// CHECK: linalg.transpose {{.*}} permutation = [0, 2, 1, 3]
func.func private @jax(%q: !x, %k: !x, %v: !x, %mask: tensor<2x12xi1>) -> !x {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %least = arith.constant -3.40282347E+38 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = [affine_map<(b, h, i, j, d) -> (b, i, h, d)>, affine_map<(b, h, i, j, d) -> (b, j, h, d)>, #out5],
                          iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%q, %k : !x, !x) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %masked = linalg.generic {indexing_maps = [#all4, affine_map<(a, b, c, d) -> (a, d)>, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%dots, %mask : !s, tensor<2x12xi1>) outs(%e1 : !s) {
  ^bb0(%a: f32, %seen: i1, %o: f32):
    %m = arith.select %seen, %a, %least : f32
    linalg.yield %m : f32
  } -> !s
  %e3 = tensor.empty() : !row
  %least1 = linalg.fill ins(%least : f32) outs(%e3 : !row) -> !row
  %max = linalg.reduce { arith.maximumf } ins(%masked : !s) outs(%least1 : !row) dimensions = [3]
  %exp = linalg.generic {indexing_maps = [#all4, #row4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%masked, %max : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %d = arith.subf %a, %b : f32
    %m = math.exp %d : f32
    linalg.yield %m : f32
  } -> !s
  %zero1 = linalg.fill ins(%zero : f32) outs(%e3 : !row) -> !row
  %sum = linalg.reduce { arith.addf } ins(%exp : !s) outs(%zero1 : !row) dimensions = [3]
  %probs = linalg.generic {indexing_maps = [#all4, #row4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%exp, %sum : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %r = arith.divf %one, %b : f32
    %m = arith.mulf %a, %r : f32
    linalg.yield %m : f32
  } -> !s
  %e2 = tensor.empty() : !x
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !x) -> !x
  %out = linalg.generic {indexing_maps = [affine_map<(b, i, h, d, j) -> (b, h, i, j)>, affine_map<(b, i, h, d, j) -> (b, j, h, d)>, affine_map<(b, i, h, d, j) -> (b, i, h, d)>],
                         iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%probs, %v : !s, !x) outs(%z2 : !x) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !x
  return %out : !x
}

!one = tensor<12x8xf32>

// One head that all query heads share, of one sequence.
// CHECK-LABEL: func.func private @one_kv_head(
// CHECK: attn.attention ins(%{{.*}} : tensor<2x4x12x8xf32>, tensor<1x1x12x8xf32>, tensor<1x1x12x8xf32>)
func.func private @one_kv_head(%q: !q, %k: !one, %v: !one) -> !q {
  %zero = arith.constant 0.0 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = [#first5, affine_map<(b, h, i, j, d) -> (j, d)>, #out5], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%q, %k : !q, !one) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %probs = linalg.softmax dimension(3) ins(%dots : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !q
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !q) -> !q
  %out = linalg.generic {indexing_maps = [#first5, affine_map<(b, h, i, d, j) -> (j, d)>, #out5], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%probs, %v : !s, !one) outs(%z2 : !q) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !q
  return %out : !q
}

// Numbers that look like chance, and a sum in which each place counts otherwise.
func.func private @numbers(%count: index, %seed: index) -> tensor<?xf32> {
  %e = tensor.empty(%count) : tensor<?xf32>
  %0 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%e : tensor<?xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %c1 = arith.constant 7919 : index
    %c2 = arith.constant 1009 : index
    %a = arith.addi %i, %seed : index
    %b = arith.muli %a, %c1 : index
    %r = arith.remui %b, %c2 : index
    %n = arith.index_cast %r : index to i64
    %f = arith.sitofp %n : i64 to f32
    %half = arith.constant 504.5 : f32
    %x = arith.divf %f, %half : f32
    %one = arith.constant 1.0 : f32
    %y = arith.subf %x, %one : f32
    linalg.yield %y : f32
  } -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

func.func private @rounded(%x: !q) -> !half {
  %e = tensor.empty() : !half
  %0 = linalg.generic {indexing_maps = [#all4, #all4], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x : !q) outs(%e : !half) {
  ^bb0(%a: f32, %o: f16):
    %m = arith.truncf %a : f32 to f16
    linalg.yield %m : f16
  } -> !half
  return %0 : !half
}

func.func private @print(%x: tensor<768xf32>) {
  %c768 = arith.constant 768 : index
  %c5 = arith.constant 5 : index
  %w = call @numbers(%c768, %c5) : (index, index) -> tensor<?xf32>
  %weights = tensor.cast %w : tensor<?xf32> to tensor<768xf32>
  %none = arith.constant dense<0.0> : tensor<f32>
  %sum = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
      ins(%x, %weights : tensor<768xf32>, tensor<768xf32>) outs(%none : tensor<f32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> tensor<f32>
  %0 = tensor.extract %sum[] : tensor<f32>
  call @printF32(%0) : (f32) -> ()
  call @printNewline() : () -> ()
  return
}
func.func private @printF32(f32)
func.func private @printNewline()

func.func @main() {
  %c96 = arith.constant 96 : index
  %c288 = arith.constant 288 : index
  %c384 = arith.constant 384 : index
  %c768 = arith.constant 768 : index
  %n0 = call @numbers(%c768, %c96) : (index, index) -> tensor<?xf32>
  %n1 = call @numbers(%c768, %c288) : (index, index) -> tensor<?xf32>
  %n2 = call @numbers(%c768, %c384) : (index, index) -> tensor<?xf32>
  %m0 = call @numbers(%c288, %c288) : (index, index) -> tensor<?xf32>
  %k0 = call @numbers(%c384, %c96) : (index, index) -> tensor<?xf32>
  %o0 = call @numbers(%c96, %c768) : (index, index) -> tensor<?xf32>
  %f0 = tensor.cast %n0 : tensor<?xf32> to tensor<768xf32>
  %f1 = tensor.cast %n1 : tensor<?xf32> to tensor<768xf32>
  %f2 = tensor.cast %n2 : tensor<?xf32> to tensor<768xf32>
  %fm = tensor.cast %m0 : tensor<?xf32> to tensor<288xf32>
  %fk = tensor.cast %k0 : tensor<?xf32> to tensor<384xf32>
  %fo = tensor.cast %o0 : tensor<?xf32> to tensor<96xf32>
  %q = tensor.expand_shape %f0 [[0, 1, 2, 3]] output_shape [2, 4, 12, 8] : tensor<768xf32> into !q
  %k = tensor.expand_shape %f1 [[0, 1, 2, 3]] output_shape [2, 4, 12, 8] : tensor<768xf32> into !q
  %v = tensor.expand_shape %f2 [[0, 1, 2, 3]] output_shape [2, 4, 12, 8] : tensor<768xf32> into !q
  %mask = tensor.expand_shape %fm [[0, 1, 2, 3]] output_shape [2, 1, 12, 12] : tensor<288xf32> into tensor<2x1x12x12xf32>
  %kv = tensor.expand_shape %fk [[0, 1, 2, 3]] output_shape [2, 2, 12, 8] : tensor<384xf32> into !kv
  %one = tensor.expand_shape %fo [[0, 1]] output_shape [12, 8] : tensor<96xf32> into !one

  %r0 = call @torch(%q, %k, %v, %mask) : (!q, !q, !q, tensor<2x1x12x12xf32>) -> !q
  %s0 = tensor.collapse_shape %r0 [[0, 1, 2, 3]] : !q into tensor<768xf32>
  call @print(%s0) : (tensor<768xf32>) -> ()

  %hq = call @rounded(%q) : (!q) -> !half
  %hk = call @rounded(%k) : (!q) -> !half
  %hv = call @rounded(%v) : (!q) -> !half
  %r1 = call @causal_halves(%hq, %hk, %hv) : (!half, !half, !half) -> !q
  %s1 = tensor.collapse_shape %r1 [[0, 1, 2, 3]] : !q into tensor<768xf32>
  call @print(%s1) : (tensor<768xf32>) -> ()

  %q3 = tensor.expand_shape %f0 [[0, 1, 2]] output_shape [3, 32, 8] : tensor<768xf32> into tensor<3x32x8xf32>
  %k3 = tensor.expand_shape %f1 [[0, 1, 2]] output_shape [3, 32, 8] : tensor<768xf32> into tensor<3x32x8xf32>
  %v3 = tensor.expand_shape %f2 [[0, 1, 2]] output_shape [3, 32, 8] : tensor<768xf32> into tensor<3x32x8xf32>
  %dq = tensor.cast %q3 : tensor<3x32x8xf32> to !b3
  %dk = tensor.cast %k3 : tensor<3x32x8xf32> to !b3
  %dv = tensor.cast %v3 : tensor<3x32x8xf32> to !b3
  %r2 = call @softmax_op(%dq, %dk, %dv) : (!b3, !b3, !b3) -> !b3
  %c2 = tensor.cast %r2 : !b3 to tensor<3x32x8xf32>
  %s2 = tensor.collapse_shape %c2 [[0, 1, 2]] : tensor<3x32x8xf32> into tensor<768xf32>
  call @print(%s2) : (tensor<768xf32>) -> ()

  %r3 = call @repeated_heads(%q, %kv, %kv) : (!q, !kv, !kv) -> !q
  %s3 = tensor.collapse_shape %r3 [[0, 1, 2, 3]] : !q into tensor<768xf32>
  call @print(%s3) : (tensor<768xf32>) -> ()

  %xq = tensor.expand_shape %f0 [[0, 1, 2, 3]] output_shape [2, 12, 4, 8] : tensor<768xf32> into !x
  %xk = tensor.expand_shape %f1 [[0, 1, 2, 3]] output_shape [2, 12, 4, 8] : tensor<768xf32> into !x
  %xv = tensor.expand_shape %f2 [[0, 1, 2, 3]] output_shape [2, 12, 4, 8] : tensor<768xf32> into !x
  %seen = arith.constant dense<[[true, true, true, false, true, true, true, true, true, true, false, false],
                                [false, false, false, false, false, false, false, false, false, false, false, false]]> : tensor<2x12xi1>
  %r4 = call @jax(%xq, %xk, %xv, %seen) : (!x, !x, !x, tensor<2x12xi1>) -> !x
  %s4 = tensor.collapse_shape %r4 [[0, 1, 2, 3]] : !x into tensor<768xf32>
  call @print(%s4) : (tensor<768xf32>) -> ()

  %r5 = call @one_kv_head(%q, %one, %one) : (!q, !one, !one) -> !q
  %s5 = tensor.collapse_shape %r5 [[0, 1, 2, 3]] : !q into tensor<768xf32>
  call @print(%s5) : (tensor<768xf32>) -> ()
  return
}
