// Tuples, lists, sets and dictionaries: how they are made, changed and asked. A set is a tuple without repetition.
//
// Lists and dictionaries change while the formula is read. What a run-time condition guards happens for some pairs only, so there nothing
// may change that was made outside (Effects).
#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

// --- making ---

Object Sema::list(std::vector<Object> items) {
  Object object;
  object.tag = Tag::List;
  object.index = lists.size();
  object.items = &lists.emplace_back(std::move(items));
  return object;
}

Object Sema::dictionary(Dict dict) {
  Object object;
  object.tag = Tag::Dict;
  object.index = dicts.size();
  object.dict = &dicts.emplace_back(std::move(dict));
  return object;
}

/// A tuple, a list, or the elements of a set.
Object Sema::evaluateTuple(const AstNode &node) {
  std::vector<Object> items;
  items.reserve(node.children.size());
  for (AstId child : node.children) {
    if (ast()[child].kind == AstKind::Starred) {
      const Object list = evaluate(ast()[child].children[0]);
      const auto elements = failed() ? std::nullopt : elementsOf(list, ast()[child].range, "'*'");
      if (!elements || !spend(kElementCost * elements->size(), node.range))
        return {};
      items.insert(items.end(), elements->begin(), elements->end());
      continue;
    }
    items.push_back(evaluate(child));
    if (failed())
      return {};
  }
  return node.kind == AstKind::List ? list(std::move(items)) : tuple(std::move(items));
}

Object Sema::evaluateSet(const AstNode &node) {
  const Object items = node.intValue ? evaluate(node.children[0]) : evaluateTuple(node);
  return failed() ? Object() : setOf(*items.items, node.range);
}

Object Sema::setOf(const std::vector<Object> &items, TextRange range) {
  std::vector<Object> kept;
  for (const Object &item : items) {
    if (!isKey(item, range) || !spend(kept.size() / 8 + 1, range))
      return {};
    if (std::none_of(kept.begin(), kept.end(), [&](const Object &other) { return sameKey(item, other); }))
      kept.push_back(item);
  }
  return tuple(std::move(kept));
}

Object Sema::evaluateDict(const AstNode &node) {
  Dict dict;
  if (node.intValue) {
    const Object pairs = evaluate(node.children[0]);
    if (failed())
      return {};
    for (const Object &pair : *pairs.items)
      if (!store(dict, (*pair.items)[0], (*pair.items)[1], node.range))
        return {};
    return dictionary(std::move(dict));
  }
  for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
    const AstNode &key = ast()[node.children[i]];
    if (key.kind == AstKind::Starred) {
      const Object other = evaluate(key.children[0]);
      if (failed() || !mergeInto(dict, other, key.range))
        return {};
      continue;
    }
    const Object name = evaluate(node.children[i]);
    const Object value = failed() ? Object() : evaluate(node.children[i + 1]);
    if (failed() || !store(dict, name, value, key.range))
      return {};
  }
  return dictionary(std::move(dict));
}

Object Sema::evaluateComprehension(const AstNode &node) {
  const Object iterable = evaluate(node.children[2]);
  const auto elements = failed() ? std::nullopt : elementsOf(iterable, ast()[node.children[2]].range, "a comprehension");
  if (!elements)
    return {};
  Scope &own = scopes.emplace_back(scope, false);
  own.isComprehension = true;
  Scope *outer = std::exchange(scope, &own);
  std::vector<Object> items;
  for (const Object &element : *elements) {
    assign(node.children[1], element, own);
    bool wanted = true;
    for (std::size_t i = 3; i < node.children.size() && !failed() && wanted; ++i) {
      std::optional<bool> known;
      ValueId value = 0;
      if (condition(node.children[i], "'if'", known, value) && !known)
        fail(ast()[node.children[i]].range, "the length of a list cannot depend on what is known only at run time",
             "use the condition in the values instead");
      wanted = known.value_or(false);
    }
    const Object item = wanted && !failed() ? evaluate(node.children[0]) : Object();
    if (failed() || !spend(1, node.range))
      break;
    if (wanted && node.intValue)
      items.insert(items.end(), item.items->begin(), item.items->end());
    else if (wanted)
      items.push_back(item);
  }
  scope = outer;
  return failed() ? Object() : list(std::move(items));
}

