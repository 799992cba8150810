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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from mmlib import files
from mmlib.batch.parameters import Point, check, declared, point, refuse_unknown, select, unreadable

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 10^6 values: seconds, not minutes
SECTIONS = ("notebooks", "fixed", "cross", "zip", "exclude")


@dataclass
class Grid:
    """What a grid file says. An axis is a list of assignments, of which a point has one each."""

    notebooks: dict[Path, dict]  # with their declared parameters
    fixed: dict[str, object] = field(default_factory=dict)
    axes: list[list[dict[str, object]]] = field(default_factory=list)
    exclude: list[dict[str, list]] = field(default_factory=list)

    def count(self) -> int:
        """How many points there are before the excludes."""
        return len(self.notebooks) * prod(map(len, self.axes))

    def points(self, run: str) -> Iterator[Point]:
        """The points that are not excluded, with `run` for the notebooks that take it."""
        for notebook, *chosen in product(self.notebooks, *self.axes):
            values = dict(self.fixed)
            for assignment in chosen:
                values |= assignment
            if not any(_matches(rule, values) for rule in self.exclude):
                named = {"run": run} if "run" in self.notebooks[notebook] else {}
                yield point(notebook, self.notebooks[notebook], {**values, **named})


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
    try:
        loader = Loader(path.read_text())
        top = loader.get_single_node()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise unreadable(path, error) from error
    return _Reader(path, loader).grid(top)


def _matches(rule: Mapping[str, list], values: Mapping[str, object]) -> bool:
    return all(values[name] in wanted for name, wanted in rule.items())


def _frozen(value: object) -> object:
    """The same value as something that a set can hold."""
    if isinstance(value, dict):
        return frozenset((name, _frozen(item)) for name, item in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


class _Reader:
    """Walks the nodes of one file, since only they know their lines."""

    def __init__(self, path: Path, loader) -> None:
        self.path, self.loader = path, loader

    def grid(self, top: Node | None) -> Grid:
        if not isinstance(top, MappingNode) or not top.value:
            raise ValueError(f"{self.path}: an empty grid; it needs `notebooks:` and parameters")
        sections = self.mapping(top)
        for name, node in sections.items():
            if name not in SECTIONS:
                raise self.error(node, f"unknown section {name!r}; there are {', '.join(SECTIONS)}")
        if "notebooks" not in sections:
            raise self.error(top, "no `notebooks:`")
        self.read = Grid(self.notebooks(sections["notebooks"]))
        for name in SECTIONS[1:]:
            if name in sections:
                getattr(self, name)(sections[name])
        return self.read

    def notebooks(self, node: Node) -> dict[Path, dict]:
        items = node.value if isinstance(node, SequenceNode) else [node]
        found: dict[Path, dict] = {}
        for item in items:
            for path in self.at(item, lambda item=item: select([str(self.value(item))])):
                if path in found:
                    raise self.error(item, f"{path.stem} stands twice")
                found[path] = declared(path)
        if not found:
            raise self.error(node, "an empty grid: no notebook")
        return found

    def fixed(self, node: Node) -> None:
        for name, value in self.mapping(node).items():
            self.fresh(name, value)
            self.read.fixed[name] = self.checked(name, value)

    def cross(self, node: Node) -> None:
        for name, values in self.mapping(node).items():
            self.fresh(name, values)
            self.axis(
                [{name: self.checked(name, v)} for v in self.items(values)], self.items(values)
            )

    def zip(self, node: Node) -> None:
        columns = self.mapping(node)
        nodes = {name: self.items(values) for name, values in columns.items()}
        for name, values in columns.items():
            self.fresh(name, values)
            if len(nodes[name]) != len(next(iter(nodes.values()))):
                raise self.error(values, "zipped lists have different lengths")
        rows = list(zip(*nodes.values(), strict=True))
        checked = [{n: self.checked(n, v) for n, v in zip(nodes, r, strict=True)} for r in rows]
        self.axis(checked, [row[0] for row in rows])

    def exclude(self, node: Node) -> None:
        for item in node.value if isinstance(node, SequenceNode) else [node]:
            rule = {}
            for name, values in self.mapping(item).items():
                wanted = self.items(values) if isinstance(values, SequenceNode) else [values]
                rule[name] = [self.known(name, value) for value in wanted]
            if not rule:
                raise self.error(item, "an exclude that names no parameter")
            self.read.exclude.append(rule)

    # The parts of a section

    def axis(self, assignments: list[dict], nodes: list[Node]) -> None:
        seen = set()
        for assignment, node in zip(assignments, nodes, strict=True):
            if _frozen(assignment) in seen:
                raise self.error(node, f"duplicate point: {assignment} stands twice")
            seen.add(_frozen(assignment))
        self.read.axes.append(assignments)

    def checked(self, name: str, node: Node) -> object:
        """A value that every notebook of the grid takes."""
        if name == "run":
            raise self.error(node, "`run` is the folder of the results: give it by --run")
        value = self.value(node)
        for path, parameters in self.read.notebooks.items():
            self.at(node, lambda p=path, known=parameters: refuse_unknown([name], known, p.stem))
            self.at(node, lambda p=path, known=parameters: check(p.stem, known, name, value))
        return value

    def known(self, name: str, node: Node) -> object:
        """A value that some point of the grid has, for an exclude."""
        value = self.value(node)
        there = [a[name] for axis in self.read.axes for a in axis if name in a]
        there += [self.read.fixed[name]] if name in self.read.fixed else []
        if value not in there:
            raise self.error(node, f"excludes {name} = {value!r}, which no point has")
        return value

    def fresh(self, name: str, node: Node) -> None:
        used = {*self.read.fixed, *(name for axis in self.read.axes for name in axis[0])}
        if name in used:
            raise self.error(node, f"{name} is given twice")

    def items(self, node: Node) -> list[Node]:
        if not isinstance(node, SequenceNode) or not node.value:
            raise self.error(node, "needs a list of at least one value")
        return node.value

    def mapping(self, node: Node) -> dict[str, Node]:
        if not isinstance(node, MappingNode):
            raise self.error(node, "needs `name: value` lines")
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = str(self.value(key))
            if name in found:
                raise self.error(key, f"{name} is given twice")
            found[name] = value
        return found

    def value(self, node: Node) -> object:
        try:
            return self.loader.construct_object(node, deep=True)
        except yaml.YAMLError as error:
            raise self.error(node, " ".join(str(error).split())) from error

    def at(self, node: Node, attempt: Callable):
        """The result of a check, its ValueError with the line of this node."""
        try:
            return attempt()
        except ValueError as error:
            raise self.error(node, str(error)) from error

    def error(self, node: Node, message: str) -> ValueError:
        return ValueError(f"{self.path}:{node.start_mark.line + 1}: {message}")
