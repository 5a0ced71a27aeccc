#include "Runtime/GpuUpload.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>

namespace attnjit::runtime {

namespace {

constexpr int kThreads = 256;

/// The kernel's parameter. It is copied whole, so there is one size for what nearly all launches need, and one for long tables: 4 KiB is
/// what every driver takes.
template <std::size_t Words> struct ParcelOf {
  CudaPointer to = nullptr;
  std::uint64_t count = 0; ///< words that are sent
  std::array<std::uint64_t, Words> words{};
};
using SmallParcel = ParcelOf<62>;
using LargeParcel = ParcelOf<510>;
static_assert(sizeof(LargeParcel) == 4096);

std::string entryName(std::size_t parcelBytes) { return fmt::format("attnjit_upload_{}", parcelBytes); }

/// One thread per word.
std::string uploadPtx(std::size_t parcelBytes) {
  return fmt::format(R"(.version 7.0
.target sm_80
.address_size 64
.visible .entry {}(.param .align 8 .b8 parcel[{}])
{{
  .reg .pred %done;
  .reg .b32 %block, %threads, %thread, %index;
  .reg .b64 %word, %count, %from, %to, %offset, %value;
  mov.u32 %block, %ctaid.x;
  mov.u32 %threads, %ntid.x;
  mov.u32 %thread, %tid.x;
  mad.lo.u32 %index, %block, %threads, %thread;
  cvt.u64.u32 %word, %index;
  ld.param.u64 %count, [parcel+8];
  setp.ge.u64 %done, %word, %count;
  @%done bra END;
  shl.b64 %offset, %word, 3;
  mov.b64 %from, parcel;
  add.u64 %from, %from, %offset;
  ld.param.u64 %value, [%from+16];
  ld.param.u64 %to, [parcel];
  cvta.to.global.u64 %to, %to;
  add.u64 %to, %to, %offset;
  st.global.u64 [%to], %value;
END:
  ret;
}}
)",
                     entryName(parcelBytes), parcelBytes);
}

} // namespace

/// As many parcels as the bytes take.
template <typename Parcel>
Result<void> GpuUpload::send(std::atomic<CudaFunction> &kernel, CudaPointer to, std::span<const std::byte> bytes, CudaStream stream) {
  if (!kernel) {
    const Result<CudaFunction> loaded =
        device.function({uploadPtx(sizeof(Parcel)), entryName(sizeof(Parcel)), "the kernel that uploads tables", 0});
    if (!loaded)
      return loaded.error();
    kernel = *loaded;
  }
  Parcel parcel;
  while (!bytes.empty()) {
    const std::size_t taken = std::min(bytes.size(), sizeof parcel.words);
    parcel.to = to;
    parcel.count = taken / 8;
    std::memcpy(parcel.words.data(), bytes.data(), taken);
    void *parameters[] = {&parcel};
    const unsigned blocks = static_cast<unsigned>((parcel.count + kThreads - 1) / kThreads);
    const int status = device.driver.cuLaunchKernel(kernel, blocks, 1, 1, kThreads, 1, 1, 0, stream, parameters, nullptr);
    if (Result<void> launched = device.driver.check(status, "uploading tables"); !launched)
      return launched;
    bytes = bytes.subspan(taken);
    to += taken;
  }
  return {};
}

Result<void> GpuUpload::upload(CudaPointer to, std::span<const std::byte> bytes, CudaStream stream) {
  if (bytes.size() <= sizeof(SmallParcel::words))
    return send<SmallParcel>(smallKernel, to, bytes, stream);
  return send<LargeParcel>(largeKernel, to, bytes, stream);
}

} // namespace attnjit::runtime
