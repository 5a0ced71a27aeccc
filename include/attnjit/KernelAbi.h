// The binary contract between generated kernels and whoever launches them.
//
// A kernel image is position independent, has no external symbol and receives everything through one KernelArgs.
// What a kernel was specialised for (D, Dv, dtypes, formula, stride class ...) stands in its KernelImage metadata; all
// that may change from call to call stands here, so a new length, batch, window or stride never needs a new kernel.
//
// Work is cut into numbered *units*. The launcher calls the entry point on ranges of units, from any number of threads, each with a
// workspace of its own; results never depend on how the range was cut (A11). There are two grids; the image's metadata say which.
//
// Tiles (stateRowBytes = 0): unit t covers query rows [qt * tileRows, min(M, (qt + 1) * tileRows)) of batch b, head h with
// t = (b * Hq + h) * ceil(M / tileRows) + qt.
//
// Parts (stateRowBytes > 0): the query rows of all G = Hq / Hkv heads of one kv head stand in one list, row r being query r / G of head
// hkv * G + r % G, so that K and V are read once for all of them. With R = M * G rows, rowTiles = ceil(R / tileRows) and the parts of
// SplitArg,
//
//     unit  (p, t) = ((b * Hkv + hkv) * parts + p) * rowTiles + rt       computes rows [rt * tileRows, ...) over the keys of part p
//     unit  U + t,  U = B * Hkv * parts * rowTiles,  t = (b * Hkv + hkv) * rowTiles + rt        merges the parts of t in index order
//
// With one part its unit writes the results and there are no merges. Otherwise it writes its state, min(R, tileRows) * stateRowBytes bytes,
// to states at the unit's index, and unit U + t may run as soon as all parts of t have returned: no barrier between the two.
//
// Rounds (2, of a kernel with parts whose output needs what all parts of its tile have found): with T tiles and several parts, the units of
// the second round are U + T + unit (p, t), and U + T + (U + t) for merging. They run after the first round is over, find its states where
// it left them, and write the output. With one part there is one round.
//
// Generated code reads these fields by offsetof; test/Unit/KernelAbiTest.cpp holds the two together. Any change here is a new
// kAbiVersion.
#pragma once

#include <cstddef>
#include <cstdint>

namespace attnjit::inline v0 {

inline constexpr std::uint32_t kAbiVersion = 5;

/// One of q, k, v, out, lse, max, sinks. Strides in elements, in the order batch, head, row, column; 0 broadcasts. lse, max and
/// sinks have no column. `data` of lse and max may be null: then that output is not wanted.
struct OperandArg {
  void *data;
  std::int64_t strides[4];
};

/// Factors of the elements of q, k or v, one for each batch and kv head: data[b * strides[0] + hkv * strides[1]].
struct DescaleArg {
  const float *data;
  std::int64_t strides[2];
};

/// A captured tensor; entries past its rank are 0.
struct CaptureArg {
  const void *data;
  std::int64_t sizes[6];
  std::int64_t strides[6];
};

/// A captured scalar: `i` for int and bool slots, `f` for float slots, as the image's metadata says.
union ScalarArg {
  std::int64_t i;
  double f;
};

/// Keys [kvBegin, kvEnd) that a query tile has to visit, in tokens. `full` = 1: mask_mod is known true for every pair of
/// the run and is not evaluated; 0: partial ("unknown" is always legal).
struct RunArg {
  std::int64_t kvBegin;
  std::int64_t kvEnd;
  std::int64_t full;
};

/// The plan: for query tile qt of (b, h), with i = b * batchStride + h * headStride + qt, the runs
/// runs[offsets[i]] .. runs[offsets[i + 1] - 1], ascending and disjoint. `offsets` null: one partial run [0, N), which the
/// kernel's own closed form of the mask narrows block by block. With parts: one tile of all queries, h the first head of a kv head.
struct PlanArg {
  const std::int64_t *offsets;
  const RunArg *runs;
  std::int64_t batchStride;
  std::int64_t headStride;
};

/// Scalar math for what generated code does not expand inline. Each works in place on n contiguous elements:
/// x[i] = f(x[i]) or x[i] = f(x[i], y[i]).
using UnaryF32Fn = void (*)(float *x, std::int64_t n);
using UnaryF64Fn = void (*)(double *x, std::int64_t n);
using BinaryF32Fn = void (*)(float *x, const float *y, std::int64_t n);
using BinaryF64Fn = void (*)(double *x, const double *y, std::int64_t n);

/// The only calls a CPU kernel makes; the order of RuntimeFns.def is ABI.
struct FunctionTable {
#define ATTNJIT_RUNTIME_UNARY(NAME)                                                                                                        \
  UnaryF32Fn NAME##F32;                                                                                                                    \
  UnaryF64Fn NAME##F64;
#define ATTNJIT_RUNTIME_BINARY(NAME)                                                                                                       \
  BinaryF32Fn NAME##F32;                                                                                                                   \
  BinaryF64Fn NAME##F64;
#include "attnjit/RuntimeFns.def"
};

/// No captured index was out of range.
inline constexpr std::int64_t kStatusOk = INT64_MAX;

/// How the keys are cut into parts, and where the states of parts meet. A function of the problem and the image alone (A11).
struct SplitArg {
  /// Keys per part, a multiple of tileCols: part p covers keys [p * keys, min(N, (p + 1) * keys)).
  std::int64_t keys;
  /// ceil(N / keys), at least 1.
  std::int64_t parts;
  /// Aligned to 64; null with one part. On a GPU to 16, and one u32 for each tile stands behind, 0 before the launch: it counts parts in.
  void *states;
};

/// Where the rows of K and V lie, for kernels that were compiled for pages: row r of batch b is row r mod size of page
/// table[b * batchStride + floor(r / size)], and strides[0] of k and v is the distance of two pages. Entries past the page of row N - 1
/// are not read.
struct PagesArg {
  const std::int64_t *table;
  std::int64_t batchStride;
  std::int64_t size; ///< rows per page, at least 1
};

struct KernelArgs {
  std::int64_t B, Hq, Hkv, M, N;
  double scale;
  OperandArg q, k, v, out, lse, max;
  OperandArg sinks; ///< read by kernels with sinks only; one value per query head, so its batch and row strides are 0
  const CaptureArg *captures;
  const ScalarArg *scalars;
  PlanArg plan;
  /// Starts as kStatusOk; the kernel atomically lowers it to the smallest code ((b * Hq + h) * M + q) * N + kv at which a
  /// captured tensor was indexed out of range (A10).
  std::int64_t *status;
  const FunctionTable *functions;
  SplitArg split; ///< read by kernels with parts only
  PagesArg pages; ///< read by kernels for pages only
  /// Elements of q, k and v stand for themselves times these. Of the three `data` all are null (no factors) or none is.
  DescaleArg qDescale, kDescale, vDescale;
};

/// Entry point of a CPU image: computes units [unitBegin, unitEnd). `workspace`: workspaceBytes of the metadata, aligned to
/// 64, private to this call while it runs, contents undefined before and after.
using CpuKernelFn = void (*)(const KernelArgs *args, std::int64_t unitBegin, std::int64_t unitEnd, void *workspace);

} // namespace attnjit::inline v0
