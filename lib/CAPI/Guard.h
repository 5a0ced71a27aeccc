// The seam between C and C++: statuses from Results, handles from values, structs of any age into those of this library.
//
// Inside this room a refusal may travel as an exception, because a call has some twenty optional operands to convert; answer() is where all
// of them end.
#pragma once

#include "attnjit-c/base.h"
#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnjit::capi {

/// An error on its way to answer().
struct Refusal {
  Error error;
};

[[noreturn]] inline void refuse(std::string message) { throw Refusal{{ErrorCode::InvalidArgument, std::move(message)}}; }

/// The value, or the error on its way.
template <class T> T take(Result<T> result) {
  if (!result)
    throw Refusal{result.error()};
  return std::move(*result);
}
inline void take(const Result<void> &result) {
  if (!result)
    throw Refusal{result.error()};
}

/// The status of what is being caught, with the error for the caller if there is a place for it. Only in a catch block.
attnjit_status report(attnjit_error **error) noexcept;

/// Runs body(); whatever leaves it as an exception becomes the status.
template <class Body> attnjit_status answer(attnjit_error **error, Body &&body) noexcept {
  if (error)
    *error = nullptr;
  try {
    body();
    return ATTNJIT_OK;
  } catch (...) {
    return report(error);
  }
}

/// What a pointer that may not be NULL points to.
template <class T> T &need(T *pointer, const char *name) {
  if (!pointer)
    refuse(std::string(name) + " is NULL");
  return *pointer;
}

/// A counted handle.
template <class T> struct Handle {
  explicit Handle(T value) : value(std::move(value)) {}
  T value;
  std::atomic<std::int64_t> references{1};
};

template <class H> void retain(H *handle) noexcept {
  if (handle)
    handle->references.fetch_add(1, std::memory_order_relaxed);
}

template <class H> void release(H *handle) noexcept {
  if (handle && handle->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    delete handle;
}

/// Puts a new H of what make() answers into *place, which is NULL until then.
template <class H, class Make> void give(H **place, const char *name, Make &&make) {
  need(place, name) = nullptr;
  *place = new H(take(make()));
}

/// A copy of the caller's struct with zeros where it is shorter. Refused: a size that is none, and a longer one with fields set.
template <class T> T readSized(const T &given, const char *name) {
  static_assert(std::is_trivially_copyable_v<T> && offsetof(T, struct_size) == 0);
  std::size_t size;
  std::memcpy(&size, &given, sizeof size);
  if (size < sizeof size || size > 65536)
    refuse(std::string(name) + ": struct_size is " + std::to_string(size) + "; begin with the _INIT of the struct");
  const auto *bytes = reinterpret_cast<const unsigned char *>(&given);
  if (size > sizeof(T) && std::any_of(bytes + sizeof(T), bytes + size, [](unsigned char byte) { return byte != 0; }))
    throw Refusal{{ErrorCode::Unsupported, std::string(name) + ": a field is set that this library does not know yet; it is older than "
                                                               "the header that the program was compiled with"}};
  T read{};
  std::memcpy(&read, bytes, std::min(size, sizeof(T)));
  return read;
}

/// All defaults for NULL.
template <class T> T readOptional(const T *given, const char *name) { return given ? readSized(*given, name) : T{}; }

/// As much of `value` as the caller's struct has room for, zeros beyond.
template <class T> void writeSized(T *place, T value, const char *name) {
  const std::size_t size = readSized(need(place, name), name).struct_size;
  value.struct_size = size;
  auto *bytes = reinterpret_cast<unsigned char *>(place);
  std::memcpy(bytes, &value, std::min(size, sizeof(T)));
  if (size > sizeof(T))
    std::memset(bytes + sizeof(T), 0, size - sizeof(T));
}

/// "" for NULL.
inline std::string_view text(const char *given) { return given ? std::string_view(given) : std::string_view(); }

/// `count` elements; NULL is fine for none.
template <class T> std::span<const T> list(const T *elements, std::size_t count, const char *name) {
  if (count > 0)
    need(elements, name);
  return {elements, count};
}

/// Element `index`. Refused: past the last.
template <class T> const T &element(const std::vector<T> &elements, std::size_t index, const char *name) {
  if (index >= elements.size())
    refuse(std::string(name) + ": there is no number " + std::to_string(index) + "; there are " + std::to_string(elements.size()));
  return elements[index];
}

/// A copy for attnjit_free, with a zero behind it.
void *copyOf(const void *bytes, std::size_t size);
inline char *copyOf(std::string_view text) { return static_cast<char *>(copyOf(text.data(), text.size())); }

TensorRef toTensor(const attnjit_tensor &tensor, const char *name);
std::optional<TensorRef> toTensor(const attnjit_tensor *tensor, const char *name);
attnjit_tensor fromTensor(const TensorRef &tensor);

/// Refuses one that does not exist.
DType toDType(attnjit_dtype dtype, const char *name);

} // namespace attnjit::capi

/// A dense tensor with the memory behind it.
struct attnjit_array {
  std::vector<std::int32_t> ints;
  std::vector<std::uint8_t> bytes;
  attnjit_tensor tensor;
};
