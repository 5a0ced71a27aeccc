/* What the tests of the C door share: checks that count, and attention by its definition. */
#ifndef ATTNJIT_TEST_CAPI_CHECK_H
#define ATTNJIT_TEST_CAPI_CHECK_H

#include "attnjit-c/attnjit.h"

#include <stdio.h>
#include <string.h>

extern int failures;

#define CHECK(condition)                                                                                                                   \
  do {                                                                                                                                     \
    if (!(condition)) {                                                                                                                    \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                                      \
      ++failures;                                                                                                                          \
    }                                                                                                                                      \
  } while (0)

/* A call that has to succeed. */
#define OK(call)                                                                                                                           \
  do {                                                                                                                                     \
    attnjit_error *error = NULL;                                                                                                           \
    if ((call) != ATTNJIT_OK || error) {                                                                                                   \
      fprintf(stderr, "%s:%d: %s\n  %s\n", __FILE__, __LINE__, #call, attnjit_error_message(error));                                       \
      attnjit_error_destroy(error);                                                                                                        \
      ++failures;                                                                                                                          \
    }                                                                                                                                      \
  } while (0)

/* A call that has to fail with that status and those words. */
#define FAILS(call, wanted, words)                                                                                                         \
  do {                                                                                                                                     \
    attnjit_error *error = NULL;                                                                                                           \
    const attnjit_status status = (call);                                                                                                  \
    if (status != (wanted) || attnjit_error_status(error) != (wanted) || !strstr(attnjit_error_message(error), words)) {                   \
      fprintf(stderr, "%s:%d: %s: %s\n  %s\n", __FILE__, __LINE__, #call, attnjit_status_name(status), attnjit_error_message(error));      \
      ++failures;                                                                                                                          \
    }                                                                                                                                      \
    attnjit_error_destroy(error);                                                                                                          \
  } while (0)

enum { HEADS = 2, QUERIES = 20, KEYS = 40, DIM = 16 };

/* f32 operands of one call [1, HEADS, QUERIES or KEYS, DIM] with position-coded values. */
typedef struct operands {
  float q[HEADS * QUERIES * DIM], k[HEADS * KEYS * DIM], v[HEADS * KEYS * DIM], out[HEADS * QUERIES * DIM], lse[HEADS * QUERIES];
  attnjit_tensor lse_view;
  attnjit_forward_call call;
} operands;
void fill(operands *o);

/* What a row may see and what is added to its scores. */
typedef struct formula {
  int (*visible)(int h, int q, int kv);
  double (*bias)(int h, int q, int kv);
  double sink; /* its logit; -HUGE_VAL = none */
} formula;
extern const formula plain;
int causal(int h, int q, int kv);
/* The largest difference of o->out, and of o->lse if the call asks for it, from the definition. */
double deviation(const operands *o, formula f);

attnjit_mod *parse(const char *score_mod, const char *mask_mod, const attnjit_capture_info *captures, size_t count);

void test_layout(void);
void test_base(void);
void test_mods(void);
void test_block_masks(void);
/* These need a compiler. */
void test_engine(void);
void test_stages(void);
void test_gpu(const char *cuda);
void test_kernels(const char *directory);
void test_attention(void);
void test_hooks(void);
void test_server(const char *directory);

/* Without a disk cache. */
attnjit_engine *make_engine(void);

#endif
