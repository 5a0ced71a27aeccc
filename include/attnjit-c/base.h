/* What every function of attnjit's C interface speaks: statuses, errors, element types, tensors, who owns what.
 *
 *   attnjit_error *error = NULL;
 *   attnjit_engine *engine = NULL;
 *   if (attnjit_engine_create(NULL, &engine, &error) != ATTNJIT_OK) {
 *     fprintf(stderr, "%s\n", attnjit_error_message(error));
 *     attnjit_error_destroy(error);
 *   }
 *
 * Failure. A function that can fail returns an attnjit_status. Its last parameter may be NULL, or receives the error, which the caller
 * destroys; after success it is NULL. What it would have made is NULL then, too. Nothing throws, exits or prints.
 *
 * Handles. attnjit_mod, attnjit_engine, attnjit_kernel and attnjit_block_mask are counted: what makes one gives the caller one reference,
 * retain takes another, release gives one back (NULL is fine), and the object ends with the last. Whoever needs an object keeps it alive
 * itself: a kernel its code, a block mask its formula, a launch on a GPU its kernel; so releasing a handle is right as soon as the call
 * that it was given to has returned. Reports, arrays and errors have one owner, who destroys them. Handles may be used from any number of
 * threads at once.
 *
 * Text that a function answers with as `const char *` lives as long as the handle it was asked of; what comes through a `char **` or a
 * `void **` is the caller's, who gives it to attnjit_free. All text is UTF-8.
 *
 * Structs whose first field is struct_size can grow. Begin with their _INIT: every other field is then 0, which always means the default. A
 * program that was compiled against a shorter struct goes on working, and one that sets a field which this library does not know yet is
 * told so.
 */
#ifndef ATTNJIT_C_BASE_H
#define ATTNJIT_C_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ATTNJIT_API __attribute__((visibility("default")))
#else
#define ATTNJIT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a program compiled before would break; functions and fields that are added do not raise it. */
#define ATTNJIT_ABI_VERSION 1
/* ATTNJIT_ABI_VERSION of the library. */
ATTNJIT_API uint32_t attnjit_abi_version(void);
/* Version of the library, as "0.1.0". */
ATTNJIT_API const char *attnjit_version(void);

typedef int32_t attnjit_status;
enum {
  ATTNJIT_OK = 0,
  ATTNJIT_INVALID_FORMULA = 1,    /* the text of a mod; the message carries a caret, the error its place */
  ATTNJIT_INVALID_ARGUMENT = 2,   /* a shape, dtype, stride, capture or option; the message names it */
  ATTNJIT_NO_BACKEND = 3,         /* no allowed backend takes the call; the message lists every reason */
  ATTNJIT_INDEX_OUT_OF_RANGE = 4, /* a captured tensor was indexed outside its extents */
  ATTNJIT_IO = 5,                 /* a file could not be read or written */
  ATTNJIT_UNSUPPORTED = 6,        /* nothing that this build or machine has (no compiler, no GPU, no memory) */
  ATTNJIT_INTERNAL = 7            /* a bug of attnjit */
};
/* "ok", "invalid-formula", "no-backend" ... */
ATTNJIT_API const char *attnjit_status_name(attnjit_status status);

typedef struct attnjit_error attnjit_error;
ATTNJIT_API attnjit_status attnjit_error_status(const attnjit_error *error);
/* Ready to be shown; several lines, perhaps. */
ATTNJIT_API const char *attnjit_error_message(const attnjit_error *error);
/* Where in a text of the caller's: 1, and "score_mod", "mask_mod", "prob_mod" or the module's name, with line and column from 1; or 0, if
 * the error has no place. Each of the last three may be NULL. */
ATTNJIT_API int attnjit_error_place(const attnjit_error *error, const char **text, size_t *line, size_t *column);
ATTNJIT_API void attnjit_error_destroy(attnjit_error *error);

/* Gives back text and bytes that a function answered with. NULL is fine. */
ATTNJIT_API void attnjit_free(void *memory);

