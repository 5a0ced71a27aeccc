// Runs a kernel that attnjit-dump wrote as PTX on a real GPU and compares it with the f64 reference, over a table of shapes.
//
//   GpuKernels FOLDER, or: attnjit-dump --target sm_80 --emit ptx ... -o kernel.ptx        (any machine)
//   GpuRunner FOLDER, or: GpuRunner kernel.ptx ...     (a machine with a GPU; needs no compiler and no CUDA toolkit)
//
// The PTX text carries its problem in comments, formula included, so nothing else has to travel. Exit status: 0 all right, 1 something
// differs, 77 (skipped) without a GPU.
#include "BlockMask/Planner.h"
#include "Compiler/KernelHeader.h"
#include "CudaDriver.h"
#include "Reference/Elements.h"
#include "Reference/Reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>

using namespace attnjit;
using namespace attnjit::gputest;

namespace {

struct Kernel {
  compiler::KernelHeader header;
  std::string ptx;
};

struct Shape {
  std::int64_t B, Hq, Hkv, M, N;
  /// Elements between the rows of q, k and v beyond D, and in front of the first: 0, 0 is dense and aligned, odd ones are neither.
  std::int64_t rowPadding = 0, lead = 0;
  bool plan = false; ///< give the kernel the host planner's table
  double scale = 0;  ///< 0: 1 / sqrt(D)
};

constexpr Shape kShapes[] = {
    {1, 1, 1, 64, 64},          {2, 4, 2, 200, 333},           {1, 3, 1, 130, 257, 8, 8},      {1, 2, 2, 129, 65, 3, 1},
    {2, 2, 1, 77, 190, 0, 0, true}, {1, 2, 1, 1, 1},            {1, 2, 2, 50, 0},               {1, 8, 2, 1, 1000},
    {1, 6, 3, 300, 300, 0, 0, true}, {1, 2, 2, 1024, 1024},
    {1, 2, 1, 140, 270, 0, 0, false, -0.1},
};

std::optional<Kernel> readKernel(const char *path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  std::string problem, line;
  const std::string mark = "// attnjit.problem: ";
  while (std::getline(content, line) && line.compare(0, mark.size(), mark) == 0)
    problem += line.substr(mark.size()) + "\n";
  Result<compiler::KernelHeader> header = compiler::parseHeader(problem);
  if (!header) {
    fmt::print("{}: {}\n", path, header.error().message);
    return std::nullopt;
  }
  return Kernel{*header, content.str()};
}

/// A [B, H, rows, cols] operand in host memory with room around its rows.
struct HostOperand {
  std::vector<std::byte> bytes;
  DType dtype;
  std::int64_t lead, sizes[4], strides[4];

  HostOperand(DType dtype, std::int64_t b, std::int64_t h, std::int64_t rows, std::int64_t cols, std::int64_t padding, std::int64_t lead)
      : dtype(dtype), lead(lead), sizes{b, h, rows, cols}, strides{h * rows * (cols + padding), rows * (cols + padding), cols + padding, 1} {
    bytes.resize((lead + b * strides[0]) * sizeInBytes(dtype), std::byte(0xff)); // NaN where nobody may look
  }
  std::int64_t offset(std::int64_t b, std::int64_t h, std::int64_t row, std::int64_t col) const {
    return lead + b * strides[0] + h * strides[1] + row * strides[2] + col;
  }
  void fill(std::mt19937 &random, float scale) {
    std::normal_distribution<float> normal;
    for (std::int64_t b = 0; b < sizes[0]; b++)
      for (std::int64_t h = 0; h < sizes[1]; h++)
        for (std::int64_t row = 0; row < sizes[2]; row++)
          for (std::int64_t col = 0; col < sizes[3]; col++)
            reference::storeFloat(bytes.data(), dtype, offset(b, h, row, col), scale * normal(random));
  }
  TensorRef ref() {
    TensorRef tensor = TensorRef::dense(bytes.data() + lead * sizeInBytes(dtype), dtype, {sizes[0], sizes[1], sizes[2], sizes[3]});
    std::copy(strides, strides + 4, tensor.strides.begin());
    return tensor;
  }
  OperandArg arg(const DeviceBuffer &device) const {
    return {device.at(lead * sizeInBytes(dtype)), {strides[0], strides[1], strides[2], strides[3]}};
  }
};

/// Captured tensors, all dims as long as the longest index: small integers, normal floats.
struct Captures {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorRef> refs;
  std::vector<ScalarArg> scalars;

