#include "Check.h"

static void versions_and_names(void) {
  CHECK(attnjit_abi_version() == ATTNJIT_ABI_VERSION);
  CHECK(strlen(attnjit_version()) >= 5);
  CHECK(strcmp(attnjit_status_name(ATTNJIT_OK), "ok") == 0);
  CHECK(strcmp(attnjit_status_name(ATTNJIT_INTERNAL), "internal") == 0);
  CHECK(strcmp(attnjit_status_name(8), "unknown") == 0);
  CHECK(strcmp(attnjit_status_name(-1), "unknown") == 0);
  CHECK(strcmp(attnjit_kernel_source_name(ATTNJIT_SOURCE_HOST), "host") == 0);
  CHECK(strcmp(attnjit_kernel_source_name(6), "unknown") == 0);
}

static void dtypes(void) {
  attnjit_dtype dtype = -1;
  CHECK(attnjit_dtype_size(ATTNJIT_BF16) == 2);
  CHECK(attnjit_dtype_size(12) == 0);
  CHECK(strcmp(attnjit_dtype_name(ATTNJIT_I64), "i64") == 0);
  CHECK(strcmp(attnjit_dtype_name(-1), "unknown") == 0);
  OK(attnjit_dtype_parse("bfloat16", &dtype, &error));
  CHECK(dtype == ATTNJIT_BF16);
  FAILS(attnjit_dtype_parse("f12", &dtype, &error), ATTNJIT_INVALID_ARGUMENT, "'f12' is no dtype; there are f64");
  FAILS(attnjit_dtype_parse(NULL, &dtype, &error), ATTNJIT_INVALID_ARGUMENT, "is no dtype");
  FAILS(attnjit_dtype_parse("f32", NULL, &error), ATTNJIT_INVALID_ARGUMENT, "dtype is NULL");
}

static void backends(void) {
  attnjit_backend backend = ATTNJIT_BACKEND_ERROR;
  CHECK(strcmp(attnjit_backend_name(ATTNJIT_BACKEND_MATH), "MATH") == 0);
  CHECK(strcmp(attnjit_backend_name(5), "unknown") == 0);
  OK(attnjit_backend_parse("efficient", &backend, &error));
  CHECK(backend == ATTNJIT_BACKEND_EFFICIENT_ATTENTION);
  FAILS(attnjit_backend_parse("fast", &backend, &error), ATTNJIT_INVALID_ARGUMENT, "'fast' is no backend");
  FAILS(attnjit_sdpa_kernel_pop(&error), ATTNJIT_INVALID_ARGUMENT, "pushed nothing");
  FAILS(attnjit_sdpa_kernel_push(NULL, &error), ATTNJIT_INVALID_ARGUMENT, "backends is NULL");
  {
    const attnjit_backend unknown[] = {9};
    const attnjit_backend_set set = {unknown, 1, 0}, without = {NULL, 1, 0};
    FAILS(attnjit_sdpa_kernel_push(&set, &error), ATTNJIT_INVALID_ARGUMENT, "no backend 9");
    FAILS(attnjit_sdpa_kernel_push(&without, &error), ATTNJIT_INVALID_ARGUMENT, "backends is NULL");
  }
}

static void tensors(void) {
  const int64_t sizes[] = {2, 3, 4};
  const int64_t huge[] = {INT64_MAX, INT64_MAX, 2};
  float data[24];
  attnjit_tensor t = attnjit_tensor_dense(data, ATTNJIT_F32, 3, sizes);
  CHECK(t.data == data && t.dtype == ATTNJIT_F32 && t.rank == 3);
  CHECK(t.sizes[0] == 2 && t.sizes[2] == 4 && t.strides[0] == 12 && t.strides[1] == 4 && t.strides[2] == 1);
  t = attnjit_tensor_dense(data, ATTNJIT_F32, 3, huge);
  CHECK(t.strides[0] == INT64_MAX);
  t = attnjit_tensor_dense(data, ATTNJIT_F32, 7, sizes);
  CHECK(t.rank == 7 && t.sizes[0] == 0);
}

