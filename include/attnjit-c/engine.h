/* The engine: compiles calls for this machine on first use, caches, computes. */
#ifndef ATTNJIT_C_ENGINE_H
#define ATTNJIT_C_ENGINE_H

#include "attnjit-c/call.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attnjit_engine attnjit_engine;
typedef struct attnjit_kernel attnjit_kernel;

typedef int32_t attnjit_log_level;
enum { ATTNJIT_LOG_DEBUG = 0, ATTNJIT_LOG_INFO = 1, ATTNJIT_LOG_WARNING = 2 };

/* What the host replaces; NULL = attnjit's own. Called from several threads at once, with `user`; attnjit/Hooks.h has the contract of each.
 * They and what `user` points to live as long as the engine and its kernels. */
typedef struct attnjit_hooks {
  size_t struct_size;
  void *user;
  /* body(context, worker) exactly once for each worker of [0, workers), on any threads; returns after the last. */
  void (*parallel_for)(void *user, int32_t workers, void (*body)(void *context, int32_t worker), void *context);
  void *(*allocate)(void *user, size_t bytes, size_t alignment); /* NULL = out of memory */
  void (*free)(void *user, void *memory, size_t bytes, size_t alignment);
  void (*log)(void *user, attnjit_log_level level, const char *message);
  void *(*device_allocate)(void *user, size_t bytes, int32_t device, void *stream);
  void (*device_free)(void *user, void *memory, size_t bytes, int32_t device, void *stream);
} attnjit_hooks;
#define ATTNJIT_HOOKS_INIT {.struct_size = sizeof(attnjit_hooks)}

typedef struct attnjit_engine_options {
  size_t struct_size;
  const char *cache_directory;  /* "" = none; default $XDG_CACHE_HOME/attnjit, else $HOME/.cache/attnjit */
  int64_t memory_cache_kernels; /* default 1024; -1 = keep none */
  int64_t memory_cache_bytes;   /* of kernels; default 256 MiB */
  int32_t threads;              /* workers per call; default: the processors this process may use */
  int32_t device;               /* which GPU */
  const char *target;           /* default "native"; "native-gpu", "x86-64-v3", "sm_90a" ... */
  const char *compiler_library; /* default: beside this library */
  const char *cuda_library;     /* default: libcuda.so.1 */
  int32_t warn_for_unfused_kernels;
  attnjit_when_missing when_missing; /* EngineOptions::whenMissing says what a fallback may change */
  int32_t compile_threads;           /* in the background; default 1 */
  const attnjit_hooks *hooks;
} attnjit_engine_options;
#define ATTNJIT_ENGINE_OPTIONS_INIT {.struct_size = sizeof(attnjit_engine_options)}

/* `options` may be NULL. */
ATTNJIT_API attnjit_status attnjit_engine_create(const attnjit_engine_options *options, attnjit_engine **engine, attnjit_error **error);
ATTNJIT_API void attnjit_engine_retain(attnjit_engine *engine);
ATTNJIT_API void attnjit_engine_release(attnjit_engine *engine);
/* Name of the target, e.g. "x86-64-v4". */
ATTNJIT_API const char *attnjit_engine_target(const attnjit_engine *engine);
ATTNJIT_API int32_t attnjit_engine_threads(const attnjit_engine *engine);

/* Computes out, and lse and max where given. `report` may be NULL. On a GPU the launch is on its stream when this returns, and nothing is
 * waited for. Errors as Engine::forward. */
ATTNJIT_API attnjit_status attnjit_engine_forward(const attnjit_engine *engine, const attnjit_forward_call *call, attnjit_report **report,
                                                  attnjit_error **error);
/* Several calls of any shapes and formulas as one piece of work; each output has the bits that it has alone. */
ATTNJIT_API attnjit_status attnjit_engine_forward_grouped(const attnjit_engine *engine, const attnjit_forward_call *const *calls,
                                                          size_t count, attnjit_report **report, attnjit_error **error);
/* Waits for a stream of the engine's GPU; nothing to do for a CPU. */
ATTNJIT_API attnjit_status attnjit_engine_synchronize(const attnjit_engine *engine, void *stream, attnjit_error **error);

/* The kernel that forward would run, compiled if need be. */
ATTNJIT_API attnjit_status attnjit_engine_prepare(const attnjit_engine *engine, const attnjit_forward_call *call, attnjit_kernel **kernel,
                                                  attnjit_error **error);

