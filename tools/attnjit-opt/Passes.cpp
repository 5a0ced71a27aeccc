#include "Passes.h"

#include "attnjit-mlir/InitAll.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Transforms/Passes.h"

namespace attnjit {

void registerPasses() {
  registerAllPasses();

  mlir::bufferization::registerOneShotBufferizePass();
  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
  mlir::registerConvertLinalgToLoopsPass();
}

} // namespace attnjit
