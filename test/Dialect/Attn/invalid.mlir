// RUN: attnjit-opt %s --split-input-file --verify-diagnostics

func.func @dynamic_head_dim(%q: memref<?x?x?x?xf32>, %k: memref<?x?x?x?xf32>, %v: memref<?x?x?x?xf32>, %out: memref<?x?x?x?xf32>, %scale: f32) {
  // expected-error @below {{operand q, dimension 3: expected a static size from 1 to 512, got ?}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x?xf32>, memref<?x?x?x?xf32>, memref<?x?x?x?xf32>) outs(%out : memref<?x?x?x?xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @huge_head_dim(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x513xf32>, %out: memref<?x?x?x513xf32>, %scale: f32) {
  // expected-error @below {{operand v, dimension 3: expected a static size from 1 to 512, got 513}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x513xf32>) outs(%out : memref<?x?x?x513xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @head_dim_of_k(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x32xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{operand k, dimension 3: expected 64 as dimension 3 of q, got 32}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x32xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @value_dim_of_out(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x32xf32>, %out: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{operand out, dimension 3: expected 32 as dimension 3 of v, got 64}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x32xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @keys_of_v(%q: memref<?x?x?x64xf32>, %k: memref<?x?x10x64xf32>, %v: memref<?x?x11x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{operand v, dimension 2: expected 10 as dimension 2 of k, got 11}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x10x64xf32>, memref<?x?x11x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @type_of_v(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf16>, %out: memref<?x?x?x64xf16>, %scale: f32) {
  // expected-error @below {{operand v: expected element type 'f32' as k, got 'f16'}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf16>) outs(%out : memref<?x?x?x64xf16>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @layout(%q: memref<?x?x?x64xf32, affine_map<(a, b, c, d) -> (a, b, c, d floordiv 2, d mod 2)>>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{operand q: expected a strided layout, got}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32, affine_map<(a, b, c, d) -> (a, b, c, d floordiv 2, d mod 2)>>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @type_of_scale(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f64) {
  // expected-error @below {{operand scale: expected 'f32' for q of 'f32', got 'f64'}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f64)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @type_of_lse(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32, %lse: memref<?x?x?xf64>) {
  // expected-error @below {{operand lse: expected element type 'f32', got 'f64'}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) lse(%lse : memref<?x?x?xf64>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @size_of_lse(%q: memref<2x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<2x?x?x64xf32>, %scale: f32, %lse: memref<3x?x?xf32>) {
  // expected-error @below {{operand lse, dimension 0: expected 2 as dimension 0 of q, got 3}}
  attn.forward ins(%q, %k, %v : memref<2x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<2x?x?x64xf32>) lse(%lse : memref<3x?x?xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @type_of_capture(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32, %c: memref<?xi7>) {
  // expected-error @below {{capture 0: expected rank 0 to 6 and elements of f64, f32, bf16, f16, f8E4M3FN, f8E5M2, i1, i8, ui8, i16, i32 or i64, got 'memref<?xi7>'}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32) captures(%c : memref<?xi7>)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @rank_of_capture(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32, %c: memref<?x?x?x?x?x?x?xf32>) {
  // expected-error @below {{capture 0: expected rank 0 to 6 and elements of}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32) captures(%c : memref<?x?x?x?x?x?x?xf32>)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
  return
}

// -----

func.func @names(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32, %s: i64) {
  // expected-error @below {{names: expected 1 (captures, then scalars), got 2}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32) scalars(%s : i64)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true> attributes {names = ["a", "b"]}
  return
}

// -----

func.func @score_arguments(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{score region: expected 5 arguments, got 4}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32):
        attn.yield %s : f32
      }
  return
}

// -----

func.func @score_index_type(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{score region argument 3: expected 'i32', got 'i64'}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i64, %j: i32):
        attn.yield %s : f32
      }
  return
}

// -----

func.func @wide_index_type(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{mask region argument 0: expected 'i64', got 'i32'}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = false>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32):
        %m = arith.cmpi sle, %j, %i : i32
        attn.yield %m : i1
      }
  return
}

// -----

func.func @scalar_type(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32, %s: f64) {
  // expected-error @below {{mask region argument 4: expected 'f32', got 'f64'}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32) scalars(%s : f64)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32, %x: f64):
        %m = arith.cmpi sle, %j, %i : i32
        attn.yield %m : i1
      }
  return
}

// -----

func.func @score_yields_bool(%q: memref<?x?x?x64xf32>, %k: memref<?x?x?x64xf32>, %v: memref<?x?x?x64xf32>, %out: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{score region: expected to yield ('f32'), got ('i1')}}
  attn.forward ins(%q, %k, %v : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%out : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        %m = arith.cmpi sle, %j, %i : i32
        attn.yield %m : i1
      }
  return
}

// -----

func.func @foreign_op(%q: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{score region: 'memref.alloca' cannot stand in a formula; expected arith or math on i1, i32, i64, f32 or f64, attn.load, attn.pointwise or attn.reduce}}
  attn.forward ins(%q, %q, %q : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%q : memref<?x?x?x64xf32>) scale(%scale : f32) captures(%q : memref<?x?x?x64xf32>)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32, %c: memref<?x?x?x64xf32>):
        // expected-note @below {{this operation}}
        %x = memref.alloca() : memref<f32>
        %1 = arith.constant 0.0 : f32
        attn.yield %1 : f32
      }
  return
}

// -----

func.func @wrong_end(%q: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{score region: expected 'attn.yield' at its end}}
  attn.forward ins(%q, %q, %q : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%q : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        llvm.return %s : f32
      }
  return
}

