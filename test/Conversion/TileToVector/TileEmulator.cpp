// AMX in software, one thread: enough of Intel's description (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2) for
// what FlashTiles.cpp emits. Calls go to absolute addresses, because images have no symbols.
#include "JitHarness.h"

#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/IR/Module.h"

#include <bit>
#include <cstdlib>
#include <cstring>

namespace attnjit::testing {
namespace {

constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;

struct Tiles {
  bool configured = false;
  std::uint8_t bytes[kTiles][kRows][kRowBytes];
} tiles;

/// Whole tiles are all that the kernels use; whatever else is configured ends the test.
void loadConfig(const std::uint8_t *config) {
  bool isWhole = config[0] == 1 && config[1] == 0;
  for (int tile = 0; tile < kTiles; ++tile)
    isWhole &= config[16 + 2 * tile] == kRowBytes && config[17 + 2 * tile] == 0 && config[48 + tile] == kRows;
  if (!isWhole)
    std::abort();
  tiles.configured = true;
  std::memset(tiles.bytes, 0, sizeof tiles.bytes);
}

void release() { tiles.configured = false; }

std::uint8_t (&tileAt(std::uint8_t tile)) [kRows][kRowBytes] {
  if (!tiles.configured || tile >= kTiles)
    std::abort();
  return tiles.bytes[tile];
}

void zero(std::uint8_t tile) {
  std::memset(tileAt(tile), 0, kRows * kRowBytes);
}

void load(std::uint8_t tile, const char *from, std::int64_t stride) {
  for (int row = 0; row < kRows; ++row)
    std::memcpy(tileAt(tile)[row], from + row * stride, kRowBytes);
}

void store(std::uint8_t tile, char *to, std::int64_t stride) {
  for (int row = 0; row < kRows; ++row)
    std::memcpy(to + row * stride, tileAt(tile)[row], kRowBytes);
}

float bf16At(const std::uint8_t *row, int element) {
  std::uint16_t bits;
  std::memcpy(&bits, row + 2 * element, sizeof bits);
  return std::bit_cast<float>(std::uint32_t(bits) << 16);
}

void dotBf16(std::uint8_t sums, std::uint8_t rows, std::uint8_t columns) {
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kRows; ++n) {
      float sum;
      std::memcpy(&sum, tileAt(sums)[m] + 4 * n, sizeof sum);
      for (int k = 0; k < kRows; ++k)
        for (int half : {0, 1})
          sum += bf16At(tileAt(rows)[m], 2 * k + half) * bf16At(tileAt(columns)[k], 2 * n + half);
      std::memcpy(tileAt(sums)[m] + 4 * n, &sum, sizeof sum);
    }
}

const void *emulationOf(llvm::StringRef intrinsic) {
  struct Entry {
    llvm::StringRef name;
    const void *function;
  };
  static const Entry entries[] = {
      {"llvm.x86.ldtilecfg", reinterpret_cast<const void *>(loadConfig)}, {"llvm.x86.tilerelease", reinterpret_cast<const void *>(release)},
      {"llvm.x86.tilezero", reinterpret_cast<const void *>(zero)},        {"llvm.x86.tileloadd64", reinterpret_cast<const void *>(load)},
      {"llvm.x86.tilestored64", reinterpret_cast<const void *>(store)},   {"llvm.x86.tdpbf16ps", reinterpret_cast<const void *>(dotBf16)}};
  for (const Entry &entry : entries)
    if (entry.name == intrinsic)
      return entry.function;
  return nullptr;
}

} // namespace

void emulateTiles(llvm::Module &module) {
  llvm::SmallVector<llvm::CallInst *> calls;
  for (llvm::Function &function : module)
    for (llvm::BasicBlock &block : function)
      for (llvm::Instruction &instruction : block)
        if (auto *call = llvm::dyn_cast<llvm::CallInst>(&instruction);
            call && call->getCalledFunction() && emulationOf(call->getCalledFunction()->getName()))
          calls.push_back(call);
  for (llvm::CallInst *call : calls) {
    llvm::IRBuilder<> builder(call);
    auto address = reinterpret_cast<std::uint64_t>(emulationOf(call->getCalledFunction()->getName()));
    llvm::Value *callee = llvm::ConstantExpr::getIntToPtr(builder.getInt64(address), builder.getPtrTy());
    llvm::SmallVector<llvm::Value *> arguments(call->args());
    llvm::CallInst *replacement = builder.CreateCall(call->getFunctionType(), callee, arguments);
    for (auto [index, argument] : llvm::enumerate(arguments))
      if (argument->getType()->isIntegerTy(8)) // as compilers for x86-64 expect small arguments
        replacement->addParamAttr(index, llvm::Attribute::ZExt);
    call->eraseFromParent();
  }
}

} // namespace attnjit::testing
