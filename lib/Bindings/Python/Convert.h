// What crosses between Python and attnjit: tensors, captures, options of a call, errors. The other files of this room only name the public
// interface.
#pragma once

#include "attnjit/attnjit.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attnjit::python {

namespace nb = nanobind;

/// A view of an array that Python owns, and keeps as long as the view lives: the array itself, or what it handed out by DLPack or the
/// buffer protocol.
struct View {
  TensorRef ref;
  nb::object array;
  nb::ndarray<nb::ro> exchanged;
  bool onGpu = false;
};

/// Makes attnjit.FormulaError; called once, when the module is loaded.
void defineErrors(nb::module_ &module);

/// Raises the Python exception for an error: of the type that PyTorch raises for the same mistake.
[[noreturn]] void raise(const Error &error);
[[noreturn]] void refuse(const std::string &message);

template <typename T> T take(Result<T> result) {
  if (!result)
    raise(result.error());
  return std::move(*result);
}
inline void take(const Result<void> &result) {
  if (!result)
    raise(result.error());
}

/// Calls `work` while other Python threads run. Its operands have to be C++ by then.
template <typename F> auto released(F &&work) {
  nb::gil_scoped_release release;
  return work();
}

DType toDType(std::string_view name);
std::vector<CaptureInfo> toCaptureInfos(nb::handle list);
nb::list fromCaptureInfos(const std::vector<CaptureInfo> &captures);

// One overload for each type of a field, so that the tables of options below read as a list of names. None leaves an optional field empty.
void assign(TensorRef &field, nb::handle value);
void assign(std::optional<TensorRef> &field, nb::handle value);
void assign(double &field, nb::handle value);
void assign(std::optional<double> &field, nb::handle value);
void assign(bool &field, nb::handle value);
void assign(int &field, nb::handle value);
void assign(std::uint64_t &field, nb::handle value);
void assign(std::int64_t &field, nb::handle value);
void assign(std::optional<std::int64_t> &field, nb::handle value);
void assign(void *&field, nb::handle value); ///< an address
void assign(Mod &field, nb::handle value);
void assign(std::vector<CaptureArgument> &field, nb::handle value); ///< [(name, Tensor | float | int | bool), ...]
void assign(std::vector<std::int64_t> &field, nb::handle value);
void assign(std::optional<BlockMask> &field, nb::handle value);
void assign(std::optional<BackendSet> &field, nb::handle value);  ///< (numbers of backends, ordered)
void assign(std::optional<Dropout> &field, nb::handle value);     ///< (p, seed, offset)
void assign(std::optional<PageTable> &field, nb::handle value);   ///< (table, keys)
void assign(std::optional<WhenMissing> &field, nb::handle value); ///< "wait" or "fallback"
void assign(TileOptions &field, nb::handle value);                ///< (rows, cols)
void assign(VarlenWindow &field, nb::handle value);               ///< (left, right)
void assign(AttnMask &field, nb::handle value);                   ///< Tensor or (variant, seq_len_q, seq_len_kv)

/// A keyword argument of a call and what it sets.
template <typename Call> struct Option {
  std::string_view name;
  void (*set)(Call &call, nb::handle value);
};

/// Sets every keyword argument. Error: TypeError for a name that is not in the table.
template <typename Call> void setOptions(Call &call, const nb::kwargs &given, std::span<const Option<Call>> table) {
  for (auto [key, value] : given) {
    const std::string_view name = nb::cast<std::string_view>(key);
    const auto option = std::find_if(table.begin(), table.end(), [&](const Option<Call> &row) { return row.name == name; });
    if (option == table.end())
      throw nb::type_error(("there is no option '" + std::string(name) + "'").c_str());
    option->set(call, value);
  }
}

/// An array of NumPy that owns `data`.
template <typename T, typename Sizes> nb::object toArray(std::vector<T> data, const Sizes &sizes) {
  auto *held = new std::vector<T>(std::move(data));
  nb::capsule owner(held, [](void *pointer) noexcept { delete static_cast<std::vector<T> *>(pointer); });
  std::vector<std::size_t> shape(sizes.begin(), sizes.end());
  return nb::cast(nb::ndarray<nb::numpy, T>(held->data(), shape.size(), shape.data(), owner));
}

void bindTensor(nb::module_ &module);
void bindMod(nb::module_ &module);
void bindBlockMask(nb::module_ &module);
nb::class_<Engine> bindEngine(nb::module_ &module);
void bindAttention(nb::module_ &module);
void bindFlashImpls(nb::module_ &module, nb::class_<Engine> &engine);

} // namespace attnjit::python
