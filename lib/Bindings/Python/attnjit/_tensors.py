"""Arrays of any library: what the core is told about them, and new ones of the same library for results.

PyTorch and NumPy (with ml_dtypes for bfloat16 and the 8-bit floats) are asked for an address; whatever else speaks DLPack or the buffer protocol is read through
that. No library is imported here that the user has not imported.
"""
from __future__ import annotations

import functools
import sys
from itertools import chain
from typing import Any, Mapping, Sequence

import numpy as np

from . import _core

Shape = Sequence[int]

LONG_NAMES = {"f64": "float64", "f32": "float32", "bf16": "bfloat16", "f16": "float16", "f8e4m3fn": "float8_e4m3fn", "f8e5m2": "float8_e5m2"}
"""PyTorch's names of the core's floats."""


def _torch() -> Any:
    return sys.modules.get("torch")


def is_torch(array: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def is_array(value: Any) -> bool:
    """Whether `value` is a tensor of some library rather than a number."""
    if is_torch(value) or isinstance(value, (np.ndarray, _core.Tensor)):
        return True
    return not isinstance(value, np.generic) and (hasattr(value, "__dlpack__") or isinstance(value, memoryview) or _has_buffer(value))


def _has_buffer(value: Any) -> bool:
    if isinstance(value, (bytes, bytearray, str)):
        return False
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def view(array: Any, stream: int | None = None) -> _core.Tensor:
    """The core's view of an array, which keeps the array alive. `stream`: where a GPU reads it, if that is known; the library of an array that comes by DLPack makes that
    wait for what it has under way."""
    if isinstance(array, _core.Tensor):
        return array
    if is_torch(array):
        return _core.Tensor.of_torch(array) or _view_torch(array)
    if isinstance(array, (np.ndarray, np.generic)):
        return _view_numpy(np.asarray(array))
    try:
        return _core.Tensor.of(array if stream is None or not _is_on_cuda(array) else array.__dlpack__(stream=stream or _LEGACY_STREAM))
    except TypeError:
        raise TypeError(
            f"{type(array).__name__} is no array: expected a torch.Tensor, a NumPy array, or what speaks DLPack or the buffer protocol"
        ) from None


_DLPACK_CUDA, _LEGACY_STREAM = 2, 1  # DLPack's numbers; its 0 is no stream


def _is_on_cuda(array: Any) -> bool:
    return hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] == _DLPACK_CUDA


def _view_torch(tensor: Any) -> _core.Tensor:
    """Of one that is not plain. Error: ValueError or NotImplementedError, saying why there can be none."""
    if not (tensor.is_cpu or tensor.is_cuda):
        raise ValueError(f"a tensor on {tensor.device}; attnjit computes on the CPU and on CUDA GPUs")
    if tensor.layout is not _torch().strided:
        raise NotImplementedError(f"a tensor of layout {tensor.layout}; attnjit takes dense ones: call .to_dense() first")
    if tensor.is_nested:
        raise NotImplementedError("a nested tensor: pack the sequences and use varlen_attn, or pad them")
    return view(tensor.resolve_neg())


