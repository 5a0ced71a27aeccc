/* One forward call of attention: operands, formulas, options; and how it went. attnjit/Problem.h has the shape of every operand. */
#ifndef ATTNJIT_C_CALL_H
#define ATTNJIT_C_CALL_H

#include "attnjit-c/block_mask.h"

#ifdef __cplusplus
extern "C" {
#endif

/* kernel_options of torch's flex_attention, as PyTorch spells them. */
typedef int32_t attnjit_option_kind;
enum { ATTNJIT_OPTION_BOOL = 0, ATTNJIT_OPTION_INT = 1, ATTNJIT_OPTION_FLOAT = 2, ATTNJIT_OPTION_TEXT = 3 };
typedef struct attnjit_kernel_option {
  const char *name;
  attnjit_option_kind kind;
  union {
    int64_t integer; /* ATTNJIT_OPTION_BOOL: 0 or not */
    double number;
    const char *text;
  } value;
} attnjit_kernel_option;

/* Drops the same pairs for the same two numbers, on every pipeline; attnjit/Problem.h has the formula. */
typedef struct attnjit_dropout {
  double p;
  uint64_t seed, offset;
} attnjit_dropout;

/* What a call does when the kernel that is best for it has still to be compiled. */
typedef int32_t attnjit_when_missing;
enum {
  ATTNJIT_WHEN_MISSING_DEFAULT = 0, /* a call: as the engine; an engine: wait */
  ATTNJIT_WHEN_MISSING_WAIT = 1,
  ATTNJIT_WHEN_MISSING_FALLBACK = 2 /* another kernel computes it, and the best one is made in the background */
};

/* `data` of the tensors may be NULL where only shapes matter: explain, prepare, stages. */
typedef struct attnjit_forward_call {
  size_t struct_size;
  const attnjit_mod *mod;                                  /* default: no formula */
  attnjit_tensor q, k, v, out;                             /* [B, Hq, M, D], [B or 1, Hkv, N, D], [B or 1, Hkv, N, Dv], [B, Hq, M, Dv] */
  const attnjit_tensor *lse, *max;                         /* [B, Hq, M], or NULL */
  const double *scale;                                     /* default 1 / sqrt(D) */
  double softcap;                                          /* 0 = none */
  const attnjit_tensor *q_descale, *k_descale, *v_descale; /* f32 [B or 1, Hkv or 1] */
  const attnjit_tensor *sinks;                             /* [Hq] */
  const attnjit_dropout *dropout;
  const attnjit_capture *captures;
  size_t capture_count;
  const attnjit_tensor *page_table; /* [B or 1, pages], i32 or i64: k and v are pools [P, Hkv, page size, D or Dv] */
  int64_t page_keys;                /* N, with a page table */
  const attnjit_block_mask *block_mask;
  const attnjit_backend_set *backends; /* default: what attnjit_sdpa_kernel_push said, else all */
  int64_t tile_rows, tile_cols;        /* 0 = the schedule's own */
  const attnjit_kernel_option *kernel_options;
  size_t kernel_option_count;
  void *stream;           /* of the engine's GPU; NULL = its default stream */
  int32_t time_on_device; /* for attnjit_report_device_ns */
  int32_t threads;        /* at most so many; 0 = the engine's. Never changes a result. */
  attnjit_when_missing when_missing;
} attnjit_forward_call;
#define ATTNJIT_FORWARD_CALL_INIT {.struct_size = sizeof(attnjit_forward_call)}

/* A line for each of the call's kernel_options that means nothing here; "" for none. Errors: those that a call with them has. */
ATTNJIT_API attnjit_status attnjit_kernel_option_notes(const attnjit_forward_call *call, char **notes, attnjit_error **error);

typedef int32_t attnjit_kernel_source;
enum {
  ATTNJIT_SOURCE_NONE = 0, /* no kernel was needed */
  ATTNJIT_SOURCE_COMPILED = 1,
  ATTNJIT_SOURCE_MEMORY = 2,
  ATTNJIT_SOURCE_DISK = 3,
  ATTNJIT_SOURCE_SAVED = 4,
  ATTNJIT_SOURCE_HOST = 5
};
/* "none", "compiled", "memory", "disk", "saved", "host"; "unknown" for one that does not exist. */
ATTNJIT_API const char *attnjit_kernel_source_name(attnjit_kernel_source source);

/* How a call went. Functions that compute make one where they are given a place for it; one owner. */
typedef struct attnjit_report attnjit_report;

typedef struct attnjit_report_info {
  size_t struct_size;
  const char *pipeline; /* these live as long as the report */
  const char
      *awaited; /* the pipeline that is being compiled in the background and will take over; "" if the best kernel computed the call */
  attnjit_backend backend;
  attnjit_kernel_source source;
  int64_t lookup_ns, compile_ns, load_ns, plan_ns, run_ns;
  int32_t workers;
  int32_t host_plan; /* the host planned which blocks to visit; the numbers below are 0 otherwise */
  int64_t tile_rows, tile_cols;
  int64_t visible_blocks, full_blocks, total_blocks, elements_evaluated;
} attnjit_report_info;
#define ATTNJIT_REPORT_INFO_INIT {.struct_size = sizeof(attnjit_report_info)}
ATTNJIT_API attnjit_status attnjit_report_get_info(const attnjit_report *report, attnjit_report_info *info, attnjit_error **error);

/* For a GPU, once the stream was waited for: ATTNJIT_INDEX_OUT_OF_RANGE if a captured tensor was indexed outside its extents. A call on a
 * CPU has said so itself. */
ATTNJIT_API attnjit_status attnjit_report_status(const attnjit_report *report, attnjit_error **error);
/* Time of the kernels on the GPU, of a call that asked for it. Error: ATTNJIT_INVALID_ARGUMENT for others. */
ATTNJIT_API attnjit_status attnjit_report_device_ns(const attnjit_report *report, int64_t *time_ns, attnjit_error **error);
ATTNJIT_API void attnjit_report_destroy(attnjit_report *report);

#ifdef __cplusplus
}
#endif
#endif
