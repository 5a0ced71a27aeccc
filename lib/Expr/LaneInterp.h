// Evaluates a Function at many positions at once: the same meaning as Interp, an order of magnitude faster.
//
// The lanes run along one of the two sequence axes. A node that depends on that axis or on the score is computed for all lanes in one loop
// per op; all others are computed once and copied to the lanes, anew only when what they depend on changes. Worked example, lanes along kv
// of `docs[q_idx] == docs[kv_idx]`: docs[q_idx] is loaded once per query, docs[kv_idx] and the comparison run over the lanes.
#pragma once

#include "Expr/Interp.h"

#include <array>
#include <memory>
#include <span>
#include <vector>

namespace attnjit::expr {

class LaneInterp {
public:
  static constexpr int kLanes = 128;

  /// Computes `roots` of `function` and what they need. `axis` is Param::Q or Param::Kv. `function` and what `bindings` refers to must
  /// outlive this. One thread at a time.
  LaneInterp(const Function &function, const Bindings &bindings, std::span<const ValueId> roots, Param axis, Floats floats = Floats::F64);

  /// Lane i of [0, count), count <= kLanes, is `first` with its axis coordinate advanced by i * step, and has the i-th of `scores`, where
  /// null stands for zeros. True when a captured index left its tensor in some lane; such a load reads as in Interp::evaluate.
  bool run(const Position &first, std::int64_t step, int count, const double *scores = nullptr);

  /// The lanes of a root after run(): Ints and Bools, or Floats.
  const std::int64_t *ints(ValueId root) const { return lanesOf(root).i; }
  const double *floats(ValueId root) const { return lanesOf(root).f; }

private:
  union alignas(64) Lanes {
    std::int64_t i[kLanes];
    double f[kLanes];
  };
  /// When a node has to be computed anew: never, for a new (b, h), for a new place on the other axis, for every run.
  enum Stage { Uniform, PerHead, PerOther, PerLane, StageCount };

  /// Where the lanes of a run lie, and their scores.
  struct Row {
    Position first;
    std::int64_t step;
    int count;
    const double *scores;
  };

  const Lanes &lanesOf(ValueId id) const { return lanes[slots[id]]; }
  void runScalars(Stage stage, const Position &at);
  /// Each computes one step and says whether a captured index left its tensor.
  bool runScalar(const Step &step, const Position &at);
  bool runLanes(const Step &step, const Row &row);
  void loadParam(const Step &step, const Row &row);
  bool reduceLanes(const Step &step, const Row &row);
  void spread(ValueId id); ///< from the scalar to its lanes
  bool loadLanes(const Step &step, int count);
  void applyLanes(const Step &step, int count);
  void round(Lanes &values, int count) const;

  const Function &function;
  Bindings bindings;
  Param axis;
  Floats arithmetic;
  std::vector<Step> steps[StageCount];
  std::vector<bool> isLane, isSpread; ///< isSpread: not of the lanes, but read by one that is
  ScalarSteps scalars;                ///< of nodes that are not of the lanes
  std::vector<int> slots;             ///< place in `lanes`, -1 for none
  std::unique_ptr<Lanes[]> lanes;
  bool stageOutOfRange[StageCount] = {};
  Position last;
  bool hasLast = false;
};

} // namespace attnjit::expr
