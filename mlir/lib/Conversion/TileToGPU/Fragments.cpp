#include "Fragments.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

ThreadPosition ThreadPosition::emit(const Emitter &emit) {
  ThreadPosition position;
  position.thread = emit.make<NVVM::ThreadIdXOp>(emit.i32());
  position.warp = emit.shrU(position.thread, 5);
  position.lane = emit.bitAnd(position.thread, emit.constInt(emit.i32(), 31));
  position.group = emit.shrU(position.lane, 2);
  position.pair = emit.shl(emit.bitAnd(position.lane, emit.constInt(emit.i32(), 3)), 1);
  return position;
}

Value emitByteOffset(const Emitter &emit, Value base, Value bytes) {
  return emit.make<LLVM::GEPOp>(base.getType(), emit.i8(), base, ArrayRef<LLVM::GEPArg>{bytes});
}

Value emitByteOffset(const Emitter &emit, Value base, int64_t bytes) {
  if (bytes == 0)
    return base;
  return emit.make<LLVM::GEPOp>(base.getType(), emit.i8(), base, ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}

static Fragment4 unpack(const Emitter &emit, Value structure) {
  Fragment4 parts;
  for (int64_t i = 0; i < 4; ++i)
    parts[i] = emit.make<LLVM::ExtractValueOp>(structure, ArrayRef<int64_t>{i});
  return parts;
}

static Type structOfFour(const Emitter &emit, Type element) {
  return LLVM::LLVMStructType::getLiteral(emit.builder.getContext(), SmallVector<Type>(4, element));
}

Fragment4 emitLoadMatrices(const Emitter &emit, Value address, bool transposed) {
  MLIRContext *context = emit.builder.getContext();
  return unpack(emit, emit.make<NVVM::LdMatrixOp>(structOfFour(emit, emit.i32()), address, /*num=*/4,
                                                  transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row,
                                                  NVVM::LdStMatrixShapeAttr::get(context, 8, 8), NVVM::LdStMatrixEltType::B16));
}

Fragment4 emitMma(const Emitter &emit, Type type, const Fragment4 &a, Value b0, Value b1, const Fragment4 &c) {
  bool isHalf = type.isF16();
  // The op wants f16 factors as pairs of halves and bf16 factors as words.
  auto factor = [&](Value word) -> Value { return isHalf ? Value(emit.make<LLVM::BitcastOp>(emit.vec(2, type), word)) : word; };
  SmallVector<Value> left = llvm::map_to_vector(a, factor), right = {factor(b0), factor(b1)};
  NVVM::MMATypes kind = isHalf ? NVVM::MMATypes::f16 : NVVM::MMATypes::bf16;
  return unpack(emit, emit.make<NVVM::MmaOp>(structOfFour(emit, emit.f32()), left, right, ValueRange(c), ArrayRef<int64_t>{16, 8, 16},
                                             std::nullopt, std::nullopt, std::array<NVVM::MMATypes, 2>{kind, kind},
                                             std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row, NVVM::MMALayout::col}));
}

Value emitPack(const Emitter &emit, Type type, Value low, Value high) {
  Value pair = emit.make<LLVM::PoisonOp>(emit.vec(2, emit.f32()));
  pair = emit.make<LLVM::InsertElementOp>(pair, low, emit.constInt(emit.i32(), 0));
  pair = emit.make<LLVM::InsertElementOp>(pair, high, emit.constInt(emit.i32(), 1));
  return emit.make<LLVM::BitcastOp>(emit.i32(), emit.make<arith::TruncFOp>(emit.vec(2, type), pair));
}

Fragment4 emitLeftFactor(const Emitter &emit, Type type, const Fragment4 &left, const Fragment4 &right) {
  return {emitPack(emit, type, left[0], left[1]), emitPack(emit, type, left[2], left[3]), emitPack(emit, type, right[0], right[1]),
          emitPack(emit, type, right[2], right[3])};
}

/// The value of the lane whose number differs by `distance`, a power of two.
static Value shuffle(const Emitter &emit, Value value, int64_t distance) {
  if (value.getType().isF64()) {
    Value halves = emit.make<LLVM::BitcastOp>(emit.vec(2, emit.i32()), value), moved = emit.make<LLVM::PoisonOp>(halves.getType());
    for (int64_t half : {0, 1}) {
      Value place = emit.constInt(emit.i32(), half);
      Value word = shuffle(emit, emit.make<LLVM::ExtractElementOp>(halves, place), distance);
      moved = emit.make<LLVM::InsertElementOp>(moved, word, place);
    }
    return emit.make<LLVM::BitcastOp>(emit.f64(), moved);
  }
  Value allLanes = emit.constInt(emit.i32(), -1), clamp = emit.constInt(emit.i32(), 31);
  return emit.make<NVVM::ShflOp>(value.getType(), allLanes, value, emit.constInt(emit.i32(), distance), clamp, NVVM::ShflKind::bfly,
                                 UnitAttr());
}

Value emitLaneReduce(const Emitter &emit, Value value, int64_t lanes, llvm::function_ref<Value(Value, Value)> combine) {
  for (int64_t distance = 1; distance < lanes; distance *= 2)
    value = combine(value, shuffle(emit, value, distance));
  return value;
}

Value emitRowReduce(const Emitter &emit, Value value, llvm::function_ref<Value(Value, Value)> combine) {
  return emitLaneReduce(emit, value, 4, combine);
}

Value emitSelectAtOnce(const Emitter &emit, Value condition, Value a, Value b) {
  return emit
      .make<LLVM::InlineAsmOp>(TypeRange(emit.f32()), ValueRange{a, b, condition}, emit.builder.getStringAttr("selp.f32 $0, $1, $2, $3;"),
                               emit.builder.getStringAttr("=f,f,f,b"), UnitAttr(), UnitAttr(),
                               LLVM::TailCallKindAttr::get(emit.builder.getContext(), LLVM::TailCallKind::None), LLVM::AsmDialectAttr(),
                               ArrayAttr())
      .getRes();
}

static Value callIntrinsic(const Emitter &emit, StringRef name, Value x) {
  return emit.make<LLVM::CallIntrinsicOp>(emit.f32(), emit.builder.getStringAttr(name), ValueRange{x}).getResult(0);
}

Value emitFastExp2(const Emitter &emit, Value x) { return callIntrinsic(emit, "llvm.nvvm.ex2.approx.ftz.f32", x); }
Value emitFastReciprocal(const Emitter &emit, Value x) { return callIntrinsic(emit, "llvm.nvvm.rcp.approx.ftz.f", x); }

} // namespace attnjit::tile
