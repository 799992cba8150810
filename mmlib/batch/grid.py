"""A grid of points: notebooks, fixed parameters, crossed lists, zipped lists, and excludes.

    notebooks: [02_daf]
    fixed: {seeds: 20}
    cross:                       # every combination
      layers: [all, last]
    zip:                         # first with first, second with second
      dataset: [mosi, mmmo]
      modalities: [text audio, audio vision]
    exclude:                     # a list of values means any of them
      - {dataset: mmmo, layers: [last]}

A point is one notebook with one set of parameters and all seeds (they train as one stack).
Everything is checked against the notebooks first; errors are a ValueError in one line with the line
number in the file.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path

from mmlib import files
from mmlib.batch.parameters import Point, check, declared, point, select
from mmlib.data.load import is_table
from mmlib.data.readers.documents import Document, named
from mmlib.files import refuse_unknown

SECTIONS = ("notebooks", "fixed", "cross", "zip", "exclude")


@dataclass
class Grid:
    """The content of a grid file. An axis is a list of assignments; a point has one of each."""

    path: Path
    notebooks: dict[Path, dict]  # notebook -> its declared parameters
    axes: list[list[dict[str, object]]] = field(default_factory=list)  # fixed ones: of length 1
    exclude: list[dict[str, list]] = field(default_factory=list)

    def count(self) -> int:
        """Number of points before excludes."""
        return len(self.notebooks) * prod(map(len, self.axes))

    def points(self, run: str) -> Iterator[Point]:
        """Yield the points that are not excluded; notebooks with a parameter `run` get it."""
        for notebook, *chosen in product(self.notebooks, *self.axes):
            values = {name: value for part in chosen for name, value in part.items()}
            rules = (all(values[n] in some for n, some in rule.items()) for rule in self.exclude)
            if not any(rules):
                if "run" in self.notebooks[notebook]:
                    values["run"] = run
                yield point(notebook, self.notebooks[notebook], values)


def find(name: str) -> Path:
    """The grid file of that name in papermill_runs/grids, or the file itself."""
    grids = files.RUNS / "grids"
    for path in (grids / f"{name}.yaml", Path(name)):
        if os.path.isfile(path):  # no error where the name is too long for a file
            return path
    there = ", ".join(sorted(path.stem for path in grids.glob("*.yaml"))) or "none"
    raise ValueError(f"no grid {name!r}; give a YAML file or one of {there}")


def read(path: Path) -> Grid:
    """Read a grid file and check it against its notebooks; ValueError with the line of an error."""
    with Document(path) as file:
        sections = named(file.content)
        if "notebooks" not in sections:
            raise ValueError("no `notebooks:`")
        for section, given in sections.items():
            file.at(section)
            refuse_unknown("section", [section], SECTIONS)
            if section in ("fixed", "cross", "zip"):
                named(given)
        grid = Grid(path, _notebooks(file, sections["notebooks"]))
        for name, value in sections.get("fixed", {}).items():
            grid.axes.append(_axis(grid, file, "fixed", {name: [value]}))
        for name, values in sections.get("cross", {}).items():
            grid.axes.append(_axis(grid, file, "cross", {name: values}))
        if columns := sections.get("zip"):
            grid.axes.append(_axis(grid, file, "zip", columns))
        for i, rule in enumerate(_listed(sections.get("exclude", []))):
            file.at("exclude", i)
            grid.exclude.append(_exclude(grid, file, named(rule)))
        return grid


def _listed(given: object) -> list:
    return given if isinstance(given, list) else [given]


def _notebooks(file: Document, given: object) -> dict[Path, dict]:
    notebooks: dict[Path, dict] = {}
    for i, name in enumerate(_listed(given)):
        file.at("notebooks", i)
        for path in select([str(name)]):
            if path in notebooks:
                raise ValueError(f"{path.stem} is listed twice")
            notebooks[path] = declared(path)
    if not notebooks:
        raise ValueError("an empty grid: no notebook")
    return notebooks


def _axis(grid: Grid, file: Document, section: str, columns: Mapping[str, list]) -> list[dict]:
    """The assignments of zipped lists, first with first, after each value is checked."""
    first = next(iter(columns))
    for name, values in columns.items():
        file.at(section, name)
        if not isinstance(values, list) or not values:
            raise ValueError("needs a list of at least one value")
        if len(values) != len(columns[first]):
            raise ValueError("zipped lists have different lengths")
        for i, value in enumerate(values):
            file.at(section, name, i)
            _check(grid, name, value)
    tables: dict[str, str] = {}
    for name in filter(is_table, columns.get("dataset", ())):
        if (other := tables.setdefault(Path(name).name.partition(".")[0], name)) != name:
            raise ValueError(f"{other} and {name} have one name before the dot; rename one file")
    rows, seen = [], set()
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        file.at(section, first, i)
        rows.append(dict(zip(columns, row, strict=True)))
        values = tuple(str(v) if isinstance(v, list | dict) else v for v in row)
        if values in seen:
            raise ValueError(f"duplicate point: {rows[-1]} is listed twice")
        seen.add(values)
    return rows


def _check(grid: Grid, name: str, value: object) -> None:
    """ValueError unless every notebook of the grid accepts this value."""
    if name == "run":
        raise ValueError("`run` is the folder of the results: give it by --run")
    if any(name in axis[0] for axis in grid.axes):
        raise ValueError(f"{name} is given twice")
    for path, parameters in grid.notebooks.items():
        check(path.stem, parameters, name, value)


def _exclude(grid: Grid, file: Document, rule: Mapping[str, object]) -> dict[str, list]:
    """A rule with a list of values per name; ValueError if it excludes nothing."""
    if not rule:
        raise ValueError("an exclude that names no parameter")
    place, lists = file.place, {name: _listed(wanted) for name, wanted in rule.items()}
    for name, wanted in lists.items():
        file.at(*place, name)
        there = [part[name] for axis in grid.axes for part in axis if name in part]
        for value in wanted:
            if value not in there:
                raise ValueError(f"excludes {name} = {value!r}, which no point has")
    return lists
