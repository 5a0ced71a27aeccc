// The second table of docs/functions.md: functions that are written in terms of others, measured in compiled kernels. A prob_mod that reads
// its argument from a captured tensor, and values that are the identity, give the function of every argument as it stands.
#include "EngineTestUtil.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <vector>

using namespace attnjit;
using namespace attnjit::test;

namespace {

using Exact = long double;

constexpr std::int64_t kKeys = 64, kArguments = 60032; // a multiple of the keys

/// By Newton's iteration on erfc, from M. Giles's first term.
Exact inverseErf(Exact x) {
  const Exact size = std::abs(x), half = std::sqrt(std::acos(Exact(-1))) / 2;
  Exact y = std::sqrt(-std::log((1 - size) * (1 + size))) * 0.9L;
  for (int step = 0; step < 60; ++step) {
    const Exact away = size < 0.5L ? std::erf(y) - size : (1 - size) - std::erfc(y), change = away * half * std::exp(y * y);
    y -= change / (1 + y * change);
  }
  return std::copysign(y, x);
}

Exact sigmoid(Exact x) { return 1 / (1 + std::exp(-x)); }
Exact softplus(Exact x) { return x > 20 ? x : std::log1p(std::exp(x)); }
Exact elu(Exact x) { return x > 0 ? x : std::expm1(x); }
Exact tanhGelu(Exact x) { return x * sigmoid(2 * std::sqrt(2 / std::acos(Exact(-1))) * (x + 0.044715L * x * x * x)); }

struct Row {
  std::string name, formula;
  std::function<Exact(Exact)> exact;
  std::function<double(double)> argument = {}; ///< of the function, from one of the usual ones
};

const std::vector<Row> &rows() {
  const auto above = [](double x) { return x > -1 ? x : -1 - x; };
  const auto positive = [](double x) { return std::abs(x); };
  static const std::vector<Row> kRows = {
      {"sigmoid", "torch.sigmoid(x)", sigmoid},
      {"silu", "F.silu(x)", [](Exact x) { return x * sigmoid(x); }},
      {"softplus", "F.softplus(x)", softplus},
      {"logsigmoid", "F.logsigmoid(x)", [](Exact x) { return std::min<Exact>(x, 0) - std::log1p(std::exp(-std::abs(x))); }},
      {"elu", "F.elu(x)", elu},
      {"celu", "F.celu(x)", elu},
      {"selu", "F.selu(x)",
       [](Exact x) { return 1.0507009873554804934193349852946L * (x > 0 ? x : 1.6732632423543772848170429916717L * std::expm1(x)); }},
      {"mish", "F.mish(x)", [](Exact x) { return x * std::tanh(softplus(x)); }},
      {"softsign", "F.softsign(x)", [](Exact x) { return x / (1 + std::abs(x)); }},
      {"hardswish", "F.hardswish(x)", [](Exact x) { return x * std::clamp<Exact>(x + 3, 0, 6) / 6; }},
      {"xlogy", "torch.xlogy(x, x)", [](Exact x) { return x * std::log(x); }, positive},
      {"entr", "torch.special.entr(x)", [](Exact x) { return -x * std::log(x); }, positive},
      {"xlog1py", "torch.special.xlog1py(x, x)", [](Exact x) { return x * std::log1p(x); }, positive},
      {"gelu", "F.gelu(x)", [](Exact x) { return x * std::erfc(-x * std::sqrt(0.5L)) / 2; }, above},
      {"gelu(approximate=\"tanh\")", "F.gelu(x, approximate=\"tanh\")", tanhGelu, above},
      {"erfinv", "torch.erfinv(x)", inverseErf, [](double x) { return std::sin(x); }}};
  return kRows;
}

/// Normal, uniform in [-20, 20], and over the exponents from -20 to 4.4, in equal parts.
std::vector<float> arguments(const Row &row, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto unit = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  std::vector<float> all;
  for (std::int64_t i = 0; i < kArguments; ++i) {
    const double a = unit(), b = unit();
    const double x = i % 3 == 0   ? std::sqrt(-2 * std::log(a)) * std::cos(6.283185307179586 * b)
                     : i % 3 == 1 ? 40 * a - 20
                                  : std::copysign(std::exp2(24.4 * a - 20), b - 0.5);
    const auto rounded = static_cast<float>(row.argument ? row.argument(x) : x);
    all.push_back(std::abs(rounded) == 1 ? 0.5f : rounded); // an end of erfinv
  }
  return all;
}

std::vector<float> computed(const Engine &engine, const Row &row, std::vector<float> &x) {
  std::string formula = "def mod(p, b, h, q_idx, kv_idx):\n    x = argument[q_idx * 64 + kv_idx]\n    return " + row.formula + "\n";
  const Result<Mod> mod = Mod::parse(ModText{.probMod = formula}, {{"argument", DType::F32, 1}});
  REQUIRE_MESSAGE(mod, (mod ? "" : mod.error().message));
  const std::int64_t queries = kArguments / kKeys;
  std::vector<float> zeros(static_cast<std::size_t>(queries * kKeys), 0), identity(kKeys * kKeys, 0), out(x.size());
  for (std::int64_t i = 0; i < kKeys; ++i)
    identity[static_cast<std::size_t>(i * kKeys + i)] = 1;
  ForwardCall call;
  call.q = TensorRef::dense(zeros.data(), DType::F32, {1, 1, queries, kKeys});
  call.k = TensorRef::dense(zeros.data(), DType::F32, {1, 1, kKeys, kKeys});
  call.v = TensorRef::dense(identity.data(), DType::F32, {1, 1, kKeys, kKeys});
  call.out = TensorRef::dense(out.data(), DType::F32, {1, 1, queries, kKeys});
  call.mod = *mod;
  call.captures = {{"argument", TensorRef::dense(x.data(), DType::F32, {kArguments})}};
  const Result<ForwardReport> report = engine.forward(call);
  REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
  return out;
}

double largestError(const Engine &engine, const Row &row) {
  std::vector<float> x = arguments(row, 7);
  const std::vector<float> got = computed(engine, row, x);
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Exact exact = row.exact(x[i]);
    const Exact ulp = exact == 0 ? 0x1p-149L : std::max(0x1p-149L, std::ldexp(Exact(1), std::ilogb(exact) - 23));
    largest = std::max(largest, static_cast<double>(std::abs(got[i] - exact) / ulp));
  }
  return largest;
}

