# cmake --install: the library with its headers and package files, the compiler in a folder beside it, the tools; cpack: the static bundle as one archive,
# the dylib configuration as Debian packages (AttnjitDebian.cmake). Components: runtime, engine, dev, mlir, tools.
include(CMakePackageConfigHelpers)

set(ATTNJIT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/attnjit)
set(ATTNJIT_TOOLS "")
foreach(TOOL attnjit-run attnjit-dump attnjit-bench attnjit-conformance attnjit-opt)
  if(TOOL STREQUAL "attnjit-opt" AND ATTNJIT_LINK STREQUAL "static")
    continue() # a second copy of MLIR in the bundle
  endif()
  if(TARGET ${TOOL})
    list(APPEND ATTNJIT_TOOLS ${TOOL})
  endif()
endforeach()
# Whatever prefix: tools find the library relative to themselves, and the library its compiler. The path of LLVM, off the loader's own, is added by
# CMAKE_INSTALL_RPATH_USE_LINK_PATH.
if(ATTNJIT_TOOLS)
  set_target_properties(${ATTNJIT_TOOLS} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS ${ATTNJIT_TOOLS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
endif()
if(TARGET attnjit-mlir-plugin)
  install(TARGETS attnjit-mlir-plugin LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/attnjit COMPONENT mlir)
endif()

if(ATTNJIT_LINK STREQUAL "dylib")
  set_target_properties(attnjit PROPERTIES INSTALL_RPATH "$ORIGIN")
  install(TARGETS attnjit EXPORT attnjitTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev)
  if(TARGET attnjit-compiler)
    # No program links it: libattnjit opens it.
    set_target_properties(attnjit-compiler PROPERTIES INSTALL_RPATH "$ORIGIN/..")
    install(TARGETS attnjit-compiler LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/attnjit COMPONENT engine)
  endif()
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
  install(EXPORT attnjitTargets NAMESPACE attnjit:: DESTINATION ${ATTNJIT_PACKAGE_DIR} COMPONENT dev)
  configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/attnjitConfig.cmake.in ${PROJECT_BINARY_DIR}/attnjitConfig.cmake
    INSTALL_DESTINATION ${ATTNJIT_PACKAGE_DIR} PATH_VARS CMAKE_INSTALL_LIBDIR)
  if(ATTNJIT_COMPILER)
    get_property(ATTNJIT_MLIR_ROOMS GLOBAL PROPERTY ATTNJIT_MLIR_ROOMS)
    foreach(ROOM ${ATTNJIT_MLIR_ROOMS})
      install(FILES $<TARGET_FILE:attnjit${ROOM}> DESTINATION ${CMAKE_INSTALL_LIBDIR}/attnjit COMPONENT mlir)
    endforeach()
    # Their headers, and those of the rooms that they name.
    foreach(FOLDER ${PROJECT_SOURCE_DIR}/mlir/include/ ${PROJECT_BINARY_DIR}/mlir/include/ ${PROJECT_SOURCE_DIR}/lib/Expr ${PROJECT_SOURCE_DIR}/lib/Support)
      install(DIRECTORY ${FOLDER} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/attnjit-rooms COMPONENT mlir
        FILES_MATCHING PATTERN "*.h" PATTERN "*.def" PATTERN "*.td" PATTERN "*.inc" PATTERN "CMakeFiles" EXCLUDE)
    endforeach()
    configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/attnjitMlir.cmake.in ${PROJECT_BINARY_DIR}/attnjitMlir.cmake
      INSTALL_DESTINATION ${ATTNJIT_PACKAGE_DIR} PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
    install(FILES ${PROJECT_BINARY_DIR}/attnjitMlir.cmake DESTINATION ${ATTNJIT_PACKAGE_DIR} COMPONENT mlir)
  endif()
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/attnjitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/attnjitConfig.cmake ${PROJECT_BINARY_DIR}/attnjitConfigVersion.cmake DESTINATION ${ATTNJIT_PACKAGE_DIR} COMPONENT dev)

  # pkg-config's files lie in lib/pkgconfig or lib/<architecture>/pkgconfig, and name their prefix from there, so that it can be moved.
  file(RELATIVE_PATH UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" PC_PREFIX "\${pcfiledir}/${UP}")
  foreach(PC_NAME attnjit-runtime attnjit)
    set(PC_DESCRIPTION "Attention kernels that are saved or made ahead of time; no compiler")
    set(PC_MORE "")
    if(PC_NAME STREQUAL "attnjit")
      set(PC_DESCRIPTION "${PROJECT_DESCRIPTION}")
      set(PC_MORE "Requires: attnjit-runtime = ${PROJECT_VERSION}\ncompiler=\${libdir}/attnjit/libattnjit-compiler.so\n")
    endif()
    configure_file(${CMAKE_CURRENT_LIST_DIR}/attnjit.pc.in ${PROJECT_BINARY_DIR}/${PC_NAME}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${PC_NAME}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
  endforeach()

  find_package(Python3 COMPONENTS Interpreter)
  if(Python3_FOUND)
    foreach(TOOL ${ATTNJIT_TOOLS})
      set(PAGE ${PROJECT_BINARY_DIR}/man/${TOOL}.1.gz)
      add_custom_command(OUTPUT ${PAGE} COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/man
        COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/manpage.py $<TARGET_FILE:${TOOL}> ${PROJECT_VERSION} ${PAGE}
        DEPENDS ${TOOL} ${CMAKE_CURRENT_LIST_DIR}/manpage.py VERBATIM)
      list(APPEND PAGES ${PAGE})
    endforeach()
    add_custom_target(man ALL DEPENDS ${PAGES})
    install(FILES ${PAGES} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT tools)
  endif()
else()
  # The bundle: tools, the compiler with LLVM inside, fmt (which Debian has no archive of) and g++'s own libraries. The rest is glibc's, so it runs
  # wherever glibc 2.36 does.
  if(TARGET attnjit-compiler)
    set_target_properties(attnjit-compiler PROPERTIES INSTALL_RPATH "$ORIGIN")
  endif()
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
if(ATTNJIT_LINK STREQUAL "dylib")
  include(AttnjitDebian)
endif()
include(CPack)
