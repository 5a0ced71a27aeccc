// The functions of kind Bare as LLVM IR. All machine code that matters is in the images; what is made here fills a KernelArgs from
// NAME_args, and chooses.
//
//   NAME(args, workspace)               all units, on the calling thread
//   NAME_units(args)                    how many there are
//   NAME_run(args, begin, end, workspace)   some of them
//   NAME_target()                       which target the machine got
//
// Keys are never cut into parts here: parts wait for each other, which is a launcher's business (KernelAbi.h). A kernel that can take parts
// takes one.
#include "Aot/Artefact.h"
#include "Aot/CpuChoice.h"
#include "Engine/ModImpl.h"

#include <bit>
#include <cmath>
#include <fmt/format.h>

namespace attnjit::aot {

namespace {

/// KernelSpec::narrowIndices.
constexpr std::int64_t kNarrow = std::int64_t{1} << 30;

class BareModule {
public:
  BareModule(const Program &program, const std::string &triple)
      : program(program), name(program.name), formula(program.mod.impl().formula) {
    for (const TargetImage &image : program.images)
      if (image.target.triple == triple)
        images.push_back(&image);
  }

  std::string text() {
    emitCode();
    emitTables();
    if (program.callsFunctions())
      emitFunctions();
    line("declare void @llvm.memcpy.inline.p0.p0.i64(ptr, ptr, i64, i1)");
    line("declare void @llvm.memset.inline.p0.i64(ptr, i8, i64, i1)");
    std::vector<std::string> targets;
    for (const TargetImage *image : images)
      targets.push_back(image->target.cpu);
    module += cpuChoice(name, targets);
    emitValid();
    emitUnits();
    emitRun();
    emitWhole();
    return std::move(module);
  }

private:
  template <typename... Args> void line(fmt::format_string<Args...> format, Args &&...args) {
    module += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }

  /// An image begins on a page: code for AArch64 counts on it.
  void emitCode() {
    line("module asm \".pushsection .text.{},\\22ax\\22,%progbits\"", name);
    for (std::size_t i = 0; i < images.size(); ++i) {
      const KernelImage &image = images[i]->image;
      line("module asm \".p2align 12\"");
      line("module asm \"{}.image.{}:\"", name, i);
      module += assemblyBytes({reinterpret_cast<const char *>(image.code.data()), image.code.size()});
      line("module asm \".set {0}.kernel.{1}, {0}.image.{1} + {2}\"", name, i, image.meta.entryOffset);
      line("module asm \".type {}.kernel.{},%function\"", name, i);
    }
    line("module asm \".popsection\"");
    for (std::size_t i = 0; i < images.size(); ++i)
      line("declare dso_local void @{}.kernel.{}(ptr, i64, i64, ptr)", name, i);
  }

  /// Of each target: the kernel, its tile, and whether its rows are packed (the grid of parts).
  void emitTables() {
    line("%Target = type {{ ptr, i64, i64, i64, ptr }}");
    std::string rows;
    for (std::size_t i = 0; i < images.size(); ++i) {
      const ImageMetadata &meta = images[i]->image.meta;
      line("@\"{}.name.{}\" = private constant [{} x i8] c\"{}\\00\"", name, i, meta.cpu.size() + 1, meta.cpu);
      rows += fmt::format("{}%Target {{ ptr @{}.kernel.{}, i64 {}, i64 {}, i64 {}, ptr @\"{}.name.{}\" }}", i == 0 ? "" : ", ", name, i,
                          meta.tileRows, meta.tileCols, meta.stateRowBytes > 0 ? 1 : 0, name, i);
    }
    line("@\"{}.targets\" = internal constant [{} x %Target] [{}]", name, images.size(), rows);
    for (std::size_t i = 0; i < formula.captures.size(); ++i)
      if (const auto &table = formula.captures[i].table; formula.captures[i].isOwn() && table) {
        line("module asm \".pushsection .rodata,\\22a\\22,%progbits\"\nmodule asm \".p2align 6\"\nmodule asm \"{}.table.{}:\"", name, i);
        module += assemblyBytes({reinterpret_cast<const char *>(table->bytes.data()), table->bytes.size()});
        line("module asm \".popsection\"\n@{}.table.{} = external hidden constant i8", name, i);
      }
  }

