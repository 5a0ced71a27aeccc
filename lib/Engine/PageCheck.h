// Calls whose keys and values lie in pages (attnjit::PageTable): what can be wrong with the table, and the table as kernels read it.
#pragma once

#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <vector>

namespace attnjit::engine {

/// Pools and table against each other; k and v have been looked at as views. `needsData` is that of checkView(). Errors: InvalidArgument
/// naming the operand, what was expected, what came.
Result<void> checkPages(const ForwardCall &call, bool needsData);

/// Pages that hold the keys of one batch.
std::int64_t pagesPerBatch(const ForwardCall &call);

/// The table [B or 1, pagesPerBatch] that checkPages() let pass, dense. Error: InvalidArgument for a page that is not of the pool, so that
/// no kernel leaves it (A10).
Result<std::vector<std::int64_t>> readPages(const ForwardCall &call);

} // namespace attnjit::engine
