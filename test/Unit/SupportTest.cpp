#include "Support/KernelImage.h"
#include "Support/TargetDesc.h"
#include "attnjit/KernelAbi.h"
#include "attnjit/Types.h"

#include <cstring>
#include <doctest/doctest.h>
#include <string>

using namespace attnjit;

TEST_CASE("dtype names and sizes") {
  for (DType dtype :
       {DType::F64, DType::F32, DType::BF16, DType::F16, DType::Bool, DType::I8, DType::U8, DType::I16, DType::I32, DType::I64})
    CHECK(parseDType(name(dtype)) == dtype);
  CHECK(!parseDType("float32"));
  CHECK(!parseDType(""));
  CHECK(sizeInBytes(DType::BF16) == 2);
  CHECK(sizeInBytes(DType::I64) == 8);
  CHECK(isFloat(DType::F16));
  CHECK(!isFloat(DType::Bool));
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
  for (const char *text : {"x86-64-v3", "x86-64-v4", "sm_80", "sm_90a"}) {
    Result<TargetDesc> target = parseTarget(text);
    REQUIRE(target);
    CHECK(target->cpu == text);
  }
  CHECK(parseTarget("x86-64-v4")->vectorBits == 512);
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
