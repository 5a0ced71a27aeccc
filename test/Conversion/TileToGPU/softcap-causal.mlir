// The mma.sync schedule of softcap + causal, bf16, D 128: from the attn op to what the schedule emits.
// RUN: attnjit-opt %s --attn-to-tile --convert-tile-to-gpu=chip=sm_80 | FileCheck %s

// KernelArgs come by value; shared memory is the launch's: Q, K and V of 64 rows of 128 elements and 16 bytes of padding.
// CHECK:       llvm.mlir.global external @attention_shared() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<0 x i8>
// CHECK-LABEL: llvm.func @attention(
// CHECK-SAME:    !llvm.ptr {llvm.align = 8 : i64, llvm.byval = !llvm.array<{{[0-9]+}} x i8>})
// CHECK-SAME:    attnjit.kv_box_rows = 0 : i64, attnjit.q_box_rows = 0 : i64, attnjit.shared_bytes = 52224 : i64, attnjit.threads_per_block = 128 : i64, nvvm.kernel, nvvm.maxntid = array<i32: 128>

// One block per tile, in the tile order of the ABI.
// CHECK:         %[[BLOCK:.*]] = nvvm.read.ptx.sreg.ctaid.x
// CHECK:         arith.divui %[[BLOCK]], %{{.*}} : i32

// Q by cp.async where rows are aligned to 16 bytes, with zeros for rows past M; else loads of elements, 8 for a store.
// CHECK:           scf.if
// CHECK:             nvvm.cp.async.shared.global %{{.*}}, %{{.*}}, 16, cache = cg, %{{.*}} : !llvm.ptr<3>, !llvm.ptr<1>, i32
// CHECK:           } else {
// CHECK:             llvm.load {{.*}} : !llvm.ptr<1> -> i16
// CHECK:             llvm.store {{.*}} {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<3>
// CHECK:           nvvm.cp.async.commit.group

// The plan: a table of runs, or one run over all keys; the closed form of the mask decides on blocks. State (68 numbers a thread: 2 maxima, 2 sums, 64
// accumulators) is carried by every loop.
// CHECK:           llvm.icmp "eq" {{.*}} : !llvm.ptr
// CHECK:           scf.for {{.*}} iter_args({{.*}}) -> (f32, f32, f32, f32,
// CHECK:             arith.cmpi sle

// K, then V: V arrives while scores are computed.
// CHECK:             nvvm.cp.async.commit.group
// CHECK:             nvvm.cp.async.commit.group
// CHECK-NEXT:        nvvm.cp.async.wait.group 1
// CHECK-NEXT:        nvvm.barrier0

// S = Q K^T: 8 steps of 16 along D, 8 tiles of 8 keys.
// CHECK-COUNT-64:    nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<bf16>{{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 16>

// score_mod on each of the 32 elements of a thread: tanh is 1 - 2 / (e^2x + 1) on the special function unit, but for small x.
// CHECK:             %[[GROWN:.*]] = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f32"(%[[POWER:.*]]) : (f32) -> f32
// CHECK-NEXT:        %[[SUM:.*]] = arith.addf %[[GROWN]]
// CHECK-NEXT:        %[[HALF:.*]] = llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"(%[[SUM]])
// CHECK:             %[[FAR:.*]] = llvm.intr.fma(%[[HALF]]
// CHECK:             %[[NEAR:.*]] = arith.cmpf olt
// CHECK-NEXT:        arith.select %[[NEAR]], %{{.*}}, %[[FAR]]
// CHECK-COUNT-31:    llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"

// mask_mod only where the plan cannot tell: how far each row sees, then for each element one comparison and a select to -inf.
// CHECK:             scf.if %{{.*}} -> (f32,
// CHECK-COUNT-2:       llvm.intr.ssub.sat
// CHECK:               %[[SEEN:.*]] = arith.cmpi sgt, {{.*}} : i32
// CHECK-NEXT:          %[[HIDDEN:.*]] = arith.constant 0xFF800000 : f32
// CHECK-NEXT:          llvm.inline_asm "selp.f32 $0, $1, $2, $3;", "=f,f,f,b" %{{.*}}, %[[HIDDEN]], %[[SEEN]]
// CHECK:             } else {

// Softmax: the four threads of a row agree on its maximum; NaN passes through it.
// CHECK:             arith.maximumf
// CHECK:             nvvm.shfl.sync bfly
// CHECK:             nvvm.shfl.sync bfly
// CHECK:             llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f32"
// CHECK:             nvvm.cp.async.wait.group 0
// CHECK-NEXT:        nvvm.barrier0

// O += P V: P as bf16 pairs, V transposed on the way out of shared memory.
// CHECK:             arith.truncf {{.*}} : vector<2xf32> to vector<2xbf16>
// CHECK:             nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<col>
// CHECK-COUNT-64:    nvvm.mma.sync
// CHECK:             nvvm.barrier0

// lse where it is wanted, and out.
// CHECK:           llvm.icmp "ne" {{.*}} : !llvm.ptr
// CHECK:           arith.truncf {{.*}} : f32 to bf16
// CHECK:           llvm.store {{.*}} : bf16, !llvm.ptr
// Nothing is left to a library.
// CHECK-NOT:     math.
// CHECK-NOT:     llvm.call @
func.func @attention(%q: memref<?x?x?x128xbf16, strided<[?, ?, ?, 1], offset: ?>>, %k: memref<?x?x?x128xbf16, strided<[?, ?, ?, 1], offset: ?>>, %v: memref<?x?x?x128xbf16, strided<[?, ?, ?, 1], offset: ?>>,
                 %out: memref<?x?x?x128xbf16, strided<[?, ?, ?, ?], offset: ?>>, %lse: memref<?x?x?xf32>, %max: memref<?x?x?xf32>, %scale: f32, %cap: f32) {
  attn.forward ins(%q, %k, %v : memref<?x?x?x128xbf16, strided<[?, ?, ?, 1], offset: ?>>, memref<?x?x?x128xbf16, strided<[?, ?, ?, 1], offset: ?>>, memref<?x?x?x128xbf16, strided<[?, ?, ?, 1], offset: ?>>)
      outs(%out : memref<?x?x?x128xbf16, strided<[?, ?, ?, ?], offset: ?>>) lse(%lse : memref<?x?x?xf32>) max(%max : memref<?x?x?xf32>) scale(%scale : f32)
      scalars(%cap : f32)
      config <tile_rows = 64, tile_cols = 64, checked_indices = false, narrow = true>
      score {
      ^bb0(%s: f32, %b: i32, %h: i32, %i: i32, %j: i32, %c: f32):
        %x = arith.divf %s, %c : f32
        %t = math.tanh %x : f32
        %r = arith.mulf %t, %c : f32
        attn.yield %r : f32
      } mask {
      ^bb0(%b: i32, %h: i32, %i: i32, %j: i32, %c: f32):
        %m = arith.cmpi sle, %j, %i : i32
        attn.yield %m : i1
      }
  return
}
