"""A folder of own recordings, as `mmlib.recordings` writes it, read as a corpus.

    FOLDER/utterances.csv             one row per utterance; fill in `label` and `split` yourself
    FOLDER/set_aside.csv              rows that you filled in and that have no utterance now
    FOLDER/clips/<clip>.safetensors   the features of one clip; its metadata describe them

A clip's file appears under its final name only when complete, so an interrupted run does no harm.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import save

from mmlib.data.corpus import Corpus, DataError, Sequences
from mmlib.data.readers.border import readable
from mmlib.data.readers.cells import corpus_of, table, with_points
from mmlib.files import write_whole

TABLE, ASIDE = "utterances.csv", "set_aside.csv"
MADE = ".made.csv"  # the table without what was filled in or corrected
FILES = (TABLE, ASIDE, MADE)
COLUMNS = ["id", "clip", "start", "end", "speaker", "text", "label", "split"]
MODALITIES = ("audio", "vision")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """The utterances of one recording and their features."""

    id: str  # path in the folder of clips, without suffix
    seconds: float
    start: tuple[float, ...]  # n, seconds
    end: tuple[float, ...]  # n
    text: tuple[str, ...]  # n
    speaker: tuple[str, ...]  # n, "" if unknown
    sequences: Mapping[str, Sequences]  # of n utterances each
    counts: Mapping[str, int] = field(default_factory=dict)  # what was masked or left out -> n
    origin: Mapping[str, object] = field(default_factory=dict)  # checksums and settings

    def __len__(self) -> int:
        return len(self.text)

    def table(self) -> pd.DataFrame:
        """One row per utterance, the columns of `utterances.csv`; label and split are empty."""
        own = {name: getattr(self, name) for name in ("start", "end", "speaker", "text")}
        ids = [f"{self.id}[{i}]" for i in range(len(self))]
        return pd.DataFrame({"id": ids, **own}).assign(clip=self.id, label="", split="")[COLUMNS]


def place(folder: Path, clip: str) -> Path:
    """The file of a clip; DataError if its name or a link leads out of the folder of clips."""
    clips = folder / "clips"
    path = clips / f"{clip}.safetensors"
    if not path.resolve().is_relative_to(clips.resolve()):
        raise DataError(
            f"{folder}: clip {clip!r} lies outside; leave the column `clip` as written, and no "
            "links in clips/"
        )
    return path


def save_clip(clip: Clip, folder: Path) -> Path:
    """Write a clip into a corpus folder; the file is complete or not there at all."""
    arrays = {f"{m}.values": sequences.values for m, sequences in clip.sequences.items()}
    arrays |= {f"{m}.lengths": sequences.lengths for m, sequences in clip.sequences.items()}
    columns = {m: sequences.columns for m, sequences in clip.sequences.items()}
    about = {k: v for k, v in vars(clip).items() if k != "sequences"} | {"columns": columns}
    path = place(folder, clip.id)
    write_whole(path, save(arrays, metadata={"clip": json.dumps(about)}))
    return path


def load_clip(path: Path) -> Clip:
    """The clip that `save_clip` wrote; DataError if the file is missing or damaged."""
    if not path.exists():
        raise DataError(f"{path}: missing or damaged; make the clip again")
    with readable(path, "missing or damaged", "make the clip again"):
        with safe_open(path, "np") as file:
            about = json.loads(file.metadata()["clip"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sequences = {
            m: Sequences(arrays[f"{m}.values"], arrays[f"{m}.lengths"], tuple(names))
            for m, names in about.pop("columns").items()
        }
        lists = {name: tuple(about.pop(name)) for name in ("start", "end", "text", "speaker")}
        return Clip(**about, **lists, sequences=sequences)


def write_table(folder: Path) -> pd.DataFrame:
    """Write `utterances.csv` for all clips in a folder; keep labels, corrected words, own columns.

    They belong to an utterance by its id and start. A filled-in row without one now goes to
    `set_aside.csv`, with a warning, and comes back when it has one again. A row that was deleted
    comes back. DataError for a file that is not named like its clip, such as a copy of another one.
    """
    clips = []
    for path in sorted((folder / "clips").rglob("*.safetensors")):
        clips.append(load_clip(path))
        if path != place(folder, clips[-1].id):
            raise DataError(f"{path}: holds the clip {clips[-1].id!r}; delete it, or name it so")
    made = pd.concat([clip.table() for clip in clips], ignore_index=True)
    rows, base, filled, aside = _with_own(folder, made)
    if len(aside) or (folder / ASIDE).exists():
        write_whole(folder / ASIDE, filled.to_csv(index=False))  # if killed, nothing is lost
    write_whole(folder / TABLE, rows.to_csv(index=False))
    write_whole(folder / MADE, base.to_csv(index=False))
    if n := len(aside):
        write_whole(folder / ASIDE, aside.to_csv(index=False))
        log.warning("%s: %d filled-in rows have no utterance now; kept in %s", folder, n, ASIDE)
    else:
        (folder / ASIDE).unlink(missing_ok=True)
    return rows


def _with_own(folder: Path, made: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """What was filled in or corrected in the files TABLE and ASIDE, put into the rows `made`.

    Returns the rows with it; the rows as made, with those of `aside`; all rows that had such; and,
    of these, those without a row now (`aside`).
    """
    files = [folder / name for name in (TABLE, ASIDE) if (folder / name).exists()]
    if not files:
        return made, made, made[:0], made[:0]
    for path in files:
        ids = table(path, COLUMNS)["id"]  # refuses a table that lacks one
        if path.name == TABLE and ids.duplicated().any():
            raise DataError(f"{path}: {ids[ids.duplicated()].iloc[0]!r} is there twice; leave one")
    last = table(folder / MADE) if (folder / MADE).exists() else made[:0].astype(str)
    both = pd.concat(map(table, files)).fillna("")
    is_bare = (both[both.columns.difference(COLUMNS[:-2])] == "").all(axis=1)
    own = _keyed(pd.concat([both[~is_bare], both[is_bare]]), [made, last])
    rows, last = _keyed(made.astype(object), [made]), _keyed(last, [made])
    columns = own.columns.difference(("id", "clip", "start", "end"), sort=False)
    base = last.reindex(columns=columns).astype(object).fillna("")
    is_own = own[columns] != base.reindex(own.index)
    for column in columns:
        rows[column] = rows.get(column, pd.Series("", rows.index, dtype=object))
        is_kept = is_own[column].reindex(rows.index, fill_value=False)
        rows[column] = rows[column].mask(is_kept, own[column].reindex(rows.index))
    is_filled = (own[columns.difference(COLUMNS[:-2])] != "").any(axis=1)
    is_filled |= is_own.any(axis=1) & own.index.isin(last.index)
    aside = own[is_filled & ~own.index.isin(rows.index)]
    made = pd.concat([made, last[last.index.isin(aside.index)]])
    return rows.reset_index(drop=True), made, own[is_filled], aside


def _keyed(rows: pd.DataFrame, known: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Rows by id and start, the first of equals; a start that was rounded is the known one."""
    starts: dict[str, list[float]] = {}
    for some in known:
        for id, start in zip(some["id"], _seconds(some), strict=True):
            starts.setdefault(id, []).append(start)

    def exact(id: str, start: float) -> float:
        near = (x for x in starts.get(id, ()) if isclose(x, start, rel_tol=1e-5, abs_tol=1e-3))
        return next(near, start)

    found = list(map(exact, rows["id"], _seconds(rows)))
    keyed = rows.set_axis(pd.MultiIndex.from_arrays([rows["id"], found]))
    return keyed[~keyed.index.duplicated()]


