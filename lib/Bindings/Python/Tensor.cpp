// Views of arrays: by address, which is what PyTorch and NumPy tell most cheaply, or by DLPack and the buffer protocol.
#include "Bindings/Python/Convert.h"

namespace attnjit::python {

namespace {

void checkRank(std::size_t rank) {
  if (rank > static_cast<std::size_t>(kMaxRank))
    refuse("an array of " + std::to_string(rank) + " dimensions: at most " + std::to_string(kMaxRank) + " are possible");
}

std::int64_t integer(PyObject *tuple, Py_ssize_t index) {
  const std::int64_t value = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple, index));
  if (value == -1 && PyErr_Occurred())
    throw nb::python_error();
  return value;
}

View byAddress(nb::handle data, std::string_view dtype, const nb::tuple &sizes, const nb::tuple &strides, nb::object array, bool onGpu) {
  checkRank(sizes.size());
  if (sizes.size() != strides.size())
    refuse("sizes and strides are of different lengths");
  View view;
  assign(view.ref.data, data);
  view.ref.dtype = toDType(dtype);
  view.ref.rank = static_cast<int>(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    view.ref.sizes[i] = integer(sizes.ptr(), static_cast<Py_ssize_t>(i));
    view.ref.strides[i] = integer(strides.ptr(), static_cast<Py_ssize_t>(i));
  }
  view.array = std::move(array);
  view.onGpu = onGpu;
  return view;
}

PyObject *interned(const char *name) { return PyUnicode_InternFromString(name); } // kept for good

nb::object attribute(nb::handle object, PyObject *name) {
  nb::object value = nb::steal(PyObject_GetAttr(object.ptr(), name));
  if (!value)
    throw nb::python_error();
  return value;
}

nb::object answer(nb::handle object, PyObject *method) {
  nb::object value = nb::steal(PyObject_CallMethodNoArgs(object.ptr(), method));
  if (!value)
    throw nb::python_error();
  return value;
}

/// PyTorch's dtypes are objects that never end.
DType dtypeOfTorch(nb::handle dtype) {
  static std::vector<std::pair<PyObject *, DType>> &known = *new std::vector<std::pair<PyObject *, DType>>;
  for (const auto &[object, type] : known)
    if (object == dtype.ptr())
      return type;
  constexpr std::size_t kPrefix = std::string_view("torch.").size();
  const DType type = toDType(std::string(nb::str(dtype).c_str()).substr(kPrefix));
  known.emplace_back(dtype.ptr(), type);
  return type;
}

/// A plain tensor of PyTorch, asked by its attributes: nothing here is compiled against PyTorch. Empty for one on another device than CPUs
/// and CUDA GPUs, of another layout, or whose elements stand for their negatives.
std::optional<View> byAttributes(nb::handle tensor) {
  static PyObject *const isCuda = interned("is_cuda"), *const isCpu = interned("is_cpu"), *const layout = interned("layout"),
                         *const isNeg = interned("is_neg"), *const isNested = interned("is_nested"), *const dataPtr = interned("data_ptr"),
                         *const dtype = interned("dtype"), *const shape = interned("shape"), *const stride = interned("stride"),
                         *const strided = nb::object(nb::module_::import_("torch").attr("strided")).release().ptr();
  const bool onGpu = attribute(tensor, isCuda).is(Py_True);
  const bool isPlain = (onGpu || attribute(tensor, isCpu).is(Py_True)) && attribute(tensor, layout).is(strided) &&
                       attribute(tensor, isNested).is(Py_False) && answer(tensor, isNeg).is(Py_False);
  if (!isPlain)
    return std::nullopt;
  const nb::object sizes = attribute(tensor, shape), strides = answer(tensor, stride);
  View view;
  checkRank(static_cast<std::size_t>(PyTuple_GET_SIZE(sizes.ptr())));
  view.ref.dtype = dtypeOfTorch(attribute(tensor, dtype));
  view.ref.rank = static_cast<int>(PyTuple_GET_SIZE(sizes.ptr()));
  for (int i = 0; i < view.ref.rank; ++i) {
    view.ref.sizes[static_cast<std::size_t>(i)] = integer(sizes.ptr(), i);
    view.ref.strides[static_cast<std::size_t>(i)] = integer(strides.ptr(), i);
  }
  assign(view.ref.data, answer(tensor, dataPtr));
  view.array = nb::borrow(tensor);
  view.onGpu = onGpu;
  return view;
}

/// The name of what DLPack describes by code and bits.
std::string dtypeName(nb::dlpack::dtype dtype) {
  using Code = nb::dlpack::dtype_code;
  const std::string bits = std::to_string(dtype.bits);
  switch (static_cast<Code>(dtype.code)) {
  case Code::Int:
    return "int" + bits;
  case Code::UInt:
    return "uint" + bits;
  case Code::Float:
    return "float" + bits;
  case Code::Bfloat:
    return "bfloat" + bits;
  case Code::Bool:
    return "bool";
  case Code::Float8_E4M3FN:
    return "float8_e4m3fn";
  case Code::Float8_E5M2:
    return "float8_e5m2";
  default:
    return "of DLPack code " + std::to_string(dtype.code) + " with " + bits + " bits";
  }
}

