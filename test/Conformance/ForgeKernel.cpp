// forge-kernel IN OUT FROM TO: a saved kernel that says of itself TO instead of FROM, with a checksum that fits. It computes one formula
// and claims another: what --check has to notice.
#include "Support/Files.h"
#include "Support/KernelImage.h"

#include <cstdio>

using namespace attnjit;

int main(int argc, char **argv) {
  if (argc != 5)
    return 2;
  const auto fail = [](const char *message) {
    std::fprintf(stderr, "%s\n", message);
    return 1;
  };
  const Result<std::vector<std::byte>> bytes = readFile(argv[1], std::size_t{1} << 26);
  Result<KernelImage> image = bytes ? deserialize(*bytes) : Result<KernelImage>(bytes.error());
  if (!image)
    return fail(image.error().message.c_str());
  std::string &text = image->meta.problemText;
  const std::string_view from = argv[3];
  const std::size_t at = text.find(from);
  if (at == std::string::npos)
    return fail(text.c_str());
  text.replace(at, from.size(), argv[4]);
  const Result<void> written = writeWholeFile(argv[2], serialize(*image));
  return written ? 0 : fail(written.error().message.c_str());
}
