/* The door to a GPU, against the library that stands in for the driver: buffers, streams, reports. What a GPU computes is tested elsewhere.
 */
#include "Check.h"

static int allocations = 0, frees = 0;
static unsigned char arena[1 << 16];

static void *device_allocate(void *user, size_t bytes, int32_t device, void *stream) {
  (void)user, (void)device, (void)stream;
  ++allocations;
  return bytes <= sizeof arena ? arena : NULL;
}
static void device_free(void *user, void *memory, size_t bytes, int32_t device, void *stream) {
  (void)user, (void)memory, (void)bytes, (void)device, (void)stream;
  ++frees;
}

void test_gpu(const char *cuda) {
  attnjit_engine_options options = ATTNJIT_ENGINE_OPTIONS_INIT;
  attnjit_hooks hooks = ATTNJIT_HOOKS_INIT;
  attnjit_engine *engine = NULL;
  attnjit_device_buffer *buffer = NULL, *none = NULL;
  attnjit_report *report = NULL;
  attnjit_kernel *kernel = NULL;
  attnjit_kernel_info info = ATTNJIT_KERNEL_INFO_INIT;
  const int64_t sizes[] = {1, 1, 16, 64};
  unsigned char to[4 * 16 * 64 * 2], from[sizeof to];
  attnjit_forward_call call = ATTNJIT_FORWARD_CALL_INIT;
  int64_t ns = -1;
  size_t i;
  options.cache_directory = "";
  options.cuda_library = cuda;
  options.target = "sm_80";
  OK(attnjit_engine_create(&options, &engine, &error));
  CHECK(strcmp(attnjit_engine_target(engine), "sm_80") == 0);
  OK(attnjit_device_buffer_create(engine, sizeof to, NULL, &buffer, &error));
  CHECK(attnjit_device_buffer_data(buffer) && attnjit_device_buffer_bytes(buffer) == sizeof to);
  for (i = 0; i < sizeof to; ++i)
    to[i] = (unsigned char)(i % 251);
  OK(attnjit_device_buffer_copy_from(buffer, to, &error));
  OK(attnjit_device_buffer_copy_to(buffer, from, &error));
  CHECK(memcmp(to, from, sizeof to) == 0);
  FAILS(attnjit_device_buffer_copy_from(buffer, NULL, &error), ATTNJIT_INVALID_ARGUMENT, "host is NULL");
  FAILS(attnjit_device_buffer_copy_to(NULL, from, &error), ATTNJIT_INVALID_ARGUMENT, "buffer is NULL");

  call.q = attnjit_tensor_dense(attnjit_device_buffer_data(buffer), ATTNJIT_BF16, 4, sizes);
  call.k = call.v = call.out = call.q;
  call.k.data = (char *)call.q.data + sizeof to / 4;
  call.v.data = (char *)call.q.data + sizeof to / 2;
  call.out.data = (char *)call.q.data + sizeof to / 4 * 3;
  call.time_on_device = 1;
  OK(attnjit_engine_forward(engine, &call, &report, &error));
  OK(attnjit_engine_synchronize(engine, NULL, &error));
  OK(attnjit_report_status(report, &error));
  OK(attnjit_report_device_ns(report, &ns, &error));
  CHECK(ns >= 0);
  attnjit_report_destroy(report);
  OK(attnjit_engine_prepare(engine, &call, &kernel, &error));
  OK(attnjit_kernel_get_info(kernel, &info, &error));
  CHECK(strstr(info.ptx, ".target sm_80"));
  attnjit_kernel_release(kernel);
  attnjit_device_buffer_destroy(buffer);
  attnjit_device_buffer_destroy(NULL);
  CHECK(!attnjit_device_buffer_data(NULL) && attnjit_device_buffer_bytes(NULL) == 0);
  attnjit_engine_release(engine);

  hooks.device_allocate = device_allocate;
  hooks.device_free = device_free;
  options.hooks = &hooks;
  OK(attnjit_engine_create(&options, &engine, &error));
  OK(attnjit_device_buffer_create(engine, 64, NULL, &buffer, &error));
  CHECK(attnjit_device_buffer_data(buffer) == arena && allocations == 1);
  attnjit_device_buffer_destroy(buffer);
  CHECK(frees == 1);
  attnjit_engine_release(engine);
  hooks.device_free = NULL;
  FAILS(attnjit_engine_create(&options, &engine, &error), ATTNJIT_INVALID_ARGUMENT, "");
  engine = make_engine();
  FAILS(attnjit_device_buffer_create(engine, 16, NULL, &none, &error), ATTNJIT_INVALID_ARGUMENT, "");
  attnjit_engine_release(engine);
}
