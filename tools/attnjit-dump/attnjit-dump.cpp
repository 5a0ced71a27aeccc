// attnjit-dump: shows a kernel on every step of its way from text to machine code, and goes on from an edited step.
#include "AheadOfTime.h"
#include "Child.h"

#include "common/MaskPicture.h"
#include "common/Reports.h"

#include "Expr/Frontend.h"
#include "attnjit/Version.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <map>
#include <unistd.h>

using namespace attnjit;
using namespace attnjit::tools;

namespace {

constexpr const char *kExamples = R"(Examples:
  What does the mask look like?
    attnjit-dump --shape S=1024,D=64 --mask-mod '(q_idx >= kv_idx) & (q_idx - kv_idx < 200)' --emit mask
  ... as a picture for a document:
    attnjit-dump --shape S=1024,D=64 --mask-mod 'doc[q_idx] == doc[kv_idx]' --capture doc=docs:1024:6 --emit mask -o mask.svg
  ... and in blocks, full and partial, as a kernel skips them:
    attnjit-dump --shape S=1024,D=64 --mask-mod '(q_idx >= kv_idx) & (q_idx - kv_idx < 200)' --block-mask 32x32 --emit mask
  The tile program and the assembly of a kernel:
    attnjit-dump --shape S=1024,D=64 --mask-mod 'q_idx >= kv_idx' --emit tile
    attnjit-dump --shape S=1024,D=64 --mask-mod 'q_idx >= kv_idx' --emit asm --target x86-64-v3
  Every stage into a folder, with the time that each took:
    attnjit-dump --shape S=1024,D=64 --score-mod '30 * tanh(score / 30)' --emit all -o stages --time
  Edit a stage and go on from it:
    attnjit-dump --from ll stages/ll.ll --emit asm
  An object with a C header for a program that has neither compiler nor library, for several CPUs:
    attnjit-dump --shape S=1024,D=64 --mask-mod 'q_idx >= kv_idx' --emit aot --bare --name causal --target x86-64-v2,x86-64-v3,x86-64-v4 -o aot
  PTX for a GPU, on a machine without one:
    attnjit-dump --shape S=1024,D=128 --dtype bf16 --mask-mod 'q_idx >= kv_idx' --target sm_80 --emit ptx
Exit status: 0 done, 1 something about the call is wrong, 2 a bug of attnjit.)";

struct EmitRow {
  std::string_view name;
  std::string_view fileName; ///< within the folder of --emit all
  bool isStage;
};
// In the order of the ladder.
constexpr EmitRow kEmits[] = {{"ast", "ast.txt", false},
                              {"expr", "expr.txt", false},
                              {"explain", "explain.txt", false},
                              {"mask", "mask.svg", false},
                              {"attn", "attn.mlir", true},
                              {"tile", "tile.mlir", true},
                              {"vector", "vector.mlir", true},
                              {"gpu", "gpu.mlir", true},
                              {"llvm", "llvm.mlir", true},
                              {"ll", "ll.ll", true},
                              {"asm", "asm.s", true},
                              {"obj", "obj.o", true},
                              {"ptx", "ptx.ptx", true},
                              {"image", "kernel.attnjit", false},
                              {"aot", "", false}};

struct DumpOptions {
  ProblemOptions problem;
  std::vector<std::string> emits{"tile"};
  std::vector<std::string> from;
  std::string target = "native", output;
  bool time = false;
  std::int64_t batch = 0, head = 0;
  AheadOfTimeOptions aheadOfTime;

  bool wants(std::string_view emit) const {
    return std::find(emits.begin(), emits.end(), emit) != emits.end() || std::find(emits.begin(), emits.end(), "all") != emits.end();
  }
  bool wantsAheadOfTime() const { return std::find(emits.begin(), emits.end(), "aot") != emits.end(); }
  bool wantsAll() const { return emits.size() == 1 && emits[0] == "all"; }
};

