// Kernels of the generic lowering, run against a plain f64 loop: a case is shapes, types and a formula, as tile-dialect text and as C++.
#pragma once

#include "JitHarness.h"
#include "attnjit/KernelAbi.h"
#include "attnjit/Types.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace attnjit::testing {

using Index = std::int64_t;

std::size_t bytesOf(DType type);
const char *mlirName(DType type);
double readElement(const char *at, DType type);
void writeElement(char *at, DType type, double value);

/// Memory between two pages that cannot be touched, so that a read past either end is a fault.
class GuardedBytes {
public:
  explicit GuardedBytes(std::size_t bytes);
  ~GuardedBytes();
  GuardedBytes(const GuardedBytes &) = delete;
  char *data;

private:
  char *base;
  std::size_t mapped;
};

/// A dense tensor whose elements stand `columnStep` apart.
struct Tensor {
  DType type;
  std::vector<Index> sizes, strides;
  std::unique_ptr<GuardedBytes> memory;

  Tensor(DType type, std::vector<Index> sizes, Index columnStep = 1) : type(type), sizes(sizes), strides(sizes.size()) {
    Index step = columnStep, count = 1;
    for (std::size_t dim = sizes.size(); dim-- > 0; step *= sizes[dim], count *= sizes[dim])
      strides[dim] = step;
    std::size_t elements = count ? (count - 1) * columnStep + 1 : 0;
    memory = std::make_unique<GuardedBytes>(elements * bytesOf(type));
  }
  char *at(std::initializer_list<Index> index) const {
    Index offset = 0;
    std::size_t dim = 0;
    for (Index i : index)
      offset += i * strides[dim++];
    return memory->data + offset * bytesOf(type);
  }
  double get(std::initializer_list<Index> index) const { return readElement(at(index), type); }
  void set(std::initializer_list<Index> index, double value) { writeElement(at(index), type, value); }
  OperandArg operand() const {
    OperandArg arg{memory->data, {}};
    std::copy(strides.begin(), strides.end(), arg.strides);
    return arg;
  }
};

struct Case {
  Index B = 1, Hq = 2, Hkv = 1, M = 70, N = 90, D = 24, Dv = 20;
  DType type = DType::F32;
  Index tileRows = 16, tileCols = 32;
  Index columnStep = 1;
  bool checked = false;
  bool wide = false;                   ///< 64-bit indices
  Index keysPerPart = 0;               ///< not 0: the program is split
  bool twoPasses = false;              ///< the state first, then the output
  std::string score, mask, closedForm; ///< bodies; names: %s %b %h %i %j, captures %c0.., scalars %x0..; closed form: %qlo %qhi %klo %khi.
                                       ///< Written for i32 and f32; see retype()
  std::function<double(double, Index, Index, Index, Index)> scoreFn;
  std::function<bool(Index, Index, Index, Index)> maskFn;
  std::vector<const Tensor *> captures;
  std::vector<double> scalars; ///< f32 slots
  std::vector<RunArg> runs;    ///< the same for every tile, if not empty
  double tolerance = 3e-6;
};

struct Operands {
  Tensor q, k, v, out, lse, max;
  explicit Operands(const Case &c)
      : q(c.type, {c.B, c.Hq, c.M, c.D}, c.columnStep), k(c.type, {c.B, c.Hkv, c.N, c.D}, c.columnStep),
        v(c.type, {c.B, c.Hkv, c.N, c.Dv}, c.columnStep), out(c.type, {c.B, c.Hq, c.M, c.Dv}),
        lse(c.type == DType::F64 ? DType::F64 : DType::F32, {c.B, c.Hq, c.M}), max(lse.type, {c.B, c.Hq, c.M}) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    for (Tensor *tensor : {&q, &k, &v})
      forEach(tensor->sizes, [&](Index b, Index h, Index r, Index d) { tensor->set({b, h, r, d}, normal(random)); });
  }
  template <typename Body> static void forEach(const std::vector<Index> &sizes, Body body) {
    for (Index b = 0; b < sizes[0]; ++b)
      for (Index h = 0; h < sizes[1]; ++h)
        for (Index r = 0; r < sizes[2]; ++r)
          for (Index d = 0; d < sizes[3]; ++d)
            body(b, h, r, d);
  }
};

/// Runs a case on one target; returns the status word.
std::int64_t run(const Case &c, const TargetDesc &target, Operands &operands, bool wantsRows = true);

/// Runs a case on every target of this machine, with operands that `poke` may change, and checks all that it computes.
void check(const Case &c, const std::function<void(Operands &)> &poke = nullptr, bool wantsRows = true);

/// Causal, with its closed form.
Case causal();

} // namespace attnjit::testing
