#include "Engine/CaptureCheck.h"

#include "Engine/TensorCheck.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::engine {

namespace {

std::string declaredText(const CaptureInfo &info) {
  if (info.rank != CaptureInfo::kNumber)
    return fmt::format("a tensor of {} with {} dimension{}", name(info.dtype), info.rank, info.rank == 1 ? "" : "s");
  return info.dtype == DType::F64 ? "a number" : info.dtype == DType::I64 ? "an integer" : "a bool";
}

std::string givenText(const CaptureValue &value) {
  if (const auto *tensor = std::get_if<TensorRef>(&value))
    return fmt::format("a tensor of {} with {} dimension{}", name(tensor->dtype), tensor->rank, tensor->rank == 1 ? "" : "s");
  if (const auto *number = std::get_if<double>(&value))
    return fmt::format("the float {}", *number);
  if (const auto *integer = std::get_if<std::int64_t>(&value))
    return fmt::format("the integer {}", *integer);
  return std::get<bool>(value) ? "true" : "false";
}

std::string namesText(const std::vector<CaptureInfo> &captures) {
  std::vector<std::string_view> names;
  for (const CaptureInfo &capture : captures)
    names.push_back(capture.name);
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

Error invalidCapture(const CaptureInfo &info, std::string why) {
  return {ErrorCode::InvalidArgument, fmt::format("capture '{}': {}", info.name, why)};
}

/// The arguments in the order of mod.captures, whichever way the call names them.
Result<std::vector<const CaptureValue *>> arrange(const std::vector<CaptureArgument> &arguments, const std::vector<CaptureInfo> &declared) {
  std::vector<const CaptureValue *> values(declared.size(), nullptr);
  const auto unnamed = [](const CaptureArgument &argument) { return argument.name.empty(); };
  const bool positional = !arguments.empty() && unnamed(arguments.front());
  if (!std::all_of(arguments.begin(), arguments.end(), [&](const CaptureArgument &argument) { return unnamed(argument) == positional; }))
    return Error{ErrorCode::InvalidArgument, "captures: some have names and some have none; name all of them or none"};

  if (positional && arguments.size() > declared.size())
    return Error{ErrorCode::InvalidArgument, fmt::format("captures: {} values were given by position, the formula declares {} ({})",
                                                         arguments.size(), declared.size(), namesText(declared))};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const CaptureArgument &argument = arguments[i];
    std::size_t place = i;
    if (!positional) {
      const auto found =
          std::find_if(declared.begin(), declared.end(), [&](const CaptureInfo &info) { return info.name == argument.name; });
      if (found == declared.end())
        return Error{ErrorCode::InvalidArgument, fmt::format("capture '{}': the formula declares no capture of that name (it has: {})",
                                                             argument.name, namesText(declared))};
      place = static_cast<std::size_t>(found - declared.begin());
    }
    if (values[place])
      return invalidCapture(declared[place], "it was given twice");
    values[place] = &argument.value;
  }
  for (std::size_t i = 0; i < declared.size(); ++i)
    if (!values[i])
      return invalidCapture(declared[i], fmt::format("it is missing; the call must give {}", declaredText(declared[i])));
  return values;
}

ScalarArg floatSlot(double value) {
  ScalarArg slot{};
  slot.f = value;
  return slot;
}

ScalarArg intSlot(std::int64_t value) {
  ScalarArg slot{};
  slot.i = value;
  return slot;
}

/// Widening is fine (bool to int, int to float), as in Python; nothing is narrowed.
Result<ScalarArg> numberOf(const CaptureInfo &info, const CaptureValue &value) {
  const auto *number = std::get_if<double>(&value);
  const auto *integer = std::get_if<std::int64_t>(&value);
  const auto *boolean = std::get_if<bool>(&value);
  if (info.dtype == DType::F64 && number)
    return floatSlot(*number);
  if (info.dtype == DType::F64 && integer)
    return floatSlot(static_cast<double>(*integer));
  if (info.dtype == DType::I64 && integer)
    return intSlot(*integer);
  if (info.dtype != DType::F64 && boolean)
    return intSlot(*boolean);
  return invalidCapture(info, fmt::format("the formula was parsed for {}, the call gives {}", declaredText(info), givenText(value)));
}

} // namespace