void declare(CLI::App &app, DumpOptions &options) {
  std::string names;
  for (const EmitRow &row : kEmits)
    names += fmt::format("{}, ", row.name);
  const std::string dump = "Dump";
  app.add_option("--emit", options.emits, fmt::format("what to show, comma separated: {}all (default: tile)", names))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(dump);
  app.add_option(
         "-o,--output", options.output,
         "a file; a folder for several things or 'all'; a mask becomes a picture by the name's ending, .png or .svg, else text (default: "
         "standard output)")
      ->group(dump);
  app.add_option("--target", options.target,
                 "native, x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4+bf16, x86-64-v4+amx, aarch64, sm_80, sm_90 ... (default: native); for "
                 "aot one or "
                 "several, comma separated")
      ->group(dump);
  app.add_option("--from", options.from, "STAGE FILE: go on from the text of a stage instead of from a problem")->expected(2)->group(dump);
  app.add_flag("--time", options.time, "print how long each step took, to standard error")->group(dump);
  app.add_option("--name", options.aheadOfTime.name, "of the C function of aot, and what its files begin with (default: attention)")
      ->group(dump);
  app.add_flag("--bare", options.aheadOfTime.bare, "aot: code alone, which needs no library; the caller brings threads and memory")
      ->group(dump);
  app.add_option("--batch", options.batch, "batch of which to draw the mask")->group(dump);
  app.add_option("--head", options.head, "query head of which to draw the mask")->group(dump);
  addProblemOptions(app, options.problem);
}

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

/// A stage's text says its problem and its target: flags that would say them again can only contradict.
Result<void> checkFrom(const CLI::App &app) {
  static constexpr std::string_view kFree[] = {"--emit", "--output", "--from", "--time"};
  for (const CLI::Option *option : app.get_options())
    if (option->count() > 0 && std::find(std::begin(kFree), std::end(kFree), option->get_name()) == std::end(kFree))
      return invalid(fmt::format("--from goes on from a text that carries its problem and its target; leave {} out", option->get_name()));
  return {};
}

/// Where the things asked for go: one to a file or standard output, several to a folder or one after the other to standard output.
class Sink {
public:
  explicit Sink(const DumpOptions &options) : options(options) {}

  Result<void> open() {
    isFolder = !options.output.empty() && (options.wantsAll() || options.emits.size() > 1 || std::filesystem::is_directory(options.output));
    if (options.wantsAll() && options.output.empty())
      return invalid("--emit all writes many files: name a folder with -o DIR");
    if (!isFolder)
      return {};
    std::error_code problem;
    std::filesystem::create_directories(options.output, problem);
    if (problem)
      return Error{ErrorCode::Io, fmt::format("cannot create the folder {}: {}", options.output, problem.message())};
    return {};
  }

  Result<void> put(const EmitRow &row, std::string_view bytes) {
    seen[std::string(row.name)] = true;
    if (isFolder)
      return writeFile((std::filesystem::path(options.output) / row.fileName).string(), bytes);
    if (options.output.empty() && (row.name == "obj" || row.name == "image") && isatty(1))
      return invalid(fmt::format("--emit {} is not text: name a file with -o FILE", row.name));
    const bool needsNewline = options.output.empty() && row.name != "obj" && row.name != "image" && !bytes.ends_with('\n');
    return writeFile(options.output, needsNewline ? std::string(bytes) + "\n" : std::string(bytes));
  }

  bool has(std::string_view emit) const { return seen.contains(std::string(emit)); }
  /// How a mask is drawn, by the name's ending in lower case: "png", "svg", or "" for text.
  Result<std::string> pictureKind() const {
    if (isFolder)
      return std::string("svg");
    std::string ending = std::filesystem::path(options.output).extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
    if (ending == ".png" || ending == ".svg")
      return ending.substr(1);
    if (ending.empty() || ending == ".txt")
      return std::string();
    return invalid(fmt::format("-o {}: a mask is drawn as .png or .svg, or as text (.txt, or a name without an ending)", options.output));
  }

private:
  const DumpOptions &options;
  bool isFolder = false;
  std::map<std::string, bool> seen;
};

const EmitRow &rowOf(std::string_view name) {
  return *std::find_if(std::begin(kEmits), std::end(kEmits), [&](const EmitRow &row) { return row.name == name; });
}

Result<void> checkEmits(const DumpOptions &options) {
  if (options.wantsAheadOfTime() && options.emits.size() > 1)
    return invalid("--emit aot: it makes a folder of files of its own; ask for it alone");
  if (options.wantsAheadOfTime() && options.output.empty())
    return invalid("--emit aot writes several files: name a folder with -o DIR");
  if (options.wantsAheadOfTime() && !options.from.empty())
    return invalid("--emit aot compiles a problem, maybe for several targets; --from goes on with one kernel for one (--emit image)");
  if (!options.wantsAheadOfTime() && (options.aheadOfTime.bare || !options.aheadOfTime.name.empty()))
    return invalid("--name and --bare are for --emit aot");
  for (const std::string &emit : options.emits)
    if (emit != "all" && std::none_of(std::begin(kEmits), std::end(kEmits), [&](const EmitRow &row) { return row.name == emit; })) {
      std::string names;
      for (const EmitRow &row : kEmits)
        names += fmt::format("{}, ", row.name);
      return invalid(fmt::format("--emit: '{}' is not one of {}all", emit, names));
    }
  return {};
}

