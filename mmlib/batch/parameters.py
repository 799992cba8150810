"""A notebook's declarations: its parameters, its data sets, whether it reads results."""

import ast
import re
import reprlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mmlib import files
from mmlib.data.load import is_table
from mmlib.data.readers.documents import Document, named
from mmlib.files import refuse_unknown

TYPES = {"str": str, "int": int, "float": (float, int), "bool": bool, "list": list, "dict": dict}
ADDRESSES = "rfc3987_syntax"


@lru_cache
def imported(name: str) -> ModuleType:
    """papermill, nbformat or jupytext, imported at first use, without the grammar of web addresses.

    jsonschema, which all three use, would compile it (1 s in the driver and each worker) to check
    a format that no notebook has. It works without if the grammar cannot be imported.
    """
    hidden = ADDRESSES not in sys.modules
    sys.modules.setdefault(ADDRESSES, None)
    try:
        return import_module(name)
    finally:
        if hidden:
            del sys.modules[ADDRESSES]


# Notebooks


def select(only: list[str]) -> list[Path]:
    """The notebooks whose names begin with one of `only` (all if it is empty), in reading order."""
    notebooks = sorted(files.NOTEBOOKS.glob("[0-9]*.ipynb"))
    for name in only or [""]:
        if (only and not name) or not any(path.stem.startswith(name) for path in notebooks):
            there = ", ".join(path.stem for path in notebooks) or "none"
            raise ValueError(f"no notebook {name!r} in {files.NOTEBOOKS}; there are {there}")
    return [path for path in notebooks if path.stem.startswith(tuple(only or [""]))]


def declared(notebook: Path) -> dict[str, dict]:
    """Parameters of a notebook, from papermill: name, type, default, help."""
    return _declared(notebook, notebook.stat().st_mtime_ns)


@lru_cache
def _declared(notebook: Path, mtime: int) -> dict[str, dict]:
    return imported("papermill").inspect_notebook(literal(notebook))


def literal(path: Path) -> str:
    """A path for papermill, escaped because papermill fills in parameters between braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def default(parameter: Mapping[str, str]) -> object:
    """The default value, as in the notebook."""
    return ast.literal_eval(parameter["default"])


def choices(parameters: Mapping[str, dict]) -> list[str]:
    """Data sets that a notebook accepts: `# synthetic | mosi: which corpus` lists two."""
    listed = re.match(r"[\w\s|-]*", parameters["dataset"]["help"])[0]
    return [name.strip() for name in listed.split("|")]


def _takes(parameters: Mapping[str, dict], dataset: object) -> bool:
    """Whether a notebook accepts a data set; a user's table needs the column parameters."""
    is_own = "text_column" in parameters and is_table(dataset)
    return is_own or dataset in choices(parameters)


def cells(notebook: Path) -> list:
    """The notebook's cells, as nbformat has them."""
    return imported("nbformat").read(notebook, as_version=4).cells


@lru_cache
def is_tagged(notebook: Path, tag: str) -> bool:
    """Whether a cell has the tag `reads-results` (the notebook runs last), or `long` (first)."""
    return any(tag in cell.metadata.get("tags", []) for cell in cells(notebook))


# Points


@dataclass(frozen=True)
class Point:
    """One notebook and the parameters it will be executed with."""

    notebook: Path
    parameters: Mapping[str, object]
    dataset: str  # the data set used, "" if none


def point(notebook: Path, parameters: Mapping[str, dict], values: dict) -> Point:
    """A notebook with checked values; ValueError in one line if one does not fit."""
    for name, value in values.items():
        check(notebook.stem, parameters, name, value)
    known = "dataset" in parameters
    dataset = values.get("dataset", default(parameters["dataset"])) if known else ""
    return Point(notebook, values, dataset)


def check(where: str, parameters: Mapping[str, dict], name: str, value: object) -> None:
    """ValueError unless the notebook has the parameter, and the value its type.

    Types are those of the annotation, else of the default; a whole number is a float too. A data
    set must be one that the notebook takes.
    """
    refuse_unknown("parameter", [name], sorted(parameters), where=where)
    kind = parameters[name]["inferred_type_name"].split("[")[0]
    if kind not in TYPES:
        kind = type(default(parameters[name])).__name__
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise ValueError(
            f"{where}: {name} takes {kind}, not {reprlib.repr(value)}{_hint(kind, value)}"
        )
    if name == "dataset" and not _takes(parameters, value):
        refuse_unknown("dataset", [value], choices(parameters), where=where)


def _hint(kind: str, value: object) -> str:
    """What to write if YAML reads a number as text, or text as something else."""
    if kind == "str" and isinstance(value, bool | int | float):
        return " (as text it stands in quotes)"
    with suppress(ValueError):
        number = float(value if isinstance(value, str) and kind in ("int", "float") else "inf")
        if number.is_integer() or (kind == "float" and abs(number) < float("inf")):
            plain = int(number) if number.is_integer() else f"{Decimal(repr(number)):f}"
            return f" (YAML reads {value} as text: write {plain})"
    return ""


def read_parameters(path: Path) -> dict:
    """A file of parameters; ValueError in one line if it cannot be read or is no mapping."""
    with Document(path) as file:
        return named({} if file.content is None else file.content)


def plan(run: str, dataset: str | None, given: Mapping, only: list[str]) -> list[Point]:
    """The notebooks in reading order with checked parameters; ValueError in one line."""
    every = {path: declared(path) for path in select([])}
    chosen = {path: every[path] for path in select(only)}
    stems = {"dataset", *(path.stem for path in every)}
    if any("run" in values for values in (given, *given.values()) if isinstance(values, dict)):
        raise ValueError("`run` is the folder of the results: give it by --run")
    shared = {name: value for name, value in given.items() if name not in stems}
    known = sorted({name for names in every.values() for name in names})
    refuse_unknown("parameter", shared, known, where="any notebook")
    dataset = dataset or given.get("dataset")  # False, of `no`, is no data set
    asking = [names for names in chosen.values() if "dataset" in names]
    listed = ", ".join(sorted({c for names in asking for c in choices(names)})) or "none"
    if dataset is not None and not any(_takes(names, dataset) for names in asking):
        raise ValueError(f"no notebook takes data set {dataset!r}; they take {listed}")
    return [_planned(path, chosen[path], run, dataset, shared, given) for path in chosen]


def _planned(notebook: Path, parameters, run, dataset, shared, given) -> Point:
    own = {} if given.get(notebook.stem) is None else given[notebook.stem]
    if not isinstance(own, dict):
        raise ValueError(f"{notebook.stem}: write `name: value` lines below it, not {own!r}")
    values = {n: v for n, v in {**shared, "run": run}.items() if n in parameters} | own
    if "dataset" not in own and "dataset" in parameters and _takes(parameters, dataset):
        values["dataset"] = dataset
    return point(notebook, parameters, values)
