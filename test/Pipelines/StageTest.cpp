// Every stage text leads to the image that the whole way down made, bit for bit. From ll on a text is of the kernel as a whole, whose
// functions share their constants, where an image is made function by function: so those texts lead to an image of their own, all to the
// same.
#include "Specs.h"

#include <map>
#include <span>

using namespace attnjit;
using namespace attnjit::compiler;

namespace {

constexpr Stage kGpuStages[] = {Stage::Attn, Stage::Tile, Stage::Gpu, Stage::Llvm, Stage::Ll, Stage::Ptx};
constexpr Stage kCpuStages[] = {Stage::Attn, Stage::Tile, Stage::Vector, Stage::Llvm, Stage::Ll, Stage::Asm, Stage::Obj};

CompileOptions collectInto(std::map<Stage, std::string> &texts) {
  CompileOptions options;
  options.onStage = [&texts](Stage stage, std::string_view text) { texts[stage] = text; };
  return options;
}

} // namespace

static bool isOfWhole(Stage stage) { return stage == Stage::Ll || stage == Stage::Asm || stage == Stage::Obj; }

/// Compiles `spec` with all stages dumped, then goes on from each of `stages` and compares image and later texts.
static void checkStages(KernelCompiler &compiler, const KernelSpec &spec, std::span<const Stage> stages) {
  std::map<Stage, std::string> texts;
  Result<KernelImage> image = compiler.compile(spec, collectInto(texts));
  if (!image) {
    FAIL_CHECK(image.error().message);
    return;
  }
  CHECK(image->code.size() > 100);
  CHECK(texts.size() == stages.size());
  const bool hasPhases = texts[Stage::Llvm].find(" @attention.") != std::string::npos;
  KernelImage ofWhole = *image;
  if (hasPhases) {
    Result<KernelImage> fromLl = compiler.compileFrom(Stage::Ll, texts[Stage::Ll], {});
    REQUIRE(fromLl);
    ofWhole = std::move(*fromLl);
  }
  for (Stage stage : stages) {
    CAPTURE(std::string(name(stage)));
    REQUIRE(texts.count(stage) == 1);
    std::map<Stage, std::string> again;
    Result<KernelImage> resumed = compiler.compileFrom(stage, texts[stage], collectInto(again));
    if (!resumed) {
      FAIL_CHECK(resumed.error().message);
      continue;
    }
    const KernelImage &expected = isOfWhole(stage) ? ofWhole : *image;
    CHECK(resumed->meta == expected.meta);
    CHECK(resumed->code == expected.code);
    for (const auto &[later, text] : again) {
      CAPTURE(std::string(name(later)));
      const bool same = text == texts[later];
      CHECK(same);
    }
  }
}

TEST_CASE("going on from the text of any stage gives the same image") {
  KernelCompiler compiler;
  for (const SpecRow &row : specRows()) {
    CAPTURE(std::string(row.name));
    checkStages(compiler, makeSpec(row), kCpuStages);
  }
}

TEST_CASE("so it does on the way to a GPU") {
  KernelCompiler compiler;
  KernelSpec spec = makeSpec({"gpu",
                              "cap * tanh(score / cap)",
                              "q_idx >= kv_idx",
                              {{"cap", DType::F64, -1}},
                              DType::BF16,
                              128,
                              128,
                              SDPBackend::FlashAttention,
                              "sm_80"});
  checkStages(compiler, spec, kGpuStages);
  Result<KernelImage> image = compiler.compile(spec, {});
  REQUIRE(image);
  CHECK(image->meta.kind == ImageKind::Ptx);
  CHECK(image->meta.threadsPerBlock >= 32);
  const std::string ptx(reinterpret_cast<const char *>(image->code.data()), image->code.size());
  CHECK(ptx.find(".entry attention(") != std::string::npos);
  CHECK(ptx.find(".target sm_80") != std::string::npos);
  spec.backend = SDPBackend::Math;
  checkStages(compiler, spec, kGpuStages);
  spec.backend = SDPBackend::CudnnAttention;
  Result<KernelImage> other = compiler.compile(spec, {});
  REQUIRE_FALSE(other);
  CHECK(other.error().code == ErrorCode::Unsupported);
}

TEST_CASE("dumping stages does not change the image") {
  KernelCompiler compiler;
  for (const KernelSpec &spec : {makeSpec(specRows()[1]), makeSpec(specRows()[3])}) {
    std::map<Stage, std::string> texts;
    Result<KernelImage> dumped = compiler.compile(spec, collectInto(texts)), plain = compiler.compile(spec, {});
    REQUIRE(dumped);
    REQUIRE(plain);
    CHECK(dumped->code == plain->code);
    CHECK(dumped->meta == plain->meta);
  }
}

