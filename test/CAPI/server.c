/* What a server needs: compilation in the background, warm-up, unloading. */
#include "Check.h"

void test_server(const char *directory) {
  attnjit_engine_options options = ATTNJIT_ENGINE_OPTIONS_INIT;
  attnjit_engine *engine = NULL, *next = NULL;
  attnjit_mod *mod = parse(NULL, "q_idx >= kv_idx", NULL, 0);
  attnjit_report *report = NULL;
  attnjit_report_info info = ATTNJIT_REPORT_INFO_INIT;
  attnjit_counters counters = ATTNJIT_COUNTERS_INIT;
  attnjit_warm_up_report warm = ATTNJIT_WARM_UP_REPORT_INIT;
  formula f = plain;
  char path[4096], *problems = NULL;
  size_t count = 99;
  operands o;
  fill(&o);
  f.visible = causal;
  o.call.mod = mod;
  options.cache_directory = "";
  options.when_missing = ATTNJIT_WHEN_MISSING_FALLBACK;
  options.compile_threads = 2;
  OK(attnjit_engine_create(&options, &engine, &error));
  OK(attnjit_engine_forward(engine, &o.call, &report, &error));
  CHECK(deviation(&o, f) < 1e-5);
  OK(attnjit_report_get_info(report, &info, &error));
  CHECK(info.backend == ATTNJIT_BACKEND_MATH && strcmp(info.awaited, "FLASH_ATTENTION") == 0);
  attnjit_report_destroy(report);
  OK(attnjit_engine_wait_for_compilations(engine, &error));
  OK(attnjit_engine_forward(engine, &o.call, &report, &error));
  CHECK(deviation(&o, f) < 1e-5);
  OK(attnjit_report_get_info(report, &info, &error));
  CHECK(info.backend == ATTNJIT_BACKEND_FLASH_ATTENTION && strcmp(info.awaited, "") == 0 && info.source == ATTNJIT_SOURCE_MEMORY);
  attnjit_report_destroy(report);
  OK(attnjit_engine_get_counters(engine, &counters, &error));
  CHECK(counters.fallbacks == 1 && counters.awaited == 0 && counters.kernels_in_memory == 2);
  o.call.mod = NULL;
  o.call.when_missing = ATTNJIT_WHEN_MISSING_WAIT; /* the call's own wish */
  OK(attnjit_engine_forward(engine, &o.call, &report, &error));
  OK(attnjit_report_get_info(report, &info, &error));
  CHECK(info.source == ATTNJIT_SOURCE_COMPILED && strcmp(info.awaited, "") == 0);
  attnjit_report_destroy(report);

  snprintf(path, sizeof path, "%s/c-door.manifest", directory);
  OK(attnjit_engine_save_manifest(engine, path, &error));
  OK(attnjit_engine_create(&options, &next, &error));
  OK(attnjit_engine_warm_up(next, path, &warm, &problems, &error));
  CHECK(warm.compiled == 3 && warm.failed == 0 && problems && strcmp(problems, "") == 0);
  attnjit_free(problems);
  OK(attnjit_engine_warm_up(next, path, NULL, NULL, &error));
  o.call.mod = mod;
  OK(attnjit_engine_forward(next, &o.call, &report, &error));
  OK(attnjit_report_get_info(report, &info, &error));
  CHECK(info.source == ATTNJIT_SOURCE_MEMORY && info.backend == ATTNJIT_BACKEND_FLASH_ATTENTION);
  attnjit_report_destroy(report);
  remove(path);
  OK(attnjit_engine_unload(next, mod, &count, &error));
  CHECK(count == 2);
  OK(attnjit_engine_unload(next, mod, NULL, &error));

  FAILS(attnjit_engine_unload(next, NULL, &count, &error), ATTNJIT_INVALID_ARGUMENT, "mod is NULL");
  FAILS(attnjit_engine_warm_up(next, path, NULL, NULL, &error), ATTNJIT_IO, "c-door.manifest");
  FAILS(attnjit_engine_warm_up(next, NULL, NULL, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "path is NULL");
  FAILS(attnjit_engine_save_manifest(next, "/there/is/no/such/place", &error), ATTNJIT_IO, "/there/is/no/such/place");
  FAILS(attnjit_engine_wait_for_compilations(NULL, &error), ATTNJIT_INVALID_ARGUMENT, "engine is NULL");
  attnjit_engine_release(engine);
  attnjit_engine_release(next);
  attnjit_mod_release(mod);
  engine = NULL;
  options.compile_threads = -1;
  FAILS(attnjit_engine_create(&options, &engine, &error), ATTNJIT_INVALID_ARGUMENT, "compileThreads");
  options.compile_threads = 0;
  options.when_missing = 3;
  FAILS(attnjit_engine_create(&options, &engine, &error), ATTNJIT_INVALID_ARGUMENT, "when_missing: there is no way 3");
}
