// What scaled_dot_product_attention refuses, and why; which backends say they can, and why not; how batch dimensions fold.
#include "Attention/BatchFold.h"
#include "Execute/EngineTestUtil.h"

#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::test;

namespace {

TensorRef shape(std::initializer_list<std::int64_t> sizes, DType dtype = DType::F32) { return TensorRef::dense(nullptr, dtype, sizes); }

SdpaCall goodCall() {
  return {.query = shape({2, 4, 5, 8}), .key = shape({2, 4, 7, 8}), .value = shape({2, 4, 7, 16}), .out = shape({2, 4, 5, 16})};
}

/// The message that `change` of a good call is answered with.
template <typename Change> std::string refusal(Change change) {
  SdpaCall call = goodCall();
  change(call);
  const Result<std::vector<ForwardCall>> calls = toForwardCalls(call);
  if (calls)
    return "accepted";
  CHECK(calls.error().code == ErrorCode::InvalidArgument);
  return calls.error().message;
}

} // namespace

TEST_CASE("each bad call is refused by the name of its operand, with the cure") {
  REQUIRE(toForwardCalls(goodCall()));
  struct Case {
    std::string_view expected;
    std::function<void(SdpaCall &)> change;
  };
  const Case cases[] = {
      {"query: it has 1 dimensions; expected 2", [](SdpaCall &c) { c.query = shape({8}); }},
      {"key: it has 0 dimensions", [](SdpaCall &c) { c.key = {}; }},
      {"value: its dtype is f32, that of key is f16; they must be equal: convert one of them",
       [](SdpaCall &c) { c.key.dtype = DType::F16; }},
      {"key: its dtype is f64, that of query is f32, which does not hold all its numbers; key and value may be narrower than query but not "
       "wider: convert query to f64, or them to f32",
       [](SdpaCall &c) { c.key.dtype = DType::F64; }},
      {"value: its dtype is i32", [](SdpaCall &c) { c.value.dtype = DType::I32; }},
      {"key: its last size is 9, that of query is 8", [](SdpaCall &c) { c.key = shape({2, 4, 7, 9}); }},
      {"value: its length is 6, that of key is 7", [](SdpaCall &c) { c.value = shape({2, 4, 6, 16}); }},
      {"To let query heads share key heads, set enableGqa",
       [](SdpaCall &c) {
         c.key = shape({2, 2, 7, 8});
         c.value = shape({2, 2, 7, 16});
       }},
      {"(query has 4, key 3, value 3).",
       [](SdpaCall &c) {
         c.key = shape({2, 3, 7, 8});
         c.value = shape({2, 3, 7, 16});
       }},
      {"key: its head count is 3, that of query is 4; with enableGqa the latter must be a multiple",
       [](SdpaCall &c) {
         c.key = shape({2, 3, 7, 8});
         c.value = shape({2, 3, 7, 16});
         c.enableGqa = true;
       }},
      {"value: its head count is 4, that of key is 2",
       [](SdpaCall &c) {
         c.key = shape({2, 2, 7, 8});
         c.enableGqa = true;
       }},
      {"key: its size 4 from the end is 3, another operand's is 2", [](SdpaCall &c) { c.key = shape({3, 4, 7, 8}); }},
      {"out: its sizes are [2, 4, 5, 8], expected [2, 4, 5, 16]", [](SdpaCall &c) { c.out = shape({2, 4, 5, 8}); }},
      {"out: its sizes are [1, 2, 4, 5, 16], expected [2, 4, 5, 16]", [](SdpaCall &c) { c.out = shape({1, 2, 4, 5, 16}); }},
      {"lse: its sizes are [2, 4], expected [2, 4, 5]", [](SdpaCall &c) { c.lse = shape({2, 4}); }},
      {"attn_mask: its sizes [1, 1, 5, 6] cannot be repeated to [2, 4, 5, 7]: dimension 3 is 6, which is neither 1 nor 7",
       [](SdpaCall &c) { c.attnMask = shape({5, 6}, DType::Bool); }},
      {"attn_mask: it has 5 dimensions; at most the 4", [](SdpaCall &c) { c.attnMask = shape({1, 1, 1, 5, 7}); }},
      {"attn_mask: its dtype is i64; expected bool", [](SdpaCall &c) { c.attnMask = shape({5, 7}, DType::I64); }},
      {"is_causal and attn_mask are both given",
       [](SdpaCall &c) {
         c.isCausal = true;
         c.attnMask = shape({5, 7}, DType::Bool);
       }},
      {"is_causal and attn_mask are both given",
       [](SdpaCall &c) {
         c.isCausal = true;
         c.attnMask = causalLowerRight(5, 7);
       }},
      {"the causal bias was made for 5 queries and 6 keys, the call has 5 and 7", [](SdpaCall &c) { c.attnMask = causalUpperLeft(5, 6); }},
      {"dropout_p: -1 is no probability", [](SdpaCall &c) { c.dropoutP = -1; }},
      {"dropout_p: nan is no probability", [](SdpaCall &c) { c.dropoutP = std::nan(""); }},
  };
  for (const Case &one : cases) {
    const std::string message = refusal(one.change);
    CHECK_MESSAGE(contains(message, one.expected), message);
  }
}

