#include "Check.h"

#include <math.h>

static double alibi(int h, int q, int kv) { return (h == 0 ? 0.25 : 0.5) * (kv - q); }
static double shifted(int h, int q, int kv) { return alibi(h, q, kv) + 1 + 3; }
static int window(int h, int q, int kv) { return causal(h, q, kv) && q - kv < 8; }

static void plain_and_with_everything(const attnjit_engine *engine) {
  const attnjit_capture_info infos[] = {
      {"slope", ATTNJIT_F32, 1}, {"a", ATTNJIT_F64, -1}, {"n", ATTNJIT_I64, -1}, {"flag", ATTNJIT_BOOL, -1}};
  const int64_t heads = HEADS, rows[] = {1, HEADS, QUERIES};
  const double scale = 0.5;
  float slope[] = {0.25f, 0.5f}, sinks[] = {0.75f, 0.75f}, max[HEADS * QUERIES];
  attnjit_capture captures[4] = {{"slope", ATTNJIT_CAPTURE_TENSOR, {{NULL, 0, 0, {0}, {0}}}}};
  attnjit_tensor sinks_view = attnjit_tensor_dense(sinks, ATTNJIT_F32, 1, &heads),
                 max_view = attnjit_tensor_dense(max, ATTNJIT_F32, 3, rows);
  attnjit_report *report = NULL;
  attnjit_report_info info = ATTNJIT_REPORT_INFO_INIT;
  formula f = plain;
  attnjit_mod *mod = NULL;
  operands o;
  fill(&o);
  OK(attnjit_engine_forward(engine, &o.call, NULL, &error));
  CHECK(deviation(&o, plain) < 1e-5);

  mod =
      parse("score + slope[h] * (kv_idx - q_idx) + a + torch.where(flag, 3.0, 0.0)", "(q_idx >= kv_idx) & (q_idx - kv_idx < n)", infos, 4);
  captures[0].value.tensor = attnjit_tensor_dense(slope, ATTNJIT_F32, 1, &heads);
  captures[1].name = "a", captures[1].kind = ATTNJIT_CAPTURE_FLOAT, captures[1].value.number = 1;
  captures[2].name = "n", captures[2].kind = ATTNJIT_CAPTURE_INT, captures[2].value.integer = 8;
  captures[3].name = "flag", captures[3].kind = ATTNJIT_CAPTURE_BOOL, captures[3].value.integer = 1;
  o.call.mod = mod;
  o.call.captures = captures;
  o.call.capture_count = 4;
  o.call.scale = &scale;
  o.call.sinks = &sinks_view;
  o.call.lse = &o.lse_view;
  o.call.max = &max_view;
  OK(attnjit_engine_forward(engine, &o.call, &report, &error));
  attnjit_mod_release(mod); /* the call is over */
  o.call.mod = NULL;
  f.visible = window, f.bias = shifted, f.sink = 0.75;
  CHECK(deviation(&o, f) < 1e-4);
  OK(attnjit_report_get_info(report, &info, &error));
  CHECK(info.source == ATTNJIT_SOURCE_COMPILED && info.compile_ns > 0 && info.workers >= 1 && info.tile_rows > 0);
  CHECK(strcmp(info.pipeline, attnjit_backend_name(info.backend)) == 0);
  OK(attnjit_report_status(report, &error));
  {
    int64_t ns;
    FAILS(attnjit_report_device_ns(report, &ns, &error), ATTNJIT_INVALID_ARGUMENT, "calls on a GPU");
  }
  attnjit_report_destroy(report);
  attnjit_report_destroy(NULL);
}

