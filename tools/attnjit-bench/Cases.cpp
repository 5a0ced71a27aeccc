#include "Cases.h"

#include "common/Grid.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace attnjit::tools {

namespace {

Error invalid(int line, std::string_view message) { return {ErrorCode::InvalidArgument, fmt::format("line {}: {}", line, message)}; }

/// Without the flags that only a bench knows.
std::string commandOf(const std::vector<std::string> &words) {
  std::vector<std::string> kept;
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] == "--name" || words[i] == "--relative-to")
      ++i; // and its value
    else
      kept.push_back(words[i]);
  return joinWords(kept);
}

Result<BenchCase> parseCase(const GridCase &gridCase, const ProblemOptions &defaults) {
  if (!gridCase.expectedError.empty())
    return invalid(gridCase.line, fmt::format("'=> {}' expects an error, and a bench has nothing to time in one: take the line out",
                                              gridCase.expectedError));
  const Result<std::vector<std::string>> words = splitWords(gridCase.commandLine);
  if (!words)
    return invalid(gridCase.line, words.error().message);
  BenchCase parsed{gridCase.line, "", commandOf(*words), "", std::nullopt, defaults};
  CLI::App app;
  addProblemOptions(app, parsed.problem);
  app.add_option("--name", parsed.name);
  app.add_option("--relative-to", parsed.relativeTo);
  if (const Result<void> read = parseWords(app, *words); !read)
    return invalid(gridCase.line, fmt::format("{}; a line holds flags of attnjit-run (see attnjit-run --help), --name and --relative-to",
                                              read.error().message));
  if (const Result<LoadedProblem> problem = loadProblem(parsed.problem, false); !problem)
    return invalid(gridCase.line, problem.error().message);
  if (parsed.name.empty())
    parsed.name = parsed.command;
  return parsed;
}

Result<void> findBase(std::vector<BenchCase> &cases, BenchCase &wanting) {
  std::vector<std::size_t> sameShape, sameDType;
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (cases[i].name == wanting.relativeTo && cases[i].problem.shape == wanting.problem.shape) {
      sameShape.push_back(i);
      if (cases[i].problem.dtype == wanting.problem.dtype)
        sameDType.push_back(i);
    }
  const std::vector<std::size_t> &fitting = sameShape.size() > 1 ? sameDType : sameShape;
  const std::string what = fmt::format("--relative-to '{}'", wanting.relativeTo);
  if (fitting.empty())
    return invalid(wanting.line, fmt::format("{}: no case has that name and the shape {}; add one, with the shape spelt the same", what,
                                             wanting.problem.shape));
  if (fitting.size() > 1)
    return invalid(wanting.line, fmt::format("{}: lines {} and {} both have that name, shape and dtype; give them different names", what,
                                             cases[fitting[0]].line, cases[fitting[1]].line));
  const BenchCase &base = cases[fitting[0]];
  if (!base.relativeTo.empty())
    return invalid(wanting.line,
                   fmt::format("{}: line {} is itself relative to '{}'; be relative to that", what, base.line, base.relativeTo));
  wanting.base = fitting[0];
  return {};
}

} // namespace

Result<std::vector<BenchCase>> parseCases(std::string_view text, const ProblemOptions &defaults) {
  const Result<std::vector<GridCase>> lines = parseGrid(text);
  if (!lines)
    return lines.error();
  std::vector<BenchCase> cases;
  for (const GridCase &line : *lines) {
    Result<BenchCase> parsed = parseCase(line, defaults);
    if (!parsed)
      return parsed.error();
    cases.push_back(std::move(*parsed));
  }
  for (BenchCase &wanting : cases)
    if (!wanting.relativeTo.empty())
      if (const Result<void> found = findBase(cases, wanting); !found)
        return found.error();
  return cases;
}

std::vector<BenchCase> filterCases(const std::vector<BenchCase> &cases, std::string_view filter) {
  std::vector<bool> isKept(cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (cases[i].name.find(filter) != std::string::npos || cases[i].command.find(filter) != std::string::npos) {
      isKept[i] = true;
      if (cases[i].base)
        isKept[*cases[i].base] = true;
    }
  std::vector<BenchCase> kept;
  std::vector<std::size_t> newIndex(cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i)
    if (isKept[i]) {
      newIndex[i] = kept.size();
      kept.push_back(cases[i]);
    }
  for (BenchCase &one : kept)
    if (one.base)
      one.base = newIndex[*one.base];
  return kept;
}

nlohmann::json toJson(const std::vector<BenchCase> &cases) {
  nlohmann::json rows = nlohmann::json::array();
  for (const BenchCase &one : cases)
    rows.push_back({{"line", one.line}, {"name", one.name}, {"command", one.command}, {"relativeTo", one.relativeTo}});
  return rows;
}

} // namespace attnjit::tools
