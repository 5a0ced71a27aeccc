#include "Check.h"

#include <stdlib.h>

typedef struct seen {
  char *attn;
  size_t attn_bytes;
  int stages, steps;
} seen;

static void on_stage(void *user, const char *stage, const char *text, size_t bytes) {
  seen *s = user;
  ++s->stages;
  if (strcmp(stage, "attn") == 0) {
    s->attn = malloc(bytes);
    s->attn_bytes = bytes;
    if (s->attn)
      memcpy(s->attn, text, bytes);
  }
}

static void on_time(void *user, const char *step, int64_t time_ns) {
  seen *s = user;
  s->steps += strlen(step) > 0 && time_ns >= 0;
}

void test_stages(void) {
  attnjit_engine *engine = make_engine();
  attnjit_stage_options options = ATTNJIT_STAGE_OPTIONS_INIT;
  attnjit_kernel *stopped = NULL, *kernel = NULL;
  attnjit_kernel_info info = ATTNJIT_KERNEL_INFO_INIT;
  seen s = {NULL, 0, 0, 0};
  operands o;
  fill(&o);
  options.user = &s;
  options.on_stage = on_stage;
  options.on_time = on_time;
  options.stop_after = "attn";
  OK(attnjit_engine_compile_stages(engine, &o.call, &options, &stopped, &error));
  CHECK(s.stages == 1 && s.steps > 0 && s.attn && s.attn_bytes > 100);
  OK(attnjit_kernel_get_info(stopped, &info, &error));
  CHECK(info.code_bytes == 0);
  attnjit_kernel_release(stopped);
  OK(attnjit_engine_compile_from(engine, "attn", s.attn, s.attn_bytes, NULL, &kernel, &error));
  free(s.attn);
  OK(attnjit_kernel_forward(kernel, &o.call, NULL, &error));
  CHECK(deviation(&o, plain) < 1e-5);
  attnjit_kernel_release(kernel);
  FAILS(attnjit_engine_compile_from(engine, "soup", "", 0, NULL, &kernel, &error), ATTNJIT_INVALID_ARGUMENT, "soup");
  FAILS(attnjit_engine_compile_from(engine, NULL, "", 0, NULL, &kernel, &error), ATTNJIT_INVALID_ARGUMENT, "stage is NULL");
  options.stop_after = "soup";
  FAILS(attnjit_engine_compile_stages(engine, &o.call, &options, &kernel, &error), ATTNJIT_INVALID_ARGUMENT, "soup");
  CHECK(!kernel);
  attnjit_engine_release(engine);
}
