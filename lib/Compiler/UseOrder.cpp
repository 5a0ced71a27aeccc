#include "Compiler/UseOrder.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/IR/Constant.h"
#include "llvm/IR/Module.h"

using namespace llvm;

namespace attnjit::compiler {

namespace {

class UseSorter {
public:
  explicit UseSorter(Module &module) : module(module) {
    for (Function &function : module)
      for (BasicBlock &block : function)
        for (Instruction &instruction : block)
          positions[&instruction] = positions.size();
  }

  void run() {
    for (GlobalVariable &global : module.globals())
      sort(global);
    for (Function &function : module) {
      sort(function);
      for (Argument &argument : function.args())
        sort(argument);
      for (BasicBlock &block : function) {
        sort(block);
        for (Instruction &instruction : block) {
          sort(instruction);
          for (Value *operand : instruction.operands())
            if (isa<Constant>(operand))
              sort(*operand);
        }
      }
    }
  }

private:
  /// Users that are no instructions (constants of constants) come last and keep their order.
  std::size_t position(const Use &use) const {
    auto found = positions.find(use.getUser());
    return found == positions.end() ? ~std::size_t(0) : found->second;
  }

  void sort(Value &value) {
    if (!value.hasUseList() || value.use_empty() || value.hasOneUse() || !done.insert(&value).second)
      return;
    value.sortUseList([this](const Use &a, const Use &b) {
      const std::size_t first = position(a), second = position(b);
      return first != second ? first < second : a.getOperandNo() < b.getOperandNo();
    });
  }

  Module &module;
  DenseMap<const User *, std::size_t> positions;
  SmallPtrSet<const Value *, 32> done;
};

} // namespace

void sortUses(Module &module) { UseSorter(module).run(); }

} // namespace attnjit::compiler