typedef int32_t attnjit_dtype;
enum {
  ATTNJIT_F64 = 0,
  ATTNJIT_F32 = 1,
  ATTNJIT_BF16 = 2,
  ATTNJIT_F16 = 3,
  ATTNJIT_F8E4M3 = 4,
  ATTNJIT_F8E5M2 = 5,
  ATTNJIT_BOOL = 6,
  ATTNJIT_I8 = 7,
  ATTNJIT_U8 = 8,
  ATTNJIT_I16 = 9,
  ATTNJIT_I32 = 10,
  ATTNJIT_I64 = 11
};
/* Bytes of one element; 0 for a dtype that does not exist. */
ATTNJIT_API size_t attnjit_dtype_size(attnjit_dtype dtype);
/* "f32", "bf16", "i64" ...; "unknown" for one that does not exist. */
ATTNJIT_API const char *attnjit_dtype_name(attnjit_dtype dtype);
/* The inverse; PyTorch's names ("bfloat16") are understood, too. */
ATTNJIT_API attnjit_status attnjit_dtype_parse(const char *name, attnjit_dtype *dtype, attnjit_error **error);

#define ATTNJIT_MAX_RANK 6
#define ATTNJIT_MAX_HEAD_DIM 512

/* A view of memory that somebody else owns. Strides count elements; 0 repeats, and they may be negative. Entries past `rank` are ignored.
 */
typedef struct attnjit_tensor {
  void *data;
  attnjit_dtype dtype;
  int32_t rank;
  int64_t sizes[ATTNJIT_MAX_RANK];
  int64_t strides[ATTNJIT_MAX_RANK];
} attnjit_tensor;
/* A dense row-major view of rank 0 to ATTNJIT_MAX_RANK; of another rank comes a view that no call takes. */
ATTNJIT_API attnjit_tensor attnjit_tensor_dense(void *data, attnjit_dtype dtype, int32_t rank, const int64_t *sizes);

/* A dense tensor with the memory behind it, made by the library. */
typedef struct attnjit_array attnjit_array;
ATTNJIT_API attnjit_tensor attnjit_array_tensor(const attnjit_array *array);
ATTNJIT_API void attnjit_array_destroy(attnjit_array *array);

typedef int32_t attnjit_backend;
enum {
  ATTNJIT_BACKEND_ERROR = -1, /* what choosing answers when nothing fits */
  ATTNJIT_BACKEND_MATH = 0,
  ATTNJIT_BACKEND_FLASH_ATTENTION = 1,
  ATTNJIT_BACKEND_EFFICIENT_ATTENTION = 2,
  ATTNJIT_BACKEND_CUDNN_ATTENTION = 3,
  ATTNJIT_BACKEND_OVERRIDEABLE = 4
};
/* "FLASH_ATTENTION" ...; "unknown" for one that does not exist. */
ATTNJIT_API const char *attnjit_backend_name(attnjit_backend backend);
/* The inverse; lower case and "flash", "math", "efficient", "cudnn" are understood, too. */
ATTNJIT_API attnjit_status attnjit_backend_parse(const char *name, attnjit_backend *backend, attnjit_error **error);

/* The allowed backends: in the engine's order of preference, or with set_priority in the order of the list. */
typedef struct attnjit_backend_set {
  const attnjit_backend *backends;
  size_t count;
  int32_t set_priority;
} attnjit_backend_set;
/* From here to the matching pop, calls of this thread that name no set use this one (torch's sdpa_kernel). An inner one replaces the outer.
 */
ATTNJIT_API attnjit_status attnjit_sdpa_kernel_push(const attnjit_backend_set *backends, attnjit_error **error);
/* Error: ATTNJIT_INVALID_ARGUMENT when this thread has nothing to pop. */
ATTNJIT_API attnjit_status attnjit_sdpa_kernel_pop(attnjit_error **error);

#ifdef __cplusplus
}
#endif
#endif
