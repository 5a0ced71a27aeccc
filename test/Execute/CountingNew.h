// The test program's operator new, watched.
#pragma once

#include <atomic>
#include <cstddef>

namespace attnjit::test {

/// The most bytes that the process has asked operator new for in one piece since somebody set this to 0.
extern std::atomic<std::size_t> largestNew;

} // namespace attnjit::test
