"""The one table of what a formula can call, as torch and numpy name it. A test holds it against the parser's own (lib/Expr/Builtins.cpp)."""

from __future__ import annotations

# The arguments of each mod, with their kinds.
SIGNATURES = {
    "score_mod": {"score": "float", "b": "int", "h": "int", "q_idx": "int", "kv_idx": "int"},
    "mask_mod": {"b": "int", "h": "int", "q_idx": "int", "kv_idx": "int"},
    "prob_mod": {"p": "float", "b": "int", "h": "int", "q_idx": "int", "kv_idx": "int"},
}

# What kind a function yields: "float", "bool", "int"; "promoted": the largest kind of its operands; "first": the kind of its first operand;
# "chosen": the largest of the second and the third, as of where.
ELEMENTWISE: dict[str, str] = {}


def _rows(kind: str, names: str) -> None:
    ELEMENTWISE.update(dict.fromkeys(names.split(), kind))


_rows("promoted", """add sub subtract rsub mul multiply floor_divide remainder fmod pow maximum minimum fmax fmin clamp clip clamp_min clamp_max
    addcmul heaviside hardtanh""")
_rows("first", """neg negative positive abs absolute sign sgn square floor ceil trunc fix round nan_to_num relu relu6 bitwise_not
    threshold masked_fill""")
_rows("promoted", "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift")
_rows("float", """true_divide div divide float_power fabs copysign reciprocal lerp ldexp addcdiv frac exp exp2 expm1 log log2 log10 log1p sqrt rsqrt
    logaddexp logaddexp2 logit xlogy xlog1py entr sin cos tan asin arcsin acos arccos atan arctan atan2 arctan2 sinh cosh tanh asinh arcsinh acosh
    arccosh atanh arctanh hypot sinc deg2rad radians rad2deg degrees erf erfc erfinv sigmoid expit gelu silu swish mish softplus logsigmoid softsign
    tanhshrink softshrink hardshrink elu celu selu prelu leaky_relu rrelu hardsigmoid hardswish rand""")
_rows("bool", """signbit eq ne not_equal lt less le less_equal gt greater ge greater_equal logical_and logical_or logical_xor logical_not isclose isnan
    isinf isposinf isneginf isfinite""")
_rows("chosen", "where")
_rows("int", "randint")

# Methods that change nothing for a formula.
UNCHANGED = frozenset("clone detach contiguous item cuda cpu".split())

# Functions of torch.nn.functional: written F.f.
FUNCTIONAL = frozenset("""gelu silu mish softplus logsigmoid softsign tanhshrink softshrink hardshrink elu celu selu prelu leaky_relu rrelu hardtanh
    hardsigmoid hardswish relu relu6 threshold""".split())

# Methods that convert, and the kind they convert to.
CASTS = {"float": "float", "double": "float", "int": "int", "long": "int", "bool": "bool", "byte": "int", "char": "int", "short": "int"}

REDUCTIONS = {"sum": "sum", "mean": "float", "amax": "first", "amin": "first", "max": "first", "min": "first", "any": "bool", "all": "bool",
              "count_nonzero": "int", "norm": "float", "vector_norm": "float"}
PRODUCTS = frozenset("dot vdot inner vecdot mv mm bmm matmul".split())
VIEWS = frozenset("view reshape flatten ravel transpose swapaxes permute t unsqueeze squeeze select narrow".split())

# Other libraries' names of the same functions.
NUMPY = {"power": "pow", "invert": "bitwise_not", "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift", "rint": "round",
         "around": "round", "divide": "true_divide", "mod": "remainder"}
TORCH = {"_threshold": "threshold", "log_sigmoid": "logsigmoid"}

OPERATORS = {"__add__": "+", "__sub__": "-", "__mul__": "*", "__truediv__": "/", "__floordiv__": "//", "__mod__": "%", "__pow__": "**",
             "__matmul__": "@", "__and__": "&", "__or__": "|", "__xor__": "^", "__lshift__": "<<", "__rshift__": ">>"}
COMPARISONS = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">=", "__eq__": "==", "__ne__": "!="}
SIGNS = {"__neg__": "-", "__pos__": "+", "__invert__": "~"}

# Functions of Python's math that a formula has; they take run-time values inside a traced function.
MATH = frozenset("""floor ceil trunc fabs fmod pow exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh
    atanh hypot copysign erf erfc isclose isnan isinf isfinite degrees radians""".split())

# Arguments that mean nothing to a formula.
IGNORED = frozenset("device requires_grad layout memory_format pin_memory non_blocking copy out inplace training stacklevel _stacklevel".split())

# What people reach for that no formula has, and what to write instead.
CURES = {
    "softmax": "the softmax over the keys is attention's own; else compute it before the call and capture the tensor",
    "cumsum": "compute it before the call and capture the tensor",
    "argmax": "compute it before the call and capture the tensor",
    "prod": "compute it before the call and capture the tensor, or multiply single elements",
    "gather": "index the tensor: t[i, j]",
    "index_select": "index the tensor: t[i]",
    "take_along_dim": "index the tensor: t[i, j]",
    "half": "a formula computes in float32 (float64 for float64 problems); drop the cast",
    "bfloat16": "a formula computes in float32 (float64 for float64 problems); drop the cast",
    "rand": "attnjit.rand(seed, offset) gives a random number as a function of a seed and a place",
    "randn": "attnjit.rand(seed, offset) gives a random number as a function of a seed and a place",
    "rand_like": "attnjit.rand(seed, offset) gives a random number as a function of a seed and a place",
    "randint": "attnjit.randint(seed, offset) gives a random number as a function of a seed and a place",
    "numpy": "keep to torch's functions; what is computed before the call may be captured",
    "backward": "a formula has no gradients",
}


def formula_name(name: str) -> str:
    """The name by which a formula calls what torch calls `name`: without special_ and linalg_."""
    for prefix in ("special_", "linalg_"):
        if name.startswith(prefix):
            name = name[len(prefix):]
    return TORCH.get(name, name)
