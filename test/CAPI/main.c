/* CDoorTest DIRECTORY CUDA-LIBRARY: every function of the C door, from C. Exit status 77 where there is no compiler, after what needs none.
 */
#include "Check.h"

#include <math.h>

int failures = 0;

const formula plain = {NULL, NULL, -HUGE_VAL};

int causal(int h, int q, int kv) {
  (void)h;
  return q >= kv;
}

static void fill_with(float *values, int count, double seed) {
  int i;
  for (i = 0; i < count; ++i)
    values[i] = (float)sin(seed * (i + 1));
}

void fill(operands *o) {
  const attnjit_forward_call empty = ATTNJIT_FORWARD_CALL_INIT;
  const int64_t q[] = {1, HEADS, QUERIES, DIM}, kv[] = {1, HEADS, KEYS, DIM};
  fill_with(o->q, HEADS * QUERIES * DIM, 0.3);
  fill_with(o->k, HEADS * KEYS * DIM, 0.7);
  fill_with(o->v, HEADS * KEYS * DIM, 1.1);
  memset(o->out, 0, sizeof o->out);
  memset(o->lse, 0, sizeof o->lse);
  o->lse_view = attnjit_tensor_dense(o->lse, ATTNJIT_F32, 3, q);
  o->call = empty;
  o->call.q = attnjit_tensor_dense(o->q, ATTNJIT_F32, 4, q);
  o->call.k = attnjit_tensor_dense(o->k, ATTNJIT_F32, 4, kv);
  o->call.v = attnjit_tensor_dense(o->v, ATTNJIT_F32, 4, kv);
  o->call.out = attnjit_tensor_dense(o->out, ATTNJIT_F32, 4, q);
}

/* NaN has to fail, so no fmax. */
static double larger(double worst, double difference) { return difference <= worst ? worst : difference; }

double deviation(const operands *o, formula f) {
  const double scale = o->call.scale ? *o->call.scale : 1 / sqrt(DIM);
  double worst = 0;
  int h, q, kv, d;
  for (h = 0; h < HEADS; ++h)
    for (q = 0; q < QUERIES; ++q) {
      double p[KEYS], most = f.sink, sum = 0;
      for (kv = 0; kv < KEYS; ++kv) {
        double score = 0;
        for (d = 0; d < DIM; ++d)
          score += (double)o->q[(h * QUERIES + q) * DIM + d] * o->k[(h * KEYS + kv) * DIM + d];
        score = score * scale + (f.bias ? f.bias(h, q, kv) : 0);
        p[kv] = !f.visible || f.visible(h, q, kv) ? score : -HUGE_VAL;
        most = p[kv] > most ? p[kv] : most;
      }
      if (f.sink > -HUGE_VAL)
        sum += exp(f.sink - most);
      for (kv = 0; kv < KEYS; ++kv)
        sum += p[kv] = p[kv] > -HUGE_VAL ? exp(p[kv] - most) : 0;
      for (d = 0; d < DIM; ++d) {
        double value = 0;
        for (kv = 0; kv < KEYS; ++kv)
          value += p[kv] * o->v[(h * KEYS + kv) * DIM + d];
        worst = larger(worst, fabs((sum > 0 ? value / sum : 0) - o->out[(h * QUERIES + q) * DIM + d]));
      }
      if (o->call.lse && sum > 0)
        worst = larger(worst, fabs(most + log(sum) - o->lse[h * QUERIES + q]));
    }
  return worst;
}

attnjit_engine *make_engine(void) {
  attnjit_engine_options options = ATTNJIT_ENGINE_OPTIONS_INIT;
  attnjit_engine *engine = NULL;
  options.cache_directory = "";
  OK(attnjit_engine_create(&options, &engine, &error));
  return engine;
}

static int has_compiler(void) {
  attnjit_engine *engine = make_engine();
  attnjit_kernel *kernel = NULL;
  attnjit_error *error = NULL;
  operands o;
  int found;
  fill(&o);
  attnjit_engine_prepare(engine, &o.call, &kernel, &error);
  found = !error || !strstr(attnjit_error_message(error), "no compiler");
  attnjit_error_destroy(error);
  attnjit_kernel_release(kernel);
  attnjit_engine_release(engine);
  return found;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s DIRECTORY CUDA-LIBRARY\n", argv[0]);
    return 2;
  }
  test_layout();
  test_base();
  test_mods();
  test_block_masks();
  if (!has_compiler())
    return failures ? 1 : 77;
  test_engine();
  test_stages();
  test_gpu(argv[2]);
  test_kernels(argv[1]);
  test_attention();
  test_hooks();
  test_server(argv[1]);
  printf("%d failure(s)\n", failures);
  return failures ? 1 : 0;
}
