#include "Compiler/CompilerInterface.h"

#include "BuildHash.inc"
#include "attnjit/Version.h"

namespace attnjit::compiler {

std::string_view buildId() { return ATTNJIT_VERSION_STRING "+" ATTNJIT_BUILD_HASH; }

} // namespace attnjit::compiler
