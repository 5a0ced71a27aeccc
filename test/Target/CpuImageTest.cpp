// Images made from small hand-written modules: they run from anonymous memory, go through every text stage unchanged, and whatever would
// need a loader is refused by name.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "Target/Cpu/CpuBackend.h"
#include "Target/Cpu/ImageLinker.h"
#include "Target/Cpu/ProblemSection.h"

#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/raw_ostream.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <limits>
#include <random>
#include <string>
#include <sys/mman.h>
#include <vector>

using namespace attnjit;
using namespace attnjit::target;

namespace {

// y[i] = table[i & 7] * x[i] + y[i] on vectors of 16: a constant pool entry, a loop and 512-bit operations.
constexpr const char *kAxpy = R"(
@table = private unnamed_addr constant <16 x float> <float 1.0, float 2.0, float 3.0, float 4.0, float 5.0, float 6.0, float 7.0, float 8.0,
                                                     float 1.0, float 2.0, float 3.0, float 4.0, float 5.0, float 6.0, float 7.0, float 8.0>, align 64
define void @axpy(ptr %x, ptr %y, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %exit
body:
  %t = load <16 x float>, ptr @table, align 64
  %px = getelementptr float, ptr %x, i64 %i
  %py = getelementptr float, ptr %y, i64 %i
  %vx = load <16 x float>, ptr %px, align 4
  %vy = load <16 x float>, ptr %py, align 4
  %r = call <16 x float> @llvm.fma.v16f32(<16 x float> %t, <16 x float> %vx, <16 x float> %vy)
  store <16 x float> %r, ptr %py, align 4
  %next = add i64 %i, 16
  br label %loop
exit:
  ret void
}
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
)";

template <typename T> T take(llvm::Expected<T> value) {
  if (!value)
    FAIL(llvm::toString(value.takeError()));
  return std::move(*value);
}

template <typename T> std::string messageOf(llvm::Expected<T> value) { return value ? "no error" : llvm::toString(value.takeError()); }

TargetDesc targetNamed(const char *name) {
  Result<TargetDesc> target = parseTarget(name);
  REQUIRE(target);
  return *target;
}

struct Compiled {
  std::string ll, assembly, object;
};

llvm::Expected<Compiled> compileLl(const std::string &text, const TargetDesc &desc, const std::string &problem = "") {
  auto context = createCpuContext();
  auto module = parseLl(text, *context);
  if (!module)
    return module.takeError();
  auto backend = CpuBackend::create(desc);
  if (!backend)
    return backend.takeError();
  if (!problem.empty())
    attachProblem(**module, problem);
  backend->prepare(**module);
  Compiled result;
  llvm::raw_string_ostream(result.ll) << **module;
  if (llvm::Error error = backend->optimize(**module))
    return error;
  auto assembly = backend->emitAssembly(**module);
  if (!assembly)
    return assembly.takeError();
  result.assembly = std::move(*assembly);
  auto object = backend->emitObject(**module);
  if (!object)
    return object.takeError();
  result.object = std::move(*object);
  return result;
}

std::string linkErrorOf(const std::string &ll, const char *entry) {
  Compiled compiled = take(compileLl(ll, targetNamed("x86-64-v3")));
  return messageOf(linkImage(compiled.object, entry));
}

/// Maps code the way a loader without a linker does: copy, then make it executable.
struct Mapped {
  explicit Mapped(const LinkedCode &code) : size(code.bytes.size()) {
    memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    std::memcpy(memory, code.bytes.data(), size);
    REQUIRE(mprotect(memory, size, PROT_READ | PROT_EXEC) == 0);
    entry = static_cast<char *>(memory) + code.entryOffset;
  }
  ~Mapped() { munmap(memory, size); }
  std::size_t size;
  void *memory;
  void *entry;
};

} // namespace

