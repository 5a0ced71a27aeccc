"""attnjit: attention from formulas, compiled for this machine on first use.

`attnjit.nn.attention` has the names of `torch.nn.attention`: replacing the import is the whole migration. `attention` offers what PyTorch does not have, on arrays of
NumPy, PyTorch, JAX, CuPy and whatever else speaks DLPack or the buffer protocol.
"""
from ._core import Engine, ExplainReport, FormulaError, Kernel, Report, __version__
from ._merge import merge_states as merge_states
from ._engines import engine, set_engine
from ._forward import attention, explain, prepare, stages
from ._mods import Mod
from ._trace import TraceError, Traced, rand, randint, trace
from ._tuning import autotune, warm_up
from . import _core, _display, nn

_display.install(_core)

__all__ = ["Engine", "ExplainReport", "FormulaError", "Kernel", "Mod", "Report", "TraceError", "Traced", "__version__", "attention", "autotune", "engine", "explain", "merge_states", "nn",
           "prepare", "rand", "randint", "set_engine", "stages", "trace", "warm_up"]