/* Strides, another dtype of the output, softcap of 0, dropout, descales. */
static void layouts_and_options(const attnjit_engine *engine) {
  const int64_t one[] = {1, 1};
  const attnjit_dropout nothing_dropped = {0, 1, 2}, everything_dropped = {1, 1, 2}, impossible = {2, 0, 0};
  float half = 0.5f;
  attnjit_tensor descale = attnjit_tensor_dense(&half, ATTNJIT_F32, 2, one);
  const double scale = 0.5 / sqrt(DIM);
  operands o;
  int i;
  fill(&o);
  o.call.q_descale = &descale;
  OK(attnjit_engine_forward(engine, &o.call, NULL, &error));
  o.call.q_descale = NULL;
  o.call.scale = &scale; /* the same scores */
  CHECK(deviation(&o, plain) < 1e-5);
  o.call.scale = NULL;

  /* Queries from last to first: the same numbers in the other order. */
  o.call.q.data = o.q + (QUERIES - 1) * DIM;
  o.call.q.strides[2] = -DIM;
  o.call.out.data = o.out + (QUERIES - 1) * DIM;
  o.call.out.strides[2] = -DIM;
  o.call.dropout = &nothing_dropped;
  OK(attnjit_engine_forward(engine, &o.call, NULL, &error));
  CHECK(deviation(&o, plain) < 1e-5);
  o.call.dropout = &everything_dropped;
  OK(attnjit_engine_forward(engine, &o.call, NULL, &error));
  for (i = 0; i < HEADS * QUERIES * DIM; ++i)
    CHECK(o.out[i] == 0);
  o.call.dropout = &impossible;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "dropout");
  o.call.dropout = NULL;
  o.call.softcap = -1;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "softcap");
}

static void pages(const attnjit_engine *engine) {
  enum { PAGE = 8, COUNT = KEYS / PAGE };
  const int64_t pool[] = {COUNT, HEADS, PAGE, DIM}, entries[] = {1, COUNT};
  float k[HEADS * KEYS * DIM], v[HEADS * KEYS * DIM];
  int64_t table[COUNT];
  attnjit_tensor table_view = attnjit_tensor_dense(table, ATTNJIT_I64, 2, entries);
  operands o;
  int page, h;
  fill(&o);
  for (page = 0; page < COUNT; ++page) {
    table[page] = COUNT - 1 - page;
    for (h = 0; h < HEADS; ++h) {
      memcpy(k + (table[page] * HEADS + h) * PAGE * DIM, o.k + (h * KEYS + page * PAGE) * DIM, PAGE * DIM * sizeof(float));
      memcpy(v + (table[page] * HEADS + h) * PAGE * DIM, o.v + (h * KEYS + page * PAGE) * DIM, PAGE * DIM * sizeof(float));
    }
  }
  o.call.k = attnjit_tensor_dense(k, ATTNJIT_F32, 4, pool);
  o.call.v = attnjit_tensor_dense(v, ATTNJIT_F32, 4, pool);
  o.call.page_table = &table_view;
  o.call.page_keys = KEYS;
  OK(attnjit_engine_forward(engine, &o.call, NULL, &error));
  CHECK(deviation(&o, plain) < 1e-5);
  o.call.page_table = NULL;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "page_keys is set without a page_table");
}

static void block_masks(const attnjit_engine *engine) {
  attnjit_mod *mod = parse(NULL, "q_idx >= kv_idx", NULL, 0);
  attnjit_block_mask_options options = ATTNJIT_BLOCK_MASK_OPTIONS_INIT;
  attnjit_block_mask *mask = NULL;
  formula f = plain;
  operands o;
  fill(&o);
  options.block_q = options.block_kv = 8;
  OK(attnjit_block_mask_create(mod, NULL, 0, 1, 1, QUERIES, KEYS, &options, &mask, &error));
  attnjit_mod_release(mod);
  o.call.block_mask = mask;
  OK(attnjit_engine_forward(engine, &o.call, NULL, &error));
  attnjit_block_mask_release(mask);
  f.visible = causal;
  CHECK(deviation(&o, f) < 1e-5);
}

