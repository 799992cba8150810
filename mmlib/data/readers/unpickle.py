"""Safe reading of pickles: arrays, strings, bytes, numbers, lists, tuples, dicts, nothing else.

A pickle is a program. `find_class` returns only the stand-ins below for the global names that it
requests and refuses every other name before it runs. The states of numpy's `dtype` and `ndarray`
are not trusted either, because a forged state makes numpy read invalid memory; both are rebuilt
here from their plain parts. Sizes are not trusted: a few bytes can declare a billion elements,
tuples nested until the stack overflows, or a memo of 2**27 entries. So the standard library's
unpickler in pure Python is used, in which each step can be checked.
"""

import math
import mmap
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmlib.data.corpus import DataError
from mmlib.data.readers.border import check_size, most, readable

DEEPEST = 32  # maximum nesting of containers
LARGEST_EMPTY = 2**24  # maximum number of elements of an array without data
ELEMENT = 8  # bytes per element, of any type
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|O8?|[SUa][0-9]{0,5})")
_PLAIN = {str, bytes, int, float, bool, type(None)}
_KEYS = (str, bytes, int, float, np.generic, type(None))


def load_pickle(path: Path) -> object:
    """The plain content of a pickle of any protocol, also from Python 2 (read as latin-1).

    DataError, one line, if the file requests anything but plain data, is damaged, or expands to far
    more than its size.
    """
    with open(path, "rb") as file:
        head = file.read(2**16)
    failure, remedy = "not a readable pickle", "fetch or write the file again"
    if is_text := b"\r\n" in head and not head.startswith(b"\x80"):
        remedy = "it was copied in text mode; fetch it again in binary mode"
    with readable(path, failure, remedy):  # damaged bytes can fail at any step
        try:
            return _loaded(path)
        except _Refused as error:
            if is_text:
                raise
            raise DataError(
                f"{path.name}: refused, the pickle asks for {error}; only arrays, strings, "
                "numbers, lists and dicts are read: save it again as plain numpy arrays"
            ) from None


def _loaded(path: Path) -> object:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        content = _Unpickler(path, raw).load()
    check_size(path, ELEMENT * _elements(content, {}), "elements")
    return content


def _elements(item: object, known: dict[int, int], depth: int = 0) -> int:
    """Number of elements; repeated containers count repeatedly; `known`: counts by id."""
    if isinstance(item, np.ndarray) and item.dtype != object:
        return item.size
    if not isinstance(item, list | tuple | dict | set | frozenset | np.ndarray):
        return 1
    if isinstance(item, list) and _PLAIN.issuperset(map(type, item)):
        return len(item)
    if depth > DEEPEST:
        raise _Refused(f"containers more than {DEEPEST} deep")
    if id(item) not in known:
        parts = item.values() if isinstance(item, dict) else item
        parts = item.ravel().tolist() if isinstance(item, np.ndarray) else parts
        known[id(item)] = 1 + sum(_elements(part, known, depth + 1) for part in parts)
    return known[id(item)]


class _Refused(pickle.UnpicklingError):
    """Something that a pickle is not allowed to use or to contain."""


def _without(what: str) -> Callable:
    def refuse(_: object) -> None:
        raise _Refused(what)

    return refuse


def _hashing(name: str, part: slice) -> Callable:
    """An opcode that hashes `part` of the stack; nested tuples would overflow Python's stack."""
    step = getattr(pickle._Unpickler, name)

    def checked(self: "_Unpickler") -> None:
        if not all(isinstance(key, _KEYS) for key in self.stack[part]):
            raise _Refused("keys that are no strings or numbers")
        step(self)

    return checked


def _counting(name: str) -> Callable:
    """An opcode that creates an object and can do so repeatedly from one string of the file."""
    step = getattr(pickle._Unpickler, name)

    def counted(self: "_Unpickler") -> None:
        step(self)
        self.count(self.stack[-1])

    return counted


