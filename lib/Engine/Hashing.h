// Stable 128-bit hashes: cache keys and names of cache files.
#pragma once

#include "Expr/Ir.h"

#include <cstddef>
#include <string>

namespace attnjit::engine {

using expr::Hash128;

/// The same on every machine and run.
Hash128 hashBytes(const void *data, std::size_t bytes);
/// 32 hexadecimal digits.
std::string hex(const Hash128 &hash);

/// For unordered containers: the value is a good hash already.
struct HashOfHash {
  std::size_t operator()(const Hash128 &hash) const { return static_cast<std::size_t>(hash.lo); }
};

} // namespace attnjit::engine
