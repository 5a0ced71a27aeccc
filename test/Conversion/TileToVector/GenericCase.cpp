#include "GenericCase.h"

#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"
#include "mlir/Parser/Parser.h"

#include <bit>
#include <sstream>
#include <sys/mman.h>

namespace attnjit::testing {

GuardedBytes::GuardedBytes(std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  std::size_t inner = (bytes + kPage - 1) / kPage * kPage;
  mapped = inner + 2 * kPage;
  base = static_cast<char *>(mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(base + kPage, inner ? inner : kPage, PROT_READ | PROT_WRITE);
  // Flush with the end: that is where loops of whole vectors overrun.
  data = base + kPage + inner - bytes;
}

GuardedBytes::~GuardedBytes() { munmap(base, mapped); }

static float fromHalf(std::uint16_t bits) { return static_cast<float>(std::bit_cast<_Float16>(bits)); }

double readElement(const char *at, DType type) {
  switch (type) {
  case DType::F64:
    return *reinterpret_cast<const double *>(at);
  case DType::F32:
    return *reinterpret_cast<const float *>(at);
  case DType::BF16:
    return std::bit_cast<float>(std::uint32_t(*reinterpret_cast<const std::uint16_t *>(at)) << 16);
  case DType::F16:
    return fromHalf(*reinterpret_cast<const std::uint16_t *>(at));
  case DType::I32:
    return *reinterpret_cast<const std::int32_t *>(at);
  case DType::I64:
    return static_cast<double>(*reinterpret_cast<const std::int64_t *>(at));
  default:
    return *reinterpret_cast<const std::uint8_t *>(at);
  }
}

void writeElement(char *at, DType type, double value) {
  switch (type) {
  case DType::F64:
    *reinterpret_cast<double *>(at) = value;
    break;
  case DType::F32:
    *reinterpret_cast<float *>(at) = static_cast<float>(value);
    break;
  case DType::BF16:
    *reinterpret_cast<std::uint16_t *>(at) = std::bit_cast<std::uint32_t>(static_cast<float>(value)) >> 16;
    break;
  case DType::F16:
    *reinterpret_cast<std::uint16_t *>(at) = std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
    break;
  case DType::I32:
    *reinterpret_cast<std::int32_t *>(at) = static_cast<std::int32_t>(value);
    break;
  case DType::I64:
    *reinterpret_cast<std::int64_t *>(at) = static_cast<std::int64_t>(value);
    break;
  default:
    *reinterpret_cast<std::uint8_t *>(at) = value != 0;
    break;
  }
}

std::size_t bytesOf(DType type) {
  return type == DType::F64 || type == DType::I64 ? 8 : type == DType::F32 || type == DType::I32 ? 4 : type == DType::Bool ? 1 : 2;
}
const char *mlirName(DType type) {
  switch (type) {
  case DType::F64:
    return "f64";
  case DType::F32:
    return "f32";
  case DType::BF16:
    return "bf16";
  case DType::F16:
    return "f16";
  case DType::I32:
    return "i32";
  case DType::I64:
    return "i64";
  default:
    return "i1";
  }
}

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// A body with the index and compute types of the case.
std::string retype(const Case &c, std::string body) {
  auto replace = [&](const std::string &from, const std::string &to) {
    for (std::size_t at = 0; (at = body.find(from, at)) != std::string::npos; at += to.size())
      body.replace(at, from.size(), to);
  };
  if (c.wide)
    replace("i32", "i64");
  if (c.type == DType::F64)
    replace(" f32", " f64");
  return body;
}

std::string moduleText(const Case &c) {
  std::string index = c.wide ? "i64" : "i32";
  std::string type = mlirName(c.type), compute = c.type == DType::F64 ? "f64" : "f32";
  std::ostringstream os;
  auto viewType = [&](Index cols) {
    return "!tile.view<?x" + std::to_string(cols) + "x" + type + (c.columnStep == 1 ? ">" : ", strided>");
  };
  auto outType = "!tile.view<?x" + std::to_string(c.Dv) + "x" + type + ">";
  auto tileType = [](Index rows, Index cols, const std::string &element) {
    return "!tile.tile<" + std::to_string(rows) + "x" + std::to_string(cols) + "x" + element + ">";
  };
  std::string row = "!tile.row<" + std::to_string(c.tileRows) + "x" + compute + ">", rowView = "!tile.view<?x" + compute + ">";
  std::string acc = tileType(c.tileRows, c.Dv, compute), s = tileType(c.tileRows, c.tileCols, compute);
  // Arguments of the kernel have other names than those of the bodies.
  std::string kernelArgs, captureArgs, scalarArgs, captureTypes, captureNames, scalarTypes, scalarNames;
  for (std::size_t i = 0; i < c.captures.size(); ++i) {
    std::string t = "!tile.capture<" + std::to_string(c.captures[i]->sizes.size()) + "x" + mlirName(c.captures[i]->type) + ">";
    std::string n = "%c" + std::to_string(i);
    captureArgs += ", " + n + ": " + t;
    kernelArgs += ", %k" + n.substr(1) + ": " + t;
    captureNames += (i ? ", %k" : "%k") + n.substr(1);
    captureTypes += (i ? ", " : "") + t;
  }
  for (std::size_t i = 0; i < c.scalars.size(); ++i) {
    std::string n = "%x" + std::to_string(i);
    scalarArgs += ", " + n + ": " + compute;
    kernelArgs += ", %k" + n.substr(1) + ": " + compute;
    scalarNames += (i ? ", %k" : "%k") + n.substr(1);
    scalarTypes += (i ? ", " : "") + compute;
  }
  std::string captured = c.captures.empty() ? "" : " captures(" + captureNames + " : " + captureTypes + ")";
  std::string scalars = c.scalars.empty() ? "" : " scalars(" + scalarNames + " : " + scalarTypes + ")";
  os << "tile.kernel @kernel(%q: " << viewType(c.D) << ", %k: " << viewType(c.D) << ", %v: " << viewType(c.Dv) << ", %out: " << outType
     << ", %lse: " << rowView << ", %max: " << rowView << ", %scale: " << compute << kernelArgs << ") config<tile_rows = " << c.tileRows
     << ", tile_cols = " << c.tileCols << ", checked_indices = " << (c.checked ? "true" : "false")
     << ", narrow = " << (c.wide ? "false" : "true") << "> {\n"
     << "%b, %h, %hkv, %q0 = tile.position\n"
     << "%qt = tile.load %q[%b, %h, %q0] : " << viewType(c.D) << " -> " << tileType(c.tileRows, c.D, type) << "\n"
     << "%m0, %l0 = tile.softmax_init : " << row << "\n%acc0 = tile.fill 0.0 : " << acc << "\n"
     << "%plan = tile.plan at(%b, %h, %q0)" << scalars;
  if (!c.closedForm.empty())
    os << " {\n^bb0(%pb: " << index << ", %ph: " << index << ", %qlo: " << index << ", %qhi: " << index << ", %klo: " << index
       << ", %khi: " << index << scalarArgs << "):\n"
       << retype(c, c.closedForm) << "}";
  os << "\n";
  /// The scores of a block.
  auto writeScores = [&]() -> std::string {
    os << "%kt = tile.load %k[%b, %hkv, %kv0] : " << viewType(c.D) << " -> " << tileType(c.tileCols, c.D, type) << "\n"
       << "%s = tile.dot qk %qt, trans %kt scale(%scale) : " << tileType(c.tileRows, c.D, type) << ", " << tileType(c.tileCols, c.D, type)
       << " -> " << s << "\n";
    std::string scores = "%s";
    if (!c.score.empty()) {
      os << "%t = tile.map %s at(%b, %h, %q0, %kv0)" << captured << scalars << " : " << s << " {\n^bb0(%s_: " << compute
         << ", %b_: " << index << ", %h_: " << index << ", %i: " << index << ", %j: " << index << captureArgs << scalarArgs << "):\n"
         << retype(c, c.score) << "}\n";
      scores = "%t";
    }
    if (!c.mask.empty()) {
      os << "%u = tile.mask " << scores << " if %partial at(%b, %h, %q0, %kv0)" << captured << scalars << " : " << s
         << " {\n^bb0(%b_: " << index << ", %h_: " << index << ", %i: " << index << ", %j: " << index << captureArgs << scalarArgs << "):\n"
         << retype(c, c.mask) << "}\n";
      scores = "%u";
    }
    return scores;
  };
  auto writeStep = [&](const std::string &scores) {
    os << "%m1, %l1, %p, %alpha = tile.softmax_step %mi, %li, " << scores << " cols(%cols) : " << row << ", " << s << "\n";
  };
  auto writePv = [&](const std::string &from) {
    os << "%vt = tile.load %v[%b, %hkv, %kv0] : " << viewType(c.Dv) << " -> " << tileType(c.tileCols, c.Dv, type) << "\n";
    if (!c.twoPasses)
      os << "%scaled = tile.row_scale %acci, %alpha : " << acc << ", " << row << "\n";
    os << "%acc1 = tile.dot pv %p, %vt acc(" << from << ") : " << s << ", " << tileType(c.tileCols, c.Dv, type) << " -> " << acc << "\n";
  };
  /// A stream over the plan, or one in each part of a split. What it carries: a letter or name each, with 0, n, i, 1, p, a, b for the
  /// states on the way.
  auto writeLoop = [&](const std::vector<std::string> &names, const std::string &merge, const std::function<void()> &writeBody) {
    auto listed = [&](const std::string &suffix, bool typed) {
      std::string list;
      for (const std::string &name : names)
        list += (list.empty() ? "%" : ", %") + name + suffix + (typed ? ": " + (name == "acc" ? acc : row) : "");
      return list;
    };
    std::string types;
    for (const std::string &name : names)
      types += (types.empty() ? "" : ", ") + (name == "acc" ? acc : row);
    if (c.keysPerPart) {
      os << listed("", false) << " = tile.split %plan iter(" << listed("0", false) << " : " << types << ") {\n"
         << "^bb0(%part: !tile.plan, " << listed("a", true) << "):\n";
      if (names[0] == "m")
        os << "%mn, %ln = tile.softmax_init : " << row << "\n";
      if (names.back() == "acc")
        os << "%accn = tile.fill 0.0 : " << acc << "\n";
      os << listed("p", false) << " = tile.stream %part iter(" << listed("n", false);
    } else {
      os << listed("", false) << " = tile.stream %plan iter(" << listed("0", false);
    }
    os << " : " << types << ") {\n^bb0(%kv0: i64, %cols: i64, %partial: i1, " << listed("i", true) << "):\n";
    writeBody();
    os << "tile.yield " << listed("1", false) << " : " << types << "\n}\n";
    if (c.keysPerPart)
      os << listed("b", false) << " = " << merge << "\ntile.yield " << listed("b", false) << " : " << types << "\n}\n";
  };
  if (c.twoPasses) {
    writeLoop({"m", "l"}, "tile.softmax_merge (%ma, %la), (%mp, %lp) : " + row, [&] { writeStep(writeScores()); });
    os << "%rlse, %factor = tile.softmax_norm %m, %l : " << row << "\n";
    writeLoop({"acc"}, "tile.add %acca, %accp : " + acc, [&] {
      const std::string scores = writeScores();
      os << "%p = tile.softmax_probs " << scores << ", %m, %factor cols(%cols) : " << s << ", " << row << "\n";
      writePv("%acci");
    });
  } else {
    writeLoop({"m", "l", "acc"}, "tile.softmax_merge (%ma, %la, %acca), (%mp, %lp, %accp) : " + row + ", " + acc, [&] {
      writeStep(writeScores());
      writePv("%scaled");
    });
    os << "%o, %rlse, %rmax = tile.softmax_finish %m, %l, %acc : " << row << ", " << acc << "\n";
  }
  std::string result = c.twoPasses ? "%acc" : "%o", resultType = acc;
  if (type != compute) {
    resultType = tileType(c.tileRows, c.Dv, type);
    os << "%oc = tile.cast " << result << " : " << acc << " to " << resultType << "\n";
    result = "%oc";
  }
  os << "tile.store " << result << ", %out[%b, %h, %q0] : " << resultType << ", " << outType << "\n"
     << "tile.store_row %rlse, %lse[%b, %h, %q0] : " << row << ", " << rowView << "\n"
     << "tile.store_row " << (c.twoPasses ? "%m" : "%rmax") << ", %max[%b, %h, %q0] : " << row << ", " << rowView << "\n}\n";
  return os.str();
}

} // namespace

std::int64_t run(const Case &c, const TargetDesc &target, Operands &operands, bool wantsRows) {
  std::string message;
  auto context = makeContext(message);
  std::string text = moduleText(c);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, context.get());
  INFO(text);
  INFO(message);
  REQUIRE(module);
  pipelines::CpuOptions options{pipelines::CpuSchedule::Generic, {target.vectorBits, target.registers}};
  bool lowered = mlir::succeeded(pipelines::tileToVector(*module, options));
  INFO(message);
  REQUIRE(lowered);
  auto kernel = compileVectorStage(*module, target, message);
  INFO(message);
  REQUIRE(kernel);

