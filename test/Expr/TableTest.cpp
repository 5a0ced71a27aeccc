// Tensors that the text makes: what they compute, what a formula reads of them, and what becomes of them in the IR.
#include "SameMeaning.h"

#include "Expr/Rewrite.h"
#include "Expr/Table.h"

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

/// `text`, an expression over known tensors that yields a bool, is decided when it is read.
void holds(std::string_view text) {
  const Formula formula = mask(text);
  CHECK_MESSAGE(formula.maskIsTrue(), std::string(text), "\n", print(formula));
}

constexpr std::string_view kModule = R"(
def generate_alibi_bias(H):
    slopes = torch.exp2(-(torch.arange(H, dtype=torch.float32) + 1) * 8.0 / H)
    def mod(score, b, h, q_idx, kv_idx):
        return score + slopes[h] * (kv_idx - q_idx)
    return mod

def documents(lengths):
    ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return lambda b, h, q_idx, kv_idx: ids[q_idx] == ids[kv_idx]

def offsets_to_ids(offsets):
    counts = offsets[1:] - offsets[:-1]
    return torch.repeat_interleave(torch.arange(len(counts), dtype=torch.int32), counts)

OFFSETS = torch.tensor([0, 5, 9])
IDS = offsets_to_ids(OFFSETS)

def same_document(b, h, q_idx, kv_idx):
    return IDS[q_idx] == IDS[kv_idx]
)";

} // namespace

TEST_CASE("makers have torch's dtypes and elements") {
  for (const char *text : {"torch.tensor([0, 5, 9]).dtype == torch.int64",
                           "torch.tensor([0.5, 1]).dtype == torch.float32",
                           "torch.tensor([True]).dtype == torch.bool",
                           "torch.tensor([1, 2], dtype=torch.int32).dtype == torch.int32",
                           "torch.tensor([[1, 2, 3], [4, 5, 6]]).shape == (2, 3)",
                           "torch.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]",
                           "torch.tensor([0.1])[0] != 0.1",
                           "torch.tensor([0.1], dtype=torch.float64)[0] == 0.1",
                           "torch.tensor([1.7, -1.7], dtype=torch.int64).tolist() == [1, -1]",
                           "torch.arange(4).tolist() == [0, 1, 2, 3]",
                           "torch.arange(1, 9, 3).tolist() == [1, 4, 7]",
                           "torch.arange(3, 0, -1).tolist() == [3, 2, 1]",
                           "torch.arange(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75]",
                           "torch.arange(3, dtype=torch.float32).dtype == torch.float32",
                           "torch.arange(0).numel() == 0",
                           "torch.arange(2 ** 62, 2 ** 62 + 3)[2] == 2 ** 62 + 2",
                           "torch.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]",
                           "torch.linspace(-1, 1, steps=1).tolist() == [-1]",
                           "torch.eye(2).tolist() == [[1, 0], [0, 1]]",
                           "torch.eye(2, 3, dtype=torch.bool)[0].tolist() == [True, False, False]",
                           "torch.zeros(2, 3).shape == (2, 3)",
                           "torch.ones((2,), dtype=torch.int64).tolist() == [1, 1]",
                           "torch.full((2, 2), 7).tolist() == [[7, 7], [7, 7]]",
                           "torch.full([1], 0.5).dtype == torch.float32",
                           "torch.zeros_like(torch.arange(3)).tolist() == [0, 0, 0]",
                           "torch.zeros(()) == 0",
                           "torch.tensor(torch.arange(2)).tolist() == [0, 1]",
                           "torch.tensor([1.0009765625 + 2 ** -12], dtype=torch.float16)[0] == 1.0009765625"})
    holds(text);
}

