// flex_attention as torch-mlir imports it, in generic form: the torch dialect is not registered here.
//
// RUN: attnjit-opt %s --allow-unregistered-dialect --convert-torch-to-attn --canonicalize | FileCheck %s
// RUN: mlir-opt %s --load-pass-plugin=%{plugin} --load-dialect-plugin=%{plugin} --allow-unregistered-dialect \
// RUN:   --pass-pipeline='builtin.module(convert-torch-to-attn, canonicalize)' | FileCheck %s

!qkv = !torch.vtensor<[2,4,12,8],f32>
!int = !torch.vtensor<[],si32>
!score = !torch.vtensor<[],f32>
!bool = !torch.vtensor<[],i1>

// CHECK-LABEL: func.func @capped_and_causal
// CHECK-SAME: %[[Q:[^ :]*]]: !torch.vtensor<[2,4,12,8],f32>
// CHECK: %[[BUILTIN:.*]] = "torch_c.to_builtin_tensor"(%[[Q]]) : (!torch.vtensor<[2,4,12,8],f32>) -> tensor<2x4x12x8xf32>
// CHECK: %[[OUT:.*]]:2 = attn.attention ins(%[[BUILTIN]],
// CHECK-SAME: score {
// CHECK: math.tanh
// CHECK: mask {
// CHECK: arith.cmpi s{{[gl]}}e
// CHECK: arith.cmpi
// CHECK-DAG: %[[LSE:.*]] = "torch_c.from_builtin_tensor"(%[[OUT]]#1) : (tensor<2x4x12xf32>) -> !torch.vtensor<[2,4,12],f32>
// CHECK-DAG: %[[RESULT:.*]] = "torch_c.from_builtin_tensor"(%[[OUT]]#0) : (tensor<2x4x12x8xf32>) -> !torch.vtensor<[2,4,12,8],f32>
// CHECK: return %[[RESULT]], %[[LSE]]
func.func @capped_and_causal(%q: !qkv, %k: !qkv, %v: !qkv) -> (!qkv, !torch.vtensor<[2,4,12],f32>) {
  %scale = "torch.constant.float"() {value = 0.125 : f64} : () -> !torch.float
  %true = "torch.constant.bool"() {value = true} : () -> !torch.bool
  %false = "torch.constant.bool"() {value = false} : () -> !torch.bool
  %out, %lse, %max = "torch.hop_flex_attention"(%q, %k, %v, %scale, %true, %false) {mask_mod_fn = @window, score_mod_fn = @capped}
      : (!qkv, !qkv, !qkv, !torch.float, !torch.bool, !torch.bool) -> (!qkv, !torch.vtensor<[2,4,12],f32>, !torch.none)
  return %out, %lse : !qkv, !torch.vtensor<[2,4,12],f32>
}

// Sizes that nobody knows; without a mask_mod, and with the default scale.
// CHECK-LABEL: func.func @half
// CHECK: attn.attention ins(%{{.*}} : tensor<?x4x?x64xbf16>
// CHECK-NOT: mask {
// CHECK: return
func.func @half(%q: !torch.vtensor<[?,4,?,64],bf16>) -> !torch.vtensor<[?,4,?,64],bf16> {
  %none = "torch.constant.none"() : () -> !torch.none
  %false = "torch.constant.bool"() {value = false} : () -> !torch.bool
  %out, %lse, %max = "torch.hop_flex_attention"(%q, %q, %q, %none, %false, %false) {score_mod_fn = @alibi}
      : (!torch.vtensor<[?,4,?,64],bf16>, !torch.vtensor<[?,4,?,64],bf16>, !torch.vtensor<[?,4,?,64],bf16>, !torch.none, !torch.bool, !torch.bool)
      -> (!torch.vtensor<[?,4,?,64],bf16>, !torch.none, !torch.none)
  return %out : !torch.vtensor<[?,4,?,64],bf16>
}

// Nobody names these any more.
// CHECK-NOT: func.func private

func.func private @capped(%score: !score, %b: !int, %h: !int, %q: !int, %kv: !int) -> !score {
  %cap = "torch.vtensor.literal"() {value = dense<20.0> : tensor<f32>} : () -> !score
  %inner = "torch.aten.div.Tensor"(%score, %cap) : (!score, !score) -> !score
  %tanh = "torch.aten.tanh"(%inner) : (!score) -> !score
  %twenty = "torch.constant.float"() {value = 2.000000e+01 : f64} : () -> !torch.float
  %out = "torch.aten.mul.Scalar"(%tanh, %twenty) : (!score, !torch.float) -> !score
  return %out : !score
}

func.func private @window(%b: !int, %h: !int, %q: !int, %kv: !int) -> !bool {
  %causal = "torch.aten.ge.Tensor"(%q, %kv) : (!int, !int) -> !bool
  %one = "torch.constant.int"() {value = 1 : i64} : () -> !torch.int
  %distance = "torch.aten.sub.Tensor"(%q, %kv, %one) : (!int, !int, !torch.int) -> !int
  %five = "torch.constant.int"() {value = 5 : i64} : () -> !torch.int
  %near = "torch.aten.lt.Scalar"(%distance, %five) : (!int, !torch.int) -> !bool
  %both = "torch.aten.__and__.Tensor"(%causal, %near) : (!bool, !bool) -> !bool
  return %both : !bool
}

func.func private @alibi(%score: !score, %b: !int, %h: !int, %q: !int, %kv: !int) -> !score {
  %one = "torch.constant.int"() {value = 1 : i64} : () -> !torch.int
  %half = "torch.constant.float"() {value = 5.000000e-01 : f64} : () -> !torch.float
  %float = "torch.constant.int"() {value = 6 : i64} : () -> !torch.int
  %rank = "torch.prims.convert_element_type"(%h, %float) : (!int, !torch.int) -> !score
  %slope = "torch.aten.pow.Scalar"(%half, %rank) : (!torch.float, !score) -> !score
  %distance = "torch.aten.sub.Tensor"(%kv, %q, %one) : (!int, !int, !torch.int) -> !int
  %bias = "torch.aten.mul.Tensor"(%slope, %distance) : (!score, !int) -> !score
  %out = "torch.aten.add.Tensor"(%score, %bias, %one) : (!score, !score, !torch.int) -> !score
  return %out : !score
}
