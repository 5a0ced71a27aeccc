#include "Engine/MemoryCache.h"

#include "Engine/Guard.h"

#include <unistd.h>

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

MemoryCache::Obtained MemoryCache::obtain(const Wanted &wanted, const std::function<Result<KernelPtr>()> &make) {
  const Hash128 &key = wanted.key;
  std::unique_lock lock(mutex);
  if (KernelPtr kernel = touch(key)) {
    remember(wanted);
    return {std::move(kernel), false};
  }

  if (const auto underWay = flights.find(key); underWay != flights.end() && underWay->second->process == ::getpid()) {
    const std::shared_ptr<Flight> flight = underWay->second;
    if (flight->maker == std::this_thread::get_id())
      return {Error{ErrorCode::InvalidArgument, "a pipeline's builder asked the engine for the very kernel that it is building"}, false};
    flight->done.wait(lock, [&] { return flight->landed; });
    if (flight->outcome) {
      ++hits;
      remember(wanted);
    }
    return {flight->outcome, false};
  }

  ++misses;
  auto flight = std::make_shared<Flight>();
  flight->maker = std::this_thread::get_id();
  flight->process = ::getpid();
  flights.insert_or_assign(key, flight);
  lock.unlock();
  Result<KernelPtr> outcome = guarded(make); // waiters must be woken whatever happens
  lock.lock();

  flights.erase(key);
  if (outcome) {
    insert(wanted, *outcome);
    remember(wanted);
  }
  flight->outcome = outcome;
  flight->landed = true;
  flight->done.notify_all();
  return {std::move(outcome), true};
}

void MemoryCache::replace(const Wanted &wanted, const KernelPtr &kernel) {
  std::lock_guard lock(mutex);
  remove(wanted.key);
  insert(wanted, kernel);
}

void MemoryCache::clear() {
  std::lock_guard lock(mutex);
  resolved.clear();
  entries.clear();
  ages.clear();
  bytes = 0;
}

KernelPtr MemoryCache::findFirst(const Predicate &is) const {
  std::lock_guard lock(mutex);
  for (const Hash128 &key : ages)
    if (const KernelPtr &kernel = entries.at(key).kernel; is(*kernel))
      return kernel;
  return nullptr;
}

bool MemoryCache::contains(const Hash128 &key) const {
  std::lock_guard lock(mutex);
  return entries.contains(key);
}

std::size_t MemoryCache::removeAll(const Predicate &is) {
  std::lock_guard lock(mutex);
  std::vector<Hash128> found;
  for (const auto &[key, entry] : entries)
    if (is(*entry.kernel))
      found.push_back(key);
  for (const Hash128 &key : found)
    remove(key);
  return found.size();
}

std::vector<std::string> MemoryCache::specs() const {
  std::lock_guard lock(mutex);
  std::vector<std::string> all;
  for (const Hash128 &key : ages)
    if (const std::string &spec = entries.at(key).spec; !spec.empty())
      all.push_back(spec);
  return all;
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

void MemoryCache::remember(const Wanted &wanted) {
  if (maxKernels == 0 || !wanted.fingerprint)
    return;
  if (resolved.size() >= kMaxFingerprints)
    resolved.clear();
  resolved[*wanted.fingerprint] = wanted.key;
}

void MemoryCache::insert(const Wanted &wanted, const KernelPtr &kernel) {
  Entry entry{kernel, wanted.spec, {}};
  if (maxKernels == 0 || entry.bytes() > maxBytes)
    return;
  while (!ages.empty() && (entries.size() >= maxKernels || bytes + entry.bytes() > maxBytes)) {
    remove(ages.back());
    ++evictions;
  }
  ages.push_front(wanted.key);
  entry.age = ages.begin();
  bytes += entry.bytes();
  entries[wanted.key] = std::move(entry);
}

/// Running launches and Kernel values share the kernel; its code is unmapped when the last of them lets go.
void MemoryCache::remove(const Hash128 &key) {
  const auto entry = entries.find(key);
  if (entry == entries.end())
    return;
  bytes -= entry->second.bytes();
  ages.erase(entry->second.age);
  entries.erase(entry);
}

} // namespace attnjit::engine
