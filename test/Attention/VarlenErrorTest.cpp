// What varlenAttention refuses, and why.
#include "Execute/EngineTestUtil.h"

#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::test;

namespace {

/// Two sequences of 3 and 4 queries on 5 and 6 keys, with all that a call can have.
struct Good {
  std::vector<std::int32_t> cuQ = {0, 3, 7}, cuK = {0, 5, 11}, used = {5, 6}, table = {0, 1, 2, 3};
  std::vector<float> memory = std::vector<float>(8 * 4 * 4 * kHeadDim), outMemory = memory, lseMemory = std::vector<float>(4 * 7);
  VarlenCall call;
  Good() {
    call.q = TensorRef::dense(memory.data(), DType::F32, {7, 4, kHeadDim});
    call.k = call.v = TensorRef::dense(memory.data(), DType::F32, {11, 4, kHeadDim});
    call.out = TensorRef::dense(outMemory.data(), DType::F32, {7, 4, kHeadDim});
    call.lse = TensorRef::dense(lseMemory.data(), DType::F32, {4, 7});
    call.cuSeqQ = TensorRef::dense(cuQ.data(), DType::I32, {3});
    call.cuSeqK = TensorRef::dense(cuK.data(), DType::I32, {3});
  }
  void page() {
    call.k = call.v = TensorRef::dense(memory.data(), DType::F32, {4, 4, 4, kHeadDim});
    call.cuSeqK = {};
    call.seqUsedK = TensorRef::dense(used.data(), DType::I32, {2});
    call.blockTable = TensorRef::dense(table.data(), DType::I32, {2, 2});
  }
};

} // namespace

