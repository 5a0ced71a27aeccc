#include "common/Npy.h"

#include "Support/Files.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace attnjit::tools {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
/// NumPy itself refuses longer headers by default.
constexpr std::size_t kMaxHeaderBytes = 64 << 10;

struct DescrRow {
  std::string_view descr;
  DType dtype;
};
// The first row of a dtype is the one that is written, the first of a description the one that is read. NumPy has no 8-bit floats: they are
// written as bytes, which everything can read and view; ml_dtypes calls its e5m2 f1 and its others, which cannot be told apart, V1.
constexpr DescrRow kDescrs[] = {{"f8", DType::F64},    {"f4", DType::F32},    {"f2", DType::F16},   {"V2", DType::BF16},
                                {"u2", DType::BF16},   {"b1", DType::Bool},   {"i1", DType::I8},    {"u1", DType::U8},
                                {"i2", DType::I16},    {"i4", DType::I32},    {"i8", DType::I64},   {"V1", DType::U8},
                                {"u1", DType::F8E4M3}, {"u1", DType::F8E5M2}, {"f1", DType::F8E5M2}};

/// Reads the header's Python dictionary: exactly the three keys, values of exactly the kinds that NumPy writes.
class HeaderParser {
public:
  HeaderParser(std::string_view text, std::string_view file) : text(text), file(file) {}

  std::string descr;
  bool fortranOrder = false;
  std::vector<std::int64_t> shape;

  Result<void> parse() {
    bool hasDescr = false, hasOrder = false, hasShape = false;
    if (!accept('{'))
      return bad("a '{'");
    while (!accept('}')) {
      std::string key;
      if (!string(key) || !accept(':'))
        return bad("a key and ':'");
      if (key == "descr" && !hasDescr)
        hasDescr = string(descr);
      else if (key == "fortran_order" && !hasOrder)
        hasOrder = boolean(fortranOrder);
      else if (key == "shape" && !hasShape)
        hasShape = tuple(shape);
      else
        return bad("one of 'descr', 'fortran_order', 'shape', each once");
      if ((key == "descr" && !hasDescr) || (key == "fortran_order" && !hasOrder) || (key == "shape" && !hasShape))
        return bad(
            fmt::format("a {} for '{}' (structured dtypes are not supported)", key == "shape" ? "tuple of sizes" : "plain value", key));
      if (!accept(',') && !peek('}'))
        return bad("',' or '}'");
    }
    skipSpace();
    if (at != text.size() || !hasDescr || !hasOrder || !hasShape)
      return bad("'descr', 'fortran_order' and 'shape' and nothing else");
    return {};
  }

private:
  Error bad(std::string_view expected) const {
    return {ErrorCode::InvalidArgument, fmt::format("{}: the .npy header is damaged at byte {}: expected {}", file, at, expected)};
  }
  void skipSpace() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t'))
      ++at;
  }
  bool peek(char c) {
    skipSpace();
    return at < text.size() && text[at] == c;
  }
  bool accept(char c) { return peek(c) && ++at; }
  bool string(std::string &value) {
    const char quote = peek('"') ? '"' : '\'';
    if (!accept(quote))
      return false;
    const std::size_t end = text.find(quote, at);
    if (end == std::string_view::npos)
      return false;
    value = text.substr(at, end - at);
    at = end + 1;
    return true;
  }
  bool boolean(bool &value) {
    skipSpace();
    value = text.substr(at).starts_with("True");
    if (!value && !text.substr(at).starts_with("False"))
      return false;
    at += value ? 4 : 5;
    return true;
  }
  bool tuple(std::vector<std::int64_t> &sizes) {
    if (!accept('('))
      return false;
    while (!accept(')')) {
      skipSpace();
      const std::size_t begin = at;
      at += at < text.size() && text[at] == '-';
      while (at < text.size() && text[at] >= '0' && text[at] <= '9')
        ++at;
      const Result<std::int64_t> size = parseInt(text.substr(begin, at - begin), "shape");
      if (!size || sizes.size() > 32)
        return false;
      sizes.push_back(*size);
      if (!accept(',') && !peek(')'))
        return false;
    }
    return true;
  }

  std::string_view text, file;
  std::size_t at = 0;
};

Result<DType> dtypeOf(std::string_view descr, std::string_view file) {
  const auto bad = [&](std::string cure) {
    return Error{ErrorCode::InvalidArgument, fmt::format("{}: dtype '{}' is not supported; {}", file, descr, cure)};
  };
  if (descr.starts_with('>'))
    return bad("save it little endian, e.g. x.astype(x.dtype.newbyteorder('<'))");
  const std::string_view core = descr.empty() ? descr : descr.substr(descr[0] == '<' || descr[0] == '|' || descr[0] == '=');
  for (const DescrRow &row : kDescrs)
    if (row.descr == core)
      return row.dtype;
  return bad("known are f2 f4 f8 b1 i1 u1 i2 i4 i8, V2 or u2 for bf16, and V1, u1 or f1 for 8-bit floats");
}

} // namespace

