#include "attnjit/KernelOptions.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <string_view>

namespace attnjit::inline v0 {

namespace {

enum class Kind { Int, Bool, Text };

/// What happens to an option.
enum class Effect {
  TileRows,
  TileCols,
  Backend,
  ForceFlex,
  Note,         ///< any value: said, and otherwise ignored
  DefaultFalse, ///< True would change results, or promise what is not looked at: refused
  Refuse,       ///< any value
};

struct Row {
  std::string_view name;
  Kind kind;
  Effect effect;
  std::string_view why;
};

constexpr std::string_view kScheduleDecides = "the schedule decides this from the target's description";
constexpr std::string_view kNoBackward = "there is no backward pass in this version";
constexpr std::string_view kRocm = "it is about AMD GPUs";

constexpr Row kRows[] = {
    {"BLOCK_M", Kind::Int, Effect::TileRows, ""},
    {"BLOCK_N", Kind::Int, Effect::TileCols, ""},
    {"BACKEND", Kind::Text, Effect::Backend, ""},
    {"FORCE_USE_FLEX_ATTENTION", Kind::Bool, Effect::ForceFlex, ""},
    {"PRESCALE_QK", Kind::Bool, Effect::DefaultFalse, "score_mod would see scores in other units (A2)"},
    {"OUTPUT_LOGSUMEXP", Kind::Bool, Effect::Refuse, "give ForwardCall::lse a tensor instead"},
    {"OUTPUT_MAX", Kind::Bool, Effect::Refuse, "give ForwardCall::max a tensor instead"},
    {"ROWS_GUARANTEED_SAFE", Kind::Bool, Effect::Note, "rows without a visible key are always safe here, at no cost (A5)"},
    {"BLOCKS_ARE_CONTIGUOUS", Kind::Bool, Effect::Note, "runs of blocks are found by analysis"},
    {"IS_DIVISIBLE", Kind::Bool, Effect::Note, "ragged ends are handled by the stream of blocks, at no cost to the others"},
    {"SKIP_MASK_SCORE", Kind::Bool, Effect::Note, "whether there is a mask or a score_mod is seen from the formula"},
    {"FLOAT32_PRECISION", Kind::Text, Effect::Note, "f32 is computed in f32"},
    {"SPLIT_KV", Kind::Int, Effect::Note, "splits are a function of the problem and the machine, so that results repeat (A11)"},
    {"num_warps", Kind::Int, Effect::Note, kScheduleDecides},
    {"num_stages", Kind::Int, Effect::Note, kScheduleDecides},
    {"num_consumer_groups", Kind::Int, Effect::Note, kScheduleDecides},
    {"num_buffers_warp_spec", Kind::Int, Effect::Note, kScheduleDecides},
    {"USE_TMA", Kind::Bool, Effect::Note, kScheduleDecides},
    {"BLOCK_M1", Kind::Int, Effect::Note, kNoBackward},
    {"BLOCK_N1", Kind::Int, Effect::Note, kNoBackward},
    {"BLOCK_M2", Kind::Int, Effect::Note, kNoBackward},
    {"BLOCK_N2", Kind::Int, Effect::Note, kNoBackward},
    {"WRITE_DQ", Kind::Bool, Effect::Note, kNoBackward},
    {"kpack", Kind::Int, Effect::Note, kRocm},
    {"matrix_instr_nonkdim", Kind::Int, Effect::Note, kRocm},
    {"waves_per_eu", Kind::Int, Effect::Note, kRocm},
};

std::string_view kindName(Kind kind) { return kind == Kind::Int ? "an int" : kind == Kind::Bool ? "a bool" : "a string"; }

Error invalid(const KernelOption &option, std::string_view why) {
  return {ErrorCode::InvalidArgument, fmt::format("kernel option {}: {}", option.name, why)};
}

/// The option's name without its direction.
std::string_view baseName(std::string_view name) { return name.starts_with("fwd_") || name.starts_with("bwd_") ? name.substr(4) : name; }

Result<const Row *> rowOf(const KernelOption &option) {
  for (const Row &row : kRows)
    if (row.name == baseName(option.name)) {
      const bool fits = row.kind == Kind::Int    ? std::holds_alternative<std::int64_t>(option.value)
                        : row.kind == Kind::Bool ? std::holds_alternative<bool>(option.value)
                                                 : std::holds_alternative<std::string>(option.value);
      if (!fits)
        return invalid(option, fmt::format("its value must be {}", kindName(row.kind)));
      return &row;
    }
  std::string known;
  for (const Row &row : kRows)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  return invalid(option, fmt::format("there is none of that name; known are {}", known));
}

/// The backends that a BACKEND asks for; empty for every one. A note says what became of a backend that does not exist here.
Result<std::optional<BackendSet>> backendsOf(const KernelOption &option, std::vector<std::string> &notes) {
  const std::string &name = std::get<std::string>(option.value);
  if (name == "AUTO")
    return std::optional<BackendSet>();
  if (name == "TRITON") {
    notes.push_back("BACKEND=TRITON: there is no Triton here; every pipeline takes any formula, so the engine chooses as for AUTO");
    return std::optional<BackendSet>();
  }
  if (name == "FLASH")
    return std::optional(BackendSet{SDPBackend::FlashAttention});
  if (name == "TRITON_DECODE")
    return std::optional(BackendSet{SDPBackend::EfficientAttention});
  if (name == "FLYDSL")
    return Error{ErrorCode::Unsupported, "kernel option BACKEND: FLYDSL is for AMD GPUs, for which this engine has no pipeline"};
  return invalid(option, fmt::format("'{}' is no backend; AUTO, FLASH, TRITON, TRITON_DECODE and FLYDSL are", name));
}

} // namespace

Result<std::vector<std::string>> applyKernelOptions(const std::vector<KernelOption> &options, ForwardCall &call) {
  std::vector<std::string> notes;
  TileOptions tiles = call.tiles;
  std::optional<BackendSet> backends = call.backends;
  bool hasBackend = false, forcesFlex = false;
  for (const KernelOption &option : options) {
    Result<const Row *> found = rowOf(option);
    if (!found)
      return found.error();
    const Row &row = **found;
    if (option.name.starts_with("bwd_")) {
      notes.push_back(fmt::format("{}: {}", option.name, kNoBackward));
      continue;
    }
    const auto forForward = [&](const KernelOption &other) { return other.name == fmt::format("fwd_{}", option.name); };
    if (std::any_of(options.begin(), options.end(), forForward))
      continue; // the more specific one counts
    switch (row.effect) {
    case Effect::TileRows:
    case Effect::TileCols: {
      const std::int64_t size = std::get<std::int64_t>(option.value);
      if (size < 1)
        return invalid(option, fmt::format("{} is not a tile size", size));
      (row.effect == Effect::TileRows ? tiles.rows : tiles.cols) = size;
      break;
    }
    case Effect::Backend: {
      Result<std::optional<BackendSet>> asked = backendsOf(option, notes);
      if (!asked)
        return asked.error();
      if (*asked)
        backends = **asked;
      hasBackend = true;
      break;
    }
    case Effect::ForceFlex:
      forcesFlex = std::get<bool>(option.value);
      break;
    case Effect::Note:
      notes.push_back(fmt::format("{}: {}", option.name, row.why));
      break;
    case Effect::DefaultFalse:
      if (std::get<bool>(option.value))
        return Error{ErrorCode::Unsupported, fmt::format("kernel option {}: only False is served; {}", option.name, row.why)};
      break;
    case Effect::Refuse:
      return invalid(option, row.why);
    }
  }
  if (forcesFlex && hasBackend)
    return Error{ErrorCode::InvalidArgument,
                 "kernel options: BACKEND and FORCE_USE_FLEX_ATTENTION=True both say which kernel to use; keep BACKEND"};
  if (forcesFlex) { // not the decoding kernel
    std::vector<SDPBackend> allowed = backends ? backends->inOrder() : SdpaKernelScope::current().inOrder();
    const bool ordered = backends ? backends->isOrdered() : SdpaKernelScope::current().isOrdered();
    std::erase(allowed, SDPBackend::EfficientAttention);
    backends = BackendSet(std::move(allowed), ordered);
  }
  call.tiles = tiles;
  call.backends = std::move(backends);
  return notes;
}

} // namespace attnjit::inline v0