static void errors(void) {
  const char *text = NULL;
  size_t line = 0, column = 0;
  attnjit_error *error = NULL;
  attnjit_mod *mod = NULL;
  attnjit_mod_text texts = ATTNJIT_MOD_TEXT_INIT;
  texts.score_mod = "score +\n nothing";
  CHECK(attnjit_mod_parse(&texts, NULL, 0, &mod, &error) == ATTNJIT_INVALID_FORMULA);
  CHECK(!mod);
  CHECK(attnjit_error_status(error) == ATTNJIT_INVALID_FORMULA);
  CHECK(strstr(attnjit_error_message(error), "^"));
  CHECK(attnjit_error_place(error, &text, &line, &column) == 1);
  CHECK(text && strcmp(text, "score_mod") == 0 && line == 2 && column == 2);
  CHECK(attnjit_error_place(error, NULL, NULL, NULL) == 1);
  attnjit_error_destroy(error);
  /* An error is not asked for, or there is none. */
  CHECK(attnjit_mod_parse(&texts, NULL, 0, &mod, NULL) == ATTNJIT_INVALID_FORMULA);
  CHECK(attnjit_error_status(NULL) == ATTNJIT_OK);
  CHECK(strcmp(attnjit_error_message(NULL), "") == 0);
  CHECK(attnjit_error_place(NULL, &text, &line, &column) == 0);
  attnjit_error_destroy(NULL);
  attnjit_free(NULL);
  CHECK(attnjit_dtype_parse("f12", NULL, &error) == ATTNJIT_INVALID_ARGUMENT);
  CHECK(attnjit_error_place(error, &text, &line, &column) == 0);
  attnjit_error_destroy(error);
}

/* Structs of other ages than the library. */
static void sizes_of_structs(void) {
  attnjit_mod *mod = NULL;
  attnjit_mod_text old = ATTNJIT_MOD_TEXT_INIT;
  struct {
    attnjit_mod_text known;
    const char *unknown;
  } newer = {{.struct_size = sizeof newer}, NULL};
  struct {
    attnjit_block_mask_info known;
    int64_t unknown;
  } info = {{.struct_size = sizeof info}, 0};
  attnjit_block_mask_info cut = ATTNJIT_BLOCK_MASK_INFO_INIT;
  attnjit_block_mask *mask = NULL;

  old.struct_size = offsetof(attnjit_mod_text, prob_mod); /* from before there were prob_mods */
  old.mask_mod = "q_idx >= kv_idx";
  old.prob_mod = "this is not looked at";
  OK(attnjit_mod_parse(&old, NULL, 0, &mod, &error));
  CHECK(attnjit_mod_properties(mod) & ATTNJIT_PROB_IS_IDENTITY);
  OK(attnjit_block_mask_create(mod, NULL, 0, 1, 1, 256, 256, NULL, &mask, &error));
  attnjit_mod_release(mod);

  newer.known.mask_mod = "q_idx >= kv_idx";
  OK(attnjit_mod_parse(&newer.known, NULL, 0, &mod, &error));
  attnjit_mod_release(mod);
  newer.unknown = "set";
  FAILS(attnjit_mod_parse(&newer.known, NULL, 0, &mod, &error), ATTNJIT_UNSUPPORTED, "a field is set that this library does not know");
  old.struct_size = 0;
  FAILS(attnjit_mod_parse(&old, NULL, 0, &mod, &error), ATTNJIT_INVALID_ARGUMENT, "attnjit_mod_text: struct_size is 0");

  OK(attnjit_block_mask_get_info(mask, &info.known, &error));
  CHECK(info.known.struct_size == sizeof info && info.known.rows == 2 && info.unknown == 0);
  cut.struct_size = offsetof(attnjit_block_mask_info, cols);
  cut.cols = -7;
  OK(attnjit_block_mask_get_info(mask, &cut, &error));
  CHECK(cut.rows == 2 && cut.cols == -7);
  attnjit_block_mask_release(mask);
}

void test_base(void) {
  versions_and_names();
  dtypes();
  backends();
  tensors();
  errors();
  sizes_of_structs();
}