static void groups(const attnjit_engine *engine) {
  attnjit_mod *mod = parse(NULL, "q_idx >= kv_idx", NULL, 0);
  operands first, second;
  const attnjit_forward_call *calls[2], *hole[2];
  formula f = plain;
  attnjit_report *report = NULL;
  fill(&first);
  fill(&second);
  second.call.mod = mod;
  calls[0] = hole[0] = &first.call;
  calls[1] = &second.call, hole[1] = NULL;
  OK(attnjit_engine_forward_grouped(engine, calls, 2, &report, &error));
  attnjit_report_destroy(report);
  f.visible = causal;
  CHECK(deviation(&first, plain) < 1e-5);
  CHECK(deviation(&second, f) < 1e-5);
  OK(attnjit_engine_forward_grouped(engine, NULL, 0, NULL, &error));
  FAILS(attnjit_engine_forward_grouped(engine, hole, 2, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "call is NULL");
  attnjit_mod_release(mod);
}

static void backends(const attnjit_engine *engine) {
  const attnjit_backend math[] = {ATTNJIT_BACKEND_MATH}, none[] = {ATTNJIT_BACKEND_CUDNN_ATTENTION},
                        order[] = {ATTNJIT_BACKEND_MATH, ATTNJIT_BACKEND_FLASH_ATTENTION};
  const attnjit_backend_set only_math = {math, 1, 0}, only_cudnn = {none, 1, 0}, math_first = {order, 2, 1};
  attnjit_explanation *explanation = NULL;
  attnjit_verdict verdict = ATTNJIT_VERDICT_INIT;
  attnjit_reason reason = ATTNJIT_REASON_INIT;
  attnjit_problem problem = ATTNJIT_PROBLEM_INIT;
  attnjit_report *report = NULL;
  attnjit_report_info info = ATTNJIT_REPORT_INFO_INIT;
  char *text = NULL, *json = NULL;
  operands o;
  fill(&o);
  o.call.q.data = NULL; /* shapes are enough */
  o.call.backends = &only_cudnn;
  OK(attnjit_engine_explain(engine, &o.call, &explanation, &error));
  CHECK(attnjit_explanation_chosen(explanation) == ATTNJIT_BACKEND_ERROR);
  CHECK(attnjit_explanation_backend_count(explanation) >= 4);
  OK(attnjit_explanation_get_verdict(explanation, 0, &verdict, &error));
  CHECK(verdict.backend == ATTNJIT_BACKEND_CUDNN_ATTENTION && verdict.allowed && !verdict.accepted && verdict.reason_count > 0);
  CHECK(strcmp(verdict.pipeline, "CUDNN_ATTENTION") == 0);
  OK(attnjit_explanation_get_reason(explanation, 0, 0, &reason, &error));
  CHECK(strlen(reason.predicate) > 0 && !reason.ok && strlen(reason.detail) > 0);
  FAILS(attnjit_explanation_get_reason(explanation, 0, 99, &reason, &error), ATTNJIT_INVALID_ARGUMENT, "reasons: there is no number 99");
  FAILS(attnjit_explanation_get_verdict(explanation, 99, &verdict, &error), ATTNJIT_INVALID_ARGUMENT, "backends: there is no number 99");
  OK(attnjit_explanation_get_problem(explanation, &problem, &error));
  CHECK(problem.B == 1 && problem.Hq == HEADS && problem.M == QUERIES && problem.N == KEYS && problem.Dv == DIM &&
        problem.q_dtype == ATTNJIT_F32);
  CHECK(problem.contiguous && !problem.has_mask && problem.score_is_identity && !problem.for_gpu && fabs(problem.scale - 0.25) < 1e-12);
  OK(attnjit_explanation_text(explanation, &text, &error));
  CHECK(text && strstr(text, "no allowed backend can compute this call"));
  attnjit_free(text);
  OK(attnjit_explanation_json(explanation, &json, &error));
  CHECK(json && strstr(json, "{\"chosen\": \"ERROR\", \"pipeline\": \"\", \"backends\": [{\"backend\": \"CUDNN_ATTENTION\""));
  attnjit_free(json);
  attnjit_explanation_destroy(explanation);
  attnjit_explanation_destroy(NULL);
  CHECK(attnjit_explanation_chosen(NULL) == ATTNJIT_BACKEND_ERROR && attnjit_explanation_backend_count(NULL) == 0);
  FAILS(attnjit_engine_explain(engine, NULL, &explanation, &error), ATTNJIT_INVALID_ARGUMENT, "call is NULL");
  o.call.q.data = o.q;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_NO_BACKEND, "CUDNN_ATTENTION");

  /* A thread's own set, an inner one, and that of the call, which wins. */
  o.call.backends = NULL;
  OK(attnjit_sdpa_kernel_push(&only_cudnn, &error));
  OK(attnjit_sdpa_kernel_push(&math_first, &error));
  OK(attnjit_engine_forward(engine, &o.call, &report, &error));
  OK(attnjit_report_get_info(report, &info, &error));
  CHECK(info.backend == ATTNJIT_BACKEND_MATH);
  attnjit_report_destroy(report);
  OK(attnjit_sdpa_kernel_pop(&error));
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_NO_BACKEND, "");
  o.call.backends = &only_math;
  OK(attnjit_engine_forward(engine, &o.call, NULL, &error));
  CHECK(deviation(&o, plain) < 1e-5);
  OK(attnjit_sdpa_kernel_pop(&error));
}