TEST_CASE("an image runs wherever it is mapped") {
  for (const char *name : {"x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"}) {
    CAPTURE(name);
    Compiled compiled = take(compileLl(kAxpy, targetNamed(name)));
    LinkedCode code = take(linkImage(compiled.object, "axpy"));
    // zmm registers are what v4 is for; v3 must not touch them.
    CHECK((compiled.assembly.find("%zmm") != std::string::npos) == (std::string(name) == "x86-64-v4"));
    Result<TargetDesc> host = hostTarget();
    if (!host || !host->runs(*parseTarget(name)))
      continue;
    Mapped first(code), second(code);
    for (void *entry : {first.entry, second.entry}) {
      std::vector<float> x(64, 2.0f), y(64, 1.0f);
      reinterpret_cast<void (*)(const float *, float *, std::int64_t)>(entry)(x.data(), y.data(), 64);
      for (int i = 0; i < 64; i++)
        CHECK(y[i] == 1.0f + 2.0f * (i % 8 + 1));
    }
  }
}

TEST_CASE("ll, asm and obj texts lead to the same image") {
  const std::string problem = "a line\nwith \"quotes\", a \\ and \xc3\xa9\n";
  for (const char *name : {"x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64"}) {
    CAPTURE(name);
    const TargetDesc desc = targetNamed(name);
    Compiled compiled = take(compileLl(kAxpy, desc, problem));
    LinkedCode code = take(linkImage(compiled.object, "axpy"));

    Compiled again = take(compileLl(compiled.ll, desc));
    CHECK(take(linkImage(again.object, "axpy")).bytes == code.bytes);
    CHECK(again.ll == compiled.ll);

    const std::string object = take(take(CpuBackend::create(desc)).assemble(compiled.assembly));
    LinkedCode fromAssembly = take(linkImage(object, "axpy"));
    CHECK(fromAssembly.bytes == code.bytes);
    CHECK(fromAssembly.entryOffset == code.entryOffset);

    auto context = createCpuContext();
    CHECK(problemOfModule(*take(parseLl(compiled.ll, *context))) == problem);
    CHECK(problemOfAssembly(compiled.assembly) == problem);
    CHECK(problemOfObject(compiled.object) == problem);
    CHECK(problemOfObject(object) == problem);
  }
  CHECK_FALSE(problemOfAssembly("\t.text\n"));
  CHECK_FALSE(problemOfObject("not an object"));
}

// Four elements of each: r = a * b + c, of f32 and of f64, and f16 there and back.
constexpr const char *kSpelled = R"(
declare <4 x float> @llvm.fma.v4f32(<4 x float>, <4 x float>, <4 x float>)
declare <4 x double> @llvm.fma.v4f64(<4 x double>, <4 x double>, <4 x double>)
define void @singles(ptr %a, ptr %b, ptr %c, ptr %r) {
  %va = load <4 x float>, ptr %a, align 4
  %vb = load <4 x float>, ptr %b, align 4
  %vc = load <4 x float>, ptr %c, align 4
  %vr = call <4 x float> @llvm.fma.v4f32(<4 x float> %va, <4 x float> %vb, <4 x float> %vc)
  store <4 x float> %vr, ptr %r, align 4
  ret void
}
define void @doubles(ptr %a, ptr %b, ptr %c, ptr %r) {
  %va = load <4 x double>, ptr %a, align 8
  %vb = load <4 x double>, ptr %b, align 8
  %vc = load <4 x double>, ptr %c, align 8
  %vr = call <4 x double> @llvm.fma.v4f64(<4 x double> %va, <4 x double> %vb, <4 x double> %vc)
  store <4 x double> %vr, ptr %r, align 8
  ret void
}
define void @widen(ptr %half, ptr %single) {
  %h = load <4 x half>, ptr %half, align 2
  %s = fpext <4 x half> %h to <4 x float>
  store <4 x float> %s, ptr %single, align 4
  ret void
}
define void @narrow(ptr %single, ptr %half) {
  %s = load <4 x float>, ptr %single, align 4
  %h = fptrunc <4 x float> %s to <4 x half>
  store <4 x half> %h, ptr %half, align 2
  ret void
}
)";

template <typename Function> struct Spelled {
  explicit Spelled(const char *name) : mapped(take(linkImage(take(compileLl(kSpelled, targetNamed("x86-64-v2"))).object, name))) {}
  Function *function() const { return reinterpret_cast<Function *>(mapped.entry); }
  Mapped mapped;
};

