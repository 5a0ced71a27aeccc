#include "Check.h"

#include <stdlib.h>

typedef struct host {
  int regions, logs;
  long bytes;
} host;

static void in_turn(void *user, int32_t workers, void (*body)(void *context, int32_t worker), void *context) {
  int32_t worker;
  ++((host *)user)->regions;
  for (worker = workers - 1; worker >= 0; --worker)
    body(context, worker);
}
static void lazy(void *user, int32_t workers, void (*body)(void *context, int32_t worker), void *context) {
  (void)user, (void)workers, (void)body, (void)context;
}
static void *allocate(void *user, size_t bytes, size_t alignment) {
  char *whole = malloc(bytes + alignment + sizeof(void *)), *memory;
  if (!whole)
    return NULL;
  memory = whole + sizeof(void *) + (alignment - ((size_t)whole + sizeof(void *)) % alignment) % alignment;
  memcpy(memory - sizeof(void *), &whole, sizeof(void *));
  ((host *)user)->bytes += (long)bytes;
  return memory;
}
static void *no_memory(void *user, size_t bytes, size_t alignment) {
  (void)user, (void)bytes, (void)alignment;
  return NULL;
}
static void give_back(void *user, void *memory, size_t bytes, size_t alignment) {
  void *whole;
  (void)alignment;
  memcpy(&whole, (char *)memory - sizeof(void *), sizeof(void *));
  free(whole);
  ((host *)user)->bytes -= (long)bytes;
}
static void log_line(void *user, attnjit_log_level level, const char *message) {
  ((host *)user)->logs += level <= ATTNJIT_LOG_WARNING && strlen(message) > 0;
}

/* Enough rows for several workers. */
enum { ROWS = 512 };
static float big[8 * ROWS * 64], big_out[8 * ROWS * 64];

static attnjit_forward_call big_call(void) {
  const int64_t sizes[] = {1, 8, ROWS, 64};
  attnjit_forward_call call = ATTNJIT_FORWARD_CALL_INIT;
  call.q = call.k = call.v = attnjit_tensor_dense(big, ATTNJIT_F32, 4, sizes);
  call.out = attnjit_tensor_dense(big_out, ATTNJIT_F32, 4, sizes);
  return call;
}

void test_hooks(void) {
  host h = {0, 0, 0};
  attnjit_hooks hooks = ATTNJIT_HOOKS_INIT;
  attnjit_engine_options options = ATTNJIT_ENGINE_OPTIONS_INIT;
  attnjit_engine *engine = NULL;
  attnjit_forward_call call = big_call();
  int i;
  for (i = 0; i < 8 * ROWS * 64; ++i)
    big[i] = 0.5f;
  hooks.user = &h;
  hooks.parallel_for = in_turn;
  hooks.allocate = allocate;
  hooks.free = give_back;
  hooks.log = log_line;
  options.hooks = &hooks;
  options.threads = 4;
  options.cache_directory = "";
  OK(attnjit_engine_create(&options, &engine, &error));
  OK(attnjit_engine_forward(engine, &call, NULL, &error));
  CHECK(h.regions == 1 && h.bytes > 0 && h.logs > 0);
  CHECK(big_out[0] > 0.499f && big_out[0] < 0.501f);
  attnjit_engine_release(engine);
  CHECK(h.bytes == 0);

  hooks.parallel_for = lazy;
  OK(attnjit_engine_create(&options, &engine, &error));
  FAILS(attnjit_engine_forward(engine, &call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "left out a worker");
  attnjit_engine_release(engine);
  hooks.parallel_for = in_turn;
  hooks.allocate = no_memory;
  OK(attnjit_engine_create(&options, &engine, &error));
  FAILS(attnjit_engine_forward(engine, &call, NULL, &error), ATTNJIT_UNSUPPORTED, "out of memory");
  attnjit_engine_release(engine);
  hooks.free = NULL;
  FAILS(attnjit_engine_create(&options, &engine, &error), ATTNJIT_INVALID_ARGUMENT, "");
}
