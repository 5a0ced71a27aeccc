# The oracle, the host planner and what the tools share.
attnjit_add_test(ReferenceTest SOURCES ReferenceTest.cpp LIBS attnjitReference)
attnjit_add_test(PlannerTest SOURCES PlannerTest.cpp LIBS attnjitBlockMask)
attnjit_add_test(DeciderTest SOURCES DeciderTest.cpp LIBS attnjitBlockMask)
target_include_directories(DeciderTest PRIVATE ${PROJECT_SOURCE_DIR}/test ${PROJECT_SOURCE_DIR}/test/Expr)
attnjit_add_test(NpyTest SOURCES NpyTest.cpp LIBS attnjitToolsNpy)
attnjit_add_test(CheckTest SOURCES CheckTest.cpp LIBS attnjitToolsCommon)
attnjit_add_test(MaskPictureTest SOURCES MaskPictureTest.cpp LIBS attnjitToolsCommon)

if(ATTNJIT_FUZZERS)
  set(COMMON ${PROJECT_SOURCE_DIR}/tools/common)
  attnjit_add_fuzzer(NpyFuzzer SOURCES fuzz/NpyFuzzer.cpp ${COMMON}/Npy.cpp ${COMMON}/Tensor.cpp INCLUDES ${PROJECT_SOURCE_DIR}/tools LIBS attnjitReference)
endif()
