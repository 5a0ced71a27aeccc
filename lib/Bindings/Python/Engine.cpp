#include "Bindings/Python/Convert.h"

#include <memory>

namespace attnjit::python {

namespace {

constexpr Option<ForwardCall> kCallOptions[] = {
    {"lse", [](ForwardCall &call, nb::handle value) { assign(call.lse, value); }},
    {"max_scores", [](ForwardCall &call, nb::handle value) { assign(call.max, value); }},
    {"scale", [](ForwardCall &call, nb::handle value) { assign(call.scale, value); }},
    {"q_descale", [](ForwardCall &call, nb::handle value) { assign(call.qDescale, value); }},
    {"k_descale", [](ForwardCall &call, nb::handle value) { assign(call.kDescale, value); }},
    {"v_descale", [](ForwardCall &call, nb::handle value) { assign(call.vDescale, value); }},
    {"sinks", [](ForwardCall &call, nb::handle value) { assign(call.sinks, value); }},
    {"softcap", [](ForwardCall &call, nb::handle value) { assign(call.softcap, value); }},
    {"dropout", [](ForwardCall &call, nb::handle value) { assign(call.dropout, value); }},
    {"pages", [](ForwardCall &call, nb::handle value) { assign(call.pages, value); }},
    {"block_mask", [](ForwardCall &call, nb::handle value) { assign(call.blockMask, value); }},
    {"backends", [](ForwardCall &call, nb::handle value) { assign(call.backends, value); }},
    {"tiles", [](ForwardCall &call, nb::handle value) { assign(call.tiles, value); }},
    {"threads", [](ForwardCall &call, nb::handle value) { assign(call.threads, value); }},
    {"stream", [](ForwardCall &call, nb::handle value) { assign(call.stream, value); }},
    {"when_missing", [](ForwardCall &call, nb::handle value) { assign(call.whenMissing, value); }},
};

void initCall(ForwardCall *place, const Mod &mod, const View &q, const View &k, const View &v, const View &out, nb::handle captures,
              const nb::kwargs &options) {
  ForwardCall call;
  call.mod = mod;
  call.q = q.ref, call.k = k.ref, call.v = v.ref, call.out = out.ref;
  assign(call.captures, captures);
  setOptions(call, options, std::span<const Option<ForwardCall>>(kCallOptions));
  new (place) ForwardCall(std::move(call));
}

std::vector<KernelOption> toKernelOptions(const nb::dict &given) {
  std::vector<KernelOption> options;
  for (auto [key, value] : given) {
    KernelOption option{nb::cast<std::string>(key), {}};
    if (PyBool_Check(value.ptr()))
      option.value = nb::cast<bool>(value);
    else if (PyLong_Check(value.ptr()))
      option.value = nb::cast<std::int64_t>(value);
    else if (PyFloat_Check(value.ptr()))
      option.value = nb::cast<double>(value);
    else
      option.value = nb::cast<std::string>(nb::str(value));
    options.push_back(std::move(option));
  }
  return options;
}

int show(void *line) {
  const std::unique_ptr<std::string> message(static_cast<std::string *>(line));
  try {
    nb::module_::import_("logging").attr("getLogger")("attnjit").attr("warning")("%s", *message);
  } catch (nb::python_error &error) {
    error.restore();
    return -1;
  }
  return 0;
}

/// Warnings of the library become warnings of Python's logging, under the name "attnjit", as soon as the main thread gets to it: waiting
/// for the interpreter here would be a deadlock where it waits for the engine.
void log(LogLevel level, std::string_view message) {
  if (level != LogLevel::Warning || !Py_IsInitialized())
    return;
  auto *line = new std::string(message); // show() deletes it
  if (Py_AddPendingCall(show, line) != 0)
    delete line;
}

void initEngine(Engine *place, const std::string &target, std::optional<std::string> cacheDirectory, int threads, int compileThreads,
                int device, std::string_view whenMissing, std::size_t memoryCacheKernels, std::size_t memoryCacheBytes,
                const std::string &compilerLibrary) {
  EngineOptions options;
  options.target = target;
  options.cacheDirectory = std::move(cacheDirectory);
  options.threads = threads;
  options.compileThreads = compileThreads;
  options.device = device;
  options.memoryCacheKernels = memoryCacheKernels;
  options.memoryCacheBytes = memoryCacheBytes;
  options.compilerLibrary = compilerLibrary;
  options.hooks.log = log;
  if (whenMissing != "wait" && whenMissing != "fallback")
    refuse("when_missing is 'wait' or 'fallback', not '" + std::string(whenMissing) + "'");
  options.whenMissing = whenMissing == "wait" ? WhenMissing::Wait : WhenMissing::Fallback;
  new (place) Engine(take(released([&] { return Engine::create(std::move(options)); })));
}

nb::dict toDict(const EngineCounters &counters) {
  nb::dict named;
  named["compiles"] = counters.compiles;
  named["compile_failures"] = counters.compileFailures;
  named["memory_hits"] = counters.memoryHits;
  named["memory_misses"] = counters.memoryMisses;
  named["disk_hits"] = counters.diskHits;
  named["disk_writes"] = counters.diskWrites;
  named["disk_rejects"] = counters.diskRejects;
  named["evictions"] = counters.evictions;
  named["launches"] = counters.launches;
  named["fallbacks"] = counters.fallbacks;
  named["kernels_in_memory"] = counters.kernelsInMemory;
  named["bytes_in_memory"] = counters.bytesInMemory;
  named["awaited"] = counters.awaited;
  return named;
}

nb::dict toDict(const WarmUpReport &report) {
  nb::dict named;
  named["from_disk"] = report.fromDisk;
  named["compiled"] = report.compiled;
  named["present"] = report.present;
  named["skipped"] = report.skipped;
  named["failed"] = report.failed;
  named["problems"] = report.problems;
  return named;
}

nb::dict toDict(const AutotuneReport &report) {
  nb::dict named;
  auto tiles = [](const TileOptions &options) { return nb::make_tuple(options.rows, options.cols); };
  named["model"] = tiles(report.model);
  named["best"] = tiles(report.best);
  named["on_disk"] = report.onDisk;
  nb::list timings;
  for (const AutotuneReport::Timing &timing : report.timings)
    timings.append(nb::make_tuple(tiles(timing.tiles), timing.medianNs));
  named["timings"] = timings;
  return named;
}

/// Every stage's text, in order; the object file is none.
nb::dict stages(const Engine &engine, const ForwardCall &call, const std::string &stopAfter) {
  std::vector<std::pair<std::string, std::string>> texts;
  StageOptions options;
  options.stopAfter = stopAfter;
  options.onStage = [&](std::string_view stage, std::string_view text) {
    if (stage != "obj")
      texts.emplace_back(stage, text);
  };
  take(released([&] { return engine.compileStages(call, options); }));
  nb::dict named;
  for (const auto &[stage, text] : texts)
    named[stage.c_str()] = text;
  return named;
}

/// [(backend, pipeline, allowed, accepted, [(predicate, ok, detail)])]
nb::list toList(const std::vector<BackendReport> &backends) {
  nb::list list;
  for (const BackendReport &backend : backends) {
    nb::list reasons;
    for (const BackendReason &reason : backend.reasons)
      reasons.append(nb::make_tuple(reason.predicate, reason.ok, reason.detail));
    list.append(nb::make_tuple(name(backend.backend), backend.pipeline, backend.allowed, backend.accepted, reasons));
  }
  return list;
}

void bindReports(nb::module_ &module) {
  nb::class_<ForwardReport>(module, "Report", "How a call went; times in nanoseconds.")
      .def_prop_ro("backend", [](const ForwardReport &report) { return name(report.backend); })
      .def_ro("pipeline", &ForwardReport::pipeline)
      .def_prop_ro("source", [](const ForwardReport &report) { return name(report.source); })
      .def_ro("awaited", &ForwardReport::awaited)
      .def_ro("lookup_ns", &ForwardReport::lookupNs)
      .def_ro("compile_ns", &ForwardReport::compileNs)
      .def_ro("load_ns", &ForwardReport::loadNs)
      .def_ro("plan_ns", &ForwardReport::planNs)
      .def_ro("run_ns", &ForwardReport::runNs)
      .def_ro("workers", &ForwardReport::workers)
      .def_prop_ro("tiles", [](const ForwardReport &report) { return nb::make_tuple(report.tileRows, report.tileCols); })
      .def_prop_ro("host_plan", [](const ForwardReport &report) { return report.plan.hostPlan; })
      .def_prop_ro("blocks",
                   [](const ForwardReport &report) {
                     return nb::make_tuple(report.plan.visibleBlocks, report.plan.fullBlocks, report.plan.totalBlocks);
                   })
      .def(
          "check_indices",
          [](const ForwardReport &report) {
            for (const Launch &launch : report.launches)
              take(launch.status());
          },
          "On a GPU, once its stream was waited for: raises IndexError if a captured array was indexed out of range.");
  nb::class_<ExplainReport>(module, "ExplainReport", "Every backend's verdict on a call.")
      .def_prop_ro("chosen", [](const ExplainReport &report) { return name(report.chosen); })
      .def_ro("pipeline", &ExplainReport::pipeline)
      .def_prop_ro("backends", [](const ExplainReport &report) { return toList(report.backends); })
      .def("text", &ExplainReport::text)
      .def("json", &ExplainReport::json);
}

void bindKernel(nb::module_ &module) {
  nb::class_<Kernel>(module, "Kernel", "A compiled kernel.")
      .def(
          "forward", [](const Kernel &kernel, const ForwardCall &call) { return take(released([&] { return kernel.forward(call); })); },
          nb::arg("call"))
      .def(
          "save", [](const Kernel &kernel, const std::string &path) { take(kernel.save(path)); }, nb::arg("path"))
      .def_static(
          "load", [](const std::string &path, int device) { return take(Kernel::load(path, {}, device)); }, nb::arg("path"),
          nb::arg("device") = 0)
      .def_prop_ro("backend", [](const Kernel &kernel) { return name(kernel.backend()); })
      .def_prop_ro("pipeline", &Kernel::pipeline)
      .def_prop_ro("source", [](const Kernel &kernel) { return name(kernel.source()); })
      .def_prop_ro("mod", &Kernel::mod)
      .def_prop_ro("problem_text", &Kernel::problemText)
      .def_prop_ro("build_id", &Kernel::buildId)
      .def_prop_ro("ptx", &Kernel::ptx)
      .def_prop_ro("code_bytes", &Kernel::codeBytes)
      .def_prop_ro("workspace_bytes", &Kernel::workspaceBytes)
      .def_prop_ro("tiles", [](const Kernel &kernel) { return nb::make_tuple(kernel.tileRows(), kernel.tileCols()); });
}

} // namespace

nb::class_<Engine> bindEngine(nb::module_ &module) {
  bindReports(module);
  nb::class_<ForwardCall>(module, "Call", "One call in the engine's terms. Arrays, captures and their owners have to outlive its use.")
      .def("__init__", &initCall, nb::arg("mod"), nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("out"), nb::arg("captures"),
           nb::arg("options"))
      .def(
          "apply_kernel_options",
          [](ForwardCall &call, const nb::dict &options) { return take(applyKernelOptions(toKernelOptions(options), call)); },
          nb::arg("options"), "Applies torch's kernel_options; answers a note for each that means nothing here.");
  bindKernel(module);
  return nb::class_<Engine>(module, "Engine", "Compiles, caches and runs kernels. Any number of threads may use one.")
      .def("__init__", &initEngine, nb::arg("target") = "native", nb::arg("cache_directory") = nb::none(), nb::arg("threads") = 0,
           nb::arg("compile_threads") = 1, nb::arg("device") = 0, nb::arg("when_missing") = "wait", nb::arg("memory_cache_kernels") = 1024,
           nb::arg("memory_cache_bytes") = std::size_t{256} << 20, nb::arg("compiler_library") = "")
      .def(
          "forward", [](const Engine &engine, const ForwardCall &call) { return take(released([&] { return engine.forward(call); })); },
          nb::arg("call"))
      .def(
          "forward_grouped",
          [](const Engine &engine, const nb::list &list) {
            std::vector<ForwardCall> calls;
            for (nb::handle call : list)
              calls.push_back(nb::cast<const ForwardCall &>(call));
            return take(released([&] { return engine.forwardGrouped(calls); }));
          },
          nb::arg("calls"))
      .def(
          "prepare", [](const Engine &engine, const ForwardCall &call) { return take(released([&] { return engine.prepare(call); })); },
          nb::arg("call"))
      .def(
          "explain", [](const Engine &engine, const ForwardCall &call) { return take(released([&] { return engine.explain(call); })); },
          nb::arg("call"))
      .def(
          "autotune",
          [](const Engine &engine, const ForwardCall &call, double seconds) {
            return toDict(take(released([&] { return engine.autotune(call, seconds); })));
          },
          nb::arg("call"), nb::arg("seconds") = 1.0)
      .def("stages", &stages, nb::arg("call"), nb::arg("stop_after") = "")
      .def(
          "synchronize",
          [](const Engine &engine, nb::handle stream) {
            void *address = nullptr;
            assign(address, stream);
            take(released([&] { return engine.synchronize(address); }));
          },
          nb::arg("stream") = 0)
      .def("counters", [](const Engine &engine) { return toDict(released([&] { return engine.counters(); })); })
      .def("clear_memory_cache", [](const Engine &engine) { released([&] { engine.clearMemoryCache(); }); })
      .def(
          "unload", [](const Engine &engine, const Mod &mod) { return released([&] { return engine.unload(mod); }); }, nb::arg("mod"))
      .def("wait_for_compilations", [](const Engine &engine) { released([&] { engine.waitForCompilations(); }); })
      .def(
          "save_manifest", [](const Engine &engine, const std::string &path) { take(released([&] { return engine.saveManifest(path); })); },
          nb::arg("path"))
      .def(
          "warm_up",
          [](const Engine &engine, const std::string &path) { return toDict(take(released([&] { return engine.warmUp(path); }))); },
          nb::arg("path"))
      .def_prop_ro("cache_directory", &Engine::cacheDirectory)
      .def_prop_ro("target", &Engine::target)
      .def_prop_ro("threads", &Engine::threads);
}

} // namespace attnjit::python
