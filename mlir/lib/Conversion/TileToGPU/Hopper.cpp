#include "Hopper.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace attnjit::tile {

/// Inline PTX with side effects, in the order of other such.
static Value emitPtx(const Emitter &emit, Type result, StringRef text, StringRef constraints, ValueRange operands) {
  auto op = emit.make<LLVM::InlineAsmOp>(result ? TypeRange(result) : TypeRange(), operands, emit.builder.getStringAttr(text),
                                         emit.builder.getStringAttr(constraints), emit.builder.getUnitAttr(), UnitAttr(),
                                         LLVM::TailCallKindAttr::get(emit.builder.getContext(), LLVM::TailCallKind::None),
                                         LLVM::AsmDialectAttr(), ArrayAttr());
  return result ? op.getRes() : Value();
}

static void emitPtx(const Emitter &emit, StringRef text, StringRef constraints, ValueRange operands) {
  emitPtx(emit, Type(), text, constraints, operands);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Barriers and copies
//===------------------------------------------------------------------------------------------------------------------===//

Value emitSharedAddress(const Emitter &emit, Value pointer) { return emit.make<LLVM::PtrToIntOp>(emit.i32(), pointer); }

Value emitSharedPointer(const Emitter &emit, Value address) {
  Type pointer = LLVM::LLVMPointerType::get(emit.builder.getContext(), unsigned(NVVM::NVVMMemorySpace::Shared));
  return emit.make<LLVM::IntToPtrOp>(pointer, address);
}

Value emitSwizzledAddress(const Emitter &emit, const SwizzledTile &tile, Value tileAddress, Value row, Value columnBytes) {
  auto bits = [&](Value a, int64_t mask) { return emit.bitAnd(a, emit.constInt(emit.i32(), mask)); };
  Value box = emit.shrU(columnBytes, llvm::Log2_64(SwizzledTile::kBoxRowBytes)), inRow = bits(columnBytes, SwizzledTile::kBoxRowBytes - 1);
  Value permuted = emit.bitXor(inRow, emit.shl(bits(row, 7), 4)); // the 16-byte unit by the row's number
  return emit.add(emit.add(emit.add(tileAddress, emit.mul(box, tile.boxBytes())), emit.mul(row, SwizzledTile::kBoxRowBytes)), permuted);
}

void emitBarrierInit(const Emitter &emit, Value barrier, int64_t arrivals) {
  emitPtx(emit, "mbarrier.init.shared::cta.b64 [$0], $1;", "r,r,~{memory}", {barrier, emit.constInt(emit.i32(), arrivals)});
}
void emitBarrierInitFence(const Emitter &emit) { emitPtx(emit, "fence.mbarrier_init.release.cluster;", "~{memory}", {}); }

void emitBarrierWait(const Emitter &emit, Value barrier, Value parity) {
  emitPtx(emit,
          "{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [$0], $1;\n@done bra OVER;\nbra AGAIN;\nOVER:\n}",
          "r,r,~{memory}", {barrier, parity});
}
void emitBarrierArrive(const Emitter &emit, Value barrier) {
  emitPtx(emit, "mbarrier.arrive.shared::cta.b64 _, [$0];", "r,~{memory}", {barrier});
}
void emitBarrierArriveWithCopies(const Emitter &emit, Value barrier) {
  emitPtx(emit, "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [$0];", "r,~{memory}", {barrier});
}
void emitBarrierExpect(const Emitter &emit, Value barrier, int64_t bytes) {
  emitPtx(emit, "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r,~{memory}", {barrier, emit.constInt(emit.i32(), bytes)});
}

void emitNamedSync(const Emitter &emit, Value number, int64_t threads) {
  emitPtx(emit, "bar.sync $0, $1;", "r,r,~{memory}", {number, emit.constInt(emit.i32(), threads)});
}
void emitNamedArrive(const Emitter &emit, Value number, int64_t threads) {
  emitPtx(emit, "bar.arrive $0, $1;", "r,r,~{memory}", {number, emit.constInt(emit.i32(), threads)});
}

void emitProxyFence(const Emitter &emit) { emitPtx(emit, "fence.proxy.async.shared::cta;", "~{memory}", {}); }

void emitTensorCopy(const Emitter &emit, Value to, Value barrier, const SwizzledTile &tile, Value map, Value row, Value head, Value b) {
  for (int64_t box = 0; box < tile.boxes(); ++box)
    emitPtx(emit, "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [$0], [$1, {$2, $3, $4, $5}], [$6];",
            "r,l,r,r,r,r,r,~{memory}",
            {emit.add(to, box * tile.boxBytes()), map, emit.constInt(emit.i32(), box * SwizzledTile::kBoxColumns), row, head, b, barrier});
}

void emitSetRegisters(const Emitter &emit, int64_t count, bool more) {
  emit.make<NVVM::SetMaxRegisterOp>(
      emit.builder.getI32IntegerAttr(int32_t(count)),
      NVVM::SetMaxRegisterActionAttr::get(emit.builder.getContext(),
                                          more ? NVVM::SetMaxRegisterAction::increase : NVVM::SetMaxRegisterAction::decrease));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Warpgroup products
//===------------------------------------------------------------------------------------------------------------------===//

namespace {

/// A matrix descriptor (64 bits) says where a factor lies. The low word has the address, in units of 16 bytes, and the distance of boxes
/// where columns are the reduced dimension; the high word the distance of groups of 8 rows, 1024 bytes, and the 128-byte swizzle.
constexpr int64_t kUnitBytes = 16, kBoxDistanceShift = 16;
constexpr uint32_t kDescriptorHigh = (1024 / kUnitBytes) | (1u << 30);
/// One instruction reduces 16 elements: 32 bytes of a row, or 16 rows.
constexpr int64_t kStep = 16, kStepRowBytes = kStep * 2, kStepRowsBytes = kStep * SwizzledTile::kBoxRowBytes;

Value descriptorLow(const Emitter &emit, Value address) { return emit.shrU(address, 4); }

/// Where a step begins in a tile whose rows are contiguous along the reduced dimension.
int64_t stepUnits(const SwizzledTile &tile, int64_t step) {
  constexpr int64_t stepsPerBox = SwizzledTile::kBoxColumns / kStep;
  return (step / stepsPerBox * tile.boxBytes() + step % stepsPerBox * kStepRowBytes) / kUnitBytes;
}

/// The text of one group of wgmma: fence, all steps, commit. As one piece of PTX the accumulators stay where they are; descriptors are
/// advanced inside by constants.
class GroupText {
public:
  GroupText(Type type, int64_t columns, int64_t accumulators) {
    StringRef name = type.isBF16() ? "bf16" : "f16";
    instruction = llvm::formatv("wgmma.mma_async.sync.aligned.m64n{0}k16.f32.{1}.{1} {2}", columns, name, registers(0, accumulators)).str();
    text = "{\n.reg .pred first, next;\n.reg .b32 low, high, zero;\n.reg .b64 a, b;\nmov.b32 zero, 0;\nsetp.ne.b32 first, zero, 0;\n"
           "setp.eq.b32 next, zero, 0;\n" +
           llvm::formatv("mov.b32 high, {0};\n", kDescriptorHigh).str() + "wgmma.fence.sync.aligned;\n";
  }
  static std::string registers(int64_t first, int64_t count) {
    std::string list;
    for (int64_t i = 0; i < count; ++i)
      list += llvm::formatv("{0}${1}", i ? ", " : "", first + i);
    return "{" + list + "}";
  }
  void descriptor(StringRef name, int64_t operand, int64_t units) {
    text += llvm::formatv("add.u32 low, ${0}, {1};\nmov.b64 {2}, {{low, high};\n", operand, units, name).str();
  }
  void multiply(const Twine &operands) { text += instruction + ", " + operands.str() + ";\n"; }
  std::string finish() { return text + "wgmma.commit_group.sync.aligned;\n}"; }

private:
  std::string instruction, text;
};

std::string repeat(StringRef constraint, int64_t count) {
  std::string list;
  for (int64_t i = 0; i < count; ++i)
    list += (i ? "," : "") + constraint.str();
  return list;
}

/// Ties inputs to the outputs 0 .. count - 1.
std::string ties(int64_t count) {
  std::string list;
  for (int64_t i = 0; i < count; ++i)
    list += "," + std::to_string(i);
  return list;
}

Type structOf(const Emitter &emit, int64_t floats) {
  return LLVM::LLVMStructType::getLiteral(emit.builder.getContext(), SmallVector<Type>(floats, emit.f32()));
}

Value element(const Emitter &emit, Value structure, int64_t index) {
  return emit.make<LLVM::ExtractValueOp>(structure, ArrayRef<int64_t>{index});
}

Fragments unpack(const Emitter &emit, Value structure, int64_t first, int64_t count) {
  Fragments fragments(count / 4);
  for (int64_t i = 0; i < count; ++i)
    fragments[i / 4][i % 4] = element(emit, structure, first + i);
  return fragments;
}

void append(SmallVectorImpl<Value> &values, ArrayRef<Fragment4> fragments) {
  for (const Fragment4 &fragment : fragments)
    values.append(fragment.begin(), fragment.end());
}

} // namespace

Fragments emitWarpgroupProduct(const Emitter &emit, Type type, const SwizzledTile &a, Value aAddress, const SwizzledTile &b,
                               Value bAddress) {
  int64_t accumulators = b.rows / 2;
  GroupText group(type, b.rows, accumulators);
  for (int64_t step = 0; step < a.cols / kStep; ++step) {
    group.descriptor("a", accumulators, stepUnits(a, step));
    group.descriptor("b", accumulators + 1, stepUnits(b, step));
    group.multiply(Twine("a, b, ") + (step == 0 ? "first" : "next") + ", 1, 1, 0, 0");
  }
  Value result = emitPtx(emit, structOf(emit, accumulators), group.finish(), repeat("=&f", accumulators) + ",r,r,~{memory}",
                         {descriptorLow(emit, aAddress), descriptorLow(emit, bAddress)});
  return unpack(emit, result, 0, accumulators);
}

Fragments emitWarpgroupSum(const Emitter &emit, Type type, const Fragments &sum, ArrayRef<Fragment4> a, const SwizzledTile &b,
                           Value bAddress) {
  int64_t accumulators = int64_t(sum.size()) * 4, factors = int64_t(a.size()) * 4;
  GroupText group(type, b.cols, accumulators);
  for (int64_t step = 0; step < int64_t(a.size()); ++step) {
    group.descriptor("b", accumulators + factors, step * kStepRowsBytes / kUnitBytes);
    group.multiply(GroupText::registers(accumulators + 4 * step, 4) + ", b, next, 1, 1, 1");
  }
  SmallVector<Value> operands;
  append(operands, a);
  operands.push_back(emit.bitOr(descriptorLow(emit, bAddress), emit.constInt(emit.i32(), b.boxBytes() / kUnitBytes << kBoxDistanceShift)));
  append(operands, sum);
  std::string constraints = repeat("=&f", accumulators) + "," + repeat("r", factors + 1) + ties(accumulators) + ",~{memory}";
  return unpack(emit, emitPtx(emit, structOf(emit, accumulators), group.finish(), constraints, operands), 0, accumulators);
}

void emitWarpgroupNothing(const Emitter &emit) {
  emitPtx(emit, "wgmma.fence.sync.aligned;\nwgmma.commit_group.sync.aligned;", "~{memory}", {});
}

void emitWarpgroupWait(const Emitter &emit, int64_t inFlight, ArrayRef<Fragments *> results) {
  SmallVector<Value> operands;
  for (Fragments *fragments : results)
    append(operands, *fragments);
  int64_t count = operands.size();
  Value result = emitPtx(emit, structOf(emit, count), llvm::formatv("wgmma.wait_group.sync.aligned {0};", inFlight).str(),
                         repeat("=f", count) + ties(count) + ",~{memory}", operands);
  int64_t first = 0;
  for (Fragments *fragments : results) {
    int64_t size = int64_t(fragments->size()) * 4;
    *fragments = unpack(emit, result, first, size);
    first += size;
  }
}

} // namespace attnjit::tile
