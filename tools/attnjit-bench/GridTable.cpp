#include "GridTable.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <unistd.h>

namespace attnjit::tools {

using nlohmann::json;

namespace {

/// One line on standard error that is written over and over, if somebody looks.
class Progress {
public:
  explicit Progress(std::size_t all) : all(all) {}
  ~Progress() { clear(); }

  void show(const BenchCase &about, std::size_t done) const {
    write(fmt::format("\r\033[K[{}/{}] {} {}", done, all, about.name, about.problem.shape));
  }
  void clear() const { write("\r\033[K"); }

private:
  void write(const std::string &text) const {
    if (!isSeen)
      return;
    std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
  }

  const std::size_t all;
  const bool isSeen = isatty(STDERR_FILENO) != 0;
};

constexpr const char *kHead = "{:<15} {:<31} {:<5} {:<9} {:>10}  {:<26} {:>8}  {:<19} {:<9} {:<29} {}\n";

void printHead() {
  std::fputs(fmt::format(fmt::runtime(kHead), "case", "shape", "dtype", "pipeline", "compile ms", "ms p10 / median / p90", "GFLOP/s",
                         "% of peak", "of", "relative to", "")
                 .c_str(),
             stdout);
}

/// "x 1.04 of full", "76.1 % of reading alone", "2.1 times as fast as sdpa".
std::string remarks(const json &row) {
  std::string text;
  if (row.contains("gigabytesPerSecond") && !row.contains("percentOfRead"))
    text += fmt::format("{:.0f} GB/s of K and V  ", row["gigabytesPerSecond"]["median"].get<double>());
  if (row.contains("percentOfRead"))
    text += fmt::format("{} % of reading K and V  ", show(row["percentOfRead"], 0));
  if (row.contains("peers"))
    for (const auto &[name, peer] : row["peers"].items())
      text += fmt::format("{:.2f} times as fast as {}  ", peer["timesAsFast"].get<double>(), name);
  return text;
}

void printRow(const json &row) {
  const std::string pipeline = row["pipeline"].get<std::string>(), dtype = row["problem"]["dtype"].get<std::string>();
  const std::string ratio = row.contains("relativeTo")
                                ? fmt::format("{} x {}", show(row["relativeTo"]["ratio"], 2), row["relativeTo"]["name"].get<std::string>())
                                : "";
  std::fputs(fmt::format(fmt::runtime(kHead), row["name"].get<std::string>(), row["shape"].get<std::string>(), dtype,
                         pipeline.substr(0, pipeline.find('_')),
                         row["compileMs"].is_null() ? "(memory)" : fmt::format("{:.1f}", row["compileMs"].get<double>()),
                         show(row["ms"], 4), fmt::format("{:.1f}", row["gflops"]["median"].get<double>()),
                         row.contains("percentOfPeak") ? show(row["percentOfPeak"], 1) : "", row.value("peakUnit", ""), ratio, remarks(row))
                 .c_str(),
             stdout);
  std::fflush(stdout);
}

Result<std::vector<BenchCase>> readCases(const GridOptions &options, const ProblemOptions &defaults) {
  const Result<std::string> text = readFile(options.file);
  if (!text)
    return Error{text.error().code, fmt::format("--grid: {}", text.error().message)};
  const Result<std::vector<BenchCase>> cases = parseCases(*text, defaults);
  if (!cases)
    return Error{cases.error().code, fmt::format("{}: {}", options.file, cases.error().message)};
  std::vector<BenchCase> kept = filterCases(*cases, options.filter);
  if (kept.empty())
    return Error{
        ErrorCode::InvalidArgument,
        fmt::format("{}: {}; --list shows all", options.file,
                    options.filter.empty() ? "no case at all" : fmt::format("no case has '{}' in its name or flags", options.filter))};
  return kept;
}

} // namespace

std::string show(const json &summary, int digits) {
  return fmt::format("{:.{}f} / {:.{}f} / {:.{}f}", summary["p10"].get<double>(), digits, summary["median"].get<double>(), digits,
                     summary["p90"].get<double>(), digits);
}

void addGridOptions(CLI::App &app, GridOptions &options) {
  const std::string grid = "Grids of cases";
  CLI::Option *file = app.add_option(
      "--grid", options.file,
      "measure whole calls of every case of a file: lines of problem flags with {a|b} alternatives, --name and --relative-to; other "
      "flags here hold for lines that do not give them");
  file->group(grid);
  app.add_option("--filter", options.filter, "only cases with this in their name or flags, and what they are relative to")
      ->needs(file)
      ->group(grid);
  app.add_flag("--list", options.list, "print the cases of --grid instead of measuring them")->needs(file)->group(grid);
  app.add_option("--peer", options.peer,
                 "FILE.json of another --grid --json, or of bench-peers --json: show how many times as fast as that")
      ->needs(file)
      ->group(grid);
}

Result<json> benchGrid(const Engine &engine, const GridOptions &options, const ProblemOptions &defaults, int passes, bool quiet) {
  const Result<std::vector<BenchCase>> cases = readCases(options, defaults);
  if (!cases)
    return cases.error();
  std::map<std::string, json> peer;
  if (!options.peer.empty()) {
    Result<std::map<std::string, json>> read = readPeer(options.peer);
    if (!read)
      return read.error();
    peer = std::move(*read);
  }
  const std::string peerName = std::filesystem::path(options.peer).stem().string();
  const Progress progress(cases->size());
  if (!quiet)
    printHead();
  GridEvents events;
  events.onBegin = [&](const BenchCase &about, std::size_t done) { progress.show(about, done); };
  events.onRow = [&](json &row) {
    addPeer(peer, peerName, row);
    progress.clear();
    if (!quiet)
      printRow(row);
  };
  Result<json> result = measureGrid(engine, *cases, passes, events);
  if (!result)
    return Error{result.error().code, fmt::format("{}: {}", options.file, result.error().message)};
  (*result)["file"] = std::filesystem::path(options.file).filename().string();
  return result;
}

int listGrid(const GridOptions &options, const ProblemOptions &defaults, bool asJson) {
  const Result<std::vector<BenchCase>> cases = readCases(options, defaults);
  if (!cases)
    return fail("attnjit-bench", cases.error());
  if (asJson) {
    std::fputs((toJson(*cases).dump(2) + "\n").c_str(), stdout);
    return 0;
  }
  for (const BenchCase &one : *cases)
    std::fputs(fmt::format("attnjit-run {}  # {}{}\n", one.command, one.name,
                           one.relativeTo.empty() ? "" : fmt::format(", relative to {}", one.relativeTo))
                   .c_str(),
               stdout);
  return 0;
}

} // namespace attnjit::tools
