# Finds LLVM/MLIR 22 and says how rooms compile and link against it.
# NO_DEFAULT_PATH-like care: an older LLVM may be installed beside it, so the version-suffixed prefix is asked first.
find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
message(STATUS "MLIR ${LLVM_PACKAGE_VERSION} in ${MLIR_DIR}")
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)

separate_arguments(ATTNJIT_LLVM_DEFINITIONS NATIVE_COMMAND ${LLVM_DEFINITIONS})
add_library(attnjit_mlir_options INTERFACE)
target_compile_definitions(attnjit_mlir_options INTERFACE)
target_compile_options(attnjit_mlir_options INTERFACE ${ATTNJIT_LLVM_DEFINITIONS} -fno-exceptions -Wno-comment)
target_include_directories(attnjit_mlir_options SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
target_include_directories(attnjit_mlir_options INTERFACE
  ${PROJECT_SOURCE_DIR}/mlir/include ${PROJECT_BINARY_DIR}/mlir/include)

# In the dylib configuration the process must hold one MLIR: link exactly these two. The static configuration names component
# archives in lib/Compiler/CMakeLists.txt.
if(ATTNJIT_LINK STREQUAL "dylib")
  target_link_libraries(attnjit_mlir_options INTERFACE MLIR LLVM)
else()
  include(AttnjitStaticMLIR)
endif()
