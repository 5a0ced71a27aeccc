// Makes the order of use lists a function of the module's text.
//
// LLVM keeps the uses of every value in a list whose order says in which order they were made; text does not keep it, yet printing
// (predecessors of a block) and code generation (ties between equally good choices) look at it. Sorted, a module and what is parsed from
// its text compile to the same bits.
#pragma once

namespace llvm {
class Module;
}

namespace attnjit::compiler {

/// Sorts the use lists of all blocks, instructions, arguments, globals and constants by position of the user.
void sortUses(llvm::Module &module);

} // namespace attnjit::compiler
