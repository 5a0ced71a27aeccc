// What one element of a tensor is: linalg ops and reshapes read backwards, as functions of a position.
//
// An element is a node of a graph in which equal things are one node. A position is a list of affine expressions in the dimensions below,
// so that splitting and joining dimensions, transposing and broadcasting leave no trace but in the expressions:
//
//   %e = tensor.expand_shape %s [[0, 1], [2], [3]] : tensor<12x?x?xf32> into tensor<3x4x?x?xf32>     %e[b, h, i, j] is %s[4 b + h, i, j]
//
// That two tensors hold the same numbers is proved by their elements at one position being one node. Whatever is not understood is an
// Element, a number that lies in a tensor; so no node is ever wrong, it is only less than could be known.
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/AffineExpr.h"

#include <map>
#include <optional>
#include <vector>

namespace attnjit::attn {

/// Dimensions of positions. Sum is the one over which queries and keys are multiplied.
enum Dim : unsigned { Batch, Head, Query, Key, Column, Sum, kDims };

using NodeId = unsigned;

/// A number in a tensor.
struct Place {
  mlir::Value tensor;
  llvm::SmallVector<mlir::AffineExpr, 4> at;
};

struct Node {
  enum Kind {
    Op,       ///< `name` with `attributes` on `operands`; linalg.softmax on the element that it maps
    Index,    ///< `index`, of type index
    Constant, ///< `constant`
    Scalar,   ///< `scalar`, a value from outside of all tensors
    Element,  ///< what lies at `place`
    Reduce,   ///< `name` joins operands[0] for all keys, beginning with `constant`; lies at `place`
    Dot,      ///< sum over Sum of the products of what lies at `left` and `right`; lies at `place`
  } kind;
  mlir::Type type;
  mlir::StringAttr name{};
  mlir::DictionaryAttr attributes{};
  llvm::SmallVector<NodeId, 2> operands{};
  mlir::Attribute constant{};
  mlir::AffineExpr index{};
  mlir::Value scalar{};
  Place place{}, left{}, right{};

  bool isOp(llvm::StringRef mnemonic) const { return kind == Op && name == mnemonic; }
};

/// `body` as a product of two arguments of the block, each perhaps through arith.extf, added to the last one: the argument numbers.
std::optional<std::pair<unsigned, unsigned>> matchMultiplyAdd(mlir::Block &body);

class Elements {
public:
  explicit Elements(mlir::MLIRContext *context) : context(context), sizes(kDims, mlir::ShapedType::kDynamic) {}

  /// A static size lets positions be simplified.
  void setSize(Dim dim, int64_t size) { sizes[dim] = size; }
  int64_t sizeOf(Dim dim) const { return sizes[dim]; }
  mlir::AffineExpr dim(Dim dim) const { return mlir::getAffineDimExpr(dim, context); }

  NodeId elementOf(const Place &place);
  const Node &operator[](NodeId id) const { return nodes[id]; }
  /// All nodes that `root` is made of, operands first, itself last; those that lie in a tensor and are not among `open` count as leaves.
  std::vector<NodeId> reachable(NodeId root) const;

  /// Where the number at `place` lies before it was moved, and before it was widened if `widened`.
  Place source(Place place, bool widened) const;
  /// Position of an operand of a linalg op whose loops stand at `loops`.
  Place placeOf(mlir::Value tensor, mlir::AffineMap map, llvm::ArrayRef<mlir::AffineExpr> loops) const;
  mlir::AffineExpr simplify(mlir::AffineExpr expr) const;

private:
  NodeId add(Node node);
  NodeId scalar(mlir::Value value);
  NodeId element(const Place &place);
  NodeId makeElement(const Place &place);
  bool lookThrough(Place &place) const;
  std::optional<NodeId> ofLinalg(mlir::linalg::LinalgOp op, const Place &place);
  std::optional<NodeId> ofReduction(mlir::linalg::LinalgOp op, const Place &place, llvm::ArrayRef<mlir::AffineExpr> loops, bool isDot);
  std::optional<NodeId> ofSoftmax(mlir::linalg::SoftmaxOp op, const Place &place);
  using BodyNodes = llvm::DenseMap<mlir::Value, NodeId>;
  std::optional<NodeId> ofBody(mlir::linalg::LinalgOp op, mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> loops, BodyNodes &done);
  std::optional<NodeId> makeOfBody(mlir::linalg::LinalgOp op, mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> loops, BodyNodes &done);
  std::optional<std::pair<int64_t, int64_t>> rangeOf(mlir::AffineExpr expr) const;

  mlir::MLIRContext *context;
  std::vector<int64_t> sizes;
  std::vector<Node> nodes;
  std::map<std::vector<uintptr_t>, NodeId> known, places; ///< by what they are, and by where they were asked for
};

} // namespace attnjit::attn
