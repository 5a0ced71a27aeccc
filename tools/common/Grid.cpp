#include "common/Grid.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace attnjit::tools {

namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

/// Appends every way to choose one alternative of each brace.
bool expand(std::string_view text, std::string prefix, std::vector<std::string> &out) {
  const std::size_t open = text.find('{');
  if (open == std::string_view::npos) {
    out.push_back(prefix + std::string(text));
    return text.find('}') == std::string_view::npos;
  }
  const std::size_t close = text.find('}', open);
  if (close == std::string_view::npos)
    return false;
  prefix += text.substr(0, open);
  const std::string_view alternatives = text.substr(open + 1, close - open - 1);
  for (std::size_t begin = 0; begin <= alternatives.size();) {
    const std::size_t end = std::min(alternatives.find('|', begin), alternatives.size());
    if (!expand(text.substr(close + 1), prefix + std::string(alternatives.substr(begin, end - begin)), out))
      return false;
    begin = end + 1;
  }
  return true;
}

} // namespace

Result<std::vector<GridCase>> parseGrid(std::string_view text) {
  std::vector<GridCase> cases;
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = trim(text.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (line.empty() || line.front() == '#')
      continue;
    std::string expected;
    if (const std::size_t arrow = line.rfind(" => "); arrow != std::string_view::npos) {
      expected = trim(line.substr(arrow + 4));
      line = trim(line.substr(0, arrow));
    }
    std::vector<std::string> commandLines;
    if (!expand(line, "", commandLines))
      return Error{ErrorCode::InvalidArgument,
                   fmt::format("line {}: braces do not match; alternatives are written {{a|b}} and do not nest", number)};
    for (std::string &commandLine : commandLines)
      cases.push_back({number, std::move(commandLine), expected});
  }
  return cases;
}

std::string gridOfModule(std::string_view text, std::string_view marker) {
  std::string grid;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (const std::string_view line = text.substr(begin, end - begin); line.starts_with(marker))
      grid += line.substr(marker.size());
    grid += '\n';
    begin = end + 1;
  }
  return grid;
}

Result<std::vector<std::string>> splitWords(std::string_view commandLine) {
  std::vector<std::string> words;
  bool inWord = false;
  char quote = 0;
  for (const char c : commandLine) {
    if (quote) {
      if (c == quote)
        quote = 0;
      else
        words.back() += c;
      continue;
    }
    if (c == ' ' || c == '\t') {
      inWord = false;
      continue;
    }
    if (!inWord)
      words.emplace_back();
    inWord = true;
    if (c == '\'' || c == '"')
      quote = c;
    else
      words.back() += c;
  }
  if (quote)
    return Error{ErrorCode::InvalidArgument, fmt::format("a {} is not closed in: {}", quote, commandLine)};
  return words;
}

std::string joinWords(const std::vector<std::string> &words) {
  std::string line;
  for (const std::string &word : words) {
    const bool isPlain = !word.empty() && word.find_first_of(" \t'\"<>&|*()[]$;") == std::string::npos;
    const char quote = word.find('\'') == std::string::npos ? '\'' : '"';
    line += fmt::format("{}{}", line.empty() ? "" : " ", isPlain ? word : fmt::format("{}{}{}", quote, word, quote));
  }
  return line;
}

Result<void> parseWords(CLI::App &app, std::vector<std::string> words) {
  std::reverse(words.begin(), words.end()); // as CLI11 wants them
  try {
    app.parse(words);
  } catch (const CLI::ParseError &error) {
    return Error{ErrorCode::InvalidArgument, error.what()};
  }
  return {};
}

std::string withoutFlag(std::string_view commandLine, std::string_view flag) {
  const std::string needle = fmt::format("{} ", flag);
  const std::size_t begin = commandLine.find(needle);
  if (begin == std::string_view::npos)
    return std::string(commandLine);
  const std::size_t end = std::min(commandLine.find(' ', begin + needle.size()), commandLine.size());
  return std::string(
      trim(std::string(commandLine.substr(0, begin)) + std::string(commandLine.substr(std::min(end + 1, commandLine.size())))));
}

} // namespace attnjit::tools