  std::vector<CaptureArg> captures;
  for (const Tensor *tensor : c.captures) {
    CaptureArg arg{tensor->memory->data, {}, {}};
    std::copy(tensor->sizes.begin(), tensor->sizes.end(), arg.sizes);
    std::copy(tensor->strides.begin(), tensor->strides.end(), arg.strides);
    captures.push_back(arg);
  }
  std::vector<ScalarArg> scalars;
  for (double value : c.scalars)
    scalars.push_back({.f = value});
  std::int64_t status = kStatusOk;
  KernelArgs args{c.B,
                  c.Hq,
                  c.Hkv,
                  c.M,
                  c.N,
                  1 / std::sqrt(static_cast<double>(c.D)),
                  operands.q.operand(),
                  operands.k.operand(),
                  operands.v.operand(),
                  operands.out.operand(),
                  operands.lse.operand(),
                  operands.max.operand(),
                  {},
                  captures.data(),
                  scalars.data(),
                  {},
                  &status,
                  &libmTable(),
                  {c.keysPerPart, c.keysPerPart ? std::max<Index>(1, (c.N + c.keysPerPart - 1) / c.keysPerPart) : 1, nullptr}};
  if (!wantsRows)
    args.lse.data = args.max.data = nullptr;
  Index tiles = (c.M + c.tileRows - 1) / c.tileRows * c.B * c.Hq;
  std::vector<std::int64_t> offsets;
  if (!c.runs.empty()) {
    for (Index t = 0; t <= tiles; ++t)
      offsets.push_back(t == 0 ? 0 : c.runs.size());
    // One list of runs that all tiles share: offsets[i] .. offsets[i + 1] with both strides 0 and a single query tile.
    REQUIRE(c.M <= c.tileRows);
    args.plan = {offsets.data(), c.runs.data(), 0, 0};
  }
  std::vector<char> workspace(kernel->workspaceBytes + 64, '\xff'); // NaN everywhere: padding must not matter
  char *aligned = reinterpret_cast<char *>((reinterpret_cast<std::uintptr_t>(workspace.data()) + 63) / 64 * 64);
  kernel->entry()(&args, 0, tiles / 2, aligned);
  kernel->entry()(&args, tiles / 2, tiles, aligned);
  return status;
}

