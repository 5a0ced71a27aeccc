# cmake --install: the library with its headers and package files, the compiler beside it, the tools; cpack: the same as one archive.
include(CMakePackageConfigHelpers)

set(ATTNJIT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/attnjit)
set(ATTNJIT_TOOLS "")
foreach(TOOL attnjit-run attnjit-dump attnjit-bench attnjit-conformance attnjit-opt)
  if(TARGET ${TOOL})
    list(APPEND ATTNJIT_TOOLS ${TOOL})
  endif()
endforeach()
# Whatever prefix: tools find the library relative to themselves, and the library its compiler. The path of LLVM, off the loader's own, is added by
# CMAKE_INSTALL_RPATH_USE_LINK_PATH.
if(ATTNJIT_TOOLS)
  set_target_properties(${ATTNJIT_TOOLS} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS ${ATTNJIT_TOOLS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

if(TARGET attnjit-compiler)
  set_target_properties(attnjit-compiler PROPERTIES INSTALL_RPATH "$ORIGIN")
endif()
if(TARGET attnjit-mlir-plugin)
  install(TARGETS attnjit-mlir-plugin LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

if(ATTNJIT_LINK STREQUAL "dylib")
  set_target_properties(attnjit PROPERTIES INSTALL_RPATH "$ORIGIN")
  install(TARGETS attnjit EXPORT attnjitTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  if(TARGET attnjit-compiler)
    install(TARGETS attnjit-compiler LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  endif()
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/attnjit ${PROJECT_SOURCE_DIR}/include/attnjit-c DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
  install(EXPORT attnjitTargets NAMESPACE attnjit:: DESTINATION ${ATTNJIT_PACKAGE_DIR})
  configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/attnjitConfig.cmake.in ${PROJECT_BINARY_DIR}/attnjitConfig.cmake
    INSTALL_DESTINATION ${ATTNJIT_PACKAGE_DIR} NO_SET_AND_CHECK_MACRO)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/attnjitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/attnjitConfig.cmake ${PROJECT_BINARY_DIR}/attnjitConfigVersion.cmake DESTINATION ${ATTNJIT_PACKAGE_DIR})
else()
  # The bundle: tools, the compiler with LLVM inside, fmt (which Debian has no archive of) and g++'s own libraries. The rest is glibc's, so it runs
  # wherever glibc 2.36 does.
  set_target_properties(attnjit-compiler ${ATTNJIT_TOOLS} PROPERTIES INSTALL_RPATH_USE_LINK_PATH OFF)
  install(TARGETS attnjit-compiler LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(IMPORTED_RUNTIME_ARTIFACTS fmt::fmt LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  foreach(LIBRARY libstdc++.so.6 libgcc_s.so.1)
    execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${LIBRARY} OUTPUT_VARIABLE FILE OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    get_filename_component(FILE ${FILE} REALPATH)
    install(FILES ${FILE} DESTINATION ${CMAKE_INSTALL_LIBDIR} RENAME ${LIBRARY})
  endforeach()
  # What checks a GPU, which the machine that builds seldom has.
  install(PROGRAMS ${PROJECT_SOURCE_DIR}/tools/gpu-check.sh DESTINATION .)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/test/Conformance/ DESTINATION ${CMAKE_INSTALL_DATADIR}/attnjit/conformance FILES_MATCHING PATTERN "*.grid")
  install(FILES ${PROJECT_SOURCE_DIR}/tools/attnjit-bench/grids/gpu.grid DESTINATION ${CMAKE_INSTALL_DATADIR}/attnjit/bench)
endif()

foreach(FILE LICENSE README.md)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${FILE})
    install(FILES ${PROJECT_SOURCE_DIR}/${FILE} DESTINATION ${CMAKE_INSTALL_DOCDIR})
  endif()
endforeach()

set(CPACK_GENERATOR TXZ)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_FILE_NAME attnjit-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR}-${ATTNJIT_LINK})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
include(CPack)