TEST_CASE("what a mask repeats over is no part of its formula") {
  SdpaCall call = goodCall();
  call.attnMask = shape({2, 1, 1, 7}, DType::Bool);
  Result<std::vector<ForwardCall>> calls = toForwardCalls(call);
  REQUIRE(calls);
  CHECK(contains(calls->front().mod.canonicalText(), "attn_mask[%b, %kv]"));
  call.attnMask = shape({5, 7});
  calls = toForwardCalls(call);
  CHECK(contains(calls->front().mod.canonicalText(), "attn_mask[%q, %kv]"));
  CHECK(!calls->front().mod.hasMask());
}

TEST_CASE("fold-batch: dense dimensions fold, others are stepped through, empty ones compute nothing") {
  using attention::foldBatch;
  const TensorRef dense[] = {shape({2, 3, 4, 8})};
  auto steps = foldBatch(dense, 3);
  REQUIRE(steps);
  REQUIRE(steps->size() == 1);
  CHECK(steps->front().front().rank == 2);
  CHECK(steps->front().front().sizes[0] == 24);
  CHECK(steps->front().front().strides[0] == 8);

  float memory[24 * 8];
  TensorRef first = TensorRef::dense(memory, DType::F32, {2, 3, 4, 8}), second = first;
  second.strides[1] = 0; // repeats over the middle: nothing folds, and 4 is the widest
  const TensorRef pair[] = {first, second};
  steps = foldBatch(pair, 3);
  REQUIRE(steps);
  CHECK(steps->size() == 6);
  for (std::int64_t step = 0; step < 6; ++step) {
    const std::int64_t middle = step % 3, outer = step / 3;
    CHECK((*steps)[step][0].sizes[0] == 4);
    CHECK((*steps)[step][0].data == memory + outer * 96 + middle * 32);
    CHECK((*steps)[step][1].data == memory + outer * 96);
  }
  const TensorRef empty[] = {shape({2, 0, 4, 8}), shape({2, 0, 4, 8})};
  steps = foldBatch(empty, 3);
  REQUIRE(steps);
  CHECK(steps->size() == 1);
  CHECK(steps->front().front().sizes[0] == 0);
  const TensorRef huge[] = {shape({std::int64_t{1} << 40, std::int64_t{1} << 40, 8})};
  CHECK(contains(foldBatch(huge, 2).error().message, "does not fit 64 bits"));
}

TEST_CASE("canUse: every reason, not the first") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  SDPAParams params{.query = shape({2, 4, 5, 8}), .key = shape({2, 4, 7, 8}), .value = shape({2, 4, 7, 8})};
  std::vector<BackendReason> reasons = {{"stale", false, ""}};
  CHECK(canUseFlashAttention(engine, params, &reasons));
  CHECK(reasons.empty());
  CHECK(canUseFlashAttention(engine, params));
  CHECK(!canUseCudnnAttention(engine, params, &reasons));
  REQUIRE(reasons.size() == 1);
  CHECK(reasons[0].predicate == "built");

  EngineOptions options;
  options.target = "sm_80";
  const Engine gpu = makeEngine(compiler, options);
  CHECK(!canUseFlashAttention(gpu, params, &reasons));
  REQUIRE(!reasons.empty());
  CHECK(contains(reasons[0].detail, "bf16 and f16"));

  params.query.dtype = params.key.dtype = params.value.dtype = DType::F64;
  CHECK(canUseFlashAttention(engine, params, &reasons));
  params.key.dtype = params.value.dtype = DType::F8E4M3;
  CHECK(canUseFlashAttention(engine, params, &reasons));
  params.query.dtype = DType::F8E5M2;
  CHECK(!canUseFlashAttention(engine, params, &reasons));
  CHECK(contains(reasons.at(0).detail, "key: its dtype is f8e4m3fn"));
  params.query.dtype = DType::F64;
  params.dropout = 1.5;
  CHECK(!canUseFlashAttention(engine, params, &reasons));
  CHECK(reasons.at(0).predicate == "call");
  CHECK(contains(reasons[0].detail, "dropout_p"));
  CHECK(compiler.calls == 0);
}

TEST_CASE("each step of a folded batch draws dropout numbers of its own") {
  SdpaCall call = goodCall();
  call.query = shape({3, 2, 4, 5, 8});
  call.key = shape({3, 2, 4, 7, 8});
  call.value = shape({3, 2, 4, 7, 16});
  call.out = shape({3, 2, 4, 5, 16});
  call.query.strides = {1000, 3, 64, 8, 1}; // no one stride walks both batch dimensions
  call.dropoutP = 0.25;
  call.seed = 9;
  call.offset = 100;
  const Result<std::vector<ForwardCall>> calls = toForwardCalls(call);
  REQUIRE(calls);
  REQUIRE(calls->size() > 1);
  std::uint64_t offset = 100;
  for (const ForwardCall &one : *calls) {
    REQUIRE(one.dropout);
    CHECK(one.dropout->p == 0.25);
    CHECK(one.dropout->seed == 9);
    CHECK(one.dropout->offset == offset);
    offset += static_cast<std::uint64_t>(one.q.sizes[0] * 4 * 5 * 7);
  }
  CHECK(offset == 100 + 3 * 2 * 4 * 5 * 7);
}

TEST_CASE("causal biases draw themselves") {
  CHECK(causalUpperLeft(2, 4).toString() == "x...\nxx..\n");
  CHECK(causalLowerRight(2, 4).toString() == "xxx.\nxxxx\n");
  CHECK(causalLowerRight(4, 2).toString() == "..\n..\nx.\nxx\n");
}
