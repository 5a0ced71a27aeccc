#include "CAPI/Handles.h"
#include "attnjit/Version.h"

#include <cstdlib>
#include <new>

using namespace attnjit;
using namespace attnjit::capi;

struct attnjit_error {
  Error error;
};

namespace {

attnjit_status statusOf(ErrorCode code) { return static_cast<attnjit_status>(code) + 1; }
static_assert(static_cast<int>(ErrorCode::InvalidFormula) + 1 == ATTNJIT_INVALID_FORMULA);
static_assert(static_cast<int>(ErrorCode::InvalidArgument) + 1 == ATTNJIT_INVALID_ARGUMENT);
static_assert(static_cast<int>(ErrorCode::NoBackend) + 1 == ATTNJIT_NO_BACKEND);
static_assert(static_cast<int>(ErrorCode::IndexOutOfRange) + 1 == ATTNJIT_INDEX_OUT_OF_RANGE);
static_assert(static_cast<int>(ErrorCode::Io) + 1 == ATTNJIT_IO);
static_assert(static_cast<int>(ErrorCode::Unsupported) + 1 == ATTNJIT_UNSUPPORTED);
static_assert(static_cast<int>(ErrorCode::Internal) + 1 == ATTNJIT_INTERNAL);

static_assert(static_cast<int>(DType::F64) == ATTNJIT_F64 && static_cast<int>(DType::F32) == ATTNJIT_F32 &&
              static_cast<int>(DType::BF16) == ATTNJIT_BF16 && static_cast<int>(DType::F16) == ATTNJIT_F16 &&
              static_cast<int>(DType::F8E4M3) == ATTNJIT_F8E4M3 && static_cast<int>(DType::F8E5M2) == ATTNJIT_F8E5M2 &&
              static_cast<int>(DType::Bool) == ATTNJIT_BOOL && static_cast<int>(DType::I8) == ATTNJIT_I8 &&
              static_cast<int>(DType::U8) == ATTNJIT_U8 && static_cast<int>(DType::I16) == ATTNJIT_I16 &&
              static_cast<int>(DType::I32) == ATTNJIT_I32 && static_cast<int>(DType::I64) == ATTNJIT_I64);
static_assert(static_cast<int>(SDPBackend::Error) == ATTNJIT_BACKEND_ERROR && static_cast<int>(SDPBackend::Math) == ATTNJIT_BACKEND_MATH &&
              static_cast<int>(SDPBackend::FlashAttention) == ATTNJIT_BACKEND_FLASH_ATTENTION &&
              static_cast<int>(SDPBackend::EfficientAttention) == ATTNJIT_BACKEND_EFFICIENT_ATTENTION &&
              static_cast<int>(SDPBackend::CudnnAttention) == ATTNJIT_BACKEND_CUDNN_ATTENTION &&
              static_cast<int>(SDPBackend::Overrideable) == ATTNJIT_BACKEND_OVERRIDEABLE);
static_assert(kMaxRank == ATTNJIT_MAX_RANK && kMaxHeadDim == ATTNJIT_MAX_HEAD_DIM);

bool isDType(attnjit_dtype dtype) { return dtype >= ATTNJIT_F64 && dtype <= ATTNJIT_I64; }
bool isBackend(attnjit_backend backend) { return backend >= ATTNJIT_BACKEND_ERROR && backend <= ATTNJIT_BACKEND_OVERRIDEABLE; }

/// There is no memory to say that there is no memory.
attnjit_error &outOfMemory() noexcept {
  static attnjit_error error{{ErrorCode::Unsupported, "out of memory"}}; // short: no allocation
  return error;
}

Error caught() {
  try {
    throw;
  } catch (Refusal &refusal) {
    return std::move(refusal.error);
  } catch (const std::bad_alloc &) {
    throw;
  } catch (const std::exception &exception) {
    return {ErrorCode::Internal, std::string("unexpected exception: ") + exception.what()};
  } catch (...) {
    return {ErrorCode::Internal, "unexpected exception of an unknown type"};
  }
}

/// The sets that this thread pushed, innermost last.
std::vector<std::unique_ptr<SdpaKernelScope>> &pushed() {
  thread_local std::vector<std::unique_ptr<SdpaKernelScope>> scopes;
  return scopes;
}

} // namespace

