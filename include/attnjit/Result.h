// A value or an Error: how every fallible call of attnjit answers. Nothing in the library throws, exits or prints.
#pragma once

#include <cassert>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace attnjit::inline v0 {

/// What kind of thing went wrong; tools map these to exit status 1 (user) and 2 (internal).
enum class ErrorCode {
  InvalidFormula,  ///< The text of a score_mod or mask_mod is not a legal formula; the message carries a caret.
  InvalidArgument, ///< A shape, dtype, stride, capture or option is wrong; the message names it.
  NoBackend,       ///< No allowed backend accepts the problem; the message lists every reason.
  IndexOutOfRange, ///< A captured tensor was indexed outside its extents while the kernel ran (A10).
  Io,              ///< A file could not be read or written.
  Unsupported,     ///< A legal request which this build or machine cannot serve (no compiler, no GPU ...).
  Internal,        ///< A bug of attnjit; the message names a reproducer where one could be written.
};

/// The stable name of a code: "invalid-formula", "no-backend" ...
const char *name(ErrorCode code);

/// Where in a text of the user's an error begins.
struct ErrorPlace {
  std::string text;                 ///< "score_mod", "mask_mod", "prob_mod" or the module's name
  std::size_t line = 0, column = 0; ///< from 1; columns count characters, not bytes
};

/// One error, ready to be shown: `message` may span several lines (source excerpt with caret, list of reasons).
struct Error {
  ErrorCode code = ErrorCode::Internal;
  std::string message;
  std::optional<ErrorPlace> place = {}; ///< for editors; the message says it, too
  bool isUserError() const { return code != ErrorCode::Internal; }
};

/// Either a T or an Error. Test with `if (result)`, read with `*result`, and pass failures on with
/// `return result.error();`.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : storage(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : storage(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return storage.index() == 0; }
  T &operator*() & {
    assert(*this);
    return std::get<0>(storage);
  }
  const T &operator*() const & {
    assert(*this);
    return std::get<0>(storage);
  }
  T &&operator*() && {
    assert(*this);
    return std::move(std::get<0>(storage));
  }
  T *operator->() { return &**this; }
  const T *operator->() const { return &**this; }
  const Error &error() const {
    assert(!*this);
    return std::get<1>(storage);
  }

private:
  std::variant<T, Error> storage;
};

/// Success, or an Error.
template <> class [[nodiscard]] Result<void> {
public:
  Result() = default;
  Result(Error error) : failure(std::move(error)), failed(true) {}
  explicit operator bool() const { return !failed; }
  const Error &error() const {
    assert(failed);
    return failure;
  }

private:
  Error failure;
  bool failed = false;
};

} // namespace attnjit::inline v0
