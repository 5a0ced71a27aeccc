// What is behind the handles, and what structs of a call become.
#pragma once

#include "CAPI/Guard.h"
#include "attnjit-c/attnjit.h"
#include "attnjit/attnjit.h"

#include <memory>
#include <string>
#include <vector>

struct attnjit_mod : attnjit::capi::Handle<attnjit::Mod> {
  using Handle::Handle;
};
struct attnjit_block_mask : attnjit::capi::Handle<attnjit::BlockMask> {
  using Handle::Handle;
};
struct attnjit_engine : attnjit::capi::Handle<attnjit::Engine> {
  using Handle::Handle;
};
struct attnjit_kernel : attnjit::capi::Handle<attnjit::Kernel> {
  using Handle::Handle;
};
struct attnjit_report {
  attnjit::ForwardReport value;
};

namespace attnjit::capi {

/// The identity for NULL.
Mod toMod(const attnjit_mod *mod);
CaptureValue toValue(const attnjit_capture &capture);
std::vector<CaptureArgument> toCaptures(const attnjit_capture *captures, std::size_t count);
attnjit_capture fromCapture(const CaptureArgument &capture);
BackendSet toBackends(const attnjit_backend_set &set);
std::optional<BackendSet> toBackends(const attnjit_backend_set *set);
std::optional<Dropout> toDropout(const attnjit_dropout *dropout);
std::optional<double> toNumber(const double *number);
/// Empty for the default.
std::optional<WhenMissing> toWhenMissing(attnjit_when_missing given);
ForwardCall toCall(const attnjit_forward_call *given);
Hooks toHooks(const attnjit_hooks *given);

/// Runs compute(), a Result<ForwardReport>, and gives its report if it is wanted.
template <class Compute> attnjit_status forward(attnjit_report **report, attnjit_error **error, Compute &&compute) noexcept {
  return answer(error, [&] {
    if (report)
      *report = nullptr;
    ForwardReport made = take(compute());
    if (report)
      *report = std::make_unique<attnjit_report>(attnjit_report{std::move(made)}).release();
  });
}

} // namespace attnjit::capi
