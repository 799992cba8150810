"""Paths of the project, environment variables, atomic writing of files, check of known names."""

import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path

import psutil
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
RUNS = ROOT / "papermill_runs"


def data_root() -> Path:
    """Folder of the data sets: `MMLIB_DATA`, else `data/` in the project."""
    return expanded(os.environ.get("MMLIB_DATA") or ROOT / "data").resolve()


def cache_root() -> Path:
    """Folder of the frozen-feature cache: `MMLIB_CACHE`, else `~/.cache/mmlib`.

    A user without a home folder (e.g. an unnamed user in a container) gets a folder in the folder
    for temporary files.
    """
    root = expanded(os.environ.get("MMLIB_CACHE") or "~/.cache/mmlib")
    if root.parts[:1] == ("~",):
        root = Path(tempfile.gettempdir()) / f"mmlib-{os.getuid()}"
    return root.resolve()


def expanded(path: Path | str) -> Path:
    """A path with `~` replaced by the home folder; unchanged if the home folder is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def point_folder() -> Path | None:
    """Folder of the grid point that this process executes (`MMLIB_POINT`); None without one."""
    given = os.environ.get("MMLIB_POINT")
    return Path(given) if given else None


class NotWrittenError(OSError, ValueError):
    """A file could not be written; its previous version is kept."""


def write_whole(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Replace a file atomically: after a crash, either the old or the new file is there, complete.

    content: the new content, or a function that writes it to the path it receives. The new file is
    flushed to disk before it is renamed. Missing folders are created. NotWrittenError, one line, if
    the disk is full, the folder cannot be written, or the function raises anything.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(part)
        else:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except Exception as error:  # each library raises another error for a full disk
        raise NotWrittenError(
            f"cannot write {path} ({reason_of(error)}); what was there before is kept: "
            "free space or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock between processes; the lock file is deleted afterwards.

    timeout: seconds, -1 for no limit; then filelock.Timeout. Missing folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=timeout):
        try:
            yield
        finally:  # deleted while locked: a waiting process sees that and creates the file again
            with suppress(OSError):
                path.unlink()


def make_whole(folder: Path, make: Callable[[Path], object], *full: type[Exception]) -> Path:
    """Create a folder unless it exists: `make` fills a temporary one, which is then renamed.

    If several processes need the folder, one makes it and the others wait. NotWrittenError, one
    line, for an OSError or an exception in `full`, by which a library reports a full disk.
    """
    if folder.is_dir():  # works also on a read-only disk
        return folder
    part = folder.with_name(f".{folder.name}.part")
    try:
        with locked(folder.with_suffix(".lock")):
            if not folder.is_dir():
                shutil.rmtree(part, ignore_errors=True)  # left by a killed process
                try:
                    make(part)
                    os.replace(part, folder)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
    except (OSError, *full) as error:
        raise NotWrittenError(
            f"cannot write {folder} ({reason_of(error)}); free space, or set MMLIB_CACHE to "
            "another folder"
        ) from error
    return folder


def environment(name: str, default: str = "") -> str:
    """An environment variable; mmlib reads variables of other programs only here."""
    return os.environ.get(name, default)


def variables(prefix: str) -> dict[str, str]:
    """The environment variables whose names begin with `prefix`, for processes on other hosts."""
    return {name: os.environ[name] for name in sorted(os.environ) if name.startswith(prefix)}


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: that of this process with `changes`."""
    return {**os.environ, **changes}


def kill_processes(name: str, value: str) -> None:
    """Kill all other processes whose environment has `name`=`value`, and those that they start."""
    is_clean = False
    while not is_clean:
        is_clean = True
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # of another user, or already ended
                if process.environ().get(name) == value and process.pid != os.getpid():
                    process.kill()
                    is_clean = False


def refuse_unknown(
    what: str,
    names: Iterable[object],
    known: Iterable[object],
    error: type[Exception] = ValueError,
    where: str = "",
) -> None:
    """Raise `error`, with the wording used throughout mmlib, unless all names are known.

    what: kind of name, e.g. "fusion rule". where: file or option with the names.
    """
    known = list(known)
    for name in names:
        if name not in known:
            choices = ", ".join(map(str, known)) or "nothing: there is none"
            raise error(f"{where and where + ': '}unknown {what} {name!r}; choose one of {choices}")


class Names(dict):
    """A table of built-in things by name, to which a user can add in this process.

    Running a notebook cell again replaces what the cell added. ValueError, one line, for a name
    that is built in, was added from elsewhere, or cannot be the name of a row or file.
    """

    def __init__(
        self, what: str, built_in: Mapping[str, object], undo: str = "unregister it"
    ) -> None:
        super().__init__(built_in)
        self.what, self.built_in, self.undo = what, frozenset(built_in), undo
        self._sources: dict[str, tuple[str, str]] = {}

    @property
    def added(self) -> tuple[str, ...]:
        """Names that are not built in."""
        return tuple(name for name in self if name not in self.built_in)

    def register(self, name: str, thing: object, source: object) -> None:
        """Add a thing; module and name of `source` (a function or class) identify who adds it."""
        plain_name(self.what, name)
        if name.lower() in self.built_in:
            raise ValueError(f"{self.what} {name!r} is built in; choose another name")
        source = source.func if isinstance(source, partial) else source
        place = (source.__module__, source.__qualname__)
        if self._sources.setdefault(name, place) != place:
            raise ValueError(f"{self.what} {name!r} is of {'.'.join(self._sources[name])}; "
                             f"{self.undo} first, or choose another name")  # fmt: skip
        self[name] = thing

    def unregister(self, name: str) -> None:
        """Remove an added name; ValueError for any other name."""
        refuse_unknown(f"added {self.what}", [name], self.added)
        del self[name], self._sources[name]


PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
LONGEST = 200  # bytes; a folder's name can have 255, and other names are made from this one


def plain_name(what: str, name: str) -> str:
    """Return the name if it is safe as the name of a file or folder; else ValueError."""
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: use letters, digits, '-', '_' and '.' only")
    if len(name.encode()) > LONGEST:
        raise ValueError(f"{what} {name[:20]}...: a name has at most {LONGEST} bytes; shorten it")
    return name


def reason_of(error: Exception) -> str:
    """The first line of an error's message; the name of its type if there is no message."""
    return next(filter(None, str(error).splitlines()), type(error).__name__).strip()


def is_watched() -> bool:
    """Whether a person is watching: a terminal, or a notebook front end that can ask for input.

    papermill and nbval run the same kernel but cannot answer.
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
