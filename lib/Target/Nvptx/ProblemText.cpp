#include "Target/Nvptx/ProblemText.h"

#include "llvm/IR/Metadata.h"
#include "llvm/IR/Module.h"

using namespace llvm;

namespace attnjit::target {

static constexpr StringRef kName = "attnjit.problem";
static constexpr StringRef kComment = "// attnjit.problem: ";

void attachProblemMetadata(Module &module, StringRef text) {
  SmallVector<Metadata *> lines;
  while (!text.empty()) {
    auto [line, rest] = text.split('\n');
    lines.push_back(MDString::get(module.getContext(), line));
    text = rest;
  }
  NamedMDNode *node = module.getOrInsertNamedMetadata(kName);
  node->clearOperands();
  node->addOperand(MDNode::get(module.getContext(), lines));
}

std::optional<std::string> problemOfMetadata(const Module &module) {
  const NamedMDNode *node = module.getNamedMetadata(kName);
  if (!node || node->getNumOperands() != 1)
    return std::nullopt;
  std::string text;
  for (const MDOperand &operand : node->getOperand(0)->operands()) {
    auto *line = dyn_cast_or_null<MDString>(operand.get());
    if (!line)
      return std::nullopt;
    text += line->getString();
    text += '\n';
  }
  return text;
}

std::string withProblemComment(StringRef ptx, StringRef text) {
  std::string result;
  while (!text.empty()) {
    auto [line, rest] = text.split('\n');
    result += kComment;
    result += line;
    result += '\n';
    text = rest;
  }
  return result + ptx.str();
}

std::optional<std::string> takeProblemComment(StringRef &ptx) {
  std::string text;
  while (ptx.consume_front(kComment)) {
    auto [line, rest] = ptx.split('\n');
    text += line;
    text += '\n';
    ptx = rest;
  }
  return text.empty() ? std::nullopt : std::optional(std::move(text));
}

} // namespace attnjit::target
