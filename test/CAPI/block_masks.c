#include "Check.h"

enum { LENGTH = 100, DOCUMENT = 25 };

/* Documents of 25 tokens in blocks of 20. */
static void made_and_asked(void) {
  const attnjit_capture_info doc = {"doc", ATTNJIT_I32, 1};
  const int64_t length = LENGTH;
  int32_t documents[2 * LENGTH];
  attnjit_capture capture = {"doc", ATTNJIT_CAPTURE_TENSOR, {{NULL, 0, 0, {0}, {0}}}}, back;
  attnjit_block_mask_options options = ATTNJIT_BLOCK_MASK_OPTIONS_INIT;
  attnjit_block_mask_info info = ATTNJIT_BLOCK_MASK_INFO_INIT;
  attnjit_block_mask *mask = NULL, *other = NULL;
  attnjit_mod *mod = parse(NULL, "doc[q_idx] == doc[kv_idx]", &doc, 1), *its = NULL;
  attnjit_array *tensors[ATTNJIT_BLOCK_TENSORS], *dense = NULL;
  attnjit_range row = {1, 2};
  attnjit_tensor t;
  char *text = NULL;
  int i;
  for (i = 0; i < 2 * LENGTH; ++i)
    documents[i] = i / DOCUMENT;
  capture.value.tensor = attnjit_tensor_dense(documents, ATTNJIT_I32, 1, &length);
  options.block_q = options.block_kv = 20;
  options.threads = -1;
  OK(attnjit_block_mask_create(mod, &capture, 1, 1, 1, LENGTH, LENGTH, &options, &mask, &error));
  attnjit_mod_release(mod);
  OK(attnjit_block_mask_get_info(mask, &info, &error));
  CHECK(info.batches == 1 && info.heads == 1 && info.q_length == LENGTH && info.kv_length == LENGTH && info.block_q == 20 &&
        info.rows == 5 && info.cols == 5 && info.is_derived == 1 && info.blocks == 25 && info.sparsity > 30 && info.bytes > 0);
  OK(attnjit_block_mask_get_mod(mask, &its, &error));
  CHECK(attnjit_mod_capture_count(its) == 1);
  attnjit_mod_release(its);
  CHECK(attnjit_block_mask_capture_count(mask) == 1);
  OK(attnjit_block_mask_get_capture(mask, 0, &back, &error));
  CHECK(strcmp(back.name, "doc") == 0 && back.kind == ATTNJIT_CAPTURE_TENSOR && back.value.tensor.data == documents);
  FAILS(attnjit_block_mask_get_capture(mask, 1, &back, &error), ATTNJIT_INVALID_ARGUMENT, "no number 1");

  OK(attnjit_block_mask_tensors(mask, 0, tensors, &error));
  t = attnjit_array_tensor(tensors[ATTNJIT_KV_NUM_BLOCKS]);
  CHECK(t.dtype == ATTNJIT_I32 && t.rank == 3 && t.sizes[2] == 5);
  CHECK(((int32_t *)t.data)[0] + ((int32_t *)attnjit_array_tensor(tensors[ATTNJIT_FULL_KV_NUM_BLOCKS]).data)[0] == 2);
  CHECK(!tensors[ATTNJIT_Q_NUM_BLOCKS]);
  for (i = 0; i < ATTNJIT_BLOCK_TENSORS; ++i)
    attnjit_array_destroy(tensors[i]);
  OK(attnjit_block_mask_tensors(mask, 1, tensors, &error));
  CHECK(attnjit_array_tensor(tensors[ATTNJIT_FULL_Q_INDICES]).rank == 4);
  for (i = 0; i < ATTNJIT_BLOCK_TENSORS; ++i)
    attnjit_array_destroy(tensors[i]);
  CHECK(attnjit_array_tensor(NULL).data == NULL);
  OK(attnjit_block_mask_to_dense(mask, &dense, &error));
  t = attnjit_array_tensor(dense);
  CHECK(t.rank == 4 && ((int32_t *)t.data)[0] == 1 && ((int32_t *)t.data)[4] == 0);
  attnjit_array_destroy(dense);
  OK(attnjit_block_mask_text(mask, -1, -1, 0, &text, &error));
  CHECK(text && strlen(text) > 25);
  attnjit_free(text);

  OK(attnjit_block_mask_slice(mask, NULL, NULL, &row, &other, &error));
  OK(attnjit_block_mask_get_info(other, &info, &error));
  CHECK(info.q_length == 20 && info.rows == 1);
  CHECK(attnjit_block_mask_capture_count(other) > 1);
  OK(attnjit_block_mask_get_capture(other, attnjit_block_mask_capture_count(other) - 1, &back, &error));
  CHECK(back.kind == ATTNJIT_CAPTURE_INT || back.kind == ATTNJIT_CAPTURE_TENSOR);
  attnjit_block_mask_release(other);
  OK(attnjit_block_mask_adjust(mask, 50, 60, &other, &error));
  OK(attnjit_block_mask_get_info(other, &info, &error));
  CHECK(info.q_length == 50 && info.kv_length == 60);
  attnjit_block_mask_release(other);
  capture.value.tensor.sizes[0] = 2 * LENGTH;
  OK(attnjit_block_mask_grow(mask, 2 * LENGTH, 2 * LENGTH, &capture, 1, 0, &other, &error));
  OK(attnjit_block_mask_get_info(other, &info, &error));
  CHECK(info.rows == 10);
  attnjit_block_mask_release(other);

  FAILS(attnjit_block_mask_adjust(mask, 500, 60, &other, &error), ATTNJIT_INVALID_ARGUMENT, "");
  row.begin = 9;
  FAILS(attnjit_block_mask_slice(mask, NULL, NULL, &row, &other, &error), ATTNJIT_INVALID_ARGUMENT, "");
  FAILS(attnjit_block_mask_grow(mask, 10, 10, &capture, 1, 0, &other, &error), ATTNJIT_INVALID_ARGUMENT, "");
  FAILS(attnjit_block_mask_get_info(mask, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "attnjit_block_mask_info is NULL");
  FAILS(attnjit_block_mask_tensors(mask, 0, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "tensors is NULL");
  FAILS(attnjit_block_mask_to_dense(NULL, &dense, &error), ATTNJIT_INVALID_ARGUMENT, "mask is NULL");
  CHECK(!other);
  attnjit_block_mask_retain(mask);
  attnjit_block_mask_release(mask);
  CHECK(attnjit_block_mask_capture_count(mask) == 1);
  attnjit_block_mask_release(mask);
  attnjit_block_mask_release(NULL);
  CHECK(attnjit_block_mask_capture_count(NULL) == 0);
}

static void from_lists(void) {
  const int64_t counts[] = {2}, indices[] = {2, 2};
  int32_t count[] = {1, 2}, index[] = {0, 1, 0, 1}, out_of_range[] = {0, 1, 5, 1};
  attnjit_kv_blocks blocks = ATTNJIT_KV_BLOCKS_INIT;
  attnjit_block_mask *mask = NULL;
  attnjit_block_mask_info info = ATTNJIT_BLOCK_MASK_INFO_INIT;
  blocks.kv_num_blocks = attnjit_tensor_dense(count, ATTNJIT_I32, 1, counts);
  blocks.kv_indices = attnjit_tensor_dense(index, ATTNJIT_I32, 2, indices);
  blocks.block_q = blocks.block_kv = 32;
  OK(attnjit_block_mask_from_kv_blocks(&blocks, &mask, &error));
  OK(attnjit_block_mask_get_info(mask, &info, &error));
  CHECK(info.rows == 2 && info.q_length == 64 && info.is_derived == 0 && info.sparsity == 25);
  attnjit_block_mask_release(mask);
  blocks.kv_indices.data = out_of_range;
  FAILS(attnjit_block_mask_from_kv_blocks(&blocks, &mask, &error), ATTNJIT_INVALID_ARGUMENT, "5");
  blocks.kv_indices.rank = 7;
  FAILS(attnjit_block_mask_from_kv_blocks(&blocks, &mask, &error), ATTNJIT_INVALID_ARGUMENT, "kv_indices: rank 7");
  FAILS(attnjit_block_mask_from_kv_blocks(NULL, &mask, &error), ATTNJIT_INVALID_ARGUMENT, "blocks is NULL");
}

static void combinations(void) {
  attnjit_mod *causal_mod = parse(NULL, "q_idx >= kv_idx", NULL, 0), *near = parse(NULL, "q_idx - kv_idx < 40", NULL, 0);
  attnjit_block_mask *x = NULL, *y = NULL, *made = NULL;
  attnjit_array *mask = NULL;
  attnjit_block_mask_info info = ATTNJIT_BLOCK_MASK_INFO_INIT;
  attnjit_combination how;
  OK(attnjit_block_mask_create(causal_mod, NULL, 0, 1, 1, 512, 512, NULL, &x, &error));
  OK(attnjit_block_mask_create(near, NULL, 0, 1, 1, 512, 512, NULL, &y, &error));
  OK(attnjit_block_mask_combine(ATTNJIT_AND, x, y, &made, &error));
  OK(attnjit_block_mask_get_info(made, &info, &error));
  CHECK(info.sparsity > 50);
  attnjit_block_mask_release(made);
  for (how = ATTNJIT_OR; how <= ATTNJIT_XOR; ++how) {
    OK(attnjit_block_mask_combine(how, x, y, &made, &error));
    attnjit_block_mask_release(made);
  }
  OK(attnjit_block_mask_combine(ATTNJIT_NOT, x, NULL, &made, &error));
  attnjit_block_mask_release(made);
  FAILS(attnjit_block_mask_combine(ATTNJIT_NOT, x, y, &made, &error), ATTNJIT_INVALID_ARGUMENT, "y has to be NULL");
  FAILS(attnjit_block_mask_combine(ATTNJIT_AND, x, NULL, &made, &error), ATTNJIT_INVALID_ARGUMENT, "y is NULL");
  FAILS(attnjit_block_mask_combine(ATTNJIT_CHAIN, x, y, &made, &error), ATTNJIT_INVALID_ARGUMENT, "of block masks");

  OK(attnjit_create_mask(causal_mod, NULL, 0, 1, 1, 3, 3, &mask, &error));
  CHECK(attnjit_array_tensor(mask).dtype == ATTNJIT_U8);
  CHECK(memcmp(attnjit_array_tensor(mask).data, "\1\0\0\1\1\0\1\1\1", 9) == 0);
  attnjit_array_destroy(mask);
  FAILS(attnjit_create_mask(causal_mod, NULL, 0, -1, 1, 3, 3, &mask, &error), ATTNJIT_INVALID_ARGUMENT, "");
  FAILS(attnjit_block_mask_create(causal_mod, NULL, 0, 1, 1, -1, 3, NULL, &made, &error), ATTNJIT_INVALID_ARGUMENT, "");
  attnjit_block_mask_release(x);
  attnjit_block_mask_release(y);
  attnjit_mod_release(causal_mod);
  attnjit_mod_release(near);
}

void test_block_masks(void) {
  made_and_asked();
  from_lists();
  combinations();
}