// --- keys ---

bool Sema::isKey(const Object &object, TextRange range) {
  const Descent level(*this);
  if (!level)
    return false;
  if (object.tag == Tag::Tuple)
    return std::all_of(object.items->begin(), object.items->end(), [&](const Object &item) { return isKey(item, range); });
  const bool isRunTime = object.tag == Tag::View || (object.isNumber() && !object.isKnown());
  if (!isRunTime && object.tag != Tag::List && object.tag != Tag::Dict)
    return true;
  fail(range, isRunTime ? "a key or an element of a set must be known when the formula is read" : "a list or dictionary cannot be a key",
       isRunTime ? "put the values into a captured tensor and index it, or compare: torch.where(h == 0, a, b)" : "use a tuple");
  return false;
}

bool Sema::sameKey(const Object &x, const Object &y) {
  return x.isKnown() && y.isKnown() ? pyCompare("==", numberOf(x), numberOf(y)) : sameObject(x, y);
}

const Object *Sema::entryOf(const Dict &dict, const Object &key, TextRange range) {
  if (!isKey(key, range) || !spend(dict.entries.size() / 8 + 1, range))
    return nullptr;
  const auto found = std::find_if(dict.entries.begin(), dict.entries.end(), [&](const auto &entry) { return sameKey(entry.first, key); });
  return found == dict.entries.end() ? nullptr : &found->second;
}

bool Sema::store(Dict &dict, const Object &key, const Object &value, TextRange range) {
  if (const Object *entry = entryOf(dict, key, range))
    const_cast<Object &>(*entry) = value;
  else if (!failed() && spend(2 * kElementCost, range))
    dict.entries.emplace_back(key, value);
  return !failed();
}

/// dict.update(other)
bool Sema::mergeInto(Dict &dict, const Object &other, TextRange range) {
  if (other.tag == Tag::Dict) {
    for (const auto &[key, value] : std::vector(other.dict->entries))
      if (!store(dict, key, value, range))
        return false;
    return true;
  }
  const auto pairs = elementsOf(other, range, "a dictionary");
  for (std::size_t i = 0; pairs && i < pairs->size(); ++i) {
    const auto pair = elementsOf((*pairs)[i], range, "a dictionary");
    if (pair && pair->size() != 2)
      fail(range, "a dictionary is made of pairs", "e.g. dict([(\"window\", 3)])");
    if (failed() || !store(dict, (*pair)[0], (*pair)[1], range))
      return false;
  }
  return !failed();
}

// --- changing ---

/// The changeable inside of a list, or null with an error.
std::vector<Object> *Sema::changeable(const Object &object, TextRange range) {
  if (object.index >= effects.lists)
    return &lists[object.index];
  fail(range, "this list would change below a condition that is known only at run time",
       "make a new list there, or choose between values: torch.where(condition, a, b)");
  return nullptr;
}

Dict *Sema::changeableDict(const Object &object, TextRange range) {
  if (object.index >= effects.dicts)
    return &dicts[object.index];
  fail(range, "this dictionary would change below a condition that is known only at run time",
       "make a new one there, or choose between values: torch.where(condition, a, b)");
  return nullptr;
}

/// The place of a known index, counted from the front.
std::optional<std::size_t> Sema::placeOf(const Object &index, std::size_t size, TextRange range) {
  const auto known = knownIntOf(index, range, "the index of a list");
  if (!known)
    return std::nullopt;
  const auto count = static_cast<std::int64_t>(size);
  if (*known >= -count && *known < count)
    return static_cast<std::size_t>(*known < 0 ? *known + count : *known);
  raise("IndexError", range, fmt::format("index {} of a list of {}", *known, size), "the first is 0, the last is -1");
  return std::nullopt;
}

