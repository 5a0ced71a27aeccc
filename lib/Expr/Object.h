// What an expression denotes while a mod is evaluated: Python's objects, as far as formulas have them.
//
// The front end is a partial evaluator. It runs the user's Python with what is known when the formula is read, and builds IR for what is
// not. A Number therefore has two faces: `known`, a constant that Python code can compute with (if, range, shapes), and `value`, the IR
// value that stands for it in the formula. For a literal both are the same node. A number lifted out of the mod-naming expression
// (`sliding_window(256)`) has a constant as its known face and a Scalar as its value, so that the formula does not depend on it; arithmetic
// keeps both. The position of a pair has no known face.
#pragma once

#include "Expr/Ast.h"
#include "Expr/Builtins.h"
#include "Expr/Frontend.h"
#include "Expr/PyNumber.h"

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

namespace attnjit::expr {

struct Closure;
struct Applied;
struct Combined;
struct View;
struct PythonFunction;
struct Dict;

inline constexpr ValueId kUnknown = ~ValueId{0};

struct Object {
  enum class Tag : std::uint8_t {
    None,
    Number,     ///< value, known
    String,     ///< text
    Tuple,      ///< items
    List,       ///< items, index: the place in Sema::lists, which may change
    Dict,       ///< dict, index: the place in Sema::dicts
    Method,     ///< of a text, tuple, list or dictionary; index: the row of objectMethods(), items: the receiver
    Type,       ///< text: torch.Tensor and its like, for isinstance()
    View,       ///< view: a captured tensor or part of one
    Module,     ///< space, text
    Builtin,    ///< builtin, space; as a method the receiver is value, known
    ViewMethod, ///< text, view (null: the first argument)
    Python,     ///< python: a function on objects; as a method of a number the receiver is value, known
    Closure,    ///< closure
    Partial,    ///< applied: functools.partial
    Combined,   ///< combined: and_masks and its like
    Dtype,      ///< dtype
    Finfo,      ///< torch.finfo(dtype), torch.iinfo(dtype)
    Slice,      ///< items: start, stop, step
    Ellipsis,
    Opaque, ///< a device: may be passed around, means nothing
    Unset,  ///< text: why this name has no usable value, detail: the cure
    Failed, ///< index: the error of the module statement that should have bound it
  } tag = Tag::None;
  DType dtype = DType::F32;
  Namespace space = Namespace::None;
  ValueId value = 0, known = kUnknown;
  std::size_t index = 0;
  std::string_view text, detail;
  union {
    const void *pointer = nullptr;
    const std::vector<Object> *items;
    const Dict *dict;
    const View *view;
    const Builtin *builtin;
    const PythonFunction *python;
    const Closure *closure;
    const Applied *applied;
    const Combined *combined;
  };

  bool isNumber() const { return tag == Tag::Number; }
  /// A tuple or a list.
  bool isSequence() const { return tag == Tag::Tuple || tag == Tag::List; }
  bool isKnown() const { return tag == Tag::Number && known != kUnknown; }
  /// Known, but kept out of the formula.
  bool isLifted() const { return isKnown() && known != value; }
  bool isCallable() const {
    return tag == Tag::Builtin || tag == Tag::ViewMethod || tag == Tag::Python || tag == Tag::Closure || tag == Tag::Partial ||
           tag == Tag::Combined || tag == Tag::Method;
  }
};

/// A dictionary, in the order of its making. Keys are known.
struct Dict {
  std::vector<std::pair<Object, Object>> entries;
};

/// One text with its tree; closures point into it.
struct Unit {
  SourceText source;
  Ast ast;
};

/// The names of one function call or module. Closures keep looking into the scope that they were made in, as in Python.
class Scope {
public:
  Scope(Scope *parent, bool isModule) : parent(parent), isModule(isModule) {}

  const Object *find(std::string_view name) const;
  void bind(std::string_view name, const Object &object);
  /// `global` and `nonlocal`: the name is another scope's.
  void redirect(std::string_view name, Scope &owner) { redirected.emplace_back(name, &owner); }
  bool isRedirected(std::string_view name) const { return ownerOf(name) != nullptr; }

  using Names = std::vector<std::pair<std::string_view, Object>>;
  const Names &names() const { return bound; }
  void restore(Names names);

