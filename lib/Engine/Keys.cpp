#include "Engine/Keys.h"

#include "attnjit/KernelAbi.h"

#include <fmt/format.h>

namespace attnjit::engine {

namespace {

/// Hashed as bytes, so every byte is set.
struct CallClass {
  Hash128 formula;
  std::int64_t D, Dv, tileRows, tileCols;
  std::uint64_t backends; ///< four bits each, in order
  std::uint64_t flash;    ///< which activation of a registered FLASH_ATTENTION, 0 = built in
  std::uint8_t qType, kvType, outType, contiguous, aligned, paged, checkedIndices, narrowIndices, sizes, sinks, unused[6];
};
static_assert(sizeof(CallClass) == 80, "no padding: it is hashed as bytes");

std::uint8_t sinksClass(std::optional<DType> sinks) { return sinks ? static_cast<std::uint8_t>(1 + static_cast<std::uint8_t>(*sinks)) : 0; }

} // namespace

Hash128 fingerprintOf(const Problem &problem, const ModImpl &mod, const BackendSet &allowed, std::uint64_t flash) {
  CallClass call{mod.textHash,
                 problem.D,
                 problem.Dv,
                 problem.tiles.rows,
                 problem.tiles.cols,
                 0,
                 flash,
                 static_cast<std::uint8_t>(problem.qType),
                 static_cast<std::uint8_t>(problem.kvType),
                 static_cast<std::uint8_t>(problem.outType),
                 problem.contiguous,
                 problem.aligned,
                 problem.paged,
                 problem.checkedIndices,
                 problem.narrowIndices,
                 sizeClass(problem),
                 sinksClass(problem.sinks),
                 {}};
  for (SDPBackend backend : allowed.inOrder())
    call.backends = call.backends << 4 | (static_cast<std::uint64_t>(backend) + 1);
  return hashBytes(&call, sizeof call);
}

Hash128 keyOf(const compiler::KernelSpec &spec, const Candidate &candidate) {
  const std::string whole = compiler::print(spec);
  const std::string name = candidate.serial ? fmt::format("{} {}", candidate.report.pipeline, candidate.serial) : candidate.report.pipeline;
  const std::string text = fmt::format("attnjit kernel\nabi = {}\nbuild = {}\nname = {}\n{}", kAbiVersion, compiler::buildId(), name,
                                       candidate.pipeline ? whole : compiler::withoutLiteralValues(whole));
  return hashBytes(text.data(), text.size());
}

} // namespace attnjit::engine
