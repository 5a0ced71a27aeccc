/* Where the last field of each struct of ABI 1 lies, on machines with 8-byte pointers. Fields are added behind these, and behind the
 * padding that follows them, whose bytes may be anything in programs that are already compiled; one that moves asks for another
 * ATTNJIT_ABI_VERSION. */
#include "Check.h"

#define LAST(type, field, offset)                                                                                                          \
  do {                                                                                                                                     \
    if (offsetof(type, field) != (offset)) {                                                                                               \
      fprintf(stderr, "%s:%d: %s of %s lies at %zu\n", __FILE__, __LINE__, #field, #type, offsetof(type, field));                          \
      ++failures;                                                                                                                          \
    }                                                                                                                                      \
  } while (0)

void test_layout(void) {
  if (sizeof(void *) != 8)
    return;
  LAST(attnjit_tensor, strides, 64);
  LAST(attnjit_backend_set, set_priority, 16);
  LAST(attnjit_capture_info, rank, 12);
  LAST(attnjit_capture, value, 16);
  LAST(attnjit_mod_text, module_name, 40);
  LAST(attnjit_block_mask_options, threads, 28);
  LAST(attnjit_kv_blocks, capture_count, 296);
  LAST(attnjit_block_mask_info, time_ns, 144);
  LAST(attnjit_range, end, 8);
  LAST(attnjit_kernel_option, value, 16);
  LAST(attnjit_dropout, offset, 16);
  LAST(attnjit_forward_call, when_missing, 632);
  LAST(attnjit_report_info, elements_evaluated, 120);
  LAST(attnjit_hooks, device_free, 56);
  LAST(attnjit_engine_options, hooks, 80);
  LAST(attnjit_autotune_report, on_disk, 64);
  LAST(attnjit_verdict, reason_count, 32);
  LAST(attnjit_reason, ok, 24);
  LAST(attnjit_problem, for_gpu, 136);
  LAST(attnjit_stage_options, stop_after, 32);
  LAST(attnjit_counters, awaited, 104);
  LAST(attnjit_warm_up_report, failed, 40);
  LAST(attnjit_kernel_info, tile_cols, 72);
  LAST(attnjit_causal_bias, kv_length, 16);
  LAST(attnjit_sdpa_call, threads, 576);
  LAST(attnjit_window, right, 8);
  LAST(attnjit_varlen_call, tile_cols, 728);
  LAST(attnjit_paged_call, threads, 712);
  LAST(attnjit_partial_state, lse, 112);
}
