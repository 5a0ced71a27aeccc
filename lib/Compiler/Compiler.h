// The compiler behind CompilerInterface. Thread safe: every compile borrows a context of its own.
#pragma once

#include "Compiler/CompilerInterface.h"

#include <memory>

namespace attnjit::compiler {

class ContextPool;

class KernelCompiler final : public CompilerInterface {
public:
  KernelCompiler();
  ~KernelCompiler() override;
  Result<KernelImage> compile(const KernelSpec &spec, const CompileOptions &options) override;
  Result<KernelImage> compileFrom(Stage stage, std::string_view text, const CompileOptions &options) override;
  Result<std::string> compileModule(std::string_view ll, const TargetDesc &target) override;
  std::string_view buildId() const override { return compiler::buildId(); }

private:
  std::unique_ptr<ContextPool> pool;
};

} // namespace attnjit::compiler