  /// Kernels of f64 call some functions through a table. These are libm's, an element at a time; no kernel calls those of f32.
  void emitFunctions() {
    std::string table;
    const auto add = [&](std::string_view function, bool isBinary) {
      line("declare double @{}(double{})", function, isBinary ? ", double" : "");
      line("define internal void @\"{0}.{1}\"(ptr %x, {2}i64 %n) {{", name, function, isBinary ? "ptr %y, " : "");
      line("entry:\n  %some = icmp sgt i64 %n, 0\n  br i1 %some, label %loop, label %done\nloop:");
      line("  %i = phi i64 [ 0, %entry ], [ %next, %loop ]\n  %to = getelementptr double, ptr %x, i64 %i\n  %a = load double, ptr %to");
      if (isBinary)
        line("  %from = getelementptr double, ptr %y, i64 %i\n  %b = load double, ptr %from");
      line("  %r = call double @{}(double %a{})\n  store double %r, ptr %to", function, isBinary ? ", double %b" : "");
      line("  %next = add i64 %i, 1\n  %more = icmp slt i64 %next, %n\n  br i1 %more, label %loop, label %done\ndone:\n  ret void\n}}");
      table += fmt::format("{}ptr null, ptr @\"{}.{}\"", table.empty() ? "" : ", ", name, function);
    };
#define ATTNJIT_RUNTIME_UNARY(NAME) add(#NAME, false);
#define ATTNJIT_RUNTIME_BINARY(NAME) add(#NAME, true);
#include "attnjit/RuntimeFns.def"
    line("@\"{}.functions\" = internal constant [{} x ptr] [{}]", name, sizeof(FunctionTable) / sizeof(void *), table);
  }

  std::string load(std::string_view result, std::size_t offset) {
    line("  %{0}.at = getelementptr i8, ptr %args, i64 {1}\n  %{0} = load i64, ptr %{0}.at", result, offset);
    return fmt::format("%{}", result);
  }

  /// What a wrong call would otherwise turn into wrong results or a crash.
  void emitValid() {
    line("define internal i1 @{}.valid(ptr %args, ptr %workspace) {{", name);
    line("  %address = ptrtoint ptr %workspace to i64\n  %low = and i64 %address, 63\n  %ok0 = icmp eq i64 %low, 0");
    line("  %hasOne = icmp ne ptr %workspace, null\n  %ok1 = and i1 %ok0, %hasOne");
    int count = 1;
    const auto demand = [&](std::string_view predicate, const std::string &value, std::int64_t bound) {
      ++count;
      line("  %c{0} = icmp {1} i64 {2}, {3}\n  %ok{0} = and i1 %ok{4}, %c{0}", count, predicate, value, bound, count - 1);
    };
    const ImageMetadata &meta = program.meta();
    for (const auto &[what, offset] : {std::pair{"B", offsetof(CallArgs, B)},
                                       {"M", offsetof(CallArgs, M)},
                                       {"N", offsetof(CallArgs, N)},
                                       {"Hq", offsetof(CallArgs, Hq)},
                                       {"Hkv", offsetof(CallArgs, Hkv)}}) {
      const std::string value = load(what, offset);
      demand("sge", value, what == std::string_view("Hkv") ? 1 : 0);
      if (meta.narrowIndices)
        demand("sle", value, kNarrow);
    }
    line("  %noHeads = icmp slt i64 %Hkv, 1\n  %divisor = select i1 %noHeads, i64 1, i64 %Hkv\n  %rest = srem i64 %Hq, %divisor");
    demand("eq", "%rest", 0);
    const std::size_t last = offsetof(OperandArg, strides) + 3 * sizeof(std::int64_t);
    demand("eq", load("outStride", offsetof(CallArgs, out) + last), 1);
    if (meta.contiguous)
      for (const auto &[what, offset] :
           {std::pair{"qStride", offsetof(CallArgs, q)}, {"kStride", offsetof(CallArgs, k)}, {"vStride", offsetof(CallArgs, v)}})
        demand("eq", load(what, offset + last), 1);
    if (meta.sinks)
      demand("ne", load("sinksData", offsetof(CallArgs, sinks)), 0);
    if (meta.narrowIndices)
      for (std::size_t i = 0; i < program.arguments.numbers.size(); ++i)
        if (program.arguments.numbers[i].info.dtype != DType::F64) {
          const std::string value = load(fmt::format("number{}", i), program.arguments.numbers[i].offset);
          demand("sge", value, -kNarrow);
          demand("sle", value, kNarrow);
        }
    line("  ret i1 %ok{}\n}}", count);
  }