static void checkRow(const Case &c, const Operands &operands, Index b, Index h, Index i, bool wantsRows) {
  Index g = h / (c.Hq / c.Hkv);
  std::vector<double> u(c.N);
  double max = -kInf, sum = 0;
  for (Index j = 0; j < c.N; ++j) {
    double s = 0;
    for (Index d = 0; d < c.D; ++d)
      s += operands.q.get({b, h, i, d}) * operands.k.get({b, g, j, d});
    s /= std::sqrt(static_cast<double>(c.D));
    bool visited = c.runs.empty(), full = false;
    for (const RunArg &run : c.runs)
      if (run.kvBegin <= j && j < run.kvEnd)
        visited = true, full = run.full;
    double t = c.scoreFn ? c.scoreFn(s, b, h, i, j) : s;
    u[j] = visited && (full || !c.maskFn || c.maskFn(b, h, i, j)) ? t : -kInf;
    max = std::isnan(max) || std::isnan(u[j]) ? NAN : std::max(max, u[j]);
  }
  for (double &x : u)
    sum += x = max == -kInf ? 0 : std::exp(x - max);
  auto close = [&](double got, double expected, double scale) {
    if (std::isnan(expected))
      return std::isnan(got);
    return got == expected || std::fabs(got - expected) <= scale * c.tolerance;
  };
  for (Index d = 0; d < c.Dv; ++d) {
    double o = 0, magnitude = 0;
    for (Index j = 0; j < c.N; ++j)
      if (u[j] != 0) {
        o += u[j] * operands.v.get({b, g, j, d});
        magnitude += std::fabs(u[j] * operands.v.get({b, g, j, d}));
      }
    double expected = max == -kInf ? 0 : o / sum, got = operands.out.get({b, h, i, d});
    double halfUlp = c.type == DType::BF16 ? 0x1p-8 : c.type == DType::F16 ? 0x1p-11 : 0;
    CAPTURE(b);
    CAPTURE(h);
    CAPTURE(i);
    CAPTURE(d);
    CAPTURE(got);
    CAPTURE(expected);
    bool ok =
        close(got, expected, std::max(1.0, magnitude / sum)) || std::fabs(got - expected) <= std::fabs(expected) * halfUlp + c.tolerance;
    REQUIRE(ok);
  }
  if (!wantsRows)
    return;
  double lse = operands.lse.get({b, h, i}), gotMax = operands.max.get({b, h, i});
  double expectedLse = max == -kInf ? -kInf : max + std::log(sum);
  CAPTURE(i);
  CAPTURE(lse);
  CAPTURE(expectedLse);
  CHECK(close(lse, expectedLse, std::max(1.0, std::fabs(expectedLse))));
  CAPTURE(gotMax);
  CAPTURE(max);
  CHECK(close(gotMax, max, std::max(1.0, std::fabs(max))));
}

void check(const Case &c, const std::function<void(Operands &)> &poke, bool wantsRows) {
  for (const TargetDesc &target : runnableTargets()) {
    CAPTURE(target.cpu);
    Operands operands(c);
    if (poke)
      poke(operands);
    CHECK(run(c, target, operands, wantsRows) == kStatusOk);
    for (Index b = 0; b < c.B; ++b)
      for (Index h = 0; h < c.Hq; ++h)
        for (Index i = 0; i < c.M; ++i)
          checkRow(c, operands, b, h, i, wantsRows);
  }
}

Case causal() {
  Case c;
  c.mask = "%m_ = arith.cmpi sle, %j, %i : i32\ntile.yield %m_ : i1\n";
  c.maskFn = [](Index, Index, Index i, Index j) { return j <= i; };
  c.closedForm = "%t_ = arith.cmpi sle, %klo, %qhi : i32\n%f_ = arith.cmpi sgt, %khi, %qlo : i32\ntile.yield %t_, %f_ : i1, i1\n";
  return c;
}

} // namespace attnjit::testing
