"""What a point depends on, as checksums: its key tells whether a stored result is up to date.

That is the notebook's code, the mmlib files it imports directly or through others, the tuned
settings if it reads them, and the files of the data sets its parameters name.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import nbformat

from mmlib import files
from mmlib.batch.parameters import declared, default
from mmlib.data.load import READERS
from mmlib.files import sha256 as checksum

PACKAGE = Path(__file__).resolve().parents[1]


def key(parameters: Mapping[str, object], code: Mapping[str, str], data: Mapping[str, str]) -> str:
    """SHA-256 over all that can change a point's numbers; `run`, where it goes, is left out."""
    values = {name: value for name, value in parameters.items() if name != "run"}
    return _digest(json.dumps([values, dict(code), dict(data)], sort_keys=True))


def code(notebook: Path) -> dict[str, str]:
    """Checksums of the notebook's code cells and of every file of mmlib behind them."""
    return _code(notebook, notebook.stat().st_mtime_ns)


@lru_cache
def _code(notebook: Path, mtime: int) -> dict[str, str]:
    cells = nbformat.read(notebook, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    plain = "\n".join(line for line in source.splitlines() if line.lstrip()[:1] not in "%!?")
    closure = _closure(plain)
    found = {f"mmlib/{f.relative_to(PACKAGE).as_posix()}": checksum(f) for f in sorted(closure)}
    settings = files.RUNS / "settings.json"
    if "mmlib/daf/tune.py" in found and settings.exists():
        found["settings.json"] = checksum(settings)
    return {"notebook": _digest(source), **found}


def data(notebook: Path, parameters: Mapping[str, object]) -> dict[str, str]:
    """Checksums of the data sets and files that parameters name, as far as they are there."""
    known = {name: default(entry) for name, entry in declared(notebook).items()}
    values = {value for value in {**known, **parameters}.values() if isinstance(value, str)}
    folders = [files.data_root() / name for name in READERS if name in values]
    whole = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    named = [files.ROOT / value for value in sorted(values) if (files.ROOT / value).is_file()]
    return {f"{path.parent.name}/{path.name}": checksum(path) for path in whole + named}


def _closure(source: str) -> set[Path]:
    """Files of mmlib that some code imports, and those that these import in turn."""
    found: set[Path] = set()
    waiting = set(_imported(source))
    while waiting:
        path = waiting.pop()
        found.add(path)
        waiting |= set(_imported(path.read_text())) - found
    return found


def _imported(source: str) -> Iterator[Path]:
    """Files of mmlib that code names in its imports, the packages' own files among them."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, *parts = name.split(".")
            if first == PACKAGE.name:
                yield from _files(parts)


def _files(parts: list[str]) -> Iterator[Path]:
    folder = PACKAGE
    yield folder / "__init__.py"
    for part in parts:
        folder /= part
        for path in (folder.with_suffix(".py"), folder / "__init__.py"):
            if path.exists():
                yield path


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
