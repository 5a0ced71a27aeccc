#include "Engine/Hashing.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace attnjit::engine {

Hash128 hashBytes(const void *data, std::size_t bytes) {
  const XXH128_hash_t hash = XXH3_128bits(data, bytes);
  return {hash.high64, hash.low64};
}

std::string hex(const Hash128 &hash) { return fmt::format("{:016x}{:016x}", hash.hi, hash.lo); }

} // namespace attnjit::engine
