#include "CAPI/Handles.h"

using namespace attnjit;
using namespace attnjit::capi;

struct attnjit_pages {
  explicit attnjit_pages(PagedAttention pages) : value(std::move(pages)) {}
  PagedAttention value;
};

namespace {

static_assert(static_cast<int>(CausalVariant::UpperLeft) == ATTNJIT_UPPER_LEFT &&
              static_cast<int>(CausalVariant::LowerRight) == ATTNJIT_LOWER_RIGHT);

AttnMask toMask(const attnjit_sdpa_call &call) {
  if (call.attn_mask && call.causal_bias)
    refuse("attn_mask and causal_bias are two masks; a call has one");
  if (call.attn_mask)
    return toTensor(*call.attn_mask, "attn_mask");
  if (!call.causal_bias)
    return std::monostate();
  if (call.causal_bias->variant != ATTNJIT_UPPER_LEFT && call.causal_bias->variant != ATTNJIT_LOWER_RIGHT)
    refuse("causal_bias: variant " + std::to_string(call.causal_bias->variant) + " is neither ATTNJIT_UPPER_LEFT nor ATTNJIT_LOWER_RIGHT");
  return CausalBias{static_cast<CausalVariant>(call.causal_bias->variant), call.causal_bias->q_length, call.causal_bias->kv_length};
}

VarlenWindow toWindow(const attnjit_window *window) { return window ? VarlenWindow{window->left, window->right} : VarlenWindow{}; }

/// The options that the calls of all front doors have under the same names.
template <class Call, class Given> void takeOptions(Call &call, const Given &given) {
  call.scale = toNumber(given.scale);
  call.softcap = given.softcap;
  call.lse = toTensor(given.lse, "lse");
  call.max = toTensor(given.max, "max");
  call.qDescale = toTensor(given.q_descale, "q_descale");
  call.kDescale = toTensor(given.k_descale, "k_descale");
  call.vDescale = toTensor(given.v_descale, "v_descale");
  call.sinks = toTensor(given.sinks, "sinks");
  call.backends = toBackends(given.backends);
  call.tiles = {given.tile_rows, given.tile_cols};
  call.threads = given.threads;
  call.stream = given.stream;
}

SdpaCall toSdpa(const attnjit_sdpa_call *given) {
  const attnjit_sdpa_call read = readSized(need(given, "call"), "attnjit_sdpa_call");
  SdpaCall call;
  takeOptions(call, read);
  call.query = toTensor(read.query, "query");
  call.key = toTensor(read.key, "key");
  call.value = toTensor(read.value, "value");
  call.out = toTensor(read.out, "out");
  call.attnMask = toMask(read);
  call.isCausal = read.is_causal != 0;
  call.enableGqa = read.enable_gqa != 0;
  if (read.dropout) {
    call.dropoutP = read.dropout->p;
    call.seed = read.dropout->seed;
    call.offset = read.dropout->offset;
  }
  return call;
}

VarlenCall toVarlen(const attnjit_varlen_call *given) {
  const attnjit_varlen_call read = readSized(need(given, "call"), "attnjit_varlen_call");
  VarlenCall call;
  takeOptions(call, read);
  call.mod = toMod(read.mod);
  call.captures = toCaptures(read.captures, read.capture_count);
  call.q = toTensor(read.q, "q");
  call.k = toTensor(read.k, "k");
  call.v = toTensor(read.v, "v");
  call.out = toTensor(read.out, "out");
  call.cuSeqQ = toTensor(read.cu_seq_q, "cu_seq_q");
  if (read.cu_seq_k)
    call.cuSeqK = toTensor(*read.cu_seq_k, "cu_seq_k");
  call.seqUsedK = toTensor(read.seq_used_k, "seq_used_k");
  call.blockTable = toTensor(read.block_table, "block_table");
  if (read.max_q)
    call.maxQ = *read.max_q;
  if (read.max_k)
    call.maxK = *read.max_k;
  call.window = toWindow(read.window);
  call.enableGqa = read.enable_gqa != 0;
  return call;
}

PagedCall toPaged(const attnjit_paged_call *given) {
  const attnjit_paged_call read = readSized(need(given, "call"), "attnjit_paged_call");
  PagedCall call;
  takeOptions(call, read);
  call.pages = &need(read.pages, "pages").value;
  const auto batches = list(read.batches, read.batch_count, "batches");
  call.batches.assign(batches.begin(), batches.end());
  call.mod = toMod(read.mod);
  call.captures = toCaptures(read.captures, read.capture_count);
  call.q = toTensor(read.q, "q");
  call.kCache = toTensor(read.k_cache, "k_cache");
  call.vCache = toTensor(read.v_cache, "v_cache");
  call.out = toTensor(read.out, "out");
  call.kvLen = toTensor(read.kv_len, "kv_len");
  call.window = toWindow(read.window);
  return call;
}

const Engine &engineOf(const attnjit_engine *engine) { return need(engine, "engine").value; }
PagedAttention &booksOf(attnjit_pages *pages) { return need(pages, "pages").value; }

} // namespace

