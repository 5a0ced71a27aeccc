#include "common/ProblemFlags.h"

#include "common/Captures.h"
#include "common/Npy.h"

#include "Reference/Elements.h"
#include "attnjit/CallOptions.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstring>

namespace attnjit::tools {

namespace {

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

Result<Placement> parsePlacement(std::string_view text) {
  if (text == "heap")
    return Placement::Heap;
  if (text == "guard-high")
    return Placement::GuardHigh;
  if (text == "guard-low")
    return Placement::GuardLow;
  return invalid(fmt::format("--placement: '{}' is not one of heap, guard-high, guard-low", text));
}

/// "k:0,1,5,0=nan" on the operands.
Result<void> plant(const LoadedProblem &problem, std::string_view text) {
  const std::size_t colon = text.find(':'), equals = text.rfind('=');
  const std::string what = fmt::format("--plant {}", text);
  if (colon != 1 || equals == std::string_view::npos || std::string_view("qkv").find(text[0]) == std::string_view::npos)
    return invalid(fmt::format("{}: expected OPERAND:b,h,row,column=VALUE, e.g. k:0,1,5,0=nan", what));
  const TensorRef ref = (text[0] == 'q' ? problem.q : text[0] == 'k' ? problem.k : problem.v).ref();
  const Result<double> value = parseNumber(text.substr(equals + 1), what);
  if (!value)
    return value.error();
  std::int64_t offset = 0;
  std::string_view rest = text.substr(2, equals - 2);
  for (int dim = 0; dim < 4; ++dim) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const Result<std::int64_t> index = parseInt(rest.substr(0, end), what);
    if (!index)
      return index.error();
    if (*index < 0 || *index >= ref.sizes[dim])
      return invalid(fmt::format("{}: index {} of dimension {} is outside 0..{}", what, *index, dim, ref.sizes[dim] - 1));
    offset += *index * ref.strides[dim];
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  reference::storeFloat(ref.data, ref.dtype, offset, *value);
  return {};
}

Result<void> fill(const LoadedProblem &problem, const ProblemOptions &options) {
  if (options.values != "random" && options.values != "position" && options.values != "large")
    return invalid(fmt::format("--values: '{}' is not one of random, position, large", options.values));
  const double amplitude = options.values == "large" ? 30 : 1;
  if (options.qFile.empty())
    fillRandom(problem.q, options.seed * 4 + 1, amplitude);
  if (options.kFile.empty())
    fillRandom(problem.k, options.seed * 4 + 2, amplitude);
  if (options.vFile.empty())
    options.values == "position" ? fillPosition(problem.v) : fillRandom(problem.v, options.seed * 4 + 3);
  for (const std::string &text : options.plants)
    if (Result<void> planted = plant(problem, text); !planted)
      return planted;
  return {};
}

struct OperandFile {
  char letter;
  const std::string &path;
  Tensor &tensor;
};

/// What --dtype, --kv-dtype and --out-dtype say; the latter two may be silent.
struct FlagDTypes {
  DType q = DType::F32;
  std::optional<DType> kv, out;
};

Result<FlagDTypes> parseDTypes(const ProblemOptions &options) {
  const auto parse = [](std::string_view flag, const std::string &text) -> Result<DType> {
    const std::optional<DType> dtype = parseDType(text);
    if (!dtype || !isFloat(*dtype))
      return invalid(fmt::format("{}: '{}' is not one of f64, f32, bf16, f16, f8e4m3fn, f8e5m2 (or PyTorch's name of one)", flag, text));
    return *dtype;
  };
  FlagDTypes dtypes;
  const Result<DType> q = parse("--dtype", options.dtype);
  if (!q)
    return q.error();
  dtypes.q = *q;
  for (auto [flag, text, dtype] :
       {std::tuple{"--kv-dtype", &options.kvDtype, &dtypes.kv}, std::tuple{"--out-dtype", &options.outDtype, &dtypes.out}})
    if (!text->empty()) {
      const Result<DType> parsed = parse(flag, *text);
      if (!parsed)
        return parsed.error();
      *dtype = *parsed;
    }
  return dtypes;
}

/// Reads --q, --k, --v and lets them say the sizes that --shape left open. With no --shape all three are needed.
Result<void> readOperands(const ProblemOptions &options, const FlagDTypes &dtypes, Placement placement, LoadedProblem &problem) {
  const Result<ShapeLetters> given = parseShape(options.shape);
  if (!given)
    return given.error();
  ShapeLetters shape;
  const OperandFile files[] = {{'q', options.qFile, problem.q}, {'k', options.kFile, problem.k}, {'v', options.vFile, problem.v}};
  for (const OperandFile &file : files) {
    if (file.path.empty()) {
      if (options.shape.empty())
        return invalid(fmt::format("--{}: no file and no --shape; state the problem by --shape B=1,Hq=8,M=1024,D=64 or by --q, --k and --v",
                                   file.letter));
      continue;
    }
    Result<Tensor> tensor = readNpy(file.path, placement);
    if (!tensor)
      return Error{tensor.error().code, fmt::format("--{}: {}", file.letter, tensor.error().message)};
    // 8-bit floats travel as bytes; the flags say which ones they are.
    const DType stated = file.letter == 'q' ? dtypes.q : dtypes.kv.value_or(dtypes.q);
    if (tensor->dtype() == DType::U8 && isFloat8(stated))
      *tensor = tensor->viewedAs(stated);
    if (tensor->sizes().size() != 4 || !isFloat(tensor->dtype()))
      return invalid(
          fmt::format("--{}: {} is {} of {}; expected 4 dimensions [B, H, {}, {}] of f64, f32, bf16 or f16, or of bytes with {} f8e4m3fn "
                      "or f8e5m2",
                      file.letter, file.path, tensor->sizes().empty() ? "one number" : fmt::format("{}", fmt::join(tensor->sizes(), "x")),
                      name(tensor->dtype()), file.letter == 'q' ? 'M' : 'N', file.letter == 'v' ? "Dv" : "D",
                      file.letter == 'q' ? "--dtype" : "--kv-dtype"));
    file.tensor = std::move(*tensor);
    if (Result<void> added = addFileSizes(file.letter, file.path, file.tensor.sizes(), *given, shape); !added)
      return added;
  }
  shape.insert(given->begin(), given->end());
  const Result<Dims> dims = dimsOf(shape);
  if (!dims)
    return dims.error();
  problem.dims = *dims;
  return {};
}

Result<void> makeOperands(const ProblemOptions &options, const FlagDTypes &dtypes, LoadedProblem &problem, Placement placement,
                          Layout layout, bool withData) {
  if (Result<void> read = readOperands(options, dtypes, placement, problem); !read)
    return read;
  problem.dtype = options.qFile.empty() ? dtypes.q : problem.q.dtype();
  problem.kvDtype = !options.kFile.empty()   ? problem.k.dtype()
                    : !options.vFile.empty() ? problem.v.dtype()
                                             : dtypes.kv.value_or(problem.dtype);
  problem.outDtype = dtypes.out.value_or(problem.dtype);
  const Dims &dims = problem.dims;
  struct Wanted {
    Tensor &tensor;
    bool isGiven;
    DType dtype;
    std::vector<std::int64_t> sizes;
    const char *name;
  };
  const Wanted operands[] = {{problem.q, !options.qFile.empty(), problem.dtype, {dims.B, dims.Hq, dims.M, dims.D}, "q"},
                             {problem.k, !options.kFile.empty(), problem.kvDtype, {dims.Bkv, dims.Hkv, dims.N, dims.D}, "k"},
                             {problem.v, !options.vFile.empty(), problem.kvDtype, {dims.Bkv, dims.Hkv, dims.N, dims.Dv}, "v"},
                             {problem.out, false, problem.outDtype, {dims.B, dims.Hq, dims.M, dims.Dv}, "out"}};
  for (const Wanted &operand : operands) {
    if (operand.isGiven)
      continue;
    // The columns of an output lie side by side (A12); its rows and heads may lie anywhere.
    const bool isOutput = &operand.tensor == &problem.out;
    const Layout chosen = isOutput && layout != Layout::Bmhd && layout != Layout::Padded ? Layout::Bhmd : layout;
    // Without data: strides as they would be, of memory that nobody reads.
    Result<Tensor> tensor = withData ? Tensor::allocate(operand.dtype, operand.sizes, placement, chosen)
                                     : Tensor::shapeOnly(operand.dtype, operand.sizes, chosen);
    if (!tensor)
      return invalid(fmt::format("{}: {}", operand.name, tensor.error().message));
    operand.tensor = std::move(*tensor);
  }
  return {};
}

/// "q=0.25", "k=random:2x4:f32", "v=FILE.npy": a factor for all heads, or [B, Hkv] of them.
Result<void> addDescales(const ProblemOptions &options, Placement placement, LoadedProblem &problem) {
  for (std::size_t i = 0; i < options.descales.size(); ++i) {
    const std::string &text = options.descales[i];
    Result<NamedCapture> parsed = parseCapture(text, options.seed * 64 + 60 + i, placement);
    if (!parsed)
      return Error{parsed.error().code, fmt::format("--descale {}: {}", text, parsed.error().message)};
    std::optional<TensorRef> *slots[] = {&problem.call.qDescale, &problem.call.kDescale, &problem.call.vDescale};
    const std::size_t which = std::string_view("qkv").find(parsed->name);
    if (parsed->name.size() != 1 || which == std::string_view::npos)
      return invalid(fmt::format("--descale {}: expected q=, k= or v=", text));
    if (*slots[which])
      return invalid(fmt::format("--descale {}: {} is given twice", text, parsed->name));
    Result<Tensor> tensor = std::visit(
        [&](const auto &value) -> Result<Tensor> {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Tensor>) {
            return value;
          } else {
            Result<Tensor> one = Tensor::allocate(DType::F32, {1, 1}, placement);
            if (one)
              fillConstant(*one, static_cast<double>(value));
            return one;
          }
        },
        parsed->value);
    if (!tensor)
      return tensor.error();
    problem.descales.push_back(std::move(*tensor));
    *slots[which] = problem.descales.back().ref();
  }
  return {};
}

/// Dtype and rank as formulas declare them.
CaptureInfo infoOf(const NamedCapture &capture) {
  const Tensor *tensor = std::get_if<Tensor>(&capture.value);
  const DType dtype = tensor                                          ? tensor->dtype()
                      : std::holds_alternative<double>(capture.value) ? DType::F64
                      : std::holds_alternative<bool>(capture.value)   ? DType::Bool
                                                                      : DType::I64;
  return {capture.name, dtype, tensor ? static_cast<int>(tensor->sizes().size()) : CaptureInfo::kNumber};
}

/// The formula is the kernel's own, so --capture has to bring what it reads.
Result<void> takeKernelFormula(const Mod &mod, LoadedProblem &problem) {
  Result<expr::Formula> parsed = expr::parseCanonical(mod.canonicalText());
  if (!parsed)
    return parsed.error();
  const expr::Formula &formula = *parsed;
  const auto find = [&](const std::string &wanted) -> std::optional<CaptureInfo> {
    for (const NamedCapture &capture : problem.captures)
      if (capture.name == wanted)
        return infoOf(capture);
    return std::nullopt;
  };
  for (const expr::CaptureDecl &decl : formula.captures) {
    if (decl.isOwn())
      continue;
    const std::optional<CaptureInfo> given = find(decl.name);
    if (!given || given->rank != decl.rank || given->dtype != decl.dtype)
      return invalid(fmt::format("--capture {}: the kernel's formula reads a tensor of {} with {} dimension{} by this name; {}", decl.name,
                                 name(decl.dtype), decl.rank, decl.rank == 1 ? "" : "s",
                                 given ? "the value given is another" : "none is given"));
  }
  for (const expr::ScalarDecl &decl : formula.scalars) {
    if (decl.source != expr::ScalarDecl::Source::Caller)
      continue;
    const auto isOption = [&](const CaptureArgument &number) { return number.name == decl.name; };
    if (std::any_of(problem.optionNumbers.begin(), problem.optionNumbers.end(), isOption))
      continue;
    const std::optional<CaptureInfo> given = find(decl.name);
    const bool isFloat = decl.kind == expr::Kind::Float;
    if (!given || given->rank != CaptureInfo::kNumber || (given->dtype == DType::F64) != isFloat)
      return invalid(fmt::format("--capture {}: the kernel's formula reads {} by this name; {}", decl.name,
                                 isFloat ? "a float" : "an integer", given ? "the value given is another" : "none is given"));
  }
  problem.mod = mod;
  problem.formula = formula;
  return {};
}

/// The library says that an unknown name may be captured; here there is a flag for it.
Error withCaptureFlag(Error error) {
  constexpr std::string_view kMark = "unknown name '";
  const std::size_t at = error.message.find(kMark);
  if (at == std::string::npos || error.message.find("sees no score") != std::string::npos)
    return error;
  const std::size_t begin = at + kMark.size(), end = error.message.find('\'', begin);
  error.message += fmt::format("\n  to capture it: --capture {}=VALUE", error.message.substr(begin, end - begin));
  return error;
}

Result<void> parseFormulas(const ProblemOptions &options, LoadedProblem &problem) {
  if (options.kernelMod && !options.statesFormula() && options.modsFile.empty())
    return takeKernelFormula(*options.kernelMod, problem);
  const Result<FormulaTexts> texts = readFormulas(options);
  if (!texts)
    return texts.error();
  std::vector<CaptureInfo> infos;
  for (const NamedCapture &capture : problem.captures)
    infos.push_back(infoOf(capture));
  Result<Mod> mod = Mod::parse(ModText{texts->score, texts->mask, texts->module, options.modsFile, texts->prob}, infos);
  if (!mod)
    return withCaptureFlag(mod.error());
  problem.mod = std::move(*mod);
  Result<expr::Formula> formula = expr::parseCanonical(problem.mod.canonicalText());
  if (!formula)
    return formula.error();
  problem.formula = std::move(*formula);
  if (!options.kernelMod)
    return {};
  ForwardCall stated = problem.call;
  stated.mod = problem.mod;
  const Result<ForwardCall> whole = withOptions(stated);
  if (!whole)
    return whole.error();
  problem.optionNumbers.clear(); // `formula` is the user's, without them
  if (options.kernelMod->canonicalText() != whole->mod.canonicalText())
    return invalid(fmt::format(
        "--score-mod, --mask-mod, --prob-mod: the kernel of --kernel computes another formula:\n{}Leave the flags out, or state "
        "them as the kernel was compiled",
        options.kernelMod->canonicalText()));
  return {};
}

Result<Dropout> parseDropout(const std::vector<std::string> &numbers) {
  Dropout dropout;
  const std::string &share = numbers[0];
  const auto [end, error] = std::from_chars(share.data(), share.data() + share.size(), dropout.p);
  if (error != std::errc() || end != share.data() + share.size())
    return invalid(share.find(' ') != std::string::npos
                       ? fmt::format("--dropout: '{0}' is one word; write the numbers without quotes: --dropout {0}", share)
                       : fmt::format("--dropout: '{}' is not a number; expected the share of pairs to drop, e.g. 0.1", share));
  for (auto [index, number] : {std::pair{std::size_t{1}, &dropout.seed}, std::pair{std::size_t{2}, &dropout.offset}}) {
    if (index >= numbers.size())
      continue;
    const Result<std::int64_t> value = parseInt(numbers[index], index == 1 ? "--dropout SEED" : "--dropout OFFSET");
    if (!value)
      return value.error();
    *number = static_cast<std::uint64_t>(*value);
  }
  return dropout;
}

/// The tensor of --sinks, read or generated as a captured one is.
Result<void> makeSinks(const ProblemOptions &options, LoadedProblem &problem, Placement placement) {
  const std::string source = options.sinks == "random" ? fmt::format("random:{}:f32", problem.dims.Hq) : options.sinks;
  Result<NamedCapture> read = parseCapture("sinks=" + source, options.seed * 64 + 99, placement);
  if (!read)
    return Error{read.error().code, "--sinks: " + read.error().message};
  Tensor *tensor = std::get_if<Tensor>(&read->value);
  if (!tensor)
    return invalid(fmt::format("--sinks: {} is one number; expected a tensor of one per query head, e.g. random", options.sinks));
  problem.sinks = std::move(*tensor);
  problem.call.sinks = problem.sinks->ref();
  return {};
}

void giveCaptures(LoadedProblem &problem) {
  for (const NamedCapture &capture : problem.captures)
    std::visit(
        [&](const auto &value) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Tensor>)
            problem.call.captures.push_back({capture.name, value.ref()});
          else
            problem.call.captures.push_back({capture.name, value});
        },
        capture.value);
}

