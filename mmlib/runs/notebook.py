"""What a notebook declares: its parameters, the data sets it takes, whether it reads results."""

import ast
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import nbformat
import papermill

from mmlib import paths

TYPES = {"str": str, "int": int, "float": (float, int), "bool": bool, "list": list, "dict": dict}


def select(only: list[str]) -> list[Path]:
    """The notebooks whose names begin with one of `only` (all if it is empty), in reading order."""
    notebooks = sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))
    for name in only or [""]:
        if not any(path.stem.startswith(name) for path in notebooks):
            there = ", ".join(path.stem for path in notebooks) or "none"
            raise ValueError(f"no notebook {name!r} in {paths.NOTEBOOKS}; there are {there}")
    return [path for path in notebooks if path.stem.startswith(tuple(only or [""]))]


def declared(notebook: Path) -> dict[str, dict]:
    """Parameters of a notebook as papermill sees them: name, type, default, help."""
    return _declared(notebook, notebook.stat().st_mtime_ns)


@lru_cache
def _declared(notebook: Path, mtime: int) -> dict[str, dict]:
    return papermill.inspect_notebook(literal(notebook))


def literal(path: Path) -> str:
    """A path for papermill, which would fill in parameters between braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def default(parameter: Mapping[str, str]) -> object:
    """The value in the notebook itself."""
    return ast.literal_eval(parameter["default"])


def choices(parameters: Mapping[str, dict]) -> list[str]:
    """Data sets a notebook can take: `# synthetic | mosi: which corpus` lists two."""
    listed = re.match(r"[\w\s|-]*", parameters["dataset"]["help"])[0]
    return [name.strip() for name in listed.split("|")]


def is_behind(notebook: Path) -> bool:
    """Whether the `.py` beside it holds other cells; a run executes those of the `.ipynb`."""
    source = notebook.with_suffix(".py")
    if not source.exists():
        return False
    import jupytext  # here, since a run alone needs it and it takes its time to load

    both = jupytext.read(source), nbformat.read(notebook, as_version=4)
    cells = [[(c.cell_type, c.source.strip()) for c in one.cells] for one in both]
    return cells[0] != cells[1]


def reads_results(notebook: Path) -> bool:
    """Whether its parameters cell is tagged so: then it comes after the others."""
    cells = nbformat.read(notebook, as_version=4).cells
    return any("reads-results" in cell.metadata.get("tags", []) for cell in cells)


def refuse_unknown(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """ValueError that lists the parameters there are, for a name that is none of them."""
    for name in names:
        if name not in known:
            there = ", ".join(sorted(known))
            raise ValueError(f"{where}: unknown parameter {name!r}; there are {there}")


def check(where: str, parameters: Mapping[str, dict], name: str, value: object) -> None:
    """ValueError unless the value has the parameter's type and is a data set the notebook takes.

    Types are those of the annotation, else of the default; a whole number is a float too.
    """
    kind = parameters[name]["inferred_type_name"].split("[")[0]
    if kind not in TYPES:
        kind = type(default(parameters[name])).__name__
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        hint = " (YAML reads 1e-3 as text: write 0.001)" if _is_number(value) else ""
        raise ValueError(f"{where}: {name} takes {kind}, not {value!r}{hint}")
    if name == "dataset" and value not in choices(parameters):
        raise ValueError(f"{where}: dataset {value!r} is none of {choices(parameters)}")


def _is_number(value: object) -> bool:
    """Whether this is text that Python would take for a number."""
    with suppress(ValueError):
        return isinstance(value, str) and float(value) is not None
    return False
