#include "Compiler/Compiler.h"

attnjit::compiler::CompilerInterface *attnjit_compiler_entry() {
  // Never destroyed: threads may still compile while the process ends.
  static auto *compiler = new attnjit::compiler::KernelCompiler;
  return compiler;
}
