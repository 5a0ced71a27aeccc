// The runtime's side of objects made ahead of time: NAME_args becomes a ForwardCall of the kernel that serves this machine.
#include "Aot/AotArguments.h"
#include "Engine/KernelImpl.h"
#include "attnjit/Kernel.h"

#include <atomic>
#include <cstring>
#include <exception>
#include <fmt/format.h>
#include <memory>
#include <mutex>
#include <vector>

namespace attnjit::aot {

namespace {

thread_local std::string lastError;
/// Of this thread's last call: what the end of its launches will tell.
thread_local std::vector<Launch> lastLaunches;

/// What Artefact::loaded points to.
struct Loaded {
  Kernel kernel;
  AotArguments arguments;
};

std::mutex loadMutex;

Result<const Loaded *> load(Artefact &artefact) {
  std::atomic_ref<void *> slot(artefact.loaded);
  if (void *loaded = slot.load(std::memory_order_acquire))
    return static_cast<const Loaded *>(loaded);
  if (artefact.version != kAotVersion)
    return Error{
        ErrorCode::Unsupported,
        fmt::format("the program was made ahead of time for version {} of libattnjit's interface, this library has {}; make it again",
                    artefact.version, kAotVersion)};
  std::lock_guard lock(loadMutex);
  if (void *loaded = slot.load(std::memory_order_acquire))
    return static_cast<const Loaded *>(loaded);
  Result<Kernel> kernel = Kernel::fromBytes({static_cast<const std::byte *>(artefact.images), artefact.imagesBytes});
  if (!kernel)
    return kernel.error();
  AotArguments arguments = argumentsOf(kernel->mod(), AotKind::Runtime);
  auto loaded = std::make_unique<Loaded>(Loaded{std::move(*kernel), std::move(arguments)});
  slot.store(loaded.get(), std::memory_order_release);
  return loaded.release();
}

TensorRef viewOf(const OperandArg &operand, DType dtype, std::initializer_list<std::int64_t> sizes) {
  TensorRef view;
  view.data = operand.data;
  view.dtype = dtype;
  for (const std::int64_t size : sizes) {
    view.strides[static_cast<std::size_t>(view.rank)] = operand.strides[view.rank];
    view.sizes[static_cast<std::size_t>(view.rank++)] = size;
  }
  return view;
}

TensorRef viewOf(const CaptureArg &capture, const CaptureInfo &info) {
  TensorRef view;
  view.data = const_cast<void *>(capture.data);
  view.dtype = info.dtype;
  view.rank = info.rank;
  for (int dim = 0; dim < info.rank; ++dim) {
    view.sizes[static_cast<std::size_t>(dim)] = capture.sizes[dim];
    view.strides[static_cast<std::size_t>(dim)] = capture.strides[dim];
  }
  return view;
}

std::optional<TensorRef> factors(const DescaleArg &descale, std::int64_t B, std::int64_t Hkv) {
  if (!descale.data)
    return std::nullopt;
  TensorRef view = TensorRef::dense(const_cast<float *>(descale.data), DType::F32, {B, Hkv});
  view.strides[0] = descale.strides[0];
  view.strides[1] = descale.strides[1];
  return view;
}

CaptureValue numberOf(const ScalarArg &number, const CaptureInfo &info) {
  if (info.dtype == DType::F64)
    return number.f;
  if (info.dtype == DType::Bool)
    return number.i != 0;
  return number.i;
}

template <typename T> T read(const void *args, std::size_t offset) {
  T value;
  std::memcpy(&value, static_cast<const std::byte *>(args) + offset, sizeof value);
  return value;
}

ForwardCall callOf(const Loaded &loaded, const void *args) {
  const CallArgs given = read<CallArgs>(args, 0);
  const ImageMetadata &meta = loaded.kernel.impl().meta;
  const DType statistics = meta.qType == DType::F64 ? DType::F64 : DType::F32;
  ForwardCall call;
  call.mod = loaded.kernel.mod();
  call.q = viewOf(given.q, meta.qType, {given.B, given.Hq, given.M, meta.D});
  call.k = viewOf(given.k, meta.kvType, {given.B, given.Hkv, given.N, meta.D});
  call.v = viewOf(given.v, meta.kvType, {given.B, given.Hkv, given.N, meta.Dv});
  call.out = viewOf(given.out, meta.outType, {given.B, given.Hq, given.M, meta.Dv});
  if (given.lse.data)
    call.lse = viewOf(given.lse, statistics, {given.B, given.Hq, given.M});
  if (given.max.data)
    call.max = viewOf(given.max, statistics, {given.B, given.Hq, given.M});
  if (meta.sinks) {
    call.sinks = viewOf(given.sinks, *meta.sinks, {given.Hq});
    call.sinks->strides[0] = given.sinks.strides[1]; // of heads, as KernelArgs has it
  }
  if (given.scale != 0)
    call.scale = given.scale;
  call.qDescale = factors(given.qDescale, given.B, given.Hkv);
  call.kDescale = factors(given.kDescale, given.B, given.Hkv);
  call.vDescale = factors(given.vDescale, given.B, given.Hkv);
  for (const Field &field : loaded.arguments.tensors)
    call.captures.push_back({field.info.name, viewOf(read<CaptureArg>(args, field.offset), field.info)});
  for (const Field &field : loaded.arguments.numbers)
    call.captures.push_back({field.info.name, numberOf(read<ScalarArg>(args, field.offset), field.info)});
  call.threads = static_cast<int>(given.threads);
  call.stream = given.stream;
  return call;
}

Status statusOf(ErrorCode code) {
  switch (code) {
  case ErrorCode::IndexOutOfRange:
    return kIndexOutOfRange;
  case ErrorCode::InvalidArgument:
    return kBadArguments;
  case ErrorCode::Unsupported:
    return kNoTarget;
  default:
    return kFailed;
  }
}

int fail(const Error &error) {
  lastError = error.message;
  return statusOf(error.code);
}

int run(Artefact &artefact, const void *args) {
  lastError.clear();
  lastLaunches.clear();
  const Result<const Loaded *> loaded = load(artefact);
  if (!loaded)
    return fail(loaded.error());
  Result<ForwardReport> report = (*loaded)->kernel.forward(callOf(**loaded, args));
  if (!report)
    return fail(report.error());
  lastLaunches = std::move(report->launches);
  return kOk;
}

int status() {
  lastError.clear();
  for (const Launch &launch : lastLaunches)
    if (const Result<void> status = launch.status(); !status)
      return fail(status.error());
  return kOk;
}

} // namespace

} // namespace attnjit::aot

using namespace attnjit::aot;

int attnjit_aot_run(Artefact *artefact, const void *args) {
  try {
    return run(*artefact, args);
  } catch (const std::exception &exception) { // out of memory
    return fail({attnjit::ErrorCode::Internal, exception.what()});
  }
}

int attnjit_aot_status() {
  try {
    return status();
  } catch (const std::exception &exception) {
    return fail({attnjit::ErrorCode::Internal, exception.what()});
  }
}

const char *attnjit_aot_error() { return lastError.c_str(); }

const char *attnjit_aot_target(Artefact *artefact) {
  try {
    lastError.clear();
    const attnjit::Result<const Loaded *> loaded = load(*artefact);
    if (loaded)
      return (*loaded)->kernel.impl().meta.cpu.c_str();
    (void)fail(loaded.error());
  } catch (const std::exception &exception) {
    lastError = exception.what();
  }
  return nullptr;
}

void attnjit_aot_release(Artefact *artefact) {
  std::atomic_ref<void *> slot(artefact->loaded);
  delete static_cast<const Loaded *>(slot.exchange(nullptr, std::memory_order_acq_rel));
}