/* What autotune measured. */
typedef struct attnjit_autotune_report {
  size_t struct_size;
  int64_t model_rows, model_cols; /* the schedule's choice */
  int64_t best_rows, best_cols;   /* used from now on */
  double model_ns, best_ns;       /* medians */
  size_t candidates;
  int32_t on_disk;
} attnjit_autotune_report;
#define ATTNJIT_AUTOTUNE_REPORT_INIT {.struct_size = sizeof(attnjit_autotune_report)}
/* Measures tile sizes on the call's operands and uses the fastest for calls of its class from then on. `report` may be NULL. */
ATTNJIT_API attnjit_status attnjit_engine_autotune(const attnjit_engine *engine, const attnjit_forward_call *call, double seconds,
                                                   attnjit_autotune_report *report, attnjit_error **error);

/* Every backend's verdict on a call, without compiling. One owner. */
typedef struct attnjit_explanation attnjit_explanation;
ATTNJIT_API attnjit_status attnjit_engine_explain(const attnjit_engine *engine, const attnjit_forward_call *call,
                                                  attnjit_explanation **explanation, attnjit_error **error);
ATTNJIT_API void attnjit_explanation_destroy(attnjit_explanation *explanation);
/* Several lines for people. */
ATTNJIT_API attnjit_status attnjit_explanation_text(const attnjit_explanation *explanation, char **text, attnjit_error **error);
/* {"chosen", "pipeline", "backends": [{"backend", "pipeline", "allowed", "accepted", "reasons": [{"predicate", "ok", "detail"}]}]} */
ATTNJIT_API attnjit_status attnjit_explanation_json(const attnjit_explanation *explanation, char **json, attnjit_error **error);
/* ATTNJIT_BACKEND_ERROR if none fits. */
ATTNJIT_API attnjit_backend attnjit_explanation_chosen(const attnjit_explanation *explanation);
ATTNJIT_API size_t attnjit_explanation_backend_count(const attnjit_explanation *explanation);

typedef struct attnjit_verdict {
  size_t struct_size;
  attnjit_backend backend;
  int32_t allowed, accepted;
  const char *pipeline; /* these live as long as the explanation */
  size_t reason_count;
} attnjit_verdict;
#define ATTNJIT_VERDICT_INIT {.struct_size = sizeof(attnjit_verdict)}
/* In the order asked. Error: ATTNJIT_INVALID_ARGUMENT past the last. */
ATTNJIT_API attnjit_status attnjit_explanation_get_verdict(const attnjit_explanation *explanation, size_t backend, attnjit_verdict *verdict,
                                                           attnjit_error **error);

typedef struct attnjit_reason {
  size_t struct_size;
  const char *predicate; /* stable, e.g. "head-dim" */
  const char *detail;
  int32_t ok;
} attnjit_reason;
#define ATTNJIT_REASON_INIT {.struct_size = sizeof(attnjit_reason)}
ATTNJIT_API attnjit_status attnjit_explanation_get_reason(const attnjit_explanation *explanation, size_t backend, size_t index,
                                                          attnjit_reason *reason, attnjit_error **error);

/* What the predicates were asked about. */
typedef struct attnjit_problem {
  size_t struct_size;
  int64_t B, Bkv, Hq, Hkv, M, N, D, Dv;
  attnjit_dtype q_dtype, kv_dtype, out_dtype;
  double scale;
  int32_t contiguous, paged, has_mask, has_block_mask, has_sinks, score_is_identity, prob_is_identity, prob_is_homogeneous, checked_indices,
      narrow_indices, for_gpu;
} attnjit_problem;
#define ATTNJIT_PROBLEM_INIT {.struct_size = sizeof(attnjit_problem)}
ATTNJIT_API attnjit_status attnjit_explanation_get_problem(const attnjit_explanation *explanation, attnjit_problem *problem,
                                                           attnjit_error **error);

/* What to show of a compilation. Stages: attn, tile, vector, gpu, llvm, ll, asm, obj, ptx. */
typedef struct attnjit_stage_options {
  size_t struct_size;
  void *user;
  void (*on_stage)(void *user, const char *stage, const char *text, size_t bytes); /* `obj` is no text */
  void (*on_time)(void *user, const char *step, int64_t time_ns);
  const char *stop_after; /* then the kernel has no code; default: to the end */
} attnjit_stage_options;
#define ATTNJIT_STAGE_OPTIONS_INIT {.struct_size = sizeof(attnjit_stage_options)}
/* Compiles anew, past the caches. `options` may be NULL. */
ATTNJIT_API attnjit_status attnjit_engine_compile_stages(const attnjit_engine *engine, const attnjit_forward_call *call,
                                                         const attnjit_stage_options *options, attnjit_kernel **kernel,
                                                         attnjit_error **error);