View byExchange(nb::ndarray<nb::ro> array) {
  checkRank(array.ndim());
  const int device = array.device_type();
  if (device != nb::device::cpu::value && device != nb::device::cuda::value && device != nb::device::cuda_host::value)
    refuse("an array on a device of DLPack's number " + std::to_string(device) + "; attnjit computes on the CPU and on CUDA GPUs");
  View view;
  view.ref.data = const_cast<void *>(array.data());
  view.ref.dtype = toDType(dtypeName(array.dtype()));
  view.ref.rank = static_cast<int>(array.ndim());
  for (std::size_t i = 0; i < array.ndim(); ++i) {
    view.ref.sizes[i] = static_cast<std::int64_t>(array.shape(i));
    view.ref.strides[i] = array.stride(i);
  }
  view.onGpu = device == nb::device::cuda::value;
  view.exchanged = std::move(array);
  return view;
}

/// The type of elements that NumPy has for a dtype; for those that it lacks, integers of their size.
nb::dlpack::dtype numpyType(DType dtype) {
  switch (dtype) {
  case DType::F64:
    return nb::dtype<double>();
  case DType::F32:
    return nb::dtype<float>();
  case DType::F16:
    return {static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
  case DType::BF16:
    return nb::dtype<std::uint16_t>();
  case DType::F8E4M3:
  case DType::F8E5M2:
  case DType::U8:
    return nb::dtype<std::uint8_t>();
  case DType::Bool:
    return nb::dtype<bool>();
  case DType::I8:
    return nb::dtype<std::int8_t>();
  case DType::I16:
    return nb::dtype<std::int16_t>();
  case DType::I32:
    return nb::dtype<std::int32_t>();
  case DType::I64:
    return nb::dtype<std::int64_t>();
  }
  return nb::dtype<std::uint8_t>();
}

/// The elements as an array of NumPy, through ml_dtypes where NumPy has no such dtype.
nb::object toNumpy(nb::handle self) {
  const auto &view = nb::cast<const View &>(self);
  if (view.onGpu)
    refuse("this tensor lies on a GPU; copy it to the host with its own library first");
  std::vector<std::size_t> shape(view.ref.sizes.begin(), view.ref.sizes.begin() + view.ref.rank);
  nb::object array =
      nb::cast(nb::ndarray<nb::numpy>(view.ref.data, shape.size(), shape.data(), self, view.ref.strides.data(), numpyType(view.ref.dtype)));
  const char *own = view.ref.dtype == DType::BF16     ? "bfloat16"
                    : view.ref.dtype == DType::F8E4M3 ? "float8_e4m3fn"
                    : view.ref.dtype == DType::F8E5M2 ? "float8_e5m2"
                                                      : nullptr;
  return own ? array.attr("view")(nb::module_::import_("ml_dtypes").attr(own)) : array;
}

nb::tuple toTuple(const std::array<std::int64_t, kMaxRank> &numbers, int rank) {
  nb::tuple tuple = nb::steal<nb::tuple>(PyTuple_New(rank));
  for (int i = 0; i < rank; ++i)
    PyTuple_SET_ITEM(tuple.ptr(), i, PyLong_FromLongLong(numbers[static_cast<std::size_t>(i)]));
  return tuple;
}

} // namespace

void bindTensor(nb::module_ &module) {
  nb::class_<View>(module, "Tensor", "A view of memory that an array library owns.")
      .def_static("at", &byAddress, nb::arg("data"), nb::arg("dtype"), nb::arg("sizes"), nb::arg("strides"), nb::arg("array"),
                  nb::arg("on_gpu") = false, "The elements of `array` at an address; strides count elements.")
      .def_static("of_torch", &byAttributes, nb::arg("tensor"), "A tensor of PyTorch; None for one that is not plain.")
      .def_static("of", &byExchange, nb::arg("array"), "What speaks DLPack or the buffer protocol.")
      .def_prop_ro("dtype", [](const View &view) { return name(view.ref.dtype); })
      .def_prop_ro("shape", [](const View &view) { return toTuple(view.ref.sizes, view.ref.rank); })
      .def_prop_ro("strides", [](const View &view) { return toTuple(view.ref.strides, view.ref.rank); })
      .def_prop_ro("data", [](const View &view) { return reinterpret_cast<std::uintptr_t>(view.ref.data); })
      .def_ro("on_gpu", &View::onGpu)
      .def("numpy", [](nb::handle self) { return toNumpy(self); }, "The same memory as an array of NumPy.");
  module.def(
      "dtype_name", [](std::string_view given) { return name(toDType(given)); }, nb::arg("name"),
      "attnjit's short name of a dtype: 'f32' for 'float32'.");
}

} // namespace attnjit::python
