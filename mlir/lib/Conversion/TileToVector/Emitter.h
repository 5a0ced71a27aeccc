// Short spellings for emitting arith, scf and LLVM memory ops: one Emitter = one builder at one location. Private to this room and
// TileToGPU.
//
// Integer and float arithmetic work alike on scalars and native-width vectors; a scalar meets a vector only through splat().
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"

namespace attnjit::tile {

/// The scalar type of a scalar or vector type.
inline mlir::Type elementTypeOf(mlir::Type type) {
  auto vector = llvm::dyn_cast<mlir::VectorType>(type);
  return vector ? vector.getElementType() : type;
}

/// `element` in the shape (scalar, or vector of so many lanes) of `shape`.
inline mlir::Type likeShape(mlir::Type shape, mlir::Type element) {
  auto vector = llvm::dyn_cast<mlir::VectorType>(shape);
  return vector ? mlir::Type(mlir::VectorType::get(vector.getShape(), element)) : element;
}

/// On the scf.execute_region of a phase: its name.
inline constexpr llvm::StringLiteral kPhaseAttr = "attnjit.phase";

inline bool isVector(mlir::Value value) { return llvm::isa<mlir::VectorType>(value.getType()); }

struct Emitter {
  using Value = mlir::Value;
  using Type = mlir::Type;
  using CmpI = mlir::arith::CmpIPredicate;
  using CmpF = mlir::arith::CmpFPredicate;

  mlir::OpBuilder &builder;
  mlir::Location loc;

  Emitter(mlir::OpBuilder &builder, mlir::Location loc) : builder(builder), loc(loc) {}

  template <typename Op, typename... Args> auto make(Args &&...args) const { return Op::create(builder, loc, std::forward<Args>(args)...); }

  // Types.
  Type i1() const { return builder.getI1Type(); }
  Type i8() const { return builder.getI8Type(); }
  Type i16() const { return builder.getIntegerType(16); }
  Type i32() const { return builder.getI32Type(); }
  Type i64() const { return builder.getI64Type(); }
  Type f32() const { return builder.getF32Type(); }
  Type f64() const { return builder.getF64Type(); }
  Type ptr() const { return mlir::LLVM::LLVMPointerType::get(builder.getContext()); }
  Type vec(int64_t lanes, Type element) const { return mlir::VectorType::get({lanes}, element); }