/* Goes on from the text of a stage. */
ATTNJIT_API attnjit_status attnjit_engine_compile_from(const attnjit_engine *engine, const char *stage, const char *text, size_t bytes,
                                                       const attnjit_stage_options *options, attnjit_kernel **kernel,
                                                       attnjit_error **error);

/* What has happened since the engine was made, and what is in memory now. */
typedef struct attnjit_counters {
  size_t struct_size;
  uint64_t compiles, compile_failures, memory_hits, memory_misses, disk_hits, disk_writes, disk_rejects, evictions, launches;
  uint64_t fallbacks;                          /* calls that another kernel than the best computed */
  uint64_t kernels_in_memory, bytes_in_memory; /* now */
  uint64_t awaited;                            /* classes of calls whose kernel is being made in the background now */
} attnjit_counters;
#define ATTNJIT_COUNTERS_INIT {.struct_size = sizeof(attnjit_counters)}
ATTNJIT_API attnjit_status attnjit_engine_get_counters(const attnjit_engine *engine, attnjit_counters *counters, attnjit_error **error);
/* Forgets the kernels in memory; running launches and kernel handles keep theirs. */
ATTNJIT_API attnjit_status attnjit_engine_clear_memory_cache(const attnjit_engine *engine, attnjit_error **error);
/* Forgets the kernels of one formula and counts them; `count` may be NULL. Running launches and kernel handles keep theirs. */
ATTNJIT_API attnjit_status attnjit_engine_unload(const attnjit_engine *engine, const attnjit_mod *mod, size_t *count,
                                                 attnjit_error **error);
/* Returns when nothing is being compiled in the background any more. */
ATTNJIT_API attnjit_status attnjit_engine_wait_for_compilations(const attnjit_engine *engine, attnjit_error **error);

/* Writes down what the kernels in memory were compiled for. */
ATTNJIT_API attnjit_status attnjit_engine_save_manifest(const attnjit_engine *engine, const char *path, attnjit_error **error);
/* What became of a manifest's kernels. */
typedef struct attnjit_warm_up_report {
  size_t struct_size;
  size_t from_disk, compiled, present, skipped, failed; /* present: in memory already; skipped: for another target */
} attnjit_warm_up_report;
#define ATTNJIT_WARM_UP_REPORT_INIT {.struct_size = sizeof(attnjit_warm_up_report)}
/* Brings the kernels of a manifest into memory, from disk or by compiling them. `report` and `problems` (a line for each that failed, for
 * attnjit_free) may be NULL. */
ATTNJIT_API attnjit_status attnjit_engine_warm_up(const attnjit_engine *engine, const char *path, attnjit_warm_up_report *report,
                                                  char **problems, attnjit_error **error);
/* "" if there is no disk cache. */
ATTNJIT_API attnjit_status attnjit_engine_cache_directory(const attnjit_engine *engine, char **directory, attnjit_error **error);

/* Memory of the engine's GPU, for programs that have no CUDA of their own. One owner; given back in the order of its stream. */
typedef struct attnjit_device_buffer attnjit_device_buffer;
ATTNJIT_API attnjit_status attnjit_device_buffer_create(const attnjit_engine *engine, size_t bytes, void *stream,
                                                        attnjit_device_buffer **buffer, attnjit_error **error);
ATTNJIT_API void attnjit_device_buffer_destroy(attnjit_device_buffer *buffer);
/* For the `data` of a tensor. */
ATTNJIT_API void *attnjit_device_buffer_data(const attnjit_device_buffer *buffer);
ATTNJIT_API size_t attnjit_device_buffer_bytes(const attnjit_device_buffer *buffer);
/* All bytes from host memory. */
ATTNJIT_API attnjit_status attnjit_device_buffer_copy_from(const attnjit_device_buffer *buffer, const void *host, attnjit_error **error);
/* All bytes to host memory; waits for the stream. */
ATTNJIT_API attnjit_status attnjit_device_buffer_copy_to(const attnjit_device_buffer *buffer, void *host, attnjit_error **error);

#ifdef __cplusplus
}
#endif
#endif
