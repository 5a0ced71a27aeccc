#include "CAPI/Handles.h"

using namespace attnjit;
using namespace attnjit::capi;

struct attnjit_device_buffer {
  explicit attnjit_device_buffer(DeviceBuffer buffer) : value(std::move(buffer)) {}
  DeviceBuffer value;
};

namespace {

static_assert(static_cast<int>(LogLevel::Debug) == ATTNJIT_LOG_DEBUG && static_cast<int>(LogLevel::Info) == ATTNJIT_LOG_INFO &&
              static_cast<int>(LogLevel::Warning) == ATTNJIT_LOG_WARNING);

/// The engine's option where C says 0 for the default and -1 for none.
std::size_t toCapacity(std::int64_t given, std::size_t otherwise, const char *name) {
  if (given < -1)
    refuse(std::string(name) + ": " + std::to_string(given) + " is neither a capacity, nor 0 (the default), nor -1 (none)");
  return given == 0 ? otherwise : given == -1 ? 0 : static_cast<std::size_t>(given);
}

EngineOptions toOptions(const attnjit_engine_options *given) {
  const attnjit_engine_options read = readOptional(given, "attnjit_engine_options");
  EngineOptions options;
  if (read.cache_directory)
    options.cacheDirectory = read.cache_directory;
  options.memoryCacheKernels = toCapacity(read.memory_cache_kernels, options.memoryCacheKernels, "memory_cache_kernels");
  options.memoryCacheBytes = toCapacity(read.memory_cache_bytes, options.memoryCacheBytes, "memory_cache_bytes");
  options.threads = read.threads;
  options.device = read.device;
  if (read.target)
    options.target = read.target;
  options.compilerLibrary = text(read.compiler_library);
  options.cudaLibrary = text(read.cuda_library);
  options.warnForUnfusedKernels = read.warn_for_unfused_kernels != 0;
  options.whenMissing = toWhenMissing(read.when_missing).value_or(WhenMissing::Wait);
  if (read.compile_threads != 0)
    options.compileThreads = read.compile_threads;
  options.hooks = toHooks(read.hooks);
  return options;
}

/// The callbacks' views of text have an end but no zero.
StageOptions toStages(const attnjit_stage_options *given) {
  const attnjit_stage_options read = readOptional(given, "attnjit_stage_options");
  StageOptions stages;
  if (read.on_stage)
    stages.onStage = [read](std::string_view stage, std::string_view text) {
      const std::string name(stage), whole(text);
      read.on_stage(read.user, name.c_str(), whole.c_str(), whole.size());
    };
  if (read.on_time)
    stages.onTime = [read](std::string_view step, std::int64_t timeNs) { read.on_time(read.user, std::string(step).c_str(), timeNs); };
  stages.stopAfter = text(read.stop_after);
  return stages;
}

const Engine &engineOf(const attnjit_engine *engine) { return need(engine, "engine").value; }

} // namespace

namespace attnjit::capi {

Hooks toHooks(const attnjit_hooks *given) {
  const attnjit_hooks read = readOptional(given, "attnjit_hooks");
  Hooks hooks;
  if (read.parallel_for)
    hooks.parallelFor = [read](int workers, const std::function<void(int)> &body) {
      const auto run = [](void *context, std::int32_t worker) { (*static_cast<const std::function<void(int)> *>(context))(worker); };
      read.parallel_for(read.user, workers, run, const_cast<std::function<void(int)> *>(&body));
    };
  if (read.allocate)
    hooks.memory.allocate = [read](std::size_t bytes, std::size_t alignment) { return read.allocate(read.user, bytes, alignment); };
  if (read.free)
    hooks.memory.free = [read](void *memory, std::size_t bytes, std::size_t alignment) { read.free(read.user, memory, bytes, alignment); };
  if (read.log)
    hooks.log = [read](LogLevel level, std::string_view message) {
      read.log(read.user, static_cast<attnjit_log_level>(level), std::string(message).c_str());
    };
  if (read.device_allocate)
    hooks.deviceMemory.allocate = [read](std::size_t bytes, int device, void *stream) {
      return read.device_allocate(read.user, bytes, device, stream);
    };
  if (read.device_free)
    hooks.deviceMemory.free = [read](void *memory, std::size_t bytes, int device, void *stream) {
      read.device_free(read.user, memory, bytes, device, stream);
    };
  return hooks;
}

} // namespace attnjit::capi