std::string lastStageWanted(const DumpOptions &options) {
  std::string last;
  for (const EmitRow &row : kEmits)
    if (row.isStage && options.wants(row.name))
      last = row.name;
  return last;
}

/// How long each step took, in all: a kernel may be made function by function.
class StepTimes {
public:
  void add(std::string_view step, std::int64_t ns) {
    auto row = std::find_if(rows.begin(), rows.end(), [&](const Row &known) { return known.step == step; });
    if (row == rows.end())
      row = rows.insert(rows.end(), {std::string(step), 0, 0});
    row->ns += ns;
    ++row->count;
  }
  std::string text() const {
    std::string all;
    for (const Row &row : rows)
      all += fmt::format("{:>10.3f} ms  {}{}\n", static_cast<double>(row.ns) * 1e-6, row.step,
                         row.count > 1 ? fmt::format(" ({} times)", row.count) : "");
    return all;
  }

private:
  struct Row {
    std::string step;
    std::int64_t ns, count;
  };
  std::vector<Row> rows; ///< in the order in which steps began
};

/// Compiles through `compile` and hands every stage that was asked for to the sink. Without one the compiler goes its usual way, in which
/// there are no texts.
template <typename Compile> Result<void> emitStages(const DumpOptions &options, Sink &sink, const Compile &compile) {
  const std::string lastStage = lastStageWanted(options);
  if (!options.wants("image") && !options.time && lastStage.empty())
    return {};
  StageOptions stages;
  Result<void> written;
  std::string passed;
  if (!lastStage.empty())
    stages.onStage = [&](std::string_view stage, std::string_view text) {
      passed += fmt::format("{}{}", passed.empty() ? "" : ", ", stage);
      if (written && options.wants(stage))
        written = sink.put(rowOf(stage), text);
    };
  StepTimes times;
  if (options.time)
    stages.onTime = [&](std::string_view step, std::int64_t ns) { times.add(step, ns); };
  if (!options.wants("image"))
    stages.stopAfter = lastStage;
  const Result<Kernel> kernel = compile(stages);
  std::fputs(times.text().c_str(), stderr);
  if (!kernel)
    return kernel.error();
  if (!written)
    return written;
  for (const std::string &emit : options.emits)
    if (emit != "all" && rowOf(emit).isStage && !sink.has(emit))
      return invalid(fmt::format(
          "--emit {}: {} does not pass that stage; it passes {}", emit,
          options.from.empty() ? fmt::format("a kernel for {}", options.target) : fmt::format("the way from {}", options.from[0]), passed));
  if (!options.wants("image"))
    return {};
  const Result<std::vector<std::byte>> bytes = kernel->bytes();
  if (!bytes)
    return bytes.error();
  return sink.put(rowOf("image"), {reinterpret_cast<const char *>(bytes->data()), bytes->size()});
}

Result<void> emitMask(const DumpOptions &options, const LoadedProblem &problem, Sink &sink) {
  const Dims &dims = problem.dims;
  if (options.batch < 0 || options.batch >= dims.B || options.head < 0 || options.head >= dims.Hq)
    return invalid(fmt::format("--batch {} --head {}: outside the problem's {} batches and {} query heads", options.batch, options.head,
                               dims.B, dims.Hq));
  const Result<std::string> kind = sink.pictureKind();
  if (!kind)
    return kind.error();
  const bool isPng = *kind == "png", isSvg = *kind == "svg";
  const int side = isPng ? 512 : isSvg ? 128 : 64;
  const MaskGrid grid = problem.call.blockMask
                            ? gridOf(*problem.call.blockMask, options.batch, options.head, side, side)
                            : sampleMask(problem.formula, problem.bindings(), dims.M, dims.N, options.batch, options.head, side, side);
  if (isPng)
    return sink.put(rowOf("mask"), drawPng(grid, std::max(1, 512 / std::max(grid.cols, 1))));
  if (isSvg)
    return sink.put(rowOf("mask"), drawSvg(grid));
  if (problem.call.blockMask)
    return sink.put(rowOf("mask"), fmt::format("batch {}, head {}: {}\n{}", options.batch, options.head, describe(*problem.call.blockMask),
                                               drawTerminal(grid)));
  return sink.put(rowOf("mask"), fmt::format("mask_mod of batch {}, head {}: {} query rows downwards, {} keys to the right\n{}",
                                             options.batch, options.head, dims.M, dims.N, drawTerminal(grid)));
}

