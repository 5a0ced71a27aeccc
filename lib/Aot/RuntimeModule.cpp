#include "Aot/Artefact.h"

#include <fmt/format.h>

#include <cstring>

namespace attnjit::aot {

std::string assemblyBytes(std::string_view bytes) {
  constexpr std::size_t kWordsPerLine = 8;
  std::string text;
  for (std::size_t at = 0, words = 0; at < bytes.size(); at += 8, ++words) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
    if (words % kWordsPerLine == 0)
      text += words == 0 ? "module asm \".quad " : "\"\nmodule asm \".quad ";
    else
      text += ",";
    text += fmt::format("{:#x}", word);
  }
  return text.empty() ? text : text + "\"\n";
}

std::string imageBytes(const Program &program) {
  std::string bytes;
  for (const TargetImage &image : program.images) {
    const std::vector<std::byte> one = serialize(image.image);
    bytes.append(reinterpret_cast<const char *>(one.data()), one.size());
  }
  return bytes;
}

std::string runtimeModule(const Program &program) {
  const std::string &name = program.name, images = imageBytes(program);
  std::string text = "module asm \".pushsection .rodata,\\22a\\22,%progbits\"\nmodule asm \".p2align 6\"\n";
  text += fmt::format("module asm \"{}.images:\"\n{}module asm \".popsection\"\n", name, assemblyBytes(images));
  text += fmt::format(R"(
@"{0}.images" = external hidden constant i8
@"{0}.artefact" = internal global {{ i64, ptr, i64, ptr }} {{ i64 {1}, ptr @"{0}.images", i64 {2}, ptr null }}, align 8

declare i32 @attnjit_aot_run(ptr, ptr)
declare ptr @attnjit_aot_error()
declare ptr @attnjit_aot_target(ptr)
declare void @attnjit_aot_release(ptr)

define i32 @{0}(ptr %args) {{
  %status = call i32 @attnjit_aot_run(ptr @"{0}.artefact", ptr %args)
  ret i32 %status
}}
define ptr @{0}_error() {{
  %text = call ptr @attnjit_aot_error()
  ret ptr %text
}}
define ptr @{0}_target() {{
  %text = call ptr @attnjit_aot_target(ptr @"{0}.artefact")
  ret ptr %text
}}
define void @{0}_release() {{
  call void @attnjit_aot_release(ptr @"{0}.artefact")
  ret void
}}
)",
                      name, kAotVersion, images.size());
  if (program.forGpu())
    text += fmt::format(R"(
declare i32 @attnjit_aot_status()

define i32 @{0}_status() {{
  %status = call i32 @attnjit_aot_status()
  ret i32 %status
}}
)",
                        name);
  return text;
}

} // namespace attnjit::aot