void Sema::assignElement(const AstNode &node, const Object &value) {
  const Object base = evaluate(node.children[0]);
  const Object index = failed() ? Object() : evaluate(node.children[1]);
  if (failed())
    return;
  if (base.tag == Tag::Dict) {
    if (Dict *dict = changeableDict(base, node.range))
      store(*dict, index, value, ast()[node.children[1]].range);
  } else if (base.tag == Tag::List) {
    std::vector<Object> *items = changeable(base, node.range);
    const auto place = items ? placeOf(index, items->size(), ast()[node.children[1]].range) : std::nullopt;
    if (place)
      (*items)[*place] = value;
  } else if (isKnownTensor(base)) {
    std::vector<Object> items{index};
    std::vector<TextRange> ranges{ast()[node.children[1]].range};
    for (std::size_t i = 2; i < node.children.size() && !failed(); ++i) {
      items.push_back(evaluate(node.children[i]));
      ranges.push_back(ast()[node.children[i]].range);
    }
    const Object target = failed() ? Object() : indexView(*base.view, items, ranges, node.range);
    if (!failed())
      assignConstant(*target.view, value, node.range);
  } else {
    fail(node.range, "only elements of lists and dictionaries can be assigned to",
         "captured tensors are read-only; write 'name = value' or 'a, b = pair'");
  }
}

void Sema::runDelete(const AstStatement &statement, Scope &own) {
  for (AstId target : statement.targets) {
    const AstNode &node = ast()[target];
    if (node.kind == AstKind::Name) {
      lookUp(node);
      Object unset;
      unset.tag = Tag::Unset;
      unset.text = texts.emplace_back(fmt::format("it is deleted in line {}", unit->source.line(node.range)));
      unset.detail = "remove the 'del'";
      if (!failed())
        own.bind(node.text, unset);
      continue;
    }
    const Object base = evaluate(node.children[0]);
    const Object index = failed() ? Object() : evaluate(node.children[1]);
    if (failed())
      return;
    Arguments arguments{{index}, {{}}, {ast()[node.children[1]].range}, node.range, "del"};
    if (base.tag == Tag::Dict)
      dictPop(base, arguments);
    else if (base.tag == Tag::List)
      listPop(base, arguments);
    else
      fail(node.range, "only elements of lists and dictionaries can be deleted", "");
    if (failed())
      return;
  }
}

// --- methods of lists ---

Object Sema::listAdd(const Object &self, Arguments &a) {
  const bool isInsert = a.name == "insert";
  std::vector<Object> *items = takes(a, 1 + isInsert, 1 + isInsert) && spend(kElementCost, a.call) ? changeable(self, a.call) : nullptr;
  if (!items)
    return {};
  if (!isInsert) {
    items->push_back(a.values[0]);
    return {};
  }
  const auto place = knownIntOf(a.values[0], a.ranges[0], "the index of a list");
  if (!place || !spend(items->size(), a.call))
    return {};
  const auto size = static_cast<std::int64_t>(items->size());
  items->insert(items->begin() + std::clamp<std::int64_t>(*place < 0 ? *place + size : *place, 0, size), a.values[1]);
  return {};
}

Object Sema::listExtend(const Object &self, Arguments &a) {
  if (!takes(a, 1, 1))
    return {};
  const auto more = elementsOf(a.values[0], a.ranges[0], "'.extend'");
  std::vector<Object> *items = more && spend(kElementCost * more->size(), a.call) ? changeable(self, a.call) : nullptr;
  if (items)
    items->insert(items->end(), more->begin(), more->end());
  return {};
}

