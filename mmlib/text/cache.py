"""Frozen features on disk, stored under the hash of everything that they depend on.

A store is a folder of shards. A shard holds one finished batch and is named by the SHA-256 of its
bytes; it is written under a temporary name and renamed. So writers need no lock, readers see only
complete shards, an interrupted run keeps its finished batches, and a damaged shard is detected by
its name. Processes that need the same items take turns, so the items are computed once.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors.numpy import load, save

from mmlib.files import NotWrittenError, cache_root, write_whole

log = logging.getLogger(__name__)

Row = dict[str, np.ndarray]  # name -> array of one item


class Store:
    """Named float arrays per item, for one set of settings.

    The key of an item is the SHA-256 of the settings (JSON, sorted) and the item, so `settings`
    must contain everything that can change a number. Disk problems never change a result: a damaged
    shard is removed, and writing stops if the disk cannot be written; each is logged in one line.
    """

    def __init__(self, settings: Mapping[str, object], root: Path | None = None):
        self._settings = json.dumps(settings, sort_keys=True)
        digest = sha256(self._settings.encode()).hexdigest()
        self.folder = (root or cache_root()) / "features" / digest
        self._writable = True

    def get(self, items: Sequence[str]) -> dict[str, Row]:
        """The arrays of those `items` that are stored."""
        missing = {self._key(item): item for item in items}
        rows = {}
        for shard in sorted(self.folder.glob("*.safetensors")):
            if not missing:
                break
            for key, row in _read(shard):
                if key in missing:
                    rows[missing.pop(key)] = row
        return rows

    def put(self, items: Sequence[str], arrays: Mapping[str, np.ndarray]) -> None:
        """Store one finished batch; each array has shape (len(items), ...)."""
        if not self._writable:
            return
        keys = np.frombuffer(b"".join(map(self._key, items)), np.uint8).reshape(len(items), -1)
        blob = save({**arrays, "keys": keys}, metadata={"settings": self._settings})
        try:
            with self._at_work():
                write_whole(self.folder / f"{sha256(blob).hexdigest()}.safetensors", blob)
        except NotWrittenError as error:
            self._writable = False
            log.warning("cache: %s, by MMLIB_CACHE; results are returned, but not kept", error)

    @contextmanager
    def turn(self, items: Sequence[str]) -> Iterator[None]:
        """Lock these items: one process computes them; others wait, then find them stored."""
        name = sha256(b"".join(map(self._key, items))).hexdigest()
        with self._at_work(), ExitStack() as stack:
            with suppress(OSError):  # on a disk that cannot be written, every process computes
                stack.enter_context(FileLock(self.folder / f"{name}.lock"))
            yield

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Mark the store as in use; if nobody else uses it, delete files of killed processes."""
        with ExitStack() as stack:
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                folder = os.open(self.folder, os.O_RDONLY)
                stack.callback(os.close, folder)
                with suppress(OSError):  # others are at work, or the files cannot be deleted
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    for path in [*self.folder.glob(".*.part"), *self.folder.glob("*.lock")]:
                        path.unlink(missing_ok=True)
                fcntl.flock(folder, fcntl.LOCK_SH)
            yield

    def _key(self, item: str) -> bytes:
        return sha256(f"{self._settings}\0{item}".encode()).digest()


def _read(shard: Path) -> Iterator[tuple[bytes, Row]]:
    """Keys and rows of a shard; none if it cannot be read or if its hash differs from its name."""
    try:
        blob = shard.read_bytes()
    except OSError as error:
        log.warning("cache: cannot read %s (%s); computed again", shard, error.strerror)
        return
    if sha256(blob).hexdigest() != shard.stem:
        log.warning("cache: %s is damaged; removed and computed again", shard)
        with suppress(OSError):
            shard.unlink()
        return
    arrays = load(blob)
    for i, key in enumerate(arrays.pop("keys")):
        yield key.tobytes(), {name: array[i] for name, array in arrays.items()}
