// Pictures of masks: what is sampled, and that the files are what their names say.
#include "common/MaskPicture.h"

#include "Expr/Frontend.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::tools;

namespace {

MaskGrid gridOf(std::string_view mask, std::int64_t M, std::int64_t N, int rows, int cols) {
  const Result<expr::Formula> formula = expr::parseFormula({"", mask}, {});
  REQUIRE(formula);
  return sampleMask(*formula, {}, M, N, 0, 0, rows, cols);
}

std::uint32_t bigEndianAt(const std::string &bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

} // namespace

TEST_CASE("small masks are exact") {
  const MaskGrid grid = gridOf("q_idx >= kv_idx", 3, 4, 64, 64);
  CHECK(grid.rows == 3);
  CHECK(grid.cols == 4);
  CHECK(grid.visible == std::vector<float>{1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0});
  CHECK(drawTerminal(grid) == "┌────┐\n│█▄  │\n│▀▀▀ │\n└────┘\n");
}

TEST_CASE("blocks: full 1, partial a half, patches of them their mean") {
  const Result<Mod> mod = Mod::parse("", "q_idx >= kv_idx + h");
  REQUIRE(mod);
  const Result<BlockMask> mask = createBlockMask(*mod, {}, 1, 2, 8, 8, {.blockQ = 2, .blockKv = 2});
  REQUIRE(mask);
  const MaskGrid blocks = tools::gridOf(*mask, 0, 0, 64, 64);
  CHECK(blocks.rows == 4);
  CHECK(blocks.visible == std::vector<float>{0.5f, 0, 0, 0, 1, 0.5f, 0, 0, 1, 1, 0.5f, 0, 1, 1, 1, 0.5f});
  CHECK(tools::gridOf(*mask, 0, 1, 64, 64).at(1, 0) == 1); // another head, another mask
  CHECK(tools::gridOf(*mask, 0, 1, 64, 64).at(0, 0) == 0.5f);
  CHECK(tools::gridOf(*mask, 0, 0, 2, 2).visible == std::vector<float>{0.5f, 0, 1, 0.5f});
  CHECK(tools::gridOf(*mask, 0, 0, 4, 1).visible == std::vector<float>{0.125f, 0.375f, 0.625f, 0.875f});
}

TEST_CASE("large masks are sampled: full, empty and crossed patches stay apart") {
  const MaskGrid grid = gridOf("q_idx >= kv_idx", 4096, 4096, 16, 16);
  for (int row = 0; row < 16; ++row)
    for (int col = 0; col < 16; ++col) {
      if (row == col)
        CHECK((grid.at(row, col) > 0 && grid.at(row, col) < 1));
      else
        CHECK(grid.at(row, col) == (row > col ? 1.0f : 0.0f));
    }
}

TEST_CASE("masks of nothing draw an empty frame") {
  CHECK(drawTerminal(gridOf("q_idx >= kv_idx", 0, 4, 8, 8)) == "┌────┐\n└────┘\n");
  CHECK(drawTerminal(gridOf("q_idx >= kv_idx", 4, 0, 8, 8)) == "┌┐\n││\n││\n└┘\n");
}

TEST_CASE("PNG: signature, size, chunks that add up") {
  const std::string png = drawPng(gridOf("q_idx >= kv_idx", 300, 200, 100, 100), 3);
  REQUIRE(png.starts_with(std::string("\x89PNG\r\n\x1a\n", 8)));
  std::size_t at = 8;
  std::string types;
  while (at + 12 <= png.size()) {
    types += png.substr(at + 4, 4);
    if (png.compare(at + 4, 4, "IHDR") == 0) {
      CHECK(bigEndianAt(png, at + 8) == 300);
      CHECK(bigEndianAt(png, at + 12) == 300);
    }
    if (png.compare(at + 4, 4, "IEND") == 0)
      CHECK(bigEndianAt(png, at + 8) == 0xae426082u); // the CRC of every PNG's last chunk
    at += 12 + bigEndianAt(png, at);
  }
  CHECK(at == png.size());
  CHECK(types == "IHDRIDATIEND");
}

TEST_CASE("SVG: equal neighbours share a rectangle") {
  const std::string svg = drawSvg(gridOf("kv_idx < 2", 2, 4, 8, 8));
  CHECK(svg.find("<rect x=\"0\" y=\"0\" width=\"12\" height=\"6\"") != std::string::npos);
  CHECK(svg.find("<rect x=\"0\" y=\"6\" width=\"12\" height=\"6\"") != std::string::npos);
  CHECK(svg.ends_with("</svg>\n"));
}
