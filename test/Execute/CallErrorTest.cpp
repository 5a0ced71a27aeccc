// Bad calls: one row each with what the message has to name. Nothing is compiled for any of them.
#include "EngineTestUtil.h"

#include <doctest/doctest.h>
#include <limits>

using namespace attnjit;
using namespace attnjit::test;

namespace {

struct BadCall {
  const char *what;
  std::function<void(Operands &)> spoil;
  std::vector<std::string> named; ///< parts of the message
};

/// The mask may read a captured int w, which is 5.
BlockMask blocksOf(std::string_view mask, std::int64_t B, std::int64_t H, std::int64_t M, std::int64_t N) {
  Result<BlockMask> made = createBlockMask(parseMod("", mask, {{"w", DType::I64}}), {{"w", std::int64_t{5}}}, B, H, M, N);
  if (!made)
    std::abort();
  return *made;
}

constexpr std::int64_t kHuge = std::int64_t{1} << 62;

const std::vector<BadCall> &badCalls() {
  static const std::vector<BadCall> table = {
      {"block mask of other lengths",
       [](Operands &o) { o.call.blockMask = blocksOf("", 1, 1, 30, 60); },
       {"blockMask:", "[1, 1, 30, 60]", "M = 20", "adjust(20, 40)"}},
      {"block mask too short", [](Operands &o) { o.call.blockMask = blocksOf("", 1, 1, 20, 39); }, {"blockMask:", "N = 40", "grow(20, 40"}},
      {"block mask of other batches",
       [](Operands &o) { o.call.blockMask = blocksOf("", 3, 1, 20, 40); },
       {"blockMask:", "batch is 3", "the call has 2", "or, if it serves all, for 1"}},
      {"block mask of other heads",
       [](Operands &o) { o.call.blockMask = blocksOf("", 1, 2, 20, 40); },
       {"blockMask:", "query heads is 2", "the call has 4"}},
      {"another mask_mod than the block mask's",
       [](Operands &o) {
         o.call.mod = parseMod("", "q_idx > kv_idx");
         o.call.blockMask = blocksOf("q_idx >= kv_idx", 1, 1, 20, 40);
       },
       {"blockMask:", "another mask_mod", "leave it out"}},
      {"a name for two captures",
       [](Operands &o) {
         o.call.mod = parseMod("score * w", "", {{"w", DType::F64}});
         o.call.captures = {{"w", 2.0}};
         o.call.blockMask = blocksOf("q_idx - kv_idx < w", 1, 1, 20, 40);
       },
       {"blockMask:", "capture 'w' is a number (float) in one formula and a number (int) in another", "rename one of them"}},
      {"two values of a capture",
       [](Operands &o) {
         o.call.mod = parseMod("score * w", "", {{"w", DType::I64}});
         o.call.captures = {{"w", std::int64_t{2}}};
         o.call.blockMask = blocksOf("q_idx - kv_idx < w", 1, 1, 20, 40);
       },
       {"capture 'w' has one value here and another in the block mask"}},
      {"a page that the pool lacks",
       [](Operands &o) {
         static std::int64_t pages[] = {0, 1, 2, 0};
         o.call.pages = {TensorRef::dense(pages, DType::I64, {2, 2}), 80};
       },
       {"pages.table:", "entry [1, 0] is page 2", "pages 0 to 1"}},
      {"a page before the pool",
       [](Operands &o) {
         static std::int32_t pages[] = {0, -1};
         o.call.pages = {TensorRef::dense(pages, DType::I32, {1, 2}), 41};
       },
       {"pages.table:", "entry [0, 1] is page -1"}},
      {"too few pages",
       [](Operands &o) {
         static std::int64_t pages[] = {0, 1};
         o.call.pages = {TensorRef::dense(pages, DType::I64, {2, 1}), 41};
       },
       {"pages.table:", "1 pages of 40 rows", "too few for 41 keys", "2 are needed"}},
      {"page table of other batches",
       [](Operands &o) {
         static std::int64_t pages[] = {0, 1, 0};
         o.call.pages = {TensorRef::dense(pages, DType::I64, {3, 1}), 40};
       },
       {"pages.table:", "batch is 3", "that of q is 2"}},
      {"page table of floats",
       [](Operands &o) {
         static float pages[] = {0, 1};
         o.call.pages = {TensorRef::dense(pages, DType::F32, {2, 1}), 40};
       },
       {"pages.table:", "f32", "i32 or i64"}},
      {"no page table", [](Operands &o) { o.call.pages = {TensorRef::dense(nullptr, DType::I64, {2, 1}), 40}; }, {"pages.table:", "null"}},
      {"fewer keys than none",
       [](Operands &o) { o.call.pages = {TensorRef::dense(nullptr, DType::I64, {2, 0}), -1}; },
       {"pages.keys: -1 is negative"}},
      {"pools of other pages",
       [](Operands &o) {
         o.call.v.sizes[0] = 1;
         o.call.pages = {TensorRef::dense(nullptr, DType::I64, {2, 0}), 0};
       },
       {"v:", "1 pages, k has 2"}},
      {"pages without rows",
       [](Operands &o) {
         o.call.k.sizes[2] = o.call.v.sizes[2] = 0;
         o.call.pages = {TensorRef::dense(nullptr, DType::I64, {2, 0}), 0};
       },
       {"k:", "page size", "is 0"}},
      {"q of rank 3", [](Operands &o) { o.call.q.rank = 3; }, {"q:", "4 dimensions", "3"}},
      {"rank beyond the array", [](Operands &o) { o.call.k.rank = 99; }, {"k:", "4 dimensions", "99"}},
      {"negative rank", [](Operands &o) { o.call.k.rank = -1; }, {"k:", "4 dimensions", "-1"}},
      {"default-made operands", [](Operands &o) { o.call.v = TensorRef{}; }, {"v:", "4 dimensions", "0"}},
      {"negative size", [](Operands &o) { o.call.k.sizes[2] = -3; }, {"k:", "-3", "negative"}},
      {"int operand", [](Operands &o) { o.call.q.dtype = DType::I32; }, {"q:", "i32", "bf16"}},
      {"no such dtype", [](Operands &o) { o.call.q.dtype = static_cast<DType>(77); }, {"q:", "77", "DType"}},
      {"k of another dtype", [](Operands &o) { o.call.k.dtype = DType::BF16; }, {"v:", "f32", "k", "bf16", "convert"}},
      {"v of another dtype", [](Operands &o) { o.call.v.dtype = DType::F64; }, {"v:", "f64", "f32", "not wider", "convert q to f64"}},
      {"k and v wider than q", [](Operands &o) { o.call.q.dtype = DType::F8E4M3; }, {"k:", "f32", "f8e4m3fn", "convert q to f32"}},
      {"k and v that q does not hold",
       [](Operands &o) {
         o.call.q.dtype = DType::F16;
         o.call.k.dtype = o.call.v.dtype = DType::BF16;
       },
       {"k:", "bf16", "f16", "convert q to f32, or them to f16"}},
      {"kDescale of f64",
       [](Operands &o) { o.call.kDescale = TensorRef::dense(o.q.data(), DType::F64, {1, 1}); },
       {"kDescale:", "f64", "f32"}},
      {"qDescale of rank 1",
       [](Operands &o) { o.call.qDescale = TensorRef::dense(o.q.data(), DType::F32, {2}); },
       {"qDescale:", "2 dimensions"}},
      {"vDescale per query head",
       [](Operands &o) { o.call.vDescale = TensorRef::dense(o.q.data(), DType::F32, {2, 4}); },
       {"vDescale:", "kv head", "4", "expected 2"}},
      {"kDescale without data",
       [](Operands &o) { o.call.kDescale = TensorRef::dense(nullptr, DType::F32, {1, 1}); },
       {"kDescale:", "null"}},
      {"D of q and k", [](Operands &o) { o.call.k.sizes[3] = 4; }, {"k:", "4", "8", "head dimension"}},
      {"D 0", [](Operands &o) { o.call.q.sizes[3] = o.call.k.sizes[3] = 0; }, {"q:", "head dimension", "0", "512"}},
      {"D 513", [](Operands &o) { o.call.q.sizes[3] = o.call.k.sizes[3] = 513; }, {"q:", "513", "512"}},
      {"Dv 513", [](Operands &o) { o.call.v.sizes[3] = 513; }, {"v:", "513", "512"}},
      {"lengths of k and v", [](Operands &o) { o.call.v.sizes[2] = 39; }, {"v:", "39", "40", "k"}},
      {"heads of k and v", [](Operands &o) { o.call.v.sizes[1] = 1; }, {"v:", "Hkv"}},
      {"batch of k", [](Operands &o) { o.call.k.sizes[0] = 3; }, {"k:", "batch is 3", "2", "shared"}},
      {"batch of v", [](Operands &o) { o.call.v.sizes[0] = 3; }, {"v:", "batch is 3"}},
      {"heads do not divide", [](Operands &o) { o.call.k.sizes[1] = o.call.v.sizes[1] = 3; }, {"k:", "3", "4", "multiple"}},
      {"no kv heads", [](Operands &o) { o.call.k.sizes[1] = o.call.v.sizes[1] = 0; }, {"k:", "0", "4"}},
      {"out of another shape", [](Operands &o) { o.call.out.sizes[2] = 21; }, {"out:", "[2, 4, 20, 8]", "21"}},
      {"out of another dtype", [](Operands &o) { o.call.out.dtype = DType::I32; }, {"out:", "i32", "f32"}},
      {"out broadcast", [](Operands &o) { o.call.out.strides[1] = 0; }, {"out:", "stride 0", "share memory"}},
      {"out overlapping itself", [](Operands &o) { o.call.out.strides[2] = 4; }, {"out:", "stride 4", "share memory"}},
      {"out is q", [](Operands &o) { o.call.out.data = o.call.q.data; }, {"out:", "shares memory with q"}},
      {"out runs into v", [](Operands &o) { o.call.out.data = o.v.data() + 8; }, {"out:", "shares memory with v"}},
      {"lse of rank 4", [](Operands &o) { o.call.lse = o.call.out; }, {"lse:", "3 dimensions"}},
      {"lse in bf16", [](Operands &o) { o.call.lse = o.rows(o.lse), o.call.lse->dtype = DType::BF16; }, {"lse:", "bf16", "f32"}},
      {"max of another shape", [](Operands &o) { o.call.max = o.rows(o.max), o.call.max->sizes[1] = 5; }, {"max:", "[2, 4, 20]"}},
      {"lse and max in one place", [](Operands &o) { o.call.max = o.call.lse = o.rows(o.lse); }, {"lse:", "shares memory with max"}},
      {"null q", [](Operands &o) { o.call.q.data = nullptr; }, {"q:", "null"}},
      {"null out", [](Operands &o) { o.call.out.data = nullptr; }, {"out:", "null"}},
      {"odd address", [](Operands &o) { o.call.q.data = static_cast<char *>(o.call.q.data) + 1; }, {"q:", "aligned", "4"}},
      {"sizes that overflow",
       [](Operands &o) {
         o.call.q.sizes[2] = kHuge;
         o.call.q.sizes[0] = 16;
       },
       {"q:", "overflow"}},
      {"strides that overflow", [](Operands &o) { o.call.k.strides[2] = kHuge; }, {"k:", "overflow"}},
      {"the most negative stride", [](Operands &o) { o.call.k.strides[2] = std::numeric_limits<std::int64_t>::min(); }, {"k:", "overflow"}},
      {"bytes that overflow", [](Operands &o) { o.call.v.strides[2] = kHuge / 200; }, {"v:", "overflow"}},
      {"scale nan", [](Operands &o) { o.call.scale = std::nan(""); }, {"scale:", "nan", "1/sqrt(D)"}},
      {"scale infinite", [](Operands &o) { o.call.scale = HUGE_VAL; }, {"scale:", "inf"}},
      {"negative threads", [](Operands &o) { o.call.threads = -2; }, {"threads:", "-2"}},
      {"negative tile", [](Operands &o) { o.call.tiles.rows = -1; }, {"tiles.rows", "-1"}},
      {"giant tile", [](Operands &o) { o.call.tiles.cols = 1 << 20; }, {"tiles.cols", "4096"}},
      {"capture missing", [](Operands &o) { o.call.captures.pop_back(); }, {"'w'", "missing", "a number"}},
      {"all captures missing", [](Operands &o) { o.call.captures.clear(); }, {"'t'", "missing", "a tensor of f32 with 2 dimensions"}},
      {"unknown capture", [](Operands &o) { o.call.captures.push_back({"zz", 1.0}); }, {"'zz'", "t, w"}},
      {"capture given twice", [](Operands &o) { o.call.captures.push_back(o.call.captures[0]); }, {"'t'", "twice"}},
      {"names and positions mixed", [](Operands &o) { o.call.captures[1].name.clear(); }, {"captures", "name all of them or none"}},
      {"too many by position", [](Operands &o) { o.call.captures = {{"", 1.0}, {"", 1.0}, {"", 1.0}}; }, {"captures", "3", "2"}},
      {"capture of another dtype",
       [](Operands &o) { std::get<TensorRef>(o.call.captures[0].value).dtype = DType::F64; },
       {"'t'", "a tensor of f32 with 2 dimensions", "f64"}},
      {"capture of another rank",
       [](Operands &o) { std::get<TensorRef>(o.call.captures[0].value).rank = 1; },
       {"'t'", "2 dimensions", "1 dimension"}},
      {"number for a tensor", [](Operands &o) { o.call.captures[0].value = 2.0; }, {"'t'", "the float 2"}},
      {"tensor for a number", [](Operands &o) { o.call.captures[1].value = o.call.q; }, {"'w'", "a number", "a tensor of f32"}},
      {"bool for a number", [](Operands &o) { o.call.captures[1].value = true; }, {"'w'", "a number", "true"}},
      {"capture without data", [](Operands &o) { std::get<TensorRef>(o.call.captures[0].value).data = nullptr; }, {"capture 't'", "null"}},
      {"capture with a negative size",
       [](Operands &o) { std::get<TensorRef>(o.call.captures[0].value).sizes[0] = -4; },
       {"capture 't'", "negative"}},
  };
  return table;
}

} // namespace

