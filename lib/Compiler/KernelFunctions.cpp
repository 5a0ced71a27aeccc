// The last steps of a CPU kernel: its functions are compiled one by one, those of before are known, and linked into an image.
#include "Compiler/Compilation.h"

#include "Compiler/UseOrder.h"
#include "Target/Cpu/CpuBackend.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <fmt/format.h>

using namespace mlir;

namespace attnjit::compiler {

namespace {

/// A phase is the same whatever its name.
std::string textOf(const TargetDesc &target, func::FuncOp function) {
  std::string text = target.triple + ' ' + target.cpu + ' ' + std::to_string(target.vectorBits) + '\n';
  llvm::raw_string_ostream os(text);
  const StringAttr name = function.getNameAttr();
  function.setSymName("function");
  function->print(os, OpPrintingFlags().useLocalScope().assumeVerified());
  function.setSymNameAttr(name);
  return text;
}

/// A stage holds an entry in any case.
void makeEmpty(func::FuncOp function) {
  Region &body = function.getBody();
  body.dropAllReferences();
  body.getBlocks().clear();
  OpBuilder builder = OpBuilder::atBlockEnd(function.addEntryBlock());
  func::ReturnOp::create(builder, function.getLoc());
}

/// `function` in a module of its own, which declares what it calls.
OwningOpRef<ModuleOp> alone(LLVM::LLVMFuncOp function) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(function.getLoc());
  OpBuilder builder = OpBuilder::atBlockBegin(module->getBody());
  llvm::StringSet<> declared;
  function.walk([&](LLVM::CallOp call) {
    if (std::optional<StringRef> callee = call.getCallee(); callee && declared.insert(*callee).second)
      LLVM::LLVMFuncOp::create(builder, call.getLoc(), *callee, call.getCalleeFunctionType());
  });
  module->push_back(function->clone());
  return module;
}

} // namespace

/// Functions of one module would share their constants: none could be taken out and used again.
Result<std::string> Compilation::objectOf(Operation *function) {
  auto definition = cast<LLVM::LLVMFuncOp>(function);
  if (definition.isExternal())
    return Error{ErrorCode::InvalidArgument, fmt::format("'{}' is declared, but not defined", definition.getName().str())};
  OwningOpRef<ModuleOp> single = alone(definition);
  // Uses of constants are part of a context, and code generation looks at their order.
  const std::unique_ptr<llvm::LLVMContext> context = target::createCpuContext();
  std::unique_ptr<llvm::Module> made = timed("llvm-to-ll", [&] { return pipelines::llvmToLl(*single, *context); });
  if (!made)
    return failure("translation to LLVM IR");
  Result<const target::CpuBackend *> backend = cpuBackend();
  if (!backend)
    return backend.error();
  (*backend)->prepare(*made);
  sortUses(*made);
  if (llvm::Error error = timed("optimize", [&] { return (*backend)->optimize(*made); }))
    return failure("optimizing LLVM IR", llvm::toString(std::move(error)));
  auto object = timed("codegen", [&] { return (*backend)->emitObject(*made); });
  if (!object)
    return failure("code generation", llvm::toString(object.takeError()));
  return std::move(*object);
}

/// Functions that are known lose their bodies before the rest is lowered.
void Compilation::findKnownFunctions() {
  for (auto function : module->getOps<func::FuncOp>()) {
    FunctionOfKernel &made = functions[function.getName()];
    made.text = textOf(header.spec.target, function);
    if (function.isPrivate()) {
      made.phase = slot.known.phases.find(made.text);
      if (made.phase)
        function.eraseBody();
    } else {
      made.entry = slot.known.entries.find(made.text);
      if (made.entry)
        makeEmpty(function);
    }
  }
}

Result<std::shared_ptr<const target::LinkedCode>> Compilation::phaseOf(Operation *function, FunctionOfKernel &known) {
  if (known.phase)
    return known.phase;
  const llvm::StringRef name = SymbolTable::getSymbolName(function).getValue();
  Result<std::string> object = objectOf(function);
  if (!object)
    return object.error();
  Result<target::LinkedCode> code = linked(*object, name, {});
  if (!code)
    return code.error();
  if (known.text.empty())
    return std::make_shared<const target::LinkedCode>(std::move(*code));
  return slot.known.phases.keep(std::move(known.text), std::move(*code));
}

Result<std::shared_ptr<const std::string>> Compilation::entryOf(Operation *function, FunctionOfKernel &known) {
  if (known.entry)
    return known.entry;
  Result<std::string> object = objectOf(function);
  if (!object)
    return object.error();
  if (known.text.empty())
    return std::make_shared<const std::string>(std::move(*object));
  return slot.known.entries.keep(std::move(known.text), std::move(*object));
}

/// Always function by function: an image has the same bytes whatever was known.
Result<KernelImage> Compilation::imageOfFunctions() {
  Operation *entryFunction = nullptr;
  std::vector<target::LinkedPhase> phases;
  for (auto function : module->getOps<LLVM::LLVMFuncOp>()) {
    if (!function.isPrivate()) { // one is not: verifyStage
      entryFunction = function;
      continue;
    }
    auto code = phaseOf(function, functions[function.getName()]);
    if (!code)
      return code.error();
    phases.push_back({function.getName().str(), std::move(*code)});
  }
  auto entry = entryOf(entryFunction, functions[SymbolTable::getSymbolName(entryFunction)]);
  if (!entry)
    return entry.error();
  return imageOf(**entry, phases);
}

Result<target::LinkedCode> Compilation::linked(const std::string &object, llvm::StringRef entry,
                                               llvm::ArrayRef<target::LinkedPhase> phases) {
  auto code = timed("link", [&] { return target::linkImage(object, entry, phases); });
  if (!code)
    return failure("linking the image", llvm::toString(code.takeError()));
  return std::move(*code);
}

Result<KernelImage> Compilation::imageOf(const std::string &object, llvm::ArrayRef<target::LinkedPhase> phases) {
  Result<target::LinkedCode> code = linked(object, kEntryName, phases);
  if (!code)
    return code.error();
  KernelImage image{metadataOf(header, buildId), std::move(code->bytes)};
  image.meta.entryOffset = code->entryOffset;
  return image;
}

} // namespace attnjit::compiler
