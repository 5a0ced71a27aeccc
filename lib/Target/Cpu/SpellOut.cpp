#include "Target/Cpu/SpellOut.h"

#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"

#include <bit>

using namespace llvm;

namespace attnjit::target {

namespace {

/// One instruction's replacement, built in front of it.
class Spelling {
public:
  explicit Spelling(Instruction &instruction) : build(&instruction) {}

  /// A sum of products that a loop carries: it is a sum of rounded terms anyway, and where all the time goes.
  Value *roundedTwice(Value *a, Value *b, Value *c) { return build.CreateFAdd(build.CreateFMul(a, b), c); }

  /// f32: f64 holds the product of two, and rounds the sum once; rounding again to f32 changes one case in 2^29.
  Value *fusedSingle(Value *a, Value *b, Value *c) {
    Type *wide = like(a, build.getDoubleTy());
    Value *sum = roundedTwice(build.CreateFPExt(a, wide), build.CreateFPExt(b, wide), build.CreateFPExt(c, wide));
    return build.CreateFPTrunc(sum, a->getType());
  }

  /// f64: T. J. Dekker, "A floating-point technique for extending the available precision" (1971): the product and the sum with what their
  /// rounding lost. Where something is not finite, the plain sum stands.
  Value *fusedDouble(Value *a, Value *b, Value *c) {
    Value *product = build.CreateFMul(a, b), *sum = build.CreateFAdd(product, c);
    balance(a, b);
    balance(b, a);
    auto [aHigh, aLow] = split(a);
    auto [bHigh, bLow] = split(b);
    Value *lost = build.CreateFSub(build.CreateFMul(aHigh, bHigh), product);
    lost = build.CreateFAdd(build.CreateFAdd(build.CreateFAdd(lost, build.CreateFMul(aHigh, bLow)), build.CreateFMul(aLow, bHigh)),
                            build.CreateFMul(aLow, bLow));
    Value *ofProduct = build.CreateFSub(sum, c), *ofSum = build.CreateFSub(sum, ofProduct);
    Value *missing = build.CreateFAdd(build.CreateFSub(product, ofProduct), build.CreateFSub(c, ofSum));
    Value *correction = build.CreateFAdd(missing, lost), *corrected = build.CreateFAdd(sum, correction);
    Value *counts = build.CreateFCmpONE(correction, ConstantFP::get(a->getType(), 0.0)); // adding 0 would turn -0 into 0
    Value *size = build.CreateUnaryIntrinsic(Intrinsic::fabs, correction);
    Value *isFinite = build.CreateFCmpOLT(size, ConstantFP::getInfinity(a->getType()));
    return build.CreateSelect(build.CreateAnd(counts, isFinite), corrected, sum);
  }

  /// The exponent of an f16 stands 112 too low when its bits are taken for those of an f32; a product puts it right, subnormal numbers
  /// included.
  Value *widenHalf(Value *half) {
    Value *bits = build.CreateZExt(build.CreateBitCast(half, like(half, build.getInt16Ty())), like(half, build.getInt32Ty()));
    Value *sign = build.CreateShl(build.CreateAnd(bits, number(bits, 0x8000)), 16),
          *magnitude = build.CreateAnd(bits, number(bits, 0x7fff));
    Type *single = like(half, build.getFloatTy());
    Value *finite = build.CreateFMul(build.CreateBitCast(build.CreateShl(magnitude, 13), single), ConstantFP::get(single, 0x1p112));
    Value *special = build.CreateSelect(build.CreateICmpUGE(magnitude, number(bits, 0x7c00)), number(bits, 0x7f800000), number(bits, 0));
    Value *all = build.CreateOr(build.CreateOr(build.CreateBitCast(finite, bits->getType()), special), sign);
    return build.CreateBitCast(all, single);
  }

