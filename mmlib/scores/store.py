"""Where results lie, and what is left of them after a loss of power.

One object, `Store`, writes and reads the files of a run. A file that is empty or cut off counts as
not done: it is named in a warning of one line, and stops no command on another run.
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
RESERVED = ("finetune", "grids", "params", "settings.json")  # the project's own, beside the runs

log = logging.getLogger(__name__)


def folder(run: str) -> Path:
    """Folder of a run; ValueError for a name that is no plain folder name, or the project's own."""
    if run.lower() in RESERVED:
        raise ValueError(f"run {run!r}: papermill_runs has that for itself; choose another name")
    return files.RUNS / files.plain_name("run", run)


def runs() -> list[str]:
    """Names of the runs whose results are whole; a warning names a file that is not."""
    own = (files.point_folder(), ROWS_FILE)
    names = {path.parent.name for path in files.RUNS.glob(f"*/{ROWS_FILE}")}
    names |= {run for into, run, name in Store._written if (into, name) == own}
    plain = filter(files.PLAIN_NAME.fullmatch, names)
    return sorted(name for name in plain if Store(name).is_whole())


def read(path: Path, default: Any) -> Any:
    """The JSON of a file; `default` where there is none, or where it is empty or cut off."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return default
    except ValueError:
        _warn(path, "empty or cut off")
        return default


@lru_cache
def _warn(path: Path, state: str) -> None:
    """Once in a process: a batch reads the same file again and again."""
    log.warning("%s is %s: it counts as not done; what wrote it, run again, makes it anew",
                path, state)  # fmt: skip


class Store:
    """The files of one run: where this process writes them, and where it reads them.

    A process that executes a point of a grid writes into the point's own folder, whatever the run
    is called, and reads from there what it wrote itself. All else, and all other runs, it reads
    from the run's folder. ValueError for a run that is no plain folder name.
    """

    _written: ClassVar[set[tuple]] = set()  # (folder, run, file) that this process has written

    def __init__(self, run: str) -> None:
        self.run, self.folder = run, folder(run)
        self.into = files.point_folder() or self.folder  # what this process writes to

    def path(self, name: str) -> Path:
        """The file that this process reads."""
        is_own = (self.into, self.run, name) in self._written
        return (self.into if is_own else self.folder) / name

    def read(self, name: str, default: Any) -> Any:
        """What a file holds; `default` where there is none, or where it is empty or cut off."""
        return read(self.path(name), default)

    def is_whole(self) -> bool:
        """Whether all of `FILES` can be read; where some can, a warning names one that cannot."""
        paths = [self.path(name) for name in FILES]
        missing = [path for path in paths if not path.exists()]
        for path in missing if len(missing) < len(paths) else ():
            _warn(path, "missing")
        return all(read(path, None) is not None for path in paths)

    def load(self, name: str) -> Any:
        """What a file holds; ValueError that names the runs there are, where that is nothing."""
        if (content := self.read(name, None)) is None:
            raise ValueError(
                f"no results of run {self.run!r} (stored: {', '.join(runs()) or 'none yet'}), "
                f"{name} is missing or damaged; make run RUN={self.run} makes it"
            )
        return content

    def lock(self) -> AbstractContextManager[None]:
        """Held while files are read and replaced; makes the folder."""
        return files.locked(self.into / ".lock")

    def kept(self, name: str, default: Any) -> Any:
        """What a file to be replaced holds; one that is empty or cut off is moved aside."""
        path = self.into / name
        content = read(path, None)
        if content is None and path.exists():
            aside = path.rename(path.with_name(f"{name}.damaged-{secrets.token_hex(4)}"))
            log.warning("%s is kept as %s: what other notebooks had stored in it is to be made "
                        "anew", path, aside.name)  # fmt: skip
        return default if content is None else content

    def write(self, name: str, content: list[dict] | dict) -> Path:
        """Replace a file; a list has an entry a line. Returns its path."""
        if isinstance(content, dict):
            text = json.dumps(content, indent=1, sort_keys=True)
        else:
            text = "[\n" + ",\n".join(map(json.dumps, content)) + "\n]"
        files.write_whole(self.into / name, text + "\n")
        self._written.add((self.into, self.run, name))
        return self.into / name
