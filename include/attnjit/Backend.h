// Which lowering pipelines may serve a call, and why one was or was not chosen.
#pragma once

#include "attnjit/Result.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::inline v0 {

/// The lowering pipelines, under the names of torch.nn.attention.SDPBackend.
enum class SDPBackend : std::int8_t {
  Error = -1,             ///< What choosing returns when nothing in the allowed set fits.
  Math = 0,               ///< Op-by-op lowering of the tile program; accepts every legal problem; last in the default order.
  FlashAttention = 1,     ///< Fused flash schedule.
  EfficientAttention = 2, ///< Streaming, KV-splitting schedule.
  CudnnAttention = 3,     ///< cuDNN, loaded at run time.
  Overrideable = 4,       ///< Pipelines that the embedder registered.
};

/// "MATH", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "OVERRIDEABLE", "ERROR".
std::string_view name(SDPBackend backend);
/// The inverse of name(), also in lower case and with short forms "flash", "math", "efficient", "cudnn"; empty if unknown.
std::optional<SDPBackend> parseSDPBackend(std::string_view text);

/// An allowed set with an order. With `ordered` false (the default) the engine's own order of preference among the members is used; with
/// true the list itself is the order.
class BackendSet {
public:
  /// Every backend, in the engine's order.
  BackendSet();
  BackendSet(std::initializer_list<SDPBackend> backends, bool setPriority = false);
  explicit BackendSet(std::vector<SDPBackend> backends, bool setPriority = false);

  bool contains(SDPBackend backend) const;
  /// Candidates in the order in which they are asked.
  std::vector<SDPBackend> inOrder() const;
  bool isOrdered() const { return ordered; }
  bool operator==(const BackendSet &) const = default;

private:
  std::vector<SDPBackend> members;
  bool ordered = false;
};

/// While alive, calls of this thread that name no BackendSet use `set` (torch's sdpa_kernel). An inner scope replaces the outer one;
/// leaving restores it, on exceptions too.
class SdpaKernelScope {
public:
  explicit SdpaKernelScope(BackendSet set);
  ~SdpaKernelScope();
  SdpaKernelScope(const SdpaKernelScope &) = delete;
  SdpaKernelScope &operator=(const SdpaKernelScope &) = delete;

  /// The innermost scope's set of this thread, or every backend.
  static const BackendSet &current();

private:
  BackendSet set;
  const BackendSet *outer;
};

/// One predicate's verdict.
struct BackendReason {
  std::string predicate; ///< stable name, e.g. "head-dim"
  bool ok = true;
  std::string detail; ///< with the offending value; if ok, empty or what follows from it
};

/// Everything a backend had to say about a problem.
struct BackendReport {
  SDPBackend backend = SDPBackend::Error;
  std::string pipeline; ///< for OVERRIDEABLE the registered name
  bool allowed = true;  ///< in the caller's BackendSet
  bool accepted = false;
  std::vector<BackendReason> reasons; ///< every predicate, in order, not only the first that failed
};

} // namespace attnjit::inline v0
