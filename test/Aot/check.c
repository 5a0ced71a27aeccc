/* Calls a function that was made ahead of time and compares with the definition in double. Built by aot.sh, once per case, with
 *
 *   REAL          float or double, the dtype of all operands
 *   RUNTIME       the function is of kind runtime, not bare
 *   TARGET        what kernel_target() has to say; "" for a machine that none of the targets fits
 *   ROWS, KEYS    lengths
 *   SOFTCAP       what scores are capped by before score_mod; absent: not at all
 *   WITH_SIN      score_mod is score + sin(score), without captures; else see scoreOf() and isVisible()
 */
#include "kernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kBatch = 2, kHeads = 4, kKvHeads = 2, kRows = ROWS, kKeys = KEYS, kDim = 24 };
static REAL q[kBatch * kHeads * kRows * kDim], k[kBatch * kKvHeads * kKeys * kDim], v[sizeof k / sizeof *k];
static REAL out[sizeof q / sizeof *q], lse[kBatch * kHeads * kRows];
#ifndef WITH_SIN
static float slope[kHeads] = {0.5f, 0.25f, 0.125f, 0.0625f};
static const int64_t kWindow = 19;
static const double kGain = 0.75;
#endif

#define FAIL(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

static void fill(REAL *values, size_t count, double seed) {
  size_t i;
  for (i = 0; i < count; ++i)
    values[i] = (REAL)sin(seed * (double)(i + 1));
}

static double scoreOf(double score, int h, int m, int n) {
#ifdef WITH_SIN
  (void)h, (void)m, (void)n;
  return score + sin(score);
#else
  return kGain * score + slope[h] * (n - m - (KEYS - ROWS)) + (n % 2 ? -0.25 : 0.5);
#endif
}

static int isVisible(int m, int n) {
#ifdef WITH_SIN
  (void)m, (void)n;
  return 1;
#else
  return m + KEYS - ROWS >= n && m + KEYS - ROWS - n < kWindow;
#endif
}

static void compare(const REAL *result) {
  double worst = 0, worstLse = 0;
  int b, h, m, n, d;
  for (b = 0; b < kBatch; ++b)
    for (h = 0; h < kHeads; ++h)
      for (m = 0; m < kRows; ++m) {
        const REAL *row = q + ((b * kHeads + h) * kRows + m) * kDim;
        double sum = 0, acc[kDim] = {0};
        for (n = 0; n < kKeys; ++n) {
          const size_t key = (size_t)((b * kKvHeads + h / (kHeads / kKvHeads)) * kKeys + n) * kDim;
          double score = 0, p;
          if (!isVisible(m, n))
            continue;
          for (d = 0; d < kDim; ++d)
            score += (double)row[d] * k[key + d];
          score /= sqrt(kDim);
#ifdef SOFTCAP
          score = SOFTCAP * tanh(score / SOFTCAP);
#endif
          p = exp(scoreOf(score, h, m, n));
          sum += p;
          for (d = 0; d < kDim; ++d)
            acc[d] += p * v[key + d];
        }
        for (d = 0; d < kDim; ++d)
          worst = fmax(worst, fabs(acc[d] / sum - result[((b * kHeads + h) * kRows + m) * kDim + d]));
        worstLse = fmax(worstLse, fabs(log(sum) - lse[(b * kHeads + h) * kRows + m]));
      }
  if (!(worst < (sizeof(REAL) == 8 ? 1e-14 : 2e-6)) || !(worstLse < (sizeof(REAL) == 8 ? 1e-13 : 1e-5)))
    FAIL("worst error %g of out, %g of lse", worst, worstLse);
}

#ifdef RUNTIME
static int call(const kernel_args *args) { return kernel(args); }
#else
static char *workspace;
static int call(const kernel_args *args) { return kernel(args, workspace); }
#endif

