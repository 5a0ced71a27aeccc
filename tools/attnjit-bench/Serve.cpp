// Timing for another program: tools/bench-peers lets PyTorch and attnjit take turns, each in a process of its own.
#include "Bench.h"

#include "common/Grid.h"
#include "common/Npy.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <iostream>

namespace attnjit::tools {

using nlohmann::json;

namespace {

/// The case at work.
struct Server {
  const Engine &engine;
  const ProblemOptions &defaults;
  std::unique_ptr<const LoadedProblem> problem = nullptr;
  std::optional<PlacedProblem> placed = std::nullopt;

  Result<json> answer(std::string_view line) {
    const std::size_t blank = std::min(line.find(' '), line.size());
    const std::string_view verb = line.substr(0, blank), rest = line.substr(std::min(blank + 1, line.size()));
    if (verb == "case")
      return takeCase(rest);
    if (verb != "turn" && verb != "write")
      return invalid(fmt::format("'{}' is not one of: case FLAGS, turn MILLISECONDS, write FOLDER", verb));
    if (!problem)
      return invalid(fmt::format("'{}' before any 'case FLAGS'", verb));
    return verb == "turn" ? turn(rest) : write(std::string(rest));
  }

private:
  static Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

  Result<json> takeCase(std::string_view flags) {
    placed.reset();
    problem.reset();
    const Result<std::vector<std::string>> words = splitWords(flags);
    if (!words)
      return words.error();
    ProblemOptions options = defaults;
    CLI::App app;
    addProblemOptions(app, options);
    if (const Result<void> parsed = parseWords(app, *words); !parsed)
      return parsed.error();
    Result<LoadedProblem> loaded = loadProblem(options);
    if (!loaded)
      return loaded.error();
    auto owned = std::make_unique<const LoadedProblem>(std::move(*loaded));
    Result<PlacedProblem> there = PlacedProblem::place(engine, *owned);
    if (!there)
      return there.error();
    const Result<ForwardReport> first = there->run();
    if (!first)
      return first.error();
    if (const Result<void> fetched = there->fetch(); !fetched)
      return fetched.error();
    problem = std::move(owned);
    placed.emplace(std::move(*there));
    return json{{"problem", toJson(*problem)},
                {"pipeline", first->pipeline},
                {"threads", first->workers},
                {"compileMs", static_cast<double>(first->compileNs) * 1e-6},
                {"flops", usefulFlops(*problem, visiblePairs(*problem))}};
  }

  Result<json> turn(std::string_view milliseconds) const {
    double least = 0;
    const auto [end, error] = std::from_chars(milliseconds.data(), milliseconds.data() + milliseconds.size(), least);
    if (error != std::errc() || end != milliseconds.data() + milliseconds.size())
      return invalid(fmt::format("turn {}: expected a number of milliseconds", milliseconds));
    const Result<double> ns = sampleFor(static_cast<std::int64_t>(least * 1e6), callOf(engine, *problem, *placed));
    return ns ? Result<json>(json{{"ns", *ns}}) : Result<json>(ns.error());
  }

  Result<json> write(const std::string &folder) const {
    json files = json::object();
    const auto add = [&](const std::string &name, const TensorRef &tensor) -> Result<void> {
      const std::string path = fmt::format("{}/{}.npy", folder, name);
      files[name] = path;
      return writeNpy(path, tensor);
    };
    std::vector<std::pair<std::string, TensorRef>> tensors{
        {"q", problem->q.ref()}, {"k", problem->k.ref()}, {"v", problem->v.ref()}, {"out", problem->out.ref()}};
    json numbers = json::object();
    for (const NamedCapture &capture : problem->captures)
      if (const Tensor *tensor = std::get_if<Tensor>(&capture.value))
        tensors.emplace_back("capture-" + capture.name, tensor->ref());
      else
        std::visit(
            [&](const auto &value) {
              if constexpr (std::is_arithmetic_v<std::decay_t<decltype(value)>>)
                numbers[capture.name] = value;
            },
            capture.value);
    for (const auto &[name, tensor] : tensors)
      if (const Result<void> written = add(name, tensor); !written)
        return written.error();
    return json{{"files", files}, {"numbers", numbers}};
  }
};

} // namespace

int serve(const Engine &engine, const ProblemOptions &defaults) {
  Server server{engine, defaults};
  for (std::string line; std::getline(std::cin, line);) {
    const Result<json> answer = server.answer(line);
    const json shown = answer ? *answer : json{{"error", answer.error().message}, {"kind", name(answer.error().code)}};
    std::fputs((shown.dump() + "\n").c_str(), stdout);
    std::fflush(stdout);
  }
  return 0;
}

} // namespace attnjit::tools
