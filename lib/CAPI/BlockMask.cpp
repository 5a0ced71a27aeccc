#include "CAPI/Handles.h"

#include <array>
#include <cmath>

using namespace attnjit;
using namespace attnjit::capi;

namespace {

constexpr std::int64_t kBlock = 128;

std::int64_t orDefault(std::int64_t given, std::int64_t otherwise) { return given == 0 ? otherwise : given; }

/// C says 0 for the default of 1, and -1 for C++'s 0.
int toThreads(std::int32_t threads) { return threads == 0 ? 1 : threads == -1 ? 0 : threads; }

IndexRange toRange(const attnjit_range *range) { return range ? IndexRange{range->begin, range->end} : IndexRange{}; }

using Array = std::unique_ptr<attnjit_array>;

Array arrayOf(IndexTensor tensor) {
  auto array = std::make_unique<attnjit_array>();
  array->tensor = fromTensor(tensor.ref());
  array->ints = std::move(tensor.data); // where it lies stays the same
  return array;
}

Array arrayOf(std::optional<IndexTensor> tensor) { return tensor ? arrayOf(std::move(*tensor)) : nullptr; }

const BlockMask &maskOf(const attnjit_block_mask *mask) { return need(mask, "mask").value; }

} // namespace

attnjit_status attnjit_block_mask_create(const attnjit_mod *mod, const attnjit_capture *captures, size_t capture_count, int64_t batches,
                                         int64_t heads, int64_t q_length, int64_t kv_length, const attnjit_block_mask_options *options,
                                         attnjit_block_mask **mask, attnjit_error **error) {
  return answer(error, [&] {
    give(mask, "mask", [&] {
      const attnjit_block_mask_options chosen = readOptional(options, "attnjit_block_mask_options");
      return createBlockMask(toMod(mod), toCaptures(captures, capture_count), batches, heads, q_length, kv_length,
                             {.blockQ = orDefault(chosen.block_q, kBlock),
                              .blockKv = orDefault(chosen.block_kv, kBlock),
                              .separateFullBlocks = !chosen.full_blocks_partial,
                              .threads = toThreads(chosen.threads)});
    });
  });
}

attnjit_status attnjit_block_mask_from_kv_blocks(const attnjit_kv_blocks *given, attnjit_block_mask **mask, attnjit_error **error) {
  return answer(error, [&] {
    give(mask, "mask", [&] {
      const attnjit_kv_blocks blocks = readSized(need(given, "blocks"), "attnjit_kv_blocks");
      return BlockMask::fromKvBlocks({.kvNumBlocks = toTensor(blocks.kv_num_blocks, "kv_num_blocks"),
                                      .kvIndices = toTensor(blocks.kv_indices, "kv_indices"),
                                      .fullKvNumBlocks = toTensor(blocks.full_kv_num_blocks, "full_kv_num_blocks"),
                                      .fullKvIndices = toTensor(blocks.full_kv_indices, "full_kv_indices")},
                                     {.blockQ = orDefault(blocks.block_q, kBlock),
                                      .blockKv = orDefault(blocks.block_kv, kBlock),
                                      .qLength = blocks.q_length,
                                      .kvLength = blocks.kv_length,
                                      .maskMod = toMod(blocks.mask_mod),
                                      .captures = toCaptures(blocks.captures, blocks.capture_count)});
    });
  });
}

void attnjit_block_mask_retain(attnjit_block_mask *mask) { retain(mask); }
void attnjit_block_mask_release(attnjit_block_mask *mask) { release(mask); }

attnjit_status attnjit_block_mask_get_info(const attnjit_block_mask *mask, attnjit_block_mask_info *info, attnjit_error **error) {
  return answer(error, [&] {
    const BlockMask &m = maskOf(mask);
    const BlockMaskReport &made = m.report();
    writeSized(info,
               {.struct_size = 0,
                .batches = m.batches(),
                .heads = m.heads(),
                .q_length = m.qLength(),
                .kv_length = m.kvLength(),
                .block_q = m.blockQ(),
                .block_kv = m.blockKv(),
                .rows = m.rows(),
                .cols = m.cols(),
                .sparsity = m.sparsity(),
                .bytes = m.bytes(),
                .is_derived = m.isDerived(),
                .blocks = made.blocks,
                .by_analysis = made.byAnalysis,
                .by_samples = made.bySamples,
                .by_evaluation = made.byEvaluation,
                .pairs_evaluated = made.pairsEvaluated,
                .values_tabulated = made.valuesTabulated,
                .time_ns = made.timeNs},
               "attnjit_block_mask_info");
  });
}

attnjit_status attnjit_block_mask_get_mod(const attnjit_block_mask *mask, attnjit_mod **mod, attnjit_error **error) {
  return answer(error, [&] { give(mod, "mod", [&]() -> Result<Mod> { return maskOf(mask).maskMod(); }); });
}

size_t attnjit_block_mask_capture_count(const attnjit_block_mask *mask) { return mask ? mask->value.captures().size() : 0; }

