#include "Support/FloatFormat.h"
#include "Support/KernelImage.h"
#include "Support/TargetDesc.h"
#include "attnjit/KernelAbi.h"
#include "attnjit/Types.h"

#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <string>

using namespace attnjit;

TEST_CASE("dtype names and sizes") {
  for (DType dtype : {DType::F64, DType::F32, DType::BF16, DType::F16, DType::F8E4M3, DType::F8E5M2, DType::Bool, DType::I8, DType::U8,
                      DType::I16, DType::I32, DType::I64})
    CHECK(parseDType(name(dtype)) == dtype);
  CHECK(parseDType("float32") == DType::F32);
  CHECK(parseDType("bfloat16") == DType::BF16);
  CHECK(parseDType("float8_e4m3fn") == DType::F8E4M3);
  CHECK(parseDType("float8_e5m2") == DType::F8E5M2);
  CHECK(!parseDType("float8"));
  CHECK(!parseDType(""));
  CHECK(sizeInBytes(DType::F8E4M3) == 1);
  CHECK(isFloat(DType::F8E5M2));
  CHECK(sizeInBytes(DType::BF16) == 2);
  CHECK(sizeInBytes(DType::I64) == 8);
  CHECK(isFloat(DType::F16));
  CHECK(!isFloat(DType::Bool));
}

TEST_CASE("one dtype holds another when every number fits") {
  constexpr DType floats[] = {DType::F64, DType::F32, DType::BF16, DType::F16, DType::F8E4M3, DType::F8E5M2};
  // Row: wide, column: narrow.
  constexpr bool expected[6][6] = {{true, true, true, true, true, true},      {false, true, true, true, true, true},
                                   {false, false, true, false, true, true},   {false, false, false, true, true, true},
                                   {false, false, false, false, true, false}, {false, false, false, false, false, true}};
  for (int wide = 0; wide < 6; ++wide)
    for (int narrow = 0; narrow < 6; ++narrow) {
      INFO(name(floats[wide]), " and ", name(floats[narrow]));
      CHECK(holdsExactly(floats[wide], floats[narrow]) == expected[wide][narrow]);
    }
}

TEST_CASE("8-bit floats: the numbers of the OCP specification") {
  const FloatFormat &e4m3 = *FloatFormat::of(DType::F8E4M3), &e5m2 = *FloatFormat::of(DType::F8E5M2);
  for (auto [pattern, value] :
       {std::pair{0x00, 0.0}, {0x01, 0x1p-9}, {0x07, 0x1.cp-7}, {0x08, 0x1p-6}, {0x38, 1.0}, {0x39, 1.125}, {0x7e, 448.0}, {0xb8, -1.0}})
    CHECK(e4m3.decode(pattern) == value);
  for (auto [pattern, value] : {std::pair{0x00, 0.0},
                                {0x01, 0x1p-16},
                                {0x03, 0x1.8p-15},
                                {0x04, 0x1p-14},
                                {0x3c, 1.0},
                                {0x3d, 1.25},
                                {0x7b, 57344.0},
                                {0xbc, -1.0}})
    CHECK(e5m2.decode(pattern) == value);
  CHECK(std::isnan(e4m3.decode(0x7f)));
  CHECK(std::isnan(e4m3.decode(0xff)));
  CHECK(e5m2.decode(0x7c) == HUGE_VAL);
  CHECK(e5m2.decode(0xfc) == -HUGE_VAL);
  for (int pattern : {0x7d, 0x7e, 0x7f, 0xfd})
    CHECK(std::isnan(e5m2.decode(pattern)));
  CHECK(std::signbit(e4m3.decode(0x80)));
  CHECK(e4m3.largest() == 448);
  CHECK(e5m2.largest() == 57344);
}

TEST_CASE("8-bit floats: rounding to nearest, ties to even, and what lies above the largest number") {
  for (DType dtype : {DType::F8E4M3, DType::F8E5M2}) {
    const FloatFormat &format = *FloatFormat::of(dtype);
    for (int pattern = 0; format.decode(pattern) < format.largest(); ++pattern) {
      const double low = format.decode(pattern), high = format.decode(pattern + 1), middle = (low + high) / 2;
      CHECK(low < high);
      CHECK(format.encode(low) == pattern);
      CHECK(format.encode(-low) == (pattern | 0x80));
      CHECK(format.round(middle) == (pattern % 2 == 0 ? low : high));
      CHECK(format.round(-middle) == (pattern % 2 == 0 ? -low : -high));
      CHECK(format.round(middle * (1 + 0x1p-50)) == high);
      CHECK(format.round(middle * (1 - 0x1p-50)) == low);
    }
    CHECK(std::isnan(format.round(std::nan(""))));
    CHECK(format.encode(std::nan("")) == 0x7f);
  }
  const FloatFormat &e4m3 = *FloatFormat::of(DType::F8E4M3), &e5m2 = *FloatFormat::of(DType::F8E5M2);
  CHECK(e4m3.round(464) == 448);
  CHECK(std::isnan(e4m3.round(464.5)));
  CHECK(std::isnan(e4m3.round(-HUGE_VAL)));
  CHECK(e4m3.encode(e4m3.round(-1e9)) == 0xff);
  CHECK(e5m2.round(61439) == 57344);
  CHECK(e5m2.round(61440) == HUGE_VAL);
  CHECK(e5m2.round(-1e9) == -HUGE_VAL);
}