/// Numbers of all sizes, and sums that nearly cancel their product.
template <typename T> void checkFma(const char *name, int exponents, int allowedMisses) {
  const Spelled<void(const T *, const T *, const T *, T *)> spelled(name);
  std::mt19937_64 random(7);
  std::uniform_real_distribution<T> mantissa(1, 2);
  std::uniform_int_distribution<int> exponent(-exponents, exponents);
  int misses = 0;
  for (int round = 0; round < 100000; ++round) {
    T a[4], b[4], c[4], r[4];
    for (int i = 0; i < 4; ++i) {
      a[i] = std::ldexp(mantissa(random), exponent(random));
      b[i] = -std::ldexp(mantissa(random), exponent(random));
      c[i] = i % 2 ? -a[i] * b[i] : std::ldexp(mantissa(random), exponent(random));
    }
    spelled.function()(a, b, c, r);
    for (int i = 0; i < 4; ++i) {
      const T exact = std::fma(a[i], b[i], c[i]);
      misses += r[i] != exact;
      REQUIRE(std::abs(r[i] - exact) <= std::numeric_limits<T>::epsilon() * std::abs(exact));
    }
  }
  CHECK(misses <= allowedMisses);
  const T infinity = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  const T a[4] = {infinity, 0, largest, 1}, b[4] = {1, infinity, 1, 1}, c[4] = {1, 1, 0, -infinity};
  T r[4];
  spelled.function()(a, b, c, r);
  CHECK(r[0] == infinity);
  CHECK(std::isnan(r[1]));
  CHECK(r[2] == largest);
  CHECK(r[3] == -infinity);
}

TEST_CASE("fused multiply-adds on a CPU that has none") {
  checkFma<float>("singles", 30, 4);
  checkFma<double>("doubles", 200, 4000); // the correction is rounded itself: one in a hundred is off by a last place
}

// A loop that carries s and adds two products to it; what stands at OTHER may use the sum in between.
constexpr const char *kCarried = R"(
declare <4 x float> @llvm.fma.v4f32(<4 x float>, <4 x float>, <4 x float>)
define void @kernel(ptr %x, ptr %r, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %s = phi <4 x float> [ zeroinitializer, %entry ], [ %second, %loop ]
  %px = getelementptr <4 x float>, ptr %x, i64 %i
  %vx = load <4 x float>, ptr %px, align 4
  %first = call <4 x float> @llvm.fma.v4f32(<4 x float> %vx, <4 x float> %vx, <4 x float> %s)
  %second = call <4 x float> @llvm.fma.v4f32(<4 x float> %vx, <4 x float> splat (float 3.0), <4 x float> %first)
  OTHER
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %exit
exit:
  store <4 x float> %second, ptr %r, align 4
  ret void
}
)";

TEST_CASE("sums that a loop carries on a CPU without fma: every link of a chain is rounded twice, unless it has another use") {
  const auto widens = [](const std::string &other) {
    std::string text = kCarried;
    text.replace(text.find("OTHER"), 5, other);
    return take(compileLl(text, targetNamed("x86-64-v2"))).assembly.find("cvtps2pd") != std::string::npos;
  };
  CHECK_FALSE(widens(""));
  CHECK(widens("store <4 x float> %first, ptr %px, align 4"));
}

TEST_CASE("f16 on a CPU that has none: every number there, and every kind of number back") {
  const Spelled<void(const std::uint16_t *, float *)> widen("widen");
  const Spelled<void(const float *, std::uint16_t *)> narrow("narrow");
  const auto asHalf = [](std::uint16_t bits) { return std::bit_cast<_Float16>(bits); };
  for (std::uint32_t bits = 0; bits < 65536; bits += 4) {
    const std::uint16_t halves[4] = {std::uint16_t(bits), std::uint16_t(bits + 1), std::uint16_t(bits + 2), std::uint16_t(bits + 3)};
    float singles[4];
    std::uint16_t back[4];
    widen.function()(halves, singles);
    narrow.function()(singles, back);
    for (int i = 0; i < 4; ++i) {
      const float expected = static_cast<float>(asHalf(halves[i]));
      if (std::isnan(expected)) {
        REQUIRE(std::isnan(singles[i]));
        REQUIRE(std::isnan(static_cast<float>(asHalf(back[i]))));
        continue;
      }
      REQUIRE(std::bit_cast<std::uint32_t>(singles[i]) == std::bit_cast<std::uint32_t>(expected));
      REQUIRE(back[i] == halves[i]);
    }
  }
  // Between the numbers, ties among them, and around the ends of the range.
  for (std::uint32_t bits = 0; bits < 0xffffff00u; bits += 4093) {
    const float single = std::bit_cast<float>(bits & 0x800u ? bits & ~0xfffu : bits);
    const float singles[4] = {single, single, std::nextafter(single, 0.0f), -single};
    std::uint16_t halves[4];
    narrow.function()(singles, halves);
    for (int i = 0; i < 4; ++i)
      if (!std::isnan(singles[i]))
        REQUIRE(halves[i] == std::bit_cast<std::uint16_t>(static_cast<_Float16>(singles[i])));
  }
}

