// Block masks: which blocks of keys each block of queries sees, found from a mask_mod without ever building the mask.
//
//   Result<Mod> causal = Mod::parse("", "q_idx >= kv_idx");
//   Result<BlockMask> mask = createBlockMask(*causal, {}, 1, 1, 1048576, 1048576);    // milliseconds, some hundred kilobytes
//   mask->sparsity();                                                                  // 49.99: percent of blocks that are skipped
//   ForwardCall call{.mod = score, ...};
//   call.blockMask = *mask;                                                            // skips them
//
// The names and the meaning of the index tensors are those of torch.nn.attention.flex_attention.BlockMask, whose grid has ceil(qLength /
// blockQ) rows and ceil(kvLength / blockKv) columns per (b, h). A block in no list is skipped; a full one is visible throughout and the
// mask_mod is not asked; a partial one applies the mask_mod. A block that sticks out of the sequence counts as partial, never as full. What
// is kept is runs of blocks per row, shared by batches and heads that do not differ; index tensors are made when asked for.
#pragma once

#include "attnjit/Mod.h"
#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace attnjit::inline v0 {

/// Positions [begin, end) of one dimension; negative ones count from the end, `end` past it means up to it.
struct IndexRange {
  std::int64_t begin = 0, end = std::numeric_limits<std::int64_t>::max();
  static IndexRange one(std::int64_t index) { return {index, index == -1 ? std::numeric_limits<std::int64_t>::max() : index + 1}; }
};

/// A dense row-major tensor of int32.
struct IndexTensor {
  std::vector<std::int32_t> data;
  std::vector<std::int64_t> sizes;
  TensorRef ref();
};

/// The attribute set of PyTorch's BlockMask; rows and cols count blocks. Entries past a row's count are the absent columns, ascending.
struct BlockTensors {
  std::int64_t qLength = 0, kvLength = 0, blockQ = 0, blockKv = 0;
  IndexTensor kvNumBlocks;                                   ///< [B, H, rows]: partial blocks of each row
  IndexTensor kvIndices;                                     ///< [B, H, rows, cols]: their columns, ascending
  std::optional<IndexTensor> fullKvNumBlocks, fullKvIndices; ///< the full ones; both or neither
  std::optional<IndexTensor> qNumBlocks, qIndices;           ///< [B, H, cols], [B, H, cols, rows]: the transpose
  std::optional<IndexTensor> fullQNumBlocks, fullQIndices;
};

/// Lists of blocks as the caller has them: int32 or int64, any strides, rank 4 (3 for the counts); leading dimensions that are left out
/// are 1.
struct KvBlocks {
  TensorRef kvNumBlocks;                                   ///< [B, H, rows]
  TensorRef kvIndices;                                     ///< [B, H, rows, cols]; the first kvNumBlocks entries count, in any order
  std::optional<TensorRef> fullKvNumBlocks, fullKvIndices; ///< both or neither
};

struct BlockMaskOptions {
  std::int64_t blockQ = 128, blockKv = 128;
  /// False: full blocks are listed as partial.
  bool separateFullBlocks = true;
  int threads = 1; ///< at most this many; 0 = the processors this process may use. Never changes the result.
};

struct FromKvBlocksOptions {
  std::int64_t blockQ = 128, blockKv = 128;
  std::int64_t qLength = 0, kvLength = 0; ///< 0: rows * blockQ, cols * blockKv
  Mod maskMod;                            ///< default: everything visible
  std::vector<CaptureArgument> captures;  ///< of maskMod
};

/// How the blocks of a mask were decided. Batches and heads that share rows count once.
struct BlockMaskReport {
  std::int64_t blocks = 0;
  std::int64_t byAnalysis = 0;      ///< empty or full by intervals; no pair was looked at
  std::int64_t bySamples = 0;       ///< partial, shown by at most nine pairs
  std::int64_t byEvaluation = 0;    ///< by evaluating pairs
  std::int64_t pairsEvaluated = 0;  ///< samples included; B * H * qLength * kvLength is what building the mask would take
  std::int64_t valuesTabulated = 0; ///< values of one axis, such as docs[kv_idx]
  std::int64_t timeNs = 0;
};

struct BlockMaskImpl;

/// A cheap value: copies share what never changes. Any number of threads may use one at once. The memory of captured tensors stays the
/// caller's and has to live as long as calls use the mask.
class BlockMask {
public:
  ~BlockMask();
  BlockMask(const BlockMask &);
  BlockMask(BlockMask &&) noexcept;
  BlockMask &operator=(const BlockMask &);
  BlockMask &operator=(BlockMask &&) noexcept;

  /// From lists. Errors: InvalidArgument for tensors that do not fit each other, an index outside the columns, one that is listed twice or
  /// as full and partial, naming the row and the entry.
  static Result<BlockMask> fromKvBlocks(const KvBlocks &blocks, const FromKvBlocksOptions &options = {});

