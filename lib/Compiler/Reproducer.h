// A file that lets a failed compile be looked at later.
#pragma once

#include <string>
#include <string_view>

namespace attnjit::compiler {

/// Writes an attn stage text, with `error` as comments on top, to a new file in $ATTNJIT_REPRODUCER_DIR or else the directory for temporary
/// files. Returns the path; empty if no file could be written. With an empty `attnText` (the failure came before there was one) the spec
/// stands in comments.
std::string writeReproducer(std::string_view error, std::string_view spec, std::string_view attnText);

} // namespace attnjit::compiler