  /// To nearest, ties to even: by the carry of an addition below the last kept bit; results that are subnormal by the addition of 0.5,
  /// whose last place is theirs.
  Value *narrowToHalf(Value *single) {
    Type *word = like(single, build.getInt32Ty());
    Value *bits = build.CreateBitCast(single, word);
    Value *sign = build.CreateAnd(build.CreateLShr(bits, 16), number(bits, 0x8000)),
          *magnitude = build.CreateAnd(bits, number(bits, 0x7fffffff));
    Value *odd = build.CreateAnd(build.CreateLShr(magnitude, 13), number(bits, 1));
    Value *normal = build.CreateLShr(build.CreateAdd(build.CreateAdd(magnitude, odd), number(bits, 0xfff - (112 << 23))), 13);
    Value *half = ConstantFP::get(single->getType(), 0.5);
    Value *aligned = build.CreateFAdd(build.CreateBitCast(magnitude, single->getType()), half);
    Value *subnormal = build.CreateSub(build.CreateBitCast(aligned, word), number(bits, std::bit_cast<std::int32_t>(0.5f)));
    Value *finite = build.CreateSelect(build.CreateICmpULT(magnitude, number(bits, 113 << 23)), subnormal, normal);
    Value *isNan = build.CreateICmpUGT(magnitude, number(bits, 0x7f800000)),
          *isLarge = build.CreateICmpUGE(magnitude, number(bits, 143 << 23));
    Value *special = build.CreateSelect(isNan, number(bits, 0x7e00), number(bits, 0x7c00));
    Value *all = build.CreateOr(build.CreateSelect(isLarge, special, finite), sign);
    return build.CreateBitCast(build.CreateTrunc(all, like(single, build.getInt16Ty())), like(single, build.getHalfTy()));
  }

private:
  static Type *like(Value *shape, Type *element) { return shape->getType()->getWithNewType(element); }
  static Constant *number(Value *shape, std::int64_t value) { return ConstantInt::getSigned(shape->getType(), value); }
  /// Takes a power of 2 off `large` and puts it on `small` where splitting `large` would overflow.
  void balance(Value *&large, Value *&small) {
    const auto constant = [&](double value) { return ConstantFP::get(large->getType(), value); };
    Value *isLarge = build.CreateFCmpOGT(build.CreateUnaryIntrinsic(Intrinsic::fabs, large), constant(0x1p900));
    Value *less = build.CreateFMul(large, constant(0x1p-100)), *more = build.CreateFMul(small, constant(0x1p100));
    large = build.CreateSelect(isLarge, less, large);
    small = build.CreateSelect(isLarge, more, small);
  }
  std::pair<Value *, Value *> split(Value *x) {
    Value *scaled = build.CreateFMul(x, ConstantFP::get(x->getType(), 0x1p27 + 1));
    Value *high = build.CreateFSub(scaled, build.CreateFSub(scaled, x));
    return {high, build.CreateFSub(x, high)};
  }

  IRBuilder<> build;
};

bool isFma(const Value *value) {
  const auto *call = dyn_cast<IntrinsicInst>(value);
  return call && call->getIntrinsicID() == Intrinsic::fma;
}

/// c, in a * b + c, is what a loop carries, plus products, and the loop makes no other use of any of it: a remainder, whose quotient is
/// made of it, has to be exact.
bool isCarriedSum(const Value *sum, const BasicBlock *body) {
  for (; isFma(sum); sum = cast<IntrinsicInst>(sum)->getArgOperand(2))
    if (!sum->hasOneUse())
      return false;
  return isa<PHINode>(sum) &&
         llvm::count_if(sum->users(), [&](const User *user) { return cast<Instruction>(user)->getParent() == body; }) <= 1;
}

Value *spelled(Instruction &instruction, bool isCarried) {
  Spelling spelling(instruction);
  const Type *type = instruction.getType()->getScalarType();
  if (isFma(&instruction)) {
    Value *a = instruction.getOperand(0), *b = instruction.getOperand(1), *c = instruction.getOperand(2);
    if (isCarried)
      return spelling.roundedTwice(a, b, c);
    return type->isFloatTy() ? spelling.fusedSingle(a, b, c) : spelling.fusedDouble(a, b, c);
  }
  if (isa<FPExtInst>(instruction) && instruction.getOperand(0)->getType()->getScalarType()->isHalfTy() && type->isFloatTy())
    return spelling.widenHalf(instruction.getOperand(0));
  if (isa<FPTruncInst>(instruction) && instruction.getOperand(0)->getType()->getScalarType()->isFloatTy() && type->isHalfTy())
    return spelling.narrowToHalf(instruction.getOperand(0));
  return nullptr;
}

} // namespace

void spellOut(Function &function) {
  // Asked before anything is replaced: what replaces one fma of a chain is one more use of its sum.
  SmallPtrSet<const Instruction *, 32> carried;
  for (const Instruction &instruction : instructions(function))
    if (isFma(&instruction) && isCarriedSum(instruction.getOperand(2), instruction.getParent()))
      carried.insert(&instruction);
  for (Instruction &instruction : make_early_inc_range(instructions(function)))
    if (Value *value = spelled(instruction, carried.contains(&instruction))) {
      instruction.replaceAllUsesWith(value);
      instruction.eraseFromParent();
    }
}

} // namespace attnjit::target
