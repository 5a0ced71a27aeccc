// From the attn op to PTX for sm_80 by LLVM's own tools, and what the PTX must and must not hold.
// RUN: attnjit-opt %S/softcap-causal.mlir --attn-to-tile --convert-tile-to-gpu=chip=sm_80 \
// RUN:   | mlir-opt --convert-scf-to-cf --convert-to-llvm --reconcile-unrealized-casts | mlir-translate --mlir-to-llvmir \
// RUN:   | llc -mtriple=nvptx64-nvidia-cuda -mcpu=sm_80 -mattr=+ptx80 -o %t.ptx
// RUN: FileCheck %s --input-file=%t.ptx
// RUN: FileCheck %s --input-file=%t.ptx --check-prefix=NEVER

// CHECK:      .target sm_80
// CHECK:      .extern .shared .align 16 .b8 attention_shared[];
// CHECK:      .visible .entry attention(
// CHECK-NEXT:   .param .align 8 .b8 attention_param_0[352]
// CHECK:      .maxntid 128
// Blocks are laid out as LLVM likes; what counts is that the instructions are there.
// CHECK-DAG:  ld.param.b64
// CHECK-DAG:  cp.async.cg.shared.global
// CHECK-DAG:  cp.async.wait_group 1
// CHECK-DAG:  ldmatrix.sync.aligned.m8n8.x4.shared.b16
// CHECK-DAG:  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// CHECK-DAG:  max.NaN.f32
// CHECK-DAG:  shfl.sync.bfly.b32
// CHECK-DAG:  ex2.approx.ftz.f32
// CHECK-DAG:  cvt.rn.bf16x2.f32
// CHECK-DAG:  ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
// CHECK-DAG:  st.global

// NEVER-NOT:  .local
// NEVER-NOT:  .extern .func
// NEVER-NOT:  {{[[:space:]]}}call
// NEVER-NOT:  __nv_
