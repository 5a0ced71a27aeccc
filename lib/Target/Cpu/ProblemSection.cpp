#include "Target/Cpu/ProblemSection.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/Module.h"
#include "llvm/Object/ObjectFile.h"
#include "llvm/Support/MemoryBufferRef.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace attnjit::target {

namespace {

constexpr StringRef kSection = ".attnjit.problem";

/// Inverse of the quoting that assemblers use: \", \\, \n, \t ... and \ooo.
std::optional<std::string> unquote(StringRef quoted) {
  std::string text;
  while (!quoted.empty()) {
    if (quoted.front() != '\\') {
      text += quoted.front();
      quoted = quoted.drop_front();
      continue;
    }
    quoted = quoted.drop_front();
    if (quoted.empty())
      return std::nullopt;
    unsigned octal = 0;
    if (quoted.size() >= 3 && !quoted.take_front(3).getAsInteger(8, octal)) {
      text += char(octal);
      quoted = quoted.drop_front(3);
      continue;
    }
    constexpr StringRef letters = "nrtbf\"\\", meanings = "\n\r\t\b\f\"\\";
    const size_t which = letters.find(quoted.front());
    if (which == StringRef::npos)
      return std::nullopt;
    text += meanings[which];
    quoted = quoted.drop_front();
  }
  return text;
}

} // namespace

void attachProblem(Module &module, StringRef text) {
  std::string code;
  raw_string_ostream os(code);
  os << ".pushsection " << kSection << ",\"\",@progbits\n";
  while (!text.empty()) {
    auto [line, rest] = text.split('\n');
    os << ".ascii \"";
    os.write_escaped(line);
    os << "\\n\"\n";
    text = rest;
  }
  os << ".popsection\n";
  module.appendModuleInlineAsm(code);
}

std::optional<std::string> problemOfAssembly(StringRef assembly) {
  // The streamer prints .pushsection as .section and .popsection as a return to .text; both end the run of .ascii lines.
  const size_t start = assembly.find(kSection);
  if (start == StringRef::npos)
    return std::nullopt;
  StringRef rest = assembly.drop_front(start).split('\n').second;
  std::string text;
  while (!rest.empty()) {
    StringRef line;
    std::tie(line, rest) = rest.split('\n');
    line = line.trim();
    if (line.empty())
      continue;
    if (!line.consume_front(".ascii"))
      break;
    line = line.trim();
    if (!line.consume_front("\"") || !line.consume_back("\""))
      return std::nullopt;
    std::optional<std::string> piece = unquote(line);
    if (!piece)
      return std::nullopt;
    text += *piece;
  }
  return text;
}

std::optional<std::string> problemOfModule(const Module &module) { return problemOfAssembly(module.getModuleInlineAsm()); }

std::optional<std::string> problemOfObject(StringRef object) {
  auto file = object::ObjectFile::createObjectFile(MemoryBufferRef(object, "obj"));
  if (!file) {
    consumeError(file.takeError());
    return std::nullopt;
  }
  for (const object::SectionRef &section : (*file)->sections()) {
    Expected<StringRef> name = section.getName();
    if (!name) {
      consumeError(name.takeError());
      continue;
    }
    if (*name != kSection)
      continue;
    Expected<StringRef> contents = section.getContents();
    if (contents)
      return contents->str();
    consumeError(contents.takeError());
  }
  return std::nullopt;
}

} // namespace attnjit::target
