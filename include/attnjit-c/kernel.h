/* Compiled kernels: launchable, and saveable as images that run in a process without a compiler. */
#ifndef ATTNJIT_C_KERNEL_H
#define ATTNJIT_C_KERNEL_H

#include "attnjit-c/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An image is machine code: load only what you trust as you would a shared library. `hooks` may be NULL; a GPU's kernel is launched on GPU
 * `device`. Errors: ATTNJIT_IO for what is no image or not intact, ATTNJIT_UNSUPPORTED for another CPU. */
ATTNJIT_API attnjit_status attnjit_kernel_load(const char *path, const attnjit_hooks *hooks, int32_t device, attnjit_kernel **kernel,
                                               attnjit_error **error);
ATTNJIT_API attnjit_status attnjit_kernel_from_bytes(const void *bytes, size_t size, const attnjit_hooks *hooks, int32_t device,
                                                     attnjit_kernel **kernel, attnjit_error **error);
ATTNJIT_API void attnjit_kernel_retain(attnjit_kernel *kernel);
ATTNJIT_API void attnjit_kernel_release(attnjit_kernel *kernel);

/* Staged and renamed: never half a file. */
ATTNJIT_API attnjit_status attnjit_kernel_save(const attnjit_kernel *kernel, const char *path, attnjit_error **error);
ATTNJIT_API attnjit_status attnjit_kernel_to_bytes(const attnjit_kernel *kernel, void **bytes, size_t *size, attnjit_error **error);

/* Computes the call with this kernel, whose formula counts and not the call's. `report` may be NULL. */
ATTNJIT_API attnjit_status attnjit_kernel_forward(const attnjit_kernel *kernel, const attnjit_forward_call *call, attnjit_report **report,
                                                  attnjit_error **error);

typedef struct attnjit_kernel_info {
  size_t struct_size;
  attnjit_backend backend;
  attnjit_kernel_source source;
  const char *pipeline;     /* these live as long as the kernel */
  const char *problem_text; /* what was compiled in */
  const char *build_id;
  const char *ptx; /* "" for a CPU */
  size_t code_bytes;
  size_t workspace_bytes; /* per worker */
  int64_t tile_rows, tile_cols;
} attnjit_kernel_info;
#define ATTNJIT_KERNEL_INFO_INIT {.struct_size = sizeof(attnjit_kernel_info)}
ATTNJIT_API attnjit_status attnjit_kernel_get_info(const attnjit_kernel *kernel, attnjit_kernel_info *info, attnjit_error **error);
/* The formula that it computes. */
ATTNJIT_API attnjit_status attnjit_kernel_get_mod(const attnjit_kernel *kernel, attnjit_mod **mod, attnjit_error **error);

#ifdef __cplusplus
}
#endif
#endif
