// Runs kernels of the generic lowering against a plain f64 loop: dtypes, ragged and empty shapes, strides, formulas, plans, reports.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "JitHarness.h"
#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"
#include "attnjit/Types.h"
#include "mlir/Parser/Parser.h"

#include <bit>
#include <cmath>
#include <functional>
#include <random>
#include <sstream>
#include <sys/mman.h>

using namespace attnjit;
using namespace attnjit::testing;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
using Index = std::int64_t;

//===------------------------------------------------------------------------------------------------------------------===//
// Tensors: guarded memory, so that a read past either end is a fault
//===------------------------------------------------------------------------------------------------------------------===//

class GuardedBytes {
public:
  explicit GuardedBytes(std::size_t bytes) {
    constexpr std::size_t kPage = 4096;
    std::size_t inner = (bytes + kPage - 1) / kPage * kPage;
    mapped = inner + 2 * kPage;
    base = static_cast<char *>(mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base + kPage, inner ? inner : kPage, PROT_READ | PROT_WRITE);
    // Flush with the end: that is where loops of whole vectors overrun.
    data = base + kPage + inner - bytes;
  }
  ~GuardedBytes() { munmap(base, mapped); }
  GuardedBytes(const GuardedBytes &) = delete;
  char *data;

private:
  char *base;
  std::size_t mapped;
};

float fromHalf(std::uint16_t bits) { return static_cast<float>(std::bit_cast<_Float16>(bits)); }

double readElement(const char *at, DType type) {
  switch (type) {
  case DType::F64: return *reinterpret_cast<const double *>(at);
  case DType::F32: return *reinterpret_cast<const float *>(at);
  case DType::BF16: return std::bit_cast<float>(std::uint32_t(*reinterpret_cast<const std::uint16_t *>(at)) << 16);
  case DType::F16: return fromHalf(*reinterpret_cast<const std::uint16_t *>(at));
  case DType::I32: return *reinterpret_cast<const std::int32_t *>(at);
  case DType::I64: return static_cast<double>(*reinterpret_cast<const std::int64_t *>(at));
  default: return *reinterpret_cast<const std::uint8_t *>(at);
  }
}

void writeElement(char *at, DType type, double value) {
  switch (type) {
  case DType::F64: *reinterpret_cast<double *>(at) = value; break;
  case DType::F32: *reinterpret_cast<float *>(at) = static_cast<float>(value); break;
  case DType::BF16: *reinterpret_cast<std::uint16_t *>(at) = std::bit_cast<std::uint32_t>(static_cast<float>(value)) >> 16; break;
  case DType::F16: *reinterpret_cast<std::uint16_t *>(at) = std::bit_cast<std::uint16_t>(static_cast<_Float16>(value)); break;
  case DType::I32: *reinterpret_cast<std::int32_t *>(at) = static_cast<std::int32_t>(value); break;
  case DType::I64: *reinterpret_cast<std::int64_t *>(at) = static_cast<std::int64_t>(value); break;
  default: *reinterpret_cast<std::uint8_t *>(at) = value != 0; break;
  }
}

std::size_t bytesOf(DType type) { return type == DType::F64 || type == DType::I64 ? 8 : type == DType::F32 || type == DType::I32 ? 4 : type == DType::Bool ? 1 : 2; }
const char *mlirName(DType type) {
  switch (type) {
  case DType::F64: return "f64";
  case DType::F32: return "f32";
  case DType::BF16: return "bf16";
  case DType::F16: return "f16";
  case DType::I32: return "i32";
  case DType::I64: return "i64";
  default: return "i1";
  }
}

/// A dense tensor whose elements stand `columnStep` apart.
struct Tensor {
  DType type;
  std::vector<Index> sizes, strides;
  std::unique_ptr<GuardedBytes> memory;

