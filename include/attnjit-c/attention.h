/* PyTorch's words for attention over the engine: scaled_dot_product_attention, packed sequences, pages; and putting pieces together. */
#ifndef ATTNJIT_C_ATTENTION_H
#define ATTNJIT_C_ATTENTION_H

#include "attnjit-c/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which corner of the matrix of scores the diagonal goes through. */
enum { ATTNJIT_UPPER_LEFT = 1, ATTNJIT_LOWER_RIGHT = 2 };
typedef struct attnjit_causal_bias {
  int32_t variant;
  int64_t q_length, kv_length;
} attnjit_causal_bias;

/* query [..., Hq, L, E], key [..., H, S, E], value [..., H, S, Ev], out [..., Hq, L, Ev]; attnjit/Sdpa.h has the rest. */
typedef struct attnjit_sdpa_call {
  size_t struct_size;
  attnjit_tensor query, key, value, out;
  const attnjit_tensor *attn_mask;        /* broadcastable to [..., Hq, L, S]: bool, or a float to add; not together with the next */
  const attnjit_causal_bias *causal_bias; /* of the very lengths */
  int32_t is_causal, enable_gqa;
  const double *scale; /* default 1 / sqrt(E) */
  const attnjit_tensor *lse, *max;
  const attnjit_tensor *q_descale, *k_descale, *v_descale, *sinks;
  double softcap;
  const attnjit_dropout *dropout;
  const attnjit_backend_set *backends;
  int64_t tile_rows, tile_cols;
  int32_t threads;
  void *stream; /* as attnjit_forward_call's */
} attnjit_sdpa_call;
#define ATTNJIT_SDPA_CALL_INIT {.struct_size = sizeof(attnjit_sdpa_call)}
ATTNJIT_API attnjit_status attnjit_scaled_dot_product_attention(const attnjit_engine *engine, const attnjit_sdpa_call *call,
                                                                attnjit_report **report, attnjit_error **error);

/* Keys that a query may see, counted from its own place when both sequences end together; -1 = no bound on that side, {-1, 0} is causal. */
typedef struct attnjit_window {
  int64_t left, right;
} attnjit_window;

/* The tokens of all sequences, one after another: q and out [Tq, Hq, D], k [Tk, Hkv, D], v [Tk, Hkv, Dv]; attnjit/Varlen.h has the rest. */
typedef struct attnjit_varlen_call {
  size_t struct_size;
  const attnjit_mod *mod;
  const attnjit_capture *captures;
  size_t capture_count;
  attnjit_tensor q, k, v, out;
  attnjit_tensor cu_seq_q;           /* [S + 1] prefix sums of lengths */
  const attnjit_tensor *cu_seq_k;    /* the same for keys; NULL with a block table */
  const attnjit_tensor *seq_used_k;  /* [S] */
  const attnjit_tensor *block_table; /* [S, pages]: k and v are pools [P, page size, Hkv, D] */
  const int64_t *max_q, *max_k;      /* no sequence may be longer */
  const attnjit_window *window;      /* default: no bound */
  int32_t enable_gqa;
  int32_t threads;
  const double *scale;
  double softcap;
  const attnjit_tensor *lse, *max; /* [Hq, Tq] */
  const attnjit_tensor *q_descale, *k_descale, *v_descale, *sinks;
  const attnjit_backend_set *backends;
  int64_t tile_rows, tile_cols;
  void *stream; /* as attnjit_forward_call's */
} attnjit_varlen_call;
#define ATTNJIT_VARLEN_CALL_INIT {.struct_size = sizeof(attnjit_varlen_call)}
ATTNJIT_API attnjit_status attnjit_varlen_attention(const attnjit_engine *engine, const attnjit_varlen_call *call, attnjit_report **report,
                                                    attnjit_error **error);

/* The books of a page pool (attnjit/Paged.h): which page holds which tokens of which sequence. One owner, one thread at a time. */
typedef struct attnjit_pages attnjit_pages;
ATTNJIT_API attnjit_status attnjit_pages_create(int64_t pages, int64_t page_size, int64_t max_batch, attnjit_pages **made,
                                                attnjit_error **error);
