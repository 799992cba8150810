"""HDF5 without trust: what is read lies in the file itself.

An HDF5 file can name any other file of the machine and pass its bytes off as its own: by an
external link, by a dataset with external raw storage, by a virtual dataset. Each is refused by
name before anything is opened through it.
"""

import h5py
import numpy as np
from h5py import h5d, h5l

from mmlib.data.corpus import DataError

LARGEST = 2**30  # bytes of one dataset; CMU's largest has about 40 MB
MOST_LINKS = 32  # soft links behind one another

Node = h5py.Group | h5py.Dataset


def child(group: h5py.Group, path: str, links: int = MOST_LINKS) -> Node:
    """What lies at `path` below a group, through hard links and soft links of this file only.

    KeyError where nothing does; DataError for a link that leaves the file.
    """
    node: Node = group["/"] if path.startswith("/") else group
    for name in filter(None, path.split("/")):
        if not isinstance(node, h5py.Group):
            raise KeyError(f"{node.name} is a dataset where a group is expected")
        raw = name.encode("utf-8", "surrogateescape")
        kind = node.id.links.get_info(raw).type
        if kind == h5l.TYPE_SOFT and links:
            target = node.id.links.get_val(raw).decode("utf-8", "surrogateescape")
            node = child(node, target, links - 1)
        elif kind == h5l.TYPE_HARD:
            node = node[name]
        else:
            raise DataError(_refusal(node, name, "an external link, or one of many links"))
    return node


def values(group: h5py.Group, name: str) -> np.ndarray:
    """The numbers or words of the dataset `name`, all of them; DataError if they lie elsewhere."""
    data = child(group, name)
    if not isinstance(data, h5py.Dataset):
        raise DataError(f"{group.name}/{name} is a group; expected an array; fetch the file again")
    properties = data.id.get_create_plist()
    if properties.get_layout() == h5d.VIRTUAL:
        raise DataError(_refusal(group, name, "a virtual dataset"))
    if properties.get_external_count():
        raise DataError(_refusal(group, name, "a dataset with external storage"))
    if data.dtype.kind not in "biufSO" or (data.dtype.kind == "O" and not _is_words(data)):
        raise DataError(f"{data.name} holds {data.dtype}; expected numbers or words")
    if data.shape is None or data.size * data.dtype.itemsize > LARGEST:
        raise DataError(f"{data.name} has shape {data.shape}, too large to be real; fetch it again")
    return data[()]


def _is_words(data: h5py.Dataset) -> bool:
    return h5py.check_string_dtype(data.dtype) is not None


def _refusal(group: h5py.Group, name: str, kind: str) -> str:
    at = f"{group.name.rstrip('/')}/{name}"
    return f"refused, {at} is {kind}, which can read other files; save the values in this file"
