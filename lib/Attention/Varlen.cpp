#include "attnjit/Varlen.h"

#include "Attention/HiddenCaptures.h"
#include "Attention/PagedKeys.h"
#include "Attention/SequenceMod.h"
#include "Attention/SequenceParts.h"
#include "Engine/EngineImpl.h"
#include "Engine/Guard.h"
#include "Engine/IndexTensor.h"
#include "Engine/TensorCheck.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::inline v0 {

using namespace attention;
using engine::invalidTensor;
using engine::readIndices;
using engine::sizesText;

namespace {

/// Where one sequence lies.
struct Sequence {
  std::int64_t qBegin = 0, qLength = 0;
  std::int64_t kBegin = 0, kLength = 0; ///< kLength: the keys in use
};

/// Prefix sums read and checked: one length for each sequence.
Result<std::vector<std::int64_t>> readStarts(std::string_view name, const TensorRef &tensor, std::int64_t tokens, std::string_view packed) {
  Result<std::vector<std::int64_t>> starts = readIndices(name, tensor);
  if (!starts)
    return starts;
  if (starts->empty())
    return invalidTensor(name, "it has no element; S sequences need S + 1, of which the first is 0");
  if (starts->front() != 0)
    return invalidTensor(name, fmt::format("it begins with {}, not 0", starts->front()));
  for (std::size_t i = 1; i < starts->size(); ++i)
    if ((*starts)[i] < (*starts)[i - 1])
      return invalidTensor(name, fmt::format("it falls from {} to {} at index {}; sequence {} would have a negative length",
                                             (*starts)[i - 1], (*starts)[i], i, i - 1));
  if (starts->back() > tokens)
    return invalidTensor(name, fmt::format("it ends with {}, but {} holds {} tokens", starts->back(), packed, tokens));
  return starts;
}

Result<void> checkShapes(const VarlenCall &call) {
  const int keyRank = call.blockTable ? 4 : 3;
  for (auto [name, tensor, rank] :
       {std::tuple{"q", &call.q, 3}, std::tuple{"k", &call.k, keyRank}, std::tuple{"v", &call.v, keyRank}, std::tuple{"out", &call.out, 3}})
    if (Result<void> view = engine::checkView(name, *tensor, rank, true); !view)
      return view;
  for (auto [name, tensor] : {std::pair{"lse", &call.lse}, {"max", &call.max}}) {
    if (!*tensor)
      continue;
    if (Result<void> view = engine::checkView(name, **tensor, 2, true); !view)
      return view;
    if ((*tensor)->sizes[0] != call.q.sizes[1] || (*tensor)->sizes[1] != call.q.sizes[0])
      return invalidTensor(
          name, fmt::format("its sizes are {}, expected [Hq, Tq] = [{}, {}]", sizesText(**tensor), call.q.sizes[1], call.q.sizes[0]));
  }
  if (call.out.sizes[0] != call.q.sizes[0])
    return invalidTensor("out", fmt::format("it holds {} tokens, q holds {}", call.out.sizes[0], call.q.sizes[0]));
  for (int dim = 0; dim < keyRank - 1; ++dim)
    if (call.k.sizes[dim] != call.v.sizes[dim])
      return invalidTensor("v", fmt::format("its sizes {} and those of k {} differ before the last; they must be equal", sizesText(call.v),
                                            sizesText(call.k)));
  const std::int64_t Hq = call.q.sizes[1], Hkv = call.k.sizes[keyRank - 2];
  if (Hq != Hkv && !call.enableGqa)
    return invalidTensor("k", fmt::format("it has {} heads, q has {}; to let query heads share key heads, set enableGqa", Hkv, Hq));
  if (call.blockTable && call.k.sizes[1] < 1)
    return invalidTensor("k", fmt::format("its page size is {}; a page holds at least one key", call.k.sizes[1]));
  return {};
}

/// The lengths of the keys of each of `count` sequences, from seqUsedK.
Result<std::vector<std::int64_t>> readUsed(const VarlenCall &call, std::size_t count) {
  Result<std::vector<std::int64_t>> used = readIndices("seqused_k", *call.seqUsedK);
  if (!used)
    return used;
  if (used->size() != count)
    return invalidTensor("seqused_k", fmt::format("it has {} elements, cu_seq_q says {} sequences", used->size(), count));
  for (std::size_t s = 0; s < count; ++s)
    if ((*used)[s] < 0)
      return invalidTensor("seqused_k", fmt::format("sequence {} would use {} keys", s, (*used)[s]));
  return used;
}

Result<std::vector<Sequence>> sequencesOf(const VarlenCall &call) {
  Result<std::vector<std::int64_t>> starts = readStarts("cu_seq_q", call.cuSeqQ, call.q.sizes[0], "q");
  if (!starts)
    return starts.error();
  std::vector<Sequence> sequences(starts->size() - 1);
  for (std::size_t s = 0; s < sequences.size(); ++s)
    sequences[s] = {(*starts)[s], (*starts)[s + 1] - (*starts)[s], 0, 0};

  if (!call.blockTable) {
    Result<std::vector<std::int64_t>> keys = readStarts("cu_seq_k", call.cuSeqK, call.k.sizes[0], "k");
    if (!keys)
      return keys.error();
    if (keys->size() != starts->size())
      return invalidTensor("cu_seq_k", fmt::format("it has {} elements, cu_seq_q has {}; both say how many sequences there are",
                                                   keys->size(), starts->size()));
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      sequences[s].kBegin = (*keys)[s];
      sequences[s].kLength = (*keys)[s + 1] - (*keys)[s];
    }
  } else if (!call.seqUsedK) {
    return Error{ErrorCode::InvalidArgument, "block_table: it needs seqused_k, which says how many keys of its pages each sequence uses"};
  }
  if (call.seqUsedK) {
    Result<std::vector<std::int64_t>> used = readUsed(call, sequences.size());
    if (!used)
      return used.error();
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      if (!call.blockTable && (*used)[s] > sequences[s].kLength)
        return invalidTensor("seqused_k",
                             fmt::format("sequence {} would use {} keys, cu_seq_k gives it {}", s, (*used)[s], sequences[s].kLength));
      sequences[s].kLength = (*used)[s];
    }
  }
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    if (call.maxQ && sequences[s].qLength > *call.maxQ)
      return invalidTensor("max_q", fmt::format("sequence {} has {} queries, above {}", s, sequences[s].qLength, *call.maxQ));
    if (call.maxK && sequences[s].kLength > *call.maxK)
      return invalidTensor("max_k", fmt::format("sequence {} has {} keys, above {}", s, sequences[s].kLength, *call.maxK));
  }
  return sequences;
}