attnjit_status attnjit_block_mask_get_capture(const attnjit_block_mask *mask, size_t index, attnjit_capture *capture,
                                              attnjit_error **error) {
  return answer(error, [&] { need(capture, "capture") = fromCapture(element(maskOf(mask).captures(), index, "captures")); });
}

attnjit_status attnjit_block_mask_tensors(const attnjit_block_mask *mask, int32_t with_q_blocks,
                                          attnjit_array *tensors[ATTNJIT_BLOCK_TENSORS], attnjit_error **error) {
  return answer(error, [&] {
    need(tensors, "tensors");
    std::fill_n(tensors, ATTNJIT_BLOCK_TENSORS, nullptr);
    BlockTensors made = take(maskOf(mask).tensors(with_q_blocks != 0));
    std::array<Array, ATTNJIT_BLOCK_TENSORS> all = {arrayOf(std::move(made.kvNumBlocks)),     arrayOf(std::move(made.kvIndices)),
                                                    arrayOf(std::move(made.fullKvNumBlocks)), arrayOf(std::move(made.fullKvIndices)),
                                                    arrayOf(std::move(made.qNumBlocks)),      arrayOf(std::move(made.qIndices)),
                                                    arrayOf(std::move(made.fullQNumBlocks)),  arrayOf(std::move(made.fullQIndices))};
    for (std::size_t i = 0; i < all.size(); ++i)
      tensors[i] = all[i].release();
  });
}

attnjit_status attnjit_block_mask_to_dense(const attnjit_block_mask *mask, attnjit_array **dense, attnjit_error **error) {
  return answer(error, [&] {
    need(dense, "dense") = nullptr;
    *dense = arrayOf(take(maskOf(mask).toDense())).release();
  });
}

attnjit_status attnjit_block_mask_text(const attnjit_block_mask *mask, int64_t grid_rows, int64_t grid_cols, int64_t limit, char **text,
                                       attnjit_error **error) {
  return answer(error, [&] {
    need(text, "text") = nullptr;
    const BlockMask &m = maskOf(mask);
    *text = copyOf(m.toString(orDefault(grid_rows, 20), orDefault(grid_cols, 20), orDefault(limit, 4)));
  });
}

attnjit_status attnjit_block_mask_slice(const attnjit_block_mask *mask, const attnjit_range *batches, const attnjit_range *heads,
                                        const attnjit_range *rows, attnjit_block_mask **slice, attnjit_error **error) {
  return answer(error, [&] { give(slice, "slice", [&] { return maskOf(mask).slice(toRange(batches), toRange(heads), toRange(rows)); }); });
}

attnjit_status attnjit_block_mask_adjust(const attnjit_block_mask *mask, int64_t q_length, int64_t kv_length, attnjit_block_mask **adjusted,
                                         attnjit_error **error) {
  return answer(error, [&] { give(adjusted, "adjusted", [&] { return maskOf(mask).adjust(q_length, kv_length); }); });
}

attnjit_status attnjit_block_mask_grow(const attnjit_block_mask *mask, int64_t q_length, int64_t kv_length, const attnjit_capture *captures,
                                       size_t capture_count, int32_t threads, attnjit_block_mask **grown, attnjit_error **error) {
  return answer(error, [&] {
    give(grown, "grown", [&] { return maskOf(mask).grow(q_length, kv_length, toCaptures(captures, capture_count), toThreads(threads)); });
  });
}

attnjit_status attnjit_block_mask_combine(attnjit_combination how, const attnjit_block_mask *x, const attnjit_block_mask *y,
                                          attnjit_block_mask **mask, attnjit_error **error) {
  return answer(error, [&] {
    give(mask, "mask", [&] {
      switch (how) {
      case ATTNJIT_AND:
        return andMasks(need(x, "x").value, need(y, "y").value);
      case ATTNJIT_OR:
        return orMasks(need(x, "x").value, need(y, "y").value);
      case ATTNJIT_XOR:
        return xorMasks(need(x, "x").value, need(y, "y").value);
      case ATTNJIT_NOT:
        if (y)
          refuse("ATTNJIT_NOT takes one block mask: y has to be NULL");
        return notMask(need(x, "x").value);
      default:
        refuse("there is no combination " + std::to_string(how) + " of block masks");
      }
    });
  });
}

attnjit_status attnjit_create_mask(const attnjit_mod *mod, const attnjit_capture *captures, size_t capture_count, int64_t batches,
                                   int64_t heads, int64_t q_length, int64_t kv_length, attnjit_array **mask, attnjit_error **error) {
  return answer(error, [&] {
    need(mask, "mask") = nullptr;
    DenseMask made = take(createMask(toMod(mod), toCaptures(captures, capture_count), batches, heads, q_length, kv_length));
    auto array = std::make_unique<attnjit_array>();
    array->bytes = std::move(made.data);
    array->tensor = attnjit_tensor_dense(array->bytes.data(), ATTNJIT_U8, 4, made.sizes.data());
    *mask = array.release();
  });
}
