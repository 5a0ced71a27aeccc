#include "Runtime/ImageMapping.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

namespace attnjit::runtime {

Result<std::shared_ptr<const ImageMapping>> ImageMapping::map(std::span<const std::byte> code, std::uint64_t entryOffset) {
  if (entryOffset >= code.size())
    return Error{ErrorCode::Internal,
                 fmt::format("the kernel's entry point ({}) lies outside its code ({} bytes)", entryOffset, code.size())};

  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t bytes = (code.size() + page - 1) / page * page;
  void *memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return Error{ErrorCode::Unsupported, fmt::format("no memory for {} bytes of machine code: {}", bytes, std::strerror(errno))};

  std::memcpy(memory, code.data(), code.size());
  if (::mprotect(memory, bytes, PROT_READ | PROT_EXEC) != 0) {
    const int reason = errno;
    ::munmap(memory, bytes);
    return Error{ErrorCode::Unsupported,
                 fmt::format("the system does not let this process make memory executable: {} (a hardening policy such as "
                             "SELinux execmem or systemd's MemoryDenyWriteExecute?)",
                             std::strerror(reason))};
  }

  // POSIX says that data addresses convert to function pointers: dlsym() lives by it.
  const auto entry = reinterpret_cast<CpuKernelFn>(static_cast<std::byte *>(memory) + entryOffset);
  return std::shared_ptr<const ImageMapping>(new ImageMapping(memory, bytes, code.size(), entry));
}

ImageMapping::~ImageMapping() { ::munmap(memory, mappedBytes); }

} // namespace attnjit::runtime
