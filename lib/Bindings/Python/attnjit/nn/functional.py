"""The names of torch.nn.functional that have to do with attention."""
from __future__ import annotations

__all__: list[str] = []
