"""Safe reading of HDF5: only data in the file itself, and no more than the file can hold.

An HDF5 file can refer to any other file on the machine and present its bytes as its own data: by an
external link, by a dataset with external storage, or by a virtual dataset. Each of these is refused
before anything is opened through it.
"""

from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5l

from mmlib.data.corpus import DataError
from mmlib.data.readers.border import check_size

MOST_LINKS = 32  # maximum number of soft links in a chain
WORDS_AT_ONCE = 64  # words of variable length, whose size is not known before they are read

Node = h5py.Group | h5py.Dataset


class Reader:
    """An open HDF5 file at `path`, and the number of bytes read from it."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file, self.bytes = path, file, 0

    def child(self, group: h5py.Group, name: str, links: int = MOST_LINKS) -> Node:
        """The node at the path `name` below a group; follows links inside this file only.

        KeyError if there is none; DataError for a link that leaves the file.
        """
        node: Node = self.file["/"] if name.startswith("/") else group
        for part in filter(None, name.split("/")):
            if not isinstance(node, h5py.Group):
                raise KeyError(f"{node.name} is a dataset where a group is expected")
            raw = part.encode("utf-8", "surrogateescape")
            kind = node.id.links.get_info(raw).type
            if kind == h5l.TYPE_SOFT and links:
                target = node.id.links.get_val(raw).decode("utf-8", "surrogateescape")
                node = self.child(node, target, links - 1)
            elif kind == h5l.TYPE_HARD:
                node = node[part]
            else:
                raise _refusal(node, part, "an external link, or one of many links")
        return node

    def values(self, group: h5py.Group, name: str) -> np.ndarray:
        """All numbers or words of the dataset `name`; DataError for anything else."""
        data = self.child(group, name)
        if not isinstance(data, h5py.Dataset):
            raise DataError(f"{group.name}/{name} is a group; expected an array; fetch it again")
        properties = data.id.get_create_plist()
        if properties.get_layout() == h5d.VIRTUAL:
            raise _refusal(group, name, "a virtual dataset")
        if properties.get_external_count():
            raise _refusal(group, name, "a dataset with external storage")
        has_words = h5py.check_string_dtype(data.dtype) is not None
        if data.shape is None or not (has_words or data.dtype.kind in "biufS"):
            raise DataError(f"{data.name} holds {data.dtype}; expected numbers or words")
        self.bytes += data.size * data.dtype.itemsize
        check_size(self.path, self.bytes)
        return self._words(data) if data.dtype.kind == "O" else data[()]

    def _words(self, data: h5py.Dataset) -> np.ndarray:
        """Words of variable length; every reference to the same long word counts in the size."""
        if data.size != len(data):
            raise DataError(f"{data.name} has words in shape {data.shape}; expected (f, 1)")
        parts = [np.empty((0, *data.shape[1:]), object)]
        for start in range(0, len(data), WORDS_AT_ONCE):
            parts.append(data[start : start + WORDS_AT_ONCE])
            self.bytes += sum(map(len, parts[-1].flat))
            check_size(self.path, self.bytes)
        return np.concatenate(parts)


def _refusal(group: h5py.Group, name: str, kind: str) -> DataError:
    at = f"{group.name.rstrip('/')}/{name}"
    return DataError(f"refused, {at} is {kind}, which can read other files; store the values here")
