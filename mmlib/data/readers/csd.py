"""CMU-MultimodalSDK's computational sequences (.csd, HDF5), cut to the labelled segments.

Layout as written by the SDK's `file_ops.py`: one root group with `data/<video>/features` (f, d)
and `data/<video>/intervals` (f, 2) in seconds.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd

from mmlib.data.columns import names
from mmlib.data.corpus import EMOTIONS, SPLITS, Corpus, DataError, Sequences, noted
from mmlib.data.readers import hdf5
from mmlib.data.readers.border import check_size, readable
from mmlib.data.readers.cells import as_text, corpus_of
from mmlib.data.readers.frames import pack
from mmlib.data.readers.tables import read_mosei, read_mosi

WIDTHS = {"covarep": (74,), "facet": (35, 47)}  # allowed columns, by a part of the file name
TOLERANCE = 1e-5  # seconds; a shorter overlap does not count, as in the SDK's align
UNITS = 100  # ratio of the times of two files; beyond it one is in milliseconds
_ALIGNED = re.compile(r"(.+)\[\d+\]")  # keys that the SDK's align writes


class Segment(NamedTuple):
    """One labelled interval of a video."""

    id: str
    group: str  # the video
    key: str  # key of its words and frames in the files
    start: float  # seconds
    end: float
    text: str
    labels: tuple[float, ...]  # the sentiment; in MOSEI's file followed by EMOTIONS


def read_csd(path: Path, *, audio: str | None = "COVAREP", vision: str | None = "FACET") -> Corpus:
    """CMU-MOSI or CMU-MOSEI from the folder of `path`: labels, words, audio and vision files.

    Files are recognised by their names: "Label", "TimestampedWords", and the values of `audio` and
    `vision` (case is ignored; None skips the modality). An utterance is a label interval; its id is
    `video[number]`, numbered as in the SDK. Its frames are those that overlap the interval; its
    text consists of the words whose middle is in the interval, without silences "sp". Segments
    without words or duration are left out, as are videos in none of CMU's folds. Files that the SDK
    has aligned to the labels (keys `video[number]`) can be read, too. MOSEI's emotions, the columns
    after its sentiment, become `annotations`. The folds are read from `folds.json` ({"train":
    [video, ...], "valid": ..., "test": ...}), else from mosi.csv.gz or label.csv in the folder.
    """
    folder = path.parent
    labels, words = _find(folder, "Label"), _find(folder, "TimestampedWords")
    fold_of, fold_file = _folds(folder)
    segments, notes = _segments(labels, words, fold_of)
    files = [labels, words, fold_file]
    sequences: dict[str, Sequences] = {}
    for modality, fragment in (("audio", audio), ("vision", vision)):
        if fragment:
            files.append(_find(folder, fragment, f", or pass {modality}= another name or None"))
            sequences[modality] = _cut(modality, files[-1], segments, notes)
    rows = pd.DataFrame(segments, columns=Segment._fields)
    return corpus_of(
        files, rows.assign(split=rows["group"].map(fold_of), label=rows["labels"].str[0]),
        name=folder.name, variant=", ".join(file.name for file in files), sequences=sequences,
        annotations=_emotions(labels, segments), notes=tuple(notes),
    )  # fmt: skip


def _find(folder: Path, fragment: str, remedy: str = "") -> Path:
    """The .csd file with `fragment` in its name; if several, the last (FACET 4.2 after 4.1)."""
    files = [p for p in sorted(folder.glob("*.csd")) if fragment.lower() in p.name.lower()]
    if not files:
        raise DataError(f"no *{fragment}*.csd in {folder}: put it there{remedy}")
    if len(files) > 1:
        print(f"{folder.name}: of {', '.join(p.name for p in files)} reading {files[-1].name}")
    return files[-1]


def _read(path: Path, keys: Iterable[str] | None = None) -> Iterator[tuple]:
    """Yield key (a video), features (f, d) and intervals (f, 2), one key at a time."""
    with readable(path, "truncated, or no computational sequence"), h5py.File(path) as file:
        reader = hdf5.Reader(path, file)
        data = reader.child(reader.child(file, next(iter(file))), "data")
        if not isinstance(data, h5py.Group):
            raise KeyError("data is no group")
        for key in data if keys is None else keys:
            if key in data:
                yield key, *_entry(reader, reader.child(data, key))


def _in_order(entries: Iterable[tuple]) -> Iterator[tuple]:
    """Entries whose rows ascend in time; those of labels keep their order, it numbers them."""
    for key, features, intervals in entries:
        order = np.argsort(intervals.mean(axis=1), kind="stable")
        yield key, features[order], intervals[order]


def _entry(reader: hdf5.Reader, group: hdf5.Node) -> tuple[np.ndarray, np.ndarray]:
    features, intervals = (reader.values(group, name) for name in ("features", "intervals"))
    if features.ndim != 2 or intervals.shape != (len(features), 2) or not features.shape[1]:
        raise DataError(
            f"{group.name.rpartition('/')[2]} has features {features.shape} and intervals "
            f"{intervals.shape}; expected (f, d) and (f, 2)"
        )
    if not np.isfinite(intervals).all():
        raise DataError(f"{group.name.rpartition('/')[2]} has times that are not finite")
    return features, intervals


def _segments(
    labels: Path, words: Path, fold_of: dict[str, str]
) -> tuple[list[Segment], list[str]]:
    """Segments with words of the videos in the folds, and notes on those left out."""
    spoken = {key: (features[:, 0], at) for key, features, at in _in_order(_read(words))}
    single = (_ALIGNED.fullmatch(key) and len(at) < 2 for key, (_, at) in spoken.items())
    if spoken and all(single):
        raise DataError(f"{words.name}: aligned to single words; use the files as CMU gives them")
    if wrong := [key for key, (tokens, _) in spoken.items() if tokens.dtype.kind not in "SO"]:
        raise DataError(f"{words.name}: numbers in {wrong[0]}; expected words, fetch it again")
    segments, unplaced, empty = [], 0, 0
    for key, features, intervals in _read(labels):
        aligned = key not in fold_of and len(features) == 1 and _ALIGNED.fullmatch(key)
        video = aligned[1] if aligned else key
        if video not in fold_of:
            unplaced += 1
            continue
        tokens, times = spoken.get(key, (np.zeros(0), np.zeros((0, 2))))
        middles = times.mean(axis=1)
        for i, (start, end) in enumerate(intervals):
            during = tokens[(middles >= start) & (middles < end)]
            text = " ".join(word for word in map(as_text, during) if word != "sp")
            empty += not text
            if text:
                known = (key if aligned else f"{key}[{i}]", video, key, start, end)
                segments.append(Segment(*known, text, tuple(features[i].tolist())))
    counts = {
        f"{empty} labelled segments without words left out": empty,
        f"{unplaced} videos in no fold left out": unplaced,
    }
    if not segments:
        why = "; ".join(noted(counts)) or "it is empty"
        raise DataError(f"{labels.name}: no segment with words is left ({why}); fetch it again")
    return segments, noted(counts)


def _emotions(path: Path, segments: list[Segment]) -> dict[str, np.ndarray]:
    """MOSEI's six emotions, name -> (n,); empty unless all segments have them.

    DataError if a segment has six numbers: emotions without the sentiment.
    """
    if any(len(segment.labels) == len(EMOTIONS) for segment in segments):
        words = "six columns, as of emotions without the sentiment"
        raise DataError(f"{path.name}: {words}; use the file of labels that has it first")
    if any(len(segment.labels) != 1 + len(EMOTIONS) for segment in segments):
        return {}
    values = np.array([segment.labels[1:] for segment in segments], np.float32)  # (n, 6)
    return dict(zip(EMOTIONS, values.T, strict=True))


def _cut(modality: str, path: Path, segments: list[Segment], notes: list[str]) -> Sequences:
    """The frames of one file that overlap each segment by more than TOLERANCE."""
    rows: dict[str, list[int]] = {}
    for i, segment in enumerate(segments):
        rows.setdefault(segment.key, []).append(i)
    frames, owner, widths, size, spans = [], [], {}, 0, []
    for key, features, intervals in _in_order(_read(path, rows)):
        widths.setdefault(features.shape[1], []).append(key)
        for i in rows[key]:
            start = np.maximum(intervals[:, 0], segments[i].start)
            overlaps = np.minimum(intervals[:, 1], segments[i].end) - start > TOLERANCE
            frames.append(features[overlaps])
            owner.append(np.full(overlaps.sum(), i))
            size += frames[-1].nbytes
            check_size(path, size)  # checked here because segments may share frames
        spans.append(intervals.max(initial=0) / max(segments[i].end for i in rows[key]))
    if not frames:
        raise DataError(f"{path.name}: none of the labelled videos is in it; fetch it again")
    _check_widths(path, widths)
    _check_units(path, float(np.median(spans)), float(np.median(list(map(len, frames)))))
    frames, owner = np.concatenate(frames), np.concatenate(owner)
    columns = names(modality, frames.shape[1])
    return pack(modality, frames, owner, len(segments), columns, notes)


def _check_units(path: Path, span: float, frames: float) -> None:
    """DataError if the frames' times reach `span` times as far as the labels', by another unit."""
    if span < 1 / UNITS or (span > UNITS and frames < 10):  # one long video may be labelled briefly
        raise DataError(
            f"{path.name}: its times reach {span:.3g} times as far as the labels'; write both "
            "in seconds"
        )


def _check_widths(path: Path, widths: dict[int, list[str]]) -> None:
    """DataError unless all keys have the declared number of columns; widths: number -> keys."""
    declared = next((w for part, w in WIDTHS.items() if part in path.name.lower()), tuple(widths))
    right = max((width for width in widths if width in declared), default=None)
    for width, keys in widths.items():
        if width != right:
            raise DataError(
                f"{path.name}: {sorted(widths)} columns, declared {sorted(declared)}; {width} in "
                f"{', '.join(keys[:10])} ({len(keys)} in all): take these out of the folds, or "
                "fetch the file again"
            )


def _folds(folder: Path) -> tuple[dict[str, str], Path]:
    """The split of each video, and the file that defines it."""
    path = folder / "folds.json"
    if path.exists():
        with readable(path, remedy="expected lists train, valid and test"):
            folds = json.loads(path.read_text(encoding="utf-8-sig"))
            pairs = [(video, split) for split in SPLITS for video in folds[split]]
            split_of = dict(pairs)
        if len(split_of) < len(pairs):
            raise DataError(f"{path.name}: a video is listed twice; list each once")
        return split_of, path
    for name, read in (("mosi.csv.gz", read_mosi), ("label.csv", read_mosei)):
        if (folder / name).exists():
            table = read(folder / name)
            return dict(zip(table.groups, table.split.tolist(), strict=True)), folder / name
    raise DataError(
        f"no folds for the .csd files in {folder}: put folds.json there with CMU's standard "
        'lists of videos, {"train": [...], "valid": [...], "test": [...]}'
    )
