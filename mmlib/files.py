"""Where things lie, from this file's own place and the environment; how a file is replaced."""

import hashlib
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
RUNS = ROOT / "papermill_runs"


def data_root() -> Path:
    """Folder of the data sets: `MMLIB_DATA`, else `data/` in the project."""
    return Path(os.environ.get("MMLIB_DATA") or ROOT / "data").expanduser().resolve()


def cache_root() -> Path:
    """Folder of the frozen-feature cache: `MMLIB_CACHE`, else `~/.cache/mmlib`."""
    home = os.environ.get("MMLIB_CACHE") or Path.home() / ".cache" / "mmlib"
    return Path(home).expanduser().resolve()


def point_folder() -> Path | None:
    """Folder of the one point of a grid that this process executes (`MMLIB_POINT`), if it does."""
    given = os.environ.get("MMLIB_POINT")
    return Path(given) if given else None


def write_whole(path: Path, content: bytes | str) -> None:
    """Replace a file so that a reader meets the old one or the new one, never a part."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def reason_of(error: Exception) -> str:
    """The first line of what an error says, for a message of one line; its name if it is silent."""
    return next(filter(None, str(error).splitlines()), type(error).__name__).strip()


def is_watched() -> bool:
    """Whether a person watches: a terminal, or a notebook whose front end can be asked for input.

    papermill and nbval run the same kernel but cannot answer it.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if kernel := getattr(shell, "kernel", None):
        return kernel._allow_stdin
    return sys.stderr.isatty()


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex; read once per version of the file and process."""
    stat = path.stat()
    return _digest(path, stat.st_mtime_ns, stat.st_size)


@lru_cache
def _digest(path: Path, mtime: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replaced(path: Path, write: Callable[[Path], None]) -> None:
    """`path` written whole by `write`, or left as it was and a ValueError of one line."""
    part = path.with_name(f".{path.name}.part")  # one writer a run: a leftover is written over
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        os.replace(part, path)
    except Exception as error:  # a full disk is another error for each library
        raise ValueError(
            f"cannot write {path} ({reason_of(error)}); what was there before is kept: "
            "free space or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
