#include "Bench.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::tools {

using nlohmann::json;

namespace {

/// Calls shorter than this are repeated within a turn.
constexpr std::int64_t kTurnNs = 2'000'000;
/// Up to so many queries a call is bound by reading K and V, and says how fast it does.
constexpr std::int64_t kFewQueries = 64;

/// A case with its memory, called once.
struct Loaded {
  const BenchCase *stated = nullptr;
  std::unique_ptr<const LoadedProblem> owned; ///< where it stays, for whoever borrows it
  const LoadedProblem &problem;
  PlacedProblem placed;
  ForwardReport first;
  double flops = 0;
  PeakUnit unit = PeakUnit::FmaF32;

  std::vector<std::span<const std::byte>> keysAndValues() const { return {problem.k.memory(), problem.v.memory()}; }
  bool isDecoding() const { return problem.dims.M > 0 && problem.dims.M <= kFewQueries && problem.dims.N > kFewQueries; }
};

double bytesOf(std::initializer_list<const Tensor *> tensors) {
  double bytes = 0;
  for (const Tensor *tensor : tensors)
    bytes += static_cast<double>(tensor->memory().size());
  return bytes;
}

Error atLine(const BenchCase &stated, const Error &error) { return {error.code, fmt::format("line {}: {}", stated.line, error.message)}; }

/// Whether all of them will run, before an hour of measuring is lost on the last line.
Result<void> checkCases(const Engine &engine, std::span<const BenchCase> cases) {
  for (const BenchCase &stated : cases) {
    const Result<LoadedProblem> problem = loadProblem(stated.problem, false);
    const Result<ExplainReport> report = problem ? engine.explain(problem->call) : Result<ExplainReport>(problem.error());
    if (!report)
      return atLine(stated, report.error());
    if (report->chosen == SDPBackend::Error)
      return atLine(stated, {ErrorCode::NoBackend, fmt::format("no backend takes it\n{}", report->text())});
  }
  return {};
}

Result<Loaded> load(const Engine &engine, const BenchCase &stated) {
  Result<LoadedProblem> problem = loadProblem(stated.problem);
  if (!problem)
    return atLine(stated, problem.error());
  auto owned = std::make_unique<const LoadedProblem>(std::move(*problem));
  Result<PlacedProblem> placed = PlacedProblem::place(engine, *owned);
  if (!placed)
    return atLine(stated, placed.error());
  const Result<ForwardReport> first = placed->run();
  if (!first)
    return atLine(stated, first.error());
  const LoadedProblem &borrowed = *owned;
  Loaded loaded{&stated, std::move(owned), borrowed, std::move(*placed), *first, 0, PeakUnit::FmaF32};
  loaded.flops = usefulFlops(loaded.problem, visiblePairs(loaded.problem));
  loaded.unit = unitOf(loaded.problem, first->pipeline, engine);
  return loaded;
}

json rowOf(const Loaded &loaded, std::span<const Turn> turns) {
  const LoadedProblem &problem = loaded.problem;
  const auto summed = [&](auto each) { return summary(valuesOf(turns, each)); };
  json row{{"name", loaded.stated->name},
           {"line", loaded.stated->line},
           {"command", loaded.stated->command},
           {"shape", loaded.stated->problem.shape},
           {"problem", toJson(problem)},
           {"pipeline", loaded.first.pipeline},
           {"threads", loaded.first.workers},
           {"compileMs", loaded.first.source == KernelSource::Compiled ? json(static_cast<double>(loaded.first.compileNs) * 1e-6) : json()},
           {"ms", summed([](const Turn &turn) { return turn.ns * 1e-6; })},
           {"flops", loaded.flops},
           {"operandBytes", bytesOf({&problem.q, &problem.k, &problem.v, &problem.out})},
           {"gflops", summed([&](const Turn &turn) { return loaded.flops / turn.ns; })}};
  if (turns[0].peakGflops > 0) {
    row["peakUnit"] = name(loaded.unit);
    row["peakGflops"] = summed([](const Turn &turn) { return turn.peakGflops; });
    row["percentOfPeak"] = summed([&](const Turn &turn) { return 100 * loaded.flops / turn.ns / turn.peakGflops; });
  }
  if (loaded.isDecoding()) {
    const double bytes = bytesOf({&problem.k, &problem.v});
    row["gigabytesPerSecond"] = summed([&](const Turn &turn) { return bytes / turn.ns; });
    if (turns[0].readGBps > 0) {
      row["readProbe"] = summed([](const Turn &turn) { return turn.readGBps; });
      row["percentOfRead"] = summed([&](const Turn &turn) { return 100 * bytes / turn.ns / turn.readGBps; });
    }
  }
  return row;
}

/// The members of a group take turns; the first is what the others are relative to. Answers their rows.
Result<std::vector<json>> measureGroup(const Engine &engine, std::span<const BenchCase *const> group, int passes) {
  std::vector<Loaded> loaded;
  loaded.reserve(group.size());
  for (const BenchCase *stated : group) {
    Result<Loaded> one = load(engine, *stated);
    if (!one)
      return one.error();
    loaded.push_back(std::move(*one));
  }
  std::vector<Contender> contenders;
  for (const Loaded &one : loaded) {
    Contender contender{callOf(engine, one.problem, one.placed), std::nullopt};
    if (!isOnGpu(engine))
      contender.yardstick =
          Yardstick{one.unit, one.first.workers, one.isDecoding() ? one.keysAndValues() : std::vector<std::span<const std::byte>>()};
    contenders.push_back(std::move(contender));
  }
  const Result<std::vector<std::vector<Turn>>> turns = takeTurns(contenders, passes, kTurnNs);
  if (!turns)
    return turns.error();
  std::vector<json> rows;
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    rows.push_back(rowOf(loaded[i], (*turns)[i]));
    if (i > 0)
      rows[i]["relativeTo"] = {{"name", group[0]->name}, {"ratio", summary(ratiosOf((*turns)[i], (*turns)[0]))}};
  }
  return rows;
}

