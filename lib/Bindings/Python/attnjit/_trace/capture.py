"""Rebuilds a callable with stand-ins for what it captured: numbers and tensors in its cells, globals, defaults, arguments of partial, attributes
of objects, and in the functions that it calls."""

from __future__ import annotations

import builtins
import enum
import functools
import math
import os
import sys
import types
from typing import Any, Callable

from .errors import TraceError
from .known import Known, is_number
from .trace import Trace, is_tensor
from .values import is_run_time

_LIBRARIES = frozenset(["attnjit", "torch", "numpy", "jax", "jaxlib", "cupy", "ml_dtypes", "triton"])
_STANDARD = os.path.dirname(os.__file__) + os.sep
_LONGEST_LIST = 256
_MISSING = object()


@functools.lru_cache(1024)
def is_library(module: Any) -> bool:
    """Whether code of this module computes with its arguments alone."""
    root = module.partition(".")[0] if isinstance(module, str) else ""
    if root in _LIBRARIES:
        return True
    # A file of the user's may be called like a module of Python's.
    file = getattr(sys.modules.get(root), "__file__", None) or _STANDARD
    return root in sys.stdlib_module_names and root != "__main__" and file.startswith(_STANDARD)


def is_library_function(fn: types.FunctionType) -> bool:
    """Whether a function is left as it is: functools.wraps gives it another's __module__, not another's globals."""
    return is_library(fn.__globals__.get("__name__")) and not fn.__closure__


def unwrapped(fn: Any) -> tuple[Any, str]:
    """What torch.compile and functools.lru_cache have wrapped, and how it is reached."""
    access = ""
    while True:
        inner = "_torchdynamo_orig_callable" if "_torchdynamo_orig_callable" in getattr(fn, "__dict__", ()) else ""
        inner = inner or ("_orig_mod" if type(fn).__name__ == "OptimizedModule" else "")
        inner = inner or ("__wrapped__" if isinstance(fn, functools._lru_cache_wrapper) else "")
        if not inner:
            return fn, access
        fn, access = getattr(fn, inner), f"{access}.{inner}"


