// Texts: what Python's str() shows of an object, f-strings, format() and '%', and the methods of a text.
#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace attnjit::expr {

namespace {

/// What is shown of a container before "...".
constexpr std::size_t kShown = 200;

std::string_view dtypeName(DType dtype) {
  for (const auto &[name, candidate] : torchDtypes())
    if (candidate == dtype)
      return name;
  return attnjit::name(dtype);
}

std::string_view stripped(std::string_view text, std::string_view unwanted, bool left, bool right) {
  const std::size_t begin = left ? std::min(text.find_first_not_of(unwanted), text.size()) : 0;
  text.remove_prefix(begin);
  return right ? text.substr(0, text.find_last_not_of(unwanted) + 1) : text;
}

char lowered(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
char uppered(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

} // namespace

std::optional<std::string> Sema::textOf(const Object &object) {
  const Descent level(*this);
  if (!level)
    return std::nullopt;
  switch (object.tag) {
  case Tag::String:
    return std::string(object.text);
  case Tag::None:
    return "None";
  case Tag::Number:
    return object.isKnown() ? pyText(numberOf(object)) : "?"; // known at run time only
  case Tag::Tuple:
  case Tag::List: {
    std::string all;
    for (const Object &item : *object.items) {
      if (all.size() > kShown) {
        all += ", ...";
        break;
      }
      all += fmt::format("{}{}", all.empty() ? "" : ", ", quoted(item));
    }
    const bool isSingle = object.items->size() == 1;
    return object.tag == Tag::List ? fmt::format("[{}]", all) : fmt::format("({}{})", all, isSingle ? "," : "");
  }
  case Tag::Dict: {
    std::string all;
    for (const auto &[key, value] : object.dict->entries) {
      if (all.size() > kShown) {
        all += ", ...";
        break;
      }
      all += fmt::format("{}{}: {}", all.empty() ? "" : ", ", quoted(key), quoted(value));
    }
    return fmt::format("{{{}}}", all);
  }
  case Tag::Closure:
    return fmt::format("<function {}>", object.closure->function->name);
  case Tag::Dtype:
    return fmt::format("torch.{}", dtypeName(object.dtype));
  default:
    return std::nullopt;
  }
}

/// repr(object)
std::string Sema::quoted(const Object &object) { return object.tag == Tag::String ? pyQuoted(object.text) : textOf(object).value_or("?"); }

/// format(object, spec), a conversion such as "!r" before the ':' of the spec.
std::optional<std::string> Sema::formatted(const Object &object, std::string_view spec) {
  std::optional<std::string> words;
  if (spec.starts_with("!")) {
    words = spec.starts_with("!r") ? quoted(object) : textOf(object).value_or("?");
    spec.remove_prefix(std::min<std::size_t>(2, spec.size()));
  }
  if (spec.starts_with(":"))
    spec.remove_prefix(1);
  if (!words && object.isKnown())
    return pyFormat(numberOf(object), spec);
  if (!words)
    words = textOf(object).value_or("?");
  return object.isNumber() && !object.isKnown() ? words : pyFormat(*words, spec);
}

bool Sema::append(std::string &all, const Object &object, std::string_view spec, TextRange range) {
  const std::optional<std::string> piece = formatted(object, spec);
  if (!piece) {
    spec.remove_prefix(std::min(spec.find(':') + 1, spec.size()));
    fail(range, fmt::format("'{}' is no format of this {}", spec, object.isNumber() ? "number" : "value"), "e.g. {x:.2f}, {n:3d}");
    return false;
  }
  all += *piece;
  return !failed() && spend(piece->size() / 8 + 1, range);
}

Object Sema::evaluateFString(const AstNode &node) {
  std::string all;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const Object piece = evaluate(node.children[i]);
    if (failed() || !append(all, piece, node.keywords[i], ast()[node.children[i]].range))
      return {};
  }
  return text(std::move(all));
}

/// "{} of {n:3d}".format(...)
Object Sema::stringFormat(const Object &self, Arguments &a) {
  std::string all;
  std::size_t position = 0;
  const std::string_view whole = self.text;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const char c = whole[i];
    if ((c == '{' || c == '}') && i + 1 < whole.size() && whole[i + 1] == c) {
      all += whole[++i];
      continue;
    }
    if (c != '{') {
      all += c;
      continue;
    }
    const std::size_t close = std::min(whole.find('}', i), whole.size());
    const std::string_view field = whole.substr(i + 1, close - i - 1);
    const std::size_t end = std::min(field.find_first_of("!:"), field.size());
    const std::string_view name = field.substr(0, end);
    const bool isPlace = name.find_first_not_of("0123456789") == std::string_view::npos && name.size() < 4;
    const std::size_t place = name.empty() ? position++ : isPlace ? std::stoul(std::string(name)) : a.size();
    std::size_t slot = 0, seen = 0;
    for (; slot < a.size(); ++slot)
      if (isPlace ? a.keywords[slot].empty() && seen++ == place : a.keywords[slot] == name)
        break;
    if (slot == a.size() || close == whole.size())
      return fail(a.call, fmt::format("'.format' has no argument for '{{{}}}'", field), "give one argument for each '{}'");
    if (!append(all, a.values[slot], field.substr(end), a.call))
      return {};
    i = close;
  }
  return spend(all.size() / 8 + 1, a.call) ? text(std::move(all)) : Object();
}

