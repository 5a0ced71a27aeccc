// Skipped (exit status 77) where there is no compiler.
#define DOCTEST_CONFIG_IMPLEMENT
#include "Attention/Oracle.h"

#include <cstdio>

int main(int argc, char **argv) {
  attnjit::ForwardCall call;
  call.q = call.k = call.v = call.out = attnjit::TensorRef::dense(nullptr, attnjit::DType::F32, {1, 1, 1, 8});
  const attnjit::Result<attnjit::Kernel> kernel = attnjit::test::realEngine().prepare(call);
  if (!kernel && kernel.error().code == attnjit::ErrorCode::Unsupported) {
    std::puts(kernel.error().message.c_str());
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
