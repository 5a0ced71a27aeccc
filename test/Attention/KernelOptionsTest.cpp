// torch's kernel_options: what is applied, what is noted, what is refused.
#include "Execute/EngineTestUtil.h"

#include <algorithm>
#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::test;

namespace {

using Options = std::vector<KernelOption>;

std::vector<std::string> notesOf(const Options &options, ForwardCall &call) {
  const Result<std::vector<std::string>> notes = applyKernelOptions(options, call);
  REQUIRE_MESSAGE(notes, notes.error().message);
  return *notes;
}

std::string refusal(const Options &options, ErrorCode code = ErrorCode::InvalidArgument) {
  ForwardCall call;
  const Result<std::vector<std::string>> notes = applyKernelOptions(options, call);
  if (notes)
    return "accepted";
  CHECK(notes.error().code == code);
  CHECK(call.tiles == TileOptions());
  CHECK(!call.backends);
  return notes.error().message;
}

constexpr std::int64_t k64 = 64, k32 = 32, k4 = 4;

} // namespace

TEST_CASE("kernel-options: tiles, with the forward prefix winning wherever it stands") {
  ForwardCall call;
  CHECK(notesOf({{"BLOCK_M", k64}, {"BLOCK_N", k32}}, call).empty());
  CHECK(call.tiles.rows == 64);
  CHECK(call.tiles.cols == 32);
  for (const Options &options : {Options{{"fwd_BLOCK_M", k32}, {"BLOCK_M", k64}}, Options{{"BLOCK_M", k64}, {"fwd_BLOCK_M", k32}}}) {
    call = {};
    notesOf(options, call);
    CHECK(call.tiles.rows == 32);
  }
  call = {};
  const std::vector<std::string> notes = notesOf({{"bwd_BLOCK_M", k32}}, call);
  REQUIRE(notes.size() == 1);
  CHECK(contains(notes[0], "bwd_BLOCK_M: there is no backward pass"));
  CHECK(call.tiles.rows == 0);
}

TEST_CASE("kernel-options: backends") {
  ForwardCall call;
  CHECK(notesOf({{"BACKEND", "FLASH"}}, call).empty());
  CHECK(call.backends == BackendSet{SDPBackend::FlashAttention});
  notesOf({{"BACKEND", "TRITON_DECODE"}}, call);
  CHECK(call.backends == BackendSet{SDPBackend::EfficientAttention});
  call = {};
  CHECK(notesOf({{"BACKEND", "AUTO"}}, call).empty());
  CHECK(!call.backends);
  CHECK(notesOf({{"BACKEND", "TRITON"}}, call).size() == 1);
  CHECK(!call.backends);
  notesOf({{"FORCE_USE_FLEX_ATTENTION", true}}, call);
  REQUIRE(call.backends);
  CHECK(!call.backends->contains(SDPBackend::EfficientAttention));
  CHECK(call.backends->contains(SDPBackend::FlashAttention));
  CHECK(contains(refusal({{"BACKEND", "FLYDSL"}}, ErrorCode::Unsupported), "AMD"));
  CHECK(contains(refusal({{"BACKEND", "flash"}}), "'flash' is no backend; AUTO, FLASH"));
  CHECK(contains(refusal({{"BLOCK_M", k64}, {"BACKEND", "AUTO"}, {"FORCE_USE_FLEX_ATTENTION", true}}), "both say which kernel"));
}

TEST_CASE("kernel-options: the rest is noted, or refused when it would change a result") {
  ForwardCall call;
  const std::vector<std::string> notes = notesOf({{"num_warps", k4}, {"ROWS_GUARANTEED_SAFE", true}, {"PRESCALE_QK", false}}, call);
  REQUIRE(notes.size() == 2);
  CHECK(contains(notes[0], "num_warps: the schedule decides"));
  CHECK(contains(notes[1], "(A5)"));
  CHECK(contains(refusal({{"PRESCALE_QK", true}}, ErrorCode::Unsupported), "only False is served"));
  CHECK(contains(refusal({{"OUTPUT_LOGSUMEXP", false}}), "give ForwardCall::lse a tensor"));
  CHECK(contains(refusal({{"OUTPUT_MAX", true}}), "give ForwardCall::max a tensor"));
  CHECK(contains(refusal({{"BLOCK_M", k64}, {"BLOCK_X", k64}}),
                 "kernel option BLOCK_X: there is none of that name; known are BLOCK_M, BLOCK_N"));
  CHECK(contains(refusal({{"BLOCK_M", 64.0}}), "its value must be an int"));
  CHECK(contains(refusal({{"PRESCALE_QK", k4}}), "its value must be a bool"));
  CHECK(contains(refusal({{"BACKEND", true}}), "its value must be a string"));
  CHECK(contains(refusal({{"BLOCK_N", std::int64_t{0}}}), "0 is not a tile size"));
}
