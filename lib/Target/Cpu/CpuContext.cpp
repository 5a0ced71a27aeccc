#include "Target/Cpu/CpuBackend.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/DiagnosticHandler.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/OptBisect.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace attnjit::target {

namespace {

/// Keeps errors for the caller. Returning true tells LLVM that the diagnostic is dealt with: otherwise it prints, and exits on errors.
struct CollectingHandler final : DiagnosticHandler {
  std::string errors;

  bool handleDiagnostics(const DiagnosticInfo &info) override {
    if (info.getSeverity() != DS_Error)
      return true;
    raw_string_ostream os(errors);
    DiagnosticPrinterRawOStream printer(os);
    info.print(printer);
    os << '\n';
    return true;
  }
};

/// Switches passes off by name for one context; LLVM's own flags for this are global to the process.
struct CpuPassGate final : OptPassGate {
  bool isEnabled() const override { return true; }
  bool shouldRunPass(StringRef passName, StringRef) const override { return passName != "Loop Strength Reduction"; }
};

} // namespace

std::unique_ptr<LLVMContext> createCpuContext() {
  // Stateless, hence shared by all contexts and threads.
  static CpuPassGate gate;
  auto context = std::make_unique<LLVMContext>();
  context->setOptPassGate(gate);
  context->setDiagnosticHandler(std::make_unique<CollectingHandler>());
  return context;
}

std::string takeDiagnostics(LLVMContext &context) {
  // createCpuContext() is the only maker of contexts for this room.
  auto *handler = const_cast<CollectingHandler *>(static_cast<const CollectingHandler *>(context.getDiagHandlerPtr()));
  return std::exchange(handler->errors, {});
}

Expected<std::unique_ptr<Module>> parseLl(StringRef text, LLVMContext &context) {
  SMDiagnostic diagnostic;
  // The parser wants a terminating zero, which a StringRef does not promise.
  std::unique_ptr<MemoryBuffer> buffer = MemoryBuffer::getMemBufferCopy(text, "ll");
  std::unique_ptr<Module> module = parseAssembly(buffer->getMemBufferRef(), diagnostic, context);
  std::string message;
  raw_string_ostream os(message);
  if (!module) {
    diagnostic.print(nullptr, os, /*ShowColors=*/false);
    return createStringError(inconvertibleErrorCode(), message);
  }
  if (verifyModule(*module, &os))
    return createStringError(inconvertibleErrorCode(), "the module is not valid LLVM IR: " + message);
  return module;
}

} // namespace attnjit::target
