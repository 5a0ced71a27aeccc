// One walk down the ladder, from a spec or from the text of any stage to an image.
#pragma once

#include "Compiler/ContextPool.h"
#include "Compiler/KernelHeader.h"

#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>
#include <memory>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace mlir {
class ScopedDiagnosticHandler;
}

namespace attnjit::target {
class CpuBackend;
class NvptxBackend;
struct LinkedCode;
struct LinkedPhase;
} // namespace attnjit::target

namespace attnjit::compiler {

class Compilation {
public:
  /// `failureCode`: what an error in the code means: Internal when the code is ours, InvalidArgument when a user wrote it.
  Compilation(CompileSlot &slot, const CompileOptions &options, std::string_view buildId, ErrorCode failureCode);
  ~Compilation();

  Result<KernelImage> fromSpec(const KernelSpec &spec);
  Result<KernelImage> fromText(Stage stage, std::string_view text);
  /// What has been compiled so far: the given or carried spec, with what the text says where the two differ.
  const KernelSpec &spec() const { return header.spec; }

private:
  // Each takes over when the stage of its name is reached, and goes on to the image or to stopAfter.
  Result<KernelImage> goOnFromAttn();
  Result<KernelImage> goOnFromTile();
  Result<KernelImage> goOnFromVector();
  Result<KernelImage> goOnFromLlvm();
  Result<KernelImage> goOnAsOneModule();
  Result<KernelImage> goOnFromLl();
  Result<KernelImage> goOnFromObject(const std::string &object);
  // From the functions of a CPU's kernel to its image (KernelFunctions.cpp).
  struct FunctionOfKernel {
    std::string text; ///< by which it is known in this process; empty: it is not to be kept
    std::shared_ptr<const target::LinkedCode> phase;
    std::shared_ptr<const std::string> entry; ///< an object
  };
  void findKnownFunctions();
  Result<KernelImage> imageOfFunctions();
  Result<std::shared_ptr<const target::LinkedCode>> phaseOf(mlir::Operation *function, FunctionOfKernel &known);
  Result<std::shared_ptr<const std::string>> entryOf(mlir::Operation *function, FunctionOfKernel &known);
  Result<std::string> objectOf(mlir::Operation *function);
  Result<target::LinkedCode> linked(const std::string &object, llvm::StringRef entry, llvm::ArrayRef<target::LinkedPhase> phases);
  Result<KernelImage> imageOf(const std::string &object, llvm::ArrayRef<target::LinkedPhase> phases = {});
  // The GPU's way through the same stages (GpuCompilation.cpp).
  Result<KernelImage> goOnFromTileOnGpu(const tile::TileProgram &program);
  Result<KernelImage> goOnFromGpu();
  Result<KernelImage> goOnFromLlvmOnGpu();
  Result<KernelImage> goOnFromLlOnGpu();
  Result<KernelImage> fromPtxText(std::string_view text);
  Result<target::NvptxBackend> createGpuBackend();
  tile::GpuTarget gpuTarget() const;
  tile::GpuPipeline gpuPipeline() const;
  tile::TileSizes chooseGpuTile() const;

  Result<KernelImage> fromMlirText(Stage stage, std::string_view text);
  Result<KernelImage> fromLlText(std::string_view text);
  Result<KernelImage> fromAsmText(std::string_view text);

  Result<void> readHeader(Stage stage, const std::optional<std::string> &text);
  Result<void> readFormula();
  Result<void> readFacts(const tile::TileProgram &program);
  void showModule(Stage stage);
  bool onGpu() const { return header.spec.target.kind == TargetDesc::Kind::Nvptx; }
  bool stopsAt(Stage stage) const { return options.stopAfter == stage; }
  KernelImage withoutCode() const { return {metadataOf(header, buildId), {}}; }
  pipelines::CpuOptions cpuOptions() const;
  tile::TileSizes chooseTile() const;
  mlir::OwningOpRef<mlir::ModuleOp> importSpec();
  Result<const target::CpuBackend *> cpuBackend();
  Error failure(std::string_view step, const std::string &details = "");
  /// Somebody asks for texts of stages.
  bool isWatched() const { return options.onStage || options.stopAfter; }
  /// Runs one step and reports how long it took.
  template <typename Step> auto timed(std::string_view name, Step &&step) {
    if (!options.onTime)
      return step();
    const auto start = std::chrono::steady_clock::now();
    auto result = step();
    options.onTime(name, std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count());
    return result;
  }

  CompileSlot &slot;
  const CompileOptions &options;
  std::string_view buildId;
  ErrorCode failureCode;
  KernelHeader header;
  llvm::StringMap<FunctionOfKernel> functions;

  std::string diagnostics; ///< what MLIR has reported
  llvm::raw_string_ostream diagnosticStream{diagnostics};
  llvm::SourceMgr sources; ///< the text that diagnostics point into
  std::shared_ptr<mlir::ScopedDiagnosticHandler>
      handler; // shared: its destructor is not virtual, and a shared_ptr remembers the derived one

  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<llvm::LLVMContext> llvmContext; // outlives llvmModule
  std::unique_ptr<llvm::Module> llvmModule;
};

} // namespace attnjit::compiler
