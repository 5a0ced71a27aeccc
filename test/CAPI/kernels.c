#include "Check.h"

#include <stdlib.h>

void test_kernels(const char *directory) {
  attnjit_engine *engine = make_engine();
  attnjit_mod *mod = parse(NULL, "q_idx >= kv_idx", NULL, 0), *its = NULL;
  attnjit_kernel *kernel = NULL, *loaded = NULL;
  attnjit_kernel_info info = ATTNJIT_KERNEL_INFO_INIT;
  attnjit_report *report = NULL;
  attnjit_report_info went = ATTNJIT_REPORT_INFO_INIT;
  formula f = plain;
  void *bytes = NULL;
  size_t size = 0;
  char path[4096];
  operands o;
  fill(&o);
  f.visible = causal;
  o.call.mod = mod;
  OK(attnjit_engine_prepare(engine, &o.call, &kernel, &error));
  attnjit_engine_release(engine); /* the kernel does not need it */
  OK(attnjit_kernel_get_info(kernel, &info, &error));
  CHECK(info.source == ATTNJIT_SOURCE_COMPILED && info.code_bytes > 100 && info.tile_rows > 0 && strlen(info.build_id) > 5);
  CHECK(strstr(info.problem_text, "formula:") && strcmp(info.ptx, "") == 0 &&
        strcmp(info.pipeline, attnjit_backend_name(info.backend)) == 0);
  OK(attnjit_kernel_get_mod(kernel, &its, &error));
  CHECK(strcmp(attnjit_mod_canonical_text(its), attnjit_mod_canonical_text(mod)) == 0);
  attnjit_mod_release(its);
  o.call.mod = NULL; /* the kernel's own counts */
  OK(attnjit_kernel_forward(kernel, &o.call, &report, &error));
  CHECK(deviation(&o, f) < 1e-5);
  attnjit_report_destroy(report);

  snprintf(path, sizeof path, "%s/c-door.kernel", directory);
  OK(attnjit_kernel_save(kernel, path, &error));
  OK(attnjit_kernel_load(path, NULL, 0, &loaded, &error));
  memset(o.out, 0, sizeof o.out);
  OK(attnjit_kernel_forward(loaded, &o.call, &report, &error));
  OK(attnjit_report_get_info(report, &went, &error));
  CHECK(went.source == ATTNJIT_SOURCE_SAVED);
  attnjit_report_destroy(report);
  CHECK(deviation(&o, f) < 1e-5);
  attnjit_kernel_release(loaded);
  remove(path);

  OK(attnjit_kernel_to_bytes(kernel, &bytes, &size, &error));
  OK(attnjit_kernel_from_bytes(bytes, size, NULL, 0, &loaded, &error));
  attnjit_kernel_retain(loaded);
  attnjit_kernel_release(loaded);
  OK(attnjit_kernel_forward(loaded, &o.call, NULL, &error));
  attnjit_kernel_release(loaded);
  attnjit_kernel_release(NULL);
  loaded = NULL;
  ((char *)bytes)[size / 2] ^= 1;
  FAILS(attnjit_kernel_from_bytes(bytes, size, NULL, 0, &loaded, &error), ATTNJIT_IO, "");
  FAILS(attnjit_kernel_from_bytes(NULL, 1, NULL, 0, &loaded, &error), ATTNJIT_INVALID_ARGUMENT, "bytes is NULL");
  attnjit_free(bytes);
  FAILS(attnjit_kernel_load("/there/is/no/such.kernel", NULL, 0, &loaded, &error), ATTNJIT_IO, "/there/is/no/such.kernel");
  FAILS(attnjit_kernel_load(NULL, NULL, 0, &loaded, &error), ATTNJIT_INVALID_ARGUMENT, "path is NULL");
  FAILS(attnjit_kernel_save(kernel, "/there/is/no/such.kernel", &error), ATTNJIT_IO, "");
  FAILS(attnjit_kernel_to_bytes(kernel, NULL, &size, &error), ATTNJIT_INVALID_ARGUMENT, "bytes is NULL");
  FAILS(attnjit_kernel_get_mod(NULL, &its, &error), ATTNJIT_INVALID_ARGUMENT, "kernel is NULL");
  CHECK(!loaded);
  o.call.q.dtype = o.call.k.dtype = o.call.v.dtype = o.call.out.dtype = ATTNJIT_BF16;
  FAILS(attnjit_kernel_forward(kernel, &o.call, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "");
  attnjit_kernel_release(kernel);
  attnjit_mod_release(mod);
}