TEST_CASE("arithmetic of known tensors is torch's: broadcasting, promotion, rounding to f32") {
  for (const char *text : {"(torch.arange(3) * 2 + 1).tolist() == [1, 3, 5]",
                           "(torch.arange(3) / 2).tolist() == [0, 0.5, 1]",
                           "(torch.tensor([7, -7]) // 2).tolist() == [3, -4]",
                           "(torch.arange(2)[:, None] * 10 + torch.arange(3)).tolist() == [[0, 1, 2], [10, 11, 12]]",
                           "(torch.tensor([2 ** 62]) * 2)[0] == -(2 ** 62) * 2",
                           "(torch.tensor([True, False]) + torch.tensor([False, False])).tolist() == [True, False]",
                           "(torch.tensor([1, 2]) > 1).tolist() == [False, True]",
                           "(torch.tensor([1]) + 0.5).dtype == torch.float32",
                           "(torch.tensor([0.1]) * 3)[0] == torch.tensor([0.3000000119])[0]",
                           "(1 / torch.tensor([0, 2])).tolist() == [math.inf, 0.5]",
                           "(-torch.arange(3)).abs().tolist() == [0, 1, 2]",
                           "(~torch.tensor([True])).tolist() == [False]",
                           "torch.where(torch.arange(4) % 2 == 0, torch.arange(4), -1).tolist() == [0, -1, 2, -1]",
                           "torch.arange(4).clamp(min=1, max=2).tolist() == [1, 1, 2, 2]",
                           "(2 ** torch.arange(4)).tolist() == [1, 2, 4, 8]",
                           "torch.exp2(-torch.arange(1, 3).float()).tolist() == [0.5, 0.25]",
                           "torch.arange(3).to(torch.float32).dtype == torch.float32",
                           "torch.tensor([300]).to(torch.uint8)[0] == 44",
                           "torch.tensor([0.1]).half()[0] == 0.0999755859375",
                           "torch.tensor([0.1]).bfloat16().dtype == torch.bfloat16",
                           "torch.arange(3).bool().tolist() == [False, True, True]",
                           "torch.arange(6).view(2, 3).T.tolist() == [[0, 3], [1, 4], [2, 5]]",
                           "torch.arange(6).reshape(2, -1)[1, 2] == 5",
                           "torch.arange(6)[1::2].tolist() == [1, 3, 5]",
                           "torch.arange(6)[-2:].tolist() == [4, 5]",
                           "torch.arange(4).unsqueeze(0).squeeze().shape == (4,)"})
    holds(text);
}