class _Unpickler(pickle._Unpickler):
    dispatch: ClassVar = {
        **pickle._Unpickler.dispatch, pickle.REDUCE[0]: _counting("load_reduce"),
        pickle.INST[0]: _counting("load_inst"), pickle.OBJ[0]: _counting("load_obj"),
        pickle.NEWOBJ[0]: _without("an object"), pickle.NEWOBJ_EX[0]: _without("an object"),
        **{code[0]: _without("an extension") for code in (pickle.EXT1, pickle.EXT2, pickle.EXT4)},
        pickle.SETITEM[0]: _hashing("load_setitem", slice(-2, -1)),
        pickle.SETITEMS[0]: _hashing("load_setitems", slice(0, None, 2)),
        pickle.DICT[0]: _hashing("load_dict", slice(0, None, 2)),
        pickle.ADDITEMS[0]: _hashing("load_additems", slice(None)),
        pickle.FROZENSET[0]: _hashing("load_frozenset", slice(None)),
    }  # fmt: skip

    def __init__(self, path: Path, file: mmap.mmap) -> None:
        super().__init__(file, encoding="latin1")
        self.path, self.made, self.most = path, 0, most(path)

    def count(self, made: object) -> None:
        is_counted = isinstance(made, bytes | dict)
        self.made += ELEMENT * len(made) if is_counted else getattr(made, "nbytes", 0)
        if self.made > self.most:
            check_size(self.path, self.made)

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Array | _Dtype):
            raise _Refused(f"a state of a {type(self.stack[-1]).__name__}")
        self.stack[-1].__setstate__(state)
        self.count(self.stack[-1])

    dispatch[pickle.BUILD[0]] = load_build

    def find_class(self, module: str, name: str) -> object:
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        if (module, name) not in _STANDINS:
            raise _Refused(f"{module}.{name}")
        return _STANDINS[module, name]


class _Dtype:
    """A dtype that consists only of its type string and byte order."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: str, *_: object) -> None:
        if not isinstance(spec, str) or not _DTYPE.fullmatch(spec):
            raise _Refused(f"numpy.dtype({spec!r})")
        self.spec, self.order = spec.lstrip("<>|="), "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def real(self) -> np.dtype:
        return np.dtype(self.spec).newbyteorder(self.order)


class _Array(np.ndarray):
    """An array whose pickled state is checked before numpy uses it."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        super().__setstate__((1, shape, *_checked(dtype, shape, bool(fortran), data)))


def _scalar(dtype: _Dtype, data: object = b"") -> object:
    return _filled(dtype, (), data, "C")[()]  # [()] extracts the scalar


def _from_buffer(
    data: object, dtype: _Dtype, shape: tuple, order: str, axes: tuple | None = None
) -> np.ndarray:
    if order == "K" and axes is not None:
        return _filled(dtype, shape, data, "C").transpose(axes)
    return _filled(dtype, shape, data, order)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _Refused(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


def _mapping(given: Iterable = ()) -> dict:
    pairs = [] if isinstance(given, str) else given  # a defaultdict's factory is a str here
    return {str(key): value for key, value in pairs}


# Stand-in for each global name in a plain pickle. A stand-in that is a str is an argument of
# `_reconstruct` or of a defaultdict and is never called; protocol 2 writes empty bytes as
# `bytes()`.
_STANDINS = {
    ("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0).view(_Array),
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer, ("_codecs", "encode"): _latin1,
    ("collections", "OrderedDict"): _mapping, ("collections", "defaultdict"): _mapping,
    ("builtins", "bytes"): lambda: b"",
    **{("builtins", kind.__name__): kind.__name__ for kind in (list, dict, int, float, str, set)},
    ("builtins", "tuple"): "tuple",
}  # fmt: skip


def _filled(dtype: _Dtype, shape: tuple, data: object, order: str) -> np.ndarray:
    """A new array from raw bytes, which are checked first."""
    real, _, data = _checked(dtype, shape, False, data)
    if real.hasobject:
        raise _Refused("numpy objects outside an array")
    return np.frombuffer(data, dtype=real).reshape(shape, order=order).view(_Array)


def _checked(dtype: _Dtype, shape: tuple, fortran: bool, data: object) -> tuple:
    """The real dtype, the order flag and the data, whose length must fit `shape`.

    The check is needed because numpy reads beyond the end of a list that is too short.
    """
    real = dtype.real()
    if isinstance(data, str):  # bytes in a string of Python 2
        data = data.encode("latin1")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise pickle.UnpicklingError("an array without a shape")
    kind, width = (list, 1) if real.hasobject else ((bytes, bytearray), real.itemsize)
    if not data and math.prod(max(n, 1) for n in shape) > LARGEST_EMPTY:
        raise pickle.UnpicklingError(f"an array of shape {shape} without data")
    if not isinstance(data, kind) or len(data) != width * math.prod(shape):
        raise pickle.UnpicklingError(f"an array of shape {shape} and {real} without its data")
    return real, fortran, data
