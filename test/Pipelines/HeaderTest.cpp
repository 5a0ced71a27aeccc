// The problem header that every stage text carries.
#include "Specs.h"

#include "Compiler/KernelHeader.h"

using namespace attnjit;
using namespace attnjit::compiler;

TEST_CASE("headers survive print and parse") {
  for (const SpecRow &row : specRows()) {
    CAPTURE(std::string(row.name));
    KernelHeader header;
    header.spec = makeSpec(row);
    header.spec.config = {32, 128};
    header.spec.contiguous = false;
    header.hasMask = true;
    header.workspaceBytes = 123456789012;
    const std::string text = print(header);
    Result<KernelHeader> parsed = parseHeader(text);
    if (!parsed)
      FAIL(parsed.error().message);
    CHECK(print(*parsed) == text);
    CHECK(parsed->workspaceBytes == header.workspaceBytes);
    CHECK(parsed->spec.target == header.spec.target);
    CHECK(metadataOf(*parsed, "id") == metadataOf(header, "id"));
  }
}

TEST_CASE("a mangled header is refused with the line at fault") {
  KernelHeader header;
  header.spec = makeSpec(specRows()[0]);
  const std::string good = print(header);
  REQUIRE(parseHeader(good));
  auto messageFor = [&](const char *from, const char *to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, std::string_view(from).size(), to);
    Result<KernelHeader> parsed = parseHeader(text);
    return parsed ? std::string("no error") : parsed.error().message;
  };
  CHECK(messageFor("D = 64", "D = many").find("'D = many'") != std::string::npos);
  CHECK(messageFor("D = 64", "D = -1").find("head dimension") != std::string::npos);
  CHECK(messageFor("D = 64\n", "").find("missing") != std::string::npos);
  CHECK(messageFor("D = 64", "D = 64\nD = 64").find("each key once") != std::string::npos);
  CHECK(messageFor("q = f32", "q = i32").find("bf16") != std::string::npos);
  CHECK(messageFor("q = f32", "quack = f32").find("'quack'") != std::string::npos);
  CHECK(messageFor("q = f32", "nonsense").find("'nonsense'") != std::string::npos);
  CHECK(messageFor("abi = 5", "abi = 999").find("999") != std::string::npos);
  CHECK(messageFor("sinks = none", "sinks = i8").find("none, f64, f32, bf16 or f16") != std::string::npos);
  CHECK(messageFor("formula:", "formulae:") != "no error");
  CHECK(messageFor("return", "retour") != "no error");
  CHECK_FALSE(parseHeader(""));
}

TEST_CASE("equal specs print alike, different ones do not") {
  const KernelSpec spec = makeSpec(specRows()[1]);
  CHECK(print(spec) == print(makeSpec(specRows()[1])));
  std::vector<KernelSpec> others(10, spec);
  others[0].D = 65;
  others[1].Dv = 65;
  others[2].contiguous = false;
  others[3].checkedIndices = true;
  others[4].narrowIndices = false;
  others[5].backend = SDPBackend::FlashAttention;
  others[6].config.tileRows = 8;
  others[7].outType = DType::BF16;
  others[8].sinks = DType::F32;
  others[9].aligned = false;
  for (const KernelSpec &other : others)
    CHECK(print(other) != print(spec));
}

TEST_CASE("stage names") {
  for (Stage stage : {Stage::Attn, Stage::Tile, Stage::Vector, Stage::Gpu, Stage::Llvm, Stage::Ll, Stage::Asm, Stage::Obj, Stage::Ptx})
    CHECK(parseStage(name(stage)) == stage);
  CHECK_FALSE(parseStage("attention"));
}
