// A compiled kernel: launchable, and saveable as an image that runs in a process without a compiler.
#pragma once

#include "attnjit/Hooks.h"
#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::inline v0 {

/// Where the kernel of a call came from.
enum class KernelSource {
  None,     ///< no kernel was needed (no query rows)
  Compiled, ///< the compiler ran for this call
  Memory,   ///< the engine's memory cache
  Disk,     ///< the disk cache
  Saved,    ///< Kernel::load or Kernel::fromBytes
  Host,     ///< a host callable of a registered pipeline
};

/// "none", "compiled", "memory", "disk", "saved", "host".
std::string_view name(KernelSource source);

/// What the host planner found out about the mask; all 0 when no host plan was needed.
struct PlanStatistics {
  bool hostPlan = false; ///< false: the kernel narrows its key range by itself (or there is no mask)
  std::int64_t visibleBlocks = 0, fullBlocks = 0, totalBlocks = 0; ///< of tileRows x tileCols, over all batches and heads
  std::int64_t elementsEvaluated = 0;                              ///< pairs that intervals could not decide
};

struct LaunchImpl;

/// A launch on a GPU, for what only its end can tell. A value; copies are of the same launch.
class Launch {
public:
  /// Whether a captured tensor was indexed out of range (A10), in the launch or, if it was captured into a graph, in any replay so far.
  /// Final once the caller has waited for the stream; this waits for nothing. Error: IndexOutOfRange naming the smallest position.
  Result<void> status() const;
  /// The kernel's time on the GPU, for a call that asked for it. Errors: InvalidArgument for a call that did not, a launch that was
  /// captured, or one that has not ended.
  Result<std::int64_t> deviceNs() const;

  /// For attnjit's own rooms.
  explicit Launch(std::shared_ptr<const LaunchImpl> launch) : launch(std::move(launch)) {}

private:
  std::shared_ptr<const LaunchImpl> launch;
};

/// How a forward call went. Times in nanoseconds.
struct ForwardReport {
  SDPBackend backend = SDPBackend::Error;
  std::string pipeline; ///< the backend's name, or the name of the registered pipeline
  KernelSource source = KernelSource::None;
  /// With WhenMissing::Fallback: the pipeline that is being compiled for calls like this one and will take over; empty if the best kernel
  /// computed it.
  std::string awaited = {};
  std::int64_t lookupNs = 0;  ///< validation, selection, key and cache look-up, the parts below not included
  std::int64_t compileNs = 0; ///< 0 unless compiled here
  std::int64_t loadNs = 0;    ///< reading and verifying a disk entry, opening the compiler's library for the first time, assembling for the
                              ///< GPU and loading there
  std::int64_t planNs = 0;    ///< building the host plan
  std::int64_t runNs = 0;     ///< the kernel, first tile to last; on a GPU: enqueueing it
  int workers = 0;            ///< threads that the work was offered to
  std::int64_t tileRows = 0, tileCols = 0;
  PlanStatistics plan;
  /// On a GPU, in the order of calls: those whose indices are checked while they run, or whose time was asked for. Others have nothing to
  /// say.
  std::vector<Launch> launches = {};
};

struct KernelImpl;

/// A value that shares its machine code with its copies. The code stays mapped while any copy lives, whatever the engine's cache does.
class Kernel {
public:
  ~Kernel();
  Kernel(const Kernel &);
  Kernel(Kernel &&) noexcept;
  Kernel &operator=(const Kernel &);
  Kernel &operator=(Kernel &&) noexcept;

  /// Computes `call` with this kernel. mod, backends and tiles of the call are not looked at: the kernel carries its formula, softcap and
  /// dropout included, if it was prepared with them; the call says their numbers. Errors:
  /// InvalidArgument when the call is not of the class the kernel was compiled for (dtypes, D, Dv, strides, captures), IndexOutOfRange
  /// (A10).
  Result<ForwardReport> forward(const ForwardCall &call) const;

  /// The image as bytes, with a checksum. Error: Unsupported for a host callable.
  Result<std::vector<std::byte>> bytes() const;
  /// Writes the image to a file (staged beside it, then renamed: never half a file; symbolic links are followed). Error: Io.
  Result<void> save(const std::string &path) const;

  /// Reads what save() wrote. The image is machine code: load only files that you trust as you would a shared library. Errors: Io for what
  /// is no image or not intact, Unsupported for another CPU or ABI. A GPU kernel is launched on GPU `device`, which is opened at the first
  /// launch. Of several images, one after the other (NAME.attnjit of Aot.h), the best that this machine runs.
  static Result<Kernel> load(const std::string &path, Hooks hooks = {}, int device = 0);
  static Result<Kernel> fromBytes(std::span<const std::byte> bytes, Hooks hooks = {}, int device = 0);

  SDPBackend backend() const;
  const std::string &pipeline() const;
  /// The formula that forward() computes, with its own numbers.
  const Mod &mod() const;
  KernelSource source() const;
  /// Canonical formula and problem: what was compiled in. After compileFrom of an edited stage below attn it begins with "edited = STAGE".
  const std::string &problemText() const;
  /// Build of the compiler that made it.
  const std::string &buildId() const;
  /// PTX text of a GPU kernel, empty for a CPU kernel.
  std::string_view ptx() const;
  std::size_t codeBytes() const;
  std::size_t workspaceBytes() const; ///< per worker
  std::int64_t tileRows() const;
  std::int64_t tileCols() const;

  /// For attnjit's own rooms.
  explicit Kernel(std::shared_ptr<const KernelImpl> kernel, KernelSource source);
  const KernelImpl &impl() const { return *kernel; }

private:
  std::shared_ptr<const KernelImpl> kernel;
  KernelSource from;
};

} // namespace attnjit::inline v0