TEST_CASE("reductions and functions of known tensors") {
  for (const char *text : {"torch.arange(5).sum() == 10",
                           "torch.tensor([[1, 2], [3, 4]]).sum(0).tolist() == [4, 6]",
                           "torch.tensor([[1, 5], [3, 4]]).amax(-1, keepdim=True).tolist() == [[5], [4]]",
                           "torch.tensor([3, 1, 2]).max() == 3 and torch.tensor([3, 1, 2]).min() == 1",
                           "torch.arange(4).float().mean() == 1.5",
                           "torch.tensor([True, False]).any()",
                           "not torch.tensor([True, False]).all()",
                           "torch.tensor([True, True]).sum() == 2",
                           "torch.dot(torch.arange(3), torch.arange(3)) == 5",
                           "(torch.eye(2) @ torch.tensor([[1., 2.], [3., 4.]])).tolist() == [[1, 2], [3, 4]]",
                           "torch.cumsum(torch.tensor([5, 4, 3]), 0).tolist() == [5, 9, 12]",
                           "torch.tensor([[1, 2], [3, 4]]).cumsum(dim=1).tolist() == [[1, 3], [3, 7]]",
                           "torch.cumprod(torch.arange(1, 5), dim=0).tolist() == [1, 2, 6, 24]",
                           "torch.repeat_interleave(torch.tensor([7, 8]), 2).tolist() == [7, 7, 8, 8]",
                           "torch.arange(3).repeat_interleave(torch.tensor([2, 0, 1])).tolist() == [0, 0, 2]",
                           "torch.repeat_interleave(torch.tensor([2, 1])).tolist() == [0, 0, 1]",
                           "torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor([5, 4])]).tolist() == [0, 5, 4]",
                           "torch.cat((torch.eye(2), torch.ones(2, 1)), dim=1).tolist() == [[1, 0, 1], [0, 1, 1]]",
                           "torch.stack([torch.arange(2), torch.arange(2) + 2]).tolist() == [[0, 1], [2, 3]]",
                           "torch.stack([torch.arange(2), torch.arange(2)], dim=1).tolist() == [[0, 0], [1, 1]]",
                           "torch.tensor([1, 4, 9]).diff().tolist() == [3, 5]",
                           "torch.arange(3).flip(0).tolist() == [2, 1, 0]",
                           "torch.arange(4).roll(1).tolist() == [3, 0, 1, 2]",
                           "torch.ones(2, 2).tril().tolist() == [[1, 0], [1, 1]]",
                           "torch.triu(torch.ones(2, 2), diagonal=1).tolist() == [[0, 1], [0, 0]]",
                           "torch.tensor([3, 9, 9]).argmax() == 1",
                           "torch.argsort(torch.tensor([3, 1, 2])).tolist() == [1, 2, 0]",
                           "torch.sort(torch.tensor([3, 1, 2]), descending=True)[0].tolist() == [3, 2, 1]",
                           "torch.unique(torch.tensor([2, 1, 2])).tolist() == [1, 2]",
                           "torch.bincount(torch.tensor([0, 2, 2])).tolist() == [1, 0, 2]",
                           "torch.arange(10)[torch.tensor([7, -1])].tolist() == [7, 9]",
                           "torch.arange(4)[torch.arange(4) % 2 == 1].tolist() == [1, 3]",
                           "torch.arange(4)[torch.tensor([], dtype=torch.int64)].numel() == 0",
                           "2 in torch.arange(3) and 3 not in torch.arange(3)",
                           "[x + 1 for x in torch.arange(3)] == [1, 2, 3]",
                           "torch.prod(torch.arange(1, 5)) == 24",
                           "len(torch.zeros(4, 2)) == 4",
                           "sum(torch.arange(4).tolist()) == 6",
                           "max(torch.arange(4).tolist()) == 3",
                           "list(zip(torch.arange(2).tolist(), 'ab'))[1][0] == 1"})
    holds(text);
}

TEST_CASE("a formula reads elements at positions") {
  checkMask("same_document", "(q_idx >= 5) == (kv_idx >= 5)", kModule);
  checkMask("documents([4, 5])", "(q_idx >= 4) == (kv_idx >= 4)", kModule);
  checkScore("generate_alibi_bias(4)", "score + 2.0 ** (-2 * (h + 1)) * (kv_idx - q_idx)", kModule);
  checkMask("torch.tensor([2, 0, 1])[h] == 0", "h == 1");
  checkMask("torch.tensor([[0, 1], [2, 3], [4, 5]])[h, b] == 3", "h == 1 and b == 1");
  checkMask("torch.arange(12).view(3, 4).T[b, h] == 5", "b == 1 and h == 1");
  checkMask("torch.arange(20)[3:][kv_idx] > 6", "kv_idx > 3");
  checkMask("torch.arange(12).view(3, 4)[h].sum() == 22", "h == 1");
  checkMask("(torch.tensor([0, 4, 7]) <= kv_idx).sum() == 2", "kv_idx >= 4 and kv_idx < 7");
  checkMask("(torch.arange(3) * w)[h] == 3", "h == 1"); // beside a captured number
  checkMask("h in torch.tensor([0, 2])", "h in (0, 2)");
  checkMask("doc[b][torch.arange(3)[h]] == 0", "doc[b, h] == 0");
  checkMask("torch.tensor([1, 2, 3])[-1 - h] == 3", "h == 0");
  checkScore("torch.where(q_idx >= kv_idx, score, torch.zeros(1))", "torch.where(q_idx >= kv_idx, score, 0.0)"); // of one element
}

TEST_CASE("a read outside a table is reported, like one of a captured tensor") {
  bool reported = false;
  const Formula formula = mask("torch.tensor([1, 2])[kv_idx] == 1");
  walk(formula, formula.mask, [&](auto, auto, auto, auto kv, const Outcome &outcome) {
    CHECK(outcome.outOfRange == (kv > 1));
    reported |= outcome.outOfRange;
  });
  CHECK(reported);
}

