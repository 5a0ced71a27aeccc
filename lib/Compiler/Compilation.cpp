#include "Compiler/Compilation.h"

#include "Compiler/UseOrder.h"
#include "Target/Cpu/CpuBackend.h"
#include "Target/Cpu/ImageLinker.h"
#include "Target/Cpu/ProblemSection.h"
#include "Target/Nvptx/NvptxBackend.h"
#include "Target/Nvptx/ProblemText.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Import/ExportFormula.h"
#include "attnjit-mlir/Import/ImportFormula.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

#include <fmt/format.h>

using namespace mlir;

namespace attnjit::compiler {

namespace {

constexpr llvm::StringRef kProblemAttr = "attnjit.problem";
constexpr llvm::StringRef kWorkspaceAttr = "attnjit.workspace_bytes";
constexpr llvm::StringRef kStateRowAttr = "attnjit.state_row_bytes";
constexpr llvm::StringRef kRoundsAttr = "attnjit.rounds";
constexpr llvm::StringRef kCallsAttr = "attnjit.calls_functions";

pipelines::MlirStage mlirStage(Stage stage) {
  switch (stage) {
  case Stage::Attn:
    return pipelines::MlirStage::Attn;
  case Stage::Tile:
    return pipelines::MlirStage::Tile;
  case Stage::Vector:
    return pipelines::MlirStage::Vector;
  case Stage::Gpu:
    return pipelines::MlirStage::Gpu;
  default:
    return pipelines::MlirStage::Llvm;
  }
}

/// The header as an array attribute, one string per line: readable where a single string would be all escapes.
ArrayAttr linesAttr(MLIRContext *context, llvm::StringRef text) {
  Builder builder(context);
  SmallVector<Attribute> lines;
  while (!text.empty()) {
    auto [line, rest] = text.split('\n');
    lines.push_back(builder.getStringAttr(line));
    text = rest;
  }
  return builder.getArrayAttr(lines);
}

std::optional<std::string> joinLines(Attribute attribute) {
  auto lines = dyn_cast_or_null<ArrayAttr>(attribute);
  if (!lines)
    return std::nullopt;
  std::string text;
  for (Attribute line : lines) {
    auto string = dyn_cast<StringAttr>(line);
    if (!string)
      return std::nullopt;
    text += string.getValue();
    text += '\n';
  }
  return text;
}

} // namespace

Compilation::Compilation(CompileSlot &slot, const CompileOptions &options, std::string_view buildId, ErrorCode failureCode)
    : slot(slot), options(options), buildId(buildId), failureCode(failureCode) {}

Compilation::~Compilation() = default;

Error Compilation::failure(std::string_view step, const std::string &details) {
  std::string message = fmt::format("{} failed", step);
  for (const std::string &part : {diagnostics, details})
    if (!part.empty())
      message += ": " + llvm::StringRef(part).rtrim().str();
  return {failureCode, std::move(message)};
}

pipelines::CpuOptions Compilation::cpuOptions() const {
  using pipelines::CpuSchedule;
  const SDPBackend backend = header.spec.backend;
  const CpuSchedule schedule = backend == SDPBackend::Math             ? CpuSchedule::Generic
                               : backend == SDPBackend::FlashAttention ? CpuSchedule::Flash
                                                                       : CpuSchedule::Efficient;
  const TargetDesc &target = header.spec.target;
  const tile::Bf16Unit bf16 = target.hasAmx() ? tile::Bf16Unit::Tile : target.hasBf16() ? tile::Bf16Unit::Vector : tile::Bf16Unit::None;
  return {schedule, {target.vectorBits, target.registers, bf16}, /*inPhases=*/true};
}

tile::TileSizes Compilation::chooseTile() const {
  const KernelSpec &spec = header.spec;
  if (onGpu())
    return chooseGpuTile();
  const bool inBf16 = spec.qType == DType::BF16 && spec.kvType == DType::BF16;
  return pipelines::chooseTile(cpuOptions(), spec.D, spec.Dv, spec.qType == DType::F64 ? 64 : 32, inBf16);
}

//===- Entering the ladder ----------------------------------------------------------------------------------------------------===//

Result<KernelImage> Compilation::fromSpec(const KernelSpec &spec) {
  if (spec.backend != SDPBackend::Math && spec.backend != SDPBackend::FlashAttention && spec.backend != SDPBackend::EfficientAttention)
    return Error{ErrorCode::Unsupported, "only MATH, FLASH_ATTENTION and EFFICIENT_ATTENTION are compiled by this build"};
  // Locations would say nothing here: the code is not the user's.
  handler = std::make_shared<ScopedDiagnosticHandler>(&slot.context, [this](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      diagnosticStream << diagnostic << '\n';
    return success();
  });

  header.spec = spec;
  const tile::TileSizes sizes = chooseTile();
  ScheduleConfig &config = header.spec.config;
  config.tileRows = config.tileRows > 0 ? config.tileRows : sizes.rows;
  config.tileCols = config.tileCols > 0 ? config.tileCols : sizes.cols;

  module = timed("import", [&] { return importSpec(); });
  if (!module)
    return failure("import of the formula");
  return goOnFromAttn();
}

OwningOpRef<ModuleOp> Compilation::importSpec() {
  const KernelSpec &spec = header.spec;
  const attn::AttnProblem problem{std::string(kEntryName),
                                  spec.qType,
                                  spec.kvType,
                                  spec.outType,
                                  spec.D,
                                  spec.Dv,
                                  spec.contiguous,
                                  spec.paged,
                                  spec.checkedIndices,
                                  spec.narrowIndices,
                                  spec.config.tileRows,
                                  spec.config.tileCols,
                                  spec.sinks};
  return attn::importFormula(&slot.context, spec.formula, problem);
}

Result<KernelImage> Compilation::fromText(Stage stage, std::string_view text) {
  switch (stage) {
  case Stage::Attn:
  case Stage::Tile:
  case Stage::Vector:
  case Stage::Gpu:
  case Stage::Llvm:
    return fromMlirText(stage, text);
  case Stage::Ll:
    return fromLlText(text);
  case Stage::Asm:
    return fromAsmText(text);
  case Stage::Obj:
    if (Result<void> read = readHeader(Stage::Obj, target::problemOfObject(text)); !read)
      return read.error();
    return goOnFromObject(std::string(text));
  case Stage::Ptx:
    return fromPtxText(text);
  }
  llvm_unreachable("stage");
}

Result<KernelImage> Compilation::fromMlirText(Stage stage, std::string_view text) {
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, name(stage)), llvm::SMLoc());
  handler = std::make_shared<SourceMgrDiagnosticHandler>(sources, &slot.context, diagnosticStream);
  module = timed("parse", [&] { return parseSourceFile<ModuleOp>(sources, ParserConfig(&slot.context)); });
  if (!module)
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("the '{}' text is not valid:\n{}", name(stage), llvm::StringRef(diagnostics).rtrim().str())};
  if (Result<void> read = readHeader(stage, joinLines((*module)->getAttr(kProblemAttr))); !read)
    return read.error();
  if (failed(pipelines::verifyStage(*module, mlirStage(stage))))
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("the text is not a legal '{}' stage:\n{}", name(stage), llvm::StringRef(diagnostics).rtrim().str())};
  switch (stage) {
  case Stage::Attn:
    if (Result<void> read = readFormula(); !read)
      return read.error();
    return goOnFromAttn();
  case Stage::Tile:
    return goOnFromTile();
  case Stage::Vector:
    return goOnFromVector();
  case Stage::Gpu:
    return goOnFromGpu();
  default:
    return goOnFromLlvm();
  }
}

