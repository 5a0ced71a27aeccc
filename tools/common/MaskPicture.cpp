#include "common/MaskPicture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace attnjit::tools {

namespace {

/// Pairs looked at along each side of a patch.
constexpr std::int64_t kSamples = 8;

std::string_view shade(float upper, float lower) {
  static constexpr std::string_view kShades[] = {" ", "░", "▒", "▓", "█"};
  const bool upperOn = upper >= 0.5f, lowerOn = lower >= 0.5f;
  const bool sharp = (upper == 0 || upper == 1) && (lower == 0 || lower == 1);
  if (sharp && upperOn != lowerOn)
    return upperOn ? "▀" : "▄";
  if (upper == 1 && lower > 0.5f)
    return "█";
  const float mean = (upper + lower) / 2;
  if (mean == 0 || mean == 1)
    return mean == 0 ? " " : "█";
  return kShades[std::clamp(static_cast<int>(mean * 4 + 0.5f), 1, 3)];
}

/// PNG's two checksums.
std::uint32_t crc32(std::string_view bytes) {
  static const std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t n = 0; n < 256; ++n) {
      std::uint32_t c = n;
      for (int bit = 0; bit < 8; ++bit)
        c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      entries[n] = c;
    }
    return entries;
  }();
  std::uint32_t crc = ~0u;
  for (const char byte : bytes)
    crc = table[(crc ^ static_cast<unsigned char>(byte)) & 255] ^ (crc >> 8);
  return ~crc;
}
std::uint32_t adler32(std::string_view bytes) {
  std::uint32_t a = 1, b = 0;
  for (const char byte : bytes) {
    a = (a + static_cast<unsigned char>(byte)) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

std::string bigEndian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string chunk(std::string_view type, std::string_view data) {
  const std::string body = std::string(type) + std::string(data);
  return bigEndian(static_cast<std::uint32_t>(data.size())) + body + bigEndian(crc32(body));
}

/// A zlib stream of stored blocks: a picture of a mask is small, a compressor is not.
std::string zlibStored(std::string_view bytes) {
  std::string stream = "\x78\x01";
  for (std::size_t begin = 0; begin < bytes.size() || begin == 0;) {
    const std::size_t length = std::min<std::size_t>(65535, bytes.size() - begin);
    const std::uint16_t n = static_cast<std::uint16_t>(length), inverse = static_cast<std::uint16_t>(~n);
    stream += begin + length == bytes.size() ? '\1' : '\0';
    stream += {static_cast<char>(n), static_cast<char>(n >> 8), static_cast<char>(inverse), static_cast<char>(inverse >> 8)};
    stream += bytes.substr(begin, length);
    begin += std::max<std::size_t>(length, 1);
  }
  return stream + bigEndian(adler32(bytes));
}

} // namespace

MaskGrid sampleMask(const expr::Formula &formula, const expr::Bindings &bindings, std::int64_t M, std::int64_t N, std::int64_t b,
                    std::int64_t h, int maxRows, int maxCols) {
  MaskGrid grid;
  grid.rows = static_cast<int>(std::min<std::int64_t>(M, maxRows));
  grid.cols = static_cast<int>(std::min<std::int64_t>(N, maxCols));
  expr::Interp interp(formula, formula.mask, bindings);
  for (int row = 0; row < grid.rows; ++row)
    for (int col = 0; col < grid.cols; ++col) {
      const std::int64_t qBegin = M * row / grid.rows, qEnd = M * (row + 1) / grid.rows, kvBegin = N * col / grid.cols,
                         kvEnd = N * (col + 1) / grid.cols;
      const std::int64_t qSamples = std::min(kSamples, qEnd - qBegin), kvSamples = std::min(kSamples, kvEnd - kvBegin);
      std::int64_t seen = 0;
      bool outOfRange = false;
      for (std::int64_t i = 0; i < qSamples; ++i)
        for (std::int64_t j = 0; j < kvSamples; ++j) {
          // Ends included, so that a patch which a border crosses shows it; every other row is shifted, so that periodic masks do not hide.
          const std::int64_t q = qBegin + (qSamples > 1 ? i * (qEnd - qBegin - 1) / (qSamples - 1) : 0);
          const std::int64_t kv = kvBegin + (kvSamples > 1 ? j * (kvEnd - kvBegin - 1) / (kvSamples - 1) : 0);
          seen += interp.evaluate(0, {b, h, q, kv}, outOfRange).i != 0;
        }
      grid.visible.push_back(static_cast<float>(seen) / static_cast<float>(qSamples * kvSamples));
    }
  return grid;
}

MaskGrid gridOf(const BlockMask &mask, std::int64_t b, std::int64_t h, int maxRows, int maxCols) {
  MaskGrid grid;
  const Result<BlockMask> slice = mask.slice(IndexRange::one(b), IndexRange::one(h));
  const Result<BlockTensors> lists = slice ? slice->tensors(false) : Result<BlockTensors>(slice.error());
  if (!lists)
    return grid;
  grid.rows = static_cast<int>(std::min<std::int64_t>(mask.rows(), maxRows));
  grid.cols = static_cast<int>(std::min<std::int64_t>(mask.cols(), maxCols));
  grid.visible.assign(static_cast<std::size_t>(grid.rows) * grid.cols, 0);
  const auto patchOf = [](std::int64_t index, std::int64_t count, int patches) {
    return static_cast<int>(((index + 1) * patches - 1) / count);
  };
  std::vector<float> blocks(grid.visible.size());
  for (std::int64_t row = 0; row < mask.rows(); ++row)
    for (std::int64_t col = 0; col < mask.cols(); ++col)
      blocks[static_cast<std::size_t>(patchOf(row, mask.rows(), grid.rows)) * grid.cols + patchOf(col, mask.cols(), grid.cols)] += 1;
  const auto add = [&](const IndexTensor &counts, const IndexTensor &indices, float weight) {
    for (std::int64_t row = 0; row < mask.rows(); ++row)
      for (std::int64_t i = 0; i < counts.data[row]; ++i)
        grid.visible[static_cast<std::size_t>(patchOf(row, mask.rows(), grid.rows)) * grid.cols +
                     patchOf(indices.data[row * mask.cols() + i], mask.cols(), grid.cols)] += weight;
  };
  add(lists->kvNumBlocks, lists->kvIndices, 0.5f);
  if (lists->fullKvIndices)
    add(*lists->fullKvNumBlocks, *lists->fullKvIndices, 1);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    grid.visible[i] /= blocks[i];
  return grid;
}

std::string drawTerminal(const MaskGrid &grid) {
  std::string bar;
  for (int col = 0; col < grid.cols; ++col)
    bar += "─";
  std::string text = "┌" + bar + "┐\n";
  for (int row = 0; row < grid.rows; row += 2) {
    text += "│";
    for (int col = 0; col < grid.cols; ++col)
      text += shade(grid.at(row, col), row + 1 < grid.rows ? grid.at(row + 1, col) : 0);
    text += "│\n";
  }
  return text + "└" + bar + "┘\n";
}

std::string drawSvg(const MaskGrid &grid) {
  constexpr int kSide = 6;
  std::string svg = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n"
                                "<rect width=\"{0}\" height=\"{1}\" fill=\"#f4f4f4\"/>\n",
                                grid.cols * kSide, grid.rows * kSide);
  for (int row = 0; row < grid.rows; ++row)
    for (int col = 0; col < grid.cols;) {
      int end = col + 1; // equal neighbours share a rectangle
      while (end < grid.cols && grid.at(row, end) == grid.at(row, col))
        ++end;
      if (grid.at(row, col) > 0)
        svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#1f4e79\" fill-opacity=\"{:.2f}\"/>\n", col * kSide,
                           row * kSide, (end - col) * kSide, kSide, grid.at(row, col));
      col = end;
    }
  return svg + "</svg>\n";
}

std::string drawPng(const MaskGrid &grid, int scale) {
  std::string pixels;
  for (int y = 0; y < grid.rows * scale; ++y) {
    pixels += '\0'; // no filter
    for (int x = 0; x < grid.cols * scale; ++x)
      pixels += static_cast<char>(static_cast<unsigned char>(std::lround(240 - 210 * grid.at(y / scale, x / scale))));
  }
  const std::string header = bigEndian(static_cast<std::uint32_t>(grid.cols * scale)) +
                             bigEndian(static_cast<std::uint32_t>(grid.rows * scale)) + std::string("\x08\x00\x00\x00\x00", 5);
  return std::string("\x89PNG\r\n\x1a\n", 8) + chunk("IHDR", header) + chunk("IDAT", zlibStored(pixels)) + chunk("IEND", "");
}

} // namespace attnjit::tools