attnjit_status attnjit_engine_create(const attnjit_engine_options *options, attnjit_engine **engine, attnjit_error **error) {
  return answer(error, [&] { give(engine, "engine", [&] { return Engine::create(toOptions(options)); }); });
}

void attnjit_engine_retain(attnjit_engine *engine) { retain(engine); }
void attnjit_engine_release(attnjit_engine *engine) { release(engine); }
const char *attnjit_engine_target(const attnjit_engine *engine) { return engine ? engine->value.target().c_str() : ""; }
int32_t attnjit_engine_threads(const attnjit_engine *engine) { return engine ? engine->value.threads() : 0; }

attnjit_status attnjit_engine_forward(const attnjit_engine *engine, const attnjit_forward_call *call, attnjit_report **report,
                                      attnjit_error **error) {
  return forward(report, error, [&] { return engineOf(engine).forward(toCall(call)); });
}

attnjit_status attnjit_engine_forward_grouped(const attnjit_engine *engine, const attnjit_forward_call *const *calls, size_t count,
                                              attnjit_report **report, attnjit_error **error) {
  return forward(report, error, [&] {
    std::vector<ForwardCall> group;
    for (const attnjit_forward_call *call : list(calls, count, "calls"))
      group.push_back(toCall(call));
    return engineOf(engine).forwardGrouped(group);
  });
}

attnjit_status attnjit_engine_synchronize(const attnjit_engine *engine, void *stream, attnjit_error **error) {
  return answer(error, [&] { take(engineOf(engine).synchronize(stream)); });
}

attnjit_status attnjit_engine_prepare(const attnjit_engine *engine, const attnjit_forward_call *call, attnjit_kernel **kernel,
                                      attnjit_error **error) {
  return answer(error, [&] { give(kernel, "kernel", [&] { return engineOf(engine).prepare(toCall(call)); }); });
}

attnjit_status attnjit_engine_autotune(const attnjit_engine *engine, const attnjit_forward_call *call, double seconds,
                                       attnjit_autotune_report *report, attnjit_error **error) {
  return answer(error, [&] {
    if (report)
      readSized(*report, "attnjit_autotune_report"); // before the time is spent
    const AutotuneReport made = take(engineOf(engine).autotune(toCall(call), seconds));
    if (!report)
      return;
    double bestNs = made.timings.front().medianNs;
    for (const AutotuneReport::Timing &timing : made.timings)
      if (timing.tiles == made.best)
        bestNs = timing.medianNs;
    writeSized(report,
               {.struct_size = 0,
                .model_rows = made.model.rows,
                .model_cols = made.model.cols,
                .best_rows = made.best.rows,
                .best_cols = made.best.cols,
                .model_ns = made.timings.front().medianNs,
                .best_ns = bestNs,
                .candidates = made.timings.size(),
                .on_disk = made.onDisk},
               "attnjit_autotune_report");
  });
}

attnjit_status attnjit_engine_compile_stages(const attnjit_engine *engine, const attnjit_forward_call *call,
                                             const attnjit_stage_options *options, attnjit_kernel **kernel, attnjit_error **error) {
  return answer(error, [&] { give(kernel, "kernel", [&] { return engineOf(engine).compileStages(toCall(call), toStages(options)); }); });
}

attnjit_status attnjit_engine_compile_from(const attnjit_engine *engine, const char *stage, const char *text, size_t bytes,
                                           const attnjit_stage_options *options, attnjit_kernel **kernel, attnjit_error **error) {
  return answer(error, [&] {
    give(kernel, "kernel",
         [&] { return engineOf(engine).compileFrom(&need(stage, "stage"), {&need(text, "text"), bytes}, toStages(options)); });
  });
}

