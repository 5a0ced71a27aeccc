// try, raise and match over what is known when the formula is read, and the escapes of strings.
#include "SameMeaning.h"

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

/// A factory `pick` that yields a number; the mask compares q_idx with it.
void picks(std::string_view factory, std::string_view call, int wanted) {
  const std::string module = std::string(factory) + "\ndef mod(n):\n    return lambda b, h, q, kv: q == n\n";
  checkMask("mod(" + std::string(call) + ")", "q_idx == " + std::to_string(wanted), module);
}

} // namespace

TEST_CASE("a handler takes the exceptions that it names") {
  const std::string_view kPick = R"(
TABLE = {"causal": 1, "full": 2}
def pick(action):
    try:
        result = action()
    except KeyError:
        return 10
    except (IndexError, ZeroDivisionError) as error:
        return 11
    except ValueError as error:
        return 12 + len(str(error))
    except TypeError:
        return 30
    except AssertionError:
        return 31
    except Exception:
        return 32
    else:
        return result
def bad():
    raise ValueError("three")
def custom():
    raise MaskError("why")
def asserts():
    assert 1 > 2, "no"
def two(a, b):
    return 5
)";
  picks(kPick, "pick(lambda: TABLE['full'])", 2);
  picks(kPick, "pick(lambda: TABLE['window'])", 10);
  picks(kPick, "pick(lambda: [1, 2][5])", 11);
  picks(kPick, "pick(lambda: torch.arange(2)[5].item())", 11);
  picks(kPick, "pick(lambda: 1 // 0)", 11);
  picks(kPick, "pick(lambda: [1, 2].index(3))", 12 + 29);
  picks(kPick, "pick(bad)", 17);
  picks(kPick, "pick(lambda: two(1))", 30);
  picks(kPick, "pick(lambda: 1 + 'a')", 30);
  picks(kPick, "pick(asserts)", 31);
  picks(kPick, "pick(custom)", 32);
}

TEST_CASE("kinds of exceptions, raising again, finally and else") {
  picks("def pick():\n    try:\n        return {}['a']\n    except LookupError:\n        return 3\n", "pick()", 3);
  picks("def pick():\n    try:\n        raise NotImplementedError\n    except RuntimeError:\n        return 4\n", "pick()", 4);
  picks("def pick():\n    try:\n        raise torch.OutOfMemoryError('x')\n    except torch.OutOfMemoryError:\n        return 4\n",
        "pick()", 4);
  picks(R"(
def pick():
    seen = []
    try:
        try:
            raise ValueError("inner")
        except ValueError:
            seen.append(1)
            raise
        finally:
            seen.append(2)
    except ValueError as error:
        seen.append(3 if str(error) == "inner" else 9)
    else:
        seen.append(9)
    finally:
        seen.append(4)
    return seen[0] * 1000 + seen[1] * 100 + seen[2] * 10 + seen[3]
)",
        "pick()", 1234);
  picks("def pick():\n    try:\n        return 1\n    finally:\n        return 2\n", "pick()", 2);
  picks("def pick():\n    for i in range(3):\n        try:\n            if i < 2:\n                continue\n        finally:\n            "
        "last = i\n    return last\n",
        "pick()", 2);
  picks("def pick():\n    try:\n        import flash_attn\n    except ImportError:\n        return 1\n    return 2\n", "pick()", 2);
  picks(R"(
def pick():
    try:
        try:
            {}["a"]
        except ValueError:
            return 1
    except KeyError as e:
        try:
            raise e
        except KeyError:
            return 6
)",
        "pick()", 6);
  picks("try:\n    WIDTH = {}['w']\nexcept KeyError:\n    WIDTH = 5\n", "WIDTH", 5);
}

TEST_CASE("a mod may choose by its texts: match") {
  const std::string_view kPick = R"(
SIZE = 7
class Kinds:
    pass
def pick(x):
    match x:
        case 0 | 1:
            return 100
        case -1:
            return 101
        case "causal" | "full":
            return 102
        case None:
            return 103
        case True:
            return 104
        case []:
            return 105
        case [1, 2]:
            return 106
        case ("window", size) if size > 5:
            return 107 + size
        case "window", _:
            return 108
        case [first, *rest]:
            return 120 + len(rest)
        case float() | int() as number:
            return 130 + int(number)
        case str():
            return 140
        case other:
            return 150
)";
  for (const auto &[call, wanted] : {std::pair("0", 100),
                                     {"1", 100},
                                     {"1.0", 100},
                                     {"-1", 101},
                                     {"'causal'", 102},
                                     {"'full'", 102},
                                     {"None", 103},
                                     {"True", 100},
                                     {"[]", 105},
                                     {"[1, 2]", 106},
                                     {"('window', 6)", 113},
                                     {"('window', 5)", 108},
                                     {"[9, 8, 7]", 122},
                                     {"(3,)", 120},
                                     {"2.5", 132},
                                     {"5", 135},
                                     {"'x'", 140},
                                     {"{}", 150}})
    picks(kPick, "pick(" + std::string(call) + ")", wanted);
  picks("def pick(x):\n    match x:\n        case 1:\n            y = 1\n        case _:\n            y = 2\n    return y\n", "pick(3)", 2);
  picks("def pick(x):\n    match x, 2:\n        case 1, y:\n            return y\n    return 0\n", "pick(1)", 2);
  picks("def pick(x):\n    match x:\n        case 5:\n            return 1\n    return 9\n", "pick(1)", 9);
  // It stays a name.
  picks("match = 3\nmatch = match + 1\n", "match", 4);
}

TEST_CASE("escapes in strings") {
  for (const char *text : {R"(len("\n\t\\\"\'") == 5)", R"("\x41\u0042\103" == "ABC")", R"("\u00e9" == "é" and "\U0001F600" == "😀")",
                           R"(len(r"\n") == 2 and r"\n"[0] == "\\")", R"(f"{1}\n{2}" == "1\n2")", R"(rf"\{1}" == "\\1")",
                           R"(R"\x" == "\\x")", R"("a\tb".split("\t") == ["a", "b"])", R"("\d" == r"\d")", "'''a\\\nb''' == 'ab'",
                           R"(repr("\\\n") == "'\\\\\\n'")", R"("a" "\x62" == "ab")", R"("{}\n".format(1) == "1\n")"})
    CHECK_MESSAGE(mask(text).maskIsTrue(), text);
}
