"""Pickles without trust: arrays, strings, bytes, numbers, lists, tuples and dicts, nothing else.

A pickle is a program. Each global name it asks for passes through `find_class`, which hands out
only the stand-ins below and refuses every other name before it runs. numpy's own `dtype` and
`ndarray` states are not trusted either: a forged one makes numpy read wild memory, so both are
rebuilt here from their plain parts.
"""

import math
import pickle
import re
from pathlib import Path

import numpy as np

from mmlib.data.corpus import DataError

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|O8?|[SUa]\d*)")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")


def load_pickle(path: Path) -> object:
    """The plain content of a pickle of any protocol, Python 2's included (read as latin-1).

    Raises DataError, one line, if the file asks for anything but plain data, or is damaged.
    """
    with open(path, "rb") as file:
        try:
            return _Unpickler(file, encoding="latin1").load()
        except _Refused as name:
            raise DataError(
                f"{path.name}: refused, the pickle asks for {name}; only arrays, strings, numbers, "
                "lists and dicts are read: save it again as plain numpy arrays"
            ) from None
        except Exception as error:  # damaged bytes can fail at any opcode, with any exception
            raise DataError(
                f"{path.name}: not a readable pickle ({type(error).__name__}: {error}); "
                "fetch or write the file again"
            ) from None


class _Refused(pickle.UnpicklingError):
    """The dotted name a pickle is not allowed to use."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("numpy", "ndarray"):
            return "ndarray"  # an argument of _reconstruct, never called
        if (module, name) == ("numpy", "dtype"):
            return self._dtype
        if module in _MULTIARRAY and name == "_reconstruct":
            return self._array
        if module in _MULTIARRAY and name == "scalar":
            return self._scalar
        if module in _NUMERIC and name == "_frombuffer":
            return self._from_buffer
        if (module, name) == ("_codecs", "encode"):
            return self._latin1
        if (module, name) == ("__builtin__", "bytes"):
            return self._no_bytes
        raise _Refused(f"{module}.{name}")

    # Bound methods, because a pickle may try to set attributes on what find_class hands out.

    def _dtype(self, spec: str, *_: object) -> "_Dtype":
        return _Dtype(spec)

    def _array(self, *_: object) -> "_Array":
        return np.empty(0).view(_Array)

    def _scalar(self, dtype: "_Dtype", data: object = b"") -> object:
        return _filled(dtype, (), data, "C")[()]  # [()] takes the scalar out of the array

    def _from_buffer(
        self, data: object, dtype: "_Dtype", shape: tuple, order: str, axes: tuple | None = None
    ) -> np.ndarray:
        if order == "K" and axes is not None:
            return _filled(dtype, shape, data, "C").transpose(axes)
        return _filled(dtype, shape, data, order)

    def _latin1(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise _Refused(f"_codecs.encode to {encoding}")
        return text.encode("latin1")

    def _no_bytes(self) -> bytes:
        return b""


class _Dtype:
    """A dtype known by its type string and byte order only."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: str) -> None:
        if not isinstance(spec, str) or not _DTYPE.fullmatch(spec):
            raise _Refused(f"numpy.dtype({spec!r})")
        self.spec, self.order = spec.lstrip("<>|="), "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def real(self) -> np.dtype:
        return np.dtype(self.spec).newbyteorder(self.order)


class _Array(np.ndarray):
    """An array whose pickled state is checked before numpy takes it."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        super().__setstate__((1, shape, *_checked(dtype, shape, bool(fortran), data)))


def _filled(dtype: _Dtype, shape: tuple, data: object, order: str) -> np.ndarray:
    """A new array from checked raw bytes."""
    real, _, data = _checked(dtype, shape, False, data)
    if real.hasobject:
        raise _Refused("numpy objects outside an array")
    return np.frombuffer(data, dtype=real).reshape(shape, order=order).view(_Array)


def _checked(dtype: _Dtype, shape: tuple, fortran: bool, data: object) -> tuple:
    """The true dtype, the order flag and the data, just as much as `shape` needs.

    numpy itself reads past the end of a list that is too short.
    """
    real = dtype.real()
    if isinstance(data, str):  # a Python 2 string of bytes
        data = data.encode("latin1")
    kind, width = (list, 1) if real.hasobject else ((bytes, bytearray), real.itemsize)
    if not isinstance(data, kind) or len(data) != width * math.prod(shape):
        raise pickle.UnpicklingError(f"an array of shape {shape} and {real} without its data")
    return real, fortran, data