TEST_CASE("what was compiled before does not change an image") {
  const KernelSpec spec = makeSpec(specRows()[3]), other = makeSpec({"other", "score * 0.5 + q_idx", "q_idx >= kv_idx", {}});
  KernelCompiler fresh, used;
  REQUIRE(used.compile(other, {}));
  const Result<KernelImage> expected = fresh.compile(spec, {}), image = used.compile(spec, {});
  REQUIRE(expected);
  REQUIRE(image);
  CHECK(image->code == expected->code);
  CHECK(image->meta == expected->meta);
  const Result<KernelImage> again = used.compile(spec, {}); // all of it is known
  REQUIRE(again);
  CHECK(again->code == expected->code);
}

TEST_CASE("stopAfter ends at its stage without code") {
  KernelCompiler compiler;
  const KernelSpec spec = makeSpec(specRows()[1]);
  for (Stage stage : kCpuStages) {
    CAPTURE(std::string(name(stage)));
    std::map<Stage, std::string> texts;
    CompileOptions options = collectInto(texts);
    options.stopAfter = stage;
    Result<KernelImage> image = compiler.compile(spec, options);
    REQUIRE(image);
    CHECK(image->code.empty());
    CHECK(texts.rbegin()->first == stage);
  }
}

TEST_CASE("an edited stage is a user's text: errors say where, and nothing dies") {
  KernelCompiler compiler;
  std::map<Stage, std::string> texts;
  REQUIRE(compiler.compile(makeSpec(specRows()[1]), collectInto(texts)));
  for (Stage stage : kCpuStages) {
    CAPTURE(std::string(name(stage)));
    // Without its last third no text is whole.
    const std::string cut = texts[stage].substr(0, texts[stage].size() * 2 / 3);
    Result<KernelImage> image = compiler.compileFrom(stage, cut, {});
    REQUIRE_FALSE(image);
    CHECK(image.error().code == ErrorCode::InvalidArgument);
    Result<KernelImage> empty = compiler.compileFrom(stage, "", {});
    REQUIRE_FALSE(empty);
    CHECK(empty.error().code == ErrorCode::InvalidArgument);
  }

  std::string broken = texts[Stage::Tile];
  broken.replace(broken.find("tile.position"), 13, "tile.pasition");
  Result<KernelImage> misspelt = compiler.compileFrom(Stage::Tile, broken, {});
  REQUIRE_FALSE(misspelt);
  CHECK(misspelt.error().message.find("tile:") != std::string::npos);
  CHECK(misspelt.error().message.find("tile.pasition") != std::string::npos);

  // A text of another stage is told from its own.
  Result<KernelImage> crossed = compiler.compileFrom(Stage::Vector, texts[Stage::Tile], {});
  REQUIRE_FALSE(crossed);
  CHECK(crossed.error().message.find("'vector' stage") != std::string::npos);

  Result<KernelImage> bare = compiler.compileFrom(Stage::Attn, "module {}", {});
  REQUIRE_FALSE(bare);
  CHECK(bare.error().message.find("attnjit.problem") != std::string::npos);
  CHECK(compiler.compileFrom(Stage::Ptx, texts[Stage::Ll], {}).error().code == ErrorCode::InvalidArgument);
}

TEST_CASE("an edited text may not call what no image has") {
  KernelCompiler compiler;
  std::map<Stage, std::string> texts;
  REQUIRE(compiler.compile(makeSpec(specRows()[1]), collectInto(texts)));
  std::string ll = texts[Stage::Ll];
  const std::size_t ret = ll.rfind("ret void");
  REQUIRE(ret != std::string::npos);
  ll.insert(ret, "call void @elsewhere()\n  ");
  ll += "\ndeclare void @elsewhere()\n";
  Result<KernelImage> linked = compiler.compileFrom(Stage::Ll, ll, {});
  REQUIRE_FALSE(linked);
  CHECK(linked.error().code == ErrorCode::InvalidArgument);
  CHECK(linked.error().message.find("'elsewhere'") != std::string::npos);
}

/// A sliding window of 16 over the keys that a captured tensor keeps: its mask needs a host plan.
static KernelSpec windowSpec(const char *maskMod = "(q_idx >= kv_idx) & (q_idx - kv_idx < 16) & keep[kv_idx]") {
  return makeSpec({"window", "score * 0.1", maskMod, {{"keep", DType::Bool, 1}}});
}

