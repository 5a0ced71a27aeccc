// The front doors of lib/Attention as a program, for attention_parity.py:
//
//   attention-driver sdpa FOLDER OUT_SIZES [--causal] [--gqa] [--scale X] [--upper] [--lower]     reads q, k, v and perhaps mask .npy,
//   writes out.npy attention-driver paged FOLDER PAGES PAGE_SIZE BATCHES                              reads ops.txt, writes table.npy and
//   inverse.npy
#include "attnjit/attnjit.h"
#include "common/Npy.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

using namespace attnjit;

namespace {

int fail(const Error &error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

std::vector<std::int64_t> parseSizes(const std::string &text) {
  std::vector<std::int64_t> sizes;
  std::istringstream in(text);
  for (std::string one; std::getline(in, one, ',');)
    sizes.push_back(std::stoll(one));
  return sizes;
}

int runSdpa(const std::string &folder, int argc, char **argv) {
  Result<tools::Tensor> q = tools::readNpy(folder + "/q.npy"), k = tools::readNpy(folder + "/k.npy"), v = tools::readNpy(folder + "/v.npy");
  for (const Result<tools::Tensor> *tensor : {&q, &k, &v})
    if (!*tensor)
      return fail(tensor->error());
  Result<tools::Tensor> out = tools::Tensor::allocate(q->dtype(), parseSizes(argv[3]));
  if (!out)
    return fail(out.error());
  SdpaCall call{.query = q->ref(), .key = k->ref(), .value = v->ref(), .out = out->ref()};
  std::optional<tools::Tensor> mask;
  if (std::filesystem::exists(folder + "/mask.npy")) {
    Result<tools::Tensor> read = tools::readNpy(folder + "/mask.npy");
    if (!read)
      return fail(read.error());
    mask = *read;
    call.attnMask = mask->ref();
  }
  for (int i = 4; i < argc; ++i) {
    const std::string flag = argv[i];
    const std::int64_t L = call.query.sizes[call.query.rank - 2], S = call.key.sizes[call.key.rank - 2];
    if (flag == "--causal")
      call.isCausal = true;
    else if (flag == "--gqa")
      call.enableGqa = true;
    else if (flag == "--scale" && i + 1 < argc)
      call.scale = std::atof(argv[++i]);
    else if (flag == "--upper")
      call.attnMask = causalUpperLeft(L, S);
    else if (flag == "--lower")
      call.attnMask = causalLowerRight(L, S);
    else
      return fail({ErrorCode::InvalidArgument, "unknown flag " + flag});
  }
  EngineOptions options;
  options.cacheDirectory = "";
  Result<Engine> engine = Engine::create(options);
  if (!engine)
    return fail(engine.error());
  if (Result<ForwardReport> report = scaledDotProductAttention(*engine, call); !report)
    return fail(report.error());
  if (Result<void> written = tools::writeNpy(folder + "/out.npy", out->ref()); !written)
    return fail(written.error());
  return 0;
}

/// Each line of ops.txt is "reserve SEQUENCE TOKENS" or "erase SEQUENCE". Refused ones change nothing, as in PyTorch.
int runPaged(const std::string &folder, char **argv) {
  Result<PagedAttention> books = PagedAttention::create(std::atoll(argv[3]), std::atoll(argv[4]), std::atoll(argv[5]));
  if (!books)
    return fail(books.error());
  std::ifstream ops(folder + "/ops.txt");
  std::string what;
  for (std::int64_t sequence, tokens; ops >> what >> sequence;) {
    if (what == "reserve" && ops >> tokens)
      (void)books->reserve(sequence, tokens);
    else
      (void)books->erase(sequence);
  }
  for (auto [name, table] : {std::pair{"/table.npy", books->pageTable()}, {"/inverse.npy", books->physicalToLogical()}})
    if (Result<void> written = tools::writeNpy(folder + name, table); !written)
      return fail(written.error());
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "sdpa" && argc >= 4)
    return runSdpa(argv[2], argc, argv);
  if (what == "paged" && argc == 6)
    return runPaged(argv[2], argv);
  std::fprintf(stderr, "usage: attention-driver sdpa|paged ...\n");
  return 1;
}