Result<KernelImage> Compilation::fromLlText(std::string_view text) {
  llvmContext = target::createCpuContext();
  auto parsed = timed("parse", [&] { return target::parseLl(text, *llvmContext); });
  if (!parsed)
    return Error{ErrorCode::InvalidArgument, "the 'll' text is not valid:\n" + llvm::toString(parsed.takeError())};
  llvmModule = std::move(*parsed);
  llvmModule->setModuleIdentifier(kEntryName);
  std::optional<std::string> problem = target::problemOfModule(*llvmModule);
  if (!problem)
    problem = target::problemOfMetadata(*llvmModule);
  if (Result<void> read = readHeader(Stage::Ll, problem); !read)
    return read.error();
  return goOnFromLl();
}

Result<KernelImage> Compilation::fromAsmText(std::string_view text) {
  if (Result<void> read = readHeader(Stage::Asm, target::problemOfAssembly(text)); !read)
    return read.error();
  Result<const target::CpuBackend *> backend = cpuBackend();
  if (!backend)
    return backend.error();
  auto object = timed("assemble", [&] { return (*backend)->assemble(text); });
  if (!object)
    return Error{ErrorCode::InvalidArgument, "the 'asm' text is not valid:\n" + llvm::toString(object.takeError())};
  return goOnFromObject(*object);
}