  Tensor(DType type, std::vector<Index> sizes, Index columnStep = 1) : type(type), sizes(sizes), strides(sizes.size()) {
    Index step = columnStep, count = 1;
    for (std::size_t dim = sizes.size(); dim-- > 0; step *= sizes[dim], count *= sizes[dim])
      strides[dim] = step;
    std::size_t elements = count ? (count - 1) * columnStep + 1 : 0;
    memory = std::make_unique<GuardedBytes>(elements * bytesOf(type));
  }
  char *at(std::initializer_list<Index> index) const {
    Index offset = 0;
    std::size_t dim = 0;
    for (Index i : index)
      offset += i * strides[dim++];
    return memory->data + offset * bytesOf(type);
  }
  double get(std::initializer_list<Index> index) const { return readElement(at(index), type); }
  void set(std::initializer_list<Index> index, double value) { writeElement(at(index), type, value); }
  OperandArg operand() const {
    OperandArg arg{memory->data, {}};
    std::copy(strides.begin(), strides.end(), arg.strides);
    return arg;
  }
};

//===------------------------------------------------------------------------------------------------------------------===//
// A case: shapes, types and the formula as tile-dialect text and as C++
//===------------------------------------------------------------------------------------------------------------------===//

struct Case {
  Index B = 1, Hq = 2, Hkv = 1, M = 70, N = 90, D = 24, Dv = 20;
  DType type = DType::F32;
  Index tileRows = 16, tileCols = 32;
  Index columnStep = 1;
  bool checked = false;
  bool wide = false; ///< 64-bit indices
  Index keysPerPart = 0; ///< not 0: the program is split
  bool twoPasses = false; ///< the state first, then the output
  std::string score, mask, closedForm; ///< bodies; names: %s %b %h %i %j, captures %c0.., scalars %x0..; closed form: %qlo %qhi %klo %khi.
                                       ///< Written for i32 and f32; see retype()
  std::function<double(double, Index, Index, Index, Index)> scoreFn;
  std::function<bool(Index, Index, Index, Index)> maskFn;
  std::vector<const Tensor *> captures;
  std::vector<double> scalars; ///< f32 slots
  std::vector<RunArg> runs;    ///< the same for every tile, if not empty
  double tolerance = 3e-6;
};

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
  auto viewType = [&](Index cols) { return "!tile.view<?x" + std::to_string(cols) + "x" + type + (c.columnStep == 1 ? ">" : ", strided>"); };
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
     << ", tile_cols = " << c.tileCols << ", checked_indices = " << (c.checked ? "true" : "false") << ", narrow = " << (c.wide ? "false" : "true") << "> {\n"
     << "%b, %h, %hkv, %q0 = tile.position\n"
     << "%qt = tile.load %q[%b, %h, %q0] : " << viewType(c.D) << " -> " << tileType(c.tileRows, c.D, type) << "\n"
     << "%m0, %l0 = tile.softmax_init : " << row << "\n%acc0 = tile.fill 0.0 : " << acc << "\n"
     << "%plan = tile.plan at(%b, %h, %q0)" << scalars;
  if (!c.closedForm.empty())
    os << " {\n^bb0(%pb: " << index << ", %ph: " << index << ", %qlo: " << index << ", %qhi: " << index << ", %klo: " << index << ", %khi: " << index
       << scalarArgs << "):\n" << retype(c, c.closedForm) << "}";
  os << "\n";
  /// The scores of a block.
  auto writeScores = [&]() -> std::string {
    os << "%kt = tile.load %k[%b, %hkv, %kv0] : " << viewType(c.D) << " -> " << tileType(c.tileCols, c.D, type) << "\n"
       << "%s = tile.dot qk %qt, trans %kt scale(%scale) : " << tileType(c.tileRows, c.D, type) << ", " << tileType(c.tileCols, c.D, type) << " -> " << s << "\n";
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
  /// A stream over the plan, or one in each part of a split. What it carries: a letter or name each, with 0, n, i, 1, p, a, b for the states on the way.
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
    os << "%rlse = tile.softmax_lse %m, %l : " << row << "\n";
    writeLoop({"acc"}, "tile.add %acca, %accp : " + acc, [&] {
      const std::string scores = writeScores();
      os << "%p = tile.softmax_probs " << scores << ", %rlse cols(%cols) : " << s << ", " << row << "\n";
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

//===------------------------------------------------------------------------------------------------------------------===//
// Running and checking
//===------------------------------------------------------------------------------------------------------------------===//

struct Operands {
  Tensor q, k, v, out, lse, max;
  explicit Operands(const Case &c)
      : q(c.type, {c.B, c.Hq, c.M, c.D}, c.columnStep), k(c.type, {c.B, c.Hkv, c.N, c.D}, c.columnStep),
        v(c.type, {c.B, c.Hkv, c.N, c.Dv}, c.columnStep), out(c.type, {c.B, c.Hq, c.M, c.Dv}),
        lse(c.type == DType::F64 ? DType::F64 : DType::F32, {c.B, c.Hq, c.M}), max(lse.type, {c.B, c.Hq, c.M}) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    for (Tensor *tensor : {&q, &k, &v})
      forEach(tensor->sizes, [&](Index b, Index h, Index r, Index d) { tensor->set({b, h, r, d}, normal(random)); });
  }
  template <typename Body> static void forEach(const std::vector<Index> &sizes, Body body) {
    for (Index b = 0; b < sizes[0]; ++b)
      for (Index h = 0; h < sizes[1]; ++h)
        for (Index r = 0; r < sizes[2]; ++r)
          for (Index d = 0; d < sizes[3]; ++d)
            body(b, h, r, d);
  }
};

/// Runs a case on one target; returns the status word.
std::int64_t run(const Case &c, const TargetDesc &target, Operands &operands, bool wantsRows = true) {
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
  KernelArgs args{c.B, c.Hq, c.Hkv, c.M, c.N, 1 / std::sqrt(static_cast<double>(c.D)), operands.q.operand(), operands.k.operand(),
                  operands.v.operand(), operands.out.operand(), operands.lse.operand(), operands.max.operand(), {}, captures.data(), scalars.data(), {},
                  &status, &libmTable(), {c.keysPerPart, c.keysPerPart ? std::max<Index>(1, (c.N + c.keysPerPart - 1) / c.keysPerPart) : 1, nullptr}};
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

void checkRow(const Case &c, const Operands &operands, Index b, Index h, Index i, bool wantsRows) {
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
    bool ok = close(got, expected, std::max(1.0, magnitude / sum)) || std::fabs(got - expected) <= std::fabs(expected) * halfUlp + c.tolerance;
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

void check(const Case &c, const std::function<void(Operands &)> &poke = nullptr, bool wantsRows = true) {
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

/// Causal, with its closed form.
Case causal() {
  Case c;
  c.mask = "%m_ = arith.cmpi sle, %j, %i : i32\ntile.yield %m_ : i1\n";
  c.maskFn = [](Index, Index, Index i, Index j) { return j <= i; };
  c.closedForm = "%t_ = arith.cmpi sle, %klo, %qhi : i32\n%f_ = arith.cmpi sgt, %khi, %qlo : i32\ntile.yield %t_, %f_ : i1, i1\n";
  return c;
}

} // namespace

TEST_CASE("plain attention, every dtype") {
  for (DType type : {DType::F32, DType::BF16, DType::F16, DType::F64}) {
    Case c;
    c.type = type;
    c.tolerance = type == DType::F64 ? 1e-14 : 3e-6;
    CAPTURE(mlirName(type));
    check(c);
  }
}

TEST_CASE("causal, with and without closed form; heads in groups; batches") {
  Case c = causal();
  check(c);
  c.closedForm = "";
  c.B = 2;
  c.Hq = 6;
  c.Hkv = 3;
  check(c);
  c.N = 40; // rows past N see all keys
  check(c);
}

TEST_CASE("ragged and odd shapes") {
  for (auto [D, Dv] : {std::pair<Index, Index>{1, 1}, {3, 17}, {64, 64}, {100, 7}, {512, 512}})
    for (auto [M, N] : {std::pair<Index, Index>{1, 1}, {17, 33}, {5, 100}}) {
      Case c = causal();
      c.D = D, c.Dv = Dv, c.M = M, c.N = N;
      CAPTURE(D);
      CAPTURE(Dv);
      CAPTURE(M);
      CAPTURE(N);
      check(c);
    }
}

TEST_CASE("A9: no queries, no keys") {
  Case c = causal();
  c.N = 0;
  check(c);
  c.N = 5;
  c.M = 0;
  check(c);
}

TEST_CASE("any strides, any tile, no row outputs") {
  Case c = causal();
  c.columnStep = 3;
  check(c);
  c.columnStep = 1;
  c.tileRows = 7;
  c.tileCols = 5;
  check(c, nullptr, /*wantsRows=*/false);
}

TEST_CASE("A5: empty rows give 0 and -inf; -1e30 is a number") {
  Case c;
  c.mask = "%z = arith.constant 60 : i32\n%m1_ = arith.cmpi sge, %i, %z : i32\n%m2_ = arith.cmpi sge, %j, %z : i32\n"
           "%m_ = arith.andi %m1_, %m2_ : i1\ntile.yield %m_ : i1\n";
  c.maskFn = [](Index, Index, Index i, Index j) { return i >= 60 && j >= 60; };
  check(c);
  c.score = "%f_ = arith.constant -1.0e30 : f32\ntile.yield %f_ : f32\n";
  c.scoreFn = [](double, Index, Index, Index, Index) { return -1e30; };
  check(c);
}

TEST_CASE("A6: an unmasked NaN reaches the output, a masked one does not") {
  Case c = causal();
  auto poke = [](Operands &operands) {
    operands.k.set({0, 0, 50, 3}, NAN);
    operands.q.set({0, 1, 20, 0}, NAN);
  };
  check(c, poke);
}

TEST_CASE("formulas with captures and scalars") {
  Tensor slopes(DType::BF16, {2}), documents(DType::I64, {90}), bias(DType::F16, {2, 70, 90}), flags(DType::Bool, {90}, 2);
  for (Index h = 0; h < 2; ++h) {
    slopes.set({h}, -0.5 * (h + 1));
    for (Index i = 0; i < 70; ++i)
      for (Index j = 0; j < 90; ++j)
        bias.set({h, i, j}, 0.25 * ((i * 7 + j * 3 + h) % 13));
  }
  for (Index j = 0; j < 90; ++j) {
    documents.set({j}, j / 20);
    flags.set({j}, j % 7 != 3);
  }
  Case c;
  c.captures = {&slopes, &documents, &bias, &flags};
  c.scalars = {5.0};
  c.score = "%w = attn.load %c0[%h_] : !tile.capture<1xbf16>, i32 -> f32\n%d_ = arith.subi %j, %i : i32\n%df = arith.sitofp %d_ : i32 to f32\n"
            "%p_ = arith.mulf %w, %df : f32\n%e = attn.load %c2[%h_, %i, %j] : !tile.capture<3xf16>, i32, i32, i32 -> f32\n"
            "%r0 = arith.addf %s_, %p_ : f32\n%r1 = arith.divf %r0, %x0 : f32\n%r2 = math.tanh %r1 : f32\n%r3 = arith.mulf %r2, %x0 : f32\n"
            "%r4 = arith.addf %r3, %e : f32\ntile.yield %r4 : f32\n";
  c.scoreFn = [&](double s, Index, Index h, Index i, Index j) {
    return 5 * std::tanh((s + slopes.get({h}) * static_cast<double>(j - i)) / 5) + bias.get({h, i, j});
  };
  // A negative index counts from the end: i - 90 is i.
  c.mask = "%n = arith.constant -90 : i32\n%in = arith.addi %i, %n : i32\n%a = attn.load %c1[%in] : !tile.capture<1xi64>, i32 -> i32\n"
           "%b1 = attn.load %c1[%j] : !tile.capture<1xi64>, i32 -> i32\n%same = arith.cmpi eq, %a, %b1 : i32\n"
           "%f_ = attn.load %c3[%j] : !tile.capture<1xi1>, i32 -> i1\n%m_ = arith.andi %same, %f_ : i1\ntile.yield %m_ : i1\n";
  c.maskFn = [&](Index, Index, Index i, Index j) { return documents.get({i}) == documents.get({j}) && flags.get({j}) != 0; };
  check(c);
  c.checked = true;
  check(c);
  c.wide = true;
  check(c);
  c.checked = false;
  c.type = DType::F64;
  check(c);
}

TEST_CASE("A10: an index out of range is reported with the smallest visible position, and nothing outside is read") {
  Tensor table(DType::F32, {50}), empty(DType::F32, {0});
  for (Index j = 0; j < 50; ++j)
    table.set({j}, 1);
  for (const TargetDesc &target : runnableTargets()) {
    CAPTURE(target.cpu);
    Case c = causal();
    c.checked = true;
    c.captures = {&table};
    c.score = "%e = attn.load %c0[%j] : !tile.capture<1xf32>, i32 -> f32\n%r = arith.addf %s_, %e : f32\ntile.yield %r : f32\n";
    Operands operands(c);
    CHECK(run(c, target, operands) == 50 * c.N + 50); // kv 50 first becomes visible to query 50
    c.mask = c.closedForm = "";
    Operands unmasked(c);
    CHECK(run(c, target, unmasked) == 50);
    c.captures = {&empty};
    Operands nothing(c);
    CHECK(run(c, target, nothing) == 0);
    // In a mask every position counts.
    c = causal();
    c.closedForm = "";
    c.checked = true;
    c.captures = {&table};
    c.mask = "%e = attn.load %c0[%i] : !tile.capture<1xf32>, i32 -> f32\n%z = arith.constant 0.0 : f32\n%m_ = arith.cmpf ogt, %e, %z : f32\n"
             "tile.yield %m_ : i1\n";
    Operands masked(c);
    CHECK(run(c, target, masked) == 50 * c.N);
  }
}

TEST_CASE("a table of runs: gaps, full runs, runs that are no multiple of the block") {
  Case c = causal();
  c.M = 16;
  c.runs = {{3, 10, 0}, {20, 61, 1}, {80, 90, 0}};
  check(c);
}

TEST_CASE("a narrow window in a long sequence: groups of blocks are skipped") {
  Case c;
  c.M = 600;
  c.N = 700;
  c.tileCols = 5;
  c.mask = "%d_ = arith.subi %i, %j : i32\n%a = math.absi %d_ : i32\n%w = arith.constant 9 : i32\n%m_ = arith.cmpi sle, %a, %w : i32\ntile.yield %m_ : i1\n";
  c.maskFn = [](Index, Index, Index i, Index j) { return std::abs(i - j) <= 9; };
  c.closedForm = "%w = arith.constant 9 : i32\n%far = arith.addi %qhi, %w : i32\n%near = arith.subi %qlo, %w : i32\n%t1 = arith.cmpi sle, %klo, %far : i32\n"
                 "%t2 = arith.cmpi sge, %khi, %near : i32\n%t = arith.andi %t1, %t2 : i1\n%true_ = arith.constant true\ntile.yield %t, %true_ : i1, i1\n";
  check(c);
}

TEST_CASE("integer and float operations with Python's meaning") {
  Case c;
  c.N = 40;
  c.score = "%four = arith.constant 4 : i32\n%d_ = arith.subi %j, %i : i32\n%fd = attn.pointwise floor_div %d_, %four : i32\n"
            "%fm = attn.pointwise floor_mod %d_, %four : i32\n%zero = arith.constant 0 : i32\n%z = attn.pointwise floor_div %d_, %zero : i32\n"
            "%sh = attn.pointwise shl %four, %fm : i32\n%t1 = arith.addi %fd, %sh : i32\n%t2 = arith.addi %t1, %z : i32\n"
            "%sg = attn.pointwise sign %d_ : i32\n%t3 = arith.addi %t2, %sg : i32\n%two = arith.constant 2 : i32\n%pw = attn.pointwise pow %fm, %two : i32\n"
            "%t4 = arith.addi %t3, %pw : i32\n%f = arith.sitofp %t4 : i32 to f32\n%tenth = arith.constant 0.1 : f32\n%g = arith.mulf %f, %tenth : f32\n"
            "%three = arith.constant 3.0 : f32\n%rm = attn.pointwise floor_mod %g, %three : f32\n%r = arith.addf %s_, %rm : f32\n"
            "%ti = attn.pointwise to_int %r : f32 -> i32\n%tf = arith.sitofp %ti : i32 to f32\n%q_ = arith.mulf %tf, %tenth : f32\n"
            "%r2 = arith.addf %r, %q_ : f32\ntile.yield %r2 : f32\n";
  c.scoreFn = [](double s, Index, Index, Index i, Index j) {
    Index d = j - i, fd = (d - ((d % 4) + 4) % 4) / 4, fm = ((d % 4) + 4) % 4;
    Index t = fd + (4 << fm) + (d > 0) - (d < 0) + fm * fm;
    float g = static_cast<float>(t) * 0.1f, rm = std::fmod(g, 3.0f);
    if (rm < 0)
      rm += 3;
    double r = s + rm;
    return r + std::trunc(static_cast<float>(r)) * 0.1f;
  };
  check(c);
  c.wide = true;
  check(c);
}

TEST_CASE("64-bit indices and f64 with a closed form") {
  Case c = causal();
  c.wide = true;
  check(c);
  c.type = DType::F64;
  c.tolerance = 1e-14;
  check(c);
}

TEST_CASE("tile.split: parts computed on their own and merged are the same attention") {
  for (auto [keys, twoPasses] : {std::pair<Index, bool>{1, false}, {32, false}, {50, false}, {64, false}, {200, false}, {0, true}, {1, true}, {50, true}, {200, true}}) {
    CAPTURE(keys);
    CAPTURE(twoPasses);
    Case c = causal();
    c.keysPerPart = keys;
    c.twoPasses = twoPasses;
    check(c);
    c.closedForm = "";
    c.Hq = 4, c.Hkv = 2;
    check(c, [](Operands &operands) { // in one part only; and what is masked stays out
      operands.k.set({0, 0, 50, 3}, NAN);
      operands.q.set({0, 1, 20, 0}, INFINITY);
    });
    c.N = 0;
    check(c);
  }
  Case c;
  c.keysPerPart = 30;
  c.type = DType::F64, c.tolerance = 1e-13;
  c.mask = "%z = arith.constant 60 : i32\n%m1_ = arith.cmpi sge, %i, %z : i32\n%m2_ = arith.cmpi sge, %j, %z : i32\n"
           "%m_ = arith.andi %m1_, %m2_ : i1\ntile.yield %m_ : i1\n"; // rows and parts that see nothing
  c.maskFn = [](Index, Index, Index i, Index j) { return i >= 60 && j >= 60; };
  check(c);
}

TEST_CASE("tile.split: runs of a plan are cut where parts end") {
  Case c = causal();
  c.closedForm = "";
  c.M = 16;
  c.keysPerPart = 40;
  c.runs = {{3, 17, 0}, {30, 81, 1}, {85, 90, 0}};
  check(c);
}

TEST_CASE("functions called through the table, inside formulas") {
  Case c;
  c.score = "%a = math.sin %s_ : f32\n%one = arith.constant 1.0 : f32\n%p0 = math.absf %a : f32\n%p1 = arith.addf %p0, %one : f32\n"
            "%w = attn.pointwise pow %p1, %s_ : f32\n%f = arith.sitofp %i : i32 to f32\n%g = arith.addf %f, %one : f32\n%l_ = math.log1p %g : f32\n"
            "%r = arith.addf %w, %l_ : f32\ntile.yield %r : f32\n";
  c.scoreFn = [](double s, Index, Index, Index i, Index) { return std::pow(std::fabs(std::sin(s)) + 1, s) + std::log1p(i + 1.0); };
  check(c);
  c.type = DType::F64;
  c.tolerance = 1e-13;
  check(c);
}