static void kernel_options(const attnjit_engine *engine) {
  const attnjit_kernel_option good[] = {{"BLOCK_M", ATTNJIT_OPTION_INT, {32}}, {"PRESCALE_QK", ATTNJIT_OPTION_BOOL, {0}}};
  attnjit_kernel_option named = {"BACKEND", ATTNJIT_OPTION_TEXT, {0}};
  const attnjit_kernel_option unknown = {"BLOCK_Q", ATTNJIT_OPTION_INT, {32}}, kind = {"BLOCK_M", 7, {32}},
                              fraction = {"BLOCK_M", ATTNJIT_OPTION_FLOAT, {0}};
  attnjit_report *report = NULL;
  attnjit_report_info info = ATTNJIT_REPORT_INFO_INIT;
  char *notes = NULL;
  operands o;
  fill(&o);
  o.call.kernel_options = good;
  o.call.kernel_option_count = 2;
  OK(attnjit_engine_forward(engine, &o.call, &report, &error));
  OK(attnjit_report_get_info(report, &info, &error));
  CHECK(info.tile_rows == 32);
  attnjit_report_destroy(report);
  named.value.text = "TRITON";
  o.call.kernel_options = &named;
  o.call.kernel_option_count = 1;
  OK(attnjit_kernel_option_notes(&o.call, &notes, &error));
  CHECK(notes && strstr(notes, "there is no Triton here"));
  attnjit_free(notes);
  o.call.kernel_options = &unknown;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "BLOCK_Q");
  o.call.kernel_options = &kind;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "no kind 7");
  o.call.kernel_options = &fraction;
  FAILS(attnjit_kernel_option_notes(&o.call, &notes, &error), ATTNJIT_INVALID_ARGUMENT, "BLOCK_M");
}

