"""The YAML reader for grids, parameters, configurations and the values of --filter.

YAML 1.1 reads 010 as 8, 1:30 as 90 and 2024-05-01 as a date, lets the last of two equal names win,
and a few aliases can expand to more values than fit into memory. Each of these is refused before a
value is built, in one line with the line number and what to write instead.
"""

import re
from pathlib import Path

import yaml
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

VALUES, LEVELS = 10**7, 20  # maximum for one text, with its aliases expanded
TAG = "tag:yaml.org,2002:"
MISREAD = re.compile(r"^[-+]?0[0-7_]+$|:")  # octal, or base 60
KINDS = ("null", "bool", "int", "float", "str", "seq", "map")  # JSON's types, for manifests


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # in C: 10^6 values in seconds
    """Builds JSON's types only, and refuses the misreadings above; `no` and `off` are False."""

    def construct_object(self, node: Node, deep: bool = False) -> object:
        try:
            return super().construct_object(node, deep)
        except (LookupError, TypeError, ValueError) as error:  # e.g. `!!bool maybe`, or 5000 digits
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
        """A number, if YAML reads it as a person would; otherwise an error."""
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
    """ConstructorError if a text has too many levels, or aliases that may expand too far.

    This uses the parser's events, because building nodes crashes for 10^5 levels.
    """
    inside, aliases = [], 0  # anchors (or None) of the open collections
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
    """The nodes of a YAML text and the value they represent; YAMLError or ValueError."""
    _check_size(text)
    loader = _Loader(text)
    top = loader.get_single_node()
    return top, loader.construct_document(top) if top else None


class Document:
    """A YAML file: its content, and the line of each part of it.

    ValueError in one line if it cannot be read. Inside `with document:`, a ValueError is given the
    line of the place last passed to `at`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, ()
        try:
            self.top, self.content = parse(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
        except (OSError, ValueError, yaml.YAMLError) as error:
            if mark := getattr(error, "problem_mark", None):
                raise ValueError(f"{path}:{mark.line + 1}: {error.problem}") from error
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise ValueError(f"{path}: {reason}") from error

    def at(self, *place: object) -> None:
        """Set the current place: `cross`, `lr`, 0 is the first value of lr under cross."""
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
    """The child of a node by name or index; the node itself if it is a single value."""
    if isinstance(node, SequenceNode):
        return node.value[step] if step < len(node.value) else node
    items = node.value if isinstance(node, MappingNode) else []
    return next((value for key, value in items if key.value == str(step)), node)


def named(given: object) -> dict:
    """Check that `given` is a mapping from names to values; ValueError for anything else."""
    if not isinstance(given, dict):
        raise ValueError("needs `name: value` lines")
    return given
