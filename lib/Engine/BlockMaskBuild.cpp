// Block masks from formulas, from lists and from each other.
#include "BlockMask/Decider.h"
#include "Engine/BlockMaskImpl.h"
#include "Engine/CaptureCheck.h"
#include "Engine/Guard.h"
#include "Engine/TensorCheck.h"
#include "Expr/LaneInterp.h"
#include "Expr/Rewrite.h"
#include "Expr/Table.h"
#include "Runtime/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <mutex>

namespace attnjit::inline v0 {

using engine::BoundCaptures;
using plan::BlockProblem;
using plan::BlockRows;

namespace {

/// Positions stay below this, as everywhere in the analyses.
constexpr std::int64_t kMaxLength = std::int64_t{1} << 40;
constexpr std::int64_t kMaxHeads = std::int64_t{1} << 30;

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

struct NamedSize {
  const char *name;
  std::int64_t size, least, most;
};
Result<void> checkSizes(std::string_view what, std::initializer_list<NamedSize> sizes) {
  for (const NamedSize &size : sizes)
    if (size.size < size.least || size.size > size.most)
      return invalid(fmt::format("{}: {} is {}; {} to {} are accepted", what, size.name, size.size, size.least, size.most));
  return {};
}

Result<void> checkGrid(std::string_view what, const BlockProblem &problem, int threads) {
  if (Result<void> sizes = checkSizes(what, {{"B", problem.B, 1, kMaxHeads},
                                             {"H", problem.H, 1, kMaxHeads},
                                             {"qLength", problem.M, 0, kMaxLength},
                                             {"kvLength", problem.N, 0, kMaxLength},
                                             {"blockQ", problem.blockQ, 1, kMaxLength},
                                             {"blockKv", problem.blockKv, 1, kMaxLength},
                                             {"threads", threads, 0, 1 << 20}});
      !sizes)
    return sizes;
  if (problem.rows() > plan::kMaxBlocks || problem.cols() > plan::kMaxBlocks)
    return invalid(fmt::format("{}: {} x {} positions in blocks of {} x {} are more than 2^31 blocks in a row or column; use larger blocks",
                               what, problem.M, problem.N, problem.blockQ, problem.blockKv));
  return {};
}

/// Tasks on the pool. What a task throws is thrown here.
plan::ParallelFor onPool(int workers) {
  if (workers <= 1)
    return {};
  return [workers](int tasks, const std::function<void(int)> &body) {
    std::atomic<int> next{0};
    std::exception_ptr failure;
    std::mutex mutex;
    const Result<void> ran = runtime::parallelFor({}, std::min(workers, tasks), [&](int) {
      try {
        for (int task; (task = next.fetch_add(1)) < tasks;)
          body(task);
      } catch (...) {
        std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    });
    if (failure)
      std::rethrow_exception(failure);
    if (!ran)
      for (int task; (task = next.fetch_add(1)) < tasks;)
        body(task);
  };
}

Error outOfRange(const Mod &mod, const expr::Position &at) {
  return {
      ErrorCode::IndexOutOfRange,
      fmt::format("the mask_mod indexes a captured tensor ({}) outside its sizes; the first such position is b = {}, h = {}, q_idx = {}, "
                  "kv_idx = {} (A10). Clamp the index in the formula, or capture a larger tensor.",
                  expr::listCaptures(expr::maskOnly(mod.impl().formula)), at.b, at.h, at.q, at.kv)};
}

/// Decides the blocks that `options` asks for and says how it went. The separation of full blocks and ragged ones is the caller's.
Result<plan::Decided> decideBlocks(const Mod &mod, const BoundCaptures &bound, const BlockProblem &problem, plan::DecideOptions options,
                                   int threads, BlockMaskReport &report) {
  const auto start = std::chrono::steady_clock::now();
  // Waking threads costs more than analysis does on a short sequence.
  constexpr double kWorthThreads = 1 << 26;
  const bool isLarge = static_cast<double>(problem.M) * static_cast<double>(problem.N) >= kWorthThreads;
  options.workers = !isLarge ? 1 : threads > 0 ? threads : runtime::usableProcessors();
  options.parallelFor = onPool(options.workers);
  plan::Decided decided = plan::decide(mod.impl().formula, bound.bindings(), problem, options);
  if (decided.outOfRange)
    return outOfRange(mod, *decided.outOfRange);
  const plan::DecideStatistics &how = decided.statistics;
  report = {how.blocks, how.byIntervals, how.bySamples, how.byPairs, how.pairsEvaluated, how.valuesTabulated, 0};
  report.timeNs = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
  return decided;
}

BlockRows asListed(BlockRows rows, const BlockProblem &problem, bool separatesFull) {
  rows = plan::withRaggedPartial(rows, problem.M % problem.blockQ != 0, problem.N % problem.blockKv != 0);
  return separatesFull ? rows : plan::withoutFull(rows);
}

} // namespace

Result<BlockMask> createBlockMask(const Mod &mod, const std::vector<CaptureArgument> &captures, std::int64_t B, std::int64_t H,
                                  std::int64_t qLength, std::int64_t kvLength, const BlockMaskOptions &options) {
  return engine::guarded([&]() -> Result<BlockMask> {
    const BlockProblem problem{B, H, qLength, kvLength, options.blockQ, options.blockKv};
    if (Result<void> grid = checkGrid("createBlockMask", problem, options.threads); !grid)
      return grid.error();
    Result<BoundCaptures> bound = engine::bindCaptures(captures, mod.impl(), engine::CheckFor::Launch);
    if (!bound)
      return bound.error();
    Result<std::vector<CaptureArgument>> named = engine::namedCaptures(captures, mod);
    if (!named)
      return named.error();
    auto mask = std::make_shared<BlockMaskImpl>();
    Result<plan::Decided> decided = decideBlocks(mod, *bound, problem, {}, options.threads, mask->report);
    if (!decided)
      return decided.error();
    mask->rows = asListed(std::move(decided->rows), problem, options.separateFullBlocks);
    mask->B = B;
    mask->H = H;
    mask->qLength = qLength;
    mask->kvLength = kvLength;
    mask->blockQ = options.blockQ;
    mask->blockKv = options.blockKv;
    mask->derived = true;
    mask->separatesFull = options.separateFullBlocks;
    mask->baseMod = mod.maskOnly();
    for (const CaptureInfo &info : mask->baseMod.captures())
      for (CaptureArgument &argument : *named)
        if (argument.name == info.name)
          mask->baseCaptures.push_back(argument);
    mask->moveMod();
    return BlockMask(std::move(mask));
  });
}

Result<BlockMask> BlockMask::grow(std::int64_t qLength, std::int64_t kvLength, const std::vector<CaptureArgument> &captures,
                                  int threads) const {
  return engine::guarded([&]() -> Result<BlockMask> {
    if (!mask->derived)
      return invalid("grow: the blocks come from lists, so what they say of new positions is not known; state the new lists");
    const BlockProblem problem{mask->B, mask->H, qLength, kvLength, mask->blockQ, mask->blockKv};
    if (Result<void> grid = checkGrid("grow", problem, threads); !grid)
      return grid.error();
    if (qLength < mask->qLength || kvLength < mask->kvLength)
      return invalid(fmt::format("grow: {} x {} is smaller than the {} x {} of now; adjust() makes it shorter", qLength, kvLength,
                                 mask->qLength, mask->kvLength));
    auto grown = std::make_shared<BlockMaskImpl>();
    Result<std::vector<CaptureArgument>> named = engine::namedCaptures(captures, mask->baseMod);
    if (!named)
      return named.error();
    grown->baseMod = mask->baseMod;
    grown->baseCaptures = std::move(*named);
    grown->moves = mask->moves;
    grown->bOffset = mask->bOffset;
    grown->hOffset = mask->hOffset;
    grown->qOffset = mask->qOffset;
    grown->moveMod();
    Result<BoundCaptures> bound = engine::bindCaptures(grown->captures, grown->mod.impl(), engine::CheckFor::Launch);
    if (!bound)
      return bound.error();
    plan::DecideOptions options;
    // Blocks that a border cut are decided anew when it moves.
    options.knownRows = qLength == mask->qLength ? mask->rows.rows : mask->qLength / mask->blockQ;
    options.knownCols = kvLength == mask->kvLength ? mask->rows.cols : mask->kvLength / mask->blockKv;
    Result<plan::Decided> decided = decideBlocks(grown->mod, *bound, problem, options, threads, grown->report);
    if (!decided)
      return decided.error();
    grown->rows =
        plan::grown(mask->rows, options.knownRows, options.knownCols, asListed(std::move(decided->rows), problem, mask->separatesFull));
    grown->B = mask->B;
    grown->H = mask->H;
    grown->qLength = qLength;
    grown->kvLength = kvLength;
    grown->blockQ = mask->blockQ;
    grown->blockKv = mask->blockKv;
    grown->derived = true;
    grown->separatesFull = mask->separatesFull;
    return BlockMask(std::move(grown));
  });
}

Result<DenseMask> createMask(const Mod &mod, const std::vector<CaptureArgument> &captures, std::int64_t B, std::int64_t H,
                             std::int64_t qLength, std::int64_t kvLength) {
  return engine::guarded([&]() -> Result<DenseMask> {
    if (Result<void> grid = checkGrid("createMask", {B, H, qLength, kvLength, 1 << 20, 1 << 20}, 0); !grid)
      return grid.error();
    const __int128 positions = static_cast<__int128>(B) * H * qLength * kvLength;
    if (positions > __int128{1} << 36)
      return Error{ErrorCode::Unsupported,
                   fmt::format("createMask: {} x {} x {} x {} positions are more than 2^36 bytes; createBlockMask needs no mask in full", B,
                               H, qLength, kvLength)};
    Result<BoundCaptures> bound = engine::bindCaptures(captures, mod.impl(), engine::CheckFor::Launch);
    if (!bound)
      return bound.error();
    const bool byScore = !mod.hasMask() && !mod.scoreIsIdentity();
    const expr::Function &function = byScore ? mod.impl().formula.score : mod.impl().formula.mask;
    expr::LaneInterp lanes(function, bound->bindings(), {&function.result, 1}, expr::Param::Kv);
    DenseMask mask;
    mask.sizes = {B, H, qLength, kvLength};
    mask.data.resize(static_cast<std::size_t>(positions));
    std::uint8_t *at = mask.data.data();
    for (std::int64_t row = 0; row < B * H * qLength; ++row)
      for (std::int64_t kv = 0; kv < kvLength; kv += expr::LaneInterp::kLanes) {
        const int count = static_cast<int>(std::min<std::int64_t>(expr::LaneInterp::kLanes, kvLength - kv));
        expr::Position position{row / qLength / H, row / qLength % H, row % qLength, kv};
        if (lanes.run(position, 1, count)) {
          while (!lanes.run(position, 1, 1))
            ++position.kv;
          return outOfRange(mod, position);
        }
        if (byScore)
          for (int i = 0; i < count; ++i)
            *at++ = lanes.floats(function.result)[i] != -HUGE_VAL;
        else
          for (int i = 0; i < count; ++i)
            *at++ = static_cast<std::uint8_t>(lanes.ints(function.result)[i]);
      }
    return mask;
  });
}

namespace {

/// What a mask brings to a combination: its blocks, and its mask_mod where blocks are partial. Lists without a mask_mod are visible
/// throughout.
struct Side {
  const BlockMaskImpl &mask;
  BlockRows rows;
  bool isPlain; ///< lists without a mask_mod: nothing is partial
};

Result<Side> sideOf(std::string_view what, const BlockMask &given) {
  const BlockMaskImpl &mask = given.impl();
  const bool isPlain = !mask.derived && !mask.mod.hasMask();
  if (!mask.derived && !isPlain)
    return invalid(
        fmt::format("{}: the blocks of one mask come from lists that need not agree with its mask_mod, so no mask_mod says what both "
                    "show; create it from its mask_mod, or give the lists without one",
                    what));
  if (!isPlain)
    return Side{mask, mask.rows, false};
  BlockRows full = plan::rebuilt(mask.rows, [&](std::int64_t row, std::vector<plan::BlockRun> &runs, std::size_t begin) {
    for (const plan::BlockRun &run : mask.rows.row(row))
      plan::append(runs, begin, run.begin, run.end, true);
  });
  return Side{mask, std::move(full), true};
}

Result<BlockMask> combine(std::string_view what, plan::Logic logic, const BlockMask &left, const BlockMask &right) {
  return engine::guarded([&]() -> Result<BlockMask> {
    const Result<Side> a = sideOf(what, left), b = sideOf(what, right);
    if (!a || !b)
      return a ? b.error() : a.error();
    const BlockMaskImpl &x = a->mask, &y = b->mask;
    if (x.qLength != y.qLength || x.kvLength != y.kvLength)
      return invalid(fmt::format("{}: one mask is of {} x {} positions, the other of {} x {}; adjust() or grow() one", what, x.qLength,
                                 x.kvLength, y.qLength, y.kvLength));
    if (x.blockQ != y.blockQ || x.blockKv != y.blockKv)
      return invalid(fmt::format("{}: one mask has blocks of {} x {}, the other of {} x {}; create both with one size", what, x.blockQ,
                                 x.blockKv, y.blockQ, y.blockKv));
    for (const auto &[name, p, q] : {std::tuple{"B", x.B, y.B}, std::tuple{"H", x.H, y.H}})
      if (p != q && p != 1 && q != 1)
        return invalid(
            fmt::format("{}: {} is {} in one mask and {} in the other; they have to be equal, or one of them 1", what, name, p, q));
    if (logic == plan::Logic::Xor && a->isPlain != b->isPlain)
      return invalid(
          fmt::format("{}: one mask is made of lists; where they show a block that is partial in the other, no one mask_mod says "
                      "what is left. Create both from mask_mods",
                      what));
    auto mask = std::make_shared<BlockMaskImpl>();
    mask->rows = plan::combined(logic, a->rows, b->rows);
    mask->B = std::max(x.B, y.B);
    mask->H = std::max(x.H, y.H);
    mask->qLength = x.qLength;
    mask->kvLength = x.kvLength;
    mask->blockQ = x.blockQ;
    mask->blockKv = x.blockKv;
    mask->derived = x.derived && y.derived;
    mask->separatesFull = !mask->derived || (x.separatesFull && y.separatesFull); // what lists settle is full in its own right
    if (mask->derived) { // the blocks that stick out are partial in both; where they settle each other they stay partial
      const BlockProblem problem{mask->B, mask->H, x.qLength, x.kvLength, x.blockQ, x.blockKv};
      mask->rows = asListed(std::move(mask->rows), problem, mask->separatesFull);
    }
    // A plain side settles every block, so the other's mask_mod is all that is ever asked.
    const std::vector<Mod> mods = a->isPlain ? std::vector{y.mod} : b->isPlain ? std::vector{x.mod} : std::vector{x.mod, y.mod};
    Result<Mod> mod = logic == plan::Logic::And ? andMasks(mods) : logic == plan::Logic::Or ? orMasks(mods) : xorMasks(mods);
    if (!mod)
      return mod.error();
    mask->baseMod = *mod;
    mask->baseCaptures = x.captures;
    if (Result<void> joined = engine::joinCaptures(mask->baseCaptures, y.captures); !joined)
      return invalid(fmt::format("{}: a capture of one name has different values in the two masks; name them apart ({})", what,
                                 joined.error().message));
    std::erase_if(mask->baseCaptures, [&](const CaptureArgument &argument) {
      return std::none_of(mod->captures().begin(), mod->captures().end(),
                          [&](const CaptureInfo &info) { return info.name == argument.name; });
    });
    mask->moveMod();
    return BlockMask(std::move(mask));
  });
}

} // namespace

Result<BlockMask> andMasks(const BlockMask &x, const BlockMask &y) { return combine("andMasks", plan::Logic::And, x, y); }
Result<BlockMask> orMasks(const BlockMask &x, const BlockMask &y) { return combine("orMasks", plan::Logic::Or, x, y); }
Result<BlockMask> xorMasks(const BlockMask &x, const BlockMask &y) { return combine("xorMasks", plan::Logic::Xor, x, y); }

Result<BlockMask> notMask(const BlockMask &given) {
  return engine::guarded([&]() -> Result<BlockMask> {
    Result<Side> side = sideOf("notMask", given);
    if (!side)
      return side.error();
    const BlockMaskImpl &from = side->mask;
    auto mask = std::make_shared<BlockMaskImpl>();
    mask->B = from.B;
    mask->H = from.H;
    mask->qLength = from.qLength;
    mask->kvLength = from.kvLength;
    mask->blockQ = from.blockQ;
    mask->blockKv = from.blockKv;
    mask->derived = from.derived;
    mask->separatesFull = !from.derived || from.separatesFull;
    mask->rows = plan::complement(side->rows);
    if (from.derived)
      mask->rows =
          asListed(std::move(mask->rows), {from.B, from.H, from.qLength, from.kvLength, from.blockQ, from.blockKv}, from.separatesFull);
    if (from.mod.hasMask() || from.derived) {
      Result<Mod> mod = notMask(from.mod);
      if (!mod)
        return mod.error();
      mask->baseMod = *mod;
      mask->baseCaptures = from.captures;
    }
    mask->moveMod();
    return BlockMask(std::move(mask));
  });
}

} // namespace attnjit::inline v0
