#include "CAPI/Handles.h"

using namespace attnjit;
using namespace attnjit::capi;

namespace attnjit::capi {

Mod toMod(const attnjit_mod *mod) { return mod ? mod->value : Mod(); }

CaptureValue toValue(const attnjit_capture &capture) {
  switch (capture.kind) {
  case ATTNJIT_CAPTURE_TENSOR:
    return toTensor(capture.value.tensor, capture.name ? capture.name : "capture");
  case ATTNJIT_CAPTURE_FLOAT:
    return capture.value.number;
  case ATTNJIT_CAPTURE_INT:
    return capture.value.integer;
  case ATTNJIT_CAPTURE_BOOL:
    return capture.value.integer != 0;
  default:
    refuse("capture '" + std::string(text(capture.name)) + "': there is no kind " + std::to_string(capture.kind));
  }
}

std::vector<CaptureArgument> toCaptures(const attnjit_capture *captures, std::size_t count) {
  std::vector<CaptureArgument> converted;
  converted.reserve(count);
  for (const attnjit_capture &capture : list(captures, count, "captures"))
    converted.push_back({std::string(text(capture.name)), toValue(capture)});
  return converted;
}

attnjit_capture fromCapture(const CaptureArgument &capture) {
  attnjit_capture made{capture.name.c_str(), ATTNJIT_CAPTURE_TENSOR, {}};
  if (const auto *tensor = std::get_if<TensorRef>(&capture.value)) {
    made.value.tensor = fromTensor(*tensor);
  } else if (const auto *number = std::get_if<double>(&capture.value)) {
    made.kind = ATTNJIT_CAPTURE_FLOAT;
    made.value.number = *number;
  } else if (const auto *integer = std::get_if<std::int64_t>(&capture.value)) {
    made.kind = ATTNJIT_CAPTURE_INT;
    made.value.integer = *integer;
  } else {
    made.kind = ATTNJIT_CAPTURE_BOOL;
    made.value.integer = std::get<bool>(capture.value);
  }
  return made;
}

} // namespace attnjit::capi

attnjit_status attnjit_mod_parse(const attnjit_mod_text *given, const attnjit_capture_info *captures, size_t capture_count,
                                 attnjit_mod **mod, attnjit_error **error) {
  return answer(error, [&] {
    give(mod, "mod", [&] {
      const attnjit_mod_text texts = readOptional(given, "attnjit_mod_text");
      std::vector<CaptureInfo> infos;
      for (const attnjit_capture_info &info : list(captures, capture_count, "captures"))
        infos.push_back({std::string(text(info.name)), toDType(info.dtype, info.name ? info.name : "capture"), info.rank});
      ModText all{.scoreMod = text(texts.score_mod),
                  .maskMod = text(texts.mask_mod),
                  .module = text(texts.module),
                  .probMod = text(texts.prob_mod)};
      if (texts.module_name)
        all.moduleName = texts.module_name;
      return Mod::parse(all, std::move(infos));
    });
  });
}

attnjit_status attnjit_mod_parse_canonical(const char *canonical, attnjit_mod **mod, attnjit_error **error) {
  return answer(error, [&] { give(mod, "mod", [&] { return Mod::parseCanonical(&need(canonical, "text")); }); });
}

void attnjit_mod_retain(attnjit_mod *mod) { retain(mod); }
void attnjit_mod_release(attnjit_mod *mod) { release(mod); }

attnjit_status attnjit_mod_combine(attnjit_combination how, const attnjit_mod *const *mods, size_t count, attnjit_mod **mod,
                                   attnjit_error **error) {
  return answer(error, [&] {
    give(mod, "mod", [&] {
      std::vector<Mod> all;
      for (const attnjit_mod *each : list(mods, count, "mods"))
        all.push_back(need(each, "mods").value);
      switch (how) {
      case ATTNJIT_AND:
        return andMasks(all);
      case ATTNJIT_OR:
        return orMasks(all);
      case ATTNJIT_XOR:
        return xorMasks(all);
      case ATTNJIT_CHAIN:
        return chainMods(all);
      case ATTNJIT_NOT:
        if (count != 1)
          refuse("ATTNJIT_NOT takes one mod, not " + std::to_string(count));
        return notMask(all.front());
      default:
        refuse("there is no combination " + std::to_string(how));
      }
    });
  });
}

attnjit_status attnjit_mod_only(const attnjit_mod *mod, attnjit_mod_part part, attnjit_mod **only, attnjit_error **error) {
  return answer(error, [&] {
    give(only, "only", [&]() -> Result<Mod> {
      const Mod &whole = need(mod, "mod").value;
      switch (part) {
      case ATTNJIT_MASK_ONLY:
        return whole.maskOnly();
      case ATTNJIT_SCORE_ONLY:
        return whole.scoreOnly();
      case ATTNJIT_PROB_ONLY:
        return whole.probOnly();
      default:
        refuse("there is no part " + std::to_string(part));
      }
    });
  });
}

const char *attnjit_mod_canonical_text(const attnjit_mod *mod) { return mod ? mod->value.canonicalText().c_str() : ""; }

uint32_t attnjit_mod_properties(const attnjit_mod *mod) {
  if (!mod)
    return 0;
  const auto flag = [](bool is, uint32_t bit) { return is ? bit : 0; };
  return flag(mod->value.hasMask(), ATTNJIT_HAS_MASK) | flag(mod->value.scoreIsIdentity(), ATTNJIT_SCORE_IS_IDENTITY) |
         flag(mod->value.probIsIdentity(), ATTNJIT_PROB_IS_IDENTITY) | flag(mod->value.probIsHomogeneous(), ATTNJIT_PROB_IS_HOMOGENEOUS);
}

size_t attnjit_mod_capture_count(const attnjit_mod *mod) { return mod ? mod->value.captures().size() : 0; }

attnjit_status attnjit_mod_get_capture(const attnjit_mod *mod, size_t index, attnjit_capture_info *info, attnjit_error **error) {
  return answer(error, [&] {
    const CaptureInfo &capture = element(need(mod, "mod").value.captures(), index, "captures");
    need(info, "info") = {capture.name.c_str(), static_cast<attnjit_dtype>(capture.dtype), capture.rank};
  });
}