def _view_numpy(array: np.ndarray) -> _core.Tensor:
    size = array.itemsize
    if not array.dtype.isnative:
        raise TypeError("a NumPy array of foreign byte order; call .astype() with the native dtype first")
    if any(stride % size for stride in array.strides):
        raise ValueError("a NumPy array whose strides are no whole elements (a field of a record, say); copy it first")
    strides = tuple(stride // size for stride in array.strides)
    return _core.Tensor.at(array.__array_interface__["data"][0], array.dtype.name, array.shape, strides, array)


def shape(array: Any) -> tuple[int, ...]:
    """Sizes of the dimensions; symbols where PyTorch makes a graph for many sizes."""
    sizes: tuple[int, ...] = array.shape if is_torch(array) else view(array).shape
    return sizes


def in_graph(array: Any) -> bool:
    """Whether PyTorch makes a graph of what is done with the tensor, so that there are no numbers to compute with yet."""
    torch = _torch()
    return is_torch(array) and (torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0)


def in_dynamo() -> bool:
    """Whether this is torch.compile looking at the program rather than Python running it."""
    torch = _torch()
    return torch is not None and torch.compiler.is_dynamo_compiling()


class Library:
    """Makes arrays like `like`: of its library, on its device."""

    def __init__(self, like: Any):
        self.like = like
        self.torch = _torch() if is_torch(like) else None
        module = "torch" if self.torch else type(like).__module__.split(".")[0]
        self.cupy = sys.modules.get("cupy") if module == "cupy" else None
        self.jax = sys.modules.get("jax") if module.startswith("jax") else None

    def empty(self, shape: Shape, dtype: str, order: Sequence[int] | None = None) -> Any:
        """An array of PyTorch's dtype name; `order` lists its dimensions from the outermost in memory."""
        if order is None:
            return self._dense(shape, dtype)
        dense = self._dense([shape[dim] for dim in order], dtype)
        back = [list(order).index(dim) for dim in range(len(shape))]
        return dense.permute(back) if self.torch else dense.transpose(back)

    def _dense(self, shape: Shape, dtype: str) -> Any:
        if self.torch:
            return self.torch.empty(shape, dtype=getattr(self.torch, dtype), device=self.like.device)
        if self.cupy:
            return self.cupy.empty(tuple(shape), numpy_dtype(dtype))
        return np.empty(tuple(shape), numpy_dtype(dtype))

    def finished(self, array: Any) -> Any:
        """What the user gets for an array of empty(): the same memory, as an array of a library whose arrays cannot be written to."""
        return self.jax.numpy.asarray(array) if self.jax else array

    def from_numpy(self, array: np.ndarray) -> Any:
        """The elements as an array of this library; without a copy where it lies in host memory."""
        if self.torch:
            return to_device(array, self.like.device)
        if self.cupy:
            return self.cupy.asarray(array)
        return self.finished(array)


NO_LIBRARY = Library(np.empty(0))  # in the place of one that is not known yet


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype of a name; ml_dtypes has those that NumPy lacks."""
    try:
        return np.dtype(name)
    except TypeError:
        pass
    try:
        import ml_dtypes
    except ImportError:
        raise TypeError(f"NumPy has no {name}; `pip install ml_dtypes` adds it") from None
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return dtype


def library_for(device: Any, captures: Sequence[Any] = ()) -> Library:
    """Where results go that follow from no query: to the library of what is captured, else to PyTorch if it was imported, else to NumPy."""
    torch = _torch()
    arrays = [value for value in captures if is_array(value)]
    if device is None and arrays:
        return Library(arrays[0])
    if torch is not None and (not arrays or is_torch(arrays[0])):
        if device is None:
            device = torch.get_default_device()
        return Library(torch.empty(0, device=device))
    if device is not None and str(device) != "cpu":
        raise ValueError(f"device {device!r} needs PyTorch; without it, arrays are NumPy's and lie in host memory")
    return Library(np.empty(0))


_of_graphs: list[Any] = []  # what captured copies read at each replay


def to_device(array: np.ndarray, device: Any) -> Any:
    """The elements as a tensor of PyTorch; in host memory they are the array's own. Nothing waits for a GPU: what is copied there goes through pinned memory, on its current
    stream."""
    torch = _torch()
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    tensor = tensor.pin_memory()
    if torch.cuda.is_current_stream_capturing():
        _of_graphs.append(tensor)
    return tensor.to(device, non_blocking=True)


def on_host(array: Any) -> Any:
    """The array, or a copy in host memory of one that lies on a GPU, which waits for its stream: lengths are read and blocks of masks are decided by the CPU.
    Error: RuntimeError while a CUDA graph is captured, which nothing can wait for."""
    if is_torch(array):
        if array.is_cuda and _torch().cuda.is_current_stream_capturing():
            raise RuntimeError(f"a tensor {tuple(array.shape)} of {array.dtype} is on {array.device} and has to be read on the host, which a CUDA graph cannot capture: give "
                               "lengths in host memory, and make block masks before the capture")
        return array.detach().cpu() if array.device.type != "cpu" else array.detach()
    return array.get() if type(array).__module__.startswith("cupy") else array


def memory_order(strides: Sequence[int]) -> list[int] | None:
    """Dimensions from the outermost in memory, as PyTorch lays out the output of flex_attention: query's order, the last dimension innermost. None where that is their
    own order."""
    outer = list(strides[:-1])
    if outer == sorted(outer, reverse=True):
        return None
    return [*sorted(range(len(strides) - 1), key=lambda dim: -strides[dim]), len(strides) - 1]


def refuse_gradients(*named: Mapping[str, Any]) -> None:
    """Raises where autograd would expect a backward pass, which this version does not have."""
    torch = _torch()
    if torch is None or not torch.is_grad_enabled():
        return
    for name, array in chain.from_iterable(arrays.items() for arrays in named):
        if is_torch(array) and array.requires_grad:
            raise NotImplementedError(
                f"{name} requires a gradient, and attnjit has no backward pass yet: compute under torch.no_grad() or torch.inference_mode(), pass "
                f"{name}.detach(), or train with torch's own attention"
            )


def autocast(*arrays: Any) -> tuple[Any, ...]:
    """The arrays in the dtype of torch.autocast where that is in force, as PyTorch's attention has them."""
    torch = _torch()
    if torch is None or not is_torch(arrays[0]):
        return arrays
    if not torch.is_autocast_enabled("cpu") and not torch.is_autocast_enabled("cuda"):
        return arrays
    device = arrays[0].device.type
    if device not in ("cpu", "cuda") or not torch.is_autocast_enabled(device):
        return arrays
    dtype = torch.get_autocast_dtype(device)
    return tuple(a.to(dtype) if is_torch(a) and a.is_floating_point() and a.dtype is not torch.float64 else a for a in arrays)


def stream_of(array: Any) -> int:
    """Address of the CUDA stream that the array's library computes on now."""
    if is_torch(array):
        return int(_torch().cuda.current_stream(array.device).cuda_stream)
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return int(cupy.cuda.get_current_stream(array.device.id).ptr)
    raise NotImplementedError(f"{type(array).__name__} on a GPU: the stream is known for PyTorch and CuPy; pass the array through torch.from_dlpack")


def torch_threads() -> int:
    """PyTorch's number of threads; 0 where it is not in the process."""
    torch = _torch()
    return torch.get_num_threads() if torch is not None else 0


def device_index(array: Any) -> int:
    """Number of the GPU that the array lies on."""
    if is_torch(array):
        return int(array.device.index or 0)
    return int(array.device.id)
