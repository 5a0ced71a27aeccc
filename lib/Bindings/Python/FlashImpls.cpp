// Implementations of FLASH_ATTENTION that are written in Python.
//
//   What register_fn answers has forward(call), which computes call.out from NumPy views of the operands, and may have refusal(problem),
//   which says why it does not take a call, or "".
#include "Bindings/Python/Convert.h"

#include <memory>

namespace attnjit::python {

namespace {

/// A Python object that C++ may let go of on any thread.
std::shared_ptr<nb::object> shared(nb::object object) {
  return {new nb::object(std::move(object)), [](nb::object *held) {
            nb::gil_scoped_acquire acquire;
            delete held;
          }};
}

/// Calls Python; what it raises becomes an Error.
template <typename F> auto guarded(F &&work) -> decltype(work()) {
  nb::gil_scoped_acquire acquire;
  try {
    return work();
  } catch (const std::exception &raised) {
    return Error{ErrorCode::Internal, raised.what()};
  }
}

nb::dict toDict(const Problem &problem) {
  nb::dict named;
  named["B"] = problem.B, named["Bkv"] = problem.Bkv, named["Hq"] = problem.Hq, named["Hkv"] = problem.Hkv;
  named["M"] = problem.M, named["N"] = problem.N, named["D"] = problem.D, named["Dv"] = problem.Dv;
  named["q_dtype"] = name(problem.qType), named["kv_dtype"] = name(problem.kvType), named["out_dtype"] = name(problem.outType);
  named["scale"] = problem.scale;
  named["has_mask"] = problem.hasMask, named["has_block_mask"] = problem.hasBlockMask, named["paged"] = problem.paged;
  named["score_is_identity"] = problem.scoreIsIdentity, named["prob_is_identity"] = problem.probIsIdentity;
  return named;
}

/// What forward() is given. The arrays are good while it runs.
struct HostCall {
  const ForwardCall &call;

  static nb::object array(const std::optional<TensorRef> &tensor) {
    return tensor ? nb::cast(View{*tensor, {}, {}, false}).attr("numpy")() : nb::none();
  }
  nb::dict captures() const {
    nb::dict named;
    for (const CaptureArgument &argument : call.captures)
      std::visit(
          [&](const auto &value) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, TensorRef>)
              named[argument.name.c_str()] = array(value);
            else
              named[argument.name.c_str()] = value;
          },
          argument.value);
    return named;
  }
};

std::string refusalOf(const nb::object &implementation, const Problem &problem) {
  nb::gil_scoped_acquire acquire;
  try {
    if (!nb::hasattr(implementation, "refusal"))
      return "";
    return nb::cast<std::string>(implementation.attr("refusal")(toDict(problem)));
  } catch (const std::exception &raised) {
    return raised.what();
  }
}

Result<OverridePipeline> provide(const nb::object &registerFn) {
  return guarded([&]() -> Result<OverridePipeline> {
    std::shared_ptr<nb::object> implementation = shared(registerFn());
    if (!nb::hasattr(*implementation, "forward"))
      return Error{ErrorCode::InvalidArgument, "register_fn has to return an object with forward(call)"};
    OverridePipeline pipeline;
    pipeline.predicates = {{"python", [implementation](const Problem &problem) { return refusalOf(*implementation, problem); }}};
    pipeline.build = [implementation](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> {
      return BuiltPipeline(HostKernel([implementation](const ForwardCall &call) {
        return guarded([&]() -> Result<void> {
          implementation->attr("forward")(HostCall{call});
          return {};
        });
      }));
    };
    return pipeline;
  });
}

} // namespace

void bindFlashImpls(nb::module_ &module, nb::class_<Engine> &engine) {
  nb::class_<HostCall>(module, "HostCall", "The operands of a call as arrays of NumPy, for an implementation that is written in Python.")
      .def_prop_ro("query", [](const HostCall &host) { return HostCall::array(host.call.q); })
      .def_prop_ro("key", [](const HostCall &host) { return HostCall::array(host.call.k); })
      .def_prop_ro("value", [](const HostCall &host) { return HostCall::array(host.call.v); })
      .def_prop_ro("out", [](const HostCall &host) { return HostCall::array(host.call.out); })
      .def_prop_ro("lse", [](const HostCall &host) { return HostCall::array(host.call.lse); })
      .def_prop_ro("max_scores", [](const HostCall &host) { return HostCall::array(host.call.max); })
      .def_prop_ro("scale", [](const HostCall &host) { return host.call.scale; })
      .def_prop_ro("mod", [](const HostCall &host) { return host.call.mod; })
      .def_prop_ro("captures", &HostCall::captures);
  engine
      .def(
          "register_flash_attention_impl",
          [](const Engine &self, const std::string &name, nb::object registerFn) {
            std::shared_ptr<nb::object> held = shared(std::move(registerFn));
            take(released([&] { return self.registerFlashAttentionImpl(name, [held] { return provide(*held); }); }));
          },
          nb::arg("impl"), nb::arg("register_fn"))
      .def(
          "activate_flash_attention_impl",
          [](const Engine &self, const std::string &name) { take(released([&] { return self.activateFlashAttentionImpl(name); })); },
          nb::arg("impl"))
      .def("list_flash_attention_impls", [](const Engine &self) { return released([&] { return self.listFlashAttentionImpls(); }); })
      .def("current_flash_attention_impl", [](const Engine &self) { return released([&] { return self.currentFlashAttentionImpl(); }); })
      .def("restore_flash_attention_impl", [](const Engine &self) { released([&] { self.restoreFlashAttentionImpl(); }); });
}

} // namespace attnjit::python
