#include "CAPI/Handles.h"

using namespace attnjit;
using namespace attnjit::capi;

struct attnjit_explanation {
  explicit attnjit_explanation(ExplainReport report) : value(std::move(report)) {}
  ExplainReport value;
};

namespace {

const ExplainReport &reportOf(const attnjit_explanation *explanation) { return need(explanation, "explanation").value; }

const BackendReport &backendOf(const attnjit_explanation *explanation, std::size_t index) {
  return element(reportOf(explanation).backends, index, "backends");
}

} // namespace

attnjit_status attnjit_engine_explain(const attnjit_engine *engine, const attnjit_forward_call *call, attnjit_explanation **explanation,
                                      attnjit_error **error) {
  return answer(error, [&] { give(explanation, "explanation", [&] { return need(engine, "engine").value.explain(toCall(call)); }); });
}

void attnjit_explanation_destroy(attnjit_explanation *explanation) { delete explanation; }

attnjit_status attnjit_explanation_text(const attnjit_explanation *explanation, char **text, attnjit_error **error) {
  return answer(error, [&] {
    need(text, "text") = nullptr;
    *text = copyOf(reportOf(explanation).text());
  });
}

attnjit_status attnjit_explanation_json(const attnjit_explanation *explanation, char **json, attnjit_error **error) {
  return answer(error, [&] {
    need(json, "json") = nullptr;
    *json = copyOf(reportOf(explanation).json());
  });
}

attnjit_backend attnjit_explanation_chosen(const attnjit_explanation *explanation) {
  return explanation ? static_cast<attnjit_backend>(explanation->value.chosen) : ATTNJIT_BACKEND_ERROR;
}

size_t attnjit_explanation_backend_count(const attnjit_explanation *explanation) {
  return explanation ? explanation->value.backends.size() : 0;
}

attnjit_status attnjit_explanation_get_verdict(const attnjit_explanation *explanation, size_t backend, attnjit_verdict *verdict,
                                               attnjit_error **error) {
  return answer(error, [&] {
    const BackendReport &report = backendOf(explanation, backend);
    writeSized(verdict,
               {.struct_size = 0,
                .backend = static_cast<attnjit_backend>(report.backend),
                .allowed = report.allowed,
                .accepted = report.accepted,
                .pipeline = report.pipeline.c_str(),
                .reason_count = report.reasons.size()},
               "attnjit_verdict");
  });
}

attnjit_status attnjit_explanation_get_reason(const attnjit_explanation *explanation, size_t backend, size_t index, attnjit_reason *reason,
                                              attnjit_error **error) {
  return answer(error, [&] {
    const BackendReason &said = element(backendOf(explanation, backend).reasons, index, "reasons");
    writeSized(reason, {.struct_size = 0, .predicate = said.predicate.c_str(), .detail = said.detail.c_str(), .ok = said.ok},
               "attnjit_reason");
  });
}

attnjit_status attnjit_explanation_get_problem(const attnjit_explanation *explanation, attnjit_problem *problem, attnjit_error **error) {
  return answer(error, [&] {
    const Problem &p = reportOf(explanation).problem;
    writeSized(problem,
               {.struct_size = 0,
                .B = p.B,
                .Bkv = p.Bkv,
                .Hq = p.Hq,
                .Hkv = p.Hkv,
                .M = p.M,
                .N = p.N,
                .D = p.D,
                .Dv = p.Dv,
                .q_dtype = static_cast<attnjit_dtype>(p.qType),
                .kv_dtype = static_cast<attnjit_dtype>(p.kvType),
                .out_dtype = static_cast<attnjit_dtype>(p.outType),
                .scale = p.scale,
                .contiguous = p.contiguous,
                .paged = p.paged,
                .has_mask = p.hasMask,
                .has_block_mask = p.hasBlockMask,
                .has_sinks = p.sinks.has_value(),
                .score_is_identity = p.scoreIsIdentity,
                .prob_is_identity = p.probIsIdentity,
                .prob_is_homogeneous = p.probIsHomogeneous,
                .checked_indices = p.checkedIndices,
                .narrow_indices = p.narrowIndices,
                .for_gpu = p.forGpu},
               "attnjit_problem");
  });
}
