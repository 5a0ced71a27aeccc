# The static configuration names what it needs as component archives; the linker drops what is not reached.
llvm_map_components_to_libnames(ATTNJIT_LLVM_LIBS
  Core Support BitWriter AsmParser IRReader Analysis ScalarOpts TransformUtils Passes Target TargetParser MC MCParser CodeGen
  JITLink OrcShared Object X86CodeGen X86AsmParser X86Desc X86Info NVPTXCodeGen NVPTXDesc NVPTXInfo)
target_link_libraries(attnjit_mlir_options INTERFACE
  MLIRIR MLIRPass MLIRParser MLIRSupport MLIRTransforms MLIRTransformUtils MLIRAnalysis
  MLIRArithDialect MLIRMathDialect MLIRSCFDialect MLIRFuncDialect MLIRControlFlowDialect MLIRMemRefDialect MLIRVectorDialect
  MLIRLLVMDialect MLIRNVVMDialect MLIRGPUDialect
  MLIRSCFToControlFlow MLIRConvertToLLVMPass MLIRArithToLLVM MLIRControlFlowToLLVM MLIRFuncToLLVM MLIRMathToLLVM MLIRMemRefToLLVM
  MLIRVectorToLLVM MLIRVectorToLLVMPass MLIRNVVMToLLVM MLIRReconcileUnrealizedCasts MLIRLLVMCommonConversion
  MLIRTargetLLVMIRExport MLIRBuiltinToLLVMIRTranslation MLIRLLVMToLLVMIRTranslation MLIRNVVMToLLVMIRTranslation
  ${ATTNJIT_LLVM_LIBS})
# lld: 3 s instead of a minute, and it folds and drops unreached sections (83 MB -> 52 MB, stripped).
add_compile_options(-ffunction-sections -fdata-sections)
find_program(ATTNJIT_LLD NAMES ld.lld-22 ld.lld HINTS ${LLVM_TOOLS_BINARY_DIR})
if(ATTNJIT_LLD)
  # g++ 12 knows -fuse-ld=lld only by that name; -B points it at the versioned directory.
  get_filename_component(ATTNJIT_LLD_DIR "${LLVM_TOOLS_BINARY_DIR}/ld.lld" DIRECTORY)
  add_link_options(-B${ATTNJIT_LLD_DIR} -fuse-ld=lld LINKER:--gc-sections LINKER:--icf=all -s)
endif()
