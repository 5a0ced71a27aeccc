// expr -> attn -> expr: nothing of a formula is lost, and integers are narrowed only where that was proved.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "Expr/Frontend.h"
#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Dialect/Tile/TileProgram.h"
#include "attnjit-mlir/Import/BuildAttention.h"
#include "attnjit-mlir/Import/ExportFormula.h"
#include "attnjit-mlir/Import/ImportFormula.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/raw_ostream.h"

using namespace attnjit;

namespace {

struct Fixture {
  Fixture() {
    context.disableMultithreading();
    context.loadDialect<attn::AttnDialect, tile::TileDialect, mlir::arith::ArithDialect, mlir::math::MathDialect, mlir::func::FuncDialect,
                        mlir::memref::MemRefDialect, mlir::tensor::TensorDialect>();
  }

  expr::Formula parse(std::string_view score, std::string_view mask, std::vector<expr::CaptureInfo> captures = {}) {
    Result<expr::Formula> formula = expr::parseFormula({score, mask}, captures);
    REQUIRE_MESSAGE(formula, (formula ? std::string() : formula.error().message));
    return *formula;
  }

  attn::ForwardOp import(const expr::Formula &formula, const attn::AttnProblem &problem = {}) {
    module = attn::importFormula(&context, formula, problem);
    REQUIRE(module);
    attn::ForwardOp forward;
    module->walk([&](attn::ForwardOp op) { forward = op; });
    REQUIRE(forward);
    return forward;
  }

  std::string text() {
    std::string result;
    llvm::raw_string_ostream stream(result);
    module->print(stream);
    return result;
  }

