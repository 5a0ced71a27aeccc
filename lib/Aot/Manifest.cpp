#include "Aot/Artefact.h"
#include "attnjit/Version.h"

#include <fmt/format.h>

namespace attnjit::aot {

namespace {

std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      json += '\\';
    if (c == '\n')
      json += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20)
      json += fmt::format("\\u{:04x}", c);
    else
      json += c;
  }
  return json + '"';
}

template <typename List, typename Print> std::string listOf(const List &list, std::string_view indent, const Print &print) {
  std::string json;
  for (const auto &element : list)
    json += fmt::format("{}\n{}  {}", json.empty() ? "" : ",", indent, print(element));
  return json.empty() ? "[]" : fmt::format("[{}\n{}]", json, indent);
}

std::string fieldText(const Field &field) {
  const bool isNumber = field.info.rank == CaptureInfo::kNumber;
  return fmt::format("{{\"name\": {}, \"member\": {}, \"dtype\": {}, {}\"offset\": {}}}", quoted(field.info.name), quoted(field.cName),
                     quoted(name(field.info.dtype)), isNumber ? "" : fmt::format("\"rank\": {}, ", field.info.rank), field.offset);
}

std::string targetText(const TargetImage &image) {
  const ImageMetadata &meta = image.image.meta;
  std::string json =
      fmt::format("{{\"target\": {}, \"triple\": {}, \"pipeline\": {}, \"tileRows\": {}, \"tileCols\": {}, \"codeBytes\": {}",
                  quoted(meta.cpu), quoted(meta.triple), quoted(meta.pipeline), meta.tileRows, meta.tileCols, image.image.code.size());
  if (isCpu(meta.kind))
    json += fmt::format(", \"requires\": {}, \"workspaceBytes\": {}", quoted(meta.features), meta.workspaceBytes);
  else
    json += fmt::format(", \"entry\": {}, \"threadsPerBlock\": {}, \"sharedBytes\": {}, \"tensorMaps\": {}", quoted(meta.entry),
                        meta.threadsPerBlock, meta.sharedBytes, meta.qBoxRows > 0);
  return json + "}";
}

} // namespace

std::string manifestText(const Program &program) {
  const ImageMetadata &meta = program.meta();
  std::string json =
      fmt::format("{{\n  \"name\": {}, \"kind\": {},\n", quoted(program.name), program.kind == AotKind::Bare ? "\"bare\"" : "\"runtime\"");
  json += fmt::format("  \"attnjit\": {}, \"build\": {}, \"kernelAbi\": {}, \"interface\": {},\n", quoted(ATTNJIT_VERSION_STRING),
                      quoted(meta.buildId), meta.abiVersion, kAotVersion);
  json += fmt::format("  \"problem\": {{\"q\": {}, \"kv\": {}, \"out\": {}, \"D\": {}, \"Dv\": {}, \"contiguous\": {}, \"narrowIndices\": "
                      "{}, \"sinks\": {}}},\n",
                      quoted(name(meta.qType)), quoted(name(meta.kvType)), quoted(name(meta.outType)), meta.D, meta.Dv, meta.contiguous,
                      meta.narrowIndices, meta.sinks ? quoted(name(*meta.sinks)) : "null");
  json += fmt::format("  \"formula\": {},\n", quoted(program.mod.canonicalText()));
  json +=
      fmt::format("  \"arguments\": {{\n    \"bytes\": {},\n    \"tensors\": {},\n    \"numbers\": {}\n  }},\n", program.arguments.bytes,
                  listOf(program.arguments.tensors, "    ", fieldText), listOf(program.arguments.numbers, "    ", fieldText));
  json += fmt::format("  \"targets\": {},\n", listOf(program.images, "  ", targetText));
  return json + fmt::format("  \"files\": {}\n}}\n", listOf(program.files, "  ", [](const std::string &file) { return quoted(file); }));
}

} // namespace attnjit::aot