TEST_CASE("every bad call is one clear message") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  const Mod mod = parseMod("score + t[h, q_idx] * w", "", {{"t", DType::F32, 2}, {"w", DType::F64}});
  std::vector<float> table(4 * 20);
  auto good = [&](Operands &operands) {
    operands.call.mod = mod;
    operands.call.captures = {{"t", TensorRef::dense(table.data(), DType::F32, {4, 20})}, {"w", 0.5}};
  };
  for (const BadCall &row : badCalls()) {
    CAPTURE(row.what);
    Operands operands(2, 4, 2, 20, 40);
    good(operands);
    row.spoil(operands);
    Result<ForwardReport> report = engine.forward(operands.call);
    CHECK(!report);
    if (report)
      continue;
    CHECK(report.error().code == ErrorCode::InvalidArgument);
    for (const std::string &part : row.named)
      CHECK_MESSAGE(contains(report.error().message, part), report.error().message);
    CHECK(operands.out == std::vector<float>(operands.out.size(), -1.0f));
  }
  CHECK(compiler.calls == 0);
  Operands operands(2, 4, 2, 20, 40);
  good(operands);
  CHECK(engine.forward(operands.call)); // the row they all started from
}

TEST_CASE("positions that do not fit 64 bits are refused") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands operands;
  for (TensorRef *tensor : {&operands.call.q, &operands.call.k, &operands.call.v}) {
    tensor->sizes[2] = std::int64_t{1} << 33;
    tensor->strides[2] = 0;
  }
  operands.call.out.sizes[2] = std::int64_t{1} << 33;
  operands.call.out.strides = {0, 8ll << 33, 8, 1};
  Result<ExplainReport> report = engine.explain(operands.call);
  REQUIRE(!report);
  CHECK(contains(report.error().message, "64 bits"));
}