TEST_CASE("known tensors may be filled before they are read") {
  checkMask("make(3)", "h == 2", R"(
def make(n):
    table = torch.zeros(n, dtype=torch.bool)
    other = table
    for i in range(n):
        table[i] = i == 2
    return lambda b, h, q, kv: other[h]
)");
  checkMask("mod", "h > 0 and b == 0", R"(
table = torch.zeros(3, 2)
table[1:, 0] = 1
table[2] += torch.tensor([0.5, 0])
def mod(b, h, q_idx, kv_idx):
    return table[h, b] > 0
)");
}

TEST_CASE("tables are arguments of the kernel: printed, read back, and no part of what is compiled in") {
  const Formula narrow = parse({"", "documents([4, 5])", kModule}), wide = parse({"", "documents([1, 2, 3, 9])", kModule});
  CHECK(print(narrow).find("capture #t0 : i64 rank 1 = [9] 0 0 0 0 1 1 1 1 1\n") != std::string::npos);
  CHECK(print(narrow) != print(wide));
  CHECK(withoutLiteralValues(print(narrow)) == withoutLiteralValues(print(wide)));
  CHECK(hash(narrow) == hash(wide));
  const Result<Formula> again = parseCanonical(print(narrow));
  REQUIRE(again);
  CHECK(print(*again) == print(narrow));
  CHECK(again->captures.back().isOwn());
  const Formula floats = score("score + torch.tensor([[0.1, -math.inf, math.nan]])[0, h]");
  const Result<Formula> read = parseCanonical(print(floats));
  REQUIRE(read);
  CHECK(print(*read) == print(floats));
  for (const char *bad : {"capture #t0 : i64 rank 1\n", "capture #t0 : i64 rank 1 = [2] 1\n", "capture #t0 : i64 rank 2 = [2] 1 2\n",
                          "capture #t0 : i64 rank 1 = [2] 1 2 3\n", "capture #t0 : i64 rank 1 = [70000] 1\n",
                          "capture #t0 : i64 rank 1 = [-1] 1\n", "capture #t0 : bool rank 1 = [1] 1.5\n"})
    CHECK_MESSAGE(!parseCanonical(bad + print(Formula::identity())), bad);
}

TEST_CASE("tables of mods that are joined stay apart") {
  Formula both = parse({"", "documents([4, 5])", kModule});
  const Formula other = parse({"", "documents([5, 4])", kModule});
  const Result<Renaming> renaming = adopt(both, other);
  REQUIRE(renaming);
  REQUIRE(both.captures.size() == Captures::infos().size() - 4 + 2); // the tensors of the test, and two of their own
  CHECK(both.captures[6].name == "#t0");
  CHECK(both.captures[7].name == "#t1");
  CHECK(renaming->captures.back() == 7);
  CHECK(tableText(both.captures[7]) == "[9] 0 0 0 0 0 1 1 1 1");
  CHECK(maskOnly(both).captures.size() == 1);
  // What nothing reads is no table of the formula.
  CHECK(mask("torch.arange(3).sum() == q_idx").captures.size() == 6);
}

TEST_CASE("the score and the mask of one module share a table, and its size is bounded") {
  const Formula formula = parse({"score + IDS[q_idx] + OFFSETS[h]", "same_document", kModule});
  REQUIRE(formula.captures.size() == 8);
  CHECK(formula.captures[6].dtype == DType::I32);
  CHECK(formula.captures[7].name == "#t1");
  const std::string_view half = "torch.arange(40000)[q_idx] == kv_idx", other = "score + torch.arange(1, 40001)[q_idx]";
  CHECK(parseFormula({"score + torch.arange(40000)[q_idx]", half}, {}));
  const Result<Formula> both = parseFormula({other, half}, {});
  REQUIRE(!both);
  CHECK(both.error().message.find("the tensors that this formula makes have 80000 elements together") != std::string::npos);
}
