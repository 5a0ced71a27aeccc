// The evaluator of one mod, split over Sema.cpp (the mod as a whole, names), SemaModule.cpp (modules, imports, decorators),
// SemaStatements.cpp, SemaExceptions.cpp (try, raise), SemaMatch.cpp, SemaExpressions.cpp (operators, numbers), SemaAccess.cpp (subscripts,
// attributes), SemaContainers.cpp (tuples, lists, dictionaries), SemaText.cpp, SemaCalls.cpp (functions), SemaPython.cpp and
// SemaObjects.cpp (Python's own functions), SemaTensors.cpp and SemaViewMethods.cpp (views of captured tensors), SemaTables.cpp,
// SemaTableMakers.cpp and SemaTableFunctions.cpp (tensors that the text makes) and SemaRows.cpp (elementwise functions and reductions of
// whole tensors).
#pragma once

#include "Expr/Names.h"
#include "Expr/PyFormat.h"
#include "Expr/PyNumber.h"
#include "Expr/Sema.h"

#include <deque>
#include <optional>
#include <unordered_map>

namespace attnjit::expr {

class Sema;

/// Calls may nest and repeat; this bound keeps a short text from asking for unbounded work.
inline constexpr std::size_t kMaxSteps = 2'000'000;
/// Steps that making an element of a tuple counts for: elements stay in memory.
inline constexpr std::size_t kElementCost = 8;

/// A function of Python or PyTorch that works on objects rather than numbers.
struct PythonFunction {
  std::string_view names; ///< synonyms, separated by blanks; a leading '.' = only as a method of a number
  Object (Sema::*call)(Arguments &arguments, const PythonFunction &self);
};
std::span<const PythonFunction> pythonFunctions();
/// Those of tensors that the text makes: as a function of torch, and as a method of such a tensor.
std::span<const PythonFunction> tableFunctions();
const PythonFunction *findTableFunction(std::string_view name);
const PythonFunction *findPython(std::string_view name, bool asMethod);
/// A function of the module `operator`.
const PythonFunction *findOperator(std::string_view name);
decltype(PythonFunction::call) pythonOperator();

/// A method of a text, tuple, list or dictionary.
struct ObjectMethod {
  Object::Tag receiver;
  std::string_view names;
  Object (Sema::*call)(const Object &self, Arguments &arguments);
};
std::span<const ObjectMethod> objectMethods();

/// The names of dtypes under torch.; the first one of a dtype is how it is shown.
std::span<const std::pair<std::string_view, DType>> torchDtypes();
/// clamp_, masked_fill_ ...
bool isInPlace(std::string_view name);
/// torch, math ...: known without an import.
bool isModuleName(std::string_view name);
/// Tensor, Callable ...: they occur in isinstance().
bool isTypeName(std::string_view name);
/// Methods of captured tensors that yield views, sizes or casts.
std::span<const std::string_view> viewMethods();
bool isViewMethod(std::string_view name);
/// Functions and methods that reduce a tensor: sum, amax ...
bool isTensorReduction(std::string_view name);
/// Products of two tensors: dot, matmul ...
bool isTensorProduct(std::string_view name);
/// Functions that make a tensor: arange, stack ...
bool isTensorMaker(std::string_view name);
/// Those that a formula cannot have.
bool isRefusedReduction(std::string_view name);
/// Steps in the making of one tensor: its elements are built by recursion.
inline constexpr int kMaxViewHeight = 200;

class Sema {
public:
  Sema(const Unit &text, const Unit *module, ModKind mod, const CaptureScope &captures, Formula &formula)
      : root(text), module(module), mod(mod), captures(captures), scalars(formula.scalars), tables(formula.captures) {}
  Result<Function> run();

private:
  friend std::span<const PythonFunction> pythonFunctions();
  friend std::span<const PythonFunction> tableFunctions();
  friend std::span<const ObjectMethod> objectMethods();
  friend decltype(PythonFunction::call) pythonOperator();
  using Tag = Object::Tag;