//===- Steps ------------------------------------------------------------------------------------------------------------------===//

Result<KernelImage> Compilation::goOnFromAttn() {
  showModule(Stage::Attn);
  if (stopsAt(Stage::Attn))
    return withoutCode();
  const bool splitKeys = header.spec.backend == SDPBackend::EfficientAttention;
  if (timed("attn-to-tile", [&] { return failed(pipelines::attnToTile(*module, splitKeys)); }))
    return failure("attn-to-tile");
  return goOnFromTile();
}

Result<KernelImage> Compilation::goOnFromTile() {
  FailureOr<tile::TileProgram> program = tile::TileProgram::match(pipelines::singleOp<tile::KernelOp>(*module));
  if (failed(program))
    return failure("reading the tile program");
  if (Result<void> read = readFacts(*program); !read)
    return read.error();
  if (onGpu())
    tile::chooseGpuSchedule(*program, gpuTarget(), gpuPipeline());
  showModule(Stage::Tile);
  if (stopsAt(Stage::Tile))
    return withoutCode();
  if (onGpu())
    return goOnFromTileOnGpu(*program);
  const pipelines::CpuOptions cpu = cpuOptions();
  if (std::optional<std::string> reason = pipelines::refusal(*program, cpu))
    return Error{ErrorCode::Unsupported, fmt::format("{} cannot compute this problem: {}", attnjit::name(header.spec.backend), *reason)};
  if (timed("tile-to-vector", [&] { return failed(pipelines::tileToVector(*module, cpu)); }))
    return failure("tile-to-vector");
  return goOnFromVector();
}

Result<KernelImage> Compilation::goOnFromVector() {
  auto function = pipelines::singleOp<func::FuncOp>(*module);
  header.workspaceBytes = static_cast<std::uint64_t>(function->getAttrOfType<IntegerAttr>(kWorkspaceAttr).getInt());
  auto stateRow = function->getAttrOfType<IntegerAttr>(kStateRowAttr), rounds = function->getAttrOfType<IntegerAttr>(kRoundsAttr);
  header.stateRowBytes = stateRow ? static_cast<std::uint64_t>(stateRow.getInt()) : 0;
  header.rounds = rounds ? static_cast<std::uint32_t>(rounds.getInt()) : 1;
  header.callsFunctions = function->hasAttr(kCallsAttr);
  showModule(Stage::Vector);
  if (stopsAt(Stage::Vector))
    return withoutCode();
  if (!isWatched())
    timed("look-up", [&] { return findKnownFunctions(), true; });
  if (timed("vector-to-llvm", [&] { return failed(slot.vectorToLlvm.run(*module)); }))
    return failure("vector-to-llvm");
  return goOnFromLlvm();
}

Result<KernelImage> Compilation::goOnFromLlvm() {
  showModule(Stage::Llvm);
  if (stopsAt(Stage::Llvm))
    return withoutCode();
  if (onGpu())
    return goOnFromLlvmOnGpu();
  if (!isWatched())
    return imageOfFunctions();
  Result<KernelImage> ofText = goOnAsOneModule();
  return ofText && !options.stopAfter ? imageOfFunctions() : ofText;
}

/// The texts to come are of the kernel as a whole.
Result<KernelImage> Compilation::goOnAsOneModule() {
  // The translation warns about attributes it does not know; below, the header travels as a section.
  (*module)->removeAttr(kProblemAttr);
  llvmContext = target::createCpuContext();
  llvmModule = timed("llvm-to-ll", [&] { return pipelines::llvmToLl(*module, *llvmContext); });
  if (!llvmModule)
    return failure("translation to LLVM IR");
  Result<const target::CpuBackend *> backend = cpuBackend();
  if (!backend)
    return backend.error();
  (*backend)->prepare(*llvmModule);
  for (llvm::Function &function : *llvmModule)
    if (function.getName() != llvm::StringRef(kEntryName) && !function.isDeclaration())
      function.setLinkage(llvm::GlobalValue::InternalLinkage); // phases
  if (options.onStage)
    target::attachProblem(*llvmModule, print(header));
  return goOnFromLl();
}

