"""A kept DyFuLM reads texts of yours: predictions beside them, and a note in their place."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mmlib.data.corpus import DataError
from mmlib.data.readers.stream import ROWS, Stream
from mmlib.data.readers.texts import DATAFINITI, NAMES, plain
from mmlib.data.targets import COARSE
from mmlib.files import is_watched, locked, write_whole

EMPTY, SHORT = "empty", "too short to say"
SCRIPT, UNKNOWN = "another script", "mostly unknown words: another language?"
HTML = "HTML taken out"
FEWEST = 4  # words of a text that is read; our choice
MOST_UNKNOWN = 0.5  # share of words; above it a text is not read
PROBABILITIES = (*(f"p_{name}" for name in COARSE), *(f"p_{stars}" for stars in range(1, 6)))
COLUMNS = ("coarse", "fine", "intensity", *PROBABILITIES, "cut", "note")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_FOREIGN = re.compile(r"[^\W\d_A-Za-zªºÀ-ɏḀ-ỿ]")  # letters of another script than Latin


class Reader(Protocol):
    """A `mmlib.dyfulm.kept.Kept`, or whatever reads as it does."""

    def read(self, texts: Sequence[str], batch: int = 64): ...


def predictions(model: Reader, texts: Sequence[str]) -> pd.DataFrame:
    """What a model makes of texts: `COLUMNS`, a row a text, in their order.

    coarse: a word of `COARSE`; fine: 1..5 stars; intensity in [0, 1]; calibrated probabilities p_;
    cut: whether the text is longer than what is read. `note` says why a text has no predictions:
    it is empty, too short (fewer than `FEWEST` words), in another script, or more than
    `MOST_UNKNOWN` of its words are unknown. HTML is taken out, which is noted, too.
    """
    bare = [plain(text) for text in texts]
    table = pd.DataFrame(index=range(len(texts)), columns=list(COLUMNS), dtype=object)
    table["note"] = [_why_not(text) for text in bare]
    read = np.flatnonzero(table["note"] == "")
    if len(read):
        reading = model.read([bare[i] for i in read])
        unknown = reading.unknown > MOST_UNKNOWN  # (n,)
        table.loc[read[unknown], "note"] = UNKNOWN
        table.iloc[read[~unknown], :-1] = _values(reading)[~unknown]
    with_html = [b != t and "<" in t for b, t in zip(bare, texts, strict=True)]
    table.loc[with_html, "note"] = [f"{n}; {HTML}".strip("; ") for n in table["note"][with_html]]
    kinds = dict.fromkeys(("intensity", *PROBABILITIES), float)
    return table.astype(kinds | {"fine": "Int64", "cut": "boolean"})


def _why_not(text: str) -> str:
    """Why a text is not read; "" if it is."""
    words = _WORD.findall(text)
    if not text.strip():
        return EMPTY
    if 2 * len(_FOREIGN.findall(text)) > sum(map(len, words)):
        return SCRIPT
    return SHORT if len(words) < FEWEST else ""


def _values(reading) -> np.ndarray:
    """The columns but for the note, (n, 12) of objects."""
    coarse = np.array(COARSE)[reading.coarse.argmax(axis=1)]
    fine = reading.fine.argmax(axis=1) + 1
    numbers = np.column_stack([reading.intensity, reading.coarse, reading.fine]).round(4)
    parts = (coarse[:, None], fine[:, None], numbers, reading.cut[:, None])
    return np.hstack([part.astype(object) for part in parts])


def text_column(stream: Stream, given: str | None) -> str:
    """The column that holds the texts: the given one, the only one, or the only usual name."""
    usual = (*NAMES["text"], DATAFINITI)
    wanted = (given.strip().lower(),) if given is not None else usual
    found = [name for name in stream.columns if name.lower() in wanted]
    if given is None and len(stream.columns) == 1:
        return stream.columns[0]
    if len(found) == 1 or given in found:
        return found[0] if len(found) == 1 else given
    known = ", ".join(found or stream.columns[:30])
    what = f"{len(found)} columns may hold the text" if found else f"no column {' or '.join(wanted)}"
    raise DataError(f"{stream.name}: {what}; name it: --text, one of {known}")


def run(
    stream: Stream, column: str, model: Reader, out: Path, about: Mapping, force: bool = False
) -> pd.DataFrame:
    """Write a table with what a model makes of its texts; returns note -> texts and the first row.

    Finished chunks lie in `<out>.part`, by their own contents, until `out` appears whole: the same
    run (`about`: what makes it the same) goes on there. DataError, one line, where another one left
    its chunks or another process writes; NotWrittenError where the disk is full.
    """
    part = out.with_name(f"{out.name}.part")
    _claim(part, about, force)
    with locked(part / "lock", 0):
        names, separator = _header(stream), "\t" if out.suffix == ".tsv" else ","
        files = []
        with tqdm(total=stream.rows, unit="text", disable=not is_watched()) as bar:
            for i, chunk in enumerate(stream.chunks()):
                digest = sha256(chunk.to_csv().encode()).hexdigest()[:16]
                files.append(part / f"{i:06}-{digest}{out.suffix}")
                if not files[-1].exists():
                    table = pd.concat([chunk, predictions(model, list(chunk[column]))], axis=1)
                    words = table.to_csv(sep=separator, index=False, header=False)
                    write_whole(files[-1], words)
                bar.update(len(chunk))
        head = pd.DataFrame(columns=names).to_csv(sep=separator, index=False)
        write_whole(out, lambda path: _join(path, head, files))
        summary = _summary(files, separator)
    shutil.rmtree(part, ignore_errors=True)
    return summary


def _header(stream: Stream) -> list[str]:
    """All columns; ours get a prefix where the table has one of their names."""
    ours = list(COLUMNS)
    while set(ours) & set(stream.columns):
        ours = [f"dyfulm_{name}" for name in ours]
    return [*stream.columns, *ours]


def _claim(part: Path, about: Mapping, force: bool) -> None:
    """Make the folder of chunks, or find it made by the same run."""
    same = json.dumps(dict(about), indent=1, sort_keys=True)
    note = part / "run.json"
    if note.exists() and note.read_text() != same:
        if not force:
            raise DataError(f"{part}: left by a run of other options; finish that, or use --force")
        shutil.rmtree(part)
    if not note.exists():
        write_whole(note, same)


def _join(path: Path, head: str, files: Sequence[Path]) -> None:
    with path.open("wb") as whole:
        whole.write(head.encode())
        for file in files:
            with file.open("rb") as chunk:
                shutil.copyfileobj(chunk, whole)


def _summary(files: Sequence[Path], separator: str) -> pd.DataFrame:
    """Texts without predictions or cut: columns note, texts, row (the first one, from 1)."""
    rows = []
    for i, file in enumerate(files):
        table = pd.read_csv(file, sep=separator, header=None, dtype=str, keep_default_na=False)
        for k, (cut, note) in enumerate(table.iloc[:, -2:].to_numpy()):
            rows += [(what, i * ROWS + k + 1) for what in (*note.split("; "), "cut" * (cut == "True")) if what]
    found = pd.DataFrame(rows, columns=["note", "row"]).groupby("note", sort=False)["row"]
    return found.agg(texts="size", row="min").reset_index()
