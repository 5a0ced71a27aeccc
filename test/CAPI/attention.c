#include "Check.h"

#include <math.h>

static void sdpa(const attnjit_engine *engine) {
  const int64_t square[] = {QUERIES, KEYS};
  const attnjit_causal_bias lower_right = {ATTNJIT_LOWER_RIGHT, QUERIES, KEYS}, strange = {3, QUERIES, KEYS};
  unsigned char may_attend[QUERIES * KEYS];
  attnjit_tensor mask = attnjit_tensor_dense(may_attend, ATTNJIT_BOOL, 2, square);
  attnjit_sdpa_call call = ATTNJIT_SDPA_CALL_INIT;
  formula f = plain;
  operands o;
  int i;
  fill(&o);
  f.visible = causal;
  for (i = 0; i < QUERIES * KEYS; ++i)
    may_attend[i] = (unsigned char)causal(0, i / KEYS, i % KEYS);
  call.query = o.call.q;
  call.key = o.call.k;
  call.value = o.call.v;
  call.out = o.call.out;
  call.attn_mask = &mask;
  OK(attnjit_scaled_dot_product_attention(engine, &call, NULL, &error));
  CHECK(deviation(&o, f) < 1e-5);
  call.attn_mask = NULL;
  call.is_causal = 1;
  memset(o.out, 0, sizeof o.out);
  OK(attnjit_scaled_dot_product_attention(engine, &call, NULL, &error));
  CHECK(deviation(&o, f) < 1e-5);
  call.is_causal = 0;
  call.causal_bias = &lower_right;
  OK(attnjit_scaled_dot_product_attention(engine, &call, NULL, &error));
  CHECK(deviation(&o, f) > 1e-2); /* another mask */
  call.attn_mask = &mask;
  FAILS(attnjit_scaled_dot_product_attention(engine, &call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "are two masks");
  call.attn_mask = NULL;
  call.causal_bias = &strange;
  FAILS(attnjit_scaled_dot_product_attention(engine, &call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "causal_bias: variant 3");
  FAILS(attnjit_scaled_dot_product_attention(engine, NULL, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "call is NULL");
}

/* Two sequences of 5 and 7 tokens; the value of key n of a sequence is n, and all scores are 0. */
static void packed(const attnjit_engine *engine) {
  enum { TOKENS = 12 };
  const int64_t sizes[] = {TOKENS, 1, DIM}, three = 3, at_most = 6;
  const attnjit_window causal_window = {-1, 0};
  int32_t starts[] = {0, 5, TOKENS};
  float q[TOKENS * DIM] = {0}, v[TOKENS * DIM], out[TOKENS * DIM];
  attnjit_varlen_call call = ATTNJIT_VARLEN_CALL_INIT;
  attnjit_tensor cu_seq;
  int t;
  for (t = 0; t < TOKENS * DIM; ++t)
    v[t] = (float)(t / DIM >= 5 ? t / DIM - 5 : t / DIM);
  call.q = call.k = attnjit_tensor_dense(q, ATTNJIT_F32, 3, sizes);
  call.v = attnjit_tensor_dense(v, ATTNJIT_F32, 3, sizes);
  call.out = attnjit_tensor_dense(out, ATTNJIT_F32, 3, sizes);
  call.cu_seq_q = cu_seq = attnjit_tensor_dense(starts, ATTNJIT_I32, 1, &three);
  call.cu_seq_k = &cu_seq;
  call.window = &causal_window;
  OK(attnjit_varlen_attention(engine, &call, NULL, &error));
  for (t = 0; t < TOKENS; ++t)
    CHECK(fabs(out[t * DIM] - 0.5 * (t >= 5 ? t - 5 : t)) < 1e-5);
  call.max_q = &at_most;
  FAILS(attnjit_varlen_attention(engine, &call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "6");
  FAILS(attnjit_varlen_attention(engine, NULL, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "call is NULL");
}

static void paged(const attnjit_engine *engine) {
  enum { PAGES = 8, PAGE = 4, ROWS = PAGES * PAGE };
  const int64_t cache[] = {1, 1, ROWS, DIM}, token[] = {1, 1, 6, DIM}, position[] = {1, 6}, rows[] = {2, 1, 1, DIM}, two = 2;
  const int64_t batches[] = {0, 1};
  const attnjit_window last = {-1, 0};
  float keys[ROWS * DIM] = {0}, values[ROWS * DIM] = {0}, k[6 * DIM] = {0}, v[6 * DIM], q[2 * DIM] = {0}, out[2 * DIM];
  int64_t positions[] = {0, 1, 2, 3, 4, 5}, lengths[] = {6, 3};
  attnjit_tensor k_cache = attnjit_tensor_dense(keys, ATTNJIT_F32, 4, cache), v_cache = attnjit_tensor_dense(values, ATTNJIT_F32, 4, cache);
  attnjit_tensor position_view = attnjit_tensor_dense(positions, ATTNJIT_I64, 2, position),
                 k_view = attnjit_tensor_dense(k, ATTNJIT_F32, 4, token), v_view = attnjit_tensor_dense(v, ATTNJIT_F32, 4, token),
                 length_view = attnjit_tensor_dense(lengths, ATTNJIT_I64, 1, &two);
  attnjit_paged_call call = ATTNJIT_PAGED_CALL_INIT;
  attnjit_pages *pages = NULL;
  attnjit_mod *mod = parse(NULL, "q_idx >= kv_idx", NULL, 0);
  attnjit_block_mask_options options = ATTNJIT_BLOCK_MASK_OPTIONS_INIT;
  attnjit_block_mask_info info = ATTNJIT_BLOCK_MASK_INFO_INIT;
  attnjit_block_mask *mask = NULL, *physical = NULL;
  int i;
  for (i = 0; i < 6 * DIM; ++i)
    v[i] = (float)(i / DIM);
  OK(attnjit_pages_create(PAGES, PAGE, 2, &pages, &error));
  OK(attnjit_pages_reserve(pages, 0, 6, &error));
  CHECK(attnjit_pages_empty(pages) == PAGES - 2 && attnjit_pages_capacity(pages, 0) == 2 * PAGE && attnjit_pages_capacity(pages, 7) == 0);
  OK(attnjit_pages_assign(pages, batches, 1, &position_view, &k_view, &v_view, &k_cache, &v_cache, &error));
  OK(attnjit_pages_share(pages, 0, 1, 4, &error));
  CHECK(attnjit_pages_table(pages).rank == 2);
  CHECK(attnjit_pages_holders(pages, ((int64_t *)attnjit_pages_table(pages).data)[0]) == 2);
  call.pages = pages;
  call.batches = batches;
  call.batch_count = 2;
  call.q = attnjit_tensor_dense(q, ATTNJIT_F32, 4, rows);
  call.out = attnjit_tensor_dense(out, ATTNJIT_F32, 4, rows);
  call.k_cache = k_cache;
  call.v_cache = v_cache;
  call.kv_len = length_view;
  call.window = &last;
  OK(attnjit_paged_attention(engine, &call, NULL, &error));
  CHECK(fabs(out[0] - 2.5) < 1e-5 && fabs(out[DIM] - 1) < 1e-5);

  options.block_q = options.block_kv = PAGE;
  OK(attnjit_block_mask_create(mod, NULL, 0, 1, 1, 8, 8, &options, &mask, &error));
  length_view.sizes[0] = 1;
  OK(attnjit_pages_convert_block_mask(pages, mask, 0, 1, &length_view, &physical, &error));
  OK(attnjit_block_mask_get_info(physical, &info, &error));
  CHECK(info.kv_length == ROWS && info.sparsity > 50);
  attnjit_block_mask_release(physical);
  FAILS(attnjit_pages_convert_block_mask(pages, mask, 5, 1, NULL, &physical, &error), ATTNJIT_INVALID_ARGUMENT, "");
  attnjit_block_mask_release(mask);
  attnjit_mod_release(mod);

  FAILS(attnjit_pages_share(pages, 0, 1, 4, &error), ATTNJIT_INVALID_ARGUMENT, "holds pages already");
  OK(attnjit_pages_erase(pages, 1, &error));
  FAILS(attnjit_pages_erase(pages, 9, &error), ATTNJIT_INVALID_ARGUMENT, "9");
  FAILS(attnjit_pages_reserve(pages, 0, 1000, &error), ATTNJIT_INVALID_ARGUMENT, "");
  FAILS(attnjit_pages_assign(pages, batches, 1, NULL, &k_view, &v_view, &k_cache, &v_cache, &error), ATTNJIT_INVALID_ARGUMENT,
        "positions is NULL");
  call.pages = NULL;
  FAILS(attnjit_paged_attention(engine, &call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "pages is NULL");
  attnjit_pages_destroy(pages);
  attnjit_pages_destroy(NULL);
  CHECK(attnjit_pages_empty(NULL) == 0 && attnjit_pages_capacity(NULL, 0) == 0 && attnjit_pages_holders(NULL, 0) == 0);
  CHECK(attnjit_pages_table(NULL).data == NULL);
  FAILS(attnjit_pages_create(-1, PAGE, 2, &pages, &error), ATTNJIT_INVALID_ARGUMENT, "");
  CHECK(!pages);
}

static void pieces(const attnjit_engine *engine) {
  float out[2][HEADS * QUERIES * DIM], lse[2][HEADS * QUERIES];
  attnjit_partial_state parts[2];
  operands o;
  int i;
  fill(&o);
  for (i = 0; i < 2; ++i) {
    attnjit_forward_call piece = o.call;
    parts[i].out = o.call.out, parts[i].out.data = out[i];
    parts[i].lse = o.lse_view, parts[i].lse.data = lse[i];
    piece.k.sizes[2] = piece.v.sizes[2] = i == 0 ? 10 : KEYS - 10;
    piece.k.data = o.k + i * 10 * DIM;
    piece.v.data = o.v + i * 10 * DIM;
    piece.out = parts[i].out;
    piece.lse = &parts[i].lse;
    OK(attnjit_engine_forward(engine, &piece, NULL, &error));
  }
  OK(attnjit_merge_states(parts, 2, &o.call.out, &o.lse_view, 0, &error));
  o.call.lse = &o.lse_view;
  CHECK(deviation(&o, plain) < 1e-5);
  FAILS(attnjit_merge_states(parts, 2, NULL, NULL, 0, &error), ATTNJIT_INVALID_ARGUMENT, "out is NULL");
  FAILS(attnjit_merge_states(NULL, 0, &o.call.out, NULL, 0, &error), ATTNJIT_INVALID_ARGUMENT, "");
}

void test_attention(void) {
  attnjit_engine *engine = make_engine();
  sdpa(engine);
  packed(engine);
  paged(engine);
  pieces(engine);
  attnjit_engine_release(engine);
}
