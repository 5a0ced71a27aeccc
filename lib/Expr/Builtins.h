// The functions that a formula may call: torch's and math's pointwise ones, expressed over the op table.
#pragma once

#include "Expr/Lower.h"
#include "Expr/Names.h"

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace attnjit::expr {

/// One argument of a call, after evaluation.
struct Argument {
  enum class Tag : std::uint8_t { Missing, Value, None, String, Dtype } tag = Tag::Missing;
  ValueId value = 0;
  std::string_view text; ///< String
  DType dtype = DType::F32;
  bool isValue() const { return tag == Tag::Value; }
};

/// Where a function was found: `math.floor` yields an int, `torch.floor` a float.
enum class Namespace : std::uint8_t { None, Torch, Math, Method, Operator };

struct BuiltinCall {
  std::vector<Argument> arguments; ///< by position; at least as many as the signature has names
  Namespace space = Namespace::None;
  ValueId operator[](std::size_t i) const { return arguments[i].value; }
  bool has(std::size_t i) const { return i < arguments.size() && arguments[i].isValue(); }
};

struct Builtin {
  std::string_view names;     ///< synonyms, separated by blanks; a leading '.' = only as a method
  std::string_view signature; ///< argument names, separated by blanks; 'name=' may be left out; '...' = any number more
  ValueId (*lower)(Lower &, const BuiltinCall &);
};

/// All of them, for messages and documentation.
std::span<const Builtin> builtins();
/// The function called `name`, free or as a method.
const Builtin *findBuiltin(std::string_view name, bool asMethod);
/// The arguments of one of builtins(), read once.
const std::vector<SignatureName> &signatureOf(const Builtin &builtin);
/// pi, e, tau, inf, nan.
std::optional<double> findConstant(std::string_view name);
/// Calls `each(name, methodOnly)` with every synonym of a list of names, without the dot.
template <typename F> void forEachName(std::string_view names, F each) {
  for (std::string_view rest = names; !rest.empty();) {
    const std::size_t end = std::min(rest.find(' '), rest.size());
    std::string_view name = rest.substr(0, end);
    const bool methodOnly = name.starts_with('.');
    each(methodOnly ? name.substr(1) : name, methodOnly);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

} // namespace attnjit::expr
