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
#include <cstdio>
#include <cstring>
#include <filesystem>
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
};

constexpr Shape kShapes[] = {
    {1, 1, 1, 64, 64},          {2, 4, 2, 200, 333},           {1, 3, 1, 130, 257, 8, 8},      {1, 2, 2, 129, 65, 3, 1},
    {2, 2, 1, 77, 190, 0, 0, true}, {1, 2, 1, 1, 1},            {1, 2, 2, 50, 0},               {1, 8, 2, 1, 1000},
    {1, 6, 3, 300, 300, 0, 0, true}, {1, 2, 2, 1024, 1024},
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
    std::printf("%s: %s\n", path, header.error().message.c_str());
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

bool runShape(const CudaDriver &driver, void *kernel, const compiler::KernelHeader &header, const Shape &shape) {
  const compiler::KernelSpec &spec = header.spec;
  std::mt19937 random(42);
  HostOperand q(spec.qType, shape.B, shape.Hq, shape.M, spec.D, shape.rowPadding, shape.lead);
  HostOperand k(spec.kvType, shape.B, shape.Hkv, shape.N, spec.D, shape.rowPadding, shape.lead);
  HostOperand v(spec.kvType, shape.B, shape.Hkv, shape.N, spec.Dv, shape.rowPadding, shape.lead);
  HostOperand out(spec.outType, shape.B, shape.Hq, shape.M, spec.Dv, shape.rowPadding, shape.lead);
  q.fill(random, 1.5f), k.fill(random, 1.5f), v.fill(random, 1.0f);
  Captures captures(spec.formula, shape, random);

  reference::Call call;
  call.formula = &spec.formula;
  call.bindings = {captures.refs, captures.scalars};
  call.q = q.ref(), call.k = k.ref(), call.v = v.ref();
  call.threads = 8;
  const reference::Output exact = reference::forwardF64(call), plain = reference::forwardPlain(call);

  DeviceBuffer dq(driver, q.bytes.data(), q.bytes.size()), dk(driver, k.bytes.data(), k.bytes.size()), dv(driver, v.bytes.data(), v.bytes.size());
  DeviceBuffer dout(driver, out.bytes.data(), out.bytes.size());
  const std::int64_t rows = shape.B * shape.Hq * shape.M;
  std::vector<float> lse(rows, 777), max(rows, 777);
  DeviceBuffer dlse(driver, lse.data(), rows * 4), dmax(driver, max.data(), rows * 4);
  std::vector<std::unique_ptr<DeviceBuffer>> captured;
  std::vector<CaptureArg> captureArgs;
  for (std::size_t i = 0; i < captures.refs.size(); i++) {
    captured.push_back(std::make_unique<DeviceBuffer>(driver, captures.bytes[i].data(), captures.bytes[i].size()));
    CaptureArg arg{captured.back()->at(), {}, {}};
    std::copy(captures.refs[i].sizes.begin(), captures.refs[i].sizes.end(), arg.sizes);
    std::copy(captures.refs[i].strides.begin(), captures.refs[i].strides.end(), arg.strides);
    captureArgs.push_back(arg);
  }
  DeviceBuffer dcaptures(driver, captureArgs.data(), captureArgs.size() * sizeof(CaptureArg));
  DeviceBuffer dscalars(driver, captures.scalars.data(), captures.scalars.size() * sizeof(ScalarArg));
  std::int64_t status = kStatusOk;
  DeviceBuffer dstatus(driver, &status, sizeof status);

  plan::Plan plan;
  if (shape.plan)
    plan = plan::buildPlan(spec.formula, call.bindings, {shape.B, shape.Hq, shape.M, shape.N, spec.config.tileRows, spec.config.tileCols});
  DeviceBuffer doffsets(driver, plan.offsets.data(), plan.offsets.size() * sizeof(std::int64_t));
  DeviceBuffer druns(driver, plan.runs.data(), plan.runs.size() * sizeof(RunArg));

  KernelArgs args{};
  args.B = shape.B, args.Hq = shape.Hq, args.Hkv = shape.Hkv, args.M = shape.M, args.N = shape.N;
  args.scale = 1 / std::sqrt(double(spec.D));
  args.q = q.arg(dq), args.k = k.arg(dk), args.v = v.arg(dv), args.out = out.arg(dout);
  args.lse = {dlse.at(), {shape.Hq * shape.M, shape.M, 1, 0}};
  args.max = {dmax.at(), {shape.Hq * shape.M, shape.M, 1, 0}};
  args.captures = static_cast<const CaptureArg *>(dcaptures.at());
  args.scalars = static_cast<const ScalarArg *>(dscalars.at());
  if (shape.plan)
    args.plan = {static_cast<const std::int64_t *>(doffsets.at()), static_cast<const RunArg *>(druns.at()), plan.batchStride, plan.headStride};
  args.status = static_cast<std::int64_t *>(dstatus.at());

  const std::int64_t tiles = shape.B * shape.Hq * ((shape.M + spec.config.tileRows - 1) / spec.config.tileRows);
  const int code = tiles ? driver.launch(kernel, std::uint32_t(tiles), header.threadsPerBlock, header.sharedBytes, &args) : 0;
  std::vector<std::byte> untouched = out.bytes;
  if (code != 0 || !dout.copyTo(out.bytes.data()) || !dlse.copyTo(lse.data()) || !dmax.copyTo(max.data()) || !dstatus.copyTo(&status)) {
    std::printf("  launch failed: driver error %d\n", code);
    return false;
  }

  Errors outError, plainError, lseError, maxError;
  for (std::int64_t row = 0; row < rows; row++) {
    const std::int64_t b = row / (shape.Hq * shape.M), h = row / shape.M % shape.Hq, i = row % shape.M;
    for (std::int64_t col = 0; col < spec.Dv; col++) {
      outError.add(reference::loadFloat(out.bytes.data(), spec.outType, out.offset(b, h, i, col)), exact.out[row * spec.Dv + col]);
      plainError.add(plain.out[row * spec.Dv + col], exact.out[row * spec.Dv + col]);
      std::memset(out.bytes.data() + out.offset(b, h, i, col) * sizeInBytes(spec.outType), 0xff, sizeInBytes(spec.outType));
    }
    lseError.add(lse[row], exact.lse[row]);
    maxError.add(max[row], exact.max[row]);
  }
  // A plain implementation makes the same two roundings (P and O); 10 % is for the order of sums. After an index out of range only its report is specified.
  const bool failed = exact.status != kStatusOk;
  const bool accurate = outError.mean() <= 1.1 * plainError.mean() + 1e-9 && outError.max < 0.1 && lseError.max < 1e-4 && maxError.max < 1e-4;
  const bool good = (failed || accurate) && status == exact.status && out.bytes == untouched;
  std::printf("  B%lld Hq%lld Hkv%lld M%lld N%lld pad%lld lead%lld%s: out mean %.3g (plain %.3g) max %.3g, lse %.2g, max %.2g%s%s%s\n", (long long)shape.B,
              (long long)shape.Hq, (long long)shape.Hkv, (long long)shape.M, (long long)shape.N, (long long)shape.rowPadding, (long long)shape.lead,
              shape.plan ? " plan" : "", outError.mean(), plainError.mean(), outError.max, lseError.max, maxError.max,
              status != exact.status ? ", STATUS DIFFERS" : failed ? ", reports as it should" : "", out.bytes == untouched ? "" : ", WROTE OUTSIDE", good ? "" : "  <-- WRONG");
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
    std::printf("usage: %s FOLDER | KERNEL.ptx ...   (from GpuKernels, or attnjit-dump --target sm_80 --emit ptx)\n", argv[0]);
    return 1;
  }
  std::string why;
  std::optional<CudaDriver> driver = CudaDriver::open(why);
  if (!driver) {
    std::printf("skipped: %s\n", why.c_str());
    return 77;
  }
  std::printf("%s\n", driver->deviceName().c_str());
  bool good = true;
  for (const std::string &path : kernelPaths(argc, argv)) {
    std::printf("%s\n", path.c_str());
    std::optional<Kernel> loaded = readKernel(path.c_str());
    std::string error;
    std::optional<void *> kernel;
    if (loaded)
      kernel = driver->loadKernel(loaded->ptx, compiler::kEntryName.data(), loaded->header.sharedBytes, error);
    if (!kernel) {
      std::printf("  cannot be loaded: %s\n", error.c_str());
      good = false;
      continue;
    }
    for (const Shape &shape : kShapes)
      good &= runShape(*driver, *kernel, loaded->header, shape);
  }
  return good ? 0 : 1;
}
