// docs/examples/block_mask.cpp: documents packed into one sequence: a block mask made once, used for prefill and for decoding.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

using namespace attnjit;

int main() {
  auto fail = [](const Error &error) {
    std::fprintf(stderr, "%s: %s\n", name(error.code), error.message.c_str());
    return 1;
  };
  constexpr int kLength = 1000, kDim = 16, kDocument = 250;
  std::vector<std::int32_t> documents(kLength);
  for (int i = 0; i < kLength; ++i)
    documents[i] = i / kDocument;
  const std::vector<CaptureArgument> captures = {{"doc", TensorRef::dense(documents.data(), DType::I32, {kLength})}};

  Result<Mod> causal = Mod::parse("", "q_idx >= kv_idx");
  Result<Mod> document = Mod::parse("", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}});
  if (!causal || !document)
    return fail(causal ? document.error() : causal.error());
  Result<Mod> both = andMasks({*causal, *document});
  if (!both)
    return fail(both.error());

  // B and H of 1 serve every batch and head. No pair outside the edges of the mask is looked at.
  Result<BlockMask> mask = createBlockMask(*both, captures, 1, 1, kLength, kLength, {.blockQ = 64, .blockKv = 64});
  if (!mask)
    return fail(mask.error());
  std::printf("%s", mask->text().c_str());

  Result<Engine> engine = Engine::create();
  if (!engine)
    return fail(engine.error());
  std::vector<float> q(kLength * kDim), k(q.size()), v(q.size()), out(q.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(i / kDim);
  ForwardCall call; // the mask brings its mask_mod and the captures of it; call.mod may hold a score_mod
  call.q = TensorRef::dense(q.data(), DType::F32, {1, 1, kLength, kDim});
  call.k = TensorRef::dense(k.data(), DType::F32, {1, 1, kLength, kDim});
  call.v = TensorRef::dense(v.data(), DType::F32, {1, 1, kLength, kDim});
  call.out = TensorRef::dense(out.data(), DType::F32, {1, 1, kLength, kDim});
  call.blockMask = *mask;
  if (Result<ForwardReport> report = engine->forward(call); !report)
    return fail(report.error());
  auto isRight = [&](const float *row, int position) { // all scores are 0: the mean of the positions from the document's first to this one
    const int first = position / kDocument * kDocument;
    return std::abs(row[0] - 0.5f * static_cast<float>(first + position)) < 1e-2f;
  };
  for (int m = 0; m < kLength; ++m)
    if (!isRight(&out[m * kDim], m))
      return 2;

  // The queries of one row of blocks alone: they are counted from 0, and the mask_mod of the slice knows where they were.
  Result<BlockMask> row = mask->slice({}, {}, IndexRange::one(10));
  if (!row)
    return fail(row.error());
  call.q = call.out = TensorRef::dense(out.data(), DType::F32, {1, 1, row->qLength(), kDim});
  call.q.data = q.data();
  call.blockMask = *row;
  if (Result<ForwardReport> report = engine->forward(call); !report)
    return fail(report.error());
  for (int m = 0; m < row->qLength(); ++m)
    if (!isRight(&out[m * kDim], 10 * 64 + m))
      return 2;
  return 0;
}
