"""The order in which a deterministic backward pass of PyTorch's would add to the gradient of query: members of a BlockMask that no forward pass reads."""
from __future__ import annotations

from typing import Any

import numpy as np


def write_orders(present: np.ndarray[Any, Any], q_indices: np.ndarray[Any, Any], descending: bool) -> np.ndarray[Any, Any]:
    """int32 [B, H, columns, rows]: for each row of blocks that q_indices [B, H, columns, rows] lists for a column, how many columns add to it before this one does. Columns come
    in ascending order, or in descending. present [B, H, rows, columns] is 1 for a block that is looked at."""
    before = np.cumsum(present, -1) - present
    if descending:
        before = present.sum(-1, keepdims=True) - 1 - before
    return np.take_along_axis(before.swapaxes(2, 3), q_indices.astype(np.int64), -1).astype(np.int32)