attnjit_status attnjit_scaled_dot_product_attention(const attnjit_engine *engine, const attnjit_sdpa_call *call, attnjit_report **report,
                                                    attnjit_error **error) {
  return forward(report, error, [&] { return scaledDotProductAttention(engineOf(engine), toSdpa(call)); });
}

attnjit_status attnjit_varlen_attention(const attnjit_engine *engine, const attnjit_varlen_call *call, attnjit_report **report,
                                        attnjit_error **error) {
  return forward(report, error, [&] { return varlenAttention(engineOf(engine), toVarlen(call)); });
}

attnjit_status attnjit_paged_attention(const attnjit_engine *engine, const attnjit_paged_call *call, attnjit_report **report,
                                       attnjit_error **error) {
  return forward(report, error, [&] { return pagedAttention(engineOf(engine), toPaged(call)); });
}

attnjit_status attnjit_pages_create(int64_t pages, int64_t page_size, int64_t max_batch, attnjit_pages **made, attnjit_error **error) {
  return answer(error, [&] { give(made, "made", [&] { return PagedAttention::create(pages, page_size, max_batch); }); });
}

void attnjit_pages_destroy(attnjit_pages *pages) { delete pages; }

attnjit_status attnjit_pages_reserve(attnjit_pages *pages, int64_t batch, int64_t tokens, attnjit_error **error) {
  return answer(error, [&] { take(booksOf(pages).reserve(batch, tokens)); });
}

attnjit_status attnjit_pages_erase(attnjit_pages *pages, int64_t batch, attnjit_error **error) {
  return answer(error, [&] { take(booksOf(pages).erase(batch)); });
}

attnjit_status attnjit_pages_share(attnjit_pages *pages, int64_t from, int64_t to, int64_t tokens, attnjit_error **error) {
  return answer(error, [&] { take(booksOf(pages).share(from, to, tokens)); });
}

attnjit_status attnjit_pages_assign(attnjit_pages *pages, const int64_t *batches, size_t batch_count, const attnjit_tensor *positions,
                                    const attnjit_tensor *k, const attnjit_tensor *v, const attnjit_tensor *k_cache,
                                    const attnjit_tensor *v_cache, attnjit_error **error) {
  return answer(error, [&] {
    const auto tensor = [](const attnjit_tensor *given, const char *name) { return toTensor(need(given, name), name); };
    take(booksOf(pages).assign(list(batches, batch_count, "batches"), tensor(positions, "positions"), tensor(k, "k"), tensor(v, "v"),
                               tensor(k_cache, "k_cache"), tensor(v_cache, "v_cache")));
  });
}

int64_t attnjit_pages_empty(const attnjit_pages *pages) { return pages ? pages->value.emptyPages() : 0; }
int64_t attnjit_pages_capacity(const attnjit_pages *pages, int64_t batch) { return pages ? pages->value.capacity(batch) : 0; }
int64_t attnjit_pages_holders(const attnjit_pages *pages, int64_t page) { return pages ? pages->value.holders(page) : 0; }
attnjit_tensor attnjit_pages_table(const attnjit_pages *pages) { return pages ? fromTensor(pages->value.pageTable()) : attnjit_tensor{}; }

attnjit_status attnjit_pages_convert_block_mask(const attnjit_pages *pages, const attnjit_block_mask *mask, int64_t first, int64_t batches,
                                                const attnjit_tensor *kv_len, attnjit_block_mask **converted, attnjit_error **error) {
  return answer(error, [&] {
    give(converted, "converted", [&] {
      return need(pages, "pages").value.convertLogicalBlockMask(need(mask, "mask").value, first, batches, toTensor(kv_len, "kv_len"));
    });
  });
}

attnjit_status attnjit_merge_states(const attnjit_partial_state *parts, size_t count, const attnjit_tensor *out, const attnjit_tensor *lse,
                                    int32_t threads, attnjit_error **error) {
  return answer(error, [&] {
    std::vector<PartialState> states;
    for (const attnjit_partial_state &part : list(parts, count, "parts"))
      states.push_back({toTensor(part.out, "parts' out"), toTensor(part.lse, "parts' lse")});
    take(mergeStates(states, toTensor(need(out, "out"), "out"), toTensor(lse, "lse"), threads));
  });
}
