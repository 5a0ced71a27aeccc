"""The names of torch.nn that have to do with attention."""
from . import attention, functional

__all__ = ["attention", "functional"]
