#include "common/ConformanceCases.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>

namespace attnjit::conformance {

using namespace tools;

namespace {

/// Some other length, shorter and odd, so that it is no multiple of any tile or block.
std::int64_t ragged(std::int64_t length) { return length < 4 ? length : (length * 5 / 7) | 1; }

Result<std::vector<GridCase>> linesOf(const std::string &file, std::string_view marker) {
  const Result<std::string> text = readFile(file);
  if (!text)
    return text.error();
  Result<std::vector<GridCase>> cases = parseGrid(gridOfModule(*text, marker));
  if (!cases)
    return Error{cases.error().code, fmt::format("{}: {}", file, cases.error().message)};
  for (GridCase &one : *cases)
    one.commandLine += fmt::format(" --mods {}", file);
  return cases;
}

} // namespace

Result<ProblemOptions> parseCommandLine(std::string_view commandLine) {
  Result<std::vector<std::string>> words = splitWords(commandLine);
  if (!words)
    return words.error();
  ProblemOptions options;
  CLI::App app;
  addProblemOptions(app, options);
  if (const Result<void> parsed = parseWords(app, std::move(*words)); !parsed)
    return parsed.error();
  return options;
}

Result<std::string> withShape(std::string_view commandLine, const std::function<void(Dims &)> &change) {
  constexpr std::string_view kFlag = "--shape ";
  const std::size_t flag = commandLine.find(kFlag);
  if (flag == std::string_view::npos)
    return Error{ErrorCode::InvalidArgument, fmt::format("no --shape in: {}", commandLine)};
  const std::size_t begin = flag + kFlag.size(), end = std::min(commandLine.find(' ', begin), commandLine.size());
  const Result<ShapeLetters> letters = parseShape(commandLine.substr(begin, end - begin));
  if (!letters)
    return letters.error();
  Result<Dims> dims = dimsOf(*letters);
  if (!dims)
    return dims.error();
  change(*dims);
  return fmt::format("{}B={},Bkv={},Hq={},Hkv={},M={},N={},D={},Dv={}{}", commandLine.substr(0, begin), dims->B, dims->Bkv, dims->Hq,
                     dims->Hkv, dims->M, dims->N, dims->D, dims->Dv, commandLine.substr(end));
}

Result<std::vector<GridCase>> casesOfModule(const std::string &file) {
  Result<std::vector<GridCase>> lines = linesOf(file, "#! ");
  if (!lines)
    return lines;
  std::vector<GridCase> cases;
  for (const GridCase &line : *lines)
    for (const std::function<void(Dims &)> &change : {std::function<void(Dims &)>([](Dims &) {}),
                                                      {[](Dims &dims) {
                                                        dims.M = ragged(dims.M);
                                                        dims.N = ragged(dims.N);
                                                      }},
                                                      {[](Dims &dims) {
                                                        dims.Hkv = 1;
                                                        dims.M = ragged(ragged(dims.M));
                                                      }}}) {
      Result<std::string> shaped = withShape(line.commandLine, change);
      if (!shaped)
        return Error{shaped.error().code, fmt::format("{}: line {}: {}", file, line.line, shaped.error().message)};
      cases.push_back(line);
      cases.back().commandLine = std::move(*shaped);
    }
  return cases;
}

Result<std::vector<GridCase>> longCasesOfModule(const std::string &file) { return linesOf(file, "#% "); }

} // namespace attnjit::conformance