Result<Tensor> parseNpy(std::span<const std::byte> bytes, std::string_view file, Placement placement) {
  const std::string_view text(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  const auto bad = [&](std::string message) { return Error{ErrorCode::InvalidArgument, fmt::format("{}: {}", file, message)}; };
  if (!text.starts_with(kMagic) || text.size() < 10)
    return bad("is not a .npy file (save it with numpy.save)");
  const int major = static_cast<unsigned char>(text[6]);
  if (major < 1 || major > 3)
    return bad(fmt::format(".npy version {}.{} is not known; 1.0, 2.0 and 3.0 are", major, static_cast<unsigned char>(text[7])));
  const std::size_t lengthBytes = major == 1 ? 2 : 4;
  std::size_t headerBytes = 0;
  for (std::size_t i = 0; i < lengthBytes && 8 + i < text.size(); ++i)
    headerBytes |= static_cast<std::size_t>(static_cast<unsigned char>(text[8 + i])) << (8 * i);
  const std::size_t headerBegin = 8 + lengthBytes;
  if (headerBytes > kMaxHeaderBytes)
    return bad(fmt::format("a header of {} bytes is too long for a .npy file", headerBytes));
  if (text.size() < headerBegin || text.size() - headerBegin < headerBytes)
    return bad(fmt::format("is cut off: the header says {} bytes, the file has {}", headerBytes,
                           text.size() - std::min(text.size(), headerBegin)));

  HeaderParser header(text.substr(headerBegin, headerBytes), file);
  if (Result<void> parsed = header.parse(); !parsed)
    return parsed.error();
  const Result<DType> dtype = dtypeOf(header.descr, file);
  if (!dtype)
    return dtype.error();
  if (header.shape.size() > kMaxRank)
    return bad(fmt::format("has {} dimensions; at most {} are supported", header.shape.size(), kMaxRank));
  for (const std::int64_t size : header.shape)
    if (size < 0)
      return bad(fmt::format("has a size of {}; sizes start at 0", size));
  const std::optional<std::int64_t> dataBytes = checkedProduct(header.shape, static_cast<std::int64_t>(sizeInBytes(*dtype)));
  const std::size_t have = text.size() - headerBegin - headerBytes;
  if (!dataBytes || static_cast<std::size_t>(*dataBytes) != have)
    return bad(fmt::format("the header says ({}) of {}, which takes {} bytes, but {} follow", fmt::join(header.shape, ", "), name(*dtype),
                           dataBytes ? std::to_string(*dataBytes) : "more than 2^63", have));

  std::vector<std::int64_t> strides(header.shape.size());
  std::int64_t elements = 1;
  for (std::size_t i = 0; i < strides.size(); ++i) {
    const std::size_t dim = header.fortranOrder ? i : strides.size() - 1 - i;
    strides[dim] = elements;
    elements *= header.shape[dim];
  }
  Result<Tensor> tensor = Tensor::allocateStrided(*dtype, header.shape, std::move(strides), elements, 0, placement);
  if (!tensor)
    return bad(tensor.error().message);
  if (have)
    std::memcpy(tensor->memory().data(), text.data() + headerBegin + headerBytes, have);
  if (*dtype == DType::Bool) // a byte other than 0 and 1 would be two things at once
    for (std::byte &value : tensor->memory())
      value = std::byte{value != std::byte{0}};
  return tensor;
}

Result<Tensor> readNpy(const std::string &path, Placement placement) {
  const auto fail = [&](int problem) { return Error{ErrorCode::Io, fmt::format("cannot read {}: {}", path, std::strerror(problem))}; };
  const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file)
    return fail(errno);
  std::vector<std::byte> bytes;
  for (;;) {
    const std::size_t begin = bytes.size(), step = std::max<std::size_t>(1 << 16, begin);
    bytes.resize(begin + step);
    const std::size_t got = std::fread(bytes.data() + begin, 1, step, file.get());
    bytes.resize(begin + got);
    if (got == step)
      continue;
    if (std::ferror(file.get()))
      return fail(errno);
    return parseNpy(bytes, path, placement);
  }
}

Result<void> writeNpy(const std::string &path, const TensorRef &tensor) {
  std::string_view descr;
  for (const DescrRow &row : kDescrs)
    if (row.dtype == tensor.dtype && descr.empty())
      descr = row.descr;
  const std::size_t elementBytes = sizeInBytes(tensor.dtype);
  std::string shape;
  std::int64_t count = 1;
  for (int dim = 0; dim < tensor.rank; ++dim) {
    shape += fmt::format("{}{}", tensor.sizes[dim], tensor.rank == 1 ? "," : dim + 1 < tensor.rank ? ", " : "");
    count *= tensor.sizes[dim];
  }
  std::string header =
      fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}", elementBytes == 1 ? '|' : '<', descr, shape);
  header.append(63 - (kMagic.size() + 4 + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes(kMagic);
  bytes += {'\x01', '\x00', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  bytes += header;
  bytes.reserve(bytes.size() + static_cast<std::size_t>(count) * elementBytes);
  std::vector<std::int64_t> index(tensor.rank, 0);
  for (std::int64_t n = 0; n < count; ++n) {
    std::int64_t offset = 0;
    for (int dim = 0; dim < tensor.rank; ++dim)
      offset += index[dim] * tensor.strides[dim];
    bytes.append(static_cast<const char *>(tensor.data) + offset * static_cast<std::int64_t>(elementBytes), elementBytes);
    for (int dim = tensor.rank; dim-- > 0 && ++index[dim] == tensor.sizes[dim];)
      index[dim] = 0;
  }

  return writeWholeFile(path, std::as_bytes(std::span(bytes)));
}

} // namespace attnjit::tools
