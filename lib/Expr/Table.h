// The tensors that a text makes: their elements as bytes, as text and as numbers.
#pragma once

#include "Expr/Ir.h"
#include "Expr/PyNumber.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace attnjit::expr {

/// Shortest text that reads back to the same bits; independent of the locale.
std::string floatText(double value);

/// `number` as an element of that dtype holds it: floats are rounded to nearest even, ints wrap, floats lose their fraction on the way to
/// an int, and any number but 0 is True.
PyNumber asElement(const PyNumber &number, DType dtype);

/// Elements that asElement() has made, row-major.
std::shared_ptr<const Table> makeTable(std::vector<std::int64_t> sizes, DType dtype, std::span<const PyNumber> elements);

std::size_t tableElements(const Table &table);
/// A view of the elements, which the declaration's table owns.
TensorRef tensorOf(const CaptureDecl &decl);

/// "'doc', 'keep'": the captures, for messages. The tensors that the text makes have no names.
std::string listCaptures(const Formula &formula);

/// "[2, 3] 0 1 2 3 4 5"
std::string tableText(const CaptureDecl &decl);
/// The inverse; null where the text is no table of that dtype and rank, or has more elements than `most`.
std::shared_ptr<const Table> tableFromText(std::string_view text, DType dtype, int rank, std::size_t most);

} // namespace attnjit::expr
