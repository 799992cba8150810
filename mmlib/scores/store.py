"""Where results are stored, and what happens to files damaged by a crash.

`Store` writes and reads the files of a run. A file that is empty or cut off counts as missing: a
warning of one line names it, and commands on other runs still work.
"""

import json
import logging
import secrets
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from mmlib import files

FILES = ROWS_FILE, PAIRS_FILE, ORIGINS_FILE = "metrics.json", "comparisons.json", "provenance.json"
RESERVED = ("finetune", "grids", "params", "settings.json")  # used by the project itself

log = logging.getLogger(__name__)


def folder(run: str) -> Path:
    """Folder of a run; ValueError if the name is reserved or is not a plain folder name."""
    if run.lower() in RESERVED:
        raise ValueError(f"run {run!r}: papermill_runs has that for itself; choose another name")
    return files.RUNS / files.plain_name("run", run)


def runs() -> list[str]:
    """Names of the runs whose files are all readable; a warning names a file that is not."""
    own = (files.point_folder(), ROWS_FILE)
    names = {path.parent.name for path in files.RUNS.glob(f"*/{ROWS_FILE}")}
    names |= {run for into, run, name in Store._written if (into, name) == own}
    plain = filter(files.PLAIN_NAME.fullmatch, names)
    return sorted(name for name in plain if Store(name).is_whole())


def read(path: Path, default: Any) -> Any:
    """The JSON of a file; `default` if the file is missing, empty or cut off."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return default
    except ValueError:
        _warn(path, "empty or cut off")
        return default


@lru_cache
def _warn(path: Path, state: str) -> None:
    """Warn once per process: a batch reads the same file many times."""
    log.warning("%s is %s: it counts as not done; what wrote it, run again, makes it anew",
                path, state)  # fmt: skip


class Store:
    """The files of one run: where this process writes them, and where it reads them.

    A process that executes a grid point writes into the point's own folder, whatever the run's
    name, and reads there what it has written itself. Everything else, also of other runs, is read
    from the run's folder. ValueError if the run's name is not a plain folder name.
    """

    _written: ClassVar[set[tuple]] = set()  # (folder, run, file) that this process has written

    def __init__(self, run: str) -> None:
        self.run, self.folder = run, folder(run)
        self.into = files.point_folder() or self.folder  # folder to which this process writes

    def path(self, name: str) -> Path:
        """The path from which this process reads a file."""
        is_own = (self.into, self.run, name) in self._written
        return (self.into if is_own else self.folder) / name

    def read(self, name: str, default: Any) -> Any:
        """The content of a file; `default` if the file is missing, empty or cut off."""
        return read(self.path(name), default)

    def is_whole(self) -> bool:
        """Whether all of `FILES` can be read; if only some exist, a warning names a missing one."""
        paths = [self.path(name) for name in FILES]
        missing = [path for path in paths if not path.exists()]
        for path in missing if len(missing) < len(paths) else ():
            _warn(path, "missing")
        return all(read(path, None) is not None for path in paths)

    def load(self, name: str) -> Any:
        """The content of a file; ValueError with the names of the stored runs if it has none."""
        if (content := self.read(name, None)) is None:
            raise ValueError(
                f"no results of run {self.run!r} (stored: {', '.join(runs()) or 'none yet'}), "
                f"{name} is missing or damaged; the command that made it makes it anew"
            )
        return content

    def lock(self) -> AbstractContextManager[None]:
        """A lock to hold while files are read and replaced; creates the folder."""
        return files.locked(self.into / ".lock")

    def kept(self, name: str, default: Any) -> Any:
        """The content of a file that will be replaced; a damaged file is moved aside first."""
        path = self.into / name
        content = read(path, None)
        if content is None and path.exists():
            aside = path.rename(path.with_name(f"{name}.damaged-{secrets.token_hex(4)}"))
            log.warning("%s is kept as %s: what other notebooks had stored in it is to be made "
                        "anew", path, aside.name)  # fmt: skip
        return default if content is None else content

    def write(self, name: str, content: list[dict] | dict) -> Path:
        """Replace a file and return its path; a list is written with one entry per line."""
        if isinstance(content, dict):
            text = json.dumps(content, indent=1, sort_keys=True)
        else:
            text = "[\n" + ",\n".join(map(json.dumps, content)) + "\n]"
        files.write_whole(self.into / name, text + "\n")
        self._written.add((self.into, self.run, name))
        return self.into / name
