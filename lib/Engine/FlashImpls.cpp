#include "Engine/FlashImpls.h"

#include <exception>
#include <fmt/format.h>
#include <mutex>
#include <utility>

namespace attnjit::engine {

namespace {

Error refuse(std::string_view name, std::string_view why) {
  return {ErrorCode::InvalidArgument, fmt::format("flash attention implementation '{}': {}", name, why)};
}

/// The embedder's code: what it throws is an error of its own.
Result<OverridePipeline> askGuarded(const std::string &name, const FlashImplProvider &provide) {
  try {
    return provide();
  } catch (const std::exception &exception) {
    return Error{ErrorCode::Internal, fmt::format("flash attention implementation '{}' threw an exception: {}", name, exception.what())};
  } catch (...) {
    return Error{ErrorCode::Internal, fmt::format("flash attention implementation '{}' threw an exception", name)};
  }
}

} // namespace

Result<void> FlashImpls::add(std::string name, FlashImplProvider provide) {
  if (name.empty() || parseSDPBackend(name))
    return refuse(name, "it needs a name of its own, different from those of the built-in backends");
  if (!provide)
    return refuse(name, "it has no function that provides it");
  std::lock_guard lock(mutex);
  providers[std::move(name)].swap(provide);
  return {};
}

Result<void> FlashImpls::activate(const std::string &name) {
  restore();
  FlashImplProvider provide;
  {
    std::lock_guard lock(mutex);
    const auto found = providers.find(name);
    if (found == providers.end()) {
      std::vector<std::string> known;
      for (const auto &[other, unused] : providers)
        known.push_back(other);
      return refuse(name, fmt::format("none of that name is registered; there is {}",
                                      known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
    }
    provide = found->second;
  }
  Result<OverridePipeline> pipeline = askGuarded(name, provide); // unlocked: it may load a library, or ask the engine
  if (!pipeline)
    return pipeline.error();
  if (!pipeline->build)
    return refuse(name, "it has no builder");
  pipeline->name = name;
  Active next{std::make_shared<const OverridePipeline>(std::move(*pipeline))};
  std::lock_guard lock(mutex);
  next.serial = ++activations;
  std::swap(active, next);
  return {};
}

std::vector<std::string> FlashImpls::names() const {
  std::lock_guard lock(mutex);
  std::vector<std::string> names; // a map is sorted
  for (const auto &[name, unused] : providers)
    names.push_back(name);
  return names;
}

FlashImpls::Active FlashImpls::current() const {
  std::lock_guard lock(mutex);
  return active;
}

bool FlashImpls::restore() {
  Active was;
  {
    std::lock_guard lock(mutex);
    std::swap(active, was);
  }
  return was.pipeline != nullptr;
}

} // namespace attnjit::engine
