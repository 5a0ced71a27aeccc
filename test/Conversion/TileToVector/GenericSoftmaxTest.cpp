// The softmax of the generic lowering: rows that see nothing, NaN, and parts of the keys whose states are merged.
#include "GenericCase.h"

using namespace attnjit;
using namespace attnjit::testing;

TEST_CASE("A5: empty rows give 0 and -inf; -1e30 is a number") {
  Case c;
  c.mask = "%z = arith.constant 60 : i32\n%m1_ = arith.cmpi sge, %i, %z : i32\n%m2_ = arith.cmpi sge, %j, %z : i32\n"
           "%m_ = arith.andi %m1_, %m2_ : i1\ntile.yield %m_ : i1\n";
  c.maskFn = [](Index, Index, Index i, Index j) { return i >= 60 && j >= 60; };
  check(c);
  c.score = "%f_ = arith.constant -1.0e30 : f32\ntile.yield %f_ : f32\n";
  c.scoreFn = [](double, Index, Index, Index, Index) { return -1e30; };
  check(c);
}

TEST_CASE("A6: an unmasked NaN reaches the output, a masked one does not") {
  Case c = causal();
  auto poke = [](Operands &operands) {
    operands.k.set({0, 0, 50, 3}, NAN);
    operands.q.set({0, 1, 20, 0}, NAN);
  };
  check(c, poke);
}

TEST_CASE("tile.split: parts computed on their own and merged are the same attention") {
  for (auto [keys, twoPasses] : {std::pair<Index, bool>{1, false},
                                 {32, false},
                                 {50, false},
                                 {64, false},
                                 {200, false},
                                 {0, true},
                                 {1, true},
                                 {50, true},
                                 {200, true}}) {
    CAPTURE(keys);
    CAPTURE(twoPasses);
    Case c = causal();
    c.keysPerPart = keys;
    c.twoPasses = twoPasses;
    check(c);
    c.closedForm = "";
    c.Hq = 4, c.Hkv = 2;
    check(c, [](Operands &operands) { // in one part only; and what is masked stays out
      operands.k.set({0, 0, 50, 3}, NAN);
      operands.q.set({0, 1, 20, 0}, INFINITY);
    });
    c.N = 0;
    check(c);
  }
  Case c;
  c.keysPerPart = 30;
  c.type = DType::F64, c.tolerance = 1e-13;
  c.mask = "%z = arith.constant 60 : i32\n%m1_ = arith.cmpi sge, %i, %z : i32\n%m2_ = arith.cmpi sge, %j, %z : i32\n"
           "%m_ = arith.andi %m1_, %m2_ : i1\ntile.yield %m_ : i1\n"; // rows and parts that see nothing
  c.maskFn = [](Index, Index, Index i, Index j) { return i >= 60 && j >= 60; };
  check(c);
}

TEST_CASE("tile.split: runs of a plan are cut where parts end") {
  Case c = causal();
  c.closedForm = "";
  c.M = 16;
  c.keysPerPart = 40;
  c.runs = {{3, 17, 0}, {30, 81, 1}, {85, 90, 0}};
  check(c);
}
