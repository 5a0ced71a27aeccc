// attnjit._core: the C++ interface for the package in attnjit/, which gives it PyTorch's names. Nothing else should import it.
#include "Bindings/Python/Convert.h"

NB_MODULE(_core, module) {
  using namespace attnjit::python;
  // PyTorch's registry of operators holds Python functions, and with them formulas, until after Python's end. test_leaks.py looks for what
  // grows.
  nb::set_leak_warnings(false);
  module.doc() = "attnjit's C++ interface; the package attnjit is the door.";
  module.attr("__version__") = ATTNJIT_VERSION_STRING;
  defineErrors(module);
  bindTensor(module);
  bindMod(module);
  bindBlockMask(module);
  auto engine = bindEngine(module);
  bindFlashImpls(module, engine);
  bindAttention(module);
}