void bindFormula(LoadedProblem &problem) {
  const auto find = [&](std::string_view wanted) {
    return std::find_if(problem.captures.begin(), problem.captures.end(),
                        [&](const NamedCapture &capture) { return capture.name == wanted; });
  };
  for (const expr::CaptureDecl &decl : problem.formula.captures)
    problem.boundTensors.push_back(decl.isOwn() ? TensorRef() : std::get<Tensor>(find(decl.name)->value).ref());
  expr::bindOwnTensors(problem.formula, problem.boundTensors);
  for (const expr::ScalarDecl &decl : problem.formula.scalars) {
    ScalarArg argument{0};
    if (decl.source != expr::ScalarDecl::Source::Caller) {
      problem.boundScalars.push_back(argument);
      continue;
    }
    const auto take = [&](const auto &value) {
      if constexpr (std::is_arithmetic_v<std::decay_t<decltype(value)>>) {
        if (decl.kind == expr::Kind::Float)
          argument.f = static_cast<double>(value);
        else
          argument.i = static_cast<std::int64_t>(value);
      }
    };
    if (const auto given = find(decl.name); given != problem.captures.end())
      std::visit(take, given->value);
    else
      std::visit(take, std::find_if(problem.optionNumbers.begin(), problem.optionNumbers.end(), [&](const CaptureArgument &number) {
                         return number.name == decl.name;
                       })->value);
    problem.boundScalars.push_back(argument);
  }
  expr::bindOwnScalars(problem.formula, problem.boundTensors, problem.boundScalars);
}

} // namespace

