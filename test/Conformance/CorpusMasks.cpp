// The block masks of the mask_mods that users write (test/Corpus), against the masks themselves, pair by pair: blocks of any size are
// empty, partial and full exactly where the pairs say so. And of the families in a module's lines "#% ...", at lengths that users have,
// analysis alone decides 99 of 100 blocks.
#include "common/ConformanceCases.h"

#include "attnjit/BlockMask.h"

#include <fmt/format.h>

#include <cstdio>

using namespace attnjit;
using namespace attnjit::conformance;
using tools::GridCase;
using tools::LoadedProblem;

namespace {

constexpr double kDecidedShare = 0.99;

/// The mask_mod at every position, by the plain evaluator.
std::vector<char> pairsOf(const LoadedProblem &problem) {
  const tools::Dims &dims = problem.dims;
  expr::Interp interp(problem.formula, problem.formula.mask, problem.bindings());
  std::vector<char> visible;
  visible.reserve(static_cast<std::size_t>(dims.B * dims.Hq * dims.M * dims.N));
  bool outOfRange = false;
  for (std::int64_t b = 0; b < dims.B; ++b)
    for (std::int64_t h = 0; h < dims.Hq; ++h)
      for (std::int64_t q = 0; q < dims.M; ++q)
        for (std::int64_t kv = 0; kv < dims.N; ++kv)
          visible.push_back(interp.evaluate(0, {b, h, q, kv}, outOfRange).i != 0);
  return visible;
}

enum State : char { kEmpty, kPartial, kFull };

/// [batches, heads, rows, cols] of a mask, from its index tensors.
Result<std::vector<char>> statesOf(const BlockMask &mask) {
  const Result<BlockTensors> lists = mask.tensors(false);
  if (!lists)
    return lists.error();
  const std::int64_t cols = mask.cols();
  std::vector<char> states(static_cast<std::size_t>(mask.batches() * mask.heads() * mask.rows() * cols), kEmpty);
  for (auto [counts, indices, state] :
       {std::tuple{&lists->kvNumBlocks, &lists->kvIndices, kPartial}, std::tuple{&*lists->fullKvNumBlocks, &*lists->fullKvIndices, kFull}})
    for (std::size_t row = 0; row < counts->data.size(); ++row)
      for (std::int32_t i = 0; i < counts->data[row]; ++i)
        states[row * static_cast<std::size_t>(cols) +
               static_cast<std::size_t>(indices->data[row * static_cast<std::size_t>(cols) + static_cast<std::size_t>(i)])] = state;
  return states;
}

/// What is wrong with the blocks of blockQ x blockKv; empty if nothing is.
std::string checkBlocks(const LoadedProblem &problem, const std::vector<char> &visible, std::int64_t blockQ, std::int64_t blockKv) {
  const tools::Dims &dims = problem.dims;
  BlockMaskOptions options;
  options.blockQ = blockQ;
  options.blockKv = blockKv;
  const Result<BlockMask> mask = createBlockMask(problem.mod, problem.call.captures, dims.B, dims.Hq, dims.M, dims.N, options);
  if (!mask)
    return mask.error().message;
  const Result<std::vector<char>> states = statesOf(*mask);
  if (!states)
    return states.error().message;
  const std::int64_t rows = mask->rows(), cols = mask->cols();
  for (std::int64_t b = 0; b < dims.B; ++b)
    for (std::int64_t h = 0; h < dims.Hq; ++h)
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t col = 0; col < cols; ++col) {
          std::int64_t seen = 0;
          for (std::int64_t q = row * blockQ; q < std::min(dims.M, (row + 1) * blockQ); ++q)
            for (std::int64_t kv = col * blockKv; kv < std::min(dims.N, (col + 1) * blockKv); ++kv)
              seen += visible[static_cast<std::size_t>(((b * dims.Hq + h) * dims.M + q) * dims.N + kv)];
          const State wanted = seen == 0 ? kEmpty : seen == blockQ * blockKv ? kFull : kPartial;
          const std::int64_t place = ((mask->batches() == 1 ? 0 : b) * mask->heads() + (mask->heads() == 1 ? 0 : h)) * rows + row;
          if (const char state = (*states)[static_cast<std::size_t>(place * cols + col)]; state != wanted)
            return fmt::format("b {} h {} row {} column {} of {} x {} blocks has state {}, the pairs say {}", b, h, row, col, blockQ,
                               blockKv, static_cast<int>(state), static_cast<int>(wanted));
        }
  return "";
}

Result<LoadedProblem> load(const GridCase &one) {
  const Result<tools::ProblemOptions> options = parseCommandLine(one.commandLine);
  return options ? tools::loadProblem(*options, false) : options.error();
}

struct Totals {
  int masks = 0, blockMasks = 0, families = 0, failures = 0;
  void fail(const GridCase &one, std::string_view why) {
    ++failures;
    std::fputs(fmt::format("FAILED line {}: {}\n  {}\n", one.line, why, one.commandLine).c_str(), stdout);
  }
};

void checkPairs(const GridCase &one, Totals &totals) {
  if (!one.expectedError.empty())
    return;
  const Result<LoadedProblem> problem = load(one);
  if (!problem)
    return totals.fail(one, problem.error().message);
  if (problem->formula.maskIsTrue())
    return;
  ++totals.masks;
  const std::vector<char> visible = pairsOf(*problem);
  for (auto [q, kv] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {7, 13}, {16, 16}, {32, 5}, {128, 128}}) {
    ++totals.blockMasks;
    if (const std::string wrong = checkBlocks(*problem, visible, q, kv); !wrong.empty())
      totals.fail(one, wrong);
  }
}

void checkShare(const GridCase &one, Totals &totals) {
  const Result<LoadedProblem> problem = load(one);
  if (!problem)
    return totals.fail(one, problem.error().message);
  const tools::Dims &dims = problem->dims;
  const Result<BlockMask> mask = createBlockMask(problem->mod, problem->call.captures, dims.B, dims.Hq, dims.M, dims.N);
  if (!mask)
    return totals.fail(one, mask.error().message);
  ++totals.families;
  const BlockMaskReport &report = mask->report();
  const double share = static_cast<double>(report.byAnalysis) / static_cast<double>(report.blocks);
  const std::string_view name = std::string_view(one.commandLine).substr(one.commandLine.rfind('/') + 1);
  std::fputs(fmt::format("{:>9.3f} % of {} blocks by analysis: {}\n", 100 * share, report.blocks, name).c_str(), stdout);
  if (!(share >= kDecidedShare))
    totals.fail(one, fmt::format("analysis decides {:.2f} % of the blocks, less than {} %", 100 * share, 100 * kDecidedShare));
}

} // namespace

int main(int argc, char **argv) {
  Totals totals;
  for (int i = 1; i < argc; ++i) {
    const Result<std::vector<GridCase>> cases = casesOfModule(argv[i]), longCases = longCasesOfModule(argv[i]);
    for (const Result<std::vector<GridCase>> *read : {&cases, &longCases})
      if (!*read) {
        std::fputs(fmt::format("CorpusMasks: {}\n", read->error().message).c_str(), stderr);
        return 1;
      }
    for (const GridCase &one : *cases)
      checkPairs(one, totals);
    for (const GridCase &one : *longCases)
      checkShare(one, totals);
  }
  std::fputs(fmt::format("{} masks in {} block masks, {} families; {} failures\n", totals.masks, totals.blockMasks, totals.families,
                         totals.failures)
                 .c_str(),
             stdout);
  return totals.failures || totals.masks == 0 || totals.families == 0 ? 1 : 0;
}
