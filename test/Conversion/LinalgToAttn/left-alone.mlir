// What is not proved to be attention stays as it is.
//
// RUN: attnjit-opt %s --raise-linalg-to-attn | FileCheck %s
// CHECK-NOT: attn.attention

#qk = [affine_map<(i, j, d) -> (i, d)>, affine_map<(i, j, d) -> (j, d)>, affine_map<(i, j, d) -> (i, j)>]
#pv = [affine_map<(i, d, j) -> (i, j)>, affine_map<(i, d, j) -> (j, d)>, affine_map<(i, d, j) -> (i, d)>]
#pair = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>

!t = tensor<12x8xf32>
!s = tensor<12x12xf32>
!row = tensor<12xf32>

// Somebody else wants the probabilities.
func.func @probabilities_wanted(%q: !t, %k: !t, %v: !t) -> (!t, !s) {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %scores = linalg.generic {indexing_maps = [#pair, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots : !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.addf %a, %a : f32
    linalg.yield %m : f32
  } -> !s
  %probs = linalg.softmax dimension(1) ins(%scores : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out, %probs : !t, !s
}

// exp(x) may be inf where exp(x - max) is not.
func.func @no_maximum(%q: !t, %k: !t, %v: !t) -> !t {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %e3 = tensor.empty() : !row
  %f3 = linalg.fill ins(%least : f32) outs(%e3 : !row) -> !row
  %max = linalg.reduce { arith.maximumf } ins(%dots : !s) outs(%f3 : !row) dimensions = [1]
  %exp = linalg.generic {indexing_maps = [#pair, #row, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots, %max : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %d = arith.addf %a, %zero : f32
    %m = math.exp %d : f32
    linalg.yield %m : f32
  } -> !s
  %z3 = linalg.fill ins(%zero : f32) outs(%e3 : !row) -> !row
  %sum = linalg.reduce { arith.addf } ins(%exp : !s) outs(%z3 : !row) dimensions = [1]
  %probs = linalg.generic {indexing_maps = [#pair, #row, #pair], iterator_types = ["parallel", "parallel"]} ins(%exp, %sum : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.divf %a, %b : f32
    linalg.yield %m : f32
  } -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}

// A maximum of something else.
func.func @other_maximum(%q: !t, %k: !t, %v: !t) -> !t {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %scores = linalg.generic {indexing_maps = [#pair, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots : !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.addf %a, %a : f32
    linalg.yield %m : f32
  } -> !s
  %e3 = tensor.empty() : !row
  %f3 = linalg.fill ins(%least : f32) outs(%e3 : !row) -> !row
  %max = linalg.reduce { arith.maximumf } ins(%scores : !s) outs(%f3 : !row) dimensions = [1]
  %exp = linalg.generic {indexing_maps = [#pair, #row, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots, %max : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %d = arith.subf %a, %b : f32
    %m = math.exp %d : f32
    linalg.yield %m : f32
  } -> !s
  %z3 = linalg.fill ins(%zero : f32) outs(%e3 : !row) -> !row
  %sum = linalg.reduce { arith.addf } ins(%exp : !s) outs(%z3 : !row) dimensions = [1]
  %probs = linalg.generic {indexing_maps = [#pair, #row, #pair], iterator_types = ["parallel", "parallel"]} ins(%exp, %sum : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.divf %a, %b : f32
    linalg.yield %m : f32
  } -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}

// A sum of something else.
func.func @other_sum(%q: !t, %k: !t, %v: !t) -> !t {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %scores = linalg.generic {indexing_maps = [#pair, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots : !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.addf %a, %a : f32
    linalg.yield %m : f32
  } -> !s
  %e3 = tensor.empty() : !row
  %f3 = linalg.fill ins(%least : f32) outs(%e3 : !row) -> !row
  %max = linalg.reduce { arith.maximumf } ins(%dots : !s) outs(%f3 : !row) dimensions = [1]
  %exp = linalg.generic {indexing_maps = [#pair, #row, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots, %max : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %d = arith.subf %a, %b : f32
    %m = math.exp %d : f32
    linalg.yield %m : f32
  } -> !s
  %z3 = linalg.fill ins(%zero : f32) outs(%e3 : !row) -> !row
  %sum = linalg.reduce { arith.addf } ins(%scores : !s) outs(%z3 : !row) dimensions = [1]
  %probs = linalg.generic {indexing_maps = [#pair, #row, #pair], iterator_types = ["parallel", "parallel"]} ins(%exp, %sum : !s, !row) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.divf %a, %b : f32
    linalg.yield %m : f32
  } -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}

// The product with v begins with 1.
func.func @from_one(%q: !t, %k: !t, %v: !t) -> !t {
  %one = arith.constant 1.0 : f32
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %scores = linalg.generic {indexing_maps = [#pair, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots : !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %o: f32):
    %m = arith.addf %a, %a : f32
    linalg.yield %m : f32
  } -> !s
  %probs = linalg.softmax dimension(1) ins(%scores : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%one : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}

// softmax over the queries.
func.func @columns(%q: !t, %k: !t, %v: !t) -> !t {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %probs = linalg.softmax dimension(0) ins(%dots : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}

// No formula has an unsigned comparison.
func.func @unsigned(%q: !t, %k: !t, %v: !t) -> !t {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %scores = linalg.generic {indexing_maps = [#pair, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots : !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %c = arith.cmpi ule, %j, %i : index
    %m = arith.select %c, %a, %least : f32
    linalg.yield %m : f32
  } -> !s
  %probs = linalg.softmax dimension(1) ins(%scores : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}

// A product of 32 bits may wrap.
func.func @wraps(%q: !t, %k: !t, %v: !t) -> !t {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %scores = linalg.generic {indexing_maps = [#pair, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots : !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %x = arith.index_cast %i : index to i32
    %y = arith.index_cast %j : index to i32
    %z = arith.muli %x, %y : i32
    %c = arith.cmpi sle, %z, %x : i32
    %m = arith.select %c, %a, %least : f32
    linalg.yield %m : f32
  } -> !s
  %probs = linalg.softmax dimension(1) ins(%scores : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}

// Scores of two products.
func.func @two_products(%q: !t, %k: !t, %v: !t) -> !t {
  %zero = arith.constant 0.0 : f32
  %least = arith.constant 0xFF800000 : f32
  %e1 = tensor.empty() : !s
  %z1 = linalg.fill ins(%zero : f32) outs(%e1 : !s) -> !s
  %dots = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%q, %k : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %more = linalg.generic {indexing_maps = #qk, iterator_types = ["parallel", "parallel", "reduction"]} ins(%k, %q : !t, !t) outs(%z1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !s
  %scores = linalg.generic {indexing_maps = [#pair, #pair, #pair], iterator_types = ["parallel", "parallel"]} ins(%dots, %more : !s, !s) outs(%e1 : !s) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.addf %a, %b : f32
    linalg.yield %m : f32
  } -> !s
  %probs = linalg.softmax dimension(1) ins(%scores : !s) outs(%e1 : !s) -> !s
  %e2 = tensor.empty() : !t
  %z2 = linalg.fill ins(%zero : f32) outs(%e2 : !t) -> !t
  %out = linalg.generic {indexing_maps = #pv, iterator_types = ["parallel", "parallel", "reduction"]} ins(%probs, %v : !s, !t) outs(%z2 : !t) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %n = arith.addf %o, %m : f32
    linalg.yield %n : f32
  } -> !t
  return %out : !t
}

!h = tensor<12x8xf16>
!hs = tensor<12x12xf16>

// Sums of halves in halves, which attention adds up in f32.
func.func @halves(%q: !h, %k: !h, %v: !h) -> !h {
  %zero = arith.constant 0.0 : f16
  %e1 = tensor.empty() : !hs
  %z1 = linalg.fill ins(%zero : f16) outs(%e1 : !hs) -> !hs
  %dots = linalg.matmul indexing_maps = #qk ins(%q, %k : !h, !h) outs(%z1 : !hs) -> !hs
  %probs = linalg.softmax dimension(1) ins(%dots : !hs) outs(%e1 : !hs) -> !hs
  %e2 = tensor.empty() : !h
  %z2 = linalg.fill ins(%zero : f16) outs(%e2 : !h) -> !h
  %out = linalg.matmul ins(%probs, %v : !hs, !h) outs(%z2 : !h) -> !h
  return %out : !h
}