/// "%d of %s" % (n, name)
Object Sema::percentFormat(const Object &self, const Object &values, TextRange range) {
  const std::vector<Object> items = values.tag == Tag::Tuple ? *values.items : std::vector<Object>{values};
  std::string all;
  std::size_t next = 0;
  for (std::size_t i = 0; i < self.text.size(); ++i) {
    if (self.text[i] != '%') {
      all += self.text[i];
      continue;
    }
    const std::size_t end = std::min(self.text.find_first_not_of("-+ #0123456789.", i + 1), self.text.size() - 1);
    const char type = self.text[end];
    std::string spec(self.text.substr(i + 1, end - i - 1));
    i = end;
    if (type == '%') {
      all += '%';
      continue;
    }
    if (next == items.size() || std::string_view("diufFeEgGsrxXo").find(type) == std::string_view::npos)
      return fail(range, next == items.size() ? "this text has more '%' than values" : fmt::format("'%{}' is no format", type),
                  "e.g. \"window %d\" % window");
    const Object &item = items[next++];
    if (spec.starts_with('-'))
      spec[0] = '<';
    else if ((type == 's' || type == 'r') && !spec.empty() && spec[0] != '.')
      spec = fmt::format(">{}", spec);
    const bool isInt = type == 'd' || type == 'i' || type == 'u';
    if (type != 's' && type != 'r')
      spec += isInt ? 'd' : type;
    Object shown = item;
    if (isInt && item.isKnown() && numberOf(item).kind == Kind::Float)
      shown = text(fmt::format("{:.0f}", std::trunc(numberOf(item).f))), spec.pop_back();
    if (!append(all, shown, fmt::format("{}:{}", type == 's' ? "!s" : type == 'r' ? "!r" : "", spec), range))
      return {};
  }
  if (next < items.size())
    return fail(range, "this text has fewer '%' than values", "e.g. \"window %d\" % window");
  return text(std::move(all));
}

// --- methods ---

bool Sema::takesTexts(const Arguments &a, std::size_t least, std::size_t most) {
  if (!takes(a, least, most))
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a.values[i].tag != Tag::String) {
      fail(a.ranges[i], fmt::format("'.{}' takes a text", a.name), "e.g. name.startswith(\"causal\")");
      return false;
    }
  return true;
}

Object Sema::stringTest(const Object &self, Arguments &a) {
  if (a.size() == 1 && a.values[0].isSequence()) { // any of several
    for (const Object &one : *a.values[0].items) {
      Arguments single{{one}, {{}}, a.ranges, a.call, a.name};
      const Object found = stringTest(self, single);
      if (failed() || numberOf(found).truth())
        return found;
    }
    return knownBool(false);
  }
  if (!takesTexts(a, 1, 1))
    return {};
  return knownBool(a.name == "startswith" ? self.text.starts_with(a.values[0].text) : self.text.ends_with(a.values[0].text));
}

Object Sema::stringKind(const Object &self, Arguments &a) {
  if (!takes(a, 0, 0))
    return {};
  const auto isDigit = [](char c) { return c >= '0' && c <= '9'; };
  const auto isLetter = [](char c) { return lowered(c) >= 'a' && lowered(c) <= 'z'; };
  const auto fits = [&](char c) {
    return a.name == "isdigit" ? isDigit(c) : a.name == "isalpha" ? isLetter(c) : isDigit(c) || isLetter(c);
  };
  return knownBool(!self.text.empty() && std::all_of(self.text.begin(), self.text.end(), fits));
}