TEST_CASE("views with gaps between each other's elements may interleave") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands plain(1, 2, 2, 20, 20), packed(1, 2, 2, 20, 20);
  REQUIRE(engine.forward(plain.call));
  // [M, 4, H, D]: q, k, v and out side by side in one buffer.
  std::vector<float> buffer(20 * 4 * 2 * kHeadDim);
  auto slice = [&](int which) {
    return TensorRef{buffer.data() + which * 2 * kHeadDim, DType::F32, 4, {1, 2, 20, kHeadDim}, {0, kHeadDim, 4 * 2 * kHeadDim, 1}};
  };
  for (int h = 0; h < 2; ++h)
    for (int m = 0; m < 20; ++m)
      for (int d = 0; d < kHeadDim; ++d)
        for (auto [which, from] : {std::pair{0, &plain.q}, {1, &plain.k}, {2, &plain.v}})
          buffer[((m * 4 + which) * 2 + h) * kHeadDim + d] = (*from)[(h * 20 + m) * kHeadDim + d];
  packed.call.q = slice(0);
  packed.call.k = slice(1);
  packed.call.v = slice(2);
  packed.call.out = slice(3);
  REQUIRE(engine.forward(packed.call));
  for (int h = 0; h < 2; ++h)
    for (int m = 0; m < 20; ++m)
      for (int d = 0; d < kHeadDim; ++d)
        REQUIRE(buffer[((m * 4 + 3) * 2 + h) * kHeadDim + d] == plain.out[(h * 20 + m) * kHeadDim + d]);
}