  Scope *const parent;
  const bool isModule;
  bool isComprehension = false;

private:
  Scope *ownerOf(std::string_view name) const;

  Names bound;
  std::unordered_map<std::string_view, std::size_t> index; ///< once there are many
  std::vector<std::pair<std::string_view, Scope *>> redirected;
};

struct Closure {
  const Unit *unit = nullptr;
  const AstFunction *function = nullptr;
  Scope *scope = nullptr;
  std::vector<Object> defaults; ///< per parameter; Ellipsis where there is none
};

/// functools.partial(function, *arguments, **keywords)
struct Applied {
  Object function;
  std::vector<Object> arguments;
  std::vector<std::pair<std::string_view, Object>> keywords;
};

/// and_masks(*functions) and its like: a function that calls all of them with its own arguments.
struct Combined {
  enum class How : std::uint8_t { And, Or, Xor, Not } how = How::And;
  std::vector<Object> functions;
};

/// A tensor whose elements are known when the formula is read: what torch.tensor([...]) and its like make.
struct Constant {
  CaptureInfo info; ///< dtype and rank; for messages, the name that it was first assigned to
  std::vector<std::int64_t> sizes{};
  std::vector<PyNumber> elements{}; ///< row-major
  std::size_t index = 0;            ///< its place in Sema::constants
  int slot = -1;                    ///< its place in Formula::captures, once the formula reads it
  bool isRead = false;              ///< by the formula: no assignment may change it any more
};

struct View;

/// An elementwise function of whole tensors and numbers, with the broadcasting of PyTorch.
struct Mapped {
  std::vector<Object> operands;                             ///< tensors are Views
  std::function<Object(const std::vector<Object> &)> apply; ///< on one element of each tensor, and the numbers
  std::vector<Object> sizes;                                ///< of the result
  int equalDim = -1;                                        ///< counted from the back: a dimension where nothing broadcasts; -1: none
  int depth = 0;                                            ///< the largest of the operands
  mutable std::vector<ValueId> lastIndices;                 ///< the element computed last: an operand may occur many times
  mutable std::optional<ValueId> lastValue;
};

/// A tensor as a value: a captured one, seen through indices, slices and reshapes, or computed from such elementwise and by reductions. It
/// is a chain of steps. Nothing is read until every dimension has an index; then the indices walk the chain and become those of the
/// captures.
struct View {
  enum class Step : std::uint8_t {
    Capture,   ///< capture
    Constant,  ///< constant
    Select,    ///< parent[..., index, ...] at dim
    Slice,     ///< start + i * stride at dim, `size` elements
    Permute,   ///< dimension d is the parent's order[d]
    Unsqueeze, ///< a new dimension of size 1 at dim
    Squeeze,   ///< the parent's dim, of size 1, left out
    Reshape,   ///< row-major renumbering; sizes
    Map,       ///< mapped; no parent
    Reduce,    ///< the parent's dimensions in `order` (rising) joined by `reduction`
  } step = Step::Capture;
  const View *parent = nullptr;
  std::size_t capture = 0; ///< index into the captures' infos, of the root; of a computed tensor the first one
  int rank = 0;
  int dim = 0;
  Object index, start, stride, size;
  std::vector<int> order;
  std::vector<Object> sizes;
  Kind kind = Kind::Float; ///< of an element, after casts
  const Mapped *mapped = nullptr;
  Op reduction = Op::ReduceSum;
  int height = 0;                       ///< steps down to the farthest capture
  int depth = 0;                        ///< loops that an element needs, one inside of the other
  Constant *constant = nullptr;         ///< of the root, where that is one
  bool isKnown = false;                 ///< a constant tensor, or a part of one that is known
  mutable const View *folded = nullptr; ///< such a part as a tensor of its own
};

/// The arguments of a call, evaluated.
struct Arguments {
  std::vector<Object> values;
  std::vector<std::string_view> keywords; ///< empty = positional
  std::vector<TextRange> ranges;
  TextRange call;        ///< what to point at
  std::string_view name; ///< what the user called
  Namespace space = Namespace::None;
  std::size_t size() const { return values.size(); }
};

} // namespace attnjit::expr