Result<Engine> makeEngine(const DumpOptions &options) {
  EngineOptions engine;
  engine.target = options.target;
  engine.cacheDirectory = "";
  return Engine::create(std::move(engine));
}

Result<void> dumpProblem(const DumpOptions &options) {
  Sink sink(options);
  if (Result<void> opened = sink.open(); !opened)
    return opened;
  if (options.wants("ast")) {
    const Result<FormulaTexts> texts = readFormulas(options.problem);
    if (!texts)
      return texts.error();
    const Result<std::string> text = expr::dumpAst({texts->score, texts->mask, texts->module, options.problem.modsFile, texts->prob});
    if (!text)
      return text.error();
    if (Result<void> put = sink.put(rowOf("ast"), *text); !put)
      return put;
    if (options.emits == std::vector<std::string>{"ast"})
      return {};
  }
  const Result<LoadedProblem> problem = loadProblem(options.problem, false);
  if (!problem)
    return problem.error();
  if (options.wantsAheadOfTime())
    return writeAheadOfTime(problem->call, options.target, options.aheadOfTime, options.output);
  if (options.wants("expr"))
    if (Result<void> put = sink.put(rowOf("expr"), problem->mod.canonicalText()); !put)
      return put;
  if (options.wants("mask"))
    if (Result<void> put = emitMask(options, *problem, sink); !put)
      return put;
  const bool needsEngine = options.wants("explain") || options.wants("image") || options.time || !lastStageWanted(options).empty();
  if (!needsEngine)
    return {};
  const Result<Engine> engine = makeEngine(options);
  if (!engine)
    return engine.error();
  if (options.wants("explain")) {
    const Result<ExplainReport> report = engine->explain(problem->call);
    if (!report)
      return report.error();
    if (Result<void> put = sink.put(rowOf("explain"), report->text()); !put)
      return put;
  }
  return emitStages(options, sink, [&](const StageOptions &stages) { return engine->compileStages(problem->call, stages); });
}

Result<void> dumpFrom(const DumpOptions &options) {
  Sink sink(options);
  if (Result<void> opened = sink.open(); !opened)
    return opened;
  const std::string &stage = options.from[0];
  if (std::none_of(std::begin(kEmits), std::end(kEmits), [&](const EmitRow &row) { return row.isStage && row.name == stage; }))
    return invalid(fmt::format("--from: '{}' is no stage; stages are attn, tile, vector, gpu, llvm, ll, asm, obj, ptx", stage));
  for (const std::string &emit : options.emits)
    if (emit != "all" && emit != "image" && !rowOf(emit).isStage)
      return invalid(
          fmt::format("--emit {}: stands before every stage, and --from goes on from one; ask for a later stage or image", emit));
  const Result<std::string> text = readFile(options.from[1]);
  if (!text)
    return text.error();
  const Result<Engine> engine = makeEngine(options);
  if (!engine)
    return engine.error();
  return emitStages(options, sink, [&](const StageOptions &stages) { return engine->compileFrom(stage, *text, stages); });
}

int report(const Result<void> &result) { return result ? 0 : fail("attnjit-dump", result.error()); }

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Shows an attention kernel on every step from formula to machine code.", "attnjit-dump");
  app.set_version_flag("--version", ATTNJIT_VERSION_STRING);
  app.footer(kExamples);
  DumpOptions options;
  declare(app, options);
  if (const std::optional<int> ended = parseFlags(app, argc, argv))
    return *ended;
  if (const Result<void> checked = checkEmits(options); !checked)
    return report(checked);
  if (options.from.empty())
    return report(dumpProblem(options));
  if (const Result<void> checked = checkFrom(app); !checked)
    return report(checked);
  return runInChild(fmt::format("stage '{}' of {}", options.from[0], options.from[1]), [&] { return report(dumpFrom(options)); });
}