/// Rows [begin, begin + length) of a packed [T, H, D] as [1, H, length, D].
TensorRef rowsOf(const TensorRef &packed, std::int64_t begin, std::int64_t length) {
  TensorRef view = TensorRef::dense(packed.data, packed.dtype, {1, packed.sizes[1], length, packed.sizes[2]});
  view.strides = {0, packed.strides[1], packed.strides[0], packed.strides[2]};
  if (view.data)
    view.data = static_cast<char *>(packed.data) + begin * packed.strides[0] * static_cast<std::int64_t>(sizeInBytes(packed.dtype));
  return view;
}

/// Columns [begin, begin + length) of [H, T] as [1, H, length].
TensorRef columnsOf(const TensorRef &rows, std::int64_t begin, std::int64_t length) {
  TensorRef view = TensorRef::dense(rows.data, rows.dtype, {1, rows.sizes[0], length});
  view.strides = {0, rows.strides[0], rows.strides[1]};
  if (view.data)
    view.data = static_cast<char *>(rows.data) + begin * rows.strides[1] * static_cast<std::int64_t>(sizeInBytes(rows.dtype));
  return view;
}

/// That the table has the pages of each sequence; whether they are of the pool shows in the sequence's own call.
Result<void> checkTable(const VarlenCall &call, const std::vector<Sequence> &sequences) {
  const TensorRef &table = *call.blockTable;
  const std::int64_t pageSize = call.k.sizes[1];
  if (Result<void> view = engine::checkIndexTensor("block_table", table, 2); !view)
    return view;
  if (table.sizes[0] != static_cast<std::int64_t>(sequences.size()))
    return invalidTensor("block_table", fmt::format("it has {} rows, cu_seq_q says {} sequences", table.sizes[0], sequences.size()));
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const std::int64_t keys = sequences[s].kLength, needed = (keys + pageSize - 1) / pageSize;
    if (needed > table.sizes[1])
      return invalidTensor("block_table", fmt::format("sequence {} uses {} keys, {} pages of {}, but rows have {} entries", s, keys, needed,
                                                      pageSize, table.sizes[1]));
  }
  return {};
}

Result<ForwardReport> compute(const Engine &engine, const VarlenCall &call) {
  if (Result<void> shapes = checkShapes(call); !shapes)
    return shapes.error();
  Result<std::vector<Sequence>> sequences = sequencesOf(call);
  if (!sequences)
    return sequences.error();
  if (call.blockTable)
    if (Result<void> table = checkTable(call, *sequences); !table)
      return table.error();
  const SequenceDescales descales{call.qDescale, call.kDescale, call.vDescale};
  if (Result<void> factors = descales.check(static_cast<std::int64_t>(sequences->size()), "sequence"); !factors)
    return factors.error();
  Result<SequenceMod> mod = sequenceMod(call.mod, call.window);
  if (!mod)
    return mod.error();

  std::vector<ForwardCall> calls(sequences->size());
  for (std::size_t s = 0; s < calls.size(); ++s) {
    const Sequence &sequence = (*sequences)[s];
    ForwardCall &one = calls[s];
    one.mod = mod->mod;
    one.q = rowsOf(call.q, sequence.qBegin, sequence.qLength);
    if (call.blockTable) {
      one.pages = {batchOf(*call.blockTable, static_cast<std::int64_t>(s)), sequence.kLength};
    } else {
      one.k = rowsOf(call.k, sequence.kBegin, sequence.kLength);
      one.v = rowsOf(call.v, sequence.kBegin, sequence.kLength);
    }
    one.out = rowsOf(call.out, sequence.qBegin, sequence.qLength);
    if (call.lse)
      one.lse = columnsOf(*call.lse, sequence.qBegin, sequence.qLength);
    if (call.max)
      one.max = columnsOf(*call.max, sequence.qBegin, sequence.qLength);
    Result<std::vector<CaptureArgument>> captures =
        withHidden(call.captures, call.mod, mod->numbers(static_cast<std::int64_t>(s), sequence.kLength - sequence.qLength, call.window));
    if (!captures)
      return captures.error();
    one.captures = std::move(*captures);
    descales.give(static_cast<std::int64_t>(s), one);
    giveOptions(call, one);
  }

  return call.blockTable ? forwardPaged(engine, calls, call.k, call.v, "sequence") : engine.impl().forwardGrouped(calls, {"sequence", 0});
}

} // namespace

Result<ForwardReport> varlenAttention(const Engine &engine, const VarlenCall &call) {
  return engine::guarded([&] { return compute(engine, call); });
}

} // namespace attnjit::inline v0