  /// KernelAbi.h, "Tiles" and "Parts".
  void emitUnits() {
    line("define i64 @{0}_units(ptr %args) {{\n  %choice = call i32 @{0}.choose()", name);
    line("  %none = icmp slt i32 %choice, 0\n  br i1 %none, label %zero, label %count\nzero:\n  ret i64 0\ncount:");
    line("  %target = getelementptr %Target, ptr @\"{}.targets\", i32 %choice", name);
    line("  %rows.at = getelementptr %Target, ptr %target, i32 0, i32 1\n  %rows = load i64, ptr %rows.at");
    line("  %packs.at = getelementptr %Target, ptr %target, i32 0, i32 3\n  %packs64 = load i64, ptr %packs.at\n  %packs = icmp ne i64 "
         "%packs64, 0");
    for (const auto &[what, offset] : {std::pair{"B", offsetof(CallArgs, B)},
                                       {"M", offsetof(CallArgs, M)},
                                       {"Hq", offsetof(CallArgs, Hq)},
                                       {"Hkv", offsetof(CallArgs, Hkv)}})
      load(what, offset);
    line("  %noHeads = icmp slt i64 %Hkv, 1\n  %divisor = select i1 %noHeads, i64 1, i64 %Hkv\n  %group = sdiv i64 %Hq, %divisor");
    line("  %packed = mul i64 %M, %group\n  %length = select i1 %packs, i64 %packed, i64 %M\n  %heads = select i1 %packs, i64 %Hkv, i64 "
         "%Hq");
    line("  %less = sub i64 %rows, 1\n  %padded = add i64 %length, %less\n  %tiles = sdiv i64 %padded, %rows");
    line("  %lists = mul i64 %B, %heads\n  %units = mul i64 %lists, %tiles\n  ret i64 %units\n}}");
  }

  void store(std::string_view type, std::string_view value, std::size_t offset) {
    ++temporaries;
    line("  %t{0} = getelementptr i8, ptr %call, i64 {1}\n  store {2} {3}, ptr %t{0}", temporaries, offset, type, value);
  }

  /// KernelArgs::captures: the caller's, and tensors that the formula makes.
  void emitCaptures() {
    for (std::size_t i = 0; i < formula.captures.size(); ++i) {
      const expr::CaptureDecl &capture = formula.captures[i];
      line("  %capture{0} = getelementptr i8, ptr %captures, i64 {1}", i, i * sizeof(CaptureArg));
      if (const Field *field = program.arguments.find(capture.name)) {
        line("  %given{0} = getelementptr i8, ptr %args, i64 {1}", i, field->offset);
        line("  call void @llvm.memcpy.inline.p0.p0.i64(ptr %capture{0}, ptr %given{0}, i64 {1}, i1 false)", i, sizeof(CaptureArg));
        continue;
      }
      line("  call void @llvm.memset.inline.p0.i64(ptr %capture{0}, i8 0, i64 {1}, i1 false)\n  store ptr @{2}.table.{0}, ptr %capture{0}",
           i, sizeof(CaptureArg), name);
      std::int64_t stride = 1;
      for (std::size_t dim = capture.table->sizes.size(); dim-- > 0; stride *= capture.table->sizes[dim])
        for (const auto &[value, offset] :
             {std::pair{capture.table->sizes[dim], offsetof(CaptureArg, sizes)}, {stride, offsetof(CaptureArg, strides)}})
          line("  %own{0} = getelementptr i8, ptr %capture{1}, i64 {2}\n  store i64 {3}, ptr %own{0}", ++temporaries, i,
               offset + dim * sizeof(std::int64_t), value);
    }
  }

  /// KernelArgs::scalars: the caller's numbers, literals, and sizes of captured tensors.
  void emitScalars() {
    for (std::size_t i = 0; i < formula.scalars.size(); ++i) {
      const expr::ScalarDecl &scalar = formula.scalars[i];
      std::string value = std::to_string(scalar.value.i);
      if (scalar.source == expr::ScalarDecl::Source::Caller)
        value = load(fmt::format("scalar{}", i), program.arguments.find(scalar.name)->offset);
      else if (scalar.source == expr::ScalarDecl::Source::Size)
        line("  %size{0} = getelementptr i8, ptr %capture{1}, i64 {2}\n  {3} = load i64, ptr %size{0}", i, scalar.capture,
             offsetof(CaptureArg, sizes) + static_cast<std::size_t>(scalar.dim) * sizeof(std::int64_t),
             value = fmt::format("%scalar{}", i));
      line("  %slot{0} = getelementptr i64, ptr %scalars, i64 {0}\n  store i64 {1}, ptr %slot{0}", i, value);
    }
  }

