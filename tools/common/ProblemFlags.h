// The flags by which every tool states a problem, and the problem they make: operands, formulas, captures, ready to hand to the engine or
// the reference.
#pragma once

#include "common/Tensor.h"

#include "Expr/Interp.h"
#include "attnjit/Problem.h"

#include <map>
#include <optional>

namespace CLI {
class App;
}

namespace attnjit::tools {

/// What the user wrote, unjudged.
struct ProblemOptions {
  std::string shape, dtype = "f32", kvDtype, outDtype, scoreMod, maskMod, probMod, modsFile;
  /// The formula of a saved kernel, which then is the problem's; scoreMod, maskMod and probMod have to be empty or to agree.
  std::optional<Mod> kernelMod;
  std::vector<std::string> captures, descales;
  std::string qFile, kFile, vFile;
  std::optional<double> scale;
  std::string sinks; ///< FILE.npy or a generator, as for captures; "random" fits the problem
  double softcap = 0;
  std::vector<std::string> dropout; ///< P, SEED, OFFSET; the last two may be left out
  std::string backend;
  bool setPriority = false;
  std::uint64_t seed = 0;
  std::string layout = "bhmd", placement = "heap", values = "random";
  std::vector<std::string> plants;
  std::int64_t tileRows = 0, tileCols = 0;
  std::int64_t pageSize = 0;           ///< 0: keys and values in one piece
  std::string blockMask;               ///< "128" or "128x64": blocks of queries x keys
  std::vector<std::string> blockLists; ///< "kv_indices=FILE.npy" and the like: the blocks, instead of those of the mask_mod
  int threads = 0;
  bool wantsLse = false, wantsMax = false;

  bool statesFormula() const { return !scoreMod.empty() || !maskMod.empty() || !probMod.empty(); }
};

/// Declares them, in groups, with help that shows the accepted forms.
void addProblemOptions(CLI::App &app, ProblemOptions &options);

struct Dims {
  std::int64_t B = 1, Bkv = 1, Hq = 1, Hkv = 1, M = 0, N = 0, D = 0, Dv = 0;
};

/// Sizes by their letters: B, Bkv, H (Hq and Hkv), Hq, Hkv, S (M and N), M, N, D, Dv.
using ShapeLetters = std::map<std::string, std::int64_t, std::less<>>;
/// "B=2,Hq=8,Hkv=2,M=1000,N=1000,D=64[,Dv=..]": what is given, and nothing else.
Result<ShapeLetters> parseShape(std::string_view text);
/// Adds the sizes of the file of --q, --k or --v to `shape` where they are not known yet; an error if --shape (`stated`) says otherwise.
Result<void> addFileSizes(char operand, std::string_view path, std::span<const std::int64_t> sizes, const ShapeLetters &stated,
                          ShapeLetters &shape);
/// Left out: B = Hq = 1, Hkv = Hq, N = M, Dv = D, Bkv = B.
Result<Dims> dimsOf(const ShapeLetters &shape);

/// One value of --capture, as CaptureInfo and value.
struct NamedCapture {
  std::string name;
  std::variant<Tensor, double, std::int64_t, bool> value;
};
/// "NAME=0.5", "NAME=3", "NAME=true", "NAME=FILE.npy" or "NAME=GENERATOR" (random:16x4:f32 and the like).
Result<NamedCapture> parseCapture(std::string_view text, std::uint64_t seed, Placement placement);

/// What --score-mod, --mask-mod, --prob-mod and --mods say, files read.
struct FormulaTexts {
  std::string score, mask, prob, module;
};
Result<FormulaTexts> readFormulas(const ProblemOptions &options);

/// "flash,math": names of SDPBackend.
Result<BackendSet> parseBackends(std::string_view text, bool setPriority);

/// Keys and values as pools of pages, and the page table.
struct PagedOperands {
  Tensor k, v, table;
};

/// A problem with its memory. `call` borrows from the tensors beside it.
struct LoadedProblem {
  Dims dims;
  DType dtype = DType::F32, kvDtype = DType::F32, outDtype = DType::F32; ///< of q, of k and v, of out
  Mod mod;
  expr::Formula formula; ///< what the call computes, for the reference and the planner: the same texts, and --block-lists
  Tensor q, k, v, out;
  std::optional<PagedOperands> pools; ///< what the call reads in place of k and v
  std::optional<Tensor> lse, max, sinks;
  std::vector<Tensor> descales;
  std::vector<NamedCapture> captures;
  ForwardCall call;
  /// Of the call's softcap and dropout, where `formula` has them in it: that of a saved kernel does.
  std::vector<CaptureArgument> optionNumbers;

  /// Captures in the order of `formula`.
  std::vector<TensorRef> boundTensors;
  std::vector<ScalarArg> boundScalars;
  expr::Bindings bindings() const { return {boundTensors, boundScalars}; }
};

/// Moves k and v into the pages that --page-size asks for, and gives those to the call.
Result<void> addPages(const ProblemOptions &options, Placement placement, Layout layout, bool withData, LoadedProblem &problem);

/// Gives the call the block mask that --block-mask asks for, made of the problem's mask_mod and captures, or that of --block-lists, of
/// which `formula` is told then.
Result<void> addBlockMask(const ProblemOptions &options, Placement placement, LoadedProblem &problem);

/// Parses, reads, generates. With `withData` false q, k, v and out have shapes but no memory (enough to compile and to explain).
Result<LoadedProblem> loadProblem(const ProblemOptions &options, bool withData = true);

/// `text`, or the contents of FILE for "@FILE".
Result<std::string> textOrFile(const std::string &text, std::string_view flag);
Result<std::string> readFile(const std::string &path);
/// "-" or "" is standard output.
Result<void> writeFile(const std::string &path, std::string_view bytes);
/// Flushes standard output. Error: Io, if anything written to it so far got lost.
Result<void> finishOutput();

} // namespace attnjit::tools