Object Sema::listPop(const Object &self, Arguments &a) {
  std::vector<Object> *items = takes(a, 0, 1) && spend(self.items->size(), a.call) ? changeable(self, a.call) : nullptr;
  if (!items)
    return {};
  const auto place = placeOf(a.size() ? a.values[0] : knownInt(-1), items->size(), a.call);
  if (!place)
    return {};
  const Object taken = (*items)[*place];
  items->erase(items->begin() + static_cast<std::ptrdiff_t>(*place));
  return taken;
}

Object Sema::listOrder(const Object &self, Arguments &a) {
  std::vector<Object> *items = changeable(self, a.call);
  if (!items)
    return {};
  if (a.name == "clear" || a.name == "reverse") {
    if (takes(a, 0, 0))
      a.name == "clear" ? items->clear() : std::reverse(items->begin(), items->end());
    return {};
  }
  a.values.insert(a.values.begin(), self);
  a.keywords.insert(a.keywords.begin(), std::string_view());
  a.ranges.insert(a.ranges.begin(), a.call);
  const Object sorted = pySorted(a, *findPython("sorted", false));
  if (!failed())
    *items = std::vector<Object>(*sorted.items);
  return {};
}

Object Sema::sequenceFind(const Object &self, Arguments &a) {
  if (!takes(a, 1, 1) || !spend(self.items->size(), a.call))
    return {};
  std::int64_t count = 0;
  for (std::size_t i = 0; i < self.items->size(); ++i) {
    const Object equal = compare("==", (*self.items)[i], a.values[0], a.call, a.ranges[0], a.call);
    if (failed() || !equal.isKnown())
      return failed() ? Object()
                      : fail(a.call, fmt::format("'.{}' compares values that are known only at run time", a.name), "compare with ==");
    if (!numberOf(equal).truth())
      continue;
    if (a.name == "index")
      return knownInt(static_cast<std::int64_t>(i));
    if (a.name == "remove") {
      if (std::vector<Object> *items = changeable(self, a.call))
        items->erase(items->begin() + static_cast<std::ptrdiff_t>(i));
      return {};
    }
    ++count;
  }
  return a.name == "count" ? knownInt(count) : raise("ValueError", a.ranges[0], "this value is not in the list", "");
}

Object Sema::listCopy(const Object &self, Arguments &a) {
  return takes(a, 0, 0) && spend(kElementCost * self.items->size(), a.call) ? list(*self.items) : Object();
}

// --- methods of dictionaries ---

Object Sema::dictGet(const Object &self, Arguments &a) {
  if (!takes(a, 1, 2))
    return {};
  if (const Object *entry = entryOf(*self.dict, a.values[0], a.ranges[0]))
    return *entry;
  const Object missing = a.size() == 2 ? a.values[1] : Object();
  if (a.name == "setdefault" && !failed())
    if (Dict *dict = changeableDict(self, a.call))
      store(*dict, a.values[0], missing, a.call);
  return failed() ? Object() : missing;
}

Object Sema::dictParts(const Object &self, Arguments &a) {
  if (!takes(a, 0, 0) || !spend(kElementCost * self.dict->entries.size(), a.call))
    return {};
  std::vector<Object> parts;
  for (const auto &[key, value] : self.dict->entries)
    parts.push_back(a.name == "keys" ? key : a.name == "values" ? value : tuple({key, value}));
  return list(std::move(parts));
}

Object Sema::dictPop(const Object &self, Arguments &a) {
  Dict *dict = takes(a, 1, 2) ? changeableDict(self, a.call) : nullptr;
  if (!dict || !isKey(a.values[0], a.ranges[0]) || !spend(dict->entries.size(), a.call))
    return {};
  for (std::size_t i = 0; i < dict->entries.size(); ++i)
    if (sameKey(dict->entries[i].first, a.values[0])) {
      const Object taken = dict->entries[i].second;
      dict->entries.erase(dict->entries.begin() + static_cast<std::ptrdiff_t>(i));
      return taken;
    }
  return a.size() == 2 ? a.values[1] : failKey(*self.dict, a.values[0], a.ranges[0]);
}