namespace attnjit::capi {

attnjit_status report(attnjit_error **error) noexcept {
  try {
    Error what = caught();
    const attnjit_status status = statusOf(what.code);
    if (error)
      *error = new attnjit_error{std::move(what)};
    return status;
  } catch (...) {
    if (error)
      *error = &outOfMemory();
    return ATTNJIT_UNSUPPORTED;
  }
}

void *copyOf(const void *bytes, std::size_t size) {
  auto *copy = static_cast<char *>(std::malloc(size + 1));
  if (!copy)
    throw std::bad_alloc();
  if (size > 0)
    std::memcpy(copy, bytes, size);
  copy[size] = 0;
  return copy;
}

DType toDType(attnjit_dtype dtype, const char *name) {
  if (!isDType(dtype))
    refuse(std::string(name) + ": there is no dtype " + std::to_string(dtype));
  return static_cast<DType>(dtype);
}

TensorRef toTensor(const attnjit_tensor &tensor, const char *name) {
  if (tensor.rank < 0 || tensor.rank > kMaxRank)
    refuse(std::string(name) + ": rank " + std::to_string(tensor.rank) + " is not one of 0 to " + std::to_string(kMaxRank));
  TensorRef ref{tensor.data, toDType(tensor.dtype, name), tensor.rank, {}, {}};
  std::copy_n(tensor.sizes, kMaxRank, ref.sizes.begin());
  std::copy_n(tensor.strides, kMaxRank, ref.strides.begin());
  return ref;
}

std::optional<TensorRef> toTensor(const attnjit_tensor *tensor, const char *name) {
  return tensor ? std::optional(toTensor(*tensor, name)) : std::nullopt;
}

attnjit_tensor fromTensor(const TensorRef &tensor) {
  attnjit_tensor made{tensor.data, static_cast<attnjit_dtype>(tensor.dtype), tensor.rank, {}, {}};
  std::copy_n(tensor.sizes.begin(), kMaxRank, made.sizes);
  std::copy_n(tensor.strides.begin(), kMaxRank, made.strides);
  return made;
}

BackendSet toBackends(const attnjit_backend_set &set) {
  std::vector<SDPBackend> backends;
  for (const attnjit_backend backend : list(set.backends, set.count, "backends")) {
    if (!isBackend(backend))
      refuse("backends: there is no backend " + std::to_string(backend));
    backends.push_back(static_cast<SDPBackend>(backend));
  }
  return BackendSet(std::move(backends), set.set_priority != 0);
}

} // namespace attnjit::capi

uint32_t attnjit_abi_version() { return ATTNJIT_ABI_VERSION; }
const char *attnjit_version() { return ATTNJIT_VERSION_STRING; }

const char *attnjit_status_name(attnjit_status status) {
  if (status == ATTNJIT_OK)
    return "ok";
  return status > ATTNJIT_OK && status <= ATTNJIT_INTERNAL ? name(static_cast<ErrorCode>(status - 1)) : "unknown";
}

attnjit_status attnjit_error_status(const attnjit_error *error) { return error ? statusOf(error->error.code) : ATTNJIT_OK; }
const char *attnjit_error_message(const attnjit_error *error) { return error ? error->error.message.c_str() : ""; }

int attnjit_error_place(const attnjit_error *error, const char **text, size_t *line, size_t *column) {
  if (!error || !error->error.place)
    return 0;
  const ErrorPlace &place = *error->error.place;
  if (text)
    *text = place.text.c_str();
  if (line)
    *line = place.line;
  if (column)
    *column = place.column;
  return 1;
}

void attnjit_error_destroy(attnjit_error *error) {
  if (error != &outOfMemory())
    delete error;
}

void attnjit_free(void *memory) { std::free(memory); }

size_t attnjit_dtype_size(attnjit_dtype dtype) { return isDType(dtype) ? sizeInBytes(static_cast<DType>(dtype)) : 0; }
const char *attnjit_dtype_name(attnjit_dtype dtype) { return isDType(dtype) ? name(static_cast<DType>(dtype)).data() : "unknown"; }

attnjit_status attnjit_dtype_parse(const char *name, attnjit_dtype *dtype, attnjit_error **error) {
  return answer(error, [&] {
    const std::optional<DType> parsed = parseDType(text(name));
    if (!parsed)
      refuse("'" + std::string(text(name)) + "' is no dtype; there are f64, f32, bf16, f16, f8e4m3fn, f8e5m2, bool, i8, u8, i16, i32, i64");
    need(dtype, "dtype") = static_cast<attnjit_dtype>(*parsed);
  });
}

attnjit_tensor attnjit_tensor_dense(void *data, attnjit_dtype dtype, int32_t rank, const int64_t *sizes) {
  attnjit_tensor tensor{data, dtype, rank, {}, {}};
  if (rank < 0 || rank > ATTNJIT_MAX_RANK || (rank > 0 && !sizes))
    return tensor;
  int64_t stride = 1;
  for (int32_t dim = rank - 1; dim >= 0; --dim) {
    tensor.sizes[dim] = sizes[dim];
    tensor.strides[dim] = stride;
    if (__builtin_mul_overflow(stride, sizes[dim], &stride))
      stride = INT64_MAX;
  }
  return tensor;
}

attnjit_tensor attnjit_array_tensor(const attnjit_array *array) { return array ? array->tensor : attnjit_tensor{}; }
void attnjit_array_destroy(attnjit_array *array) { delete array; }

const char *attnjit_backend_name(attnjit_backend backend) {
  return isBackend(backend) ? name(static_cast<SDPBackend>(backend)).data() : "unknown";
}

attnjit_status attnjit_backend_parse(const char *name, attnjit_backend *backend, attnjit_error **error) {
  return answer(error, [&] {
    const std::optional<SDPBackend> parsed = parseSDPBackend(text(name));
    if (!parsed)
      refuse("'" + std::string(text(name)) + "' is no backend; there are flash, efficient, cudnn, overrideable, math");
    need(backend, "backend") = static_cast<attnjit_backend>(*parsed);
  });
}

attnjit_status attnjit_sdpa_kernel_push(const attnjit_backend_set *backends, attnjit_error **error) {
  return answer(error, [&] { pushed().push_back(std::make_unique<SdpaKernelScope>(toBackends(need(backends, "backends")))); });
}

attnjit_status attnjit_sdpa_kernel_pop(attnjit_error **error) {
  return answer(error, [&] {
    if (pushed().empty())
      refuse("attnjit_sdpa_kernel_pop: this thread has pushed nothing, or popped it already");
    pushed().pop_back();
  });
}
