"""Files of a data set: which are there, which is taken, and what they are (sha256)."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from mmlib.data.corpus import DataError


def choose(folder: Path, patterns: Sequence[str], file: str | None = None) -> tuple[Path, str]:
    """The file to read in `folder` and the pattern it matched, first pattern first.

    Several present: the choice is printed, and `file` names another. Raises DataError naming the
    accepted files and where they go, or those present.
    """
    accepted = ", ".join(patterns)
    found = {p: pattern for pattern in patterns for p in sorted(folder.glob(pattern))}
    if not found:
        raise DataError(
            f"no data in {folder}: put one of {accepted} there, or set MMLIB_DATA to the folder "
            f"that holds {folder.name}/"
        )
    names = [p.name for p in found]
    if file is not None and file not in names:
        raise DataError(
            f"no file {file!r} in {folder}; there: {', '.join(names)} (accepted: {accepted})"
        )
    path = folder / (file or names[0])
    together = path.suffix == ".csd"  # one data set in several files, read as a folder
    others = [p.name for p in found if p != path and not (together and found[p] == found[path])]
    if file is None and others:
        print(f"{folder.name}: reading {path.name}; file= names another: {', '.join(others)}")
    return path, found[path]


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex; read once per version of the file and process."""
    stat = path.stat()
    return _digest(path, stat.st_mtime_ns, stat.st_size)


@lru_cache
def _digest(path: Path, mtime: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