Result<BoundCaptures> bindCaptures(const std::vector<CaptureArgument> &arguments, const ModImpl &mod, CheckFor purpose) {
  BoundCaptures bound;
  bound.captures.resize(mod.formula.captures.size());
  bound.scalars.resize(mod.formula.scalars.size());
  expr::bindOwnTensors(mod.formula, bound.captures);
  if (mod.captures.empty() && arguments.empty()) {
    expr::bindOwnScalars(mod.formula, bound.captures, bound.scalars);
    return bound;
  }
  Result<std::vector<const CaptureValue *>> values = arrange(arguments, mod.captures);
  if (!values)
    return values.error();

  for (std::size_t i = 0; i < mod.captures.size(); ++i) {
    const CaptureInfo &info = mod.captures[i];
    const CaptureValue &value = *(*values)[i];
    const ModImpl::Slot slot = mod.slots[i];
    if (!slot.tensor) {
      Result<ScalarArg> number = numberOf(info, value);
      if (!number)
        return number.error();
      if (slot.index >= 0)
        bound.scalars[static_cast<std::size_t>(slot.index)] = *number;
      continue;
    }
    const auto *tensor = std::get_if<TensorRef>(&value);
    if (!tensor || tensor->dtype != info.dtype || tensor->rank != info.rank)
      return invalidCapture(info, fmt::format("the formula was parsed for {}, the call gives {}", declaredText(info), givenText(value)));
    if (Result<void> view = checkView(fmt::format("capture '{}'", info.name), *tensor, info.rank, purpose == CheckFor::Launch); !view)
      return view.error();
    if (slot.index >= 0)
      bound.captures[static_cast<std::size_t>(slot.index)] = *tensor;
  }
  expr::bindOwnScalars(mod.formula, bound.captures, bound.scalars);
  return bound;
}

Result<std::vector<CaptureArgument>> namedCaptures(const std::vector<CaptureArgument> &arguments, const Mod &mod) {
  std::vector<CaptureArgument> named;
  if (mod.captures().empty() && arguments.empty())
    return named;
  Result<std::vector<const CaptureValue *>> values = arrange(arguments, mod.captures());
  if (!values)
    return values.error();
  for (std::size_t i = 0; i < values->size(); ++i)
    named.push_back({mod.captures()[i].name, *(*values)[i]});
  return named;
}

namespace {

bool isSame(const CaptureValue &x, const CaptureValue &y) {
  if (x.index() != y.index())
    return false;
  const auto *a = std::get_if<TensorRef>(&x), *b = std::get_if<TensorRef>(&y);
  if (const auto *number = std::get_if<double>(&x))
    return *number == std::get<double>(y);
  if (const auto *integer = std::get_if<std::int64_t>(&x))
    return *integer == std::get<std::int64_t>(y);
  if (const auto *boolean = std::get_if<bool>(&x))
    return *boolean == std::get<bool>(y);
  return a->data == b->data && a->dtype == b->dtype && a->rank == b->rank &&
         std::equal(a->sizes.begin(), a->sizes.begin() + a->rank, b->sizes.begin()) &&
         std::equal(a->strides.begin(), a->strides.begin() + a->rank, b->strides.begin());
}

} // namespace

Result<void> joinCaptures(std::vector<CaptureArgument> &into, const std::vector<CaptureArgument> &more) {
  for (const CaptureArgument &argument : more) {
    const auto found = std::find_if(into.begin(), into.end(), [&](const CaptureArgument &other) { return other.name == argument.name; });
    if (found == into.end())
      into.push_back(argument);
    else if (!isSame(found->value, argument.value))
      return Error{ErrorCode::InvalidArgument,
                   fmt::format("capture '{}' has one value here and another in the block mask; give them different names, or leave it out "
                               "here for the block mask's",
                               argument.name)};
  }
  return {};
}

} // namespace attnjit::engine
