"""One reader of YAML for grids, parameters, configurations and the values of --filter.

YAML 1.1 takes 010 for 8, 1:30 for 90, 2024-05-01 for a date and the last of two equal names for
both, and a few aliases stand for more values than memory holds. Each is refused before anything is
built from it, in one line that names the line of the file and what to write instead.
"""

import re
from pathlib import Path

import yaml
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

VALUES, LEVELS = 10**7, 20  # of one text, its aliases written out
TAG = "tag:yaml.org,2002:"
MISREAD = re.compile(r"^[-+]?0[0-7_]+$|:")  # octal, or base 60
KINDS = ("null", "bool", "int", "float", "str", "seq", "map")  # JSON's, which manifests are


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # C: 10^6 values in seconds
    """Builds values of JSON's kinds alone, and none that YAML misreads."""

    def construct_object(self, node: Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (LookupError, TypeError, ValueError) as error:  # `!!bool maybe`, 5000 digits
            raise _refusal(node, f"cannot be read as {node.tag.removeprefix(TAG)}") from error

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value if isinstance(node, MappingNode) else ():
            if not isinstance(key, ScalarNode):
                raise _refusal(key, "a name is text, not a list or names of its own")
            if key.tag not in (TAG + "str", TAG + "merge"):
                raise _refusal(key, f'a name is text: write "{key.value}", in quotes')
            if key.value in seen:
                raise _refusal(key, f"{key.value} is given twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def number(self, node: ScalarNode) -> int | float:
        """A number, if YAML and a reader see the same one."""
        if node.tag == TAG + "float":
            value = self.construct_yaml_float(node)
        else:
            value = self.construct_yaml_int(node)
        if value != value:
            raise _refusal(node, f"{node.value} is no number that can be compared: leave it out")
        if MISREAD.search(node.value):
            either = f'{value} if that is meant, "{node.value}" for text, or the decimal number'
            raise _refusal(node, f"YAML reads {node.value} as {value}: write {either}")
        return value

    def date(self, node: ScalarNode) -> None:
        raise _refusal(node, f'YAML reads {node.value} as a date: write "{node.value}", in quotes')


_Loader.yaml_constructors = {
    **{TAG + kind: _Loader.yaml_constructors[TAG + kind] for kind in KINDS},
    None: _Loader.construct_undefined,
}
for _kind in ("int", "float"):
    _Loader.add_constructor(TAG + _kind, _Loader.number)
_Loader.add_constructor(TAG + "timestamp", _Loader.date)


def _refusal(node: Node | Event, text: str) -> ConstructorError:
    return ConstructorError(None, None, text, node.start_mark)


def _check_size(text: str) -> None:
    """ConstructorError where a text has too many levels, or aliases that may make it explode.

    That is told from the parser's events: what makes nodes of them crashes on 10^5 levels.
    """
    inside, aliases = [], 0  # inside: the anchors, or None, of the open collections
    for values, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, CollectionStartEvent):
            inside.append(event.anchor)
        elif isinstance(event, CollectionEndEvent):
            inside.pop()
        aliases += isinstance(event, AliasEvent)
        if isinstance(event, AliasEvent) and any(inside):
            raise _refusal(event, f"*{event.anchor} inside of what an alias names: write it out")
        if len(inside) > LEVELS:
            raise _refusal(event, f"more than {LEVELS} levels: write it flatter")
        if aliases and aliases * values > VALUES:
            raise _refusal(event, "too many aliases in a long text: write them out")


def parse(text: str) -> tuple[Node | None, object]:
    """The nodes of a YAML text and the value that they make; YAMLError or ValueError."""
    _check_size(text)
    loader = _Loader(text)
    top = loader.get_single_node()
    return top, loader.construct_document(top) if top else None


class Document:
    """A YAML file: what it holds, and the line of each part of that.

    ValueError in one line if it cannot be read. Inside of `with document:` a ValueError gets the
    line of the place that `at` was told last.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, ()
        try:
            self.top, self.content = parse(path.read_text())
        except (OSError, ValueError, yaml.YAMLError) as error:
            if mark := getattr(error, "problem_mark", None):
                raise ValueError(f"{path}:{mark.line + 1}: {error.problem}") from error
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ValueError(f"{path}: {reason}") from error

    def at(self, *place: object) -> None:
        """What is looked at from now on: `cross`, `lr`, 0 is the first value of a parameter."""
        self.place = place

    def __enter__(self) -> "Document":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError):
            node = self.top
            for step in self.place:
                node = _child(node, step)
            line = node.start_mark.line + 1 if node else 1
            raise ValueError(f"{self.path}:{line}: {error}") from error


def _child(node: Node, step: object) -> Node:
    """What a node holds under a name or number; the node itself if it is one value alone."""
    if isinstance(node, SequenceNode):
        return node.value[step] if step < len(node.value) else node
    items = node.value if isinstance(node, MappingNode) else []
    return next((value for key, value in items if key.value == str(step)), node)


def named(given: object) -> dict:
    """A mapping from names to values; ValueError for anything else."""
    if not isinstance(given, dict):
        raise ValueError("needs `name: value` lines")
    return given