  // --- errors and bounds (Sema.cpp) ---
  bool failed() const { return error.has_value(); }
  /// An error that Python has, too, as an exception of that name, and that a `try` of the text may catch.
  Object raise(std::string_view exception, TextRange range, std::string_view message, std::string_view help);
  Object fail(TextRange range, std::string_view message, std::string_view help);
  /// An error that was found before, in this unit.
  Object failAs(const Error &known);
  /// Turns a problem of the typed layer into an error at `range`.
  Object checked(ValueId value, TextRange range);
  /// Bounds recursion and total work, calls of functions included.
  bool enter(TextRange range);
  bool spend(std::size_t work, TextRange range);
  /// One level into nested tuples, lists and dictionaries, which may be deep or contain themselves. Not true: an error.
  struct Descent {
    explicit Descent(Sema &sema) : sema(sema) { ++sema.descent; }
    ~Descent() { --sema.descent; }
    explicit operator bool() const;
    Sema &sema;
  };

  // --- the mod as a whole (Sema.cpp) ---
  std::string_view role() const { return roleOf(mod); }
  void reset();
  Object denoteMod();
  Object evaluateNaming();
  Object evaluateBare();
  void bindStandardNames(Scope &scope);
  std::vector<Object> modArguments();
  Object callMod(const Object &function, TextRange range);
  bool checkModArity(const Closure &closure);
  ValueId finishResult(const Object &result, TextRange range);

  // --- modules (SemaModule.cpp) ---
  void runModule(const Unit &text, Scope &scope);
  bool mayMatter(const AstStatement &statement, const Scope &scope) const;
  void disable(const AstStatement &statement, Scope &scope);
  void disableTarget(AstId target, const Object &unusable, Scope &scope);
  void disableChanged(AstId expression, const Object &unusable, Scope &scope);
  void runImport(const AstStatement &statement, Scope &scope);
  Object moduleNamed(std::string_view name) const;
  bool isForeign(AstId id) const;
  Object decorate(AstId decorator, const Object &function);

  // --- names (Sema.cpp) ---
  Object lookUp(const AstNode &node);
  Object denoteCapture(std::size_t index, const AstNode &node);
  Object lookUpBuiltin(std::string_view name, TextRange range);
  bool findBuiltinObject(std::string_view name, Namespace space, Object &object);
  /// "did you mean ...; known here are ..." for a name that does not exist.
  std::string suggestName(std::string_view unknown) const;
  std::string listCaptures() const;

  // --- statements (SemaStatements.cpp) ---
  enum class Flow : std::uint8_t { Falls, Returns, Breaks, Continues };
  /// A function at work. After an early return below a run-time condition the rest still runs: `when` is true where the value is decided
  /// already.
  struct Frame {
    Scope *scope;
    const Closure *closure; ///< null for a module
    bool hasPending = false;
    ValueId when = 0;
    Object pending;
    Object result;
    TextRange resultRange;
  };
  Flow runBlock(const std::vector<StatementId> &block, Frame &frame);
  Flow runStatement(const AstStatement &statement, Frame &frame);
  Flow runIf(const AstStatement &statement, Frame &frame);
  Flow runBothArms(const AstStatement &statement, ValueId condition, Frame &frame);
  Flow runFor(const AstStatement &statement, Frame &frame);
  Flow runWhile(const AstStatement &statement, Frame &frame);
  Flow decide(Flow flow, Frame &frame, const Frame &before);
  void runAssert(const AstStatement &statement);
  void runRaise(const AstStatement &statement);
  Flow runWith(const AstStatement &statement, Frame &frame);
  void runDeclaration(const AstStatement &statement, Scope &scope);
  void runDelete(const AstStatement &statement, Scope &scope);
  bool extendInPlace(const AstNode &sum);
  void assign(AstId target, const Object &value, Scope &scope);
  void mergeScopes(ValueId condition, Scope &scope, const Scope::Names &thenNames, const Scope::Names &elseNames, TextRange range);
  Object merge(ValueId condition, const Object &a, const Object &b);
  std::optional<std::vector<Object>> elementsOf(const Object &object, TextRange range, std::string_view what);
  Object makeClosure(const AstFunction &function, Scope &scope);
  /// None, as the value of a function that returns nothing.
  static Object nothingFrom(const Closure &closure);
  /// What may change: what was made before a run-time condition is met may not below it, since that happens for some pairs only.
  struct Effects {
    std::size_t lists = 0, dicts = 0, constants = 0; ///< from these indices on
    bool outerNames = true;                          ///< global and nonlocal ones
    bool named = true;                               ///< := may bind
    int conditions = 0;                              ///< that are known at run time only, above what runs now
  };
  void freeze(bool isExpression) { effects = {lists.size(), dicts.size(), constants.size(), false, !isExpression, effects.conditions + 1}; }