  Captures(const expr::Formula &formula, const Shape &shape, std::mt19937 &random) {
    const std::int64_t size = std::max({shape.M, shape.N, shape.Hq, shape.B, std::int64_t(1)});
    for (const expr::CaptureDecl &capture : formula.captures) {
      TensorRef tensor;
      tensor.dtype = capture.dtype;
      tensor.rank = capture.rank;
      std::int64_t count = 1;
      for (int dim = capture.rank - 1; dim >= 0; dim--) {
        tensor.sizes[dim] = size;
        tensor.strides[dim] = count;
        count *= size;
      }
      bytes.emplace_back(count * sizeInBytes(capture.dtype));
      tensor.data = bytes.back().data();
      for (std::int64_t i = 0; i < count; i++) {
        if (isFloat(capture.dtype)) {
          reference::storeFloat(tensor.data, capture.dtype, i, std::normal_distribution<float>()(random));
        } else { // little endian: the low byte first
          std::memset(bytes.back().data() + i * sizeInBytes(capture.dtype), 0, sizeInBytes(capture.dtype));
          bytes.back()[i * sizeInBytes(capture.dtype)] = std::byte(capture.dtype == DType::Bool ? random() % 2 : i * 5 / count);
        }
      }
      refs.push_back(tensor);
    }
    for (const expr::ScalarDecl &scalar : formula.scalars) {
      ScalarArg value{};
      if (scalar.kind == expr::Kind::Float)
        value.f = 3.0;
      else
        value.i = 40;
      scalars.push_back(value);
    }
    expr::bindOwnScalars(formula, refs, scalars);
  }
};

struct Errors {
  double sum = 0, max = 0;
  std::int64_t count = 0;
  void add(double got, double expected) {
    if (got == expected || (std::isnan(got) && std::isnan(expected)))
      return void(count++);
    const double error = std::abs(got - expected) / std::max(1.0, std::abs(expected));
    sum += error;
    max = std::isnan(error) ? HUGE_VAL : std::max(max, error);
    count++;
  }
  double mean() const { return count ? sum / count : 0; }
};

/// Factors of q, k and v, [B, Hkv] each, in one piece.
struct Descales {
  std::int64_t count, heads;
  std::vector<float> factors;

  Descales(const Shape &shape, std::mt19937 &random) : count(shape.B * shape.Hkv), heads(shape.Hkv), factors(3 * count) {
    for (float &factor : factors)
      factor = std::uniform_real_distribution<float>(0.5f, 1.5f)(random);
  }
  TensorRef ref(int operand) { return TensorRef::dense(factors.data() + operand * count, DType::F32, {count / heads, heads}); }
  DescaleArg arg(const DeviceBuffer &device, int operand) const {
    return {static_cast<const float *>(device.at(operand * count * sizeof(float))), {heads, 1}};
  }
};

/// A shape's operands and captures, with what the reference says of them.
struct Problem {
  HostOperand q, k, v, out;
  Captures captures;
  std::optional<Descales> descales; ///< of kernels with 8-bit keys
  std::vector<float> lse, max;
  std::int64_t status = kStatusOk;
  reference::Output exact, plain;
  plan::Plan plan;

