// Calls whose keys and values lie in pages (attnjit::PageTable): what can be wrong with the table, and the table as kernels read it.
#pragma once

#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <vector>

namespace attnjit::engine {

/// Pools and table against each other; k and v have been looked at as views. With `needsData` every page that a row lies in is checked too,
/// so that no kernel leaves the pools (A10). Errors: InvalidArgument naming the operand, what was expected, what came.
Result<void> checkPages(const ForwardCall &call, bool needsData);

/// Pages that hold the keys of one batch.
std::int64_t pagesPerBatch(const ForwardCall &call);

/// [B or 1, pagesPerBatch], dense; empty if the table has no data.
std::vector<std::int64_t> denseTable(const ForwardCall &call);

} // namespace attnjit::engine