def _seconds(rows: pd.DataFrame) -> pd.Series:
    return pd.to_numeric(with_points(rows["start"].astype(str)), errors="coerce")


def read_recordings(path: Path) -> Corpus:
    """Own recordings from `utterances.csv` and the clips in the same folder.

    A group is a clip. Rows may be reordered, deleted and corrected. Without labels and splits, all
    utterances are in the split "test" with label NaN, e.g. to apply a model to them. A modality
    without any frame is left out. DataError if only some rows have labels.
    """
    rows = table(path, COLUMNS)
    clips = {name: load_clip(place(path.parent, name)) for name in dict.fromkeys(rows["clip"])}
    numbers = list(map(_number, rows["id"], _seconds(rows), map(clips.get, rows["clip"])))
    gathered = {m: _gather(m, rows["clip"], numbers, clips) for m in MODALITIES}
    sequences = {m: s for m, s in gathered.items() if s is not None and s.lengths.any()}
    levels = {str(c.origin.get("settings", ", ")).split(", ")[1] for c in clips.values()} - {""}
    if len(levels) > 1:
        words = f"clips of the levels {' and '.join(sorted(levels))}"
        raise DataError(f"{words}; make them again with one --level")
    counts = sum((Counter(clip.counts) for clip in clips.values()), Counter())
    split = rows["split"].replace("", "test")
    return corpus_of(
        [path, *(place(path.parent, name) for name in clips)],
        rows.assign(split=split, label=_labels(path, rows), group=rows["clip"]),
        name="recordings",
        variant=f"{len(clips)} clips, {sum(clip.seconds for clip in clips.values()):.0f} s",
        sequences=sequences,
        notes=tuple(f"{what}: {n}" for what, n in sorted(counts.items())),
    )


def _number(name: str, start: float, clip: Clip) -> int:
    """The index of an utterance in its clip, from its id `clip[index]`; its start must agree."""
    number = name.removeprefix(f"{clip.id}[").removesuffix("]")
    if not number.isdecimal() or int(number) >= len(clip):
        raise DataError(f"{name!r} is no utterance of clip {clip.id!r}; leave the ids as written")
    if not isclose(start, there := clip.start[int(number)], rel_tol=1e-5, abs_tol=1e-3):
        raise DataError(
            f"{name!r} starts at {start:g} s, in its clip at {there:g} s; leave the starts as "
            "written, or repeat the command of mmlib.recordings that made the clip"
        )
    return int(number)


def _gather(
    modality: str, names: Iterable[str], numbers: list[int], clips: Mapping[str, Clip]
) -> Sequences | None:
    """One modality of the rows; clips without it have length 0."""
    of_clip = {name: c.sequences[modality] for name, c in clips.items() if modality in c.sequences}
    if not of_clip:
        return None
    kinds = {s.columns for s in of_clip.values()}
    if len(kinds) > 1:
        raise DataError(f"clips with different {modality} features; make them again with one kind")
    (columns,) = kinds
    none = np.zeros((0, len(columns)), np.float32)
    pairs = zip(names, numbers, strict=True)
    frames = [of_clip[name][i] if name in of_clip else none for name, i in pairs]
    return Sequences(np.concatenate(frames), np.array([len(f) for f in frames]), columns)


def _labels(path: Path, rows: pd.DataFrame) -> np.ndarray:
    """Labels (n,), NaN if no row has one; a decimal comma is read as a point."""
    filled = rows[["label", "split"]] != ""
    if filled.any(axis=None) and not filled.all(axis=None):
        first = rows["id"][~filled.all(axis=1)].iloc[0]
        raise DataError(f"{first!r} has no label or split, others do; fill in both everywhere")
    label = with_points(rows["label"]).replace("", "nan")
    with readable(path, remedy="labels are numbers"):
        return label.to_numpy(dtype=np.float32)