Object Sema::dictUpdate(const Object &self, Arguments &a) {
  Dict *dict = changeableDict(self, a.call);
  for (std::size_t i = 0; dict && i < a.size() && !failed(); ++i)
    a.keywords[i].empty() ? mergeInto(*dict, a.values[i], a.ranges[i])
                          : store(*dict, text(std::string(a.keywords[i])), a.values[i], a.ranges[i]);
  return {};
}

Object Sema::dictClear(const Object &self, Arguments &a) {
  Dict *dict = takes(a, 0, 0) ? changeableDict(self, a.call) : nullptr;
  if (dict)
    dict->entries.clear();
  return {};
}

Object Sema::dictCopy(const Object &self, Arguments &a) {
  return takes(a, 0, 0) && spend(kElementCost * self.dict->entries.size(), a.call) ? dictionary(Dict(*self.dict)) : Object();
}

Object Sema::failKey(const Dict &dict, const Object &key, TextRange range) {
  std::vector<std::string> shown;
  for (const auto &entry : dict.entries)
    shown.push_back(quoted(entry.first));
  const std::vector<std::string_view> names(shown.begin(), shown.end());
  return raise("KeyError", range, fmt::format("the dictionary has no key {}", quoted(key)),
               names.empty() ? "it is empty" : "its keys are " + listNames(names));
}

// --- the table ---

std::span<const ObjectMethod> objectMethods() {
  using Tag = Object::Tag;
  static const ObjectMethod kMethods[] = {
      {Tag::String, "startswith endswith", &Sema::stringTest},
      {Tag::String, "isdigit isalpha isalnum", &Sema::stringKind},
      {Tag::String, "lower upper title capitalize", &Sema::stringCase},
      {Tag::String, "strip lstrip rstrip removeprefix removesuffix", &Sema::stringStrip},
      {Tag::String, "join", &Sema::stringJoin},
      {Tag::String, "split", &Sema::stringSplit},
      {Tag::String, "replace", &Sema::stringReplace},
      {Tag::String, "find count", &Sema::stringFind},
      {Tag::String, "format", &Sema::stringFormat},
      {Tag::Tuple, "index count", &Sema::sequenceFind},
      {Tag::List, "index count remove", &Sema::sequenceFind},
      {Tag::List, "append insert", &Sema::listAdd},
      {Tag::List, "extend", &Sema::listExtend},
      {Tag::List, "pop", &Sema::listPop},
      {Tag::List, "clear reverse sort", &Sema::listOrder},
      {Tag::List, "copy", &Sema::listCopy},
      {Tag::Dict, "get setdefault", &Sema::dictGet},
      {Tag::Dict, "keys values items", &Sema::dictParts},
      {Tag::Dict, "pop", &Sema::dictPop},
      {Tag::Dict, "update", &Sema::dictUpdate},
      {Tag::Dict, "clear", &Sema::dictClear},
      {Tag::Dict, "copy", &Sema::dictCopy},
  };
  return kMethods;
}

Object Sema::objectMethod(const Object &receiver, const AstNode &node) {
  std::vector<std::string_view> known;
  for (std::size_t i = 0; i < objectMethods().size(); ++i) {
    if (objectMethods()[i].receiver != receiver.tag)
      continue;
    bool found = false;
    forEachName(objectMethods()[i].names, [&](std::string_view name, bool) {
      found |= name == node.text;
      known.push_back(name);
    });
    if (!found)
      continue;
    Object method = tuple({receiver});
    method.tag = Tag::Method;
    method.index = i;
    method.text = node.text;
    return method;
  }
  const std::string_view what = receiver.tag == Tag::String  ? "text"
                                : receiver.tag == Tag::Tuple ? "tuple"
                                : receiver.tag == Tag::List  ? "list"
                                                             : "dictionary";
  return fail(node.token, fmt::format("'.{}' of a {} is not accepted", node.text, what), "its methods are " + listNames(known));
}

} // namespace attnjit::expr
