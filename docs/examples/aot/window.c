/* docs/examples/aot/window.c: sliding-window attention on two threads, with no library behind it. */
#include "window.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <threads.h>

enum { kHeads = 4, kLength = 333, kDim = 64 };
static float q[kHeads * kLength * kDim], k[kHeads * kLength * kDim], v[kHeads * kLength * kDim], out[kHeads * kLength * kDim];
static window_args args;

struct part {
  int64_t begin, end;
  int status;
};

static int compute(void *data) {
  struct part *part = data;
  void *workspace = aligned_alloc(64, WINDOW_WORKSPACE_BYTES);
  part->status = window_run(&args, part->begin, part->end, workspace);
  free(workspace);
  return 0;
}

int main(void) {
  struct part parts[2];
  thrd_t other;
  int64_t units;
  if (!window_target()) {
    fprintf(stderr, "this CPU is none of those that the function was made for\n");
    return 77;
  }
  for (int i = 0; i < kHeads * kLength * kDim; ++i)
    v[i] = (float)(i / kDim % kLength); /* q and k are 0: all scores are equal */
  args.B = 1, args.Hq = args.Hkv = kHeads, args.M = args.N = kLength;
  args.q = attnjit_aot_dense(q, kHeads, kLength, kDim);
  args.k = attnjit_aot_dense(k, kHeads, kLength, kDim);
  args.v = attnjit_aot_dense(v, kHeads, kLength, kDim);
  args.out = attnjit_aot_dense(out, kHeads, kLength, kDim);
  args.numbers.width = 7; /* not compiled in */

  units = window_units(&args);
  parts[0] = (struct part){0, units / 2, 0};
  parts[1] = (struct part){units / 2, units, 0};
  thrd_create(&other, compute, &parts[1]);
  compute(&parts[0]);
  thrd_join(other, NULL);
  if (parts[0].status != ATTNJIT_AOT_OK || parts[1].status != ATTNJIT_AOT_OK)
    return 1;
  printf("%s, %d units\n", window_target(), (int)units);
  /* Row m is the mean of m - 6 .. m. */
  for (int m = 6; m < kLength; ++m)
    if (fabsf(out[m * kDim] - (float)(m - 3)) > 1e-3f)
      return 2;
  return 0;
}
