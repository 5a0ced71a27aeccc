// What the call of one sequence takes from a call of many.
#pragma once

#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace attnjit::attention {

/// Batch i of [B, ...] as [1, ...].
TensorRef batchOf(const TensorRef &tensor, std::int64_t i);

/// Factors of quantized operands, f32 [sequences or 1, Hkv or 1].
struct SequenceDescales {
  std::optional<TensorRef> q, k, v;

  /// That there is a row for each of `count` sequences, or one for all; the rest shows in each sequence's own call. Error: InvalidArgument
  /// naming the tensor. `noun`: what the caller calls a sequence.
  Result<void> check(std::int64_t count, std::string_view noun) const;
  /// Those of sequence i.
  void give(std::int64_t i, ForwardCall &call) const;
};

/// What a call of many sequences says for all of them alike.
template <typename Call> void giveOptions(const Call &from, ForwardCall &to) {
  to.scale = from.scale;
  to.sinks = from.sinks;
  to.softcap = from.softcap;
  to.backends = from.backends;
  to.threads = from.threads;
  to.stream = from.stream;
  to.tiles = from.tiles;
}

} // namespace attnjit::attention