/// What a roofline is drawn from.
json machine(const Engine &engine) {
  if (isOnGpu(engine))
    return {{"target", engine.target()}};
  constexpr std::size_t kBeyondCaches = std::size_t{256} << 20;
  json peaks = json::object();
  for (const PeakUnit unit : {PeakUnit::FmaF32, PeakUnit::FmaF64, PeakUnit::DotBf16, PeakUnit::TileBf16})
    if (hasPeakUnit(unit))
      peaks[std::string(name(unit))] = probePeakGflopsThreads(engine.threads(), 20000, unit);
  const std::vector<std::byte> memory(kBeyondCaches, std::byte{1});
  const std::span<const std::byte> pieces[] = {memory};
  std::vector<double> reads;
  for (int repeat = 0; repeat < 3; ++repeat)
    reads.push_back(probeReadGBps(pieces, engine.threads()));
  return {{"threads", engine.threads()}, {"peakGflops", peaks}, {"readGBps", quantile(reads, 0.5)}};
}

} // namespace

Result<json> measureGrid(const Engine &engine, std::span<const BenchCase> cases, int passes, const GridEvents &events) {
  if (const Result<void> checked = checkCases(engine, cases); !checked)
    return checked.error();
  std::vector<json> rows(cases.size());
  std::size_t done = 0;
  json result{{"machine", machine(engine)}, {"passes", passes}};
  for (std::size_t first = 0; first < cases.size(); ++first) {
    if (cases[first].base)
      continue; // has its turns with that
    std::vector<const BenchCase *> group{&cases[first]};
    for (const BenchCase &other : cases)
      if (other.base == first)
        group.push_back(&other);
    events.onBegin(cases[first], done);
    Result<std::vector<json>> measured = measureGroup(engine, group, passes);
    if (!measured)
      return measured.error();
    for (std::size_t i = 0; i < group.size(); ++i) {
      json &row = rows[static_cast<std::size_t>(group[i] - cases.data())] = std::move((*measured)[i]);
      events.onRow(row);
    }
    done += group.size();
  }
  result["rows"] = std::move(rows);
  return result;
}

Result<std::map<std::string, json>> readPeer(const std::string &path) {
  const Result<std::string> text = readFile(path);
  if (!text)
    return Error{text.error().code, fmt::format("--peer: {}", text.error().message)};
  const json file = json::parse(*text, nullptr, false);
  const json rows = file.is_object() ? file.value("grid", json::object()).value("rows", json::array()) : json::array();
  std::map<std::string, json> byCommand;
  for (const json &row : rows)
    if (row.is_object() && row.contains("command") && row.contains("ms"))
      byCommand.emplace(row["command"].get<std::string>(), row);
  if (byCommand.empty())
    return Error{
        ErrorCode::InvalidArgument,
        fmt::format("--peer: {} has no rows of a grid; expected what attnjit-bench --grid --json or bench-peers --json wrote", path)};
  return byCommand;
}

void addPeer(const std::map<std::string, json> &peer, std::string_view peerName, json &row) {
  const auto found = peer.find(row["command"].get<std::string>());
  if (found == peer.end())
    return;
  const double ours = row["ms"]["median"].get<double>();
  const auto add = [&](const std::string &name, const json &measured) {
    const double theirs = measured["ms"]["median"].get<double>();
    row["peers"][name] = {{"ms", theirs}, {"timesAsFast", theirs / ours}};
  };
  if (!found->second.contains("peers"))
    return add(std::string(peerName), found->second);
  for (const auto &[name, measured] : found->second["peers"].items())
    if (measured.contains("ms")) // what a peer cannot compute has a reason instead
      add(name, measured);
}

} // namespace attnjit::tools