ATTNJIT_API void attnjit_pages_destroy(attnjit_pages *pages);
/* Gives sequence `batch` pages until it can hold so many tokens. */
ATTNJIT_API attnjit_status attnjit_pages_reserve(attnjit_pages *pages, int64_t batch, int64_t tokens, attnjit_error **error);
ATTNJIT_API attnjit_status attnjit_pages_erase(attnjit_pages *pages, int64_t batch, attnjit_error **error);
/* Lets the empty sequence `to` begin with the first tokens of `from`, without a copy. */
ATTNJIT_API attnjit_status attnjit_pages_share(attnjit_pages *pages, int64_t from, int64_t to, int64_t tokens, attnjit_error **error);
/* Writes tokens k, v [n, H, S, D] of sequences batches[n] to positions [n, S] of the caches [1, H, pages * page size, D]. */
ATTNJIT_API attnjit_status attnjit_pages_assign(attnjit_pages *pages, const int64_t *batches, size_t batch_count,
                                                const attnjit_tensor *positions, const attnjit_tensor *k, const attnjit_tensor *v,
                                                const attnjit_tensor *k_cache, const attnjit_tensor *v_cache, attnjit_error **error);
ATTNJIT_API int64_t attnjit_pages_empty(const attnjit_pages *pages);
/* Tokens that a sequence can hold; 0 for one that does not exist. */
ATTNJIT_API int64_t attnjit_pages_capacity(const attnjit_pages *pages, int64_t batch);
/* Sequences that hold a page. */
ATTNJIT_API int64_t attnjit_pages_holders(const attnjit_pages *pages, int64_t page);
/* i64 [max_batch, pages], logical to physical, -1 = none; valid until the books change. */
ATTNJIT_API attnjit_tensor attnjit_pages_table(const attnjit_pages *pages);

/* A block mask over logical keys, with blocks of one page, as one over the caches: its batch i is sequence first + i. Pages beyond kv_len
 * [batches] i64, which may be NULL, are skipped. It needs the books as long as calls use it. */
ATTNJIT_API attnjit_status attnjit_pages_convert_block_mask(const attnjit_pages *pages, const attnjit_block_mask *mask, int64_t first,
                                                            int64_t batches, const attnjit_tensor *kv_len, attnjit_block_mask **converted,
                                                            attnjit_error **error);

/* q and out [B, Hq, M, D]; the sequence of each batch of q is batches[b]. */
typedef struct attnjit_paged_call {
  size_t struct_size;
  const attnjit_pages *pages;
  const int64_t *batches;
  size_t batch_count;
  const attnjit_mod *mod;
  const attnjit_capture *captures;
  size_t capture_count;
  attnjit_tensor q, k_cache, v_cache, out;
  attnjit_tensor kv_len;        /* [B], tokens in use */
  const attnjit_window *window; /* default: no bound */
  const double *scale;
  double softcap;
  const attnjit_tensor *lse, *max;
  const attnjit_tensor *q_descale, *k_descale, *v_descale, *sinks;
  const attnjit_backend_set *backends;
  int64_t tile_rows, tile_cols;
  int32_t threads;
  void *stream; /* as attnjit_forward_call's */
} attnjit_paged_call;
#define ATTNJIT_PAGED_CALL_INIT {.struct_size = sizeof(attnjit_paged_call)}
ATTNJIT_API attnjit_status attnjit_paged_attention(const attnjit_engine *engine, const attnjit_paged_call *call, attnjit_report **report,
                                                   attnjit_error **error);

/* What a call over some of the keys gave: out [B, Hq, M, Dv] and lse [B, Hq, M]. */
typedef struct attnjit_partial_state {
  attnjit_tensor out, lse;
} attnjit_partial_state;
/* Attention over all keys from parts over some (attnjit/MergeStates.h). `lse` may be NULL; threads 0 = the processors of this process. */
ATTNJIT_API attnjit_status attnjit_merge_states(const attnjit_partial_state *parts, size_t count, const attnjit_tensor *out,
                                                const attnjit_tensor *lse, int32_t threads, attnjit_error **error);

#ifdef __cplusplus
}
#endif
#endif
