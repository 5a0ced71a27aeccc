#include "Target/Cpu/CpuBackend.h"

#include "llvm/MC/MCAsmBackend.h"
#include "llvm/MC/MCAsmInfo.h"
#include "llvm/MC/MCCodeEmitter.h"
#include "llvm/MC/MCContext.h"
#include "llvm/MC/MCInstrInfo.h"
#include "llvm/MC/MCObjectFileInfo.h"
#include "llvm/MC/MCObjectWriter.h"
#include "llvm/MC/MCParser/MCAsmParser.h"
#include "llvm/MC/MCParser/MCTargetAsmParser.h"
#include "llvm/MC/MCRegisterInfo.h"
#include "llvm/MC/MCStreamer.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/MCTargetOptions.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

using namespace llvm;

namespace attnjit::target {

namespace {

void collect(const SMDiagnostic &diagnostic, void *errors) {
  if (diagnostic.getKind() != SourceMgr::DK_Error)
    return;
  raw_string_ostream os(*static_cast<std::string *>(errors));
  diagnostic.print(nullptr, os, /*ShowColors=*/false);
}

} // namespace

Expected<std::string> CpuBackend::assemble(StringRef text) const {
  const Target &target = machine->getTarget();
  const Triple &triple = machine->getTargetTriple();

  std::string errors;
  SourceMgr sources;
  sources.setDiagHandler(collect, &errors);
  sources.AddNewSourceBuffer(MemoryBuffer::getMemBufferCopy(text, "asm"), SMLoc());

  MCTargetOptions options;
  std::unique_ptr<MCRegisterInfo> registers(target.createMCRegInfo(triple));
  std::unique_ptr<MCAsmInfo> asmInfo(target.createMCAsmInfo(*registers, triple, options));
  std::unique_ptr<MCInstrInfo> instructions(target.createMCInstrInfo());
  std::unique_ptr<MCSubtargetInfo> subtarget(target.createMCSubtargetInfo(triple, llvmCpu(desc).name, llvmCpu(desc).features));
  MCContext context(triple, asmInfo.get(), registers.get(), subtarget.get(), &sources, &options);
  context.setDiagnosticHandler(
      [&errors](const SMDiagnostic &diagnostic, bool, const SourceMgr &, std::vector<const MDNode *> &) { collect(diagnostic, &errors); });
  std::unique_ptr<MCObjectFileInfo> fileInfo(target.createMCObjectFileInfo(context, /*PIC=*/true));
  context.setObjectFileInfo(fileInfo.get());

  SmallString<0> bytes;
  raw_svector_ostream os(bytes);
  std::unique_ptr<MCAsmBackend> backend(target.createMCAsmBackend(*subtarget, *registers, options));
  std::unique_ptr<MCObjectWriter> writer = backend->createObjectWriter(os);
  std::unique_ptr<MCCodeEmitter> emitter(target.createMCCodeEmitter(*instructions, context));
  std::unique_ptr<MCStreamer> streamer(
      target.createMCObjectStreamer(triple, context, std::move(backend), std::move(writer), std::move(emitter), *subtarget));
  std::unique_ptr<MCAsmParser> parser(createMCAsmParser(sources, context, *streamer, *asmInfo));
  std::unique_ptr<MCTargetAsmParser> targetParser(target.createMCAsmParser(*subtarget, *parser, *instructions, options));
  parser->setTargetParser(*targetParser);
  const bool failed = parser->Run(/*NoInitialTextSection=*/false);
  if (failed || context.hadError() || !errors.empty())
    return createStringError(inconvertibleErrorCode(), errors.empty() ? "cannot assemble" : StringRef(errors).rtrim().str());
  return std::string(bytes);
}

} // namespace attnjit::target
