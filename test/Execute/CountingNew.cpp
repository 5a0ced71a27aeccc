#include "CountingNew.h"

#include <cstdlib>
#include <new>

namespace attnjit::test {

std::atomic<std::size_t> largestNew{0};

} // namespace attnjit::test

// The thread sanitizer ignores memory that the uninstrumented compiler library gets and frees, but only if it sees who asks: an operator
// new of ours in between would turn all of it into races. Such a build leaves the counting to the others.
#ifndef __SANITIZE_THREAD__

namespace {

void *countedNew(std::size_t bytes, std::size_t alignment) {
  std::atomic<std::size_t> &largest = attnjit::test::largestNew;
  for (std::size_t seen = largest; bytes > seen && !largest.compare_exchange_weak(seen, bytes);) {
  }
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void *orThrow(void *memory) {
  if (!memory)
    throw std::bad_alloc();
  return memory;
}

} // namespace

// All forms that end in the plain delete below: a sanitizer would notice one that is left to it.
void *operator new(std::size_t bytes) { return orThrow(countedNew(bytes, alignof(std::max_align_t))); }
void *operator new(std::size_t bytes, const std::nothrow_t &) noexcept { return countedNew(bytes, alignof(std::max_align_t)); }
void *operator new(std::size_t bytes, std::align_val_t alignment) {
  return orThrow(countedNew(bytes, static_cast<std::size_t>(alignment)));
}
void *operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t &) noexcept {
  return countedNew(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void *memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

#endif