  void checkRoundTrip(const expr::Formula &formula, const attn::AttnProblem &problem = {}) {
    mlir::FailureOr<expr::Formula> back = attn::exportFormula(import(formula, problem));
    REQUIRE(mlir::succeeded(back));
    CHECK(expr::print(*back) == expr::print(formula));
    CHECK((expr::hash(*back) == expr::hash(formula)));
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

const std::vector<expr::CaptureInfo> kCaptures = {
    {"slope", DType::F32, 1}, {"doc", DType::I32, 2}, {"offset", DType::I64, 1},  {"flag", DType::Bool, 1}, {"bias", DType::BF16, 4},
    {"alpha", DType::F16, 0}, {"code", DType::U8, 1}, {"window", DType::I64, -1}, {"cap", DType::F64, -1},  {"on", DType::Bool, -1}};

struct Mods {
  const char *score, *mask;
};
const Mods kMods[] = {
    {"", ""},
    {"", "q_idx >= kv_idx"},
    {"score + slope[h] * (kv_idx - q_idx)", ""},
    {"cap * tanh(score / cap)", "q_idx >= kv_idx"},
    {"", "(q_idx >= kv_idx) & (q_idx - kv_idx < window)"},
    {"", "doc[b, q_idx] == doc[b, kv_idx]"},
    {"", "offset[b] + q_idx >= kv_idx"},
    {"score + bias[b, h, q_idx, kv_idx] * alpha", "flag[kv_idx] | (q_idx == kv_idx)"},
    {"", "q_idx // 16 == kv_idx // 16"},
    {"", "(q_idx % 3 != 0) & (code[kv_idx] > 1)"},
    {"score if on else -score", "not (q_idx < kv_idx)"},
    {"score * 2 ** (-8 * (h + 1) / 16)", ""},
    {"score.abs() + torch.sin(score) - math.floor(score)", "(q_idx ^ kv_idx) & 1 == 0"},
    {"max(score, -score) + min(score, 3.0)", "abs(q_idx - kv_idx) <= window"},
    {"score + int(score)", "bool(q_idx)"},
    {"score", "(q_idx << 2) >= (kv_idx >> 1)"},
    {"score", "0 <= q_idx - kv_idx < window"},
    {"score + torch.dot(bias[b, h, q_idx], bias[b, 0, kv_idx])", "(doc[b] == doc[b, kv_idx]).any() & (slope.amin() < slope[h])"},
    {"score + bias[b, h].amax(1).sum() * doc[b].sum() - slope.mean()", "flag.all() | (doc.sum(1)[b] > q_idx)"},
    {"score + (bias[b] * slope[:, None, None]).sum()", "(flag & (code > kv_idx)).sum() + len(code) > window"},
};

} // namespace

TEST_CASE_FIXTURE(Fixture, "formulas survive the round trip") {
  for (const Mods &mods : kMods) {
    CAPTURE(mods.score);
    CAPTURE(mods.mask);
    expr::Formula formula = parse(mods.score, mods.mask, kCaptures);
    for (bool narrow : {true, false})
      for (DType dtype : {DType::F32, DType::F64}) {
        attn::AttnProblem problem;
        problem.narrowIndices = narrow;
        problem.qType = problem.kvType = problem.outType = dtype;
        checkRoundTrip(formula, problem);
      }
  }
}

TEST_CASE_FIXTURE(Fixture, "every row of ExprOps.def survives the round trip") {
  using expr::Kind;
  using expr::Op;
  struct Row {
    Op op;
    std::string_view types;
  };
  const Row rows[] = {
#define EXPR_OP(Name, spelling, arity, Types, lowering) {Op::Name, #Types},
#include "Expr/ExprOps.def"
  };
  for (const Row &row : rows) {
    CAPTURE(expr::spelling(row.op));
    for (Kind kind : {Kind::Bool, Kind::Int, Kind::Float}) { // of the operands
      bool legal = row.types == "NNN" || row.types == "CMP"   ? kind != Kind::Bool
                   : row.types == "FFF" || row.types == "FB"  ? kind == Kind::Float
                   : row.types == "III" || row.types == "IIF" ? kind == Kind::Int
                   : row.types == "BBB"                       ? kind == Kind::Bool
                                                              : true;
      Kind result = row.types == "CMP" || row.types == "FB" || row.types == "BBB" || row.op == Op::ToBool ? Kind::Bool
                    : row.op == Op::ToInt                                                                 ? Kind::Int
                    : row.op == Op::ToFloat || row.types == "IIF"                                         ? Kind::Float
                                                                                                          : kind;
      if (!legal || (row.types == "CAST" && result == kind))
        continue;
      // mask(...) = op(a, b ...) != 0 over captured tensors of the kind, so that nothing folds.
      expr::Formula formula = expr::Formula::identity();
      DType dtype = kind == Kind::Bool ? DType::Bool : kind == Kind::Int ? DType::I64 : DType::F32;
      formula.captures = {{"x", dtype, 1}, {"y", dtype, 1}, {"z", DType::Bool, 1}};
      expr::Function &mask = formula.mask;
      mask = {};
      auto add = [&](Op op, Kind nodeKind, std::vector<expr::ValueId> operands, std::int64_t imm = 0) {
        expr::Node node;
        node.op = op;
        node.kind = nodeKind;
        node.operands = std::move(operands);
        node.imm.i = imm;
        mask.nodes.push_back(node);
        return expr::ValueId(mask.nodes.size() - 1);
      };
      auto kv = add(Op::Param, Kind::Int, {}, std::int64_t(expr::Param::Kv));
      auto x = add(Op::Load, kind, {kv}, 0), y = add(Op::Load, kind, {kv}, 1), z = add(Op::Load, Kind::Bool, {kv}, 2);
      std::vector<expr::ValueId> operands{x, y};
      if (row.op == Op::Select)
        operands = {z, x, y};
      operands.resize(expr::arity(row.op));
      mask.result = add(row.op, result, operands);
      if (result != Kind::Bool)
        mask.result = add(Op::ToBool, Kind::Bool, {mask.result});
      expr::simplify(formula);
      Result<void> ok = expr::verify(formula);
      REQUIRE_MESSAGE(ok, (ok ? std::string() : ok.error().message));
      checkRoundTrip(formula);
    }
  }
}

TEST_CASE_FIXTURE(Fixture, "integers are narrow where that was proved, and only there") {
  attn::AttnProblem problem;
  import(parse("", "q_idx - kv_idx < window", kCaptures), problem);
  CHECK(text().find("arith.subi %q, %kv : i32") != std::string::npos);
  CHECK(text().find("arith.extsi") == std::string::npos);
  // The product of two positions needs 60 bits.
  import(parse("", "q_idx * kv_idx < window", kCaptures), problem);
  CHECK(text().find("arith.extsi %q : i32 to i64") != std::string::npos);
  CHECK(text().find("arith.muli") != std::string::npos);
  CHECK(text().find("arith.muli %q, %kv : i32") == std::string::npos);
  // An element of an i64 tensor may be anything, one of an i32 tensor fits.
  import(parse("", "offset[b] == kv_idx", kCaptures), problem);
  CHECK(text().find("-> i64") != std::string::npos);
  import(parse("", "doc[b, q_idx] == doc[b, kv_idx]", kCaptures), problem);
  CHECK(text().find("-> i32") != std::string::npos);
  problem.narrowIndices = false;
  import(parse("", "q_idx - kv_idx < window", kCaptures), problem);
  CHECK(text().find("arith.subi %q, %kv : i64") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "no fast-math flag, and min and max propagate NaN") {
  import(parse("max(min(score, 1.0), -1.0) * exp(score)", "", kCaptures));
  CHECK(text().find("fastmath") == std::string::npos);
  CHECK(text().find("arith.minimumf") != std::string::npos);
  CHECK(text().find("arith.maximumf") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "the tile program says what was imported") {
  attn::AttnProblem problem;
  problem.name = "kernel_1";
  problem.qType = DType::BF16;
  problem.kvType = DType::F16;
  problem.outType = DType::BF16;
  problem.D = 96;
  problem.Dv = 40;
  problem.contiguous = false;
  problem.checkedIndices = true;
  problem.tileRows = 32;
  problem.tileCols = 48;
  auto forward = import(parse("score + slope[h]", "(q_idx >= kv_idx) & (q_idx - kv_idx < window)", kCaptures), problem);
  auto kernel = attn::lowerToTile(forward);
  REQUIRE(mlir::succeeded(kernel));
  CHECK(mlir::succeeded(mlir::verify(*module)));
  auto program = tile::TileProgram::match(*kernel);
  REQUIRE(mlir::succeeded(program));
  CHECK(program->name == "kernel_1");
  CHECK(program->tileRows == 32);
  CHECK(program->tileCols == 48);
  CHECK(program->headDim == 96);
  CHECK(program->valueDim == 40);
  CHECK(program->qType.isBF16());
  CHECK(program->kvType.isF16());
  CHECK(program->outType.isBF16());
  CHECK(program->computeType.isF32());
  CHECK(program->indexType.isInteger(32));
  CHECK_FALSE(program->contiguous);
  CHECK(program->checkedIndices);
  REQUIRE(program->score);
  REQUIRE(program->mask);
  REQUIRE(program->closedForm);
  REQUIRE(program->captures.size() == 7);
  CHECK(program->captures[4].rank == 4);
  CHECK(program->captures[4].elementType.isBF16());
  REQUIRE(program->scalars.size() == 3);
  CHECK(program->scalars[0].type.isInteger(32));
  CHECK(program->scalars[1].type.isF32());
  CHECK(program->scalars[2].type.isInteger(1));
  CHECK(program->score->getNumArguments() == 5 + 7 + 3);
  CHECK(program->mask->getNumArguments() == 4 + 7 + 3);
  CHECK(program->closedForm->getNumArguments() == 6 + 3);
}

TEST_CASE_FIXTURE(Fixture, "a checked mask that reads captures has no closed form (A10)") {
  const char *mask = "(q_idx >= kv_idx) & (doc[b, q_idx] == doc[b, kv_idx])";
  for (bool checked : {false, true}) {
    attn::AttnProblem problem;
    problem.checkedIndices = checked;
    auto kernel = attn::lowerToTile(import(parse("", mask, kCaptures), problem));
    REQUIRE(mlir::succeeded(kernel));
    auto program = tile::TileProgram::match(*kernel);
    REQUIRE(mlir::succeeded(program));
    CHECK((program->closedForm == nullptr) == checked);
  }
}

namespace {

/// A mask that another compiler wrote, around which stands the rest of the op.
std::string foreignMask(std::string_view body) {
  return R"(func.func @f(%q: memref<?x?x?x64xf32>, %scale: f32, %on: memref<?xi1>) {
    attn.forward ins(%q, %q, %q : memref<?x?x?x64xf32>, memref<?x?x?x64xf32>, memref<?x?x?x64xf32>) outs(%q : memref<?x?x?x64xf32>)
        scale(%scale : f32) captures(%on : memref<?xi1>)
        config<tile_rows = 8, tile_cols = 8, checked_indices = false, narrow = true>
        mask {
        ^bb0(%b: i32, %h: i32, %i: i32, %j: i32, %flag: memref<?xi1>):
          %x = attn.load %flag[%i] : memref<?xi1>, i32 -> i1
          %y = attn.load %flag[%j] : memref<?xi1>, i32 -> i1
          %fi = arith.sitofp %i : i32 to f32
          %fj = arith.sitofp %j : i32 to f32
          )" +
         std::string(body) + R"(
          attn.yield %m : i1
        }
    return
  })";
}

} // namespace

TEST_CASE_FIXTURE(Fixture, "another compiler's op is read as the formula that it means") {
  const struct {
    const char *body, *mask;
  } cases[] = {
      {"%m = arith.cmpi sge, %i, %j : i32", "q_idx >= kv_idx"},
      {"%m = arith.cmpi sgt, %i, %j : i32", "q_idx > kv_idx"},
      {"%m = arith.cmpi eq, %x, %y : i1", "on[q_idx] == on[kv_idx]"},
      {"%m = arith.cmpi ne, %x, %y : i1", "on[q_idx] != on[kv_idx]"},
      {"%m = arith.cmpi ult, %x, %y : i1", "not on[q_idx] and on[kv_idx]"},
      {"%m = arith.cmpi sgt, %x, %y : i1", "not on[q_idx] and on[kv_idx]"}, // as a signed number, true is -1
      {"%m = arith.cmpi uge, %x, %y : i1", "on[q_idx] or not on[kv_idx]"},
      {"%m = arith.cmpf ogt, %fi, %fj : f32", "float(q_idx) > float(kv_idx)"},
      {"%m = arith.cmpf ult, %fi, %fj : f32", "not (float(q_idx) >= float(kv_idx))"},
      {"%m = arith.select %x, %y, %x : i1", "on[kv_idx] if on[q_idx] else on[q_idx]"},
      {"%w = arith.extsi %i : i32 to i64\n%c = arith.constant 3 : i64\n%r = attn.pointwise floor_mod %w, %c : i64\n"
       "%z = arith.constant 0 : i64\n%m = arith.cmpi eq, %r, %z : i64",
       "q_idx % 3 == 0"},
  };
  for (const auto &[body, mask] : cases) {
    CAPTURE(body);
    module = mlir::parseSourceString<mlir::ModuleOp>(foreignMask(body), &context);
    REQUIRE(module);
    attn::ForwardOp forward;
    module->walk([&](attn::ForwardOp op) { forward = op; });
    auto formula = attn::exportFormula(forward);
    REQUIRE(mlir::succeeded(formula));
    CHECK(expr::verify(*formula));
    expr::Formula expected = parse("", mask, {{"on", DType::Bool, 1}});
    expected.captures[0].name = formula->captures[0].name; // an op without `names`
    CHECK(expr::print(*formula) == expr::print(expected));
    CHECK((expr::hash(*formula) == expr::hash(expected)));
  }
}

TEST_CASE_FIXTURE(Fixture, "an operation that no formula has is named where it stands") {
  module = mlir::parseSourceString<mlir::ModuleOp>(foreignMask("%m = arith.cmpi ult, %i, %j : i32"), &context);
  REQUIRE(module);
  attn::ForwardOp forward;
  module->walk([&](attn::ForwardOp op) { forward = op; });
  std::string message;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    message += diagnostic.str();
    return mlir::success();
  });
  CHECK(mlir::failed(attn::exportFormula(forward)));
  CHECK(message.find("'arith.cmpi' has no counterpart among the operations of a formula") != std::string::npos);
}

