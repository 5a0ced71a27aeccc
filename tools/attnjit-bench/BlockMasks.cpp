#include "Bench.h"

#include "common/PeakProbe.h"

#include <ctime>
#include <numeric>

namespace attnjit::tools {

using nlohmann::json;

namespace {

struct Family {
  const char *name;
  const char *mask;
  std::int64_t longest; ///< sequences beyond would be measured in minutes
};
constexpr std::int64_t kAny = std::int64_t{1} << 40;
constexpr Family kFamilies[] = {
    {"causal", "q_idx >= kv_idx", kAny},
    {"sliding window 4096", "(q_idx >= kv_idx) & (q_idx - kv_idx < 4096)", kAny},
    {"prefix", "(kv_idx < prefix) | (q_idx >= kv_idx)", kAny},
    {"document", "docs[q_idx] == docs[kv_idx]", kAny},
    {"document, causal", "(docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx)", kAny},
    {"shared prefix", "(kv_idx < prefix) | ((docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx))", kAny},
    {"global tokens + window", "is_global[q_idx] | is_global[kv_idx] | (abs(q_idx - kv_idx) <= 1024)", kAny},
    {"NATTEN 2-D, 15 x 15", "(abs(q_idx // 1024 - kv_idx // 1024) <= 7) & (abs(q_idx % 1024 - kv_idx % 1024) <= 7)", 131072},
    {"dilated by 4", "(q_idx - kv_idx) % 4 == 0", 131072},
    {"hashed, rare holes", "(q_idx * 7919 + kv_idx * 104729) % 99991 != 5", 16384},
};

/// The processor's time of this thread: neighbours on the machine do not count.
double threadMs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

/// Documents of 200 to 4199 tokens.
std::vector<std::int32_t> documents(std::int64_t n) {
  std::vector<std::int32_t> ids;
  ids.reserve(static_cast<std::size_t>(n));
  std::uint64_t state = 1;
  for (std::int32_t id = 0; static_cast<std::int64_t>(ids.size()) < n; ++id) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto length = static_cast<std::size_t>(200 + (state >> 33) % 4000);
    ids.insert(ids.end(), std::min(length, static_cast<std::size_t>(n) - ids.size()), id);
  }
  return ids;
}

Result<json> measureFamily(const Family &family, std::int64_t n, int passes) {
  const Result<Mod> mod =
      Mod::parse("", family.mask, {{"docs", DType::I32, 1}, {"is_global", DType::Bool, 1}, {"prefix", DType::I64, CaptureInfo::kNumber}});
  if (!mod)
    return mod.error();
  std::vector<std::int32_t> docs = documents(n);
  std::vector<std::uint8_t> isGlobal(static_cast<std::size_t>(n), 0);
  std::fill_n(isGlobal.begin(), std::min<std::int64_t>(64, n), std::uint8_t{1});
  const std::vector<CaptureArgument> captures{{"docs", TensorRef::dense(docs.data(), DType::I32, {n})},
                                              {"is_global", TensorRef::dense(isGlobal.data(), DType::Bool, {n})},
                                              {"prefix", n / 16}};
  std::vector<double> times;
  json row;
  for (int pass = 0; pass < passes; ++pass) {
    const double begin = threadMs();
    const Result<BlockMask> mask = createBlockMask(*mod, captures, 1, 1, n, n);
    times.push_back(threadMs() - begin);
    if (!mask)
      return mask.error();
    row = toJson(*mask);
  }
  row["name"] = family.name;
  row["ms"] = summary(times);
  return row;
}

} // namespace

Result<json> measureBlockMasks(const std::vector<std::int64_t> &lengths, int passes) {
  json rows = json::array();
  for (const std::int64_t n : lengths)
    for (const Family &family : kFamilies) {
      if (n > family.longest)
        continue;
      Result<json> row = measureFamily(family, n, passes);
      if (!row)
        return row.error();
      rows.push_back(std::move(*row));
    }
  return rows;
}

} // namespace attnjit::tools