  Problem(const compiler::KernelSpec &spec, const Shape &s, std::mt19937 &&random)
      : q(spec.qType, s.B, s.Hq, s.M, spec.D, s.rowPadding, s.lead), k(spec.kvType, s.B, s.Hkv, s.N, spec.D, s.rowPadding, s.lead),
        v(spec.kvType, s.B, s.Hkv, s.N, spec.Dv, s.rowPadding, s.lead), out(spec.outType, s.B, s.Hq, s.M, spec.Dv, s.rowPadding, s.lead),
        captures(spec.formula, s, random), lse(s.B * s.Hq * s.M, 777), max(lse) {
    q.fill(random, 1.5f), k.fill(random, 1.5f), v.fill(random, 1.0f);
    reference::Call call;
    call.formula = &spec.formula;
    call.bindings = {captures.refs, captures.scalars};
    call.q = q.ref(), call.k = k.ref(), call.v = v.ref();
    call.outType = spec.outType;
    if (s.scale != 0)
      call.scale = s.scale;
    if (isFloat8(spec.kvType)) {
      descales.emplace(s, random);
      call.qDescale = descales->ref(0), call.kDescale = descales->ref(1), call.vDescale = descales->ref(2);
    }
    call.threads = 8;
    exact = reference::forwardF64(call);
    plain = reference::forwardPlain(call);
    if (s.plan)
      plan = plan::buildPlan(spec.formula, call.bindings, {s.B, s.Hq, s.M, s.N, spec.config.tileRows, spec.config.tileCols});
  }
};

template <typename T> DeviceBuffer onDevice(const CudaDriver &driver, const std::vector<T> &host) {
  return DeviceBuffer(driver, host.data(), host.size() * sizeof(T));
}

/// Whether tensor copies can read the operands of a shape.
bool isAligned(const compiler::KernelSpec &spec, const Shape &s) {
  const auto isMultiple = [](std::int64_t elements) { return elements * 2 % 16 == 0; };
  return isMultiple(s.lead) && isMultiple(spec.D + s.rowPadding) && isMultiple(spec.Dv + s.rowPadding);
}

/// The tensor map of an operand whose element (0, 0, 0, 0) lies at `data` (Conversion/TileToGPU/Schedules.h).
std::optional<TensorMap> tensorMap(const CudaDriver &driver, const HostOperand &operand, const OperandArg &arg, std::uint32_t boxRows) {
  std::uint64_t sizes[4], strides[3];
  for (int dim = 0; dim < 4; dim++)
    sizes[dim] = std::max<std::int64_t>(operand.sizes[3 - dim], 1);
  for (int dim = 0; dim < 3; dim++)
    strides[dim] = sizes[dim + 1] == 1 ? 16 : arg.strides[2 - dim] * 2; // who is alone has no neighbour, and the stride may be anything
  return driver.makeTensorMap(operand.dtype == DType::BF16, reinterpret_cast<std::uint64_t>(arg.data), sizes, strides, boxRows);
}

/// Runs the kernel on a problem; results land in out, lse, max and status. False, having said why, if the driver fails.
bool launch(const CudaDriver &driver, void *kernel, const compiler::KernelHeader &header, const Shape &shape, Problem &problem) {
  DeviceBuffer q = onDevice(driver, problem.q.bytes), k = onDevice(driver, problem.k.bytes), v = onDevice(driver, problem.v.bytes);
  DeviceBuffer out = onDevice(driver, problem.out.bytes), lse = onDevice(driver, problem.lse), max = onDevice(driver, problem.max);
  std::vector<std::unique_ptr<DeviceBuffer>> captured;
  std::vector<CaptureArg> captureArgs;
  for (std::size_t i = 0; i < problem.captures.refs.size(); i++) {
    const TensorRef &ref = problem.captures.refs[i];
    const std::vector<std::byte> &bytes = problem.captures.bytes[i];
    captured.push_back(std::make_unique<DeviceBuffer>(driver, bytes.data(), bytes.size()));
    CaptureArg arg{captured.back()->at(), {}, {}};
    std::copy(ref.sizes.begin(), ref.sizes.end(), arg.sizes);
    std::copy(ref.strides.begin(), ref.strides.end(), arg.strides);
    captureArgs.push_back(arg);
  }
  DeviceBuffer captures = onDevice(driver, captureArgs), scalars = onDevice(driver, problem.captures.scalars);
  DeviceBuffer offsets = onDevice(driver, problem.plan.offsets), runs = onDevice(driver, problem.plan.runs);
  DeviceBuffer status(driver, &problem.status, sizeof problem.status);

  KernelArgs args{};
  args.B = shape.B, args.Hq = shape.Hq, args.Hkv = shape.Hkv, args.M = shape.M, args.N = shape.N;
  args.scale = shape.scale != 0 ? shape.scale : 1 / std::sqrt(double(header.spec.D));
  args.q = problem.q.arg(q), args.k = problem.k.arg(k), args.v = problem.v.arg(v), args.out = problem.out.arg(out);
  args.lse = {lse.at(), {shape.Hq * shape.M, shape.M, 1, 0}};
  args.max = {max.at(), {shape.Hq * shape.M, shape.M, 1, 0}};
  args.captures = static_cast<const CaptureArg *>(captures.at());
  args.scalars = static_cast<const ScalarArg *>(scalars.at());
  if (shape.plan)
    args.plan = {static_cast<const std::int64_t *>(offsets.at()), static_cast<const RunArg *>(runs.at()), problem.plan.batchStride,
                 problem.plan.headStride};
  args.status = static_cast<std::int64_t *>(status.at());
  DeviceBuffer descales = onDevice(driver, problem.descales ? problem.descales->factors : std::vector<float>());
  if (problem.descales)
    args.qDescale = problem.descales->arg(descales, 0), args.kDescale = problem.descales->arg(descales, 1),
    args.vDescale = problem.descales->arg(descales, 2);

  const std::int64_t tileRows = header.spec.config.tileRows, tiles = shape.B * shape.Hq * ((shape.M + tileRows - 1) / tileRows);
  std::vector<void *> parameters{&args};
  std::optional<TensorMap> maps[3];
  std::uint32_t counts[2] = {};
  DeviceBuffer counters(driver, counts, sizeof counts);
  void *counterAddress = counters.at();
  std::int64_t blocks = tiles;
  if (header.qBoxRows) {
    maps[0] = tensorMap(driver, problem.q, args.q, header.qBoxRows);
    maps[1] = tensorMap(driver, problem.k, args.k, header.kvBoxRows);
    maps[2] = tensorMap(driver, problem.v, args.v, header.kvBoxRows);
    if (!maps[0] || !maps[1] || !maps[2]) {
      fmt::print("  the driver makes no tensor map\n");
      return false;
    }
    parameters.insert(parameters.end(), {&*maps[0], &*maps[1], &*maps[2], &counterAddress});
    blocks = std::min<std::int64_t>(blocks, driver.multiprocessors());
  }
  const int code = driver.launch(kernel, std::uint32_t(blocks), header.threadsPerBlock, header.sharedBytes, parameters);
  if (code == 0 && counters.copyTo(counts) && (counts[0] || counts[1])) {
    fmt::print("  the counters are not 0 again\n");
    return false;
  }
  if (code == 0 && out.copyTo(problem.out.bytes.data()) && lse.copyTo(problem.lse.data()) && max.copyTo(problem.max.data()) &&
      status.copyTo(&problem.status))
    return true;
  fmt::print("  launch failed: driver error {}\n", code);
  return false;
}

bool runShape(const CudaDriver &driver, void *kernel, const compiler::KernelHeader &header, const Shape &shape) {
  const compiler::KernelSpec &spec = header.spec;
  if (header.qBoxRows && !isAligned(spec, shape))
    return true; // a launcher would take a kernel of the other schedule
  Problem problem(spec, shape, std::mt19937(42));
  const std::vector<std::byte> before = problem.out.bytes;
  if (!launch(driver, kernel, header, shape, problem))
    return false;

  Errors out, plain, lse, max;
  for (std::int64_t row = 0; row < shape.B * shape.Hq * shape.M; row++) {
    const std::int64_t b = row / (shape.Hq * shape.M), h = row / shape.M % shape.Hq, i = row % shape.M;
    for (std::int64_t col = 0; col < spec.Dv; col++) {
      const std::int64_t offset = problem.out.offset(b, h, i, col);
      const double exact = problem.exact.out[row * spec.Dv + col];
      out.add(reference::loadFloat(problem.out.bytes.data(), spec.outType, offset), exact);
      plain.add(problem.plain.out[row * spec.Dv + col], exact);
      // Back to what it was, so that what remains changed was written outside.
      std::memcpy(problem.out.bytes.data() + offset * sizeInBytes(spec.outType), before.data() + offset * sizeInBytes(spec.outType),
                  sizeInBytes(spec.outType));
    }
    lse.add(problem.lse[row], problem.exact.lse[row]);
    max.add(problem.max[row], problem.exact.max[row]);
  }
  // A plain implementation makes the same two roundings (P and O); 10 % is for the order of sums. After an index out of range only its
  // report is specified.
  const bool outOfRange = problem.exact.status != kStatusOk, reported = problem.status == problem.exact.status;
  const bool accurate = out.mean() <= 1.1 * plain.mean() + 1e-9 && out.max < 0.1 && lse.max < 1e-4 && max.max < 1e-4;
  const bool inside = problem.out.bytes == before, good = (outOfRange || accurate) && reported && inside;
  fmt::print("  B{} Hq{} Hkv{} M{} N{} pad{} lead{}{}: out mean {:.3g} (plain {:.3g}) max {:.3g}, lse {:.2g}, max {:.2g}{}{}{}\n", shape.B, shape.Hq,
             shape.Hkv, shape.M, shape.N, shape.rowPadding, shape.lead, shape.plan ? " plan" : "", out.mean(), plain.mean(), out.max, lse.max,
             max.max, !reported ? ", STATUS DIFFERS" : outOfRange ? ", reports as it should" : "", inside ? "" : ", WROTE OUTSIDE",
             good ? "" : "  <-- WRONG");
  return good;
}

} // namespace