//===- attn.attention from other formats --------------------------------------------------------------------------------------===//

namespace {

/// A function of the given types, to build in.
struct BuildFixture : Fixture {
  std::vector<mlir::Value> begin(llvm::ArrayRef<llvm::StringRef> types) {
    std::vector<mlir::Type> arguments;
    for (llvm::StringRef type : types)
      arguments.push_back(mlir::parseType(type, &context));
    module = mlir::ModuleOp::create(builder.getUnknownLoc());
    builder.setInsertionPointToEnd(module->getBody());
    auto function = mlir::func::FuncOp::create(builder, builder.getUnknownLoc(), "f", builder.getFunctionType(arguments, {}));
    mlir::Block *entry = function.addEntryBlock();
    builder.setInsertionPointToStart(entry);
    builder.setInsertionPoint(mlir::func::ReturnOp::create(builder, builder.getUnknownLoc()));
    return {entry->args_begin(), entry->args_end()};
  }

  void checkBuilt(mlir::FailureOr<attn::AttentionOp> op, const expr::Formula &expected) {
    REQUIRE(mlir::succeeded(op));
    REQUIRE(mlir::succeeded(mlir::verify(*module)));
    mlir::FailureOr<expr::Formula> formula = attn::exportFormula(*op);
    REQUIRE(mlir::succeeded(formula));
    CHECK(expr::print(*formula) == expr::print(expected));
  }

