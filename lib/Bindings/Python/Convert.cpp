#include "Bindings/Python/Convert.h"

namespace attnjit::python {

namespace {

PyObject *formulaError = nullptr;

constexpr const char *kFormulaErrorDoc = "The text of a score_mod, mask_mod or prob_mod is not a legal formula. The message shows the line "
                                         "with a caret; `text`, `line` and `column` say where.";

PyObject *typeOf(ErrorCode code) {
  switch (code) {
  case ErrorCode::InvalidFormula:
    return formulaError;
  case ErrorCode::InvalidArgument:
    return PyExc_ValueError;
  case ErrorCode::NoBackend:
    return PyExc_RuntimeError;
  case ErrorCode::IndexOutOfRange:
    return PyExc_IndexError;
  case ErrorCode::Io:
    return PyExc_OSError;
  case ErrorCode::Unsupported:
    return PyExc_NotImplementedError;
  case ErrorCode::Internal:
    return PyExc_RuntimeError;
  }
  return PyExc_RuntimeError;
}

/// The element that tuples of options have at `index`.
nb::object part(nb::handle tuple, std::size_t index) { return nb::borrow(tuple[index]); }

} // namespace

void defineErrors(nb::module_ &module) {
  formulaError = PyErr_NewExceptionWithDoc("attnjit.FormulaError", kFormulaErrorDoc, PyExc_ValueError, nullptr);
  if (!formulaError)
    throw nb::python_error();
  module.attr("FormulaError") = nb::handle(formulaError);
}

void raise(const Error &error) {
  nb::object exception = nb::handle(typeOf(error.code))(error.message);
  if (error.code == ErrorCode::InvalidFormula) {
    exception.attr("text") = error.place ? nb::cast(error.place->text) : nb::none();
    exception.attr("line") = error.place ? nb::cast(error.place->line) : nb::none();
    exception.attr("column") = error.place ? nb::cast(error.place->column) : nb::none();
  }
  PyErr_SetObject(exception.type().ptr(), exception.ptr());
  throw nb::python_error();
}

void refuse(const std::string &message) { raise({ErrorCode::InvalidArgument, message}); }

DType toDType(std::string_view name) {
  if (const std::optional<DType> dtype = parseDType(name))
    return *dtype;
  throw nb::type_error(("dtype " + std::string(name) +
                        " is none of attnjit's; float64, float32, bfloat16, float16, float8_e4m3fn, float8_e5m2, bool, int8, uint8, int16, "
                        "int32 and int64 are")
                           .c_str());
}

std::vector<CaptureInfo> toCaptureInfos(nb::handle list) {
  std::vector<CaptureInfo> captures;
  for (nb::handle entry : list)
    captures.push_back(
        {nb::cast<std::string>(part(entry, 0)), toDType(nb::cast<std::string_view>(part(entry, 1))), nb::cast<int>(part(entry, 2))});
  return captures;
}

nb::list fromCaptureInfos(const std::vector<CaptureInfo> &captures) {
  nb::list list;
  for (const CaptureInfo &capture : captures)
    list.append(nb::make_tuple(capture.name, name(capture.dtype), capture.rank));
  return list;
}

void assign(TensorRef &field, nb::handle value) { field = nb::cast<const View &>(value).ref; }
void assign(double &field, nb::handle value) { field = nb::cast<double>(value); }
void assign(bool &field, nb::handle value) { field = nb::cast<bool>(value); }
void assign(int &field, nb::handle value) { field = nb::cast<int>(value); }
void assign(std::int64_t &field, nb::handle value) { field = nb::cast<std::int64_t>(value); }
void assign(std::uint64_t &field, nb::handle value) { field = nb::cast<std::uint64_t>(value); }
void assign(void *&field, nb::handle value) {
  field = PyLong_AsVoidPtr(value.ptr());
  if (PyErr_Occurred())
    throw nb::python_error();
}
void assign(Mod &field, nb::handle value) { field = nb::cast<const Mod &>(value); }

void assign(std::optional<TensorRef> &field, nb::handle value) {
  field.reset();
  if (!value.is_none())
    assign(field.emplace(), value);
}

void assign(std::optional<double> &field, nb::handle value) { field = nb::cast<std::optional<double>>(value); }
void assign(std::optional<std::int64_t> &field, nb::handle value) { field = nb::cast<std::optional<std::int64_t>>(value); }
void assign(std::vector<std::int64_t> &field, nb::handle value) { field = nb::cast<std::vector<std::int64_t>>(value); }

void assign(std::vector<CaptureArgument> &field, nb::handle value) {
  field.clear();
  for (nb::handle entry : value) {
    CaptureArgument argument{nb::cast<std::string>(part(entry, 0)), {}};
    nb::object what = part(entry, 1);
    if (PyBool_Check(what.ptr()))
      argument.value = nb::cast<bool>(what);
    else if (PyLong_Check(what.ptr()))
      argument.value = nb::cast<std::int64_t>(what);
    else if (PyFloat_Check(what.ptr()))
      argument.value = nb::cast<double>(what);
    else
      argument.value = nb::cast<const View &>(what).ref;
    field.push_back(std::move(argument));
  }
}

void assign(std::optional<BlockMask> &field, nb::handle value) {
  field.reset();
  if (!value.is_none())
    field = nb::cast<const BlockMask &>(value);
}

void assign(std::optional<BackendSet> &field, nb::handle value) {
  field.reset();
  if (value.is_none())
    return;
  std::vector<SDPBackend> backends;
  for (nb::handle number : part(value, 0))
    backends.push_back(static_cast<SDPBackend>(nb::cast<int>(number)));
  field = BackendSet(std::move(backends), nb::cast<bool>(part(value, 1)));
}

void assign(std::optional<Dropout> &field, nb::handle value) {
  field.reset();
  if (!value.is_none())
    field = Dropout{nb::cast<double>(part(value, 0)), nb::cast<std::uint64_t>(part(value, 1)), nb::cast<std::uint64_t>(part(value, 2))};
}

void assign(std::optional<PageTable> &field, nb::handle value) {
  field.reset();
  if (!value.is_none())
    field = PageTable{nb::cast<const View &>(part(value, 0)).ref, nb::cast<std::int64_t>(part(value, 1))};
}

void assign(std::optional<WhenMissing> &field, nb::handle value) {
  field.reset();
  if (value.is_none())
    return;
  const std::string_view way = nb::cast<std::string_view>(value);
  if (way != "wait" && way != "fallback")
    refuse("when_missing is 'wait' or 'fallback', not '" + std::string(way) + "'");
  field = way == "wait" ? WhenMissing::Wait : WhenMissing::Fallback;
}

void assign(TileOptions &field, nb::handle value) {
  field = {nb::cast<std::int64_t>(part(value, 0)), nb::cast<std::int64_t>(part(value, 1))};
}

void assign(VarlenWindow &field, nb::handle value) {
  field = {nb::cast<std::int64_t>(part(value, 0)), nb::cast<std::int64_t>(part(value, 1))};
}

void assign(AttnMask &field, nb::handle value) {
  field = std::monostate();
  if (value.is_none())
    return;
  if (PyTuple_Check(value.ptr()))
    field = CausalBias{static_cast<CausalVariant>(nb::cast<int>(part(value, 0))), nb::cast<std::int64_t>(part(value, 1)),
                       nb::cast<std::int64_t>(part(value, 2))};
  else
    field = nb::cast<const View &>(value).ref;
}

} // namespace attnjit::python