struct Stated {
  double bound, seen;
};
/// What the page says of a function.
Stated stated(const std::string &name) {
  std::ifstream page(ATTNJIT_FUNCTIONS_DOC);
  REQUIRE(page);
  bool isSecondTable = false;
  for (std::string line; std::getline(page, line);) {
    isSecondTable |= line.find("written in terms of these") != std::string::npos;
    if (!isSecondTable || !line.starts_with("| ") || line.substr(0, line.find('|', 1)).find("`" + name + "`") == std::string::npos)
      continue;
    Stated found{};
    char bar = 0;
    std::istringstream(line.substr(line.find('|', 1) + 1)) >> found.bound >> bar >> found.seen;
    return found;
  }
  FAIL("`", name, "` has no row in docs/functions.md");
  return {};
}

} // namespace

TEST_CASE("the errors of composite functions are those of docs/functions.md") {
  for (const char *target : {"x86-64-v3", "native"}) { // AVX2, and AVX-512 where the machine has it
    EngineOptions options;
    options.cacheDirectory = "";
    options.target = target;
    const Result<Engine> engine = Engine::create(std::move(options));
    REQUIRE(engine);
    for (const Row &row : rows()) {
      const double error = largestError(*engine, row);
      const Stated page = stated(row.name);
      MESSAGE(row.name, " on ", std::string(target), ": ", error);
      CHECK(error <= page.bound);
      CHECK(page.seen <= page.bound);
      CHECK(error <= page.seen + 0.1);
    }
  }
}
