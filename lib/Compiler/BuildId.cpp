#include "Compiler/Compiler.h"

#include "BuildHash.inc"
#include "attnjit/Version.h"

#include "llvm/Config/llvm-config.h"

namespace attnjit::compiler {

std::string_view KernelCompiler::buildId() const { return ATTNJIT_VERSION_STRING "+llvm" LLVM_VERSION_STRING "+" ATTNJIT_BUILD_HASH; }

} // namespace attnjit::compiler