static void expect(const kernel_args *args, int status, const char *what) {
  const int got = call(args);
  if (got != status)
    FAIL("%s: status %d, expected %d", what, got, status);
#ifdef RUNTIME
  if ((status == ATTNJIT_AOT_OK) != (*kernel_error() == '\0'))
    FAIL("%s: error '%s'", what, kernel_error());
#endif
}

int main(void) {
  kernel_args args, wrong;
  const char *target = kernel_target();
  memset(&args, 0, sizeof args);
  fill(q, sizeof q / sizeof *q, 0.3);
  fill(k, sizeof k / sizeof *k, 0.7);
  fill(v, sizeof v / sizeof *v, 1.1);
  args.B = kBatch, args.Hq = kHeads, args.Hkv = kKvHeads, args.M = kRows, args.N = kKeys;
  args.q = attnjit_aot_dense(q, kHeads, kRows, kDim);
  args.k = attnjit_aot_dense(k, kKvHeads, kKeys, kDim);
  args.v = attnjit_aot_dense(v, kKvHeads, kKeys, kDim);
  args.out = attnjit_aot_dense(out, kHeads, kRows, kDim);
  args.lse = attnjit_aot_dense(lse, 1, kHeads, kRows);
  args.lse.strides[0] = kHeads * kRows, args.lse.strides[1] = kRows, args.lse.strides[2] = 1;
#ifndef WITH_SIN
  {
    const int64_t sizes[] = {kHeads};
    args.tensors.slope = attnjit_aot_dense_tensor(slope, 1, sizes);
    args.numbers.window = kWindow;
    args.numbers.gain = kGain;
    args.numbers.shift = KEYS - ROWS;
  }
#endif
#ifndef RUNTIME
  workspace = aligned_alloc(64, KERNEL_WORKSPACE_BYTES);
#endif
  if (strcmp(target ? target : "", TARGET) != 0)
    FAIL("target %s, expected %s", target ? target : "none", TARGET);
  if (!target) {
    expect(&args, ATTNJIT_AOT_NO_TARGET, "a machine that none fits");
    return 0;
  }
  expect(&args, ATTNJIT_AOT_OK, "a call");
  compare(out);

#ifndef RUNTIME
  { /* Unit by unit, last one first: the same bits. */
    static REAL again[sizeof q / sizeof *q];
    int64_t unit = kernel_units(&args);
    args.out.data = again;
    while (unit-- > 0)
      if (kernel_run(&args, unit, unit + 1, workspace) != ATTNJIT_AOT_OK)
        FAIL("unit %d failed", (int)unit);
    if (memcmp(out, again, sizeof out) != 0)
      FAIL("units one by one give other bits");
    args.out.data = out;
    if (kernel(&args, workspace + 8) != ATTNJIT_AOT_BAD_ARGUMENTS || kernel(&args, NULL) != ATTNJIT_AOT_BAD_ARGUMENTS)
      FAIL("a bad workspace was taken");
  }
#endif
  wrong = args, wrong.Hkv = 3, expect(&wrong, ATTNJIT_AOT_BAD_ARGUMENTS, "heads that do not divide");
  wrong = args, wrong.M = -1, expect(&wrong, ATTNJIT_AOT_BAD_ARGUMENTS, "a negative length");
  wrong = args, wrong.q.strides[3] = 2, expect(&wrong, ATTNJIT_AOT_BAD_ARGUMENTS, "another class of strides");
#ifndef WITH_SIN
  wrong = args, wrong.tensors.slope.sizes[0] = 3, expect(&wrong, ATTNJIT_AOT_INDEX_OUT_OF_RANGE, "a short tensor");
#endif
  wrong = args, wrong.M = 0, expect(&wrong, ATTNJIT_AOT_OK, "no rows");
  wrong = args, wrong.scale = 1 / sqrt(kDim), memset(out, 0, sizeof out), expect(&wrong, ATTNJIT_AOT_OK, "the scale said");
  compare(out);
#ifdef RUNTIME
  kernel_release();
  memset(out, 0, sizeof out);
  expect(&args, ATTNJIT_AOT_OK, "a call after release");
  compare(out);
#endif
  return 0;
}
