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

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, SequenceNode

from mmlib import files
from mmlib.batch.parameters import Point, check, declared, point, select, unreadable
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
                named = {"run": run} if "run" in self.notebooks[notebook] else {}
                yield point(notebook, self.notebooks[notebook], values | named)


def _matches(rule: Mapping[str, list], values: Mapping[str, object]) -> bool:
    return all(values[name] in wanted for name, wanted in rule.items())


def find(name: str) -> Path:
    """The grid file of that name below papermill_runs/grids, or the file itself."""
    grids = files.RUNS / "grids"
    stored = grids / f"{name}.yaml"
    path = stored if stored.exists() else Path(name)
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in grids.glob("*.yaml"))) or "none"
        raise ValueError(f"no grid {name!r}; give a YAML file or one of {there}")
    return path


def read(path: Path) -> Grid:
    """A grid file, checked against its notebooks; ValueError with the line of what is wrong."""
    file = _File(path)
    with file.line([]):
        content = _named(file.content)
        if "notebooks" not in content:
            raise ValueError("no `notebooks:`")
    sections = {}
    for section, given in content.items():
        with file.line([section]):
            refuse_unknown("section", [section], SECTIONS)
            sections[section] = given if section in ("notebooks", "exclude") else _named(given)
    grid = Grid(_notebooks(file, sections["notebooks"]))
    for name, value in sections.get("fixed", {}).items():
        _add_axis(grid, file, "fixed", {name: [value]})
    for name, values in sections.get("cross", {}).items():
        _add_axis(grid, file, "cross", {name: values})
    if "zip" in sections:
        _add_axis(grid, file, "zip", sections["zip"])
    grid.exclude += _excludes(grid, file, sections.get("exclude", []))
    return grid


# Lines: PyYAML keeps them in its nodes, and the values are made from these


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # C: 10^6 values in seconds
    """Refuses a name that is given twice, where YAML would take the last."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class _LineError(ValueError):
    """It names its line already."""


class _File:
    """A YAML file: its content, and the line of each part of that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            loader = _Loader(path.read_text())
            self.top = loader.get_single_node()
            self.content = loader.construct_document(self.top) if self.top else None
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise unreadable(path, error) from error

    @contextmanager
    def line(self, place: Sequence[object]) -> Iterator[None]:
        """A ValueError from inside names the line of a place: `cross`, `lr`, 0 is one.

        The place may change inside: 10^6 values take one context, not as many.
        """
        try:
            yield
        except _LineError:
            raise
        except ValueError as error:
            node = self.top
            for step in place:
                node = _child(node, step)
            line = node.start_mark.line + 1 if node else 1
            raise _LineError(f"{self.path}:{line}: {error}") from error


def _child(node: yaml.Node, step: object) -> yaml.Node:
    """What a node holds under a name or number; the node itself if it is one value alone."""
    if isinstance(node, SequenceNode):
        return node.value[step] if step < len(node.value) else node
    items = node.value if isinstance(node, MappingNode) else []
    return next((value for key, value in items if key.value == str(step)), node)


def _named(given: object) -> dict:
    if not isinstance(given, dict):
        raise ValueError("needs `name: value` lines")
    return given


# Sections


def _notebooks(file: _File, given: object) -> dict[Path, dict]:
    notebooks: dict[Path, dict] = {}
    for i, name in enumerate(given if isinstance(given, list) else [given]):
        with file.line(["notebooks", i]):
            for path in select([str(name)]):
                if path in notebooks:
                    raise ValueError(f"{path.stem} stands twice")
                notebooks[path] = declared(path)
    with file.line(["notebooks"]):
        if not notebooks:
            raise ValueError("an empty grid: no notebook")
    return notebooks


def _add_axis(grid: Grid, file: _File, section: str, columns: Mapping[str, list]) -> None:
    """Check lists of values that go together, first with first, and add them to the grid."""
    for name, values in columns.items():
        with file.line([section, name]):
            if not isinstance(values, list) or not values:
                raise ValueError("needs a list of at least one value")
            if len(values) != len(next(iter(columns.values()))):
                raise ValueError("zipped lists have different lengths")
        place = [section, name, 0]
        with file.line(place):
            for place[-1], value in enumerate(values):
                _check(grid, name, value)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    place, seen = [section, next(iter(columns), 0), 0], set()
    with file.line(place):
        for place[-1], row in enumerate(rows):
            values = tuple(str(v) if isinstance(v, list | dict) else v for v in row.values())
            if values in seen:
                raise ValueError(f"duplicate point: {row} stands twice")
            seen.add(values)
    grid.axes.append(rows)


def _check(grid: Grid, name: str, value: object) -> None:
    """ValueError unless every notebook of the grid takes this value."""
    if name == "run":
        raise ValueError("`run` is the folder of the results: give it by --run")
    if any(name in axis[0] for axis in grid.axes):
        raise ValueError(f"{name} is given twice")
    for path, parameters in grid.notebooks.items():
        check(path.stem, parameters, name, value)


def _excludes(grid: Grid, file: _File, given: object) -> Iterator[dict[str, list]]:
    for i, item in enumerate(given if isinstance(given, list) else [given]):
        place = ["exclude", i] if isinstance(given, list) else ["exclude"]
        with file.line(place):
            rule = {n: v if isinstance(v, list) else [v] for n, v in _named(item).items()}
            if not rule:
                raise ValueError("an exclude that names no parameter")
        for name, wanted in rule.items():
            with file.line([*place, name]):
                there = [part[name] for axis in grid.axes for part in axis if name in part]
                for value in wanted:
                    if value not in there:
                        raise ValueError(f"excludes {name} = {value!r}, which no point has")
        yield rule
