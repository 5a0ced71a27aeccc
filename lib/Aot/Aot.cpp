#include "attnjit/Aot.h"

#include "Aot/Artefact.h"
#include "Aot/CpuChoice.h"
#include "Engine/CallOptions.h"
#include "Engine/CompilerLoader.h"
#include "Engine/EngineImpl.h"
#include "Engine/Guard.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>
#include <tuple>

namespace attnjit {

namespace aot {

std::uint64_t Program::workspaceBytes() const {
  std::uint64_t bytes = 64;
  for (const TargetImage &image : images)
    bytes = std::max(bytes, image.image.meta.workspaceBytes);
  return (bytes + 63) / 64 * 64; // aligned_alloc wants it so
}

bool Program::callsFunctions() const {
  return std::any_of(images.begin(), images.end(), [](const TargetImage &image) { return image.image.meta.callsFunctions; });
}

namespace {

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

/// What a function with plain arguments has no word for.
Result<void> checkCall(const ForwardCall &call) {
  if (call.pages)
    return invalid(
        "ahead of time: keys and values in pages have no place in the arguments; leave pages out, or save the kernel (Kernel::save)");
  if (call.blockMask)
    return invalid("ahead of time: a block mask is a run-time value; give its mask_mod alone, from which blocks are skipped as well");
  if (call.dropout)
    return invalid("ahead of time: write dropout into prob_mod: 'where(rand(seed, ...) < rate, 0, p / (1 - rate))'");
  return {};
}

Result<std::vector<TargetDesc>> parseTargets(const AotOptions &options) {
  std::vector<TargetDesc> targets;
  if (options.targets.empty())
    return invalid("ahead of time: no target is given; name one or several, as x86-64-v3 or sm_80");
  for (const std::string &text : options.targets) {
    if (text.starts_with("native"))
      return invalid(
          fmt::format("ahead of time: target '{}' is whatever this machine is; say which machines the program is for, as x86-64-v3", text));
    Result<TargetDesc> target = parseTarget(text);
    if (!target)
      return target.error();
    if (std::find(targets.begin(), targets.end(), *target) == targets.end())
      targets.push_back(std::move(*target));
  }
  for (const TargetDesc &target : targets) {
    if (target.kind != targets.front().kind)
      return invalid(fmt::format("ahead of time: {} and {} want their operands in different memory; make two functions",
                                 targets.front().cpu, target.cpu));
    if (options.kind == AotKind::Bare && target.kind == TargetDesc::Kind::Nvptx)
      return invalid(fmt::format("ahead of time: a bare function for {} would have nobody to launch it; leave out bare", target.cpu));
    if (options.kind == AotKind::Bare && !isChosenByCpu(target.cpu))
      return invalid(fmt::format("ahead of time: {} needs the system's leave to use tile registers, which a bare function does not ask "
                                 "for; leave out bare, or use x86-64-v4+bf16",
                                 target.cpu));
    if (options.kind == AotKind::Runtime && target.isAArch64())
      return invalid("ahead of time: libattnjit runs on x86-64; for aarch64 make a bare function");
  }
  std::sort(targets.begin(), targets.end(), [](const TargetDesc &a, const TargetDesc &b) {
    return std::tuple(a.triple, -a.vectorBits, -a.hasBf16(), -a.hasAmx(), a.cpu) <
           std::tuple(b.triple, -b.vectorBits, -b.hasBf16(), -b.hasAmx(), b.cpu);
  });
  return targets;
}

/// The softcap of the call, which the arguments have no place for, becomes part of the formula.
Result<ForwardCall> withSoftcapInside(const ForwardCall &given) {
  if (given.softcap == 0)
    return given;
  Result<Mod> mod = engine::withSoftcap(given.mod, given.softcap);
  if (!mod)
    return mod.error();
  ForwardCall call = given;
  call.mod = std::move(*mod);
  call.softcap = 0;
  return call;
}

Result<KernelImage> compileFor(const std::string &target, const ForwardCall &call, const AotOptions &options) {
  EngineOptions engineOptions;
  engineOptions.target = target;
  engineOptions.cacheDirectory = "";
  engineOptions.compilerLibrary = options.compilerLibrary;
  const Result<Engine> engine = Engine::create(std::move(engineOptions));
  if (!engine)
    return engine.error();
  const Result<Kernel> kernel = engine->impl().prepare(call, /*anySizes=*/true);
  if (!kernel)
    return Error{kernel.error().code, fmt::format("for {}: {}", target, kernel.error().message)};
  const std::span<const std::byte> code = kernel->impl().code();
  return KernelImage{kernel->impl().meta, {code.begin(), code.end()}};
}

Result<Program> compile(const ForwardCall &given, const AotOptions &options) {
  if (!isCIdentifier(options.name))
    return invalid(fmt::format("ahead of time: '{}' is no name for a C function", options.name));
  if (Result<void> checked = checkCall(given); !checked)
    return checked.error();
  const Result<ForwardCall> call = withSoftcapInside(given);
  if (!call)
    return call.error();
  Result<std::vector<TargetDesc>> targets = parseTargets(options);
  if (!targets)
    return targets.error();
  Program program;
  program.name = options.name;
  program.kind = options.kind;
  for (TargetDesc &target : *targets) {
    Result<KernelImage> image = compileFor(target.cpu, *call, options);
    if (!image)
      return image.error();
    program.images.push_back({std::move(target), std::move(*image)});
  }
  Result<Mod> mod = engine::modOf(program.meta()); // as libattnjit reads it back
  if (!mod)
    return mod.error();
  program.mod = std::move(*mod);
  program.arguments = argumentsOf(program.mod, program.kind);
  return program;
}

/// The plainest machine of an architecture: what the functions around kernels are made for.
TargetDesc baseline(const std::string &triple) {
  TargetDesc target = *parseTarget(triple.starts_with("aarch64") ? "aarch64" : "x86-64-v2");
  if (target.isX86())
    target.cpu = "x86-64";
  return target;
}

/// `NAME-x86_64.o` and the like, one for each architecture of the images.
Result<void> addObjects(const Program &program, const AotOptions &options, std::vector<AotFile> &files) {
  const Result<compiler::CompilerInterface *> compiler = engine::findCompiler(options.compilerLibrary)();
  if (!compiler)
    return compiler.error();
  std::set<std::string> triples;
  for (const TargetImage &image : program.images)
    triples.insert(program.forGpu() ? parseTarget("x86-64-v2")->triple : image.target.triple);
  for (const std::string &triple : triples) {
    const std::string module = program.kind == AotKind::Bare ? bareModule(program, triple) : runtimeModule(program);
    Result<std::string> object = (*compiler)->compileModule(module, baseline(triple));
    if (!object)
      return object.error();
    files.push_back({fmt::format("{}-{}.o", program.name, triple.substr(0, triple.find('-'))), std::move(*object)});
  }
  return {};
}

Result<void> addGpuFiles(const Program &program, const AotOptions &options, std::vector<AotFile> &files) {
  for (const TargetImage &image : program.images) {
    const std::string ptx(reinterpret_cast<const char *>(image.image.code.data()), image.image.code.size());
    const std::string stem = fmt::format("{}-{}", program.name, image.target.cpu);
    files.push_back({stem + ".ptx", ptx});
    if (!options.assemble)
      continue;
    Result<std::string> cubin = options.assemble(ptx, image.target.cpu);
    if (!cubin)
      return cubin.error();
    files.push_back({stem + ".cubin", std::move(*cubin)});
  }
  return {};
}

Result<std::vector<AotFile>> filesOf(Program program, const AotOptions &options) {
  std::vector<AotFile> files = {{program.name + ".h", headerText(program)}};
  if (Result<void> added = addObjects(program, options, files); !added)
    return added.error();
  if (program.kind == AotKind::Runtime)
    files.push_back({program.name + ".attnjit", imageBytes(program)});
  if (program.forGpu())
    if (Result<void> added = addGpuFiles(program, options, files); !added)
      return added.error();
  for (const AotFile &file : files)
    program.files.push_back(file.name);
  files.push_back({program.name + ".json", manifestText(program)});
  return files;
}

} // namespace

} // namespace aot

inline namespace v0 {

Result<std::vector<AotFile>> compileAheadOfTime(const ForwardCall &call, const AotOptions &options) {
  return engine::guarded([&]() -> Result<std::vector<AotFile>> {
    Result<aot::Program> program = aot::compile(call, options);
    if (!program)
      return program.error();
    return aot::filesOf(std::move(*program), options);
  });
}

} // namespace v0

} // namespace attnjit
