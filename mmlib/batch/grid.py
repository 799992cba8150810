"""A grid: one notebook or several, fixed parameters, lists to cross, zipped lists, excludes.

    notebooks: [02_daf]
    fixed: {seeds: 20}
    cross:                       # every combination
      layers: [all, last]
    zip:                         # first with first, second with second
      dataset: [mosi, mmmo]
      modalities: [text audio, audio vision]
    exclude:                     # a list of values means any of them
      - {dataset: mmmo, layers: [last]}

Its unit is a point: one notebook, one set of parameters, all seeds (they train as one stack). All
is checked against the notebooks first; what does not fit is a ValueError in one line that names
the line of the file.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path

from mmlib import files
from mmlib.batch.parameters import Point, check, declared, point, select
from mmlib.batch.reader import Document, named
from mmlib.files import refuse_unknown

SECTIONS = ("notebooks", "fixed", "cross", "zip", "exclude")


@dataclass
class Grid:
    """What a grid file says. An axis is a list of assignments, of which a point has one each."""

    notebooks: dict[Path, dict]  # with their declared parameters
    axes: list[list[dict[str, object]]] = field(default_factory=list)  # fixed ones: of length 1
    exclude: list[dict[str, list]] = field(default_factory=list)

    def count(self) -> int:
        """How many points there are before the excludes."""
        return len(self.notebooks) * prod(map(len, self.axes))

    def points(self, run: str) -> Iterator[Point]:
        """The points that are not excluded, with `run` for the notebooks that take it."""
        for notebook, *chosen in product(self.notebooks, *self.axes):
            values = {name: value for part in chosen for name, value in part.items()}
            if not any(_matches(rule, values) for rule in self.exclude):
                if "run" in self.notebooks[notebook]:
                    values["run"] = run
                yield point(notebook, self.notebooks[notebook], values)


def _matches(rule: Mapping[str, list], values: Mapping[str, object]) -> bool:
    return all(values[name] in wanted for name, wanted in rule.items())


def find(name: str) -> Path:
    """The grid file of that name below papermill_runs/grids, or the file itself."""
    grids = files.RUNS / "grids"
    for path in (grids / f"{name}.yaml", Path(name)):
        if os.path.isfile(path):  # no error where the name is too long for a file
            return path
    there = ", ".join(sorted(path.stem for path in grids.glob("*.yaml"))) or "none"
    raise ValueError(f"no grid {name!r}; give a YAML file or one of {there}")


def read(path: Path) -> Grid:
    """A grid file, checked against its notebooks; ValueError with the line of what is wrong."""
    file = Document(path)
    with file.at():
        sections = named(file.content)
        if "notebooks" not in sections:
            raise ValueError("no `notebooks:`")
    for section, given in sections.items():
        with file.at(section):
            refuse_unknown("section", [section], SECTIONS)
            if section in ("fixed", "cross", "zip"):
                named(given)
    grid = Grid(_notebooks(file, _listed(sections["notebooks"])))
    axes = [("fixed", {name: [value]}) for name, value in sections.get("fixed", {}).items()]
    axes += [("cross", {name: values}) for name, values in sections.get("cross", {}).items()]
    axes += [("zip", columns) for columns in [sections.get("zip")] if columns]
    for section, columns in axes:
        grid.axes.append(_axis(grid, file, section, columns))
    for i, rule in enumerate(_listed(sections.get("exclude", []))):
        grid.exclude.append(_exclude(grid, file, i, rule))
    return grid


def _listed(given: object) -> list:
    return given if isinstance(given, list) else [given]


def _notebooks(file: Document, names: list) -> dict[Path, dict]:
    notebooks: dict[Path, dict] = {}
    for i, name in enumerate(names):
        with file.at("notebooks", i):
            for path in select([str(name)]):
                if path in notebooks:
                    raise ValueError(f"{path.stem} stands twice")
                notebooks[path] = declared(path)
    with file.at("notebooks"):
        if not notebooks:
            raise ValueError("an empty grid: no notebook")
    return notebooks


def _axis(grid: Grid, file: Document, section: str, columns: Mapping[str, list]) -> list[dict]:
    """The assignments of lists that go together, first with first, after a check of each value."""
    for name, values in columns.items():
        with file.at(section, name):
            if not isinstance(values, list) or not values:
                raise ValueError("needs a list of at least one value")
            if len(values) != len(next(iter(columns.values()))):
                raise ValueError("zipped lists have different lengths")
        for i, value in enumerate(values):
            with file.at(section, name, i):
                _check(grid, name, value)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    seen = set()
    for i, row in enumerate(rows):
        values = tuple(str(v) if isinstance(v, list | dict) else v for v in row.values())
        with file.at(section, next(iter(columns)), i):
            if values in seen:
                raise ValueError(f"duplicate point: {row} stands twice")
        seen.add(values)
    return rows


def _check(grid: Grid, name: str, value: object) -> None:
    """ValueError unless every notebook of the grid takes this value."""
    if name == "run":
        raise ValueError("`run` is the folder of the results: give it by --run")
    if any(name in axis[0] for axis in grid.axes):
        raise ValueError(f"{name} is given twice")
    for path, parameters in grid.notebooks.items():
        check(path.stem, parameters, name, value)


def _exclude(grid: Grid, file: Document, i: int, given: object) -> dict[str, list]:
    """A rule, each name with its list of values; ValueError where it excludes nothing."""
    place = ["exclude", i] if isinstance(file.content["exclude"], list) else ["exclude"]
    with file.at(*place):
        rule = {name: _listed(wanted) for name, wanted in named(given).items()}
        if not rule:
            raise ValueError("an exclude that names no parameter")
    for name, wanted in rule.items():
        there = [part[name] for axis in grid.axes for part in axis if name in part]
        for value in wanted:
            with file.at(*place, name):
                if value not in there:
                    raise ValueError(f"excludes {name} = {value!r}, which no point has")
    return rule
