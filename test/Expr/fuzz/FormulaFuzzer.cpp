// Any bytes may come in as a formula: the library answers with a Formula that verifies, prints, reads back and evaluates, or with an error.
// First byte: bit 0 = as mask_mod, bit 1 = as canonical text, bit 2 = as prob_mod. A line "-> ..." parts a module above from the mod.
#include "Expr/Analysis.h"
#include "Expr/Frontend.h"

#include <cmath>
#include <cstdlib>

using namespace attnjit;
using namespace attnjit::expr;

namespace {

void require(bool condition) {
  if (!condition)
    std::abort(); // libFuzzer keeps the input
}

void exercise(Formula formula) {
  require(static_cast<bool>(verify(formula)));
  const std::string text = print(formula);
  const Result<Formula> again = parseCanonical(text);
  require(again && print(*again) == text && hash(*again) == hash(formula));
  simplify(formula);
  require(static_cast<bool>(verify(formula)));
  if (formula.score.nodes.size() + formula.mask.nodes.size() + formula.prob.nodes.size() > 2000)
    return;
  const ClosedForm form = closedForm(formula);
  require(form.mayBeTrue < form.nodes.size() && form.mayBeFalse < form.nodes.size());

  double storage[64] = {};
  std::vector<TensorRef> tensors;
  for (const CaptureDecl &capture : formula.captures) {
    TensorRef tensor{storage, capture.dtype, capture.rank, {}, {}};
    for (int dim = 0; dim < capture.rank; ++dim)
      tensor.sizes[dim] = 2, tensor.strides[dim] = 1;
    tensors.push_back(tensor);
  }
  bindOwnTensors(formula, tensors);
  std::vector<ScalarArg> scalars(formula.scalars.size(), ScalarArg{.i = 1});
  bindOwnScalars(formula, tensors, scalars);
  const Bindings bindings{tensors, scalars};
  Interp interp(formula, formula.mask, bindings), prob(formula, formula.prob, bindings);
  // The proof holds to the bit for powers of two, but where an end of the exponents is met.
  bool ignored = false;
  const double once = prob.evaluate(0x1p-20, {0, 1, 2, 1}, ignored).f, twice = prob.evaluate(0x1p-19, {0, 1, 2, 1}, ignored).f;
  require(!isHomogeneous(formula.prob) || std::fabs(once) < 1e-200 || std::fabs(once) > 1e200 || twice == 2 * once || std::isnan(once));
  const Box box{0, 0, 1, 1, 2, 4, 1, 3};
  bool sawTrue = false, sawFalse = false;
  for (std::int64_t q = box.qLo; q <= box.qHi; ++q)
    for (std::int64_t kv = box.kvLo; kv <= box.kvHi; ++kv) {
      bool outOfRange = false;
      (interp.evaluate(0, {0, 1, q, kv}, outOfRange).i ? sawTrue : sawFalse) = true;
    }
  const TileClass tile = classify(formula, box, scalars, nullptr);
  require(!(tile == TileClass::Empty && sawTrue) && !(tile == TileClass::Full && sawFalse));
  const BoxVerdict verdict = evaluate(form, box, scalars);
  require((verdict.mayBeTrue || !sawTrue) && (verdict.mayBeFalse || !sawFalse));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  if (size == 0)
    return 0;
  const std::string_view text(reinterpret_cast<const char *>(data) + 1, size - 1);
  if (data[0] & 2) {
    if (const Result<Formula> formula = parseCanonical(text))
      exercise(*formula);
    return 0;
  }
  static const CaptureInfo kCaptures[] = {
      {"slope", DType::F32, 1}, {"bias", DType::F64, 2}, {"doc", DType::I32, 2}, {"w", DType::I64, -1}, {"cap", DType::F64, -1}};
  const std::size_t arrow = text.find("\n-> ");
  const std::string_view module = arrow == std::string_view::npos ? "" : text.substr(0, arrow + 1);
  const std::string_view mod = arrow == std::string_view::npos ? text : text.substr(arrow + 4);
  SourceTexts texts{.scoreMod = {}, .maskMod = {}, .module = module};
  (data[0] & 4 ? texts.probMod : data[0] & 1 ? texts.maskMod : texts.scoreMod) = mod;
  if (const Result<std::string> tree = dumpAst(texts); !tree && text.size() < 4096)
    require(!tree.error().message.empty());
  if (const Result<Formula> formula = parseFormula(texts, kCaptures))
    exercise(*formula);
  return 0;
}