void addProblemOptions(CLI::App &app, ProblemOptions &options) {
  const std::string problem = "Problem";
  app.add_option("--shape", options.shape,
                 "B=2,Hq=8,Hkv=2,M=1000,N=1000,D=64[,Dv=..][,Bkv=1]; left out: B=1, Hq=1, Hkv=Hq, N=M, Dv=D, Bkv=B; S sets M and N, H sets "
                 "Hq and Hkv")
      ->group(problem);
  app.add_option("--dtype", options.dtype, "of q, and of all operands: f32 (default), f64, bf16, f16, f8e4m3fn, f8e5m2, or PyTorch's names")
      ->group(problem);
  app.add_option("--kv-dtype", options.kvDtype, "of k and v, where it is narrower than that of q")->group(problem);
  app.add_option("--out-dtype", options.outDtype, "of the output, where it is not that of q")->group(problem);
  app.add_option("--score-mod", options.scoreMod,
                 "score_mod: an expression of score, b, h, q_idx, kv_idx; a lambda; def statements; a function of --mods; or @FILE")
      ->group(problem);
  app.add_option("--mask-mod", options.maskMod, "mask_mod: the same without score, yielding a bool, e.g. 'q_idx >= kv_idx'")
      ->group(problem);
  app.add_option("--prob-mod", options.probMod,
                 "prob_mod: the same with p, the normalised softmax, in place of score, e.g. 'torch.where(kv_idx == q_idx, 0.0, p)'")
      ->group(problem);
  app.add_option("--sinks", options.sinks,
                 std::string("one logit per query head that joins the denominator: random, FILE.npy [Hq], or ") + captureFormsHelp())
      ->group(problem);
  app.add_option("--softcap", options.softcap, "score becomes X * tanh(score / X) before score_mod (default 0: it does not)")
      ->group(problem);
  app.add_option("--dropout", options.dropout, "P [SEED [OFFSET]]: drop that share of the pairs after the softmax")
      ->expected(1, 3)
      ->group(problem);
  app.add_option("--mods", options.modsFile,
                 "FILE.py with functions that the mods may use; then e.g. --mask-mod 'and_masks(causal, sliding_window(256))'")
      ->group(problem);
  app.add_option(
         "--capture", options.captures,
         std::string("NAME=VALUE for a name that a formula uses; may be repeated. VALUE is a number (3, 0.5, true), FILE.npy, or ") +
             captureFormsHelp())
      ->allow_extra_args(false)
      ->group(problem);
  app.add_option("--q", options.qFile, "read q [B,Hq,M,D] from a .npy file (its dtype replaces --dtype)")->group(problem);
  app.add_option("--k", options.kFile, "read k [B or 1,Hkv,N,D]")->group(problem);
  app.add_option("--v", options.vFile, "read v [B or 1,Hkv,N,Dv]")->group(problem);
  app.add_option("--block-mask", options.blockMask,
                 "QUERIESxKEYS, e.g. 128x128: make a block mask of --mask-mod in such blocks first and hand it to the call")
      ->group(problem);
  app.add_option(
         "--block-lists", options.blockLists,
         "kv_num_blocks=FILE.npy, kv_indices=, full_kv_num_blocks= or full_kv_indices=: lists of blocks, of the size of --block-mask "
         "(default 128x128), instead of those of --mask-mod, which partial ones still ask; may be repeated")
      ->allow_extra_args(false)
      ->group(problem);
  app.add_option("--page-size", options.pageSize,
                 "move the keys and values into pages of so many rows, in mixed order (default: one piece)")
      ->check(CLI::Range(1, 1 << 20))
      ->group(problem);
  app.add_option(
         "--descale", options.descales,
         "q=VALUE, k=VALUE or v=VALUE: what the elements of a quantized operand stand for is they times this; VALUE as of --capture, a "
         "number or f32 [B or 1, Hkv or 1]; may be repeated")
      ->allow_extra_args(false)
      ->group(problem);
  app.add_option("--scale", options.scale, "factor of the dot products (default 1/sqrt(D))")->group(problem);

  const std::string choice = "Pipeline";
  app.add_option("--backend", options.backend,
                 "allowed backends, comma separated: flash, math, efficient, cudnn, overrideable (default: all)")
      ->group(choice);
  app.add_flag("--set-priority", options.setPriority, "ask the backends in the order of --backend")->group(choice);
  app.add_option("--threads", options.threads, "at most so many threads (default: all processors)")
      ->check(CLI::Range(0, 4096))
      ->group(choice);
  app.add_option("--tile-rows", options.tileRows, "query rows per tile (default: the schedule's choice)")
      ->check(CLI::Range(0, 4096))
      ->group(choice);
  app.add_option("--tile-cols", options.tileCols, "keys per block (default: the schedule's choice)")
      ->check(CLI::Range(0, 1 << 20))
      ->group(choice);

  const std::string values = "Values of operands that come from no file";
  app.add_option("--seed", options.seed, "of the random values (default 0)")->group(values);
  app.add_option("--values", options.values, "random (in [-1, 1)), large (q, k in [-30, 30)) or position (v tells its key)")->group(values);
  app.add_option("--plant", options.plants, "set one element, e.g. k:0,1,5,0=nan; may be repeated")->allow_extra_args(false)->group(values);
  app.add_option(
         "--layout", options.layout,
         "order in memory: bhmd, bmhd, bhdm, padded, strided, reversed (out, whose last stride is 1, takes part in bmhd and padded)")
      ->group(values);
  app.add_option("--placement", options.placement, "heap, guard-high or guard-low (each tensor and capture touches an unmapped page)")
      ->group(values);
}

