// Kernels of the generic lowering: dtypes, ragged and empty shapes, strides, formulas, plans, reports.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "GenericCase.h"

using namespace attnjit;
using namespace attnjit::testing;

TEST_CASE("plain attention, every dtype") {
  for (DType type : {DType::F32, DType::BF16, DType::F16, DType::F64}) {
    Case c;
    c.type = type;
    c.tolerance = type == DType::F64 ? 1e-14 : 3e-6;
    CAPTURE(mlirName(type));
    check(c);
  }
}

TEST_CASE("causal, with and without closed form; heads in groups; batches") {
  Case c = causal();
  check(c);
  c.closedForm = "";
  c.B = 2;
  c.Hq = 6;
  c.Hkv = 3;
  check(c);
  c.N = 40; // rows past N see all keys
  check(c);
}

TEST_CASE("ragged and odd shapes") {
  for (auto [D, Dv] : {std::pair<Index, Index>{1, 1}, {3, 17}, {64, 64}, {100, 7}, {512, 512}})
    for (auto [M, N] : {std::pair<Index, Index>{1, 1}, {17, 33}, {5, 100}}) {
      Case c = causal();
      c.D = D, c.Dv = Dv, c.M = M, c.N = N;
      CAPTURE(D);
      CAPTURE(Dv);
      CAPTURE(M);
      CAPTURE(N);
      check(c);
    }
}

TEST_CASE("A9: no queries, no keys") {
  Case c = causal();
  c.N = 0;
  check(c);
  c.N = 5;
  c.M = 0;
  check(c);
}

TEST_CASE("any strides, any tile, no row outputs") {
  Case c = causal();
  c.columnStep = 3;
  check(c);
  c.columnStep = 1;
  c.tileRows = 7;
  c.tileCols = 5;
  check(c, nullptr, /*wantsRows=*/false);
}

TEST_CASE("formulas with captures and scalars") {
  Tensor slopes(DType::BF16, {2}), documents(DType::I64, {90}), bias(DType::F16, {2, 70, 90}), flags(DType::Bool, {90}, 2);
  for (Index h = 0; h < 2; ++h) {
    slopes.set({h}, -0.5 * (h + 1));
    for (Index i = 0; i < 70; ++i)
      for (Index j = 0; j < 90; ++j)
        bias.set({h, i, j}, 0.25 * ((i * 7 + j * 3 + h) % 13));
  }
  for (Index j = 0; j < 90; ++j) {
    documents.set({j}, j / 20);
    flags.set({j}, j % 7 != 3);
  }
  Case c;
  c.captures = {&slopes, &documents, &bias, &flags};
  c.scalars = {5.0};
  c.score =
      "%w = attn.load %c0[%h_] : !tile.capture<1xbf16>, i32 -> f32\n%d_ = arith.subi %j, %i : i32\n%df = arith.sitofp %d_ : i32 to f32\n"
      "%p_ = arith.mulf %w, %df : f32\n%e = attn.load %c2[%h_, %i, %j] : !tile.capture<3xf16>, i32, i32, i32 -> f32\n"
      "%r0 = arith.addf %s_, %p_ : f32\n%r1 = arith.divf %r0, %x0 : f32\n%r2 = math.tanh %r1 : f32\n%r3 = arith.mulf %r2, %x0 : f32\n"
      "%r4 = arith.addf %r3, %e : f32\ntile.yield %r4 : f32\n";
  c.scoreFn = [&](double s, Index, Index h, Index i, Index j) {
    return 5 * std::tanh((s + slopes.get({h}) * static_cast<double>(j - i)) / 5) + bias.get({h, i, j});
  };
  // A negative index counts from the end: i - 90 is i.
  c.mask = "%n = arith.constant -90 : i32\n%in = arith.addi %i, %n : i32\n%a = attn.load %c1[%in] : !tile.capture<1xi64>, i32 -> i32\n"
           "%b1 = attn.load %c1[%j] : !tile.capture<1xi64>, i32 -> i32\n%same = arith.cmpi eq, %a, %b1 : i32\n"
           "%f_ = attn.load %c3[%j] : !tile.capture<1xi1>, i32 -> i1\n%m_ = arith.andi %same, %f_ : i1\ntile.yield %m_ : i1\n";
  c.maskFn = [&](Index, Index, Index i, Index j) { return documents.get({i}) == documents.get({j}) && flags.get({j}) != 0; };
  check(c);
  c.checked = true;
  check(c);
  c.wide = true;
  check(c);
  c.checked = false;
  c.type = DType::F64;
  check(c);
}