Result<KernelImage> Compilation::goOnFromLl() {
  sortUses(*llvmModule);
  if (options.onStage) {
    std::string text;
    llvm::raw_string_ostream os(text);
    llvmModule->print(os, nullptr);
    options.onStage(Stage::Ll, text);
  }
  if (stopsAt(Stage::Ll))
    return withoutCode();

  if (onGpu())
    return goOnFromLlOnGpu();
  Result<const target::CpuBackend *> backend = cpuBackend();
  if (!backend)
    return backend.error();
  if (llvm::Error error = timed("optimize", [&] { return (*backend)->optimize(*llvmModule); }))
    return failure("optimizing LLVM IR", llvm::toString(std::move(error)));
  if (options.onStage) {
    auto assembly = (*backend)->emitAssembly(*llvmModule);
    if (!assembly)
      return failure("code generation", llvm::toString(assembly.takeError()));
    options.onStage(Stage::Asm, *assembly);
  }
  if (stopsAt(Stage::Asm))
    return withoutCode();
  auto object = timed("codegen", [&] { return (*backend)->emitObject(*llvmModule); });
  if (!object)
    return failure("code generation", llvm::toString(object.takeError()));
  return goOnFromObject(*object);
}

Result<KernelImage> Compilation::goOnFromObject(const std::string &object) {
  if (options.onStage)
    options.onStage(Stage::Obj, object);
  if (stopsAt(Stage::Obj))
    return withoutCode();
  return imageOf(object);
}

//===- What stages carry ------------------------------------------------------------------------------------------------------===//

/// Whether a stage lies on the way to a GPU (CPU) image.
static bool isOnWayTo(TargetDesc::Kind kind, Stage stage) {
  const bool cpuOnly = stage == Stage::Vector || stage == Stage::Asm || stage == Stage::Obj,
             gpuOnly = stage == Stage::Gpu || stage == Stage::Ptx;
  return kind == TargetDesc::Kind::Cpu ? !gpuOnly : !cpuOnly;
}

Result<void> Compilation::readHeader(Stage stage, const std::optional<std::string> &text) {
  if (!text)
    return Error{ErrorCode::InvalidArgument, "the text does not carry its problem (attnjit.problem); start from what attnjit-dump wrote"};
  Result<KernelHeader> parsed = parseHeader(*text);
  if (!parsed)
    return parsed.error();
  header = std::move(*parsed);
  const TargetDesc &target = header.spec.target;
  if (!isOnWayTo(target.kind, stage))
    return Error{ErrorCode::InvalidArgument, fmt::format("the way to {} has no stage '{}'", target.cpu, name(stage))};
  if (target.kind == TargetDesc::Kind::Nvptx)
    if (Result<TargetDesc> known = parseTarget(target.cpu); !known)
      return known.error();
  return {};
}

/// verifyStage has found exactly one.
static attn::ForwardOp forwardOf(ModuleOp module) {
  attn::ForwardOp found;
  module.walk([&](attn::ForwardOp op) { found = op; });
  return found;
}

