/* Block masks: which blocks of keys each block of queries sees (torch's BlockMask; attnjit/BlockMask.h says what each part means). */
#ifndef ATTNJIT_C_BLOCK_MASK_H
#define ATTNJIT_C_BLOCK_MASK_H

#include "attnjit-c/mod.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attnjit_block_mask attnjit_block_mask;

typedef struct attnjit_block_mask_options {
  size_t struct_size;
  int64_t block_q, block_kv;   /* default 128 */
  int32_t full_blocks_partial; /* list full blocks as partial */
  int32_t threads;             /* at most so many; default 1, -1 = the processors this process may use */
} attnjit_block_mask_options;
#define ATTNJIT_BLOCK_MASK_OPTIONS_INIT {.struct_size = sizeof(attnjit_block_mask_options)}

/* From the mask of `mod` over [batches, heads, q_length, kv_length]; batches and heads of 1 serve all. `options` may be NULL. Memory of
 * captured tensors has to live as long as calls use the mask. */
ATTNJIT_API attnjit_status attnjit_block_mask_create(const attnjit_mod *mod, const attnjit_capture *captures, size_t capture_count,
                                                     int64_t batches, int64_t heads, int64_t q_length, int64_t kv_length,
                                                     const attnjit_block_mask_options *options, attnjit_block_mask **mask,
                                                     attnjit_error **error);

/* Lists of blocks: i32 or i64, any strides, leading dimensions that are left out are 1. */
typedef struct attnjit_kv_blocks {
  size_t struct_size;
  attnjit_tensor kv_num_blocks;                               /* [B, H, rows] */
  attnjit_tensor kv_indices;                                  /* [B, H, rows, cols] */
  const attnjit_tensor *full_kv_num_blocks, *full_kv_indices; /* both or neither */
  int64_t block_q, block_kv;                                  /* default 128 */
  int64_t q_length, kv_length;                                /* default: rows * block_q, cols * block_kv */
  const attnjit_mod *mask_mod;                                /* default: everything visible */
  const attnjit_capture *captures;                            /* of mask_mod */
  size_t capture_count;
} attnjit_kv_blocks;
#define ATTNJIT_KV_BLOCKS_INIT {.struct_size = sizeof(attnjit_kv_blocks)}
ATTNJIT_API attnjit_status attnjit_block_mask_from_kv_blocks(const attnjit_kv_blocks *blocks, attnjit_block_mask **mask,
                                                             attnjit_error **error);

ATTNJIT_API void attnjit_block_mask_retain(attnjit_block_mask *mask);
ATTNJIT_API void attnjit_block_mask_release(attnjit_block_mask *mask);

typedef struct attnjit_block_mask_info {
  size_t struct_size;
  int64_t batches, heads, q_length, kv_length, block_q, block_kv;
  int64_t rows, cols; /* blocks of queries, of keys */
  double sparsity;    /* percent of blocks that are skipped */
  size_t bytes;
  int32_t is_derived; /* from a mask_mod; 0: from lists, which then decide */
  /* How it was made; all 0 for lists. */
  int64_t blocks, by_analysis, by_samples, by_evaluation, pairs_evaluated, values_tabulated, time_ns;
} attnjit_block_mask_info;
#define ATTNJIT_BLOCK_MASK_INFO_INIT {.struct_size = sizeof(attnjit_block_mask_info)}
ATTNJIT_API attnjit_status attnjit_block_mask_get_info(const attnjit_block_mask *mask, attnjit_block_mask_info *info,
                                                       attnjit_error **error);

/* Its mask_mod, moved along by slices, and the captures of that by name. */
ATTNJIT_API attnjit_status attnjit_block_mask_get_mod(const attnjit_block_mask *mask, attnjit_mod **mod, attnjit_error **error);
ATTNJIT_API size_t attnjit_block_mask_capture_count(const attnjit_block_mask *mask);
ATTNJIT_API attnjit_status attnjit_block_mask_get_capture(const attnjit_block_mask *mask, size_t index, attnjit_capture *capture,
                                                          attnjit_error **error);

enum {
  ATTNJIT_KV_NUM_BLOCKS = 0,
  ATTNJIT_KV_INDICES = 1,
  ATTNJIT_FULL_KV_NUM_BLOCKS = 2,
  ATTNJIT_FULL_KV_INDICES = 3,
  ATTNJIT_Q_NUM_BLOCKS = 4,
  ATTNJIT_Q_INDICES = 5,
  ATTNJIT_FULL_Q_NUM_BLOCKS = 6,
  ATTNJIT_FULL_Q_INDICES = 7,
  ATTNJIT_BLOCK_TENSORS = 8
};
/* PyTorch's index tensors, i32, by the numbers above; NULL for those that the mask has not, and for the q ones unless asked for. */
ATTNJIT_API attnjit_status attnjit_block_mask_tensors(const attnjit_block_mask *mask, int32_t with_q_blocks,
                                                      attnjit_array *tensors[ATTNJIT_BLOCK_TENSORS], attnjit_error **error);
/* i32 [B, H, rows, cols]: 1 for a block that is not skipped. */
ATTNJIT_API attnjit_status attnjit_block_mask_to_dense(const attnjit_block_mask *mask, attnjit_array **dense, attnjit_error **error);
/* A picture of at most grid_rows x grid_cols cells (0 = 20, -1 = a cell per block) per batch and head, at most `limit` (0 = 4) of them. */
ATTNJIT_API attnjit_status attnjit_block_mask_text(const attnjit_block_mask *mask, int64_t grid_rows, int64_t grid_cols, int64_t limit,
                                                   char **text, attnjit_error **error);

/* [begin, end); negative numbers count from the end. */
typedef struct attnjit_range {
  int64_t begin, end;
} attnjit_range;
/* Some batches, heads and rows of blocks; NULL = all. Queries, batches and heads are counted anew, and the mask_mod moves along. */
ATTNJIT_API attnjit_status attnjit_block_mask_slice(const attnjit_block_mask *mask, const attnjit_range *batches,
                                                    const attnjit_range *heads, const attnjit_range *rows, attnjit_block_mask **slice,
                                                    attnjit_error **error);
/* The upper left corner. */
ATTNJIT_API attnjit_status attnjit_block_mask_adjust(const attnjit_block_mask *mask, int64_t q_length, int64_t kv_length,
                                                     attnjit_block_mask **adjusted, attnjit_error **error);
/* The same mask over longer sequences; only new blocks are decided. `threads` as in the options. */
ATTNJIT_API attnjit_status attnjit_block_mask_grow(const attnjit_block_mask *mask, int64_t q_length, int64_t kv_length,
                                                   const attnjit_capture *captures, size_t capture_count, int32_t threads,
                                                   attnjit_block_mask **grown, attnjit_error **error);
/* Two masks joined, block by block; ATTNJIT_NOT takes `x` alone, and y is NULL. */
ATTNJIT_API attnjit_status attnjit_block_mask_combine(attnjit_combination how, const attnjit_block_mask *x, const attnjit_block_mask *y,
                                                      attnjit_block_mask **mask, attnjit_error **error);

/* The mask in full: u8 [batches, heads, q_length, kv_length]. */
ATTNJIT_API attnjit_status attnjit_create_mask(const attnjit_mod *mod, const attnjit_capture *captures, size_t capture_count,
                                               int64_t batches, int64_t heads, int64_t q_length, int64_t kv_length, attnjit_array **mask,
                                               attnjit_error **error);

#ifdef __cplusplus
}
#endif
#endif
