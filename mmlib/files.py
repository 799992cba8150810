"""Where things lie, what the environment says, how a file is replaced, how a name is refused."""

import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
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

    Who has no home, as a container's user without a name, gets one in the folder for temporary
    files.
    """
    root = expanded(os.environ.get("MMLIB_CACHE") or "~/.cache/mmlib")
    if root.parts[0] == "~":
        root = Path(tempfile.gettempdir()) / f"mmlib-{os.getuid()}"
    return root.resolve()


def expanded(path: Path | str) -> Path:
    """A path with the home folder for its `~`; as it stands where nobody knows that folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def point_folder() -> Path | None:
    """Folder of the one point of a grid that this process executes (`MMLIB_POINT`), if it does."""
    given = os.environ.get("MMLIB_POINT")
    return Path(given) if given else None


class NotWrittenError(OSError, ValueError):
    """A file could not be written; what was there before is kept."""


def write_whole(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Replace a file so that a reader, or a power loss, meets the old one or the new one whole.

    content: what the file is to hold, or a function that writes it to the path it is given. The
    new file is flushed to disk before it takes the name. Missing folders are made. NotWrittenError,
    one line, where the disk is full or the folder cannot be written.
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
    except Exception as error:  # a full disk is another error for each library
        raise NotWrittenError(
            f"cannot write {path} ({reason_of(error)}); what was there before is kept: "
            "free space or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock among processes, whose file is gone afterwards.

    timeout: seconds, -1 for ever; filelock.Timeout after them. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=timeout):
        try:
            yield
        finally:  # while it is held: who waits for it sees that the file has gone, and makes anew
            with suppress(OSError):
                path.unlink()


def make_whole(folder: Path, make: Callable[[Path], object], *full: type[Exception]) -> Path:
    """A folder, made by `make` under another name and renamed when whole, unless it is there.

    Of several processes one makes it and the others wait. NotWrittenError, one line, for an OSError
    or one of `full`, as a library has it for a full disk.
    """
    if folder.is_dir():  # also where nothing can be written
        return folder
    part = folder.with_name(f".{folder.name}.part")
    try:
        with locked(folder.with_suffix(".lock")):
            if not folder.is_dir():
                shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
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
    """A variable of the environment; the only place where mmlib reads one by a name of others."""
    return os.environ.get(name, default)


def variables(prefix: str) -> dict[str, str]:
    """The environment's variables whose names begin with `prefix`, for processes elsewhere."""
    return {name: os.environ[name] for name in sorted(os.environ) if name.startswith(prefix)}


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that this one starts: its own, but for the changes."""
    return {**os.environ, **changes}


def kill_processes(name: str, value: str) -> None:
    """Kill the other processes here in whose environment `name` is `value`, and what they start."""
    is_clean = False
    while not is_clean:
        is_clean = True
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # of another user, or gone
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
    """`error`, in the one wording that mmlib has for it, unless all names are known ones.

    what: "fusion rule", say. where: the file or option that gave the names, put in front.
    """
    known = list(known)
    for name in names:
        if name not in known:
            choices = ", ".join(map(str, known)) or "nothing: there is none"
            raise error(f"{where and where + ': '}unknown {what} {name!r}; choose one of {choices}")


class Names(dict):
    """A table of what mmlib has built in, by name, to which a user may add in this process.

    A cell that is run again replaces what it added. ValueError, one line, for a name that is built
    in, that another source has added, or that no row or file can have.
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
        """Add a thing; `source`, a function or class, says by module and name who adds it."""
        plain_name(self.what, name)
        if name.lower() in self.built_in:
            raise ValueError(f"{self.what} {name!r} is built in; choose another name")
        place = (source.__module__, source.__qualname__)
        if self._sources.setdefault(name, place) != place:
            raise ValueError(f"{self.what} {name!r} is of {'.'.join(self._sources[name])}; "
                             f"{self.undo} first, or choose another name")  # fmt: skip
        self[name] = thing

    def unregister(self, name: str) -> None:
        """Take out what was added; ValueError for any other name."""
        refuse_unknown(f"added {self.what}", [name], self.added)
        del self[name], self._sources[name]


PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
LONGEST = 200  # bytes, of the 255 that a folder's name can have: others are made from it


def plain_name(what: str, name: str) -> str:
    """The name, if a file or folder can have it and stays where it is put; else ValueError."""
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: use letters, digits, '-', '_' and '.' only")
    if len(name.encode()) > LONGEST:
        raise ValueError(f"{what} {name[:20]}...: a name has at most {LONGEST} bytes; shorten it")
    return name


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
