"""The code that a notebook depends on: its cells, and the files of mmlib that they import or need.

Comments, docstrings and layout do not count. Imports are followed to the current place of a name,
by `mmlib.MOVED` and by the tables from which rooms load names lazily.
"""

import ast
from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

import mmlib
from mmlib.batch.parameters import cells, declared
from mmlib.data.load import EMBEDDED, NAMES, READERS, is_table, read_texts
from mmlib.files import sha256 as checksum

PACKAGE = Path(__file__).resolve().parents[1]
NO_NUMBERS = ("batch", "figures", "scores/provenance.py")  # their code does not change results
LOAD, READ = "data/load.py", "data/readers"  # the first imports all the second, to call one
STORED = {
    "daf/apply.py": "daf/weights/*.[js]*",
    "dyfulm/kept.py": "dyfulm/weights/*.[js]*",
    "data/readers/texts.py": "data/embedded/*.csv",
    "scores/ledger.py": "scores/*.toml",
}
SCOPES = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_of(notebook: Path, values: Iterable[object]) -> dict[str, str]:
    """Checksums of the notebook's code and of every file of mmlib behind it.

    values: of its parameters; data sets that they name are read by mmlib's readers.
    """
    names = frozenset(name for name in map(str, values) if name in NAMES or is_table(name))
    newest = max(path.stat().st_mtime_ns for path in (notebook, *PACKAGE.rglob("*.py")))
    return _code(notebook, newest, names)


@lru_cache
def _code(notebook: Path, mtime: int, datasets: frozenset[str]) -> dict[str, str]:
    sources = [cell.source for cell in cells(notebook) if cell.cell_type == "code"]
    trees = [_parsed(source, is_cell=True) for source in sources]
    waiting = {path for tree in trees for path in _imported(tree)}
    datasets |= {name for tree in trees for name in _loaded(tree, declared(notebook))}
    paths = _closed(waiting.union(*map(_read_by, datasets)))
    code = {"notebook": digest("\n".join(map(ast.unparse, trees)))}
    for path in sorted(paths):
        code[f"mmlib/{path.relative_to(PACKAGE).as_posix()}"] = _analysed(path)[0]
    for pattern in (pattern for file, pattern in STORED.items() if PACKAGE / file in paths):
        for path in PACKAGE.glob(pattern):
            code[f"mmlib/{path.relative_to(PACKAGE).as_posix()}"] = checksum(path)
    return code


def digest(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return sha256(text.encode()).hexdigest()


def _closed(waiting: set[Path]) -> set[Path]:
    """Files, those that they need, and so on, except for code that does not change results."""
    closed: set[Path] = set()
    while waiting:
        path = waiting.pop()
        place = path.relative_to(PACKAGE)
        if not any(place.is_relative_to(room) for room in NO_NUMBERS):
            closed.add(path)
            needed = _analysed(path)[1]
            if place == Path(LOAD):
                needed = {p for p in needed if not p.is_relative_to(PACKAGE / READ)}
            waiting |= needed - closed
    return closed


def _analysed(path: Path) -> tuple[str, set[Path]]:
    """Checksum of a file's code, and the files that it needs."""
    return _analysed_at(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1024)
def _analysed_at(path: Path, mtime: int) -> tuple[str, set[Path]]:
    tree = _parsed(path.read_text())
    return digest(ast.unparse(tree)), set(_imported(tree)).union(*map(_read_by, _loaded(tree)))


# Code


def _parsed(source: str, is_cell: bool = False) -> ast.Module:
    """Code without docstrings, a cell's magics as IPython's calls; as a string if not Python."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(source) if is_cell else source)
    except SyntaxError:
        return ast.parse(f"_ = {source!r}")
    for node in ast.walk(tree):
        if isinstance(node, SCOPES) and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
    return tree


def _loaded(tree: ast.Module, parameters: Container[str] | None = None) -> Iterator[str]:
    """Data sets that code loads by name.

    In a notebook, with its parameters: all data sets if the argument of `load` is neither a
    constant nor a parameter; parameters are counted by their values elsewhere.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("load", "data.load"):
            match node.args:
                case [ast.Constant(value=name)]:
                    yield from [name] * (name in NAMES or is_table(name))
                case [ast.Name(id=name)] if parameters is not None and name in parameters:
                    pass
                case _ if parameters is not None:
                    yield from NAMES


def _read_by(dataset: str) -> set[Path]:
    """Files of the functions that make or read a data set."""
    readers = {"": read_texts} if is_table(dataset) else READERS.get(dataset, {})
    modules = {reader.__module__ for reader in readers.values()}
    if dataset in EMBEDDED:
        modules.add(f"mmlib.data.embedded.{dataset}")
    return {path for module in modules for path in _files(module)}


def _imported(tree: ast.Module) -> Iterator[Path]:
    """Files of mmlib that code names in its imports, the packages' own files among them."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "mmlib":
                yield from _files(name)


def _files(name: str) -> Iterator[Path]:
    """The files behind `mmlib.daf.train.fit`, or behind a former name in mmlib."""
    before = [old for old in mmlib.MOVED if f"{name}.".startswith(f"{old}.")]
    if before:
        longest = max(before, key=len)
        name = mmlib.MOVED[longest].partition(":")[0] + name.removeprefix(longest)
    folder = PACKAGE
    yield folder / "__init__.py"
    for part in name.split(".")[1:]:
        there = [folder / f"{part}.py", folder / part / "__init__.py"]
        yield from [path for path in there if path.exists()] or _on_demand(folder, part)
        folder /= part
    if name != "mmlib":
        yield from _on_demand(folder)


def _on_demand(room: Path, name: str | None = None) -> Iterator[Path]:
    """Where a room's `lazily` finds a name, or all its names; nothing if `room` is not a room."""
    if room != PACKAGE and (room / "__init__.py").exists():
        loaded = import_module(".".join(["mmlib", *room.relative_to(PACKAGE).parts]))
        table = getattr(getattr(loaded, "__getattr__", None), "modules", {})
        for module in {table[n] for n in table if name in (n, None)}:
            yield room / f"{module}.py"
