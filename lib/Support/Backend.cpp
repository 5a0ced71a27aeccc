#include "attnjit/Backend.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace attnjit::inline v0 {

namespace {

struct BackendName {
  SDPBackend backend;
  std::string_view name;
  std::string_view shortName;
};

/// In the engine's order of preference: fused pipelines first, MATH, which takes everything, last.
constexpr std::array<BackendName, 5> kBackends = {{
    {SDPBackend::FlashAttention, "FLASH_ATTENTION", "flash"},
    {SDPBackend::EfficientAttention, "EFFICIENT_ATTENTION", "efficient"},
    {SDPBackend::CudnnAttention, "CUDNN_ATTENTION", "cudnn"},
    {SDPBackend::Overrideable, "OVERRIDEABLE", "overrideable"},
    {SDPBackend::Math, "MATH", "math"},
}};

bool equalsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

/// Duplicates keep their first place; ERROR is no backend and allows nothing.
std::vector<SDPBackend> normalized(std::vector<SDPBackend> backends) {
  auto end = backends.begin();
  for (const SDPBackend backend : backends)
    if (backend != SDPBackend::Error && std::find(backends.begin(), end, backend) == end)
      *end++ = backend;
  backends.erase(end, backends.end());
  return backends;
}

thread_local const BackendSet *innermostSet = nullptr;

} // namespace

std::string_view name(SDPBackend backend) {
  for (const BackendName &row : kBackends)
    if (row.backend == backend)
      return row.name;
  return "ERROR";
}

std::optional<SDPBackend> parseSDPBackend(std::string_view text) {
  for (const BackendName &row : kBackends)
    if (equalsIgnoringCase(text, row.name) || equalsIgnoringCase(text, row.shortName))
      return row.backend;
  return std::nullopt;
}

BackendSet::BackendSet() {
  for (const BackendName &row : kBackends)
    members.push_back(row.backend);
}

BackendSet::BackendSet(std::initializer_list<SDPBackend> backends, bool setPriority)
    : BackendSet(std::vector<SDPBackend>(backends), setPriority) {}

BackendSet::BackendSet(std::vector<SDPBackend> backends, bool setPriority)
    : members(normalized(std::move(backends))), ordered(setPriority) {}

bool BackendSet::contains(SDPBackend backend) const { return std::find(members.begin(), members.end(), backend) != members.end(); }

std::vector<SDPBackend> BackendSet::inOrder() const {
  if (ordered)
    return members;
  std::vector<SDPBackend> result;
  for (const BackendName &row : kBackends)
    if (contains(row.backend))
      result.push_back(row.backend);
  return result;
}

SdpaKernelScope::SdpaKernelScope(BackendSet set) : set(std::move(set)), outer(innermostSet) { innermostSet = &this->set; }

SdpaKernelScope::~SdpaKernelScope() { innermostSet = outer; }

const BackendSet &SdpaKernelScope::current() {
  static const BackendSet every;
  return innermostSet ? *innermostSet : every;
}

} // namespace attnjit::inline v0