attnjit_status attnjit_engine_get_counters(const attnjit_engine *engine, attnjit_counters *counters, attnjit_error **error) {
  return answer(error, [&] {
    const EngineCounters now = engineOf(engine).counters();
    writeSized(counters,
               {.struct_size = 0,
                .compiles = now.compiles,
                .compile_failures = now.compileFailures,
                .memory_hits = now.memoryHits,
                .memory_misses = now.memoryMisses,
                .disk_hits = now.diskHits,
                .disk_writes = now.diskWrites,
                .disk_rejects = now.diskRejects,
                .evictions = now.evictions,
                .launches = now.launches,
                .fallbacks = now.fallbacks,
                .kernels_in_memory = now.kernelsInMemory,
                .bytes_in_memory = now.bytesInMemory,
                .awaited = now.awaited},
               "attnjit_counters");
  });
}

attnjit_status attnjit_engine_clear_memory_cache(const attnjit_engine *engine, attnjit_error **error) {
  return answer(error, [&] { engineOf(engine).clearMemoryCache(); });
}

attnjit_status attnjit_engine_unload(const attnjit_engine *engine, const attnjit_mod *mod, size_t *count, attnjit_error **error) {
  return answer(error, [&] {
    const std::size_t unloaded = engineOf(engine).unload(need(mod, "mod").value);
    if (count)
      *count = unloaded;
  });
}

attnjit_status attnjit_engine_wait_for_compilations(const attnjit_engine *engine, attnjit_error **error) {
  return answer(error, [&] { engineOf(engine).waitForCompilations(); });
}

attnjit_status attnjit_engine_save_manifest(const attnjit_engine *engine, const char *path, attnjit_error **error) {
  return answer(error, [&] { take(engineOf(engine).saveManifest(&need(path, "path"))); });
}

attnjit_status attnjit_engine_warm_up(const attnjit_engine *engine, const char *path, attnjit_warm_up_report *report, char **problems,
                                      attnjit_error **error) {
  return answer(error, [&] {
    if (problems)
      *problems = nullptr;
    const WarmUpReport made = take(engineOf(engine).warmUp(&need(path, "path")));
    if (report)
      writeSized(report,
                 {.struct_size = 0,
                  .from_disk = made.fromDisk,
                  .compiled = made.compiled,
                  .present = made.present,
                  .skipped = made.skipped,
                  .failed = made.failed},
                 "attnjit_warm_up_report");
    if (problems)
      *problems = copyOf(made.problems);
  });
}

attnjit_status attnjit_engine_cache_directory(const attnjit_engine *engine, char **directory, attnjit_error **error) {
  return answer(error, [&] {
    need(directory, "directory") = nullptr;
    *directory = copyOf(engineOf(engine).cacheDirectory());
  });
}

attnjit_status attnjit_device_buffer_create(const attnjit_engine *engine, size_t bytes, void *stream, attnjit_device_buffer **buffer,
                                            attnjit_error **error) {
  return answer(error, [&] { give(buffer, "buffer", [&] { return DeviceBuffer::allocate(engineOf(engine), bytes, stream); }); });
}

void attnjit_device_buffer_destroy(attnjit_device_buffer *buffer) { delete buffer; }
void *attnjit_device_buffer_data(const attnjit_device_buffer *buffer) { return buffer ? buffer->value.data() : nullptr; }
size_t attnjit_device_buffer_bytes(const attnjit_device_buffer *buffer) { return buffer ? buffer->value.bytes() : 0; }

attnjit_status attnjit_device_buffer_copy_from(const attnjit_device_buffer *buffer, const void *host, attnjit_error **error) {
  return answer(error, [&] { take(need(buffer, "buffer").value.copyFrom(&need(static_cast<const char *>(host), "host"))); });
}

attnjit_status attnjit_device_buffer_copy_to(const attnjit_device_buffer *buffer, void *host, attnjit_error **error) {
  return answer(error, [&] { take(need(buffer, "buffer").value.copyTo(&need(static_cast<char *>(host), "host"))); });
}