Result<FormulaTexts> readFormulas(const ProblemOptions &options) {
  if (!options.modsFile.empty() && !options.statesFormula())
    return invalid(fmt::format("--mods {}: nothing uses it; name one of its functions in --score-mod, --mask-mod or --prob-mod, e.g. "
                               "--mask-mod causal",
                               options.modsFile));
  Result<std::string> score = textOrFile(options.scoreMod, "--score-mod"), mask = textOrFile(options.maskMod, "--mask-mod"),
                      prob = textOrFile(options.probMod, "--prob-mod");
  for (const Result<std::string> *text : {&score, &mask, &prob})
    if (!*text)
      return text->error();
  Result<std::string> module = options.modsFile.empty() ? Result<std::string>(std::string()) : readFile(options.modsFile);
  if (!module)
    return Error{module.error().code, fmt::format("--mods: {}", module.error().message)};
  return FormulaTexts{std::move(*score), std::move(*mask), std::move(*prob), std::move(*module)};
}

Result<BackendSet> parseBackends(std::string_view text, bool setPriority) {
  std::vector<SDPBackend> backends;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const std::optional<SDPBackend> backend = parseSDPBackend(rest.substr(0, end));
    if (!backend || *backend == SDPBackend::Error)
      return invalid(
          fmt::format("--backend: unknown backend '{}'; known are flash, math, efficient, cudnn, overrideable", rest.substr(0, end)));
    backends.push_back(*backend);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return BackendSet(std::move(backends), setPriority);
}

