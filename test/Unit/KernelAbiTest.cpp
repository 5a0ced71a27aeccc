// The binary contract of version 4, spelled out: images on disk were built with these numbers. A change here is a new kAbiVersion.
#include "attnjit/KernelAbi.h"

#include <array>
#include <cstring>
#include <doctest/doctest.h>
#include <string_view>

using namespace attnjit;

TEST_CASE("offsets that generated code uses") {
  REQUIRE(kAbiVersion == 5);
  CHECK(offsetof(OperandArg, data) == 0);
  CHECK(offsetof(OperandArg, strides) == 8);
  CHECK(sizeof(OperandArg) == 40);
  CHECK(offsetof(CaptureArg, sizes) == 8);
  CHECK(offsetof(CaptureArg, strides) == 56);
  CHECK(sizeof(CaptureArg) == 104);
  CHECK(sizeof(ScalarArg) == 8);
  CHECK(offsetof(RunArg, kvEnd) == 8);
  CHECK(offsetof(RunArg, full) == 16);
  CHECK(sizeof(RunArg) == 24);
  CHECK(offsetof(PlanArg, runs) == 8);
  CHECK(offsetof(PlanArg, batchStride) == 16);
  CHECK(offsetof(PlanArg, headStride) == 24);

  CHECK(offsetof(KernelArgs, B) == 0);
  CHECK(offsetof(KernelArgs, Hq) == 8);
  CHECK(offsetof(KernelArgs, Hkv) == 16);
  CHECK(offsetof(KernelArgs, M) == 24);
  CHECK(offsetof(KernelArgs, N) == 32);
  CHECK(offsetof(KernelArgs, scale) == 40);
  CHECK(offsetof(KernelArgs, q) == 48);
  CHECK(offsetof(KernelArgs, k) == 88);
  CHECK(offsetof(KernelArgs, v) == 128);
  CHECK(offsetof(KernelArgs, out) == 168);
  CHECK(offsetof(KernelArgs, lse) == 208);
  CHECK(offsetof(KernelArgs, max) == 248);
  CHECK(offsetof(KernelArgs, sinks) == 288);
  CHECK(offsetof(KernelArgs, captures) == 328);
  CHECK(offsetof(KernelArgs, scalars) == 336);
  CHECK(offsetof(KernelArgs, plan) == 344);
  CHECK(offsetof(KernelArgs, status) == 376);
  CHECK(offsetof(KernelArgs, functions) == 384);
  CHECK(offsetof(KernelArgs, split) == 392);
  CHECK(offsetof(SplitArg, parts) == 8);
  CHECK(offsetof(SplitArg, states) == 16);
  CHECK(offsetof(KernelArgs, pages) == 416);
  CHECK(offsetof(PagesArg, batchStride) == 8);
  CHECK(offsetof(PagesArg, size) == 16);
  CHECK(offsetof(DescaleArg, data) == 0);
  CHECK(offsetof(DescaleArg, strides) == 8);
  CHECK(offsetof(KernelArgs, qDescale) == 440);
  CHECK(offsetof(KernelArgs, kDescale) == 464);
  CHECK(offsetof(KernelArgs, vDescale) == 488);
  CHECK(sizeof(KernelArgs) == 512);
}

TEST_CASE("functions of the table keep their places") {
  CHECK(offsetof(FunctionTable, expF32) == 0);
  CHECK(offsetof(FunctionTable, expF64) == 8);
  CHECK(offsetof(FunctionTable, log2F32) == 64);
  CHECK(offsetof(FunctionTable, erfcF64) == 328);
  CHECK(offsetof(FunctionTable, powF32) == 336);
  CHECK(offsetof(FunctionTable, fmodF64) == 392);
  CHECK(sizeof(FunctionTable) == 400);
}
