// The front doors besides the engine's own: tensors as masks, packed sequences, pages, partial results.
#include "Bindings/Python/Convert.h"

namespace attnjit::python {

namespace {

constexpr Option<SdpaCall> kSdpaOptions[] = {
    {"attn_mask", [](SdpaCall &call, nb::handle value) { assign(call.attnMask, value); }},
    {"dropout_p", [](SdpaCall &call, nb::handle value) { assign(call.dropoutP, value); }},
    {"is_causal", [](SdpaCall &call, nb::handle value) { assign(call.isCausal, value); }},
    {"scale", [](SdpaCall &call, nb::handle value) { assign(call.scale, value); }},
    {"enable_gqa", [](SdpaCall &call, nb::handle value) { assign(call.enableGqa, value); }},
    {"lse", [](SdpaCall &call, nb::handle value) { assign(call.lse, value); }},
    {"max_scores", [](SdpaCall &call, nb::handle value) { assign(call.max, value); }},
    {"q_descale", [](SdpaCall &call, nb::handle value) { assign(call.qDescale, value); }},
    {"k_descale", [](SdpaCall &call, nb::handle value) { assign(call.kDescale, value); }},
    {"v_descale", [](SdpaCall &call, nb::handle value) { assign(call.vDescale, value); }},
    {"sinks", [](SdpaCall &call, nb::handle value) { assign(call.sinks, value); }},
    {"softcap", [](SdpaCall &call, nb::handle value) { assign(call.softcap, value); }},
    {"seed", [](SdpaCall &call, nb::handle value) { assign(call.seed, value); }},
    {"offset", [](SdpaCall &call, nb::handle value) { assign(call.offset, value); }},
    {"backends", [](SdpaCall &call, nb::handle value) { assign(call.backends, value); }},
    {"threads", [](SdpaCall &call, nb::handle value) { assign(call.threads, value); }},
    {"stream", [](SdpaCall &call, nb::handle value) { assign(call.stream, value); }},
};

constexpr Option<VarlenCall> kVarlenOptions[] = {
    {"captures", [](VarlenCall &call, nb::handle value) { assign(call.captures, value); }},
    {"cu_seq_q", [](VarlenCall &call, nb::handle value) { assign(call.cuSeqQ, value); }},
    {"cu_seq_k", [](VarlenCall &call, nb::handle value) { assign(call.cuSeqK, value); }},
    {"max_q", [](VarlenCall &call, nb::handle value) { assign(call.maxQ, value); }},
    {"max_k", [](VarlenCall &call, nb::handle value) { assign(call.maxK, value); }},
    {"window", [](VarlenCall &call, nb::handle value) { assign(call.window, value); }},
    {"seqused_k", [](VarlenCall &call, nb::handle value) { assign(call.seqUsedK, value); }},
    {"block_table", [](VarlenCall &call, nb::handle value) { assign(call.blockTable, value); }},
    {"enable_gqa", [](VarlenCall &call, nb::handle value) { assign(call.enableGqa, value); }},
    {"scale", [](VarlenCall &call, nb::handle value) { assign(call.scale, value); }},
    {"lse", [](VarlenCall &call, nb::handle value) { assign(call.lse, value); }},
    {"max_scores", [](VarlenCall &call, nb::handle value) { assign(call.max, value); }},
    {"sinks", [](VarlenCall &call, nb::handle value) { assign(call.sinks, value); }},
    {"softcap", [](VarlenCall &call, nb::handle value) { assign(call.softcap, value); }},
    {"backends", [](VarlenCall &call, nb::handle value) { assign(call.backends, value); }},
    {"threads", [](VarlenCall &call, nb::handle value) { assign(call.threads, value); }},
    {"stream", [](VarlenCall &call, nb::handle value) { assign(call.stream, value); }},
};

constexpr Option<PagedCall> kPagedOptions[] = {
    {"batches", [](PagedCall &call, nb::handle value) { assign(call.batches, value); }},
    {"captures", [](PagedCall &call, nb::handle value) { assign(call.captures, value); }},
    {"kv_len", [](PagedCall &call, nb::handle value) { assign(call.kvLen, value); }},
    {"window", [](PagedCall &call, nb::handle value) { assign(call.window, value); }},
    {"scale", [](PagedCall &call, nb::handle value) { assign(call.scale, value); }},
    {"lse", [](PagedCall &call, nb::handle value) { assign(call.lse, value); }},
    {"max_scores", [](PagedCall &call, nb::handle value) { assign(call.max, value); }},
    {"sinks", [](PagedCall &call, nb::handle value) { assign(call.sinks, value); }},
    {"softcap", [](PagedCall &call, nb::handle value) { assign(call.softcap, value); }},
    {"backends", [](PagedCall &call, nb::handle value) { assign(call.backends, value); }},
    {"threads", [](PagedCall &call, nb::handle value) { assign(call.threads, value); }},
    {"stream", [](PagedCall &call, nb::handle value) { assign(call.stream, value); }},
};

ForwardReport sdpa(const Engine &engine, const View &query, const View &key, const View &value, const View &out,
                   const nb::kwargs &options) {
  SdpaCall call{.query = query.ref, .key = key.ref, .value = value.ref, .out = out.ref};
  setOptions(call, options, std::span<const Option<SdpaCall>>(kSdpaOptions));
  return take(released([&] { return scaledDotProductAttention(engine, call); }));
}

ForwardReport varlen(const Engine &engine, const Mod &mod, const View &q, const View &k, const View &v, const View &out,
                     const nb::kwargs &options) {
  VarlenCall call{.mod = mod, .q = q.ref, .k = k.ref, .v = v.ref, .out = out.ref};
  setOptions(call, options, std::span<const Option<VarlenCall>>(kVarlenOptions));
  return take(released([&] { return varlenAttention(engine, call); }));
}

ForwardReport paged(const Engine &engine, const PagedAttention &pages, const Mod &mod, const View &q, const View &kCache,
                    const View &vCache, const View &out, const nb::kwargs &options) {
  PagedCall call{.pages = &pages, .mod = mod, .q = q.ref, .kCache = kCache.ref, .vCache = vCache.ref, .out = out.ref};
  setOptions(call, options, std::span<const Option<PagedCall>>(kPagedOptions));
  return take(released([&] { return pagedAttention(engine, call); }));
}

/// One backend's verdict on a scaled_dot_product_attention: every reason against it.
nb::list sdpaReasons(const Engine &engine, int backend, const View &query, const View &key, const View &value, nb::handle attnMask,
                     double dropout, bool isCausal, bool enableGqa) {
  SDPAParams params{
      .query = query.ref, .key = key.ref, .value = value.ref, .dropout = dropout, .isCausal = isCausal, .enableGqa = enableGqa};
  assign(params.attnMask, attnMask);
  std::vector<BackendReason> reasons;
  const auto ask = backend == static_cast<int>(SDPBackend::FlashAttention)       ? &canUseFlashAttention
                   : backend == static_cast<int>(SDPBackend::EfficientAttention) ? &canUseEfficientAttention
                                                                                 : &canUseCudnnAttention;
  const bool can = ask(engine, params, &reasons);
  nb::list against;
  if (!can)
    for (const BackendReason &reason : reasons)
      if (!reason.ok)
        against.append(nb::make_tuple(reason.predicate, reason.detail));
  return against;
}

void merge(const nb::list &parts, const View &out, const View *lse, int threads) {
  std::vector<PartialState> states;
  for (nb::handle part : parts)
    states.push_back({nb::cast<const View &>(part[0]).ref, nb::cast<const View &>(part[1]).ref});
  const std::optional<TensorRef> wanted = lse ? std::optional(lse->ref) : std::nullopt;
  take(released([&] { return mergeStates(states, out.ref, wanted, threads); }));
}

/// (rows of the caches [n, S], pages to copy before [(from, to)])
nb::tuple place(PagedAttention &pages, const std::vector<std::int64_t> &batches, const View &inputPos, const View &kVal, const View &vVal,
                const View &kCache, const View &vCache) {
  PageWrites writes = take(pages.place(batches, inputPos.ref, kVal.ref, vVal.ref, kCache.ref, vCache.ref));
  return nb::make_tuple(toArray(std::move(writes.rows), std::vector{inputPos.ref.sizes[0], inputPos.ref.sizes[1]}), writes.copies);
}

/// A table of pages as an array of NumPy over the table's own memory, which keeps `pages` alive. Its size never changes, so that what it
/// shows does.
nb::object liveView(nb::handle pages, const TensorRef &table) {
  const std::size_t shape[] = {static_cast<std::size_t>(table.sizes[0]), static_cast<std::size_t>(table.sizes[1])};
  return nb::cast(nb::ndarray<nb::numpy, std::int64_t>(table.data, 2, shape, pages));
}

/// The mod over the cache, and what it captures besides the mod's own: [(name, Tensor)].
nb::tuple physical(nb::handle self, const Mod &mod, const View *kvLen, std::int64_t first) {
  const auto &pages = nb::cast<const PagedAttention &>(self);
  nb::list captures;
  for (const CaptureArgument &argument : pages.captures(kvLen ? std::optional(kvLen->ref) : std::nullopt, first)) {
    const TensorRef &tensor = std::get<TensorRef>(argument.value);
    const bool isLength = kvLen && tensor.data == kvLen->ref.data;
    captures.append(nb::make_tuple(argument.name, View{tensor, isLength ? kvLen->array : nb::borrow(self), {}, false}));
  }
  return nb::make_tuple(take(pages.physicalMod(mod, kvLen != nullptr)), captures);
}

BlockMask convert(const PagedAttention &pages, const BlockMask &mask, std::int64_t first, std::int64_t batches, const View *kvLen) {
  return take(pages.convertLogicalBlockMask(mask, first, batches, kvLen ? std::optional(kvLen->ref) : std::nullopt));
}

void bindPages(nb::module_ &module) {
  nb::class_<PagedAttention>(module, "Pages", "Which page holds which tokens of which sequence.")
      .def(
          "__init__",
          [](PagedAttention *place, std::int64_t pages, std::int64_t pageSize, std::int64_t maxBatch) {
            new (place) PagedAttention(take(PagedAttention::create(pages, pageSize, maxBatch)));
          },
          nb::arg("pages"), nb::arg("page_size"), nb::arg("max_batch"))
      .def(
          "reserve", [](PagedAttention &pages, std::int64_t batch, std::int64_t length) { take(pages.reserve(batch, length)); },
          nb::arg("batch"), nb::arg("length"))
      .def(
          "erase", [](PagedAttention &pages, std::int64_t batch) { take(pages.erase(batch)); }, nb::arg("batch"))
      .def(
          "share",
          [](PagedAttention &pages, std::int64_t from, std::int64_t to, std::int64_t length) { take(pages.share(from, to, length)); },
          nb::arg("source"), nb::arg("target"), nb::arg("length"))
      .def(
          "assign",
          [](PagedAttention &pages, const std::vector<std::int64_t> &batches, const View &inputPos, const View &kVal, const View &vVal,
             const View &kCache,
             const View &vCache) { take(pages.assign(batches, inputPos.ref, kVal.ref, vVal.ref, kCache.ref, vCache.ref)); },
          nb::arg("batches"), nb::arg("input_pos"), nb::arg("k_val"), nb::arg("v_val"), nb::arg("k_cache"), nb::arg("v_cache"))
      .def("place", &place, nb::arg("batches"), nb::arg("input_pos"), nb::arg("k_val"), nb::arg("v_val"), nb::arg("k_cache"),
           nb::arg("v_cache"))
      .def_prop_ro("empty_pages", &PagedAttention::emptyPages)
      .def("capacity", &PagedAttention::capacity, nb::arg("batch"))
      .def("holders", &PagedAttention::holders, nb::arg("page"))
      .def("shares", &PagedAttention::shares, nb::arg("batch"))
      .def("page_table", [](nb::handle self) { return liveView(self, nb::cast<const PagedAttention &>(self).pageTable()); })
      .def("physical_to_logical",
           [](nb::handle self) { return liveView(self, nb::cast<const PagedAttention &>(self).physicalToLogical()); })
      .def("physical", &physical, nb::arg("mod"), nb::arg("kv_len").none(), nb::arg("first") = 0)
      .def("convert", &convert, nb::arg("mask"), nb::arg("first"), nb::arg("batches"), nb::arg("kv_len").none());
}

} // namespace

void bindAttention(nb::module_ &module) {
  bindPages(module);
  module.def("sdpa", &sdpa, nb::arg("engine"), nb::arg("query"), nb::arg("key"), nb::arg("value"), nb::arg("out"), nb::arg("options"));
  module.def("sdpa_reasons", &sdpaReasons, nb::arg("engine"), nb::arg("backend"), nb::arg("query"), nb::arg("key"), nb::arg("value"),
             nb::arg("attn_mask").none(), nb::arg("dropout"), nb::arg("is_causal"), nb::arg("enable_gqa"));
  module.def("varlen", &varlen, nb::arg("engine"), nb::arg("mod"), nb::arg("q"), nb::arg("k"), nb::arg("v"), nb::arg("out"),
             nb::arg("options"));
  module.def("paged", &paged, nb::arg("engine"), nb::arg("pages"), nb::arg("mod"), nb::arg("q"), nb::arg("k_cache"), nb::arg("v_cache"),
             nb::arg("out"), nb::arg("options"));
  module.def("merge_states", &merge, nb::arg("parts"), nb::arg("out"), nb::arg("lse").none(), nb::arg("threads") = 0);
}

} // namespace attnjit::python