/// Takes the formula from the regions of the attn.forward, which a user may have edited: the launcher plans by the header's formula, and
/// one that is not computed would leave out visible blocks.
Result<void> Compilation::readFormula() {
  auto wrong = [&] {
    return Error{ErrorCode::InvalidArgument,
                 "the score, mask and prob of the attn.forward cannot be read as a formula, by which the launcher would plan:\n" +
                     llvm::StringRef(diagnostics).rtrim().str()};
  };
  attn::ForwardOp forward = forwardOf(*module);
  FailureOr<expr::Formula> written = attn::exportFormula(forward);
  if (failed(written))
    return wrong();
  // Captures without names are matched by their place.
  const expr::Formula &listed = header.spec.formula;
  if (!forward.getNames() && listed.captures.size() == written->captures.size() && listed.scalars.size() == written->scalars.size()) {
    for (std::size_t i = 0; i < listed.captures.size(); i++)
      written->captures[i].name = listed.captures[i].name;
    for (std::size_t i = 0; i < listed.scalars.size(); i++)
      written->scalars[i].name = listed.scalars[i].name;
  }
  // Names tell which scalars are literals and sizes, and which tensors the text makes; their values stand in the header alone.
  const auto restoreOwn = [&](expr::Formula &formula) -> Result<void> {
    for (expr::CaptureDecl &capture : formula.captures) {
      for (const expr::CaptureDecl &known : listed.captures)
        if (known.name == capture.name && known.dtype == capture.dtype && known.rank == capture.rank)
          capture.table = known.table;
      if (capture.isOwn() && !capture.table)
        return Error{ErrorCode::InvalidArgument, fmt::format("'{}' is no tensor that the formula of the header makes", capture.name)};
    }
    for (expr::ScalarDecl &scalar : formula.scalars) {
      std::optional<expr::ScalarDecl> named = expr::ScalarDecl::named(scalar.name, scalar.kind, formula.captures);
      if (!named)
        return Error{ErrorCode::InvalidArgument, fmt::format("'{}' is the size of no captured tensor of the attn.forward", scalar.name)};
      for (const expr::ScalarDecl &known : listed.scalars)
        if (known.name == scalar.name && known.kind == scalar.kind)
          named->value = known.value;
      scalar = *named;
    }
    return {};
  };
  if (Result<void> restored = restoreOwn(*written); !restored)
    return restored;
  // The way through MLIR may spell a number otherwise (an f32 has fewer digits), so the carried formula goes the same way before the two
  // are compared; unless they differ the header stays as it is, to the letter.
  OwningOpRef<ModuleOp> carried = importSpec();
  FailureOr<expr::Formula> expected = llvm::failure();
  if (carried)
    expected = attn::exportFormula(forwardOf(*carried));
  if (succeeded(expected))
    if (Result<void> restored = restoreOwn(*expected); !restored)
      return restored;
  if (failed(expected) || expr::print(*written) != expr::print(*expected))
    header.spec.formula = std::move(*written);
  return {};
}

/// Takes from the tile program whatever the launcher will go by. A user may have edited all of it but the list of captured values, which
/// names nothing in the program and so has to stay as the header says.
Result<void> Compilation::readFacts(const tile::TileProgram &program) {
  const expr::Formula &formula = header.spec.formula;
  bool same = program.captures.size() == formula.captures.size() && program.scalars.size() == formula.scalars.size();
  for (std::size_t i = 0; same && i < formula.captures.size(); i++)
    same = program.captures[i].rank == formula.captures[i].rank &&
           program.captures[i].elementType == attn::memoryType(&slot.context, formula.captures[i].dtype);
  for (std::size_t i = 0; same && i < formula.scalars.size(); i++)
    same = isa<FloatType>(program.scalars[i].type) == (formula.scalars[i].kind == expr::Kind::Float);
  if (!same)
    return Error{failureCode, "the kernel's captured values are not those of its attnjit.problem"};

  KernelSpec &spec = header.spec;
  const std::optional<DType> q = attn::dtypeOf(program.qType), kv = attn::dtypeOf(program.kvType), out = attn::dtypeOf(program.outType);
  if (!q || !kv || !out)
    return Error{failureCode, "the kernel's operands have an element type that is no dtype"};
  spec.qType = *q;
  spec.kvType = *kv;
  spec.outType = *out;
  spec.sinks = program.sinkType ? attn::dtypeOf(program.sinkType) : std::nullopt;
  spec.D = program.headDim;
  spec.Dv = program.valueDim;
  spec.config = {program.tileRows, program.tileCols};
  spec.contiguous = program.contiguous;
  spec.paged = program.paged;
  spec.checkedIndices = program.checkedIndices;
  spec.narrowIndices = program.indexType.isInteger(32);
  header.hasMask = program.mask != nullptr;
  header.hasClosedForm = program.closedForm != nullptr;
  return {};
}

void Compilation::showModule(Stage stage) {
  if (!options.onStage)
    return;
  (*module)->setAttr(kProblemAttr, linesAttr(&slot.context, print(header)));
  std::string text;
  llvm::raw_string_ostream os(text);
  module->print(os);
  options.onStage(stage, text);
}

Result<const target::CpuBackend *> Compilation::cpuBackend() {
  llvm::Expected<const target::CpuBackend *> backend = slot.backendFor(header.spec.target);
  if (!backend)
    return Error{ErrorCode::Unsupported, "cannot generate code for " + header.spec.target.cpu + ": " + llvm::toString(backend.takeError())};
  return *backend;
}

} // namespace attnjit::compiler
