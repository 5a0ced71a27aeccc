#include "Bindings/Python/Convert.h"

namespace attnjit::python {

namespace {

BlockMask create(const Mod &mod, nb::handle captures, std::int64_t B, std::int64_t H, std::int64_t qLength, std::int64_t kvLength,
                 std::pair<std::int64_t, std::int64_t> blockSize, bool separateFullBlocks, int threads) {
  std::vector<CaptureArgument> values;
  assign(values, captures);
  const BlockMaskOptions options{blockSize.first, blockSize.second, separateFullBlocks, threads};
  return take(released([&] { return createBlockMask(mod, values, B, H, qLength, kvLength, options); }));
}

BlockMask fromKvBlocks(const View &kvNumBlocks, const View &kvIndices, const View *fullKvNumBlocks, const View *fullKvIndices,
                       std::pair<std::int64_t, std::int64_t> blockSize, std::int64_t qLength, std::int64_t kvLength, const Mod &mod,
                       nb::handle captures) {
  KvBlocks blocks{kvNumBlocks.ref, kvIndices.ref, {}, {}};
  if (fullKvNumBlocks)
    blocks.fullKvNumBlocks = fullKvNumBlocks->ref;
  if (fullKvIndices)
    blocks.fullKvIndices = fullKvIndices->ref;
  FromKvBlocksOptions options{blockSize.first, blockSize.second, qLength, kvLength, mod, {}};
  assign(options.captures, captures);
  return take(released([&] { return BlockMask::fromKvBlocks(blocks, options); }));
}

/// Under PyTorch's names; None for what is left out.
nb::dict tensors(const BlockMask &mask, bool withQBlocks) {
  BlockTensors made = take(released([&] { return mask.tensors(withQBlocks); }));
  nb::dict named;
  auto add = [&](const char *name, std::optional<IndexTensor> tensor) {
    named[name] = tensor ? toArray(std::move(tensor->data), tensor->sizes) : nb::none();
  };
  add("kv_num_blocks", std::move(made.kvNumBlocks));
  add("kv_indices", std::move(made.kvIndices));
  add("full_kv_num_blocks", std::move(made.fullKvNumBlocks));
  add("full_kv_indices", std::move(made.fullKvIndices));
  add("q_num_blocks", std::move(made.qNumBlocks));
  add("q_indices", std::move(made.qIndices));
  add("full_q_num_blocks", std::move(made.fullQNumBlocks));
  add("full_q_indices", std::move(made.fullQIndices));
  return named;
}

IndexRange toRange(std::pair<std::int64_t, std::int64_t> range) { return {range.first, range.second}; }

nb::dict toDict(const BlockMaskReport &report) {
  nb::dict named;
  named["blocks"] = report.blocks;
  named["by_analysis"] = report.byAnalysis;
  named["by_samples"] = report.bySamples;
  named["by_evaluation"] = report.byEvaluation;
  named["pairs_evaluated"] = report.pairsEvaluated;
  named["values_tabulated"] = report.valuesTabulated;
  named["time_ns"] = report.timeNs;
  return named;
}

nb::dict numbers(const BlockMask &mask) {
  nb::dict named;
  for (const CaptureArgument &argument : mask.captures())
    std::visit(
        [&](const auto &value) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(value)>, TensorRef>)
            named[argument.name.c_str()] = value;
        },
        argument.value);
  return named;
}

nb::object createDense(const Mod &mod, nb::handle captures, std::int64_t B, std::int64_t H, std::int64_t qLength, std::int64_t kvLength) {
  std::vector<CaptureArgument> values;
  assign(values, captures);
  DenseMask mask = take(released([&] { return createMask(mod, values, B, H, qLength, kvLength); }));
  return toArray(std::move(mask.data), mask.sizes).attr("view")("bool");
}

} // namespace

void bindBlockMask(nb::module_ &module) {
  using Range = std::pair<std::int64_t, std::int64_t>;
  nb::class_<BlockMask>(module, "BlockMask", "Which blocks of keys each block of queries sees; the captured arrays stay the caller's.")
      .def_static("create", &create, nb::arg("mod"), nb::arg("captures"), nb::arg("B"), nb::arg("H"), nb::arg("q_length"),
                  nb::arg("kv_length"), nb::arg("block_size") = Range(128, 128), nb::arg("separate_full_blocks") = true,
                  nb::arg("threads") = 0)
      .def_static("from_kv_blocks", &fromKvBlocks, nb::arg("kv_num_blocks"), nb::arg("kv_indices"), nb::arg("full_kv_num_blocks").none(),
                  nb::arg("full_kv_indices").none(), nb::arg("block_size"), nb::arg("q_length"), nb::arg("kv_length"), nb::arg("mod"),
                  nb::arg("captures"))
      .def_prop_ro("shape",
                   [](const BlockMask &mask) { return nb::make_tuple(mask.batches(), mask.heads(), mask.qLength(), mask.kvLength()); })
      .def_prop_ro("block_size", [](const BlockMask &mask) { return nb::make_tuple(mask.blockQ(), mask.blockKv()); })
      .def_prop_ro("rows", &BlockMask::rows)
      .def_prop_ro("cols", &BlockMask::cols)
      .def_prop_ro("bytes", &BlockMask::bytes)
      .def_prop_ro("is_derived", &BlockMask::isDerived)
      .def_prop_ro("report", [](const BlockMask &mask) { return toDict(mask.report()); })
      .def_prop_ro("mask_mod", &BlockMask::maskMod)
      .def_prop_ro("numbers", &numbers, "The captured numbers, and those that a slice counts from.")
      .def("sparsity", &BlockMask::sparsity)
      .def("tensors", &tensors, nb::arg("with_q_blocks") = true)
      .def("to_dense",
           [](const BlockMask &mask) {
             IndexTensor dense = take(released([&] { return mask.toDense(); }));
             return toArray(std::move(dense.data), dense.sizes);
           })
      .def("to_string", &BlockMask::toString, nb::arg("grid_rows") = 20, nb::arg("grid_cols") = 20, nb::arg("limit") = 4)
      .def(
          "slice",
          [](const BlockMask &mask, Range batches, Range heads, Range rows) {
            return take(mask.slice(toRange(batches), toRange(heads), toRange(rows)));
          },
          nb::arg("batches"), nb::arg("heads"), nb::arg("rows"))
      .def(
          "adjust",
          [](const BlockMask &mask, std::int64_t q, std::int64_t kv) { return take(released([&] { return mask.adjust(q, kv); })); },
          nb::arg("q_length"), nb::arg("kv_length"))
      .def(
          "with_captures",
          [](const BlockMask &mask, nb::handle captures) {
            std::vector<CaptureArgument> values;
            assign(values, captures);
            return take(mask.withCaptures(values));
          },
          nb::arg("captures"), "The same blocks, with other memory of what is captured.")
      .def(
          "grow",
          [](const BlockMask &mask, std::int64_t q, std::int64_t kv, nb::handle captures, int threads) {
            std::vector<CaptureArgument> values;
            assign(values, captures);
            return take(released([&] { return mask.grow(q, kv, values, threads); }));
          },
          nb::arg("q_length"), nb::arg("kv_length"), nb::arg("captures"), nb::arg("threads") = 0);
  module.def("create_mask", &createDense, nb::arg("mod"), nb::arg("captures"), nb::arg("B"), nb::arg("H"), nb::arg("q_length"),
             nb::arg("kv_length"));
}

} // namespace attnjit::python
