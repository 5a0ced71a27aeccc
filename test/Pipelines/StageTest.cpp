// Every stage text leads to the image that the whole way down made, bit for bit.
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
  for (Stage stage : stages) {
    CAPTURE(std::string(name(stage)));
    REQUIRE(texts.count(stage) == 1);
    std::map<Stage, std::string> again;
    Result<KernelImage> resumed = compiler.compileFrom(stage, texts[stage], collectInto(again));
    if (!resumed) {
      FAIL_CHECK(resumed.error().message);
      continue;
    }
    CHECK(resumed->meta == image->meta);
    CHECK(resumed->code == image->code);
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
  KernelSpec spec = makeSpec({"gpu", "cap * tanh(score / cap)", "q_idx >= kv_idx", {{"cap", DType::F64, -1}}, DType::BF16, 128, 128,
                              SDPBackend::FlashAttention, "sm_80"});
  checkStages(compiler, spec, kGpuStages);
  Result<KernelImage> image = compiler.compile(spec, {});
  REQUIRE(image);
  CHECK(image->meta.kind == ImageKind::Ptx);
  CHECK(image->meta.threadsPerBlock >= 32);
  const std::string ptx(reinterpret_cast<const char *>(image->code.data()), image->code.size());
  CHECK(ptx.find(".entry attention(") != std::string::npos);
  CHECK(ptx.find(".target sm_80") != std::string::npos);
  spec.backend = SDPBackend::Math;
  Result<KernelImage> generic = compiler.compile(spec, {});
  REQUIRE_FALSE(generic);
  CHECK(generic.error().code == ErrorCode::Unsupported);
}

TEST_CASE("dumping stages does not change the image") {
  KernelCompiler compiler;
  const KernelSpec spec = makeSpec(specRows()[1]);
  std::map<Stage, std::string> texts;
  Result<KernelImage> dumped = compiler.compile(spec, collectInto(texts)), plain = compiler.compile(spec, {});
  REQUIRE(dumped);
  REQUIRE(plain);
  CHECK(dumped->code == plain->code);
  CHECK(dumped->meta == plain->meta);
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