static void refusals(const attnjit_engine *engine) {
  const attnjit_capture_info table = {"table", ATTNJIT_F32, 1};
  const int64_t three = 3;
  float values[] = {1, 2, 3};
  attnjit_mod *mod = parse("score + table[kv_idx]", NULL, &table, 1);
  attnjit_capture capture = {NULL, ATTNJIT_CAPTURE_TENSOR, {{NULL, 0, 0, {0}, {0}}}};
  operands o;
  fill(&o);
  capture.value.tensor = attnjit_tensor_dense(values, ATTNJIT_F32, 1, &three);
  o.call.mod = mod;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "table");
  o.call.captures = &capture;
  o.call.capture_count = 1;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INDEX_OUT_OF_RANGE, "kv_idx = 3");
  capture.kind = 4;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "no kind 4");
  attnjit_mod_release(mod);

  fill(&o);
  o.call.v.dtype = 99;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "v: there is no dtype 99");
  o.call.v.dtype = ATTNJIT_F32;
  o.call.v.rank = -1;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "v: rank -1");
  o.call.v.rank = 4;
  o.call.v.sizes[2] = 7;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "v");
  FAILS(attnjit_engine_forward(engine, NULL, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "call is NULL");
  FAILS(attnjit_engine_forward(NULL, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "");
  o.call.struct_size = 1;
  FAILS(attnjit_engine_forward(engine, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "attnjit_forward_call: struct_size is 1");
}

static void engines(void) {
  attnjit_engine_options options = ATTNJIT_ENGINE_OPTIONS_INIT;
  attnjit_engine *engine = NULL;
  options.target = "z80";
  FAILS(attnjit_engine_create(&options, &engine, &error), ATTNJIT_INVALID_ARGUMENT, "z80");
  options.target = "x86-64-v3";
  options.memory_cache_kernels = -2;
  FAILS(attnjit_engine_create(&options, &engine, &error), ATTNJIT_INVALID_ARGUMENT, "memory_cache_kernels: -2 is neither");
  options.memory_cache_kernels = -1;
  options.cache_directory = "";
  options.threads = 3;
  CHECK(!engine);
  OK(attnjit_engine_create(&options, &engine, &error));
  CHECK(strcmp(attnjit_engine_target(engine), "x86-64-v3") == 0);
  CHECK(attnjit_engine_threads(engine) == 3);
  CHECK(strcmp(attnjit_engine_target(NULL), "") == 0 && attnjit_engine_threads(NULL) == 0);
  OK(attnjit_engine_synchronize(engine, NULL, &error)); /* a CPU: nothing to wait for */
  attnjit_engine_retain(engine);
  attnjit_engine_release(engine);
  attnjit_engine_release(engine);
  attnjit_engine_release(NULL);
  FAILS(attnjit_engine_create(NULL, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "engine is NULL");
}

static void caches(const attnjit_engine *engine) {
  attnjit_counters before = ATTNJIT_COUNTERS_INIT, after = ATTNJIT_COUNTERS_INIT;
  attnjit_autotune_report tuned = ATTNJIT_AUTOTUNE_REPORT_INIT;
  char *directory = NULL;
  operands o;
  fill(&o);
  OK(attnjit_engine_get_counters(engine, &before, &error));
  CHECK(before.compiles > 3 && before.launches > 3 && before.kernels_in_memory > 3 && before.bytes_in_memory > 1000);
  OK(attnjit_engine_clear_memory_cache(engine, &error));
  OK(attnjit_engine_get_counters(engine, &after, &error));
  CHECK(after.kernels_in_memory == 0 && after.bytes_in_memory == 0 && after.compiles == before.compiles);
  OK(attnjit_engine_cache_directory(engine, &directory, &error));
  CHECK(directory && strcmp(directory, "") == 0);
  attnjit_free(directory);
  FAILS(attnjit_engine_get_counters(engine, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "attnjit_counters is NULL");

  OK(attnjit_engine_autotune(engine, &o.call, 0.01, &tuned, &error));
  CHECK(tuned.candidates >= 2 && tuned.best_rows > 0 && tuned.model_cols > 0 && tuned.best_ns > 0 && tuned.best_ns <= tuned.model_ns &&
        !tuned.on_disk);
  CHECK(deviation(&o, plain) < 1e-5);
  FAILS(attnjit_engine_autotune(engine, &o.call, -1, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "seconds");
}

void test_engine(void) {
  attnjit_engine *engine = make_engine();
  plain_and_with_everything(engine);
  layouts_and_options(engine);
  pages(engine);
  block_masks(engine);
  groups(engine);
  backends(engine);
  kernel_options(engine);
  refusals(engine);
  engines();
  caches(engine);
  attnjit_engine_release(engine);
}
