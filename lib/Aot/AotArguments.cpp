#include "Aot/AotArguments.h"

#include <algorithm>
#include <iterator>

namespace attnjit::aot {

namespace {

/// Words of C17 and C++20.
constexpr std::string_view kWords[] = {
    "alignas",   "alignof",  "and",      "and_eq",   "asm",          "auto",       "bitand",       "bitor",         "bool",
    "break",     "case",     "catch",    "char",     "char16_t",     "char32_t",   "char8_t",      "class",         "co_await",
    "co_return", "co_yield", "compl",    "concept",  "const",        "const_cast", "consteval",    "constexpr",     "constinit",
    "continue",  "decltype", "default",  "delete",   "do",           "double",     "dynamic_cast", "else",          "enum",
    "explicit",  "export",   "extern",   "false",    "float",        "for",        "friend",       "goto",          "if",
    "inline",    "int",      "long",     "mutable",  "namespace",    "new",        "noexcept",     "not",           "not_eq",
    "nullptr",   "operator", "or",       "or_eq",    "private",      "protected",  "public",       "register",      "reinterpret_cast",
    "requires",  "restrict", "return",   "short",    "signed",       "sizeof",     "static",       "static_assert", "static_cast",
    "struct",    "switch",   "template", "this",     "thread_local", "throw",      "true",         "try",           "typedef",
    "typeid",    "typename", "union",    "unsigned", "using",        "virtual",    "void",         "volatile",      "wchar_t",
    "while",     "xor",      "xor_eq"};

bool isWord(std::string_view name) { return std::find(std::begin(kWords), std::end(kWords), name) != std::end(kWords); }

bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }

} // namespace

bool isCIdentifier(std::string_view name) {
  return !name.empty() && isLetter(name.front()) && !isWord(name) &&
         std::all_of(name.begin(), name.end(), [](char c) { return isLetter(c) || isDigit(c); });
}

const Field *AotArguments::find(std::string_view name) const {
  for (const std::vector<Field> *fields : {&tensors, &numbers})
    for (const Field &field : *fields)
      if (field.info.name == name)
        return &field;
  return nullptr;
}

AotArguments argumentsOf(const Mod &mod, AotKind kind) {
  AotArguments arguments;
  arguments.bytes = kind == AotKind::Bare ? kBareCallBytes : kRuntimeCallBytes;
  const auto add = [&](std::vector<Field> &fields, const CaptureInfo &info, std::size_t size) {
    fields.push_back({info, isWord(info.name) ? info.name + "_" : info.name, arguments.bytes});
    arguments.bytes += size;
  };
  for (const CaptureInfo &info : mod.captures())
    if (info.rank != CaptureInfo::kNumber)
      add(arguments.tensors, info, sizeof(CaptureArg));
  for (const CaptureInfo &info : mod.captures())
    if (info.rank == CaptureInfo::kNumber)
      add(arguments.numbers, info, sizeof(ScalarArg));
  return arguments;
}

} // namespace attnjit::aot
