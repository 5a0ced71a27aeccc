// Implementations of FLASH_ATTENTION that an embedder may put in the place of the built-in one (torch.nn.attention's registry), kept per
// engine.
#pragma once

#include "Support/ForkMutex.h"
#include "attnjit/Pipeline.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace attnjit::engine {

/// Thread safe.
class FlashImpls {
public:
  /// The active implementation; `serial` is another one for each activation, so that kernels of an earlier one are never taken for its own.
  struct Active {
    std::shared_ptr<const OverridePipeline> pipeline; ///< null: the built-in one
    std::uint64_t serial = 0;
  };

  Result<void> add(std::string name, FlashImplProvider provide);
  /// Restores the built-in one first. Errors: InvalidArgument for an unknown name; whatever the provider answers or throws.
  Result<void> activate(const std::string &name);
  std::vector<std::string> names() const;
  Active current() const;
  /// Whether there was one to be removed.
  bool restore();

private:
  mutable ForkMutex mutex; ///< what is replaced ends outside of it: it may be the embedder's code
  std::map<std::string, FlashImplProvider> providers;
  Active active;
  std::uint64_t activations = 0;
};

} // namespace attnjit::engine
