#include "Bindings/Python/Convert.h"

namespace attnjit::python {

namespace {

Mod parse(std::string_view score, std::string_view mask, std::string_view prob, nb::handle captures, std::string_view module,
          std::string_view moduleName) {
  const ModText text{.scoreMod = score, .maskMod = mask, .module = module, .moduleName = moduleName, .probMod = prob};
  std::vector<CaptureInfo> infos = toCaptureInfos(captures);
  return take(released([&] { return Mod::parse(text, std::move(infos)); }));
}

std::vector<Mod> toMods(const nb::list &mods) {
  std::vector<Mod> values;
  for (nb::handle mod : mods)
    values.push_back(nb::cast<const Mod &>(mod));
  return values;
}

} // namespace

void bindMod(nb::module_ &module) {
  nb::class_<Mod>(module, "Mod", "Parsed formulas over one table of captures; the values of captures come with each call.")
      .def(nb::init<>())
      .def_static("parse", &parse, nb::arg("score_mod") = "", nb::arg("mask_mod") = "", nb::arg("prob_mod") = "",
                  nb::arg("captures") = nb::list(), nb::arg("module") = "", nb::arg("module_name") = "mods",
                  "`captures` are (name, dtype, rank), a number having rank -1 and dtype f64, i64 or bool.")
      .def_static(
          "parse_canonical", [](std::string_view text) { return take(Mod::parseCanonical(text)); }, nb::arg("text"))
      .def("canonical_text", &Mod::canonicalText)
      .def_prop_ro("captures", [](const Mod &mod) { return fromCaptureInfos(mod.captures()); })
      .def_prop_ro("has_mask", &Mod::hasMask)
      .def_prop_ro("score_is_identity", &Mod::scoreIsIdentity)
      .def_prop_ro("prob_is_identity", &Mod::probIsIdentity)
      .def_prop_ro("prob_is_homogeneous", &Mod::probIsHomogeneous)
      .def("mask_only", &Mod::maskOnly)
      .def("score_only", &Mod::scoreOnly)
      .def("prob_only", &Mod::probOnly)
      .def(
          "with_capture_names", [](const Mod &mod, const std::vector<std::string> &names) { return take(mod.withCaptureNames(names)); },
          nb::arg("names"));
  module.def("and_masks", [](const nb::list &masks) { return take(andMasks(toMods(masks))); });
  module.def("or_masks", [](const nb::list &masks) { return take(orMasks(toMods(masks))); });
  module.def("xor_masks", [](const nb::list &masks) { return take(xorMasks(toMods(masks))); });
  module.def("not_mask", [](const Mod &mask) { return take(notMask(mask)); });
  module.def("chain_mods", [](const nb::list &mods) { return take(chainMods(toMods(mods))); });
}

} // namespace attnjit::python
