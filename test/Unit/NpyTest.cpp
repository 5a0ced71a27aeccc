// .npy files as NumPy writes them, and every way in which one can lie.
#include "common/Npy.h"

#include "Reference/Elements.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

using namespace attnjit;
using namespace attnjit::tools;

namespace {

std::string file(std::string header, std::string data, int major = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += {static_cast<char>(major), '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  if (major > 1)
    bytes += std::string(2, '\0');
  return bytes + header + data;
}

Result<Tensor> parse(const std::string &bytes) { return parseNpy(std::as_bytes(std::span(bytes)), "x.npy"); }

std::string errorOf(const std::string &bytes) {
  const Result<Tensor> result = parse(bytes);
  return result ? "" : result.error().message;
}

} // namespace

TEST_CASE("C and Fortran order, three versions") {
  const float values[] = {1, 2, 3, 4, 5, 6};
  const std::string data(reinterpret_cast<const char *>(values), sizeof values);
  for (int major : {1, 2, 3}) {
    const Result<Tensor> c = parse(file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", data, major));
    REQUIRE(c);
    const TensorRef ref = c->ref();
    CHECK(ref.rank == 2);
    CHECK(ref.sizes[0] == 2);
    CHECK(ref.strides[0] == 3);
    CHECK(reference::loadFloat(ref.data, ref.dtype, ref.strides[0]) == 4);
    const Result<Tensor> fortran = parse(file("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", data, major));
    REQUIRE(fortran);
    CHECK(fortran->ref().strides[0] == 1);
    CHECK(fortran->ref().strides[1] == 2);
  }
}

TEST_CASE("numbers, empty tensors, bools, bf16") {
  CHECK(parse(file("{'descr': '<i8', 'fortran_order': False, 'shape': ()}", std::string(8, '\1')))->ref().rank == 0);
  CHECK(parse(file("{'descr': '<i8', 'fortran_order': False, 'shape': (0, 5)}", ""))->elementCount() == 0);
  const Result<Tensor> flags = parse(file("{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", std::string("\0\x01\x07", 3)));
  REQUIRE(flags);
  CHECK(flags->memory()[2] == std::byte{1});
  CHECK(parse(file("{'descr': '<V2', 'fortran_order': False, 'shape': (1,)}", "ab"))->dtype() == DType::BF16);
  CHECK(parse(file("{'descr': '<u2', 'fortran_order': False, 'shape': (1,)}", "ab"))->dtype() == DType::BF16);
}

TEST_CASE("what is no file, is cut off or lies is refused with what is wrong") {
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  const auto contains = [](const std::string &message, const char *words) { return message.find(words) != std::string::npos; };
  CHECK(contains(errorOf(""), "not a .npy"));
  CHECK(contains(errorOf("hello world, this is text"), "not a .npy"));
  CHECK(contains(errorOf(file(good, std::string(23, 'x'))), "but 23 follow"));
  CHECK(contains(errorOf(file(good, std::string(25, 'x'))), "takes 24 bytes"));
  CHECK(contains(errorOf(file(good, "").substr(0, 40)), "cut off"));
  CHECK(contains(errorOf(file(good, "", 9)), "version 9.0"));
  CHECK(contains(errorOf(file("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "")), "more than 2^63"));
  CHECK(contains(errorOf(file("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904, 4)}", "")), "more than 2^63"));
  CHECK(contains(errorOf(file("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3)}", "")), "has a size of -2; sizes start at 0"));
  CHECK(contains(errorOf(file("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "")), "damaged"));
  CHECK(contains(errorOf(file("{'descr': '>f4', 'fortran_order': False, 'shape': ()}", "abcd")), "little endian"));
  CHECK(contains(errorOf(file("{'descr': '<c8', 'fortran_order': False, 'shape': ()}", "abcdefgh")), "known are"));
  CHECK(contains(errorOf(file("{'descr': '|O', 'fortran_order': False, 'shape': ()}", "abcdefgh")), "known are"));
  CHECK(contains(errorOf(file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", "")), "structured"));
  CHECK(contains(errorOf(file("{'descr': '<f4', 'shape': ()}", "")), "nothing else"));
  CHECK(contains(errorOf(file("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", "")), "each once"));
  CHECK(contains(errorOf(file(good.substr(0, 20), "")), "damaged"));
  CHECK(contains(errorOf(file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1)}", "abcd")), "7 dimensions"));
  std::string huge = file(good, "", 2);
  huge[11] = '\x7f';
  CHECK(contains(errorOf(huge), "too long"));
  CHECK(readNpy("/nonexistent/x.npy").error().code == ErrorCode::Io);
  CHECK(readNpy("/").error().code == ErrorCode::Io);
}

TEST_CASE("write and read back, strides included") {
  const std::string path = (std::filesystem::temp_directory_path() / ("attnjit-npy-test-" + std::to_string(getpid()) + ".npy")).string();
  for (const DType dtype :
       {DType::F64, DType::F32, DType::BF16, DType::F16, DType::Bool, DType::I8, DType::U8, DType::I16, DType::I32, DType::I64})
    for (const Layout layout : {Layout::Bhmd, Layout::Bmhd, Layout::Bhdm, Layout::Padded, Layout::Strided, Layout::Reversed}) {
      const Result<Tensor> written = Tensor::allocate(dtype, {2, 3, 4, 5}, Placement::GuardHigh, layout);
      REQUIRE(written);
      fillRandom(*written, 11);
      REQUIRE(writeNpy(path, written->ref()));
      const Result<Tensor> read = readNpy(path, Placement::GuardLow);
      REQUIRE_MESSAGE(read, (read ? "" : read.error().message));
      CHECK(read->dtype() == dtype);
      const TensorRef ref = written->ref();
      std::size_t at = 0;
      bool equal = true;
      written->forEachOffset([&](std::int64_t offset) {
        const std::size_t size = sizeInBytes(dtype);
        equal &= std::memcmp(static_cast<const char *>(ref.data) + offset * static_cast<std::int64_t>(size),
                             read->memory().data() + size * at++, size) == 0;
      });
      CHECK(equal);
    }
  std::filesystem::remove(path);
  CHECK(writeNpy("/nonexistent/x.npy", TensorRef::dense(nullptr, DType::F32, {0})).error().code == ErrorCode::Io);
}

TEST_CASE("writing goes through links, into what is no file, and past neighbours") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("attnjit-npy-places-" + std::to_string(getpid()));
  fs::create_directories(folder / "real");
  const auto write = [&](const char *name, float value) {
    return writeNpy((folder / name).string(), TensorRef::dense(&value, DType::F32, {1}));
  };
  const auto read = [&](const char *name) {
    const Result<Tensor> tensor = readNpy((folder / name).string());
    return tensor ? reference::loadFloat(tensor->ref().data, DType::F32, 0) : -1;
  };

  // A link stays one, also when nothing is behind it yet, and over several steps.
  fs::create_symlink("real/x.npy", folder / "link");
  fs::create_symlink(folder / "link", folder / "link2");
  for (const char *link : {"link", "link2", "link"}) {
    REQUIRE(write(link, 3));
    CHECK(fs::is_symlink(folder / link));
    CHECK(read("real/x.npy") == 3);
  }
  fs::create_symlink("circle", folder / "circle");
  CHECK_FALSE(write("circle", 3));
  CHECK(fs::is_symlink(folder / "circle"));
  // Permissions stay as they were.
  fs::permissions(folder / "real/x.npy", fs::perms::owner_read | fs::perms::owner_write);
  REQUIRE(write("link", 4));
  CHECK(fs::status(folder / "real/x.npy").permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(read("real/x.npy") == 4);

  // A FIFO stays one, and its reader gets the bytes.
  REQUIRE(mkfifo((folder / "fifo").c_str(), 0600) == 0);
  const int reader = open((folder / "fifo").c_str(), O_RDONLY | O_NONBLOCK);
  REQUIRE(write("fifo", 5));
  std::byte bytes[4096];
  const ssize_t got = ::read(reader, bytes, sizeof bytes);
  close(reader);
  REQUIRE(got > 0);
  CHECK(parseNpy({bytes, static_cast<std::size_t>(got)}, "fifo"));
  REQUIRE(fs::is_fifo(folder / "fifo")); // or the device below would be lost

  // Nothing beside the file is touched or left behind.
  std::ofstream(folder / "real/x.npy.partial") << "mine";
  REQUIRE(write("real/x.npy", 6));
  CHECK(fs::file_size(folder / "real/x.npy.partial") == 4);
  CHECK_FALSE(write("real", 7));
  CHECK_FALSE(write("nowhere/x.npy", 7));
  CHECK(std::distance(fs::directory_iterator(folder), {}) == 5);
  CHECK(std::distance(fs::directory_iterator(folder / "real"), {}) == 2);

  // A device says what it cannot take, and stays one.
  if (fs::is_character_file("/dev/full")) {
    const Result<void> full = writeNpy("/dev/full", TensorRef::dense(bytes, DType::I8, {4096}));
    REQUIRE_FALSE(full);
    CHECK(full.error().message == "cannot write /dev/full: No space left on device");
    CHECK(fs::is_character_file("/dev/full"));
  }
  fs::remove_all(folder);
}

TEST_CASE("8-bit floats are written as bytes, and bytes of any name are read") {
  const std::string path = (std::filesystem::temp_directory_path() / ("attnjit-npy-f8-" + std::to_string(getpid()) + ".npy")).string();
  std::uint8_t bytes[3] = {0x38, 0x7f, 0x80};
  REQUIRE(writeNpy(path, TensorRef::dense(bytes, DType::F8E4M3, {3})));
  const Result<Tensor> read = readNpy(path, Placement::Heap);
  REQUIRE(read);
  CHECK(read->dtype() == DType::U8);
  CHECK(std::memcmp(read->memory().data(), bytes, 3) == 0);
  CHECK(read->viewedAs(DType::F8E4M3).ref().dtype == DType::F8E4M3);
  std::filesystem::remove(path);
  CHECK(parse(file("{'descr': '|V1', 'fortran_order': False, 'shape': (1,)}", "8"))->dtype() == DType::U8);
  CHECK(parse(file("{'descr': '<f1', 'fortran_order': False, 'shape': (1,)}", "8"))->dtype() == DType::F8E5M2);
}

TEST_CASE("sizes and numbers of command lines") {
  CHECK(*parseSizes("16x4") == std::vector<std::int64_t>{16, 4});
  CHECK(parseSizes("")->empty());
  CHECK_FALSE(parseSizes("16x"));
  CHECK_FALSE(parseSizes("16x-4"));
  CHECK_FALSE(parseSizes("axb"));
  CHECK_FALSE(parseInt("99999999999999999999", "n"));
  CHECK(*parseNumber("-inf", "x") < 0);
  CHECK_FALSE(parseNumber("1.5x", "x"));
  CHECK_FALSE(Tensor::allocate(DType::F32, {1LL << 40, 1LL << 40}));
  CHECK_FALSE(Tensor::allocate(DType::F32, {-1}));
  CHECK_FALSE(Tensor::allocate(DType::F32, {1LL << 42}));
}