TEST_CASE("A10: an index out of range is reported with the smallest visible position, and nothing outside is read") {
  Tensor table(DType::F32, {50}), empty(DType::F32, {0});
  for (Index j = 0; j < 50; ++j)
    table.set({j}, 1);
  for (const TargetDesc &target : runnableTargets()) {
    CAPTURE(target.cpu);
    Case c = causal();
    c.checked = true;
    c.captures = {&table};
    c.score = "%e = attn.load %c0[%j] : !tile.capture<1xf32>, i32 -> f32\n%r = arith.addf %s_, %e : f32\ntile.yield %r : f32\n";
    Operands operands(c);
    CHECK(run(c, target, operands) == 50 * c.N + 50); // kv 50 first becomes visible to query 50
    c.mask = c.closedForm = "";
    Operands unmasked(c);
    CHECK(run(c, target, unmasked) == 50);
    c.captures = {&empty};
    Operands nothing(c);
    CHECK(run(c, target, nothing) == 0);
    // In a mask every position counts.
    c = causal();
    c.closedForm = "";
    c.checked = true;
    c.captures = {&table};
    c.mask =
        "%e = attn.load %c0[%i] : !tile.capture<1xf32>, i32 -> f32\n%z = arith.constant 0.0 : f32\n%m_ = arith.cmpf ogt, %e, %z : f32\n"
        "tile.yield %m_ : i1\n";
    Operands masked(c);
    CHECK(run(c, target, masked) == 50 * c.N);
  }
}

TEST_CASE("a table of runs: gaps, full runs, runs that are no multiple of the block") {
  Case c = causal();
  c.M = 16;
  c.runs = {{3, 10, 0}, {20, 61, 1}, {80, 90, 0}};
  check(c);
}

TEST_CASE("a narrow window in a long sequence: groups of blocks are skipped") {
  Case c;
  c.M = 600;
  c.N = 700;
  c.tileCols = 5;
  c.mask = "%d_ = arith.subi %i, %j : i32\n%a = math.absi %d_ : i32\n%w = arith.constant 9 : i32\n%m_ = arith.cmpi sle, %a, %w : "
           "i32\ntile.yield %m_ : i1\n";
  c.maskFn = [](Index, Index, Index i, Index j) { return std::abs(i - j) <= 9; };
  c.closedForm = "%w = arith.constant 9 : i32\n%far = arith.addi %qhi, %w : i32\n%near = arith.subi %qlo, %w : i32\n%t1 = arith.cmpi sle, "
                 "%klo, %far : i32\n"
                 "%t2 = arith.cmpi sge, %khi, %near : i32\n%t = arith.andi %t1, %t2 : i1\n%true_ = arith.constant true\ntile.yield %t, "
                 "%true_ : i1, i1\n";
  check(c);
}

TEST_CASE("integer and float operations with Python's meaning") {
  Case c;
  c.N = 40;
  c.score =
      "%four = arith.constant 4 : i32\n%d_ = arith.subi %j, %i : i32\n%fd = attn.pointwise floor_div %d_, %four : i32\n"
      "%fm = attn.pointwise floor_mod %d_, %four : i32\n%zero = arith.constant 0 : i32\n%z = attn.pointwise floor_div %d_, %zero : i32\n"
      "%sh = attn.pointwise shl %four, %fm : i32\n%t1 = arith.addi %fd, %sh : i32\n%t2 = arith.addi %t1, %z : i32\n"
      "%sg = attn.pointwise sign %d_ : i32\n%t3 = arith.addi %t2, %sg : i32\n%two = arith.constant 2 : i32\n%pw = attn.pointwise pow %fm, "
      "%two : i32\n"
      "%t4 = arith.addi %t3, %pw : i32\n%f = arith.sitofp %t4 : i32 to f32\n%tenth = arith.constant 0.1 : f32\n%g = arith.mulf %f, %tenth "
      ": f32\n"
      "%three = arith.constant 3.0 : f32\n%rm = attn.pointwise floor_mod %g, %three : f32\n%r = arith.addf %s_, %rm : f32\n"
      "%ti = attn.pointwise to_int %r : f32 -> i32\n%tf = arith.sitofp %ti : i32 to f32\n%q_ = arith.mulf %tf, %tenth : f32\n"
      "%r2 = arith.addf %r, %q_ : f32\ntile.yield %r2 : f32\n";
  c.scoreFn = [](double s, Index, Index, Index i, Index j) {
    Index d = j - i, fd = (d - ((d % 4) + 4) % 4) / 4, fm = ((d % 4) + 4) % 4;
    Index t = fd + (4 << fm) + (d > 0) - (d < 0) + fm * fm;
    float g = static_cast<float>(t) * 0.1f, rm = std::fmod(g, 3.0f);
    if (rm < 0)
      rm += 3;
    double r = s + rm;
    return r + std::trunc(static_cast<float>(r)) * 0.1f;
  };
  check(c);
  c.wide = true;
  check(c);
}

TEST_CASE("64-bit indices and f64 with a closed form") {
  Case c = causal();
  c.wide = true;
  check(c);
  c.type = DType::F64;
  c.tolerance = 1e-14;
  check(c);
}

TEST_CASE("functions called through the table, inside formulas") {
  Case c;
  c.score = "%a = math.sin %s_ : f32\n%one = arith.constant 1.0 : f32\n%p0 = math.absf %a : f32\n%p1 = arith.addf %p0, %one : f32\n"
            "%w = attn.pointwise pow %p1, %s_ : f32\n%f = arith.sitofp %i : i32 to f32\n%g = arith.addf %f, %one : f32\n%l_ = math.log1p "
            "%g : f32\n"
            "%r = arith.addf %w, %l_ : f32\ntile.yield %r : f32\n";
  c.scoreFn = [](double s, Index, Index, Index i, Index) { return std::pow(std::fabs(std::sin(s)) + 1, s) + std::log1p(i + 1.0); };
  check(c);
  c.type = DType::F64;
  c.tolerance = 1e-13;
  check(c);
}