static std::string replaceAll(std::string text, std::string_view from, std::string_view to) {
  std::size_t found = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()), ++found)
    text.replace(at, from.size(), to);
  CHECK(found > 0);
  return text;
}

TEST_CASE("the formula of a kernel follows an edited mask at attn") {
  KernelCompiler compiler;
  std::map<Stage, std::string> texts, edited;
  REQUIRE(compiler.compile(windowSpec(), collectInto(texts)));
  const std::string wider = replaceAll(texts[Stage::Attn], "arith.constant 16 : i32", "arith.constant 64 : i32");
  Result<KernelImage> image = compiler.compileFrom(Stage::Attn, wider, collectInto(edited));
  REQUIRE(image);
  Result<KernelImage> direct = compiler.compile(windowSpec("(q_idx >= kv_idx) & (q_idx - kv_idx < 64) & keep[kv_idx]"), {});
  REQUIRE(direct);
  CHECK(image->meta.problemText.find("const 64 : int") != std::string::npos);
  CHECK(image->meta == direct->meta);
  CHECK(image->meta.followsFormula());
  CHECK(image->code == direct->code);
  // Later stages of the edited kernel carry the new formula, and are unedited.
  for (Stage stage : kCpuStages) {
    CAPTURE(std::string(name(stage)));
    Result<KernelImage> resumed = compiler.compileFrom(stage, edited[stage], {});
    REQUIRE(resumed);
    if (isOfWhole(stage))
      resumed->meta.entryOffset = direct->meta.entryOffset;
    CHECK(resumed->meta == direct->meta);
  }
}

TEST_CASE("a text whose kernel has another name is refused") {
  KernelCompiler compiler;
  std::map<Stage, std::string> texts;
  REQUIRE(compiler.compile(makeSpec(specRows()[3]), collectInto(texts)));
  for (Stage stage : {Stage::Vector, Stage::Llvm}) {
    CAPTURE(std::string(name(stage)));
    Result<KernelImage> image = compiler.compileFrom(stage, replaceAll(texts[stage], " @attention(", " @renamed("), {});
    REQUIRE_FALSE(image);
    CHECK(image.error().code == ErrorCode::InvalidArgument);
    CHECK(image.error().message.find("does not define the entry point 'attention'") != std::string::npos);
  }
}

TEST_CASE("a mask at attn that is no formula is refused") {
  KernelCompiler compiler;
  std::map<Stage, std::string> texts;
  REQUIRE(compiler.compile(windowSpec(), collectInto(texts)));
  Result<KernelImage> image = compiler.compileFrom(Stage::Attn, replaceAll(texts[Stage::Attn], "arith.cmpi slt", "arith.cmpi ult"), {});
  REQUIRE_FALSE(image);
  CHECK(image.error().code == ErrorCode::InvalidArgument);
  CHECK(image.error().message.find("'arith.cmpi' has no counterpart") != std::string::npos);
}

TEST_CASE("a kernel from an edited later stage says so, and nobody plans by its formula") {
  KernelCompiler compiler;
  std::map<Stage, std::string> texts;
  Result<KernelImage> original = compiler.compile(windowSpec(), collectInto(texts));
  REQUIRE(original);
  const std::string wider =
      replaceAll(replaceAll(texts[Stage::Tile], "constant 16 : i32", "constant 64 : i32"), "constant 16 : i64", "constant 64 : i64");
  std::map<Stage, std::string> edited;
  Result<KernelImage> image = compiler.compileFrom(Stage::Tile, wider, collectInto(edited));
  REQUIRE(image);
  CHECK_FALSE(image->meta.followsFormula());
  CHECK(image->meta.problemText == "edited = tile\n" + original->meta.problemText);
  // The stages below do not forget it.
  Result<KernelImage> ofWhole = compiler.compileFrom(Stage::Ll, edited[Stage::Ll], {});
  REQUIRE(ofWhole);
  for (Stage stage : {Stage::Vector, Stage::Ll, Stage::Asm, Stage::Obj}) {
    CAPTURE(std::string(name(stage)));
    Result<KernelImage> resumed = compiler.compileFrom(stage, edited[stage], {});
    REQUIRE(resumed);
    CHECK_FALSE(resumed->meta.followsFormula());
    CHECK(resumed->code == (isOfWhole(stage) ? ofWhole : image)->code);
  }
  // Comments are no edit.
  Result<KernelImage> commented = compiler.compileFrom(Stage::Tile, "// a comment\n" + texts[Stage::Tile], {});
  REQUIRE(commented);
  CHECK(commented->meta == original->meta);
}