  mlir::OpBuilder builder{&context};
};

constexpr llvm::StringLiteral kQ = "tensor<?x8x?x64xf32>", kK = "tensor<?x2x?x64xf32>", kV = "tensor<?x2x?x32xf32>";

} // namespace

TEST_CASE("attn.attention says the formula it was built from; its literals and sizes become operands") {
  BuildFixture f;
  const std::vector<mlir::Value> in = f.begin({kQ, kK, kV, "tensor<8xf32>", "i64"});
  const std::vector<expr::CaptureInfo> captures{{"slope", DType::F32, 1}, {"window", DType::I64, -1}};
  const expr::Formula formula = f.parse("score + slope[h % slope.shape[0]] * (kv_idx - q_idx)", "q_idx - kv_idx < window", captures);
  attn::AttentionOperands operands{in[0], in[1], in[2]};
  operands.captures = {in[3]};
  operands.scalars = {in[4]};
  operands.wantsLse = true;
  mlir::FailureOr<attn::AttentionOp> op = attn::buildAttention(f.builder, f.builder.getUnknownLoc(), formula, operands);
  f.checkBuilt(op, formula);
  CHECK(op->getNumResults() == 2);

  operands.scalars.clear();
  mlir::ScopedDiagnosticHandler handler(&f.context, [](mlir::Diagnostic &diagnostic) {
    CHECK(diagnostic.str() == "no value for the number 'window', which the formula captures");
    return mlir::success();
  });
  CHECK(mlir::failed(attn::buildAttention(f.builder, f.builder.getUnknownLoc(), formula, operands)));
}
