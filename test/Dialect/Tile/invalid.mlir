// RUN: attnjit-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{expected the arguments q, k, v, out, lse, max and scale, got 1 arguments}}
tile.kernel @k(%q: !tile.view<?x4xf32>)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 0 (q): expected a !tile.view with columns, got '!tile.view<?xf32>'}}
tile.kernel @k(%q: !tile.view<?xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 4 (lse): expected a !tile.view without columns, got '!tile.view<?x4xf32>'}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?x4xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 5 (max): expected element type 'f32' as scale, got 'f64'}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf64>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 6 (scale): expected f32 or f64, got 'i64'}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: i64)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 1 (k): expected 4 columns as q, got 5}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x5xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 3 (out): expected 4 columns as v, got 5}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x5xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 2 (v): expected element type 'f32' as k, got 'f16'}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf16>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 8: expected captures before scalars, got '!tile.capture<1xf32>'}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %n: i32, %c: !tile.capture<1xf32>)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{argument 7: expected a !tile.capture, i1, 'i32' or 'f32', got 'i64'}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %n: i64)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
}

// -----

// expected-error @below {{names: expected 1 (captures, then scalars), got 2}}
tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %n: i32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> attributes {names = ["a", "b"]} {
}

// -----

// expected-error @below {{!tile.tile: expected at least one row and one column, got 0x4}}
func.func private @f(!tile.tile<0x4xf32>)

// -----

// expected-error @below {{!tile.tile: expected an element type of f64, f32, bf16, f16, f8E4M3FN or f8E5M2, got 'i32'}}
func.func private @f(!tile.tile<4x4xi32>)

// -----

// expected-error @below {{expected 2 dimensions, got 1}}
func.func private @f(!tile.tile<4xf32>)

// -----

// expected-error @below {{expected 1 dimensions, got 2}}
func.func private @f(!tile.row<4x4xf32>)

// -----

// expected-error @below {{!tile.row: expected an element type of f64, f32, bf16, f16, f8E4M3FN or f8E5M2, got 'i8'}}
func.func private @f(!tile.row<4xi8>)

// -----

// expected-error @below {{expected ?xCOLSxTYPE for an operand or ?xTYPE for a row output}}
func.func private @f(!tile.view<4x4xf32>)

// -----

// expected-error @below {{expected ?xCOLSxTYPE for an operand or ?xTYPE for a row output}}
func.func private @f(!tile.view<?x?xf32>)

// -----

// expected-error @below {{!tile.capture: expected a rank from 0 to 6, got 7}}
func.func private @f(!tile.capture<7xf32>)

// -----

// expected-error @below {{!tile.capture: expected an element type of f64, f32, bf16, f16, f8E4M3FN or f8E5M2, got 'i7'}}
func.func private @f(!tile.capture<1xi7>)

// -----

func.func @load_columns(%v: !tile.view<?x4xf32>, %i: i64) {
  // expected-error @below {{tile: expected 4 columns of 'f32' as the view, got '!tile.tile<2x5xf32>'}}
  %0 = tile.load %v[%i, %i, %i] : !tile.view<?x4xf32> -> !tile.tile<2x5xf32>
  return
}

// -----

func.func @load_type(%v: !tile.view<?x4xf32>, %i: i64) {
  // expected-error @below {{tile: expected 4 columns of 'f32' as the view, got '!tile.tile<2x4xf16>'}}
  %0 = tile.load %v[%i, %i, %i] : !tile.view<?x4xf32> -> !tile.tile<2x4xf16>
  return
}

// -----

func.func @store_outside(%v: !tile.view<?x4xf32>, %i: i64, %t: !tile.tile<2x4xf32>) {
  // expected-error @below {{expects parent op 'tile.kernel'}}
  tile.store %t, %v[%i, %i, %i] : !tile.tile<2x4xf32>, !tile.view<?x4xf32>
  return
}

// -----

func.func @dot_inner(%a: !tile.tile<2x4xf32>, %b: !tile.tile<5x8xf32>) {
  // expected-error @below {{operand b: expected 4 rows as a has columns, got '!tile.tile<5x8xf32>'}}
  %0 = tile.dot pv %a, %b : !tile.tile<2x4xf32>, !tile.tile<5x8xf32> -> !tile.tile<2x8xf32>
  return
}

// -----

func.func @dot_inner_trans(%a: !tile.tile<2x4xf32>, %b: !tile.tile<4x8xf32>) {
  // expected-error @below {{operand b: expected 4 columns as a has columns, got '!tile.tile<4x8xf32>'}}
  %0 = tile.dot qk %a, trans %b : !tile.tile<2x4xf32>, !tile.tile<4x8xf32> -> !tile.tile<2x4xf32>
  return
}

// -----

func.func @dot_result(%a: !tile.tile<2x4xf32>, %b: !tile.tile<4x8xf32>) {
  // expected-error @below {{result: expected 2x8, got '!tile.tile<8x2xf32>'}}
  %0 = tile.dot pv %a, %b : !tile.tile<2x4xf32>, !tile.tile<4x8xf32> -> !tile.tile<8x2xf32>
  return
}

// -----

func.func @dot_precision(%a: !tile.tile<2x4xf16>, %b: !tile.tile<4x8xf16>) {
  // expected-error @below {{result: expected f32 or f64, got 'f16'}}
  %0 = tile.dot pv %a, %b : !tile.tile<2x4xf16>, !tile.tile<4x8xf16> -> !tile.tile<2x8xf16>
  return
}

// -----

