// RUN: attnjit-opt %s --convert-attn-to-gpu=chip=sm_90 | FileCheck %s
// RUN: mlir-opt %s --load-dialect-plugin=%{plugin} --load-pass-plugin=%{plugin} \
// RUN:     --pass-pipeline='builtin.module(convert-attn-to-gpu{chip=sm_80},gpu.module(convert-scf-to-cf,convert-to-llvm,reconcile-unrealized-casts),gpu-module-to-binary{format=assembly})' \
// RUN:   | FileCheck %s --check-prefix=PTX

!t = memref<?x8x?x64xbf16>
!f = memref<?x8x?x64xf32>

// The call stays with the operands; the declaration says where its kernel is. Tensor cores for bf16, multiply-adds for f32.
// CHECK-LABEL: func.func @two
// CHECK: call @attention(%{{.*}}) : (memref<?x8x?x64xbf16>, memref<?x8x?x64xbf16>, memref<?x8x?x64xbf16>, memref<?x8x?x64xbf16>, i64) -> ()
// CHECK: call @[[SECOND:attention_[0-9]+]](
// CHECK: func.func private @attention(memref<?x8x?x64xbf16>
// CHECK-SAME: attributes {attnjit.kernel = @attention_module::@attention, attnjit.shared_bytes = {{[0-9]+}} : i64, attnjit.threads_per_block = 128 : i64, attnjit.tile_rows = {{[0-9]+}} : i64}
// CHECK: gpu.module @attention_module [#nvvm.target<O = 3, chip = "sm_90"
// CHECK: llvm.func @attention(%{{.*}}: !llvm.ptr {{.*}}llvm.byval = !llvm.array<512 x i8>
// CHECK-SAME: gpu.kernel
// CHECK-SAME: nvvm.kernel
// CHECK: nvvm.mma.sync
// CHECK: func.func private @[[SECOND]](
// CHECK: gpu.module @[[MODULE:attention_module_[0-9]+]]

// PTX: gpu.binary @attention_module
// PTX-SAME: .visible .entry attention(
// PTX-SAME: mma.sync.aligned
func.func @two(%q: !t, %o: !t, %x: !f, %window: i64) {
  attn.attention ins(%q, %q, %q : !t, !t, !t) outs(%o : !t) scalars(%window : i64)
      mask {
      ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %w: i64):
        %0 = arith.addi %j, %w : i64
        %1 = arith.cmpi sge, %0, %i : i64
        attn.yield %1 : i1
      }
  attn.attention ins(%x, %x, %x : !f, !f, !f) outs(%x : !f)
  return
}
