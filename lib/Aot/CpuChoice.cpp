#include "Aot/CpuChoice.h"

#include <algorithm>
#include <cstdint>
#include <fmt/format.h>
#include <initializer_list>
#include <iterator>
#include <string_view>

namespace attnjit::aot {

namespace {

constexpr std::uint32_t bits(std::initializer_list<int> places) {
  std::uint32_t mask = 0;
  for (const int place : places)
    mask |= std::uint32_t{1} << place;
  return mask;
}

/// What a target wants of CPUID and XGETBV. Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID; volume 1, 13.3.
struct Wants {
  std::string_view target;
  std::uint32_t leaf1Ecx, leaf7Ebx, leaf71Eax, xcr0;
};
constexpr std::uint32_t kV2 = bits({9, 13, 19, 20, 23});                  // ssse3, cmpxchg16b, sse4.1, sse4.2, popcnt
constexpr std::uint32_t kV3 = kV2 | bits({12, 22, 27, 28, 29});           // fma, movbe, osxsave, avx, f16c
constexpr std::uint32_t kV3Leaf7 = bits({3, 5, 8});                       // bmi1, avx2, bmi2
constexpr std::uint32_t kV4Leaf7 = kV3Leaf7 | bits({16, 17, 28, 30, 31}); // avx512f, dq, cd, bw, vl
constexpr std::uint32_t kSaved256 = bits({1, 2}), kSaved512 = bits({1, 2, 5, 6, 7});
constexpr Wants kWants[] = {{"x86-64-v2", kV2, 0, 0, 0},
                            {"x86-64-v3", kV3, kV3Leaf7, 0, kSaved256},
                            {"x86-64-v4", kV3, kV4Leaf7, 0, kSaved512},
                            {"x86-64-v4+bf16", kV3, kV4Leaf7, bits({5}), kSaved512}};

const Wants *wantsOf(std::string_view target) {
  const auto *found = std::find_if(std::begin(kWants), std::end(kWants), [&](const Wants &wants) { return wants.target == target; });
  return found == std::end(kWants) ? nullptr : found;
}

/// XGETBV may be executed only where OSXSAVE says so, leaf 7 is zero where there is none.
constexpr std::string_view kLook = R"(
  %zero = call { i32, i32, i32, i32 } asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx}"(i32 0, i32 0)
  %leaves = extractvalue { i32, i32, i32, i32 } %zero, 0
  %one = call { i32, i32, i32, i32 } asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx}"(i32 1, i32 0)
  %leaf1Ecx = extractvalue { i32, i32, i32, i32 } %one, 2
  %seven = call { i32, i32, i32, i32 } asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx}"(i32 7, i32 0)
  %sevenOne = call { i32, i32, i32, i32 } asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx}"(i32 7, i32 1)
  %subleaves = extractvalue { i32, i32, i32, i32 } %seven, 0
  %ebx = extractvalue { i32, i32, i32, i32 } %seven, 1
  %eax = extractvalue { i32, i32, i32, i32 } %sevenOne, 0
  %hasSeven = icmp uge i32 %leaves, 7
  %leaf7Ebx = select i1 %hasSeven, i32 %ebx, i32 0
  %anySub = icmp uge i32 %subleaves, 1
  %hasSub = and i1 %hasSeven, %anySub
  %leaf71Eax = select i1 %hasSub, i32 %eax, i32 0
  %osxsave = and i32 %leaf1Ecx, 134217728
  %asks = icmp ne i32 %osxsave, 0
  br i1 %asks, label %ask, label %judge
ask:
  %asked = call { i32, i32 } asm sideeffect "xgetbv", "={ax},={dx},{cx}"(i32 0)
  %saved = extractvalue { i32, i32 } %asked, 0
  br label %judge
judge:
  %xcr0 = phi i32 [ 0, %look ], [ %saved, %ask ]
)";

} // namespace

bool isChosenByCpu(const std::string &target) { return target == "aarch64" || wantsOf(target) != nullptr; }

std::string cpuChoice(const std::string &name, const std::vector<std::string> &targets) {
  if (targets.front() == "aarch64") // the architecture itself
    return fmt::format("define internal i32 @{}.choose() {{\n  ret i32 0\n}}\n", name);
  constexpr int kUnknown = -2;
  std::string text = fmt::format("@{0}.choice = internal global i32 {1}\ndefine internal i32 @{0}.choose() {{\nentry:\n"
                                 "  %known = load atomic i32, ptr @{0}.choice monotonic, align 4\n  %isKnown = icmp ne i32 %known, {1}\n"
                                 "  br i1 %isKnown, label %have, label %look\nhave:\n  ret i32 %known\nlook:",
                                 name, kUnknown);
  text += kLook;
  std::string choice = "-1";
  for (std::size_t i = targets.size(); i-- > 0;) { // the first one has the last word
    const Wants &wants = *wantsOf(targets[i]);
    std::string fits;
    for (const auto &[reg, mask] :
         {std::pair{"leaf1Ecx", wants.leaf1Ecx}, {"leaf7Ebx", wants.leaf7Ebx}, {"leaf71Eax", wants.leaf71Eax}, {"xcr0", wants.xcr0}}) {
      text += fmt::format("  %{0}.{1}.has = and i32 %{0}, {2}\n  %{0}.{1} = icmp eq i32 %{0}.{1}.has, {2}\n", reg, i, mask);
      const std::string all = fmt::format("%all.{}.{}", i, reg);
      if (!fits.empty())
        text += fmt::format("  {} = and i1 {}, %{}.{}\n", all, fits, reg, i);
      fits = fits.empty() ? fmt::format("%{}.{}", reg, i) : all;
    }
    text += fmt::format("  %choice.{0} = select i1 {1}, i32 {0}, i32 {2}\n", i, fits, choice);
    choice = fmt::format("%choice.{}", i);
  }
  return text + fmt::format("  store atomic i32 {0}, ptr @{1}.choice monotonic, align 4\n  ret i32 {0}\n}}\n", choice, name);
}

} // namespace attnjit::aot