  // Constants, of scalar or vector type.
  Value constant(Type type, const llvm::APInt &value) const {
    if (auto vector = llvm::dyn_cast<mlir::VectorType>(type))
      return make<mlir::arith::ConstantOp>(mlir::DenseElementsAttr::get(vector, value));
    return make<mlir::arith::ConstantOp>(builder.getIntegerAttr(type, value));
  }
  Value constInt(Type type, int64_t value) const {
    return constant(type, llvm::APInt(elementTypeOf(type).getIntOrFloatBitWidth(), value, true, true));
  }
  Value constFloat(Type type, double value) const {
    llvm::APFloat exact(value);
    bool losesInfo;
    exact.convert(llvm::cast<mlir::FloatType>(elementTypeOf(type)).getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
    if (auto vector = llvm::dyn_cast<mlir::VectorType>(type))
      return make<mlir::arith::ConstantOp>(mlir::DenseElementsAttr::get(vector, exact));
    return make<mlir::arith::ConstantOp>(builder.getFloatAttr(type, exact));
  }
  Value index(int64_t value) const { return constInt(i64(), value); }
  Value truth(bool value) const { return constInt(i1(), value); }
  /// 0, 1, 2 ... of an integer vector type.
  Value iota(Type type) const {
    auto vector = llvm::cast<mlir::VectorType>(type);
    llvm::SmallVector<llvm::APInt> values;
    for (int64_t lane = 0; lane < vector.getNumElements(); ++lane)
      values.push_back(llvm::APInt(vector.getElementTypeBitWidth(), lane));
    return make<mlir::arith::ConstantOp>(mlir::DenseElementsAttr::get(vector, values));
  }

  // Integers.
  Value add(Value a, Value b) const { return make<mlir::arith::AddIOp>(a, b); }
  Value add(Value a, int64_t b) const { return b == 0 ? a : add(a, constInt(a.getType(), b)); }
  Value sub(Value a, Value b) const { return make<mlir::arith::SubIOp>(a, b); }
  Value sub(Value a, int64_t b) const { return sub(a, constInt(a.getType(), b)); }
  Value mul(Value a, Value b) const { return make<mlir::arith::MulIOp>(a, b); }
  Value mul(Value a, int64_t b) const { return b == 1 ? a : mul(a, constInt(a.getType(), b)); }
  Value minS(Value a, Value b) const { return make<mlir::arith::MinSIOp>(a, b); }
  Value maxS(Value a, Value b) const { return make<mlir::arith::MaxSIOp>(a, b); }
  Value alignedTo(Value a, int64_t powerOfTwo) const { return bitAnd(add(a, powerOfTwo - 1), constInt(a.getType(), -powerOfTwo)); }
  Value shl(Value a, int64_t count) const { return make<mlir::arith::ShLIOp>(a, constInt(a.getType(), count)); }
  Value shrS(Value a, int64_t count) const { return make<mlir::arith::ShRSIOp>(a, constInt(a.getType(), count)); }
  Value shrU(Value a, int64_t count) const { return make<mlir::arith::ShRUIOp>(a, constInt(a.getType(), count)); }
  Value bitAnd(Value a, Value b) const { return make<mlir::arith::AndIOp>(a, b); }
  Value bitOr(Value a, Value b) const { return make<mlir::arith::OrIOp>(a, b); }
  Value bitXor(Value a, Value b) const { return make<mlir::arith::XOrIOp>(a, b); }
  Value logicalNot(Value a) const { return bitXor(a, constInt(a.getType(), 1)); }
  Value cmp(CmpI predicate, Value a, Value b) const { return make<mlir::arith::CmpIOp>(predicate, a, b); }

  // Floats. No fast-math flags anywhere: A5 and A6 need NaN and inf, and the exp2 recipe needs its additions as written.
  Value addF(Value a, Value b) const { return make<mlir::arith::AddFOp>(a, b); }
  Value subF(Value a, Value b) const { return make<mlir::arith::SubFOp>(a, b); }
  Value mulF(Value a, Value b) const { return make<mlir::arith::MulFOp>(a, b); }
  Value divF(Value a, Value b) const { return make<mlir::arith::DivFOp>(a, b); }
  Value negF(Value a) const { return make<mlir::arith::NegFOp>(a); }
  Value fma(Value a, Value b, Value c) const { return make<mlir::LLVM::FMAOp>(a.getType(), a, b, c, mlir::LLVM::FastmathFlagsAttr()); }
  Value cmp(CmpF predicate, Value a, Value b) const { return make<mlir::arith::CmpFOp>(predicate, a, b); }

  Value select(Value condition, Value a, Value b) const { return make<mlir::arith::SelectOp>(condition, a, b); }
  Value bitcast(Type element, Value a) const { return make<mlir::arith::BitcastOp>(likeShape(a.getType(), element), a); }
  /// Sign extension or truncation to an integer element type; nothing where it is that already.
  Value toInt(Type element, Value a) const {
    unsigned from = elementTypeOf(a.getType()).getIntOrFloatBitWidth(), to = element.getIntOrFloatBitWidth();
    if (from == to)
      return a;
    Type type = likeShape(a.getType(), element);
    return from < to ? Value(make<mlir::arith::ExtSIOp>(type, a)) : Value(make<mlir::arith::TruncIOp>(type, a));
  }
  Value splat(Value a, int64_t lanes) const {
    if (isVector(a))
      return a;
    if (auto constant = a.getDefiningOp<mlir::arith::ConstantOp>())
      return make<mlir::arith::ConstantOp>(
          mlir::DenseElementsAttr::get(mlir::VectorType::get({lanes}, a.getType()), mlir::Attribute(constant.getValue())));
    return make<mlir::vector::BroadcastOp>(mlir::VectorType::get({lanes}, a.getType()), a);
  }
  Value lane(Value vector, int64_t lane) const { return make<mlir::vector::ExtractOp>(vector, lane); }
  /// True if any lane of an i1 vector (or the i1 itself) is set.
  Value any(Value flags) const { return isVector(flags) ? Value(make<mlir::LLVM::vector_reduce_or>(i1(), flags)) : flags; }

  /// Calls an LLVM intrinsic; without `result` one that has none.
  Value intrinsic(llvm::StringRef name, Type result, llvm::ArrayRef<Value> arguments) const {
    return make<mlir::LLVM::CallIntrinsicOp>(result, builder.getStringAttr(name), mlir::ValueRange(arguments)).getResult(0);
  }
  void intrinsic(llvm::StringRef name, llvm::ArrayRef<Value> arguments) const {
    make<mlir::LLVM::CallIntrinsicOp>(builder.getStringAttr(name), mlir::ValueRange(arguments));
  }

  // Memory.
  /// base + offset elements of type `element`. LLVM has no 8-bit floats: they are bytes there.
  Value at(Value base, Type element, Value offset) const {
    Type type = llvm::isa<mlir::FloatType>(element) && element.getIntOrFloatBitWidth() == 8 ? i8() : element;
    return make<mlir::LLVM::GEPOp>(ptr(), type, base, llvm::ArrayRef<mlir::LLVM::GEPArg>{offset});
  }
  Value atBytes(Value base, int64_t bytes) const {
    if (bytes == 0)
      return base;
    if (bytes == int32_t(bytes))
      return make<mlir::LLVM::GEPOp>(ptr(), i8(), base, llvm::ArrayRef<mlir::LLVM::GEPArg>{int32_t(bytes)});
    return at(base, i8(), index(bytes));
  }
  /// Loads a scalar, pointer or vector; vectors need no more than their element's alignment.
  Value load(Type type, Value address) const { return make<mlir::LLVM::LoadOp>(type, address, alignmentOf(type)); }
  void store(Value value, Value address) const { make<mlir::LLVM::StoreOp>(value, address, alignmentOf(value.getType())); }
  Value loadUnaligned(Type type, Value address, unsigned alignment) const { return make<mlir::LLVM::LoadOp>(type, address, alignment); }
  static unsigned alignmentOf(Type type) {
    return llvm::isa<mlir::LLVM::LLVMPointerType>(type) ? 8 : elementTypeOf(type).getIntOrFloatBitWidth() / 8;
  }

  // Control flow. Bodies are emitted into attached regions, so that they may look up the enclosing function.
  using Values = llvm::SmallVector<Value>;
  /// for (i = begin; i < end; i += step) with loop-carried values.
  Values loop(Value begin, Value end, Value step, mlir::ValueRange initial,
              llvm::function_ref<Values(Value i, mlir::ValueRange carried)> body) const {
    auto op = make<mlir::scf::ForOp>(begin, end, step, initial);
    mlir::OpBuilder::InsertionGuard guard(builder);
    if (initial.empty()) {
      builder.setInsertionPoint(op.getBody()->getTerminator());
      body(op.getInductionVar(), {});
      return {};
    }
    builder.setInsertionPointToEnd(op.getBody());
    make<mlir::scf::YieldOp>(body(op.getInductionVar(), op.getRegionIterArgs()));
    return Values(op.getResults());
  }
  void loop(Value begin, Value end, Value step, llvm::function_ref<void(Value i)> body) const {
    loop(begin, end, step, {}, [&](Value i, mlir::ValueRange) {
      body(i);
      return Values();
    });
  }
  void loop(int64_t begin, int64_t end, int64_t step, llvm::function_ref<void(Value i)> body) const {
    loop(index(begin), index(end), index(step), body);
  }
  /// while (condition(values)) values = body(values).
  Values loopWhile(mlir::ValueRange initial, llvm::function_ref<Value(mlir::ValueRange)> condition,
                   llvm::function_ref<Values(mlir::ValueRange)> body) const {
    auto op = make<mlir::scf::WhileOp>(mlir::TypeRange(initial), initial);
    mlir::OpBuilder::InsertionGuard guard(builder);
    llvm::SmallVector<mlir::Location> locations(initial.size(), loc);
    mlir::Block *before = builder.createBlock(&op.getBefore(), {}, mlir::TypeRange(initial), locations);
    make<mlir::scf::ConditionOp>(condition(before->getArguments()), before->getArguments());
    mlir::Block *after = builder.createBlock(&op.getAfter(), {}, mlir::TypeRange(initial), locations);
    make<mlir::scf::YieldOp>(body(after->getArguments()));
    return Values(op.getResults());
  }
  /// Emits code that may become a function of its own (KernelPhases.h).
  Values phase(llvm::StringRef name, mlir::TypeRange types, llvm::function_ref<Values()> body) const {
    auto op = make<mlir::scf::ExecuteRegionOp>(types);
    op->setAttr(kPhaseAttr, builder.getStringAttr(name));
    mlir::OpBuilder::InsertionGuard guard(builder);
    builder.createBlock(&op.getRegion());
    make<mlir::scf::YieldOp>(body());
    return Values(op.getResults());
  }
  void phase(llvm::StringRef name, llvm::function_ref<void()> body) const {
    phase(name, {}, [&] {
      body();
      return Values();
    });
  }
  void ifThen(Value condition, llvm::function_ref<void()> then) const {
    auto op = make<mlir::scf::IfOp>(condition, /*withElseRegion=*/false);
    mlir::OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(op.thenBlock()->getTerminator());
    then();
  }
  void ifElse(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise) const {
    auto both = [](llvm::function_ref<void()> body) {
      return [body] {
        body();
        return Values();
      };
    };
    ifElse({}, condition, both(then), both(otherwise));
  }
  Values ifElse(mlir::TypeRange types, Value condition, llvm::function_ref<Values()> then, llvm::function_ref<Values()> otherwise) const {
    auto op = make<mlir::scf::IfOp>(types, condition, /*addThenBlock=*/true, /*addElseBlock=*/true);
    mlir::OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToEnd(op.thenBlock());
    make<mlir::scf::YieldOp>(then());
    builder.setInsertionPointToEnd(op.elseBlock());
    make<mlir::scf::YieldOp>(otherwise());
    return Values(op.getResults());
  }
};

} // namespace attnjit::tile