// -----

func.func @vector_op(%q: memref<?x?x?x64xf32>, %scale: f32) {
  // expected-error @below {{score region: 'arith.constant' cannot stand in a formula}}
  attn.forward ins(%q, %q, %q : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%q : memref<?x?x?x64xf32>) scale(%scale : f32)
      config<tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32):
        // expected-note @below {{this operation}}
        %x = arith.constant dense<0.0> : vector<4xf32>
        attn.yield %s : f32
      }
  return
}

// -----

func.func @load_rank(%c: memref<?x?xf32>, %i: i32) {
  // expected-error @below {{expected 2 indices for 'memref<?x?xf32>', got 1}}
  %0 = attn.load %c[%i] : memref<?x?xf32>, i32 -> f32
  return
}

// -----

func.func @load_index(%c: memref<?xf32>, %i: f32) {
  // expected-error @below {{operand #1 must be variadic of i32 or i64, but got 'f32'}}
  %0 = attn.load %c[%i] : memref<?xf32>, f32 -> f32
  return
}

// -----

func.func @load_result(%c: memref<?xi8>, %i: i32) {
  // expected-error @below {{result: expected i32 or i64 for elements of 'i8', got 'f32'}}
  %0 = attn.load %c[%i] : memref<?xi8>, i32 -> f32
  return
}

// -----

func.func @load_bool(%c: memref<?xi1>, %i: i32) {
  // expected-error @below {{result: expected i1 for elements of 'i1', got 'i32'}}
  %0 = attn.load %c[%i] : memref<?xi1>, i32 -> i32
  return
}

// -----

func.func @load_what(%c: i32, %i: i32) {
  // expected-error @below {{operand #0 must be memref or tensor of rank 0 to 6, or !tile.capture}}
  %0 = attn.load %c[%i] : i32, i32 -> f32
  return
}

// -----

func.func @pointwise_arity(%a: i32) {
  // expected-error @below {{floor_div: expected 2 operands, got 1}}
  %0 = attn.pointwise floor_div %a : i32
  return
}

// -----

func.func @pointwise_float_shift(%a: f32) {
  // expected-error @below {{shl, operand 0: expected i32 or i64, got 'f32'}}
  %0 = attn.pointwise shl %a, %a : f32
  return
}

// -----

func.func @pointwise_int_hypot(%a: i32) {
  // expected-error @below {{hypot, operand 0: expected f32 or f64, got 'i32'}}
  %0 = attn.pointwise hypot %a, %a : i32
  return
}

// -----

func.func @pointwise_bool(%a: i1) {
  // expected-error @below {{sign, operand 0: expected i32, i64, f32 or f64, got 'i1'}}
  %0 = attn.pointwise sign %a : i1
  return
}

// -----

func.func @pointwise_result(%a: i32) {
  // expected-error @below {{rem, result: expected 'i32', got 'i64'}}
  %0 = attn.pointwise rem %a, %a : i32 -> i64
  return
}

// -----

func.func @pointwise_to_int(%a: f32) {
  // expected-error @below {{to_int, result: expected i32 or i64, got 'f32'}}
  %0 = attn.pointwise to_int %a : f32
  return
}

// -----

func.func @pointwise_kind(%a: f32) {
  // expected-error @below {{unknown kind 'cbrt'; expected floor_div, floor_mod, rem, pow, sign, shl, shr, hypot, to_int, rand or randint}}
  %0 = attn.pointwise cbrt %a : f32
  return
}

// -----

// expected-error @below {{tile_rows: expected at least 1, got 0}}
func.func private @config() attributes {c = #attn.config<tile_rows = 0, tile_cols = 64, checked_indices = false, narrow = true>}

// -----

// expected-error @below {{tile_cols: expected at least 1, got -1}}
func.func private @config() attributes {c = #attn.config<tile_rows = 1, tile_cols = -1, checked_indices = false, narrow = true>}

// -----

func.func @sum_of_bools(%n: i64) -> i1 {
  // expected-error @below {{sum, result: expected i32, i64, f32 or f64, got i1}}
  %r = attn.reduce sum %n : i64 -> i1 {
  ^bb0(%i: i64):
    %t = arith.constant true
    attn.yield %t : i1
  }
  return %r : i1
}

// -----

func.func @index_of_a_reduction(%n: i32) -> i64 {
  // expected-error @below {{body region argument 0: expected 'i32', got 'i64'}}
  %r = attn.reduce max %n : i32 -> i64 {
  ^bb0(%i: i64):
    attn.yield %i : i64
  }
  return %r : i64
}

// -----

func.func @value_of_a_reduction(%n: i64) -> f32 {
  // expected-error @below {{body region: expected to yield ('f32'), got ('i64')}}
  %r = attn.reduce min %n : i64 -> f32 {
  ^bb0(%i: i64):
    attn.yield %i : i64
  }
  return %r : f32
}

// -----

func.func @memory_in_a_reduction(%n: i64, %m: memref<?xf32>) -> f32 {
  // expected-error @below {{body region: 'memref.alloca' cannot stand in a formula; expected arith or math on i1, i32, i64, f32 or f64, attn.load, attn.pointwise or attn.reduce}}
  %r = attn.reduce sum %n : i64 -> f32 {
  ^bb0(%i: i64):
    // expected-note @below {{this operation}}
    %a = memref.alloca() : memref<4xf32>
    %x = attn.load %m[%i] : memref<?xf32>, i64 -> f32
    attn.yield %x : f32
  }
  return %r : f32
}