  // --- try, raise and match (SemaExceptions.cpp, SemaMatch.cpp) ---
  /// Where the evaluation stands, to go on from there after an error.
  struct Standing {
    const Unit *unit;
    Scope *scope;
    std::size_t calls;
    int depth;
    bool lifting;
    Effects effects;
  };
  Standing standing() const { return {unit, scope, calls.size(), depth, lifting, effects}; }
  void resume(const Standing &before);
  /// An exception on its way or being handled.
  struct Raised {
    std::string name, message;
    int conditions = 0; ///< above the place where it was raised
    std::optional<Error> error;
    std::string_view boundTo; ///< the name that its handler gives it
  };
  Flow runTry(const AstStatement &statement, Frame &frame);
  Flow runHandlers(const AstStatement &statement, Frame &frame, const Standing &before);
  bool catches(AstId what, std::string_view raisedName);
  Flow runMatch(const AstStatement &statement, Frame &frame);
  bool matches(AstId pattern, const Object &subject, Scope &own);
  bool matchesSequence(const AstNode &pattern, const Object &subject, Scope &own);
  bool isEqual(const Object &subject, const Object &wanted, TextRange range);

  // --- expressions (SemaExpressions.cpp) ---
  Object evaluate(AstId id);
  Object evaluateNode(const AstNode &node);
  /// Evaluates to a number, or fails saying what the text denotes instead.
  Object evaluateNumber(AstId id);
  Object asNumber(const Object &object, TextRange range);
  Object constant(const PyNumber &number);
  Object knownInt(std::int64_t value) { return constant({Kind::Int, value, 0}); }
  Object knownBool(bool value) { return constant({Kind::Bool, value, 0}); }
  Object runtime(ValueId value) const;
  PyNumber numberOf(const Object &known) const;
  Object text(std::string value);
  Object tuple(std::vector<Object> items);
  Object list(std::vector<Object> items);
  Object dictionary(Dict dict);
  Object dtype(DType type) const;
  Object lift(Kind kind, ScalarArg value, TextRange range);
  /// Python's truth of what is known; empty for what is not.
  std::optional<bool> truth(const Object &object) const;
  /// A condition: known, or a run-time bool; anything else fails.
  bool condition(AstId id, std::string_view where, std::optional<bool> &known, ValueId &value);
  Object evaluateUnary(const AstNode &node);
  Object unary(const AstNode &node, const Object &operand);
  /// Binary operators, and, or: walks the left spine in a loop, since a sum of a thousand terms is a thousand levels deep.
  Object evaluateChain(const AstNode &top);
  Object binary(std::string_view spelling, const Object &left, const Object &right, TextRange leftRange, TextRange rightRange,
                const AstNode &node);
  Object arithmetic(std::string_view spelling, const Object &x, const Object &y, TextRange range);
  Object evaluateLogic(const AstNode &node, const Object &left);
  /// a < b < c is (a < b) and (b < c), b evaluated once.
  Object evaluateCompare(const AstNode &node);
  Object compare(std::string_view spelling, const Object &x, const Object &y, TextRange xRange, TextRange yRange, TextRange range);
  Object isMember(const Object &x, const Object &list, TextRange xRange, TextRange listRange, TextRange range);
  /// `byValue`: 1 and 1.0 are the same.
  bool sameObject(const Object &x, const Object &y, bool byValue = false);
  Object evaluateConditional(const AstNode &node);
  Object evaluateNamed(const AstNode &node);
  Object evaluateSubscript(const AstNode &node);
  Object indexItems(const std::vector<Object> &items, const AstNode &node);
  Object evaluateSlice(const AstNode &node);
  Object evaluateAttribute(const AstNode &node);
  Object attributeOf(const Object &base, const AstNode &node, TextRange baseRange);
  Object numberAttribute(const Object &receiver, const AstNode &node);
  const Builtin *inPlace(const AstNode &node);
  /// What the text binds to a name; null if nothing.
  const Object *lookUpQuietly(std::string_view name) const;
  Object unknownMember(const AstNode &node, std::string_view what, bool asMethod);
  Object moduleMember(const AstNode &node, const Object &base);