  void emitRun() {
    line("define i32 @{}_run(ptr %args, i64 %begin, i64 %end, ptr %workspace) {{", name);
    line("  %call = alloca [{} x i8], align 16\n  %status = alloca i64", sizeof(KernelArgs));
    line("  %captures = alloca [{} x i8], align 16", std::max<std::size_t>(1, formula.captures.size()) * sizeof(CaptureArg));
    line("  %scalars = alloca [{} x i64], align 16", std::max<std::size_t>(1, formula.scalars.size()));
    line("  %choice = call i32 @{}.choose()\n  %none = icmp slt i32 %choice, 0\n  br i1 %none, label %noTarget, label %check", name);
    line("noTarget:\n  ret i32 {}\nbad:\n  ret i32 {}\ncheck:", int(kNoTarget), int(kBadArguments));
    line("  %valid = call i1 @{}.valid(ptr %args, ptr %workspace)\n  br i1 %valid, label %compute, label %bad\ncompute:", name);
    line("  call void @llvm.memset.inline.p0.i64(ptr %call, i8 0, i64 {}, i1 false)", sizeof(KernelArgs));
    line("  call void @llvm.memcpy.inline.p0.p0.i64(ptr %call, ptr %args, i64 {}, i1 false)", offsetof(KernelArgs, captures));
    line("  %factors = getelementptr i8, ptr %args, i64 {}\n  %factorsTo = getelementptr i8, ptr %call, i64 {}",
         offsetof(CallArgs, qDescale), offsetof(KernelArgs, qDescale));
    line("  call void @llvm.memcpy.inline.p0.p0.i64(ptr %factorsTo, ptr %factors, i64 {}, i1 false)", 3 * sizeof(DescaleArg));
    line("  %scale.at = getelementptr i8, ptr %args, i64 {}\n  %given = load double, ptr %scale.at\n  %noScale = fcmp oeq double %given, "
         "0.0",
         offsetof(CallArgs, scale));
    line("  %scale = select i1 %noScale, double {:#018x}, double %given",
         std::bit_cast<std::uint64_t>(1 / std::sqrt(static_cast<double>(program.meta().D))));
    store("double", "%scale", offsetof(KernelArgs, scale));
    emitCaptures();
    emitScalars();
    store("ptr", "%captures", offsetof(KernelArgs, captures));
    store("ptr", "%scalars", offsetof(KernelArgs, scalars));
    line("  store i64 {}, ptr %status", kStatusOk);
    store("ptr", "%status", offsetof(KernelArgs, status));
    if (program.callsFunctions())
      store("ptr", fmt::format("@\"{}.functions\"", name), offsetof(KernelArgs, functions));
    line("  %target = getelementptr %Target, ptr @\"{}.targets\", i32 %choice\n  %kernel = load ptr, ptr %target", name);
    line("  %cols.at = getelementptr %Target, ptr %target, i32 0, i32 2\n  %cols = load i64, ptr %cols.at");
    const std::string keys = load("N", offsetof(CallArgs, N));
    line("  %few = icmp slt i64 {0}, %cols\n  %least = select i1 %few, i64 %cols, i64 {0}\n  %less = sub i64 %cols, 1\n  %more = add i64 "
         "%least, %less",
         keys);
    line("  %blocks = sdiv i64 %more, %cols\n  %keys = mul i64 %blocks, %cols");
    store("i64", "%keys", offsetof(KernelArgs, split) + offsetof(SplitArg, keys));
    store("i64", "1", offsetof(KernelArgs, split) + offsetof(SplitArg, parts));
    line("  call void %kernel(ptr %call, i64 %begin, i64 %end, ptr %workspace)");
    line("  %code = load i64, ptr %status\n  %fine = icmp eq i64 %code, {}\n  %result = select i1 %fine, i32 {}, i32 {}\n  ret i32 "
         "%result\n}}",
         kStatusOk, int(kOk), int(kIndexOutOfRange));
  }

  void emitWhole() {
    line("define i32 @{0}(ptr %args, ptr %workspace) {{\n  %units = call i64 @{0}_units(ptr %args)", name);
    line("  %result = call i32 @{}_run(ptr %args, i64 0, i64 %units, ptr %workspace)\n  ret i32 %result\n}}", name);
    line("define ptr @{0}_target() {{\n  %choice = call i32 @{0}.choose()\n  %none = icmp slt i32 %choice, 0", name);
    line("  %safe = select i1 %none, i32 0, i32 %choice\n  %at = getelementptr %Target, ptr @\"{}.targets\", i32 %safe, i32 4", name);
    line("  %text = load ptr, ptr %at\n  %result = select i1 %none, ptr null, ptr %text\n  ret ptr %result\n}}");
  }

  const Program &program;
  const std::string &name;
  const expr::Formula &formula;
  std::vector<const TargetImage *> images;
  std::string module;
  int temporaries = 0;
};

} // namespace

std::string bareModule(const Program &program, const std::string &triple) { return BareModule(program, triple).text(); }

} // namespace attnjit::aot