TEST_CASE("what needs a loader is refused by name") {
  CHECK(linkErrorOf("declare void @elsewhere()\ndefine void @f() {\n call void @elsewhere()\n ret void\n}", "f").find("'elsewhere'") !=
        std::string::npos);
  CHECK(linkErrorOf("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
                    "define void @f(ptr %p, i64 %n) {\n call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 %n, i1 0)\n ret void\n}",
                    "f")
            .find("'memset'") != std::string::npos);
  CHECK(linkErrorOf("declare float @llvm.sin.f32(float)\n"
                    "define float @f(float %x) {\n %y = call float @llvm.sin.f32(float %x)\n ret float %y\n}",
                    "f")
            .find("'sinf'") != std::string::npos);
  CHECK(linkErrorOf("@state = internal global i64 7\n"
                    "define i64 @f() {\n %x = load volatile i64, ptr @state\n ret i64 %x\n}",
                    "f")
            .find("writable data in section '.data'") != std::string::npos);
  // A pointer in constant data: a loader would have to write its address.
  CHECK(linkErrorOf("@where = internal constant ptr @f\n"
                    "define i64 @f() {\n %x = load volatile i64, ptr @where\n ret i64 %x\n}",
                    "f")
            .find("writable data in section '.data.rel.ro'") != std::string::npos);
  CHECK(linkErrorOf("define void @f() {\n ret void\n}", "g").find("'g'") != std::string::npos);
  CHECK(messageOf(linkImage("garbage", "f")) != "no error");
}

TEST_CASE("an absolute relocation in text assembly is refused") {
  CpuBackend backend = take(CpuBackend::create(targetNamed("x86-64-v3")));
  const std::string object = take(backend.assemble("\t.text\n\t.globl f\nf:\n\tmovabsq $table, %rax\n\tretq\n"
                                                   "\t.section .rodata,\"a\",@progbits\ntable:\n\t.quad 7\n"));
  const std::string message = messageOf(linkImage(object, "f"));
  CHECK(message.find("absolute address") != std::string::npos);
  CHECK(message.find("'.text'") != std::string::npos);
}

TEST_CASE("bad input is an error, not an exit") {
  const TargetDesc desc = targetNamed("x86-64-v3");
  CHECK(messageOf(compileLl("define void @f( {", desc)).find("ll:1:") != std::string::npos);
  CHECK(messageOf(compileLl("define i32 @f() {\n %x = add i32 %y, 1\n ret i32 %x\n}", desc)).find("'%y'") != std::string::npos);
  CHECK(
      messageOf(compileLl("define i32 @f(i1 %c) {\n br i1 %c, label %a, label %b\na:\n %x = add i32 1, 1\n br label %b\nb:\n ret i32 %x\n}",
                          desc))
          .find("not valid LLVM IR") != std::string::npos);
  CHECK(messageOf(compileLl("define i32 @f() {\n %x = call i32 asm \"\", \"={nonsense}\"()\n ret i32 %x\n}", desc)).find("nonsense") !=
        std::string::npos);
  CHECK(messageOf(compileLl("define void @f() {\n call void asm \"bogus %eax\", \"\"()\n ret void\n}", desc)).find("bogus") !=
        std::string::npos);
  CpuBackend backend = take(CpuBackend::create(desc));
  CHECK(messageOf(backend.assemble("\tbogus %eax\n")).find("asm:1:") != std::string::npos);
  CHECK(messageOf(CpuBackend::create({TargetDesc::Kind::Cpu, "pdp11-unknown-none", "", 0, 0})) != "no error");
}
