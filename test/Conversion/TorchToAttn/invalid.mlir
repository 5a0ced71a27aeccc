// RUN: attnjit-opt %s --allow-unregistered-dialect --convert-torch-to-attn --split-input-file --verify-diagnostics

!t = !torch.vtensor<[1,1,4,4],f32>
!int = !torch.vtensor<[],si32>
!score = !torch.vtensor<[],f32>

func.func @unknown(%q: !t, %scale: !torch.none) -> !t {
  %none = "torch.constant.none"() : () -> !torch.none
  %out, %lse, %max = "torch.hop_flex_attention"(%q, %q, %q, %none) {score_mod_fn = @mod} : (!t, !t, !t, !torch.none) -> (!t, !torch.none, !torch.none)
  return %out : !t
}
func.func private @mod(%score: !score, %b: !int, %h: !int, %q: !int, %kv: !int) -> !score {
  // expected-error @below {{formulas have no 'torch.prim.If': expected torch.aten functions of numbers}}
  %out = "torch.prim.If"(%score) : (!score) -> !score
  return %out : !score
}

// -----

!t = !torch.vtensor<[1,1,4,4],f32>
!score = !torch.vtensor<[],f32>
!int = !torch.vtensor<[],si32>

func.func @no_word(%q: !t) -> !t {
  %none = "torch.constant.none"() : () -> !torch.none
  // expected-error @below {{'softmax' of a whole tensor is not accepted}}
  %out, %lse, %max = "torch.hop_flex_attention"(%q, %q, %q, %none) {score_mod_fn = @mod} : (!t, !t, !t, !torch.none) -> (!t, !torch.none, !torch.none)
  return %out : !t
}
func.func private @mod(%score: !score, %b: !int, %h: !int, %q: !int, %kv: !int) -> !score {
  %out = "torch.aten.softmax"(%score) : (!score) -> !score
  return %out : !score
}

// -----

!t = !torch.vtensor<[1,1,4,4],f32>
!int = !torch.vtensor<[],si32>

func.func @captures(%q: !t) -> !t {
  %none = "torch.constant.none"() : () -> !torch.none
  %out, %lse, %max = "torch.hop_flex_attention"(%q, %q, %q, %none) {mask_mod_fn = @mod} : (!t, !t, !t, !torch.none) -> (!t, !torch.none, !torch.none)
  return %out : !t
}
// expected-error @below {{expected the arguments b, h, q_idx, kv_idx of a mask_mod}}
func.func private @mod(%b: !int, %h: !int, %q: !int, %kv: !int, %captured: !int) -> !int {
  return %captured : !int
}

// -----

!t = !torch.vtensor<[1,1,4,4],f32>

func.func @maximum(%q: !t) -> !torch.vtensor<[1,1,4],f32> {
  %none = "torch.constant.none"() : () -> !torch.none
  // expected-error @below {{max_scores is used}}
  %out, %lse, %max = "torch.hop_flex_attention"(%q, %q, %q, %none) : (!t, !t, !t, !torch.none) -> (!t, !torch.none, !torch.vtensor<[1,1,4],f32>)
  return %max : !torch.vtensor<[1,1,4],f32>
}

// -----

func.func @rank(%q: !torch.vtensor<[4,4],f32>) -> !torch.vtensor<[4,4],f32> {
  %none = "torch.constant.none"() : () -> !torch.none
  // expected-error @below {{expected !torch.vtensor<[batch,heads,rows,columns],element>, got '!torch.vtensor<[4,4],f32>'}}
  %out, %lse, %max = "torch.hop_flex_attention"(%q, %q, %q, %none) : (!torch.vtensor<[4,4],f32>, !torch.vtensor<[4,4],f32>, !torch.vtensor<[4,4],f32>, !torch.none) -> (!torch.vtensor<[4,4],f32>, !torch.none, !torch.none)
  return %out : !torch.vtensor<[4,4],f32>
}
