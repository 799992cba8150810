"""CMU-MultimodalSDK's computational sequences (.csd, HDF5), cut to the labelled segments.

Layout as the SDK's `file_ops.py` writes it: one root group, in it `data/<video>/features` (f, d)
and `data/<video>/intervals` (f, 2) in seconds.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd

from mmlib.data.columns import names
from mmlib.data.corpus import SPLITS, Corpus, DataError, Sequences
from mmlib.data.readers.cells import corpus_of
from mmlib.data.readers.frames import pack
from mmlib.data.readers.tables import read_mosei, read_mosi

WIDTHS = {"covarep": (74,), "facet": (35, 47)}  # declared columns, by what the file name contains


class Segment(NamedTuple):
    """One labelled interval of a video."""

    id: str
    group: str  # the video
    start: float  # seconds
    end: float
    label: float
    text: str


def read_csd(path: Path, *, audio: str | None = "COVAREP", vision: str | None = "FACET") -> Corpus:
    """CMU-MOSI or CMU-MOSEI from the folder of `path`: labels, words, audio and vision files.

    A file is known by its name: "Label", "TimestampedWords", and what `audio` and `vision` say
    (case is ignored; None goes without). An utterance is a label interval, its id `video[number]`
    as the SDK counts. Its frames are those that overlap the interval; its text is the words whose
    middle lies in it, without the silences "sp". Segments without words or of no duration are
    left out, as are videos in none of CMU's folds, which come from `folds.json` ({"train":
    [video, ...], "valid": ..., "test": ...}), else from mosi.csv.gz or label.csv beside it.
    """
    folder = path.parent
    labels, words = _find(folder, "Label"), _find(folder, "TimestampedWords")
    fold_of, fold_file = _folds(folder)
    segments, notes = _segments(labels, words, fold_of)
    files = [labels, words, fold_file]
    sequences: dict[str, Sequences] = {}
    for modality, fragment in (("audio", audio), ("vision", vision)):
        if fragment is not None:
            files.append(_find(folder, fragment, f", or pass {modality}= another name or None"))
            sequences[modality] = _cut(modality, files[-1], segments, notes)
    rows = pd.DataFrame(segments, columns=Segment._fields)
    return corpus_of(
        files,
        rows.assign(split=rows["group"].map(fold_of)),
        name=folder.name,
        variant=", ".join(file.name for file in files),
        sequences=sequences,
        notes=tuple(notes),
    )


def _find(folder: Path, fragment: str, remedy: str = "") -> Path:
    """The .csd file with `fragment` in its name; of several, the last (FACET 4.2 after 4.1)."""
    found = [p for p in sorted(folder.glob("*.csd")) if fragment.lower() in p.name.lower()]
    if not found:
        raise DataError(f"no *{fragment}*.csd in {folder}: put it there{remedy}")
    if len(found) > 1:
        print(f"{folder.name}: of {', '.join(p.name for p in found)} reading {found[-1].name}")
    return found[-1]


def _read(path: Path, videos: Iterable[str] | None = None) -> Iterator[tuple]:
    """Video, features (f, d) and intervals (f, 2), one video at a time."""
    try:
        with h5py.File(path) as file:
            root = file[next(iter(file))]["data"]
            for video in root if videos is None else videos:
                if video in root:
                    features, intervals = root[video]["features"][()], root[video]["intervals"][()]
                    if features.ndim != 2 or intervals.shape != (len(features), 2):
                        raise DataError(
                            f"{path.name}: {video} has features {features.shape} and intervals "
                            f"{intervals.shape}; expected (f, d) and (f, 2)"
                        )
                    yield video, features, intervals
    except (OSError, KeyError, StopIteration, RuntimeError) as error:
        raise DataError(
            f"{path.name}: truncated, or no computational sequence ({error}); fetch it again"
        ) from None


def _segments(
    labels: Path, words: Path, fold_of: dict[str, str]
) -> tuple[list[Segment], list[str]]:
    spoken = {video: (features[:, 0], at.mean(axis=1)) for video, features, at in _read(words)}
    segments, unplaced, empty = [], 0, 0
    for video, features, intervals in _read(labels):
        unplaced += video not in fold_of
        if video not in fold_of:
            continue
        tokens, middles = spoken.get(video, (np.zeros(0), np.zeros(0)))
        for i, (start, end) in enumerate(intervals):
            inside = tokens[(middles >= start) & (middles < end)]
            text = " ".join(word for word in map(_plain, inside) if word != "sp")
            empty += not text
            if text:
                label = float(features[i, 0])
                segments.append(Segment(f"{video}[{i}]", video, start, end, label, text))
    notes = [f"{empty} labelled segments without words left out"] if empty else []
    return segments, notes + ([f"{unplaced} videos in no fold left out"] if unplaced else [])


def _plain(word: object) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)


def _cut(modality: str, path: Path, segments: list[Segment], notes: list[str]) -> Sequences:
    """Frames of one file that overlap each segment."""
    rows: dict[str, list[int]] = {}
    for i, segment in enumerate(segments):
        rows.setdefault(segment.group, []).append(i)
    frames, owner = [], []
    for video, features, intervals in _read(path, rows):
        for i in rows[video]:
            inside = (intervals[:, 0] < segments[i].end) & (intervals[:, 1] > segments[i].start)
            frames.append(features[inside])
            owner.append(np.full(inside.sum(), i))
    if not frames:
        raise DataError(f"{path.name}: none of the labelled videos is in it; fetch it again")
    widths = {f.shape[1] for f in frames}
    declared = next((w for key, w in WIDTHS.items() if key in path.name.lower()), widths)
    if len(widths) > 1 or not widths <= set(declared):
        raise DataError(f"{path.name}: {sorted(widths)} columns, declared {sorted(declared)}")
    columns = names(modality, widths.pop())
    return pack(
        modality, np.concatenate(frames), np.concatenate(owner), len(segments), columns, notes
    )


def _folds(folder: Path) -> tuple[dict[str, str], Path]:
    """The split of each video, and the file that says so."""
    path = folder / "folds.json"
    if path.exists():
        return _listed(path), path
    for name, read in (("mosi.csv.gz", read_mosi), ("label.csv", read_mosei)):
        if (folder / name).exists():
            table = read(folder / name)
            return dict(zip(table.groups, table.split.tolist(), strict=True)), folder / name
    raise DataError(
        f"no folds for the .csd files in {folder}: put folds.json there with CMU's standard "
        'lists of videos, {"train": [...], "valid": [...], "test": [...]}'
    )


def _listed(path: Path) -> dict[str, str]:
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(video, split) for split in SPLITS for video in folds[split]]
        of = dict(pairs)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name}: {error}; expected lists train, valid and test") from None
    if len(of) < len(pairs):
        raise DataError(f"{path.name}: a video is listed twice; list each once")
    return of
