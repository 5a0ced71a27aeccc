# Which Python: the one that pip builds for, else ATTNJIT_TORCH_PYTHON, else what tools/setup.sh --full made, else the first python3. The package is built
# where that one has nanobind and its headers.
set(ATTNJIT_TORCH_PYTHON "" CACHE FILEPATH "A Python with torch 2.13 for the package's and the parity tests; empty: build/torch, else the first python3")
if(NOT Python_EXECUTABLE)
  if(ATTNJIT_TORCH_PYTHON)
    set(Python_EXECUTABLE ${ATTNJIT_TORCH_PYTHON})
  elseif(EXISTS ${PROJECT_SOURCE_DIR}/build/torch/bin/python)
    set(Python_EXECUTABLE ${PROJECT_SOURCE_DIR}/build/torch/bin/python)
  endif()
endif()
find_package(Python 3.10 QUIET COMPONENTS Interpreter OPTIONAL_COMPONENTS Development.Module)

# A sanitizer has to be in the process from its start, which Python is not linked for.
set(HAS_NANOBIND OFF)
if(Python_Development.Module_FOUND AND PROJECT_IS_TOP_LEVEL AND NOT ATTNJIT_SANITIZE)
  execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
    RESULT_VARIABLE FAILED OUTPUT_VARIABLE nanobind_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT FAILED)
    set(HAS_NANOBIND ON)
  endif()
endif()
option(ATTNJIT_PYTHON "Build the Python package (needs nanobind and Python's headers)" ${HAS_NANOBIND})
if(ATTNJIT_PYTHON)
  find_package(nanobind CONFIG REQUIRED)
endif()
