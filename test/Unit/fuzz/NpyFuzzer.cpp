// libFuzzer target: no bytes make the .npy reader crash, hang or allocate more than the file holds.
#include "common/Npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const attnjit::Result<attnjit::tools::Tensor> tensor = attnjit::tools::parseNpy(std::as_bytes(std::span(data, size)), "fuzz.npy");
  if (tensor && tensor->memory().size() > size)
    __builtin_trap();
  return 0;
}