TEST_CASE("impossible captures of a Mod are refused when it is parsed") {
  auto message = [](std::vector<CaptureInfo> captures) {
    Result<Mod> mod = Mod::parse("score", "", std::move(captures));
    return mod ? std::string("parsed") : mod.error().message;
  };
  CHECK(contains(message({{"", DType::F32, 1}}), "needs a name"));
  CHECK(contains(message({{"a", DType::F32, 1}, {"a", DType::F64}}), "same name"));
  CHECK(contains(message({{"a", DType::F32, 7}}), "rank 7"));
  CHECK(contains(message({{"a", DType::F32, -2}}), "rank -2"));
  CHECK(contains(message({{"a", DType::F32}}), "f64, i64 or bool"));
  CHECK(message({{"a", DType::F32, 0}, {"b", DType::Bool}}) == "parsed");
}

TEST_CASE("canonical text leads back to the same Mod") {
  const Mod mod = parseMod("score + t[h] * w", "q_idx - kv_idx < n", {{"t", DType::F32, 1}, {"w", DType::F64}, {"n", DType::I64}});
  Result<Mod> again = Mod::parseCanonical(mod.canonicalText());
  REQUIRE(again);
  CHECK(again->canonicalText() == mod.canonicalText());
  CHECK(again->captures().size() == 3);
  CHECK(again->hasMask());
  CHECK(!Mod().hasMask());
  CHECK(!Mod::parseCanonical("gibberish"));
}
