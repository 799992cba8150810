"""Tables of texts with labels, and the code that all such tables share: columns, HTML, splits."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.data.corpus import SPLITS, Corpus, DataError, Range, Scale, noted, to_sentiment
from mmlib.data.readers.cells import corpus_of, numbers, table, with_points
from mmlib.data.targets import COARSE, FINE

Classes = Sequence[str] | str | None  # words in their order; a string has commas between
Names = Mapping[str, Sequence[str]]  # role -> what its column can be called
NAMES: Names = {  # the first name that is there counts
    "text": ("text", "review", "sentence", "comment"),
    "label": ("label", "stars", "rating", "polarity", "sentiment"),
    "group": (),
    "split": ("split",),
}
DATAFINITI = "reviews.text"  # with this column, `name` is the hotel; otherwise it may be a guest
ORDERS = (COARSE[::2], ("neg", "pos"), COARSE, ("neg", "neu", "pos"), FINE)
FEW = ("no", "one class", "two classes", "three classes", "four classes")  # fewer classes than FINE
ERRORS = ("#NAME?", "#VALUE!", "#REF!", "#N/A", "#DIV/0!")  # a spreadsheet's, in a text's place
SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}  # our reading; the paper does not name its split

_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);")
_TAG = re.compile(
    r"</?[a-z][a-z0-9]*(:[a-z]+)?(\s[^<>=]*=[^<>]*+>|\s*/?>)|<[!?][a-z][^<>]*>|<!\[CDATA\[|\]\]>",
    re.I,
)
_HIDDEN = [  # removed from the start to the end mark
    [re.compile(edge, re.I) for edge in edges]
    for edges in (("<!--", "-->"), *((rf"<{x}\b", rf"</{x}\s*>") for x in ("script", "style")))
]


def read_texts(
    path: Path,
    *,
    text: str | None = None,
    label: str | None = None,
    name: str | None = None,
    group: str | None = None,
    split: str | None = None,
    seed: int = 0,
    label_range: Range = None,
    classes: Classes = None,
    encoding: str | None = None,
) -> Corpus:
    """Read a csv, tsv, jsonl (each also .gz) or parquet table with one text and label per row.

    `text`, `label`, `group` and `split` name columns; text, label and split can also be found by
    their usual `NAMES`. Labels are mapped to -3..3 in even steps: numbers from `label_range`, else
    from the minimum and maximum in the file; words in the order of `ORDERS` (case ignored), or of
    `classes`, the most negative first. The scale "rating" has at least five values; "two classes"
    etc. have fewer. HTML is removed; rows with an empty cell in these columns are left out. The
    split is that of the file, else it is made from `seed`: 80 % train, 10 % valid, 10 % test, by
    whole groups if these are known. `name` defaults to the file name. `encoding`: of a file that is
    not UTF-8. DataError, one line with the row, if the table cannot be read in this way.
    """
    rows = table(path, encoding=encoding)
    columns = {"text": text, "label": label, "group": group, "split": split}
    labels = {"label_range": label_range, "classes": classes}
    return corpus_of_texts(path, rows, columns, name=name, seed=seed, **labels)


def corpus_of_texts(
    path: Path,
    rows: pd.DataFrame,
    given: Mapping[str, str | None],
    *,
    name: str | None = None,
    kind: str = "rating",
    unit: str = "groups",
    seed: int = 0,
    label_range: Range = None,
    classes: Classes = None,
    notes: Sequence[str] = (),
) -> Corpus:
    """A corpus from table rows, made as in `read_texts`; given: role -> column, also "id".

    Roles that `read_texts` lacks become annotations: numbers, except for "language". kind: name of
    the scale for five values or more, or "two classes" if labels are only the ends of the range;
    unit: what groups are called.
    """
    names = NAMES | {role: () for role in given if role not in NAMES}
    columns = columns_of(path, rows, given, names)
    encoding = rows.attrs.get("encoding", "UTF-8")
    rows, found = cleaned(path, rows, columns)
    found += noted({f"words read as {encoding}": encoding != "UTF-8"})
    label, scale = _labels(path, rows["label"], kind, label_range, classes, found)
    rows = with_split(path, rows, (unit, "rows (no group is named)"), seed, found)
    others = {r: rows[[r]].rename(columns=columns) for r in columns if r not in (*NAMES, "id")}
    variant = (path.name, *(f"{role} {column}" for role, column in columns.items()))
    annotations = {
        role: cells.to_numpy(str)[:, 0] if role == "language" else numbers(path, cells, cells)[:, 0]
        for role, cells in others.items()
    }
    return corpus_of(
        [path], rows.assign(label=label), name=name or path.name.partition(".")[0],
        variant=", ".join(variant), scale=scale, annotations=annotations, notes=(*found, *notes),
    )  # fmt: skip


def _labels(
    path: Path, cells: pd.Series, kind: str, given: Range, classes: Classes, notes: list[str]
) -> tuple[np.ndarray, Scale]:
    """Labels (n,) in -3..3: from numbers if there are any and no classes are given, else words."""
    values = pd.to_numeric(with_points(cells), errors="coerce")
    if classes is None and values.notna().any():
        return _of_numbers(path, cells, values, kind, given, notes)
    words = cells.str.strip().str.lower()
    there = sorted(set(words))
    given = classes.split(",") if isinstance(classes, str) else classes
    orders = ORDERS if given is None else [[str(word).strip().lower() for word in given]]
    order = next((o for o in orders if {*there} <= {*o} and len({*o}) == len(o) > 1), None)
    if order is None:
        choices = ", ".join(there[:10]) + ", ..." * (len(there) > 10)
        raise DataError(
            f"{path.name}: labels are the words {choices}; give all of them in order, the most "
            "negative first: by numbers in their place, or by classes='bad, ..., good' where you "
            "call load with the file's path, --classes of a command, a notebook's parameter classes"
        )
    kind = FEW[len(order)] if len(order) < len(FINE) else kind
    label, scale = to_sentiment(words.map(order.index).to_numpy(), 0, len(order) - 1, kind)
    return label, replace(scale, origin=f"{', '.join(order)} evenly in -3..3")


def _of_numbers(
    path: Path, cells: pd.Series, values: pd.Series, kind: str, given: Range, notes: list[str]
) -> tuple[np.ndarray, Scale]:
    values = values.where(np.isfinite(values))
    low, high = given or (values.min(), values.max())
    two = kind == FEW[2]
    if len(bad := cells[~(values.isin([low, high]) if two else values.between(low, high))]):
        fault = f"neither {low:g} nor {high:g}" if two else f"no number in {low:g}..{high:g}"
        raise DataError(
            f"{path.name}: label {bad.iloc[0]!r} in {bad.index[0]} is {fault} ({len(bad)} such "
            "rows); correct them, or load the file by its path with label_range=(low, high)"
        )
    if not low < high:
        raise DataError(f"{path.name}: all labels are {low:g}; pass label_range=(low, high)")
    notes += noted({f"labels are in {low:g}..{high:g}; label_range= says otherwise": not given})
    n = values.nunique()
    is_graded = n >= len(FINE) or (given and high - low >= len(FINE) - 1)
    label, scale = to_sentiment(values.to_numpy(), low, high, kind if is_graded else FEW[n])
    return label.round(6), scale  # the middle is 0, not 2e-7


def plain(text: str) -> str:
    """The text without HTML: entities decoded; tags, comments and scripts removed."""
    bare = _untagged(_decoded(text))
    return text if bare == text else " ".join(bare.split())


def has_tags(text: str) -> bool:
    """Whether `plain` takes a tag, a comment or a script out of the text."""
    return _untagged(decoded := _decoded(text)) != decoded


def _decoded(text: str) -> str:
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


def _untagged(text: str) -> str:
    for start, end in _HIDDEN:
        text = _without(text, start, end)
    return _TAG.sub(" ", text)


def _without(text: str, start: re.Pattern, end: re.Pattern) -> str:
    """The text without everything from `start` to `end`; a start without an end is kept."""
    kept, at = [], 0
    while (first := start.search(text, at)) and (last := end.search(text, first.end())):
        kept.append(text[at : first.start()])
        at = last.end()
    return " ".join([*kept, text[at:]])


def columns_of(
    path: Path, rows: pd.DataFrame, given: Mapping[str, str | None], names: Names
) -> dict[str, str]:
    """Role -> column, by its given name or one of `names`; the first two roles are required.

    Case counts only in a given name that is there. DataError lists the existing columns.
    """
    there = {name.lower(): name for name in reversed(rows.columns)}
    columns = {}
    for role, usual in names.items():
        usual = (*usual, "name") if role == "hotel" and DATAFINITI in there else usual
        wanted = given.get(role)
        known = [there[n] for n in (usual if wanted is None else (wanted.lower(),)) if n in there]
        if known:
            columns[role] = wanted if wanted in rows.columns else known[0]
        elif wanted is not None or role in [*names][:2]:
            raise DataError(
                f"{path.name}: no column {wanted or ' or '.join(usual)} for {role}; pass {role}= "
                f"one of {', '.join(rows.columns[:30])}"
            )
    return columns


def cleaned(
    path: Path, rows: pd.DataFrame, columns: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """The columns by role, without HTML and without rows that have an empty cell; notes count both.

    The index is `row 1` and so on, as in the file. DataError if no row is left.
    """
    rows = rows[list(columns.values())].set_axis(list(columns), axis=1)
    rows.index = [f"row {i + 1}" for i in rows.index]
    bare = rows["text"].map(plain)
    with_html = int((bare != rows["text"]).sum())
    bare = bare.mask(bare.isin(ERRORS), "")
    others = {role: rows[role].str.strip() for role in columns if role != "text"}
    rows = rows.assign(text=bare, **others)
    empty = rows.apply(lambda cells: cells.str.strip() == "")
    counts = {f"{n} rows without {role} left out": n for role, n in empty.sum().items()}
    notes = noted({f"HTML taken out of {with_html} texts": with_html, **counts})
    if empty.any(axis=1).all():
        raise DataError(f"{path.name}: no review is left ({'; '.join(notes) or 'no row'})")
    return rows[~empty.any(axis=1)].copy(), notes


def with_split(
    path: Path, rows: pd.DataFrame, units: tuple[str, str], seed: int, notes: list[str]
) -> pd.DataFrame:
    """Add ids and, if the file has none, a split by whole groups, with a note.

    units: name of the groups, and the name used if there are no groups.
    """
    rows = rows if "id" in rows else rows.assign(id=rows.index)
    if "split" in rows:
        return rows
    unit = units["group" not in rows]
    notes.append(f"split made here: 80/10/10 of whole {unit}, seed {seed}")
    return rows.assign(split=_split(path, rows.get("group", rows["id"]), unit, seed))


def _split(path: Path, groups: pd.Series, unit: str, seed: int) -> np.ndarray:
    """Assign whole groups in random order to splits with the shares SHARES, (n,).

    Valid and test get at least two groups, because an interval needs two.
    """
    names, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 10:
        raise DataError(
            f"{path.name}: {len(names)} different {unit} are too few for splits of whole ones; "
            f"add a column split with {', '.join(SPLITS)}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    middle = (np.cumsum(size[order]) - size[order] / 2) / len(groups)  # as a share of all rows
    valid, test = np.searchsorted(middle, np.cumsum([*SHARES.values()])[:-1])
    valid = max(min(valid, len(names) - 4), 1)
    test = min(max(test, valid + 2), len(names) - 2)
    part = np.empty(len(names), int)
    part[order] = np.searchsorted([valid, test], np.arange(len(names)), side="right")
    return np.array(SPLITS)[part][code]
