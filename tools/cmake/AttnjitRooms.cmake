# A room is one folder of lib/ or mlir/lib/: a static library (position independent) that says which rooms it stands on.
#   attnjit_add_room(Expr SOURCES Lexer.cpp ... DEPENDS Support [LIBS fmt::fmt] [MLIR])
# MLIR: the room includes mlir/ or llvm/ headers (no exceptions, LLVM's definitions and include paths).

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(attnjit_options INTERFACE)
target_compile_options(attnjit_options INTERFACE -Wall -Wextra -Wno-unused-parameter)
target_include_directories(attnjit_options INTERFACE
  ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/lib)

# Sanitizers go into lib/ only: instrumented MLIR rooms would double every compile for code that LLVM tests itself.
add_library(attnjit_sanitizers INTERFACE)
if(ATTNJIT_SANITIZE)
  target_compile_options(attnjit_sanitizers INTERFACE -fsanitize=${ATTNJIT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang") # which looks for a hash of the type before a function: kernels have none there
    target_compile_options(attnjit_sanitizers INTERFACE -fno-sanitize=function)
  endif()
  add_link_options(-fsanitize=${ATTNJIT_SANITIZE})
endif()

function(attnjit_add_room NAME)
  cmake_parse_arguments(ROOM "MLIR" "" "SOURCES;DEPENDS;LIBS" ${ARGN})
  add_library(attnjit${NAME} STATIC ${ROOM_SOURCES})
  target_link_libraries(attnjit${NAME} PUBLIC attnjit_options)
  foreach(DEP ${ROOM_DEPENDS})
    target_link_libraries(attnjit${NAME} PUBLIC attnjit${DEP})
  endforeach()
  target_link_libraries(attnjit${NAME} PUBLIC ${ROOM_LIBS})
  set_target_properties(attnjit${NAME} PROPERTIES ATTNJIT_LIBS "${ROOM_LIBS}")
  if(ROOM_MLIR)
    target_link_libraries(attnjit${NAME} PUBLIC attnjit_mlir_options)
    if(CMAKE_CURRENT_SOURCE_DIR MATCHES "^${PROJECT_SOURCE_DIR}/mlir/")
      set_property(GLOBAL APPEND PROPERTY ATTNJIT_MLIR_ROOMS ${NAME})
    endif()
  else()
    target_link_libraries(attnjit${NAME} PRIVATE $<BUILD_INTERFACE:attnjit_sanitizers>)
  endif()
endfunction()

# attnjit_add_test(ExprTest SOURCES LexerTest.cpp ... LIBS attnjitExpr [MLIR]): a doctest executable, run by ctest.
function(attnjit_add_test NAME)
  cmake_parse_arguments(TEST "MLIR" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${NAME} ${TEST_SOURCES})
  target_link_libraries(${NAME} PRIVATE ${TEST_LIBS} attnjit_options doctest::doctest)
  if(NOT TEST_MLIR)
    target_link_libraries(${NAME} PRIVATE attnjit_sanitizers)
  endif()
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
  add_test(NAME ${NAME} COMMAND ${NAME})
endfunction()

# attnjit_add_fuzzer(NpyFuzzer SOURCES fuzz/NpyFuzzer.cpp ... INCLUDES dir LIBS attnjitSupport): a libFuzzer program in <build>/fuzz, part of the target
# `fuzzers`, and a short test over the committed corpus fuzz/corpus/<name>, which is only read. What is fuzzed is compiled in with coverage, so
# that other targets need no sanitizer.
function(attnjit_add_fuzzer NAME)
  cmake_parse_arguments(FUZZER "" "" "SOURCES;INCLUDES;LIBS" ${ARGN})
  add_executable(${NAME} ${FUZZER_SOURCES})
  target_include_directories(${NAME} PRIVATE ${FUZZER_INCLUDES})
  target_link_libraries(${NAME} PRIVATE ${FUZZER_LIBS} attnjit_options fmt::fmt)
  target_compile_options(${NAME} PRIVATE -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
  target_link_options(${NAME} PRIVATE -fsanitize=fuzzer,address,undefined)
  set_target_properties(${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  if(NOT TARGET fuzzers)
    add_custom_target(fuzzers)
  endif()
  add_dependencies(fuzzers ${NAME})
  set(FOUND ${CMAKE_CURRENT_BINARY_DIR}/${NAME}-found)
  file(MAKE_DIRECTORY ${FOUND})
  add_test(NAME ${NAME}
    COMMAND ${NAME} -runs=20000 -max_len=4096 -timeout=10 -seed=1 ${FOUND} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${NAME})
endfunction()
