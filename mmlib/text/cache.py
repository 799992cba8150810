"""Frozen features on disk, each under the hash of everything it depends on.

A store is a folder of shards. A shard holds one finished batch and is named by the SHA-256 of its
own bytes; it is written under a temporary name and renamed. So writers need no lock, a reader
meets whole shards only, an interrupted run keeps its finished batches, and damage shows as a name
that does not fit. Two processes that lack the same items take turns, so that one computes them.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors.numpy import load, save

from mmlib.files import cache_root, write_whole

log = logging.getLogger(__name__)

Row = dict[str, np.ndarray]  # name -> the arrays of one item


class Store:
    """Named float arrays per item, for one group of settings.

    The key of an item is the SHA-256 of the settings (JSON, sorted) and the item, so anything that
    can change a number belongs into `settings`. The disk never decides about a result: a damaged
    shard is dropped and a disk that cannot be written is left alone, each with one logged line.
    """

    def __init__(self, settings: Mapping[str, object], root: Path | None = None):
        self._settings = json.dumps(settings, sort_keys=True)
        digest = sha256(self._settings.encode()).hexdigest()
        self.folder = (root or cache_root()) / "features" / digest
        self._writable = True

    def get(self, items: Sequence[str]) -> dict[str, Row]:
        """The arrays of those items that are stored."""
        wanted = {self._key(item): item for item in items}
        found = {}
        for shard in sorted(self.folder.glob("*.safetensors")):
            if not wanted:
                break
            for key, row in _read(shard):
                if key in wanted:
                    found[wanted.pop(key)] = row
        return found

    def put(self, items: Sequence[str], arrays: Mapping[str, np.ndarray]) -> None:
        """Store one finished batch; each array has shape (len(items), ...)."""
        if not self._writable:
            return
        keys = np.frombuffer(b"".join(map(self._key, items)), np.uint8).reshape(len(items), -1)
        blob = save({**arrays, "keys": keys}, metadata={"settings": self._settings})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / f"{sha256(blob).hexdigest()}.safetensors", blob)
        except OSError as error:
            self._writable = False
            log.warning(
                "cache: cannot write to %s (%s); results are returned but not kept; "
                "free space or set MMLIB_CACHE to another folder",
                self.folder,
                error.strerror,
            )

    @contextmanager
    def turn(self, items: Sequence[str]) -> Iterator[None]:
        """One process at a time for these very items: who waited finds them stored."""
        name = sha256(b"".join(map(self._key, items))).hexdigest()
        with ExitStack() as stack:
            with suppress(OSError):  # a disk that cannot be written: everybody computes
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(self.folder / f"{name}.lock"))
            yield

    def _key(self, item: str) -> bytes:
        return sha256(f"{self._settings}\0{item}".encode()).digest()


def _read(shard: Path) -> Iterator[tuple[bytes, Row]]:
    """Keys and rows of a shard; none if it cannot be read or its bytes do not fit its name."""
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
