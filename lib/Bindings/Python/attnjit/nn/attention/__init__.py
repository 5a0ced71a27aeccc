"""The names of torch.nn.attention, for every array library."""
from ..._backends import SDPBackend, sdpa_kernel

__all__ = ["SDPBackend", "sdpa_kernel", "WARN_FOR_UNFUSED_KERNELS"]

WARN_FOR_UNFUSED_KERNELS = False
"""Set it to True for a warning, with every reason, whenever MATH computes a call that a fused backend was allowed for."""
