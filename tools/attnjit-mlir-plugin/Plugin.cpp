// attnjit as a plugin of mlir-opt. The tool's own MLIR is the one that we use.
#include "attnjit-mlir/InitAll.h"
#include "attnjit/Version.h"

#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT mlir::DialectPluginLibraryInfo mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "attnjit", ATTNJIT_VERSION_STRING,
          [](mlir::DialectRegistry *registry) { attnjit::registerAllDialects(*registry); }};
}

extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "attnjit", ATTNJIT_VERSION_STRING, [] { attnjit::registerAllPasses(); }};
}