TEST_CASE("varlen: each bad call is refused with the sequence and the cure") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  {
    Good good;
    REQUIRE(varlenAttention(engine, good.call));
    good.page();
    const Result<ForwardReport> paged = varlenAttention(engine, good.call);
    REQUIRE_MESSAGE(paged, paged.error().message);
  }
  struct Case {
    std::string_view expected;
    std::function<void(Good &)> change;
  };
  const Case cases[] = {
      {"cu_seq_q: it begins with 1, not 0", [](Good &g) { g.cuQ[0] = 1; }},
      {"cu_seq_q: it falls from 8 to 7 at index 2; sequence 1 would have a negative length", [](Good &g) { g.cuQ[1] = 8; }},
      {"cu_seq_k: it ends with 12, but k holds 11 tokens", [](Good &g) { g.cuK[2] = 12; }},
      {"cu_seq_k: it has 2 elements, cu_seq_q has 3", [](Good &g) { g.call.cuSeqK.sizes[0] = 2; }},
      {"cu_seq_q: it has no element", [](Good &g) { g.call.cuSeqQ.sizes[0] = 0; }},
      {"cu_seq_q: its dtype is f32; expected i32 or i64", [](Good &g) { g.call.cuSeqQ.dtype = DType::F32; }},
      {"cu_seq_k: expected 1 dimensions, got 0", [](Good &g) { g.call.cuSeqK = {}; }},
      {"q: expected 3 dimensions, got 0", [](Good &g) { g.call.q = {}; }},
      {"out: it holds 6 tokens, q holds 7", [](Good &g) { g.call.out.sizes[0] = 6; }},
      {"lse: its sizes are [7, 4], expected [Hq, Tq] = [4, 7]",
       [](Good &g) { g.call.lse = TensorRef::dense(g.lseMemory.data(), DType::F32, {7, 4}); }},
      {"v: its sizes [10, 4, 8] and those of k [11, 4, 8] differ", [](Good &g) { g.call.v.sizes[0] = 10; }},
      {"k: it has 2 heads, q has 4; to let query heads share key heads, set enableGqa",
       [](Good &g) { g.call.k.sizes[1] = g.call.v.sizes[1] = 2; }},
      {"sequence 0: k: its head count is 3, that of q is 4",
       [](Good &g) {
         g.call.k.sizes[1] = g.call.v.sizes[1] = 3;
         g.call.enableGqa = true;
       }},
      {"qDescale: its first size is 3; expected 2, one row for each sequence, or 1 to share it (sizes [3, 1])",
       [](Good &g) { g.call.qDescale = TensorRef::dense(g.memory.data(), DType::F32, {3, 1}); }},
      {"kDescale: expected 2 dimensions, got 1", [](Good &g) { g.call.kDescale = TensorRef::dense(g.memory.data(), DType::F32, {2}); }},
      {"sequence 0: vDescale: its kv head size (dimension 1) is 3; expected 4",
       [](Good &g) { g.call.vDescale = TensorRef::dense(g.memory.data(), DType::F32, {2, 3}); }},
      {"sequence 0: vDescale: its dtype is f64; expected f32",
       [](Good &g) { g.call.vDescale = TensorRef::dense(g.memory.data(), DType::F64, {1, 4}); }},
      {"max_q: sequence 1 has 4 queries, above 3", [](Good &g) { g.call.maxQ = 3; }},
      {"max_k: sequence 1 has 6 keys, above 5", [](Good &g) { g.call.maxK = 5; }},
      {"window.left: -2; -1 means no bound", [](Good &g) { g.call.window.left = -2; }},
      {"seqused_k: it has 1 elements, cu_seq_q says 2 sequences",
       [](Good &g) { g.call.seqUsedK = TensorRef::dense(g.used.data(), DType::I32, {1}); }},
      {"seqused_k: sequence 1 would use 7 keys, cu_seq_k gives it 6",
       [](Good &g) {
         g.used[1] = 7;
         g.call.seqUsedK = TensorRef::dense(g.used.data(), DType::I32, {2});
       }},
      {"seqused_k: sequence 0 would use -1 keys",
       [](Good &g) {
         g.page();
         g.used[0] = -1;
       }},
      {"block_table: it needs seqused_k",
       [](Good &g) {
         g.page();
         g.call.seqUsedK.reset();
       }},
      {"block_table: sequence 1 uses 9 keys, 3 pages of 4, but rows have 2 entries",
       [](Good &g) {
         g.page();
         g.used[1] = 9;
       }},
      {"sequence 1: pages.table: entry [0, 0] is page 4; the pool has pages 0 to 3",
       [](Good &g) {
         g.page();
         g.table[2] = 4;
       }},
      {"block_table: it has 1 rows, cu_seq_q says 2 sequences",
       [](Good &g) {
         g.page();
         g.call.blockTable->sizes[0] = 1;
       }},
      {"k: its page size is 0",
       [](Good &g) {
         g.page();
         g.call.k.sizes[1] = g.call.v.sizes[1] = 0;
       }},
      {"captures: 1 values were given by position, the formula declares 0", [](Good &g) { g.call.captures = {{"", 1.0}}; }},
      {"capture 'varlen_b': the name is needed",
       [](Good &g) {
         g.call.mod = parseMod("score + b * varlen_b", "", {{"varlen_b", DType::F64}});
         g.call.captures = {{"varlen_b", 1.0}};
       }},
      {"sequence 0: scale: inf is not a finite number", [](Good &g) { g.call.scale = HUGE_VAL; }},
  };
  for (const Case &one : cases) {
    Good good;
    one.change(good);
    const Result<ForwardReport> report = varlenAttention(engine, good.call);
    const std::string message = report ? "accepted" : report.error().message;
    CHECK_MESSAGE(contains(message, one.expected), one.expected, " / ", message);
    if (!report)
      CHECK(report.error().code == ErrorCode::InvalidArgument);
  }
}

TEST_CASE("varlen: no sequences, and only empty ones") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Good good;
  good.call.cuSeqQ.sizes[0] = good.call.cuSeqK.sizes[0] = 1;
  CHECK(varlenAttention(engine, good.call));
  Good empty;
  empty.cuQ = {0, 0, 0};
  empty.call.cuSeqQ = TensorRef::dense(empty.cuQ.data(), DType::I32, {3});
  CHECK(varlenAttention(engine, empty.call));
  CHECK(compiler.calls == 0);
}
