"""A kept DyFuLM reads texts of yours: predictions, or a note that says why there are none."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mmlib.data.corpus import DataError
from mmlib.data.readers import stream
from mmlib.data.readers.texts import DATAFINITI, NAMES, has_tags, plain
from mmlib.data.targets import COARSE
from mmlib.files import is_watched, locked, write_whole

if TYPE_CHECKING:  # torch comes with it: seconds
    from mmlib.dyfulm.kept import Kept, Reading

EMPTY, SHORT = "empty", "too short to say"
SCRIPT, UNKNOWN = "another script", "many unknown words: another language?"
HTML = "HTML taken out"
FEWEST = 4  # minimum number of words for a prediction; our choice
MOST_UNKNOWN = 0.35  # maximum share of unknown words; notebooks/book/own_texts.md says why
PROBABILITIES = (*(f"p_{name}" for name in COARSE), *(f"p_{stars}" for stars in range(1, 6)))
COLUMNS = ("coarse", "fine", "intensity", *PROBABILITIES, "cut", "note")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_FOREIGN = re.compile(r"[^\W\d_A-Za-zªºÀ-ɏḀ-ỿ]")  # letters of scripts other than Latin


def predictions(model: "Kept", texts: Sequence[str]) -> pd.DataFrame:
    """What a model predicts for texts: `COLUMNS`, a row a text, in their order.

    coarse: a word of `COARSE`; fine: 1..5 stars; intensity in [0, 1]; calibrated probabilities p_;
    cut: whether the text is longer than the model reads. `note` says why a text has no predictions:
    it is empty, too short (fewer than `FEWEST` words), in another script, or more than the share
    `MOST_UNKNOWN` of its words is unknown. HTML is removed; a removed tag is noted, too.
    """
    bare = [plain(text) for text in texts]
    table = pd.DataFrame(index=range(len(texts)), columns=list(COLUMNS), dtype=object)
    table["note"] = [why_not(text) for text in bare]
    read = np.flatnonzero(table["note"] == "")
    if len(read):
        reading = model.read([bare[i] for i in read])
        unknown = reading.unknown > MOST_UNKNOWN  # (n,)
        table.loc[read[unknown], "note"] = UNKNOWN
        table.iloc[read[~unknown], :-1] = _values(reading)[~unknown]
    with_html = [b != t and has_tags(t) for b, t in zip(bare, texts, strict=True)]
    table.loc[with_html, "note"] = [f"{n}; {HTML}".strip("; ") for n in table["note"][with_html]]
    kinds = dict.fromkeys(("intensity", *PROBABILITIES), float)
    return table.astype(kinds | {"fine": "Int64", "cut": "boolean"})


def why_not(text: str) -> str:
    """The reason why a text gets no prediction; "" if it gets one."""
    words = _WORD.findall(text)
    if not text.strip():
        return EMPTY
    if 2 * len(_FOREIGN.findall(text)) > sum(map(len, words)):
        return SCRIPT
    return SHORT if len(words) < FEWEST else ""


def _values(reading: "Reading") -> np.ndarray:
    """All columns of `COLUMNS` except `note`, (n, 12) of objects."""
    coarse = np.array(COARSE)[reading.coarse.argmax(axis=1)]
    fine = reading.fine.argmax(axis=1) + 1
    numbers = np.column_stack([reading.intensity, reading.coarse, reading.fine])
    numbers = numbers.astype(float).round(4)
    parts = (coarse[:, None], fine[:, None], numbers, reading.cut[:, None])
    return np.hstack([part.astype(object) for part in parts])


def text_column(table: stream.Stream, given: str | None) -> str:
    """The name of the text column: the given one, the only one, or the only one of a usual name.

    DataError, one line, if no or several columns fit, or if it holds only numbers or dates.
    """
    names = (given,) if given is not None else (*NAMES["text"], DATAFINITI)
    found = [name for name in table.columns if name.lower() in map(str.lower, names)]
    is_csv = re.search(r"[ct]sv(\.gz)?$", table.name, re.I)
    is_text = is_csv and any(len(_WORD.findall(name)) >= FEWEST for name in table.columns)
    if given is None and not found and len(table.columns) == 1:
        found = list(table.columns)
        if is_text:
            raise DataError(f"{table.name}: line 1 seems a text; put `text` above, or use --text")
    if len(found) != 1 and given not in found:
        what = f"{len(found) or 'no'} columns are called {' or '.join(names)}"
        what += " (or line 1 is a text: put a line of names above)" * bool(is_text and not found)
        known = ", ".join(found or table.columns[:30])
        raise DataError(f"{table.name}: {what}; name the texts' column by --text, one of {known}")
    column = found[0] if len(found) == 1 else given
    first = next(table.chunks())
    cells = [cell.strip(' "') for cell in re.split(r"[,;\t|]", first[column].iloc[0].lower())]
    is_header = len(cells) > 1 and {*cells} & {*NAMES["text"], DATAFINITI}
    if table.name == stream.STDIN and is_header and max(len(x.split()) for x in cells) < FEWEST:
        raise DataError("standard input seems a csv; save it (as .txt if not), and name the file")
    filled = first[column][first[column].str.strip() != ""]
    if len(filled) and not filled.str.contains(_WORD).any():
        words = [name for name in first if first[name].str.contains(_WORD).any()]
        remedy = f"name the texts' column by --text, one of {', '.join(words[:30])}"
        remedy = remedy if words else "nor does another; name a table that has texts"
        words = f"column {column} holds no words, e.g. {filled.iloc[0][:30]!r}; {remedy}"
        raise DataError(f"{table.name}: {words}")
    return column


def run(
    table: stream.Stream, column: str, model: "Kept", out: Path, about: Mapping, force: bool = False
) -> pd.DataFrame:
    """Write the table with a model's predictions; returns note, texts, row: a row per kind of note.

    Finished chunks are stored in `<out>.part`, named by a hash of their rows, until `out` is
    written as a whole. A later run with an equal `about` continues from them. DataError if `out`
    exists or a run with another `about` left chunks, unless `force`; filelock.Timeout if another
    process is writing; NotWrittenError if the disk is full.
    """
    part = unfinished(out)
    ours = list(COLUMNS)
    while set(ours) & set(table.columns):
        ours = [f"dyfulm_{name}" for name in ours]
    form = {"sep": "\t" if out.suffix.lower() == ".tsv" else ",", "index": False}
    with locked(part / "lock", 0):
        if out.exists() and not force:  # another process may have been faster
            raise DataError(f"{out}: exists; name another file with --out, or use --force")
        _claim(part, about, force)
        files = list(_chunks(table, column, model, part, form))
        head = pd.DataFrame(columns=[*table.columns, *ours]).to_csv(**form)
        write_whole(out, lambda path: _join(path, head, files))
        summary = _summary(files, form["sep"])
    shutil.rmtree(part, ignore_errors=True)
    return summary


def unfinished(out: Path) -> Path:
    """The folder that holds the finished chunks of a table until the table is complete."""
    return out.with_name(f"{out.name}.part")


def _chunks(
    table: stream.Stream, column: str, model: "Kept", part: Path, form: Mapping
) -> Iterator[Path]:
    """Yield the chunk files in order; a chunk without a file is predicted and written first."""
    with tqdm(total=table.rows, unit="text", disable=not is_watched()) as bar:
        for i, chunk in enumerate(table.chunks()):
            file = part / f"{i:06}-{sha256(chunk.to_csv().encode()).hexdigest()[:16]}.csv"
            if not file.exists():
                plain = chunk.replace("\r\n?", "\n", regex=True)  # no writer quotes a lone \r
                scored = pd.concat([plain, predictions(model, list(chunk[column]))], axis=1)
                write_whole(file, scored.to_csv(header=False, **form))
            bar.update(len(chunk))
            yield file


def _claim(part: Path, about: Mapping, force: bool) -> None:
    """Note whose chunks these are; DataError if they are another run's, without `force`."""
    same = json.dumps(dict(about), indent=1, sort_keys=True)
    note = part / "run.json"
    if note.exists() and note.read_text() != same:
        if not force:
            old, now = {}, json.loads(same)
            with suppress(ValueError):
                old = json.loads(note.read_text())
            other = ", ".join(key for key in now if old.get(key) != now[key])
            words = f"left by a run of other options ({other})"
            raise DataError(f"{part}: {words}; finish that, or use --force to begin anew")
        for file in (*part.glob("*.csv"), note):
            file.unlink()
    if not note.exists():
        names = {file.name for file in part.iterdir()} - {"lock"}
        if not all(name.startswith(f".{note.name}.") for name in names):  # as a kill leaves them
            raise DataError(f"{part}: holds files of your own; name another file with --out")
        write_whole(note, same)


def _join(path: Path, head: str, files: Sequence[Path]) -> None:
    with path.open("wb") as whole:
        whole.write(head.encode())
        for file in files:
            with file.open("rb") as chunk:
                shutil.copyfileobj(chunk, whole)


def _summary(files: Sequence[Path], separator: str) -> pd.DataFrame:
    """Columns note (or "cut"), texts (how many have it), row (the first such, counted from 1)."""
    counts, first = Counter(), {}
    for i, file in enumerate(files):
        table = pd.read_csv(file, sep=separator, header=None, dtype=str, keep_default_na=False)
        for row, (cut, notes) in enumerate(table.iloc[:, -2:].to_numpy(), i * stream.ROWS + 1):
            for note in filter(None, (*notes.split("; "), "cut" * (cut == "True"))):
                counts[note] += 1
                first.setdefault(note, row)
    rows = [(note, counts[note], row) for note, row in first.items()]
    return pd.DataFrame(rows, columns=["note", "texts", "row"])
