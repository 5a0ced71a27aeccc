// Which of several CPU targets a machine runs, asked in generated code that has no library to ask.
#pragma once

#include <string>
#include <vector>

namespace attnjit::aot {

/// LLVM IR of `i32 @NAME.choose()`: the first of `targets` (as TargetDesc::cpu, all of one architecture) that the machine has, -1 for none.
/// The first call looks (a virtual machine may take microseconds for each CPUID); the answer is kept.
std::string cpuChoice(const std::string &name, const std::vector<std::string> &targets);

/// Whether code that asks the CPU alone can tell that it may use the target: tiles of AMX have to be asked for from the system.
bool isChosenByCpu(const std::string &target);

} // namespace attnjit::aot
