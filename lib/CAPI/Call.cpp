#include "CAPI/Handles.h"

using namespace attnjit;
using namespace attnjit::capi;

namespace {

static_assert(static_cast<int>(KernelSource::None) == ATTNJIT_SOURCE_NONE &&
              static_cast<int>(KernelSource::Compiled) == ATTNJIT_SOURCE_COMPILED &&
              static_cast<int>(KernelSource::Memory) == ATTNJIT_SOURCE_MEMORY &&
              static_cast<int>(KernelSource::Disk) == ATTNJIT_SOURCE_DISK &&
              static_cast<int>(KernelSource::Saved) == ATTNJIT_SOURCE_SAVED && static_cast<int>(KernelSource::Host) == ATTNJIT_SOURCE_HOST);

KernelOption toOption(const attnjit_kernel_option &option) {
  const std::string name(text(option.name));
  switch (option.kind) {
  case ATTNJIT_OPTION_BOOL:
    return {name, option.value.integer != 0};
  case ATTNJIT_OPTION_INT:
    return {name, option.value.integer};
  case ATTNJIT_OPTION_FLOAT:
    return {name, option.value.number};
  case ATTNJIT_OPTION_TEXT:
    return {name, std::string(text(option.value.text))};
  default:
    refuse("kernel option '" + name + "': there is no kind " + std::to_string(option.kind));
  }
}

/// Answers the notes.
std::vector<std::string> applyOptions(const attnjit_forward_call &given, ForwardCall &call) {
  std::vector<KernelOption> options;
  for (const attnjit_kernel_option &option : list(given.kernel_options, given.kernel_option_count, "kernel_options"))
    options.push_back(toOption(option));
  return options.empty() ? std::vector<std::string>() : take(applyKernelOptions(options, call));
}

ForwardCall withoutOptions(const attnjit_forward_call &given) {
  ForwardCall call;
  call.mod = toMod(given.mod);
  call.q = toTensor(given.q, "q");
  call.k = toTensor(given.k, "k");
  call.v = toTensor(given.v, "v");
  call.out = toTensor(given.out, "out");
  call.lse = toTensor(given.lse, "lse");
  call.max = toTensor(given.max, "max");
  call.scale = toNumber(given.scale);
  call.softcap = given.softcap;
  call.qDescale = toTensor(given.q_descale, "q_descale");
  call.kDescale = toTensor(given.k_descale, "k_descale");
  call.vDescale = toTensor(given.v_descale, "v_descale");
  call.sinks = toTensor(given.sinks, "sinks");
  call.dropout = toDropout(given.dropout);
  call.captures = toCaptures(given.captures, given.capture_count);
  if (given.page_table)
    call.pages = PageTable{toTensor(*given.page_table, "page_table"), given.page_keys};
  else if (given.page_keys != 0)
    refuse("page_keys is set without a page_table");
  if (given.block_mask)
    call.blockMask = given.block_mask->value;
  call.backends = toBackends(given.backends);
  call.tiles = {given.tile_rows, given.tile_cols};
  call.stream = given.stream;
  call.timeOnDevice = given.time_on_device != 0;
  call.threads = given.threads;
  call.whenMissing = toWhenMissing(given.when_missing);
  return call;
}

} // namespace

namespace attnjit::capi {

std::optional<BackendSet> toBackends(const attnjit_backend_set *set) { return set ? std::optional(toBackends(*set)) : std::nullopt; }

std::optional<Dropout> toDropout(const attnjit_dropout *dropout) {
  return dropout ? std::optional(Dropout{dropout->p, dropout->seed, dropout->offset}) : std::nullopt;
}

std::optional<double> toNumber(const double *number) { return number ? std::optional(*number) : std::nullopt; }

std::optional<WhenMissing> toWhenMissing(attnjit_when_missing given) {
  switch (given) {
  case ATTNJIT_WHEN_MISSING_DEFAULT:
    return std::nullopt;
  case ATTNJIT_WHEN_MISSING_WAIT:
    return WhenMissing::Wait;
  case ATTNJIT_WHEN_MISSING_FALLBACK:
    return WhenMissing::Fallback;
  default:
    refuse("when_missing: there is no way " + std::to_string(given));
  }
}

ForwardCall toCall(const attnjit_forward_call *given) {
  const attnjit_forward_call read = readSized(need(given, "call"), "attnjit_forward_call");
  ForwardCall call = withoutOptions(read);
  applyOptions(read, call);
  return call;
}

} // namespace attnjit::capi

attnjit_status attnjit_kernel_option_notes(const attnjit_forward_call *given, char **notes, attnjit_error **error) {
  return answer(error, [&] {
    need(notes, "notes") = nullptr;
    const attnjit_forward_call read = readSized(need(given, "call"), "attnjit_forward_call");
    ForwardCall call = withoutOptions(read);
    std::string lines;
    for (const std::string &note : applyOptions(read, call))
      lines += note + "\n";
    *notes = copyOf(lines);
  });
}

const char *attnjit_kernel_source_name(attnjit_kernel_source source) {
  return source >= ATTNJIT_SOURCE_NONE && source <= ATTNJIT_SOURCE_HOST ? name(static_cast<KernelSource>(source)).data() : "unknown";
}

attnjit_status attnjit_report_get_info(const attnjit_report *report, attnjit_report_info *info, attnjit_error **error) {
  return answer(error, [&] {
    const ForwardReport &made = need(report, "report").value;
    writeSized(info,
               {.struct_size = 0,
                .pipeline = made.pipeline.c_str(),
                .awaited = made.awaited.c_str(),
                .backend = static_cast<attnjit_backend>(made.backend),
                .source = static_cast<attnjit_kernel_source>(made.source),
                .lookup_ns = made.lookupNs,
                .compile_ns = made.compileNs,
                .load_ns = made.loadNs,
                .plan_ns = made.planNs,
                .run_ns = made.runNs,
                .workers = made.workers,
                .host_plan = made.plan.hostPlan,
                .tile_rows = made.tileRows,
                .tile_cols = made.tileCols,
                .visible_blocks = made.plan.visibleBlocks,
                .full_blocks = made.plan.fullBlocks,
                .total_blocks = made.plan.totalBlocks,
                .elements_evaluated = made.plan.elementsEvaluated},
               "attnjit_report_info");
  });
}

attnjit_status attnjit_report_status(const attnjit_report *report, attnjit_error **error) {
  return answer(error, [&] {
    for (const Launch &launch : need(report, "report").value.launches)
      take(launch.status());
  });
}

attnjit_status attnjit_report_device_ns(const attnjit_report *report, int64_t *time_ns, attnjit_error **error) {
  return answer(error, [&] {
    need(time_ns, "time_ns") = 0;
    const std::vector<Launch> &launches = need(report, "report").value.launches;
    if (launches.empty())
      refuse("no launch of this call was timed: that is for calls on a GPU with time_on_device");
    std::int64_t sum = 0;
    for (const Launch &launch : launches)
      sum += take(launch.deviceNs());
    *time_ns = sum;
  });
}

void attnjit_report_destroy(attnjit_report *report) { delete report; }
