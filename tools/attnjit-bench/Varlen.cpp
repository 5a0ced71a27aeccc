#include "Bench.h"

#include "attnjit/Varlen.h"

namespace attnjit::tools {

using nlohmann::json;

namespace {

constexpr std::int64_t kHeads = 8, kDim = 64;

/// So many sequences of one length: tokens packed one after another, [tokens, heads, dim].
struct Packed {
  std::int64_t sequences, length;
  Tensor q, k, v, out;
  std::vector<std::int32_t> starts, documents;

  std::int64_t tokens() const { return sequences * length; }
};

Result<Packed> pack(std::int64_t sequences, std::int64_t length) {
  Packed packed{sequences, length, {}, {}, {}, {}, {}, {}};
  std::uint64_t seed = 1;
  for (Tensor *tensor : {&packed.q, &packed.k, &packed.v, &packed.out}) {
    Result<Tensor> made = Tensor::allocate(DType::F32, {packed.tokens(), kHeads, kDim});
    if (!made)
      return made.error();
    *tensor = std::move(*made);
    fillRandom(*tensor, seed++);
  }
  for (std::int64_t s = 0; s < sequences; ++s) {
    packed.starts.push_back(static_cast<std::int32_t>(s * length));
    packed.documents.insert(packed.documents.end(), static_cast<std::size_t>(length), static_cast<std::int32_t>(s));
  }
  packed.starts.push_back(static_cast<std::int32_t>(packed.tokens()));
  return packed;
}

/// The packed tokens as a batch [sequences, heads, length, dim], of one sequence perhaps: the same memory.
TensorRef asBatch(const Tensor &tensor, std::int64_t sequences) {
  TensorRef view = tensor.ref();
  const std::int64_t length = view.sizes[0] / sequences;
  view.rank = 4;
  view.sizes = {sequences, kHeads, length, kDim};
  view.strides = {length * kHeads * kDim, kDim, kHeads * kDim, 1};
  return view;
}

ForwardCall callOver(const Mod &mod, const Packed &packed, std::int64_t sequences) {
  ForwardCall call;
  call.mod = mod;
  call.q = asBatch(packed.q, sequences), call.k = asBatch(packed.k, sequences), call.v = asBatch(packed.v, sequences);
  call.out = asBatch(packed.out, sequences);
  return call;
}

Result<json> measureLength(const Engine &engine, std::int64_t sequences, std::int64_t length, int passes) {
  const Result<Mod> causal = Mod::parse("", "q_idx >= kv_idx"),
                    documents = Mod::parse("", "(docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx)", {{"docs", DType::I32, 1}});
  Result<Packed> packed = pack(sequences, length);
  if (!causal || !documents || !packed)
    return !causal ? causal.error() : !documents ? documents.error() : packed.error();

  const ForwardCall batch = callOver(*causal, *packed, sequences);
  ForwardCall masked = callOver(*documents, *packed, 1);
  masked.captures = {{"docs", TensorRef::dense(packed->documents.data(), DType::I32, {packed->tokens()})}};
  VarlenCall varlen;
  varlen.q = packed->q.ref(), varlen.k = packed->k.ref(), varlen.v = packed->v.ref(), varlen.out = packed->out.ref();
  varlen.cuSeqQ = varlen.cuSeqK = TensorRef::dense(packed->starts.data(), DType::I32, {sequences + 1});
  varlen.window = {-1, 0};

  const auto callVarlen = [&]() -> Result<double> {
    const std::int64_t begin = nowNs();
    const Result<ForwardReport> report = varlenAttention(engine, varlen);
    const std::int64_t end = nowNs();
    return report ? Result<double>(static_cast<double>(end - begin)) : Result<double>(report.error());
  };
  const Yardstick yardstick{PeakUnit::FmaF32, engine.threads()};
  const Contender contenders[] = {{wholeCall(engine, batch), yardstick}, {callVarlen, yardstick}, {wholeCall(engine, masked), yardstick}};
  for (const Contender &contender : contenders) // compiles
    if (const Result<double> first = contender.call(); !first)
      return first.error();
  const Result<std::vector<std::vector<Turn>>> turns = takeTurns(contenders, passes);
  if (!turns)
    return turns.error();
  const auto ms = [&](std::size_t i) { return summary(valuesOf((*turns)[i], [](const Turn &turn) { return turn.ns * 1e-6; })); };
  const auto ratio = [&](std::size_t i) { return summary(ratiosOf((*turns)[i], (*turns)[0])); };
  return json{{"sequences", sequences},
              {"length", length},
              {"batch", {{"ms", ms(0)}}},
              {"varlen", {{"ms", ms(1)}, {"ratio", ratio(1)}}},
              {"documentMask", {{"ms", ms(2)}, {"ratio", ratio(2)}}}};
}

} // namespace

Result<json> measureVarlen(const Engine &engine, int passes) {
  json rows = json::array();
  for (const auto &[sequences, length] : {std::pair{64, 64}, std::pair{32, 128}, std::pair{16, 256}, std::pair{4, 1024}}) {
    Result<json> row = measureLength(engine, sequences, length, passes);
    if (!row)
      return row.error();
    rows.push_back(std::move(*row));
  }
  return rows;
}

} // namespace attnjit::tools
