// Reads `key = value` lines: a spec is some of them and a formula, and what stages add to it are more of them.
#pragma once

#include "Compiler/CompilerInterface.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace attnjit::compiler {

/// These answer false for a text that is no such value.
bool readValue(std::string_view text, std::string &value);
bool readValue(std::string_view text, std::int64_t &value);
bool readValue(std::string_view text, std::uint64_t &value);
bool readValue(std::string_view text, std::uint32_t &value);
bool readValue(std::string_view text, int &value);
bool readValue(std::string_view text, bool &value);
bool readValue(std::string_view text, DType &value);
bool readValue(std::string_view text, std::optional<DType> &value);
bool readValue(std::string_view text, SDPBackend &value);

/// A line with what was expected instead.
Error badLine(std::string_view key, std::string_view value, std::string_view expected);

/// Fills the field that `key` names. Every key has to occur once; `seen` remembers which did.
class FieldReader {
public:
  FieldReader(std::string_view key, std::string_view value, std::uint32_t &seen) : key(key), value(value), seen(seen) {}

  template <typename T> FieldReader &field(std::string_view name, T &target, std::string_view expected) {
    const std::uint32_t bit = 1u << index++;
    if (key == name && !done) {
      done = true;
      if (seen & bit)
        error = badLine(key, value, "each key once");
      else if (!readValue(value, target))
        error = badLine(key, value, expected);
      seen |= bit;
    }
    all |= bit;
    return *this;
  }

  bool done = false;
  std::optional<Error> error;
  std::uint32_t all = 0;

private:
  std::string_view key, value;
  std::uint32_t &seen;
  int index = 0;
};

/// The fields of a spec but for its formula.
void readSpecFields(FieldReader &reader, KernelSpec &spec);

/// Reads lines up to `formula:`, each by readField(reader), and answers what comes behind. The error names the line.
Result<std::string_view> readLines(std::string_view text, const std::function<void(FieldReader &)> &readField);

/// The formula behind the lines, and what follows from all of them.
Result<void> finishSpec(std::string_view formula, KernelSpec &spec);

} // namespace attnjit::compiler