  // --- containers (SemaContainers.cpp) ---
  Object evaluateTuple(const AstNode &node);
  Object evaluateSet(const AstNode &node);
  Object evaluateDict(const AstNode &node);
  Object evaluateComprehension(const AstNode &node);
  Object setOf(const std::vector<Object> &items, TextRange range);
  bool isKey(const Object &object, TextRange range);
  bool sameKey(const Object &x, const Object &y);
  const Object *entryOf(const Dict &dict, const Object &key, TextRange range);
  bool store(Dict &dict, const Object &key, const Object &value, TextRange range);
  bool mergeInto(Dict &dict, const Object &other, TextRange range);
  std::vector<Object> *changeable(const Object &object, TextRange range);
  Dict *changeableDict(const Object &object, TextRange range);
  std::optional<std::size_t> placeOf(const Object &index, std::size_t size, TextRange range);
  void assignElement(const AstNode &node, const Object &value);
  Object objectMethod(const Object &receiver, const AstNode &node);
  Object listAdd(const Object &self, Arguments &a);
  Object listExtend(const Object &self, Arguments &a);
  Object listPop(const Object &self, Arguments &a);
  Object listOrder(const Object &self, Arguments &a);
  Object listCopy(const Object &self, Arguments &a);
  Object sequenceFind(const Object &self, Arguments &a);
  Object dictGet(const Object &self, Arguments &a);
  Object dictParts(const Object &self, Arguments &a);
  Object dictPop(const Object &self, Arguments &a);
  Object dictUpdate(const Object &self, Arguments &a);
  Object dictClear(const Object &self, Arguments &a);
  Object dictCopy(const Object &self, Arguments &a);
  Object failKey(const Dict &dict, const Object &key, TextRange range);

  // --- texts (SemaText.cpp) ---
  std::optional<std::string> textOf(const Object &object);
  std::string quoted(const Object &object);
  std::optional<std::string> formatted(const Object &object, std::string_view spec);
  bool append(std::string &all, const Object &object, std::string_view spec, TextRange range);
  Object evaluateFString(const AstNode &node);
  Object percentFormat(const Object &self, const Object &values, TextRange range);
  bool takesTexts(const Arguments &a, std::size_t least, std::size_t most);
  Object stringTest(const Object &self, Arguments &a);
  Object stringKind(const Object &self, Arguments &a);
  Object stringCase(const Object &self, Arguments &a);
  Object stringStrip(const Object &self, Arguments &a);
  Object stringJoin(const Object &self, Arguments &a);
  Object stringSplit(const Object &self, Arguments &a);
  Object stringReplace(const Object &self, Arguments &a);
  Object stringFind(const Object &self, Arguments &a);
  Object stringFormat(const Object &self, Arguments &a);

