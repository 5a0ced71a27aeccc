#include "Expr/Frontend.h"

#include "Expr/Parser.h"
#include "Expr/Sema.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

namespace {

bool isIdentifier(std::string_view name) {
  const auto isLetter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
  };
  return !name.empty() && isLetter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return isLetter(c) || (c >= '0' && c <= '9'); });
}

/// Splits the captures into the Formula's two tables.
Result<CaptureScope> declare(std::span<const CaptureInfo> captures, Formula &formula) {
  CaptureScope scope;
  scope.infos = captures;
  for (std::size_t i = 0; i < captures.size(); ++i) {
    const CaptureInfo &capture = captures[i];
    if (!isIdentifier(capture.name))
      return Error{ErrorCode::InvalidArgument,
                   fmt::format("capture '{}': not a name; use letters, digits and _, e.g. slope", capture.name)};
    if (std::any_of(captures.begin(), captures.begin() + i, [&](const CaptureInfo &other) { return other.name == capture.name; }))
      return Error{ErrorCode::InvalidArgument, fmt::format("capture '{}' is given twice", capture.name)};
    if (capture.rank < -1 || capture.rank > kMaxRank)
      return Error{ErrorCode::InvalidArgument,
                   fmt::format("capture '{}' has rank {}; 0 to {} are accepted", capture.name, capture.rank, kMaxRank)};
    if (capture.rank >= 0) {
      scope.slots.push_back(static_cast<int>(formula.captures.size()));
      formula.captures.push_back({capture.name, capture.dtype, capture.rank});
    } else {
      const Kind kind = isFloat(capture.dtype) ? Kind::Float : capture.dtype == DType::Bool ? Kind::Bool : Kind::Int;
      scope.slots.push_back(static_cast<int>(formula.scalars.size()));
      formula.scalars.push_back({.name = capture.name, .kind = kind});
    }
  }
  return scope;
}

/// Without the bytes that some editors put first to say that a text is UTF-8.
std::string_view withoutMark(std::string_view text) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  return text.starts_with(kMark) ? text.substr(kMark.size()) : text;
}

SourceTexts withoutMarks(SourceTexts texts) {
  for (std::string_view *text : {&texts.scoreMod, &texts.maskMod, &texts.module, &texts.probMod})
    *text = withoutMark(*text);
  return texts;
}

bool isBlank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

/// An empty text keeps the default that `function` holds.
Result<void> parseMod(std::string_view text, ModKind mod, const Unit *module, const CaptureScope &scope, Function &function,
                      Formula &formula) {
  if (isBlank(text))
    return {};
  Unit unit{{roleOf(mod), text}, {}};
  Result<Ast> ast = parseSyntax(unit.source, TextForm::Mod);
  if (!ast)
    return ast.error();
  unit.ast = std::move(*ast);
  Result<Function> analysed = analyse(unit, module, mod, scope, formula);
  if (!analysed)
    return analysed.error();
  function = std::move(*analysed);
  return {};
}

} // namespace

Result<Formula> parseFormula(const SourceTexts &given, std::span<const CaptureInfo> captures) {
  const SourceTexts texts = withoutMarks(given);
  Formula formula = Formula::identity();
  Result<CaptureScope> scope = declare(captures, formula);
  if (!scope)
    return scope.error();
  std::optional<Unit> module;
  if (!isBlank(texts.module)) {
    module = Unit{{texts.moduleName, texts.module}, {}};
    Result<Ast> ast = parseSyntax(module->source, TextForm::Module);
    if (!ast)
      return ast.error();
    module->ast = std::move(*ast);
  }
  const std::size_t ownCapture = formula.captures.size(), ownScalar = formula.scalars.size();
  const Unit *shared = module ? &*module : nullptr;
  if (Result<void> ok = parseMod(texts.scoreMod, ModKind::Score, shared, *scope, formula.score, formula); !ok)
    return ok.error();
  if (Result<void> ok = parseMod(texts.maskMod, ModKind::Mask, shared, *scope, formula.mask, formula); !ok)
    return ok.error();
  if (Result<void> ok = parseMod(texts.probMod, ModKind::Prob, shared, *scope, formula.prob, formula); !ok)
    return ok.error();
  formula.adoptOwn(ownCapture, ownScalar);
  return formula;
}

Result<std::string> dumpAst(const SourceTexts &given) {
  const SourceTexts texts = withoutMarks(given);
  std::string out;
  for (const SourceText &source : {SourceText{texts.moduleName, texts.module}, SourceText{roleOf(ModKind::Score), texts.scoreMod},
                                   SourceText{roleOf(ModKind::Mask), texts.maskMod}, SourceText{roleOf(ModKind::Prob), texts.probMod}}) {
    const bool isModule = source.role == texts.moduleName;
    if ((isModule || source.role == roleOf(ModKind::Prob)) && isBlank(source.text))
      continue;
    out += std::string(source.role) + '\n';
    if (isBlank(source.text)) {
      out += "  default\n";
      continue;
    }
    Result<Ast> ast = parseSyntax(source, isModule ? TextForm::Module : TextForm::Mod);
    if (!ast)
      return ast.error();
    out += dump(*ast);
  }
  return out;
}

} // namespace attnjit::expr
