// A block mask over the keys of sequences, as one over the cache that holds them in pages.
#include "attnjit/Paged.h"

#include "Engine/Guard.h"
#include "Engine/IndexTensor.h"

#include <fmt/format.h>

namespace attnjit::inline v0 {

namespace {

Error refuse(std::string why) { return {ErrorCode::InvalidArgument, "block mask: " + std::move(why)}; }

/// Lists of one kind, [B, H, rows] and [B, H, rows, pages].
struct Lists {
  Lists(std::int64_t B, std::int64_t H, std::int64_t rows, std::int64_t pages)
      : B(B), H(H), rows(rows), pages(pages), counts(static_cast<std::size_t>(B * H * rows)),
        indices(static_cast<std::size_t>(B * H * rows * pages)) {}

  void add(std::int64_t row, std::int64_t page) {
    std::int32_t &count = counts[static_cast<std::size_t>(row)];
    indices[static_cast<std::size_t>(row * pages + count++)] = static_cast<std::int32_t>(page);
  }
  TensorRef countsRef() { return TensorRef::dense(counts.data(), DType::I32, {B, H, rows}); }
  TensorRef indicesRef() { return TensorRef::dense(indices.data(), DType::I32, {B, H, rows, pages}); }

  std::int64_t B, H, rows, pages;
  std::vector<std::int32_t> counts, indices;
};

} // namespace

Result<BlockMask> PagedAttention::convertLogicalBlockMask(const BlockMask &mask, std::int64_t first, std::int64_t batches,
                                                          std::optional<TensorRef> kvLen) const {
  return engine::guarded([&]() -> Result<BlockMask> {
    if (mask.blockKv() != tokensPerPage)
      return refuse(
          fmt::format("its blocks are {} keys wide, pages {}; make it with blockKv = {}", mask.blockKv(), tokensPerPage, tokensPerPage));
    if (first < 0 || batches < 0 || first > maxBatch() - batches)
      return refuse(fmt::format("{} sequences from {} on do not exist; there are {}", batches, first, maxBatch()));
    if (mask.batches() != batches && mask.batches() != 1)
      return refuse(fmt::format("it is for {} batches, not {}; it must be for as many, or for 1 to be shared", mask.batches(), batches));
    if (kvLen) {
      if (Result<void> lengths = engine::checkIndexTensor("kv_len", *kvLen, 1); !lengths)
        return lengths.error();
      if (kvLen->dtype != DType::I64 || kvLen->sizes[0] != batches)
        return refuse(fmt::format("kv_len has {} elements of {}; expected {} of i64", kvLen->sizes[0], name(kvLen->dtype), batches));
      for (std::int64_t batch = 0; batch < batches; ++batch) {
        const std::int64_t length = engine::indexAt(*kvLen, 0, batch);
        if (length > mask.kvLength() || length > capacity(first + batch))
          return refuse(fmt::format("kv_len of batch {} is {}, but the mask ends at {} and sequence {} holds {}", batch, length,
                                    mask.kvLength(), first + batch, capacity(first + batch)));
      }
    } else if (mask.kvLength() % tokensPerPage != 0) {
      return refuse(
          fmt::format("it ends at key {}, inside a page of {}; give kv_len, or make it for whole pages", mask.kvLength(), tokensPerPage));
    }
    const Result<BlockTensors> logical = mask.tensors(false);
    if (!logical)
      return logical.error();

    const std::int64_t perBatch = mask.heads() * mask.rows(), columns = mask.cols();
    Lists partial(batches, mask.heads(), mask.rows(), pageCount), full = partial;
    /// Enters the listed blocks of row `from` of the mask as row `to`.
    auto convert = [&](const IndexTensor &counts, const IndexTensor &indices, bool isFull, std::int64_t batch, std::int64_t from,
                       std::int64_t to) -> Result<void> {
      const std::int64_t sequence = first + batch;
      for (std::int32_t j = 0; j < counts.data[static_cast<std::size_t>(from)]; ++j) {
        const std::int64_t page = indices.data[static_cast<std::size_t>(from * columns + j)];
        const std::int64_t length = kvLen ? engine::indexAt(*kvLen, 0, batch) : mask.kvLength();
        if (page * tokensPerPage >= length)
          continue; // no token there yet
        if (page >= pagesOf(sequence))
          return refuse(fmt::format("row {} of batch {} sees block {}, for which sequence {} has no page (it has {}); reserve() more",
                                    from % mask.rows(), batch, page, sequence, pagesOf(sequence)));
        const bool isCut = length < (page + 1) * tokensPerPage;
        (isFull && !isCut ? full : partial).add(to, table[static_cast<std::size_t>(sequence * pageCount + page)]);
      }
      return {};
    };
    for (std::int64_t batch = 0; batch < batches; ++batch)
      for (std::int64_t row = 0; row < perBatch; ++row) {
        const std::int64_t from = (mask.batches() == 1 ? 0 : batch) * perBatch + row, to = batch * perBatch + row;
        if (Result<void> done = convert(logical->kvNumBlocks, logical->kvIndices, false, batch, from, to); !done)
          return done.error();
        if (logical->fullKvNumBlocks)
          if (Result<void> done = convert(*logical->fullKvNumBlocks, *logical->fullKvIndices, true, batch, from, to); !done)
            return done.error();
      }

    const Result<Mod> physical = physicalMod(mask.maskMod(), kvLen.has_value());
    if (!physical)
      return physical.error();
    FromKvBlocksOptions options;
    options.blockQ = mask.blockQ();
    options.blockKv = tokensPerPage;
    options.qLength = mask.qLength();
    options.kvLength = pageCount * tokensPerPage;
    options.maskMod = physical->maskOnly();
    options.captures = captures(kvLen, first);
    options.captures.insert(options.captures.end(), mask.captures().begin(), mask.captures().end());
    return BlockMask::fromKvBlocks({partial.countsRef(), partial.indicesRef(), full.countsRef(), full.indicesRef()}, options);
  });
}

} // namespace attnjit::inline v0
