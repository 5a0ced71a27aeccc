#include "Engine/MemoryCache.h"

#include "Engine/Guard.h"

namespace attnjit::engine {

namespace {

/// Fingerprints are 32 bytes each and outlive evicted kernels; beyond this they are forgotten and resolved anew.
constexpr std::size_t kMaxFingerprints = 1 << 16;

} // namespace

KernelPtr MemoryCache::find(const Hash128 &fingerprint) {
  std::lock_guard lock(mutex);
  const auto key = resolved.find(fingerprint);
  if (key == resolved.end())
    return nullptr;
  return touch(key->second);
}

MemoryCache::Obtained MemoryCache::obtain(const Hash128 &key, const Hash128 &fingerprint, const std::function<Result<KernelPtr>()> &make) {
  std::unique_lock lock(mutex);
  if (KernelPtr kernel = touch(key)) {
    remember(fingerprint, key);
    return {std::move(kernel), false};
  }

  if (const auto underWay = flights.find(key); underWay != flights.end()) {
    const std::shared_ptr<Flight> flight = underWay->second;
    if (flight->maker == std::this_thread::get_id())
      return {Error{ErrorCode::InvalidArgument, "a pipeline's builder asked the engine for the very kernel that it is building"}, false};
    flight->done.wait(lock, [&] { return flight->landed; });
    if (flight->outcome) {
      ++hits;
      remember(fingerprint, key);
    }
    return {flight->outcome, false};
  }

  ++misses;
  auto flight = std::make_shared<Flight>();
  flight->maker = std::this_thread::get_id();
  flights.emplace(key, flight);
  lock.unlock();
  Result<KernelPtr> outcome = guarded(make); // waiters must be woken whatever happens
  lock.lock();

  flights.erase(key);
  if (outcome) {
    insert(key, *outcome);
    remember(fingerprint, key);
  }
  flight->outcome = outcome;
  flight->landed = true;
  flight->done.notify_all();
  return {std::move(outcome), true};
}

void MemoryCache::replace(const Hash128 &key, const KernelPtr &kernel) {
  std::lock_guard lock(mutex);
  remove(key);
  insert(key, kernel);
}

void MemoryCache::clear() {
  std::lock_guard lock(mutex);
  resolved.clear();
  entries.clear();
  ages.clear();
  bytes = 0;
}

MemoryCache::Counters MemoryCache::counters() const {
  std::lock_guard lock(mutex);
  return {hits, misses, evictions, entries.size(), bytes};
}

KernelPtr MemoryCache::touch(const Hash128 &key) {
  const auto entry = entries.find(key);
  if (entry == entries.end())
    return nullptr;
  ++hits;
  ages.splice(ages.begin(), ages, entry->second.age);
  return entry->second.kernel;
}

void MemoryCache::remember(const Hash128 &fingerprint, const Hash128 &key) {
  if (maxKernels == 0)
    return;
  if (resolved.size() >= kMaxFingerprints)
    resolved.clear();
  resolved[fingerprint] = key;
}

void MemoryCache::insert(const Hash128 &key, const KernelPtr &kernel) {
  if (maxKernels == 0 || bytesOf(kernel) > maxBytes)
    return;
  while (!ages.empty() && (entries.size() >= maxKernels || bytes + bytesOf(kernel) > maxBytes)) {
    remove(ages.back());
    ++evictions;
  }
  ages.push_front(key);
  entries[key] = {kernel, ages.begin()};
  bytes += bytesOf(kernel);
}

/// Running launches and Kernel values share the kernel; its code is unmapped when the last of them lets go.
void MemoryCache::remove(const Hash128 &key) {
  const auto entry = entries.find(key);
  if (entry == entries.end())
    return;
  bytes -= bytesOf(entry->second.kernel);
  ages.erase(entry->second.age);
  entries.erase(entry);
}

} // namespace attnjit::engine