/// The arguments, a folder standing for the .ptx files in it.
static std::vector<std::string> kernelPaths(int argc, char **argv) {
  std::vector<std::string> paths;
  for (int i = 1; i < argc; i++) {
    std::error_code notAFolder;
    std::filesystem::directory_iterator entries(argv[i], notAFolder);
    if (notAFolder)
      paths.push_back(argv[i]);
    else
      for (const auto &entry : entries)
        if (entry.path().extension() == ".ptx")
          paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fmt::print("usage: {} FOLDER | KERNEL.ptx ...   (from GpuKernels, or attnjit-dump --target sm_80 --emit ptx)\n", argv[0]);
    return 1;
  }
  std::string why;
  std::optional<CudaDriver> driver = CudaDriver::open(why);
  if (!driver) {
    fmt::print("skipped: {}\n", why);
    return 77;
  }
  fmt::print("{}\n", driver->deviceName());
  bool good = true;
  for (const std::string &path : kernelPaths(argc, argv)) {
    fmt::print("{}\n", path);
    std::optional<Kernel> loaded = readKernel(path.c_str());
    std::string error;
    std::optional<void *> kernel;
    if (loaded)
      kernel = driver->loadKernel(loaded->ptx, compiler::kEntryName.data(), loaded->header.sharedBytes, error);
    if (!kernel) {
      fmt::print("  cannot be loaded: {}\n", error);
      good = false;
      continue;
    }
    for (const Shape &shape : kShapes)
      good &= runShape(*driver, *kernel, loaded->header, shape);
  }
  return good ? 0 : 1;
}