  // --- calls (SemaCalls.cpp) ---
  Object evaluateCall(const AstNode &node);
  bool readArguments(const AstNode &node, Arguments &arguments);
  Object call(const Object &callee, Arguments &arguments);
  Object callClosure(const Closure &closure, Arguments &arguments);
  bool bindParameters(const Closure &closure, Arguments &arguments, Scope &scope);
  Object callCombined(const Combined &combined, Arguments &arguments);
  Object callBuiltin(const Object &callee, Arguments &arguments);
  Object applyBuiltin(const Builtin &builtin, const std::vector<SignatureName> &signature, BuiltinCall &call, std::vector<Object> &given,
                      const Arguments &arguments);
  Object failArity(const Arguments &arguments, const std::vector<SignatureName> &signature, bool isMethod);
  bool toArgument(const Object &object, TextRange range, Argument &argument);

  // --- Python's functions (SemaPython.cpp) ---
  bool takes(const Arguments &arguments, std::size_t least, std::size_t most);
  std::optional<std::int64_t> knownIntOf(const Object &object, TextRange range, std::string_view what);
  Object pyRange(Arguments &a, const PythonFunction &self);
  Object pyLen(Arguments &a, const PythonFunction &self);
  Object pyTuple(Arguments &a, const PythonFunction &self);
  Object pyEnumerate(Arguments &a, const PythonFunction &self);
  Object pyZip(Arguments &a, const PythonFunction &self);
  Object pyReversed(Arguments &a, const PythonFunction &self);
  Object reduceFirst(Arguments &a);
  Object pySum(Arguments &a, const PythonFunction &self);
  Object pyAllAny(Arguments &a, const PythonFunction &self);
  Object pyStr(Arguments &a, const PythonFunction &self);
  Object pyCallable(Arguments &a, const PythonFunction &self);
  Object pyPartial(Arguments &a, const PythonFunction &self);
  Object pyReduce(Arguments &a, const PythonFunction &self);
  Object pyMap(Arguments &a, const PythonFunction &self);
  Object pyMasks(Arguments &a, const PythonFunction &self);
  Object pyNoopMask(Arguments &a, const PythonFunction &self);
  Object pyDevice(Arguments &a, const PythonFunction &self);
  Object pyNew(Arguments &a, const PythonFunction &self);
  Object pyDict(Arguments &a, const PythonFunction &self);
  Object pySet(Arguments &a, const PythonFunction &self);

  // --- more of Python's functions (SemaObjects.cpp) ---
  Object pyFinfo(Arguments &a, const PythonFunction &self);
  Object finfoMember(const Object &info, const AstNode &node);
  Object typeNamed(std::string_view name) const;
  std::optional<bool> hasType(const Object &object, const Object &type) const;
  Object pyIsInstance(Arguments &a, const PythonFunction &self);
  Object pyAttribute(Arguments &a, const PythonFunction &self);
  std::optional<int> order(const Object &x, const Object &y);
  Object pySorted(Arguments &a, const PythonFunction &self);
  Object pyDivmod(Arguments &a, const PythonFunction &self);
  Object pyIntMath(Arguments &a, const PythonFunction &self);
  Object pyCount(Arguments &a, const PythonFunction &self);
  Object pyBitLength(Arguments &a, const PythonFunction &self);
  Object pyProduct(Arguments &a, const PythonFunction &self);
  Object pyOperator(Arguments &a, const PythonFunction &self);
  Object pyPrint(Arguments &a, const PythonFunction &self);
  Object pyUnchanged(Arguments &a, const PythonFunction &self);

