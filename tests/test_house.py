"""The laws of the house: which room may import which, and what importing one may do."""

import ast
import os
import re
import signal
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mmlib

PACKAGE = Path(mmlib.__file__).parent
# From the ground up; a room imports only rooms before it.
FLOORS = (
    "files",
    "covarep",
    "data",
    "scores",
    "figures",
    "text",
    "stack",
    "daf",
    "dyfulm",
    "finetune",
    "recordings",
    "batch",
)


def imported(path: Path) -> set[str]:
    """Full names of what a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("mmlib.")}


def rooms() -> dict[str, set[str]]:
    """Each room of mmlib and the others that it imports."""
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room != "__init__":
            used = {name.split(".")[1] for name in imported(path)} - {"lazily", "MOVED"}
            graph[room] = graph.get(room, set()) | used - {room}
    return graph


def modules() -> dict[str, set[str]]:
    """Each module of mmlib and the other modules that it imports."""
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }
    graph = {}
    for name, path in names.items():
        used = {n if n in names else n.rpartition(".")[0] for n in imported(path)}
        graph[name] = used & set(names) - {name}
    return graph


def functions():
    """(file, name, first line of the body, last line) of every function."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_rooms_are_those_of_the_plan_and_imports_run_down():
    graph = rooms()
    assert set(graph) == set(FLOORS)
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError
    for room, used in graph.items():
        below = FLOORS[: FLOORS.index(room)]
        assert used <= set(below), f"{room} imports {sorted(used - set(below))}, which lies above"


def test_no_module_imports_in_a_circle():
    tuple(TopologicalSorter(modules()).static_order())


def test_covarep_imports_nothing_else():
    assert rooms()["covarep"] == set()


def test_nothing_stands_on_recordings_or_batch():
    for room, used in rooms().items():
        assert not used & {"recordings", "batch"}, room


def test_environment_is_read_in_one_file():
    for path in PACKAGE.rglob("*.py"):
        if path != PACKAGE / "files.py" and path != PACKAGE / "__init__.py":  # which sets one
            assert not re.search(r"\benviron\b|\bgetenv\b", path.read_text()), path


@pytest.mark.parametrize("room", FLOORS)
def test_importing_a_room_changes_nothing(room):
    """No engine is registered, no module patched, no variable set, nothing hashed."""
    files = sorted(PACKAGE.glob(f"{room}/**/*.py")) or [PACKAGE / f"{room}.py"]
    names = [
        ".".join(f.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for f in files
        if f.stem != "__main__"
    ]
    code = f"""
import hashlib, importlib, os, signal, sys
import mmlib
try:
    from papermill.engines import papermill_engines as engines
except ImportError:
    engines = None
def ours():
    theirs = ('TORCH', 'KMP_')  # torch and its libraries set these
    return {{k: v for k, v in os.environ.items() if not k.startswith(theirs)}}
before = ours(), signal.getsignal(signal.SIGINT)
known = set(engines._engines)
hashed = []
real = hashlib.file_digest
hashlib.file_digest = lambda *a: hashed.append(a) or real(*a)
for name in {names!r}:
    importlib.import_module(name)
assert (ours(), signal.getsignal(signal.SIGINT)) == before
assert set(engines._engines) == known, "an engine was registered"
assert not hashed, "a file was hashed"
assert "rfc3987_syntax" not in sys.modules or sys.modules["rfc3987_syntax"] is not None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_reading_tables_loads_neither_torch_nor_papermill():
    code = (
        "import sys, mmlib.data, mmlib.scores.results, mmlib.scores.runs, mmlib.scores.ledger, "
        "mmlib.figures.plots; print({'torch', 'papermill'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_public_names_are_unique_within_their_room():
    for room in FLOORS:
        seen: dict[str, Path] = {}
        for path in PACKAGE.glob(f"{room}/**/*.py"):
            for node in ast.parse(path.read_text()).body:
                name = getattr(node, "name", "_")
                if not name.startswith("_") and name != "main":
                    assert name not in seen, f"{name} stands in {path} and in {seen[name]}"
                    seen[name] = path


def test_functions_and_files_are_short():
    lengths = []
    for path, node in functions():
        has_words = isinstance(node.body[0], ast.Expr) and isinstance(
            getattr(node.body[0], "value", None), ast.Constant
        )
        body = node.body[1:] if has_words else node.body
        lines = node.end_lineno - body[0].lineno + 1 if body else 0
        assert lines <= 30, f"{path.relative_to(PACKAGE)}: {node.name} has {lines} lines"
        lengths.append(lines)
    assert sorted(lengths)[len(lengths) // 2] <= 8
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 350, path


@pytest.mark.parametrize("command", ["daf.tune", "dyfulm", "finetune", "batch"])
def test_ctrl_c_while_a_command_loads_is_one_line(tmp_path, command):
    (tmp_path / "pandas.py").write_text("raise KeyboardInterrupt")  # as if it came then
    process = subprocess.run(
        [sys.executable, "-m", f"mmlib.{command}", "--help"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGE.parent}"},
        capture_output=True,
        text=True,
    )
    assert (process.stdout, process.stderr) == ("", "stopped\n")
    assert process.returncode == -signal.SIGINT  # a shell's loop ends with it


def test_the_house_does_not_grow():
    """The plan's 12,800 lines, without the forwards of mmlib/__init__.py, are not reached.

    notebooks/book/house.md says why. Whoever adds a line past this bound asks first what can go.
    """
    total = sum(len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py"))
    assert total - len((PACKAGE / "__init__.py").read_text().splitlines()) <= 21285
