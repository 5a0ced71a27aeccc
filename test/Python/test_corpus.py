"""Every mod of test/Corpus as text and as callable: the text that a trace makes, and what attnjit computes, against eager PyTorch in f64."""

from __future__ import annotations

import ast
import functools
import itertools
import math
import pathlib
import re
import shlex

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")

from torch.nn.attention.flex_attention import and_masks, noop_mask, or_masks  # noqa: E402

from attnjit._trace import TraceError, trace  # noqa: E402
from trace_tools import check_trace, over_positions  # noqa: E402

CORPUS = pathlib.Path(__file__).resolve().parents[1] / "Corpus"