  // --- captured tensors (SemaTensors.cpp) ---
  Object captureView(std::size_t index);
  DType dtypeOf(const View &view) const;
  const View &addView(View view);
  Object viewObject(View view);
  Object sizeOf(const View &view, int dim, TextRange range);
  Object shapeOf(const View &view, TextRange range);
  Object elementCount(const View &view, TextRange range);
  Object indexView(const View &view, const std::vector<Object> &items, const std::vector<TextRange> &ranges, TextRange range);
  const View *select(const View &view, int dim, const Object &index, TextRange range);
  const View *slice(const View &view, int dim, const Object &slice, TextRange range);
  Object load(const View &view, TextRange range);
  ValueId loadAt(const View &view, std::vector<Object> indices, TextRange range);
  /// The index from the front, and whether it lies in [0, size).
  Object wrapIndex(const Object &index, const Object &size, TextRange range);
  Object isInside(const Object &index, const Object &size, TextRange range);
  /// `index` where `inside`, else one that is certain to be reported as out of range (A10).
  Object guarded(const Object &inside, const Object &index, const View &view, int dim, TextRange range);
  Object callViewMethod(const Object &callee, Arguments &arguments);
  Object reshape(const View &view, std::vector<Object> sizes, TextRange range);
  Object flatten(const View &view, int first, int last, TextRange range);
  Object permute(const View &view, std::vector<int> order, TextRange range);
  Object castView(const View &view, Arguments &arguments, std::string_view name);
  bool dimOf(const Object &object, int rank, TextRange range, int &dim);
  Object viewAttribute(const View &view, const AstNode &node);
  static std::string indexExample(const CaptureInfo &capture);
  Object failRank(const View &view, TextRange range);

  using Elementwise = std::function<Object(const std::vector<Object> &)>;

  // --- tensors that the text makes (SemaTables.cpp, SemaTableMakers.cpp, SemaTableFunctions.cpp) ---
  /// Elements as that dtype holds them; a tensor without dimensions is a number.
  Object makeConstant(DType type, std::vector<std::int64_t> sizes, std::vector<PyNumber> elements, TextRange range);
  static bool isKnownTensor(const Object &object) { return object.tag == Tag::View && object.view->isKnown; }
  /// The elements of a known tensor now.
  const Constant *valuesOf(const View &view, TextRange range);
  /// The elements of a known tensor, or a number as a tensor without dimensions; fails for anything else.
  const Constant *knownTensor(const Object &object, TextRange range);
  const Constant *knownInput(const Object &object, const Arguments &a);
  const CaptureInfo &infoOf(const View &view) const { return view.constant ? view.constant->info : captures.infos[view.capture]; }
  Object unlifted(const Object &object) const;
  const View *foldedView(const View &view, TextRange range);
  bool placeTable(Constant &tensor, TextRange range);
  ValueId constantElement(const View &view, const std::vector<Object> &indices, TextRange range);
  Object mapKnown(const std::vector<Object> &operands, const std::vector<Object> &sizes, Kind kind, const Elementwise &apply,
                  TextRange range);
  Object reduceKnown(Op op, const View &view, const std::vector<int> &dims, bool keepDims, TextRange range);
  Object gather(const View &view, int dim, const View &indices, TextRange range);
  const View *onOther(const View &view, const View *root);
  void assignConstant(const View &target, const Object &value, TextRange range);
  bool readElements(const Object &data, TextRange range, std::vector<std::int64_t> &sizes, std::vector<PyNumber> &elements,
                    std::size_t dim);
  std::optional<DType> takeDtype(Arguments &a);
  bool takeNamed(Arguments &a, std::initializer_list<std::string_view> names, std::size_t least, std::vector<Object> &values);
  bool takeShape(const std::vector<Object> &values, TextRange range, std::vector<std::int64_t> &sizes);
  Object pyTensor(Arguments &a, const PythonFunction &self);
  Object pyArange(Arguments &a, const PythonFunction &self);
  Object pyLinspace(Arguments &a, const PythonFunction &self);
  Object pyEye(Arguments &a, const PythonFunction &self);
  Object pyCat(Arguments &a, const PythonFunction &self);
  Object pyScan(Arguments &a, const PythonFunction &self);
  Object pyRepeat(Arguments &a, const PythonFunction &self);
  Object pyFlip(Arguments &a, const PythonFunction &self);
  Object pyTriangle(Arguments &a, const PythonFunction &self);
  Object pyDiff(Arguments &a, const PythonFunction &self);
  Object pyArgExtreme(Arguments &a, const PythonFunction &self);
  Object pySort(Arguments &a, const PythonFunction &self);
  Object pyUnique(Arguments &a, const PythonFunction &self);
  Object pyToList(Arguments &a, const PythonFunction &self);

