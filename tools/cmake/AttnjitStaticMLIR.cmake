# The static configuration names what it needs as component archives; the linker drops what is not reached.
#
# Debian builds LLVM with LLVM_LINK_LLVM_DYLIB, so its MLIR archives name libLLVM.so in their link interface. Here LLVM comes from archives too: one
# copy in the process.
foreach(TARGET ${MLIR_EXPORTED_TARGETS})
  get_target_property(INTERFACE ${TARGET} INTERFACE_LINK_LIBRARIES)
  if(INTERFACE)
    list(FILTER INTERFACE EXCLUDE REGEX "^(\\$<LINK_ONLY:)?LLVM>?$")
    set_target_properties(${TARGET} PROPERTIES INTERFACE_LINK_LIBRARIES "${INTERFACE}")
  endif()
endforeach()
# The same for what LLVM itself stands on; z3 is reached by none of what we use.
find_library(ATTNJIT_ZLIB_ARCHIVE libz.a REQUIRED)
find_library(ATTNJIT_ZSTD_ARCHIVE libzstd.a REQUIRED)
set_target_properties(LLVMSupport PROPERTIES
  INTERFACE_LINK_LIBRARIES "rt;dl;m;${ATTNJIT_ZLIB_ARCHIVE};${ATTNJIT_ZSTD_ARCHIVE};LLVMDemangle")

llvm_map_components_to_libnames(ATTNJIT_LLVM_LIBS
  Core Support BitWriter AsmParser IRReader Analysis ScalarOpts TransformUtils Passes Target TargetParser MC MCParser CodeGen
  JITLink OrcShared Object X86CodeGen X86AsmParser X86Desc X86Info AArch64CodeGen AArch64AsmParser AArch64Desc AArch64Info
  NVPTXCodeGen NVPTXDesc NVPTXInfo)
target_link_libraries(attnjit_mlir_options INTERFACE
  MLIRIR MLIRPass MLIRParser MLIRSupport MLIRTransforms MLIRTransformUtils MLIRAnalysis
  MLIRArithDialect MLIRMathDialect MLIRSCFDialect MLIRFuncDialect MLIRControlFlowDialect MLIRMemRefDialect MLIRVectorDialect
  MLIRLLVMDialect MLIRNVVMDialect MLIRGPUDialect
  MLIRSCFToControlFlow MLIRConvertToLLVMPass MLIRArithToLLVM MLIRControlFlowToLLVM MLIRFuncToLLVM MLIRMathToLLVM MLIRMemRefToLLVM
  MLIRVectorToLLVM MLIRVectorToLLVMPass MLIRNVVMToLLVM MLIRReconcileUnrealizedCasts MLIRLLVMCommonConversion
  MLIRTargetLLVMIRExport MLIRBuiltinToLLVMIRTranslation MLIRLLVMToLLVMIRTranslation MLIRNVVMToLLVMIRTranslation
  ${ATTNJIT_LLVM_LIBS})

# lld: 3 s instead of a minute, and it folds and drops unreached sections. LLVM's archives are built in sections; ours are small.
find_program(ATTNJIT_LLD NAMES ld.lld HINTS ${LLVM_TOOLS_BINARY_DIR} NO_DEFAULT_PATH REQUIRED)
get_filename_component(ATTNJIT_LLD_DIR "${ATTNJIT_LLD}" DIRECTORY)
# g++ 12 finds lld by this name only, so it is pointed at the versioned directory.
add_link_options(-B${ATTNJIT_LLD_DIR} -fuse-ld=lld LINKER:--gc-sections LINKER:--icf=all LINKER:--as-needed -s)