Result<LoadedProblem> loadProblem(const ProblemOptions &options, bool withData) {
  LoadedProblem problem;
  const Result<FlagDTypes> dtypes = parseDTypes(options);
  if (!dtypes)
    return dtypes.error();
  const Result<Placement> placement = parsePlacement(options.placement);
  if (!placement)
    return placement.error();
  const Result<Layout> layout = parseLayout(options.layout);
  if (!layout)
    return layout.error();

  for (std::size_t i = 0; i < options.captures.size(); ++i) {
    Result<NamedCapture> capture = parseCapture(options.captures[i], options.seed * 64 + 100 + i, *placement);
    if (!capture)
      return capture.error();
    problem.captures.push_back(std::move(*capture));
  }
  if (Result<void> made = makeOperands(options, *dtypes, problem, *placement, *layout, withData); !made)
    return made.error();
  problem.call.q = problem.q.ref();
  problem.call.k = problem.k.ref();
  problem.call.v = problem.v.ref();
  problem.call.out = problem.out.ref();
  problem.call.softcap = options.softcap;
  if (!options.dropout.empty()) {
    Result<Dropout> dropout = parseDropout(options.dropout);
    if (!dropout)
      return dropout.error();
    problem.call.dropout = *dropout;
  }
  if (options.kernelMod) {
    const Result<ForwardCall> whole = withOptions(problem.call); // of no formula yet: all captures are theirs
    if (!whole)
      return whole.error();
    problem.optionNumbers = whole->captures;
  }
  if (Result<void> parsed = parseFormulas(options, problem); !parsed)
    return parsed.error();
  if (withData)
    if (Result<void> filled = fill(problem, options); !filled)
      return filled.error();

  problem.call.mod = problem.mod;
  for (auto [wanted, tensor, slot] :
       {std::tuple{options.wantsLse, &problem.lse, &problem.call.lse}, std::tuple{options.wantsMax, &problem.max, &problem.call.max}}) {
    if (!wanted)
      continue;
    const DType type = problem.dtype == DType::F64 ? DType::F64 : DType::F32;
    Result<Tensor> made = Tensor::allocate(type, {problem.dims.B, problem.dims.Hq, problem.dims.M}, *placement);
    if (!made)
      return made.error();
    *tensor = std::move(*made);
    *slot = (*tensor)->ref();
  }
  problem.call.scale = options.scale;
  if (Result<void> added = addDescales(options, *placement, problem); !added)
    return added.error();
  problem.call.threads = options.threads;
  problem.call.tiles = {options.tileRows, options.tileCols};
  if (options.setPriority && options.backend.empty())
    return invalid(
        "--set-priority: it needs --backend, whose order it makes the order of asking; e.g. --backend math,flash --set-priority");
  if (!options.backend.empty()) {
    const Result<BackendSet> backends = parseBackends(options.backend, options.setPriority);
    if (!backends)
      return backends.error();
    problem.call.backends = *backends;
  }
  if (!options.sinks.empty())
    if (Result<void> made = makeSinks(options, problem, *placement); !made)
      return made.error();
  giveCaptures(problem);
  if (options.pageSize > 0)
    if (Result<void> moved = addPages(options, *placement, *layout, withData, problem); !moved)
      return moved.error();
  if (!options.blockMask.empty() || !options.blockLists.empty())
    if (Result<void> added = addBlockMask(options, *placement, problem); !added)
      return added.error();
  bindFormula(problem);
  return problem;
}

} // namespace attnjit::tools