TEST_CASE("dense views are row-major") {
  const TensorRef view = TensorRef::dense(nullptr, DType::F32, {2, 3, 4});
  CHECK(view.rank == 3);
  CHECK(view.strides[0] == 12);
  CHECK(view.strides[1] == 4);
  CHECK(view.strides[2] == 1);
}

TEST_CASE("results carry a value or an error") {
  Result<std::string> good = std::string("x");
  REQUIRE(good);
  CHECK(*std::move(good) == "x");
  Result<void> bad = Error{ErrorCode::Io, "no"};
  CHECK(!bad);
  CHECK(bad.error().isUserError());
  CHECK(!Error{ErrorCode::Internal, ""}.isUserError());
  CHECK(std::string(name(ErrorCode::IndexOutOfRange)) == "index-out-of-range");
}

TEST_CASE("targets are parsed, unknown ones listed") {
  for (const char *text : {"x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4+bf16", "x86-64-v4+amx", "aarch64", "sm_80", "sm_90a"}) {
    Result<TargetDesc> target = parseTarget(text);
    REQUIRE(target);
    CHECK(target->cpu == text);
  }
  CHECK(parseTarget("x86-64-v4")->vectorBits == 512);
  CHECK_FALSE(parseTarget("x86-64-v4")->hasBf16());
  CHECK(parseTarget("x86-64-v4+bf16")->hasBf16());
  CHECK_FALSE(parseTarget("x86-64-v4+bf16")->hasAmx());
  CHECK(parseTarget("x86-64-v4+amx")->hasBf16());
  CHECK(parseTarget("x86-64-v4+amx")->hasAmx());
  CHECK_FALSE(parseTarget("x86-64-v4+sse"));
  CHECK_FALSE(parseTarget("x86-64-v2")->hasFma());
  CHECK(parseTarget("aarch64")->hasFma());
  CHECK(parseTarget("x86-64-v4")->runs(*parseTarget("x86-64-v2")));
  CHECK_FALSE(parseTarget("x86-64-v3")->runs(*parseTarget("x86-64-v4")));
  CHECK_FALSE(parseTarget("x86-64-v4")->runs(*parseTarget("x86-64-v4+bf16")));
  CHECK_FALSE(parseTarget("x86-64-v4")->runs(*parseTarget("aarch64")));
  CHECK(requiredFeatures(*parseTarget("x86-64-v3")) == "avx2,fma,bmi2,f16c");
  CHECK(*parseTarget("native") == *hostTarget());
  Result<TargetDesc> unknown = parseTarget("z80");
  REQUIRE(!unknown);
  CHECK(unknown.error().message.find("sm_90a") != std::string::npos);
}

namespace {

KernelImage sampleImage() {
  KernelImage image;
  image.meta.abiVersion = kAbiVersion;
  image.meta.buildId = "build";
  image.meta.pipeline = "MATH";
  image.meta.triple = "x86_64-unknown-linux-gnu";
  image.meta.cpu = "x86-64-v3";
  image.meta.features = "avx2";
  image.meta.entry = "attention";
  image.meta.entryOffset = 2;
  image.meta.qType = DType::BF16;
  image.meta.D = 64;
  image.meta.Dv = 32;
  image.meta.contiguous = false;
  image.meta.tileRows = 16;
  image.meta.tileCols = 128;
  image.meta.workspaceBytes = 4096;
  image.meta.qBoxRows = 128;
  image.meta.kvBoxRows = 112;
  image.meta.captures = {{"slope", DType::F32, 1}, {"doc", DType::I32, 2}};
  image.meta.scalars = {{"cap", true}, {"window", false}};
  image.meta.problemText = "D = 64\n";
  for (int i = 0; i < 40; ++i)
    image.code.push_back(std::byte(i * 7));
  return image;
}

} // namespace

TEST_CASE("an image survives the way to bytes and back") {
  const KernelImage image = sampleImage();
  const std::vector<std::byte> bytes = serialize(image);
  Result<KernelImage> read = deserialize(bytes);
  REQUIRE(read);
  CHECK(read->meta == image.meta);
  CHECK(read->code == image.code);
  CHECK(serialize(*read) == bytes);
  KernelImage bare;
  bare.meta.abiVersion = kAbiVersion;
  CHECK(deserialize(serialize(bare)));
}

TEST_CASE("no truncated image is accepted") {
  const std::vector<std::byte> bytes = serialize(sampleImage());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    Result<KernelImage> read = deserialize(std::span(bytes).first(length));
    CAPTURE(length);
    REQUIRE(!read);
    CHECK(read.error().code == ErrorCode::Io);
  }
  std::vector<std::byte> longer = bytes;
  longer.push_back(std::byte{0});
  CHECK(!deserialize(longer));
}

TEST_CASE("no flipped bit goes unnoticed") {
  std::vector<std::byte> bytes = serialize(sampleImage());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte(1u << bit % 8);
    CAPTURE(bit);
    CHECK(!deserialize(bytes));
    bytes[bit / 8] ^= std::byte(1u << bit % 8);
  }
  CHECK(deserialize(bytes));
}

TEST_CASE("another ABI or an entry outside the code is refused") {
  KernelImage image = sampleImage();
  image.meta.abiVersion = kAbiVersion + 1;
  CHECK(deserialize(serialize(image)).error().message.find("ABI") != std::string::npos);
  image = sampleImage();
  image.meta.entryOffset = image.code.size();
  CHECK(deserialize(serialize(image)).error().message.find("entry point") != std::string::npos);
}