  std::int64_t batches() const; ///< 1 serves every batch
  std::int64_t heads() const;   ///< query heads; 1 serves every head
  std::int64_t qLength() const;
  std::int64_t kvLength() const;
  std::int64_t blockQ() const;
  std::int64_t blockKv() const;
  std::int64_t rows() const; ///< blocks of queries
  std::int64_t cols() const; ///< blocks of keys
  /// [batches, heads, qLength, kvLength]
  std::array<std::int64_t, 4> shape() const;
  /// Positions: the product of shape().
  double numel() const;
  /// Percent of blocks that are skipped; 0 for a mask without blocks.
  double sparsity() const;
  /// Bytes that the runs take.
  std::size_t bytes() const;
  /// How it was made; zeros for lists.
  const BlockMaskReport &report() const;

  /// The mask_mod, moved to the rows, batches and heads that a slice begins with. It has captures of its own then (b_offset__, h_offset__,
  /// q_offset__), so that another offset is no new kernel.
  const Mod &maskMod() const;
  /// Values of the captures of maskMod(), by name.
  const std::vector<CaptureArgument> &captures() const;
  /// True when the blocks follow from maskMod(); false when they come from lists, which then decide.
  bool isDerived() const;

  /// The index tensors. `withQBlocks` false leaves the transpose out. Error: Unsupported past 2^31 entries in one tensor; slice first.
  Result<BlockTensors> tensors(bool withQBlocks = true) const;
  /// [B, H, rows, cols]: 1 for a block that is not skipped. Error as for tensors().
  Result<IndexTensor> toDense() const;

  /// One picture per (b, h): a cell of at most gridRows x gridCols is drawn two characters wide, "█" all of its blocks present, "░" some, "
  /// " none; -1 = a cell per block. At most `limit` pictures.
  std::string toString(std::int64_t gridRows = 20, std::int64_t gridCols = 20, std::int64_t limit = 4) const;
  /// Shape, sparsity and picture.
  std::string text() const;

  /// Some batches, heads and rows of blocks, all keys. Queries are counted anew from the first row kept, and so are batches and heads; the
  /// mask_mod moves along. Error: InvalidArgument for a range that is empty or outside.
  Result<BlockMask> slice(IndexRange batches, IndexRange heads = {}, IndexRange rows = {}) const;
  /// The upper left corner of qLength x kvLength positions. Blocks that the new border cuts are partial. Error: InvalidArgument for a
  /// length that is larger than now.
  Result<BlockMask> adjust(std::int64_t qLength, std::int64_t kvLength) const;
  /// The same mask over longer sequences, as in decoding: only blocks that are new, or that the old border cut, are decided. `captures` are
  /// as for createBlockMask and have to agree with those before on the positions that were known. Errors: as createBlockMask, and
  /// InvalidArgument for a mask from lists or a length that is smaller than now.
  Result<BlockMask> grow(std::int64_t qLength, std::int64_t kvLength, const std::vector<CaptureArgument> &captures, int threads = 1) const;

  /// The same blocks, and other memory of what the mask_mod captures: a copy on the GPU whose engine the mask is for, which nothing here
  /// reads. `captures` are as for createBlockMask. Error: InvalidArgument for those that the mask_mod has not.
  Result<BlockMask> withCaptures(const std::vector<CaptureArgument> &captures) const;

  /// For attnjit's own rooms.
  explicit BlockMask(std::shared_ptr<const BlockMaskImpl> mask);
  const BlockMaskImpl &impl() const { return *mask; }

private:
  std::shared_ptr<const BlockMaskImpl> mask;
};

/// Decides every block of mod's mask_mod over [B, H, qLength, kvLength], exactly. Symbolic where intervals decide, by pairs along the edges
/// of the mask. Errors: InvalidArgument for a size, an option or a capture; IndexOutOfRange naming the first position at which the mask_mod
/// leaves a captured tensor.
Result<BlockMask> createBlockMask(const Mod &mod, const std::vector<CaptureArgument> &captures, std::int64_t B, std::int64_t H,
                                  std::int64_t qLength, std::int64_t kvLength, const BlockMaskOptions &options = {});

/// Block masks joined by logic, block by block, without looking at pairs: what is partial in one and not settled by the other stays partial
/// and applies the joined mask_mod. Batches and heads of 1 serve all. Errors: InvalidArgument for other lengths or block sizes, for
/// mask_mods that declare a name in two ways or hold different values of it, and where lists of blocks come with a mask_mod that need not
/// agree with them.
Result<BlockMask> andMasks(const BlockMask &x, const BlockMask &y);
Result<BlockMask> orMasks(const BlockMask &x, const BlockMask &y);
Result<BlockMask> xorMasks(const BlockMask &x, const BlockMask &y);
Result<BlockMask> notMask(const BlockMask &mask);

/// A mask in full, one byte per position.
struct DenseMask {
  std::vector<std::uint8_t> data; ///< [B, H, qLength, kvLength]
  std::array<std::int64_t, 4> sizes{};
};
/// The mask_mod at every position; for a Mod that has a score_mod only, where score_mod of 0 is not -inf. Errors: as createBlockMask, and
/// Unsupported past 2^36 positions.
Result<DenseMask> createMask(const Mod &mod, const std::vector<CaptureArgument> &captures, std::int64_t B, std::int64_t H,
                             std::int64_t qLength, std::int64_t kvLength);

} // namespace attnjit::inline v0