class Wrapper:
    """One rebuilding, for one run of the callable."""

    def __init__(self, trace: Trace):
        self.trace = trace
        self.recorder = trace.recorder
        self.met: dict[int, tuple[Any, str, Any]] = {}  # id -> the object (kept), its variable, what stands for it
        self.builtins = {**vars(builtins), "max": self.extreme("max"), "min": self.extreme("min"), "len": _length, "print": lambda *_, **__: None,
                         "__import__": self.imported}

    # --- values ---

    def wrap(self, value: Any, access: str, name: str) -> Any:
        """What stands for `value`, which a replay reaches by the expression `access`."""
        if is_run_time(value) or type(value) is Known:
            return value
        if is_number(value) and not isinstance(value, enum.Enum):
            variable = self.recorder.read(access)
            self.recorder.require(f"type({variable}) is {self.recorder.bind(type(value))}")
            return Known(self.trace, value, variable, name)
        if value is None or value is Ellipsis or isinstance(value, (str, bytes)) and not isinstance(value, enum.Enum):
            self.recorder.require(f"{self.recorder.read(access)} == {self.recorder.bind(value)}")
            return value
        if value is math:
            return MathModule(self)
        variable = self.recorder.read(access)
        if id(value) in self.met:
            _, other, known = self.met[id(value)]
            if other != variable:
                self.recorder.require(f"{variable} is {other}")
            return known
        return self.object(value, variable, name)

    def remember(self, value: Any, variable: str, made: Any) -> Any:
        self.met[id(value)] = (value, variable, made)
        return made

    def object(self, value: Any, variable: str, name: str) -> Any:
        value, path = unwrapped(value)
        if path:
            return self.wrap(value, variable + path, name)
        if isinstance(value, types.FunctionType):
            return self.function(value, variable)
        if isinstance(value, types.MethodType):
            return types.MethodType(self.wrap(value.__func__, f"{variable}.__func__", name), self.wrap(value.__self__, f"{variable}.__self__", name))
        if type(value) is functools.partial:
            return self.partial(value, variable)
        if is_tensor(value) or _is_buffer(value):
            return self.tensor(value, variable, name)
        if type(value) in (list, tuple, dict) or isinstance(value, tuple) and hasattr(value, "_make"):
            return self.container(value, variable, name)
        if isinstance(value, types.ModuleType):
            return value if is_library(value.__name__) else self.remember(value, variable, UserModule(self, value, variable))
        if self.is_opaque(value):
            self.recorder.require(f"{variable} is {self.recorder.bind(value)}")
            return self.math_function(value)
        return self.remember(value, variable, shadow(self, value, variable))

    def is_opaque(self, value: Any) -> bool:
        """Whether a value is taken as it is; its parts cannot be told apart. Where they may change unseen, the trace is not kept."""
        if isinstance(value, type):
            if not is_library(value.__module__) and not issubclass(value, enum.Enum):
                self.recorder.is_volatile = True  # what its methods read is not followed
            return True
        if isinstance(value, (enum.Enum, types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType, frozenset, range, slice)):
            return True
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if torch is not None and isinstance(value, (torch.dtype, torch.device, torch.Size)) or numpy is not None and isinstance(value, (numpy.dtype, numpy.ufunc)):
            return True
        is_module = torch is not None and isinstance(value, torch.nn.Module)
        is_own = not is_library(type(value).__module__) or is_module or type(value) is types.SimpleNamespace or type(value).__module__ == "argparse"
        if is_own and type(value).__flags__ & (1 << 10) and (hasattr(value, "__dict__") or hasattr(type(value), "__slots__")):
            return False
        self.recorder.is_volatile = self.recorder.is_volatile or not callable(value)
        return True

    # --- functions ---

    def function(self, fn: types.FunctionType, variable: str) -> Callable[..., Any]:
        if is_library_function(fn):
            self.recorder.require(f"{variable} is {self.recorder.bind(fn)}")
            return fn
        self.recorder.require(f"{variable}.__code__ is {self.recorder.bind(fn.__code__)}")
        cells = tuple(types.CellType() for _ in fn.__closure__ or ())
        cells = tuple(self.cell(cell, f"{variable}.__closure__[{i}]") for i, cell in enumerate(fn.__closure__ or ()))
        made = types.FunctionType(fn.__code__, self.globals(fn, variable), fn.__name__, None, cells)
        made.__kwdefaults__ = None
        self.remember(fn, variable, made)
        self.fill(fn, variable)
        if fn.__defaults__:
            self.recorder.require(f"len({variable}.__defaults__) == {len(fn.__defaults__)}")
            names = fn.__code__.co_varnames[:fn.__code__.co_argcount][-len(fn.__defaults__):]
            made.__defaults__ = tuple(self.wrap(value, f"{variable}.__defaults__[{i}]", names[i]) for i, value in enumerate(fn.__defaults__))
        if fn.__kwdefaults__:
            made.__kwdefaults__ = {key: self.wrap(value, f"{variable}.__kwdefaults__[{key!r}]", key) for key, value in fn.__kwdefaults__.items()}
        attributes = self.recorder.bind(set(fn.__dict__))
        self.recorder.require(f"{variable}.__dict__.keys() == {attributes}" if fn.__dict__ else f"not {variable}.__dict__")
        for name, value in fn.__dict__.items():
            is_plain = is_number(value) or is_tensor(value)
            made.__dict__[name] = self.wrap(value, f"{variable}.__dict__[{name!r}]", name) if is_plain else value
        made.__module__, made.__qualname__, made.__doc__ = fn.__module__, fn.__qualname__, fn.__doc__
        return made

    def cell(self, cell: types.CellType, access: str) -> Any:
        """Cells may be shared, and hold the function itself: they are made empty and filled later."""
        variable = self.recorder.read(access)
        if id(cell) in self.met:
            _, other, made = self.met[id(cell)]
            if other != variable:
                self.recorder.require(f"{variable} is {other}")
            return made
        return self.remember(cell, variable, types.CellType())

    def fill(self, fn: types.FunctionType, variable: str) -> None:
        for i, (name, cell) in enumerate(zip(fn.__code__.co_freevars, fn.__closure__ or ())):
            _, holder, made = self.met[id(cell)]
            try:
                made.cell_contents
                continue
            except ValueError:
                pass
            try:
                content = cell.cell_contents
            except ValueError:  # a name that is not assigned yet: Python's own error tells when it is used
                continue
            made.cell_contents = self.wrap(content, f"{holder}.cell_contents", name)

    def globals(self, fn: types.FunctionType, variable: str) -> Any:
        access = self.recorder.read(f"{variable}.__globals__")
        if id(fn.__globals__) in self.met:
            _, other, made = self.met[id(fn.__globals__)]
            if other != access:
                self.recorder.require(f"{access} is {other}")
            return made
        return self.remember(fn.__globals__, access, Globals(self, fn.__globals__, access))

    def partial(self, value: functools.partial[Any], variable: str) -> functools.partial[Any]:
        self.recorder.require(f"type({variable}) is {self.recorder.bind(functools.partial)} and len({variable}.args) == {len(value.args)} and "
                              f"{variable}.keywords.keys() == {self.recorder.bind(set(value.keywords))}")
        args = [self.wrap(item, f"{variable}.args[{i}]", f"argument_{i}") for i, item in enumerate(value.args)]
        keywords = {key: self.wrap(item, f"{variable}.keywords[{key!r}]", key) for key, item in value.keywords.items()}
        return functools.partial(self.wrap(value.func, f"{variable}.func", "func"), *args, **keywords)

    # --- data ---

    def tensor(self, value: Any, variable: str, name: str) -> Any:
        if _is_buffer(value):
            import numpy

            self.recorder.require(f"type({variable}) is {self.recorder.bind(type(value))}")
            access = f"{self.recorder.bind(numpy.asarray)}({variable})"
            return self.wrap(numpy.asarray(value), access, name)
        self.recorder.require(f"type({variable}) is {self.recorder.bind(type(value))} and {variable}.ndim == {value.ndim} and "
                              f"{variable}.dtype == {self.recorder.bind(value.dtype)}")
        return self.remember(value, variable, self.trace.captured_tensor(value, variable, name))

    def container(self, value: Any, variable: str, name: str) -> Any:
        self.recorder.require(f"type({variable}) is {self.recorder.bind(type(value))} and len({variable}) == {len(value)}")
        if type(value) is dict:
            made: Any = self.remember(value, variable, {})
            self.recorder.require(f"tuple({variable}) == {self.recorder.bind(tuple(value))}")
            for key, item in value.items():
                made[key] = self.wrap(item, f"{variable}[{self.recorder.bind(key)}]", key if isinstance(key, str) else f"{name}_{key}")
            return made
        if len(value) > _LONGEST_LIST and all(type(item) in (int, float, bool, str) for item in value):
            self.recorder.require(f"{variable} == {self.recorder.bind(type(value)(value))}")
            return self.remember(value, variable, type(value)(value))
        items = (self.wrap(item, f"{variable}[{i}]", f"{name}_{getattr(value, '_fields', range(len(value)))[i]}") for i, item in enumerate(value))
        if type(value) is list:
            made = self.remember(value, variable, [])
            made.extend(items)
            return made
        return self.remember(value, variable, tuple(items) if type(value) is tuple else type(value)._make(items))

    # --- what replaces parts of Python ---

    def math_function(self, value: Any) -> Any:
        """Python's math.exp and the like take run-time values in here."""
        is_math = isinstance(value, types.BuiltinFunctionType) and value.__module__ == "math"
        return functools.partial(self.call_math, value) if is_math else value

    def call_math(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if any(map(is_run_time, args)):
            return self.trace.call_math(function.__name__, args)
        if any(type(argument) is Known for argument in args) and not kwargs:
            return self.trace.derive(function, args)
        return function(*args, **kwargs)

    def extreme(self, name: str) -> Callable[..., Any]:
        """Python's max and min: of run-time values they are the formula's, without a condition."""
        real = getattr(builtins, name)

        def extreme(*args: Any, **kwargs: Any) -> Any:
            items = args
            if len(args) == 1 and not kwargs:
                items = (args[0].amax() if name == "max" else args[0].amin(),) if is_run_time(args[0]) else tuple(args[0])
            if kwargs or not any(map(is_run_time, items)):
                if not kwargs and len(items) > 1 and any(type(item) is Known for item in items) and all(map(is_number_or_known, items)):
                    return self.trace.derive(real, items)
                return real(*args, **kwargs)
            return functools.reduce(lambda x, y: self.trace.call("maximum" if name == "max" else "minimum", "torch", (x, y), {}), items)

        return extreme

    def imported(self, name: str, *args: Any) -> Any:
        module = builtins.__import__(name, *args)
        if module is math:
            return MathModule(self)
        if not is_library(module.__name__):
            self.recorder.is_volatile = True  # how a replay would reach it is not known
        return module


def is_number_or_known(value: Any) -> bool:
    return type(value) is Known or is_number(value)


def _length(value: Any) -> Any:
    """len(t) stays a run-time value."""
    return value._size(0) if is_run_time(value) and value.ndim else len(value)


def _is_buffer(value: Any) -> bool:
    return type(value).__name__ in ("array", "memoryview") and type(value).__module__ in ("array", "builtins")


class MathModule(types.ModuleType):
    """Python's math, for run-time values too."""

    def __init__(self, wrapper: Wrapper):
        super().__init__("math")
        self.__dict__["_wrapper"] = wrapper

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["_wrapper"].math_function(getattr(math, name))


class Globals(dict[str, Any]):
    """The global names of a function, wrapped when they are read."""

    def __init__(self, wrapper: Wrapper, real: dict[str, Any], variable: str):
        super().__init__(__builtins__=wrapper.builtins)
        self.wrapper, self.real, self.variable = wrapper, real, variable

    def __getitem__(self, name: str) -> Any:
        own = dict.get(self, name, _MISSING)
        if own is not _MISSING:
            return own
        if name not in self.real:
            self.wrapper.recorder.require(f"{name!r} not in {self.variable}")
            raise KeyError(name)
        wrapped = self.wrapper.wrap(self.real[name], f"{self.variable}[{name!r}]", name)
        dict.__setitem__(self, name, wrapped)
        return wrapped


class UserModule(types.ModuleType):
    """A module of the user's: its numbers are captured when they are read."""

    def __init__(self, wrapper: Wrapper, real: types.ModuleType, variable: str):
        super().__init__(real.__name__)
        self.__dict__.update(_wrapper=wrapper, _real=real, _variable=variable)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        return own["_wrapper"].wrap(getattr(own["_real"], name), f"{own['_variable']}.{name}", name)


def shadow(wrapper: Wrapper, value: Any, variable: str) -> Any:
    """An object that is read in place of `value`: of its class, with its methods rebuilt and its attributes captured when they are read."""
    cls = type(value)
    wrapper.recorder.require(f"type({variable}) is {wrapper.recorder.bind(cls)}")

    def attribute(self: Any, name: str) -> Any:
        if name == "__class__":
            return cls
        own = object.__getattribute__(self, "__dict__")
        if name in own:
            return own[name]
        if name == "__dict__":
            wrapper.recorder.require(f"tuple({variable}.__dict__) == {wrapper.recorder.bind(tuple(value.__dict__))}")
            return {**{key: attribute(self, key) for key in value.__dict__}, **own}
        if name in getattr(value, "__dict__", ()):
            return wrapper.wrap(value.__dict__[name], f"{variable}.{name}", name)
        if hasattr(value, "__dict__"):
            wrapper.recorder.require(f"{name!r} not in {variable}.__dict__")
        for base in cls.__mro__:
            if name in base.__dict__:
                return member(self, base.__dict__[name], base, name)
        if not hasattr(value, name):
            wrapper.recorder.require(f"not hasattr({variable}, {name!r})")
        return wrapper.wrap(getattr(value, name), f"{variable}.{name}", name)  # by the class's __getattr__

    def member(self: Any, found: Any, base: type, name: str) -> Any:
        access = f"{wrapper.recorder.bind(base)}.__dict__[{name!r}]"
        if isinstance(found, types.FunctionType):
            return types.MethodType(wrapper.wrap(found, access, name), self)
        if isinstance(found, property):
            return wrapper.wrap(found.fget, f"{access}.fget", name)(self)
        if isinstance(found, functools.cached_property):
            return wrapper.wrap(found.func, f"{access}.func", name)(self)
        if isinstance(found, classmethod):
            return types.MethodType(wrapper.wrap(found.__func__, f"{access}.__func__", name), cls)
        if isinstance(found, staticmethod):
            return wrapper.wrap(found.__func__, f"{access}.__func__", name)
        if isinstance(found, types.MemberDescriptorType):
            return wrapper.wrap(getattr(value, name), f"{variable}.{name}", name)
        return wrapper.wrap(found, access, name) if not hasattr(found, "__get__") else getattr(value, name)

    def special(name: str) -> Callable[..., Any]:
        return lambda self, *args, **kwargs: attribute(self, name)(*args, **kwargs)

    def assign(self: Any, name: str, item: Any) -> None:
        object.__getattribute__(self, "__dict__")[name] = item

    body: dict[str, Any] = {"__getattribute__": attribute, "__init__": lambda self: None, "__setattr__": assign}
    for base in cls.__mro__[:-1]:
        for name, found in base.__dict__.items():
            if name.startswith("__") and name.endswith("__") and isinstance(found, types.FunctionType) and name not in _UNTOUCHED:
                body.setdefault(name, special(name))
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.nn.Module):
        body["__call__"] = special("forward")
        body.pop("__getattr__", None)
    try:
        metaclass: Any = type(cls)
        made = metaclass(cls.__name__, (cls,), body)
        make: Any = cls.__new__ if _is_builtin_new(cls) else object.__new__
        return make(made)
    except TypeError as error:
        raise TraceError(f"an object of class {cls.__name__} cannot be traced: {error}", "capture the numbers and tensors that it holds") from error


_UNTOUCHED = frozenset("""__init__ __new__ __getattribute__ __getattr__ __setattr__ __delattr__ __del__ __init_subclass__ __class_getitem__ __reduce__
    __reduce_ex__ __getstate__ __setstate__ __subclasshook__ __dir__ __sizeof__""".split())


def _is_builtin_new(cls: type) -> bool:
    """Whether the first class with a __new__ is not written in Python, as types.SimpleNamespace."""
    owner = next(base for base in cls.__mro__ if "__new__" in base.__dict__)
    return owner is not object and isinstance(owner.__dict__["__new__"], types.BuiltinFunctionType)