func.func @dot_role(%a: !tile.tile<2x4xf32>) {
  // expected-error @below {{unknown role 'kq'; expected qk or pv}}
  %0 = tile.dot kq %a, %a : !tile.tile<2x4xf32>, !tile.tile<2x4xf32> -> !tile.tile<2x4xf32>
  return
}

// -----

func.func @row_scale(%a: !tile.tile<2x4xf32>, %r: !tile.row<4xf32>) {
  // expected-error @below {{factors: expected '!tile.row<2xf32>' for '!tile.tile<2x4xf32>', got '!tile.row<4xf32>'}}
  %0 = tile.row_scale %a, %r : !tile.tile<2x4xf32>, !tile.row<4xf32>
  return
}

// -----

func.func @softmax_step(%a: !tile.tile<2x4xf32>, %r: !tile.row<2xf64>, %n: i64) {
  // expected-error @below {{state: expected '!tile.row<2xf32>' for '!tile.tile<2x4xf32>', got '!tile.row<2xf64>'}}
  %0:4 = tile.softmax_step %r, %r, %a cols(%n) : !tile.row<2xf64>, !tile.tile<2x4xf32>
  return
}

// -----

func.func @cast(%a: !tile.tile<2x4xf32>) {
  // expected-error @below {{result: expected 2x4 as the operand, got '!tile.tile<4x2xf16>'}}
  %0 = tile.cast %a : !tile.tile<2x4xf32> to !tile.tile<4x2xf16>
  return
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{map region argument 1: expected 'i32', got 'i64'}}
  %u = tile.map %t at(%b, %h, %i, %i) : !tile.tile<2x8xf32> {
  ^bb0(%e: f32, %eb: i64, %eh: i32, %eq: i32, %ekv: i32):
    tile.yield %e : f32
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %on: i1)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{mask region: expected to yield ('i1'), got ('i32')}}
  %u = tile.mask %t if %on at(%b, %h, %i, %i) scalars(%on : i1) : !tile.tile<2x8xf32> {
  ^bb0(%eb: i32, %eh: i32, %eq: i32, %ekv: i32, %eon: i1):
    tile.yield %eb : i32
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32, %c: !tile.capture<1xi8>, %n: i32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{map region: expected 7 arguments, got 5}}
  %u = tile.map %t at(%b, %h, %i, %i) captures(%c : !tile.capture<1xi8>) scalars(%n : i32) : !tile.tile<2x8xf32> {
  ^bb0(%e: f32, %eb: i32, %eh: i32, %eq: i32, %ekv: i32):
    tile.yield %e : f32
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  // expected-error @below {{closed form region: expected to yield ('i1', 'i1'), got ('i1')}}
  %p = tile.plan at(%b, %h, %i) {
  ^bb0(%eb: i32, %eh: i32, %ql: i32, %qh: i32, %kl: i32, %kh: i32):
    %x = arith.cmpi sle, %kl, %qh : i32
    tile.yield %x : i1
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %p = tile.plan at(%b, %h, %i)
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{body: expected 4 arguments (kv0, cols, partial, state), got 3}}
  %r = tile.stream %p iter(%t : !tile.tile<2x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1):
    tile.yield %t : !tile.tile<2x8xf32>
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %p = tile.plan at(%b, %h, %i)
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{body argument 2: expected 'i1', got 'i64'}}
  %r = tile.stream %p iter(%t : !tile.tile<2x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i64, %s: !tile.tile<2x8xf32>):
    tile.yield %s : !tile.tile<2x8xf32>
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %p = tile.plan at(%b, %h, %i)
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  %r = tile.stream %p iter(%t : !tile.tile<2x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %s: !tile.tile<2x8xf32>):
    // expected-error @below {{expected the next state, one value of its type per initial state}}
    tile.yield %s, %s : !tile.tile<2x8xf32>, !tile.tile<2x8xf32>
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %p = tile.plan at(%b, %h, %i)
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{body: 'scf.if' cannot stand in a stream; expected tile loads, dots, maps, masks and row operations}}
  %r = tile.stream %p iter(%t : !tile.tile<2x8xf32>) {
  ^bb0(%kv0: i64, %cols: i64, %partial: i1, %s: !tile.tile<2x8xf32>):
    // expected-note @below {{this operation}}
    scf.if %partial {
    }
    tile.yield %s : !tile.tile<2x8xf32>
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{tile: expected 4 columns of 'f32' as the view}}
  tile.store %t, %out[%b, %h, %i] : !tile.tile<2x8xf32>, !tile.view<?x4xf32>
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %m, %l = tile.softmax_init : !tile.row<2xf32>
  // expected-error @below {{view: expected a view without columns, got '!tile.view<?x4xf32>'}}
  tile.store_row %m, %out[%b, %h, %i] : !tile.row<2xf32>, !tile.view<?x4xf32>
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %m, %l = tile.softmax_init : !tile.row<2xf64>
  // expected-error @below {{values: expected the element type of the view, got '!tile.row<2xf64>'}}
  tile.store_row %m, %lse[%b, %h, %i] : !tile.row<2xf64>, !tile.view<?xf32>
}

// -----

// expected-error @below {{only a view with columns can be paged}}
func.func private @rows(!tile.view<?xf32, paged>)

// -----

// expected-error @below {{expected strided or paged, each once, got 'pages'}}
func.func private @word(!tile.view<?x4xf32, pages>)

// -----

// expected-error @below {{expected strided or paged, each once, got 'paged'}}
func.func private @twice(!tile.view<?x4xf32, paged, paged>)
