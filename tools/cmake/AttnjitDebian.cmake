# Debian packages: libattnjit0 (runtime), attnjit-compiler (engine), libattnjit-dev, libattnjit-mlir-dev, attnjit (tools), for `cpack -G DEB`. What a package holds besides installed
# files is added by debian-finish.cmake.
# Whoever makes packages says who answers for them, in the manner of Debian's own tools. Without that the address is of a domain that nobody can have
# (RFC 2606), for packages that stay at home.
if(DEFINED ENV{DEBEMAIL} AND DEFINED ENV{DEBFULLNAME})
  set(MAINTAINER "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
else()
  set(MAINTAINER "attnjit developers <attnjit@example.org>")
endif()
set(ATTNJIT_MAINTAINER "${MAINTAINER}" CACHE STRING "Maintainer of the Debian packages: NAME <ADDRESS>")
string(TIMESTAMP DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/debian/changelog @ONLY CONTENT
"attnjit (@PROJECT_VERSION@) unstable; urgency=medium

  * See CHANGELOG.md in the documentation of libattnjit-dev.

 -- @ATTNJIT_MAINTAINER@  @DATE@
")
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/debian/copyright @ONLY CONTENT
"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: attnjit

Files: *
Copyright: 2026 attnjit developers
License: Apache-2.0
 On Debian systems, the full text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime dev)
if(TARGET attnjit-compiler)
  list(APPEND CPACK_COMPONENTS_ALL engine mlir)
endif()
if(ATTNJIT_TOOLS)
  list(APPEND CPACK_COMPONENTS_ALL tools)
endif()
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "attention kernels compiled from formulas")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${ATTNJIT_MAINTAINER}")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian-finish.cmake)
set(CPACK_ATTNJIT_DEBIAN_DIR ${PROJECT_BINARY_DIR}/debian)
set(CPACK_ATTNJIT_SOURCE_DIR ${PROJECT_SOURCE_DIR})

set(SAME "(= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libattnjit${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS "attnjit-compiler ${SAME}")
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "The library. A formula in Python's words becomes one fused attention kernel.
This library runs kernels that are in a cache, saved, or made ahead of time;
with attnjit-compiler it makes new ones.")
# Debian wants libraries announced by a trigger. The cpack of CMake 3.25 knows scripts only, which go on beside it.
file(STRINGS ${CMAKE_ROOT}/Modules/Internal/CPack/CPackDeb.cmake WRITES_TRIGGERS REGEX "LDCONFIG_TRIGGERS" LIMIT_COUNT 1)
set(CPACK_ATTNJIT_OLD_SCRIPTS OFF)
if(NOT WRITES_TRIGGERS)
  set(CPACK_ATTNJIT_OLD_SCRIPTS ON)
  file(WRITE ${PROJECT_BINARY_DIR}/debian/triggers "activate-noawait ldconfig\n")
  set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${PROJECT_BINARY_DIR}/debian/triggers)
endif()
set(CPACK_DEBIAN_ENGINE_PACKAGE_NAME attnjit-compiler)
set(CPACK_DEBIAN_ENGINE_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_ENGINE_PACKAGE_DEPENDS "libattnjit${PROJECT_VERSION_MAJOR} ${SAME}")
set(CPACK_COMPONENT_ENGINE_DESCRIPTION "The compiler: what libattnjit opens when a kernel is in no cache: MLIR and
LLVM make it, for this CPU, another one, or a GPU.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libattnjit-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libattnjit${PROJECT_VERSION_MAJOR} ${SAME}")
set(CPACK_COMPONENT_DEV_DESCRIPTION "Development files: headers, CMake package and pkg-config files of
libattnjit, and its documents.")
set(CPACK_DEBIAN_MLIR_PACKAGE_NAME libattnjit-mlir-dev)
set(CPACK_DEBIAN_MLIR_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_MLIR_PACKAGE_DEPENDS "libattnjit-dev ${SAME}, libmlir-${LLVM_VERSION_MAJOR}-dev, llvm-${LLVM_VERSION_MAJOR}-dev")
set(CPACK_COMPONENT_MLIR_DESCRIPTION "MLIR dialects and passes: archives and headers for compilers that bring MLIR
of their own: the dialects attn and tile, and the ways from them to vectors
and to GPUs.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME attnjit)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libattnjit${PROJECT_VERSION_MAJOR} ${SAME}, attnjit-compiler ${SAME}")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "The tools. attnjit-run computes a problem and checks it, attnjit-dump shows
a kernel on every step from formula to machine code and makes kernels ahead
of time, attnjit-bench measures.")
