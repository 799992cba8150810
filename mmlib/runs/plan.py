"""Which notebooks a plain run executes, and with which parameters.

A notebook whose `dataset` parameter lists the named data set follows it
(`dataset: str = "synthetic"  # synthetic | mosi`), the others keep their own. A parameter file is
YAML: names at the top go to every notebook that has them, names below `02_daf:` to that one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from mmlib.runs.notebook import check, choices, declared, default, refuse_unknown, select


@dataclass(frozen=True)
class Point:
    """One notebook and the parameters it will be executed with."""

    notebook: Path
    parameters: Mapping[str, object]
    dataset: str  # what it will use, "" if it takes no data set


def plan(run: str, dataset: str | None, given: Mapping, only: list[str]) -> list[Point]:
    """The notebooks in reading order with checked parameters, or a ValueError in one line."""
    every = {path: declared(path) for path in select([])}
    known = {path: every[path] for path in select(only)}
    stems = {path.stem for path in every}
    shared = {name: value for name, value in given.items() if name not in stems}
    refuse_unknown(shared, {name for names in every.values() for name in names}, "any notebook")
    dataset = dataset or shared.pop("dataset", None)
    listed = sorted({c for names in known.values() if "dataset" in names for c in choices(names)})
    if dataset and dataset not in listed:
        raise ValueError(f"no notebook takes data set {dataset!r}; they take {', '.join(listed)}")
    return [_point(path, known[path], run, dataset, shared, given) for path in known]


def _point(notebook: Path, parameters, run, dataset, shared, given) -> Point:
    own = given.get(notebook.stem) or {}
    refuse_unknown(own, parameters, notebook.stem)
    values = {name: value for name, value in {**shared, **own}.items() if name in parameters}
    if "run" in parameters:
        values["run"] = run
    if "dataset" in parameters and dataset in choices(parameters):
        values["dataset"] = dataset
    return point(notebook, parameters, values)


def point(notebook: Path, parameters: Mapping[str, dict], values: dict) -> Point:
    """A notebook with checked values; ValueError in one line if one does not fit."""
    for name, value in values.items():
        check(notebook.stem, parameters, name, value)
    known = "dataset" in parameters
    dataset = values.get("dataset", default(parameters["dataset"])) if known else ""
    return Point(notebook, values, dataset)


def read_parameters(path: Path) -> dict:
    """A parameter file; ValueError in one line if it is missing or no mapping."""
    try:
        given = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise unreadable(path, error) from error
    if not isinstance(given, dict):
        raise ValueError(f"{path}: a parameter file holds `name: value` lines")
    return given


def unreadable(path: Path, error: Exception) -> ValueError:
    """What is wrong with a YAML file, in one line that names its line where that is known."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return ValueError(f"{path}:{mark.line + 1}: {error.problem}")
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return ValueError(f"{path}: {reason}")