Object Sema::stringCase(const Object &self, Arguments &a) {
  if (!takes(a, 0, 0))
    return {};
  std::string changed(self.text);
  for (std::size_t i = 0; i < changed.size(); ++i) {
    const bool begins = i == 0 || (a.name == "title" && lowered(changed[i - 1]) == uppered(changed[i - 1]));
    const bool isUpper = a.name == "upper" || (a.name != "lower" && begins);
    changed[i] = isUpper ? uppered(changed[i]) : lowered(changed[i]);
  }
  return spend(changed.size() / 8 + 1, a.call) ? text(std::move(changed)) : Object();
}

Object Sema::stringStrip(const Object &self, Arguments &a) {
  const bool isPart = a.name.starts_with("remove");
  if (!takesTexts(a, isPart ? 1 : 0, 1))
    return {};
  const std::string_view given = a.size() ? a.values[0].text : " \t\r\n\f\v";
  Object result = self;
  if (a.name == "removeprefix")
    result.text.remove_prefix(result.text.starts_with(given) ? given.size() : 0);
  else if (a.name == "removesuffix")
    result.text.remove_suffix(result.text.ends_with(given) ? given.size() : 0);
  else
    result.text = stripped(self.text, given, a.name != "rstrip", a.name != "lstrip");
  return result;
}

Object Sema::stringJoin(const Object &self, Arguments &a) {
  if (!takes(a, 1, 1))
    return {};
  const auto elements = elementsOf(a.values[0], a.ranges[0], "'.join'");
  if (!elements)
    return {};
  std::string all;
  for (std::size_t i = 0; i < elements->size(); ++i) {
    if ((*elements)[i].tag != Tag::String)
      return fail(a.ranges[0], "'.join' takes texts", "e.g. \"_\".join(str(x) for x in sizes)");
    all.append(i ? self.text : "").append((*elements)[i].text);
    if (!spend(all.size() / 64 + 1, a.call))
      return {};
  }
  return text(std::move(all));
}

Object Sema::stringSplit(const Object &self, Arguments &a) {
  if (!takesTexts(a, 0, 1))
    return {};
  const bool isBlank = a.size() == 0;
  const std::string_view separator = isBlank ? " \t\r\n\f\v" : a.values[0].text;
  if (separator.empty())
    return fail(a.ranges[0], "an empty separator", "e.g. \"a,b\".split(\",\")");
  std::vector<Object> parts;
  for (std::string_view rest = self.text;;) {
    if (isBlank)
      rest = stripped(rest, separator, true, false);
    if (!spend(kElementCost, a.call) || (isBlank && rest.empty()))
      break;
    const std::size_t end = std::min(isBlank ? rest.find_first_of(separator) : rest.find(separator), rest.size());
    parts.push_back(text(std::string(rest.substr(0, end))));
    if (end == rest.size())
      break;
    rest.remove_prefix(end + (isBlank ? 1 : separator.size()));
  }
  return failed() ? Object() : list(std::move(parts));
}

Object Sema::stringReplace(const Object &self, Arguments &a) {
  if (!takesTexts(a, 2, 2))
    return {};
  const std::string_view from = a.values[0].text, to = a.values[1].text;
  if (from.empty())
    return fail(a.ranges[0], "an empty text cannot be replaced", "");
  std::string all;
  for (std::size_t at = 0; at < self.text.size();) {
    const std::size_t found = std::min(self.text.find(from, at), self.text.size());
    all.append(self.text.substr(at, found - at)).append(found < self.text.size() ? to : "");
    at = found + from.size();
    if (!spend(to.size() / 8 + 1, a.call))
      return {};
  }
  return text(std::move(all));
}

Object Sema::stringFind(const Object &self, Arguments &a) {
  if (!takesTexts(a, 1, 1))
    return {};
  const std::string_view wanted = a.values[0].text;
  if (a.name == "count") {
    std::int64_t count = 0;
    for (std::size_t at = 0; !wanted.empty() && (at = self.text.find(wanted, at)) != std::string_view::npos; at += wanted.size())
      ++count;
    return knownInt(count);
  }
  const std::size_t found = self.text.find(wanted);
  return knownInt(found == std::string_view::npos ? -1 : static_cast<std::int64_t>(found));
}

} // namespace attnjit::expr
