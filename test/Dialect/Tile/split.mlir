// Programs whose keys are split: round trip, normal form, and the errors of tile.split and tile.softmax_merge.
// RUN: attnjit-opt %s --split-input-file --verify-diagnostics | FileCheck %s
// RUN: attnjit-opt %s --split-input-file --verify-diagnostics --mlir-print-op-generic | attnjit-opt --split-input-file | FileCheck %s

// CHECK-LABEL: tile.kernel @split
// CHECK: %[[PLAN:.*]] = tile.plan
// CHECK: %[[S:.*]]:2 = tile.split %[[PLAN]] iter(%[[M0:.*]], %[[L0:.*]] : !tile.row<2xf32>, !tile.row<2xf32>) {
// CHECK: ^bb0(%part: !tile.plan, %[[MA:.*]]: !tile.row<2xf32>, %[[LA:.*]]: !tile.row<2xf32>):
// CHECK: tile.stream %part iter(
tile.kernel @split(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %m0, %l0 = tile.softmax_init : !tile.row<2xf32>
  %p = tile.plan at(%b, %h, %i)
  %m, %l = tile.split %p iter(%m0, %l0 : !tile.row<2xf32>, !tile.row<2xf32>) {
  ^bb0(%part: !tile.plan, %ma: !tile.row<2xf32>, %la: !tile.row<2xf32>):
    %ms, %ls = tile.stream %part iter(%ma, %la : !tile.row<2xf32>, !tile.row<2xf32>) {
    ^bb0(%kv0: i64, %cols: i64, %partial: i1, %mi: !tile.row<2xf32>, %li: !tile.row<2xf32>):
      tile.yield %mi, %li : !tile.row<2xf32>, !tile.row<2xf32>
    }
    tile.yield %ms, %ls : !tile.row<2xf32>, !tile.row<2xf32>
  }
}

// -----

// CHECK-LABEL: func.func @merge
// CHECK: tile.softmax_merge(%{{.*}}, %{{.*}}, %{{.*}}), (%{{.*}}, %{{.*}}, %{{.*}}) : !tile.row<16xf64>, !tile.tile<16x8xf64>
func.func @merge(%m: !tile.row<16xf64>, %l: !tile.row<16xf64>, %a: !tile.tile<16x8xf64>) {
  %x, %y, %z = tile.softmax_merge (%m, %l, %a), (%m, %l, %a) : !tile.row<16xf64>, !tile.tile<16x8xf64>
  return
}

// -----

// CHECK-LABEL: func.func @merge_of_states
// CHECK: tile.softmax_merge(%{{.*}}, %{{.*}}), (%{{.*}}, %{{.*}}) : !tile.row<16xf32>
func.func @merge_of_states(%m: !tile.row<16xf32>, %l: !tile.row<16xf32>) {
  %x, %y = tile.softmax_merge (%m, %l), (%m, %l) : !tile.row<16xf32>
  return
}

// -----

// CHECK-LABEL: func.func @add
// CHECK: tile.add %{{.*}}, %{{.*}} : !tile.tile<16x8xf32>
func.func @add(%a: !tile.tile<16x8xf32>) {
  %x = tile.add %a, %a : !tile.tile<16x8xf32>
  return
}

// -----

func.func @merge(%m: !tile.row<4xf32>, %a: !tile.tile<4x8xf32>) {
  // expected-error @below {{expected an accumulator in both states and in the result, or in none}}
  %x, %y, %z = tile.softmax_merge (%m, %m, %a), (%m, %m) : !tile.row<4xf32>, !tile.tile<4x8xf32>
  return
}

// -----

func.func @merge(%m: !tile.row<4xf32>) {
  // expected-error @below {{expected a maximum, a sum and, if there is one, an accumulator}}
  %x = tile.softmax_merge (%m), (%m) : !tile.row<4xf32>
  return
}

// -----

func.func @merge(%m: !tile.row<4xf32>, %a: !tile.tile<16x8xf32>) {
  // expected-error @below {{state: expected '!tile.row<16xf32>' for '!tile.tile<16x8xf32>', got '!tile.row<4xf32>'}}
  %x, %y, %z = tile.softmax_merge (%m, %m, %a), (%m, %m, %a) : !tile.row<4xf32>, !tile.tile<16x8xf32>
  return
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %p = tile.plan at(%b, %h, %i)
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{body: expected 2 arguments (part, state), got 1}}
  %r = tile.split %p iter(%t : !tile.tile<2x8xf32>) {
  ^bb0(%part: !tile.plan):
    tile.yield %t : !tile.tile<2x8xf32>
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %p = tile.plan at(%b, %h, %i)
  %t = tile.fill 0.0 : !tile.tile<2x8xf32>
  // expected-error @below {{body argument 0: expected '!tile.plan', got 'i64'}}
  %r = tile.split %p iter(%t : !tile.tile<2x8xf32>) {
  ^bb0(%part: i64, %s: !tile.tile<2x8xf32>):
    tile.yield %s : !tile.tile<2x8xf32>
  }
}

// -----

tile.kernel @k(%q: !tile.view<?x4xf32>, %k: !tile.view<?x4xf32>, %v: !tile.view<?x4xf32>, %out: !tile.view<?x4xf32>, %lse: !tile.view<?xf32>, %max: !tile.view<?xf32>, %scale: f32)
    config<tile_rows = 2, tile_cols = 8, checked_indices = false, narrow = true> {
  %b, %h, %g, %i = tile.position
  %p = tile.plan at(%b, %h, %i)
  %t = tile.fill 0.0 : !tile.tile<2x4xf32>
  // expected-error @below {{body: 'tile.load' cannot stand in a split; expected an initial state, tile.stream, and tile.softmax_merge or tile.add}}
  %r = tile.split %p iter(%t : !tile.tile<2x4xf32>) {
  ^bb0(%part: !tile.plan, %s: !tile.tile<2x4xf32>):
    // expected-note @below {{this operation}}
    %x = tile.load %q[%b, %h, %i] : !tile.view<?x4xf32> -> !tile.tile<2x4xf32>
    tile.yield %x : !tile.tile<2x4xf32>
  }
}