  // --- whole tensors as values (SemaRows.cpp) ---
  static bool isTensor(const Object &object) { return object.tag == Tag::View && object.view->rank > 0; }
  /// `apply` on every element of the operands that are tensors, after broadcasting; the number itself if none is. `equalDim`: Mapped.
  Object mapTensors(std::vector<Object> operands, TextRange range, Elementwise apply, int equalDim = -1);
  Object broadcastSize(const Object &x, const Object &y, bool mustEqual, TextRange range);
  ValueId mappedElement(const View &view, const std::vector<Object> &indices, TextRange range);
  ValueId reducedElement(const View &view, const std::vector<Object> &indices, TextRange range);
  Object mapCall(const Object &callee, const Object *receiver, const Arguments &arguments);
  Object failReduction(std::string_view name, TextRange range);
  Object callReduction(std::string_view name, const View &view, const Arguments &arguments);
  Object reduceTensor(Op op, const View &view, const std::vector<int> &dims, bool keepDims, TextRange range);
  bool readDims(const Object &dims, int rank, TextRange range, std::vector<int> &chosen);
  Object callProduct(std::string_view name, const View &receiver, const Arguments &arguments);
  Object matrixProduct(const Object &x, const Object &y, TextRange range);
  Object sumOfProducts(const Object &x, const Object &y, int dimFromBack, TextRange range);
  Object viewNamed(View::Step step, const View &view, int dim);

  const Ast &ast() const { return unit->ast; }

  const Unit &root;
  const Unit *const module;
  const ModKind mod;
  const CaptureScope &captures;
  std::vector<ScalarDecl> &scalars;
  std::vector<CaptureDecl> &tables;               ///< the captures, then the tensors that the text makes
  const std::size_t othersTables = tables.size(); ///< the captures, and what the mods before this one have made

  const Unit *unit = &root;
  Lower lower;
  bool lifting = false; ///< number literals become Scalars: the mod-naming expression is being read
  Scope *scope = nullptr;
  const Scope *bareScope = nullptr; ///< of a bare expression: the standard names
  int depth = 0, descent = 0;
  std::size_t steps = 0, stepLimit = kMaxSteps;
  Effects effects;
  Object::Tag lastCallee = Object::Tag::None; ///< of the call evaluated last
  TextRange resultRange;                      ///< of the last return, in resultUnit
  const Unit *resultUnit = &root;
  std::optional<Error> error;
  std::unordered_map<std::string_view, AstImport> imports; ///< by the name that they bind
  Raised raised;                                           ///< beside `error`: its name is empty where no `try` may catch it
  std::vector<Raised> handling;                            ///< by the handlers that run now
  std::vector<Error> moduleErrors; ///< of module statements that could not be run; they count only where their names are used

  struct Call {
    const Unit *unit; ///< of the caller
    TextRange range;
    const AstFunction *callee;
  };
  std::vector<Call> calls; ///< being expanded; where errors came from

  // What objects point to; lives as long as the evaluation.
  std::deque<std::string> texts;
  std::deque<std::vector<Object>> tuples, lists;
  std::deque<Dict> dicts;
  std::deque<Scope> scopes;
  std::deque<Closure> closures;
  std::deque<Applied> applieds;
  std::deque<Combined> combineds;
  std::deque<Constant> constants;
  std::deque<View> views;
  std::deque<Mapped> mappeds;
};

} // namespace attnjit::expr
