/* docs/examples/c_causal.c: ALiBi, causal, from C; which pipeline computes it, and what a wrong formula says. */
#include <attnjit-c/attnjit.h>

#include <math.h>
#include <stdio.h>

enum { HEADS = 2, LENGTH = 100, DIM = 16 };

static float q[HEADS * LENGTH * DIM], k[HEADS * LENGTH * DIM], v[HEADS * LENGTH * DIM], out[HEADS * LENGTH * DIM];

static int fail(attnjit_error *error) {
  const int status = attnjit_error_status(error) == ATTNJIT_INTERNAL ? 2 : 1;
  fprintf(stderr, "%s: %s\n", attnjit_status_name(attnjit_error_status(error)), attnjit_error_message(error));
  attnjit_error_destroy(error);
  return status;
}

/* All scores are 0 before the bias, and the value of key n is n. */
static int compute(const attnjit_engine *engine, const attnjit_mod *mod, attnjit_error **error) {
  const int64_t sizes[] = {1, HEADS, LENGTH, DIM}, heads = HEADS;
  float slope[] = {0, 100};
  attnjit_capture captures[] = {{"slope", ATTNJIT_CAPTURE_TENSOR, {{NULL, 0, 0, {0}, {0}}}}};
  attnjit_forward_call call = ATTNJIT_FORWARD_CALL_INIT;
  attnjit_report *report = NULL;
  attnjit_report_info info = ATTNJIT_REPORT_INFO_INIT;
  int i;
  for (i = 0; i < HEADS * LENGTH * DIM; ++i)
    v[i] = (float)(i / DIM % LENGTH);
  captures[0].value.tensor = attnjit_tensor_dense(slope, ATTNJIT_F32, 1, &heads);
  call.mod = mod;
  call.q = attnjit_tensor_dense(q, ATTNJIT_F32, 4, sizes);
  call.k = attnjit_tensor_dense(k, ATTNJIT_F32, 4, sizes);
  call.v = attnjit_tensor_dense(v, ATTNJIT_F32, 4, sizes);
  call.out = attnjit_tensor_dense(out, ATTNJIT_F32, 4, sizes);
  call.captures = captures;
  call.capture_count = 1;
  if (attnjit_engine_forward(engine, &call, &report, error) != ATTNJIT_OK)
    return 0;
  if (attnjit_report_get_info(report, &info, error) == ATTNJIT_OK)
    printf("%s, kernel %s, %d thread(s)\n", info.pipeline, attnjit_kernel_source_name(info.source), (int)info.workers);
  attnjit_report_destroy(report);
  return 1;
}

int main(void) {
  const attnjit_capture_info captures[] = {{"slope", ATTNJIT_F32, 1}};
  attnjit_mod_text text = ATTNJIT_MOD_TEXT_INIT;
  attnjit_engine *engine = NULL;
  attnjit_mod *mod = NULL, *wrong = NULL;
  attnjit_error *error = NULL;
  const char *which;
  size_t line, column;
  int m;
  if (attnjit_engine_create(NULL, &engine, &error) != ATTNJIT_OK)
    return fail(error);
  text.score_mod = "score + slope[h] * (kv_idx - q_idx)";
  text.mask_mod = "q_idx >= kv_idx";
  if (attnjit_mod_parse(&text, captures, 1, &mod, &error) != ATTNJIT_OK || !compute(engine, mod, &error))
    return fail(error);
  /* Head 0 has no bias: row m is the mean of 0 .. m. Head 1 is so steep that every row sees only itself. */
  for (m = 0; m < LENGTH; ++m)
    if (fabs(out[m * DIM] - 0.5 * m) > 1e-3 || fabs(out[(LENGTH + m) * DIM] - m) > 1e-3)
      return 2;

  text.mask_mod = "q_idx >= kv_index";
  if (attnjit_mod_parse(&text, captures, 1, &wrong, &error) != ATTNJIT_INVALID_FORMULA)
    return 2;
  if (attnjit_error_place(error, &which, &line, &column))
    printf("%s, line %u, column %u:\n%s\n", which, (unsigned)line, (unsigned)column, attnjit_error_message(error));
  attnjit_error_destroy(error);
  attnjit_mod_release(mod);
  attnjit_engine_release(engine);
  return 0;
}
