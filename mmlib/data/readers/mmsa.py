"""Padded arrays by split, {split: {"audio": (n, t, d), "vision": ..., ...}}.

This is the format of CMU-MOSI and CMU-MOSEI in the pickles of MMSA, MulT and MultiBench, with keys
and shapes as in MMSA's `data_loader.py` and MulT's `dataset.py`; ICT-MMMO has three npz files.
Lists, also ragged ones, are accepted instead of arrays.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from mmlib.data.check import without_crossing
from mmlib.data.columns import names
from mmlib.data.corpus import (
    EMOTIONS,
    SENTIMENT,
    SPLITS,
    Corpus,
    DataError,
    Range,
    Scale,
    Sequences,
    noted,
    to_sentiment,
)
from mmlib.data.readers.border import check_size, readable
from mmlib.data.readers.cells import VALID, as_text
from mmlib.data.readers.frames import pack
from mmlib.data.readers.unpickle import load_pickle
from mmlib.files import refuse_unknown, sha256

MODALITIES = ("text", "audio", "vision")
VARIANTS = (  # columns of audio and vision
    {"audio": (74, "COVAREP 74"), "vision": (35, "FACET 35")},
    {"audio": (74, "COVAREP 74"), "vision": (47, "FACET 4.1 47")},
    {"audio": (5, "CMU's selection, COVAREP 5"), "vision": (20, "FACET 20")},
    {"audio": (33, "SIMS's LibROSA 33"), "vision": (709, "SIMS's OpenFace 709")},
)
PER_MODALITY = {m: f"regression_labels_{m[0].upper()}" for m in MODALITIES}  # of SIMS, -1..1
MMMO = ({"audio": (74, "COVAREP 74"), "vision": (36, "FACET 36")},)

Frames = list[np.ndarray]  # (t, d) of each utterance; t differs, d is the same for all


def read_mmsa(
    path: Path,
    *,
    text_features: bool = False,
    lengths: str = "file",
    dims: tuple[int, int] | None = None,
    modalities: Sequence[str] = MODALITIES,
    label_range: Range = None,
) -> Corpus:
    """CMU-MOSI or CMU-MOSEI from a pickle with splits train, valid, test.

    `text_features` adds the frozen token features of the file (BERT 768, GloVe 300) as sequences
    "text", which are then used instead of the text. `lengths` controls padding: "file" cuts at
    audio_lengths and vision_lengths if the file has them (0: missing), at the front if the padding
    is there; "zeros" ignores them. MMSA computed these lengths as the first frame whose columns sum
    to zero (`getLengths.py`), so a face lost for one frame ends the sequence; a note counts such
    cases. Frames of zeros are always left out. Audio and vision widths must be a known variant or
    those declared as `dims`. An empty text is masked. `modalities`: those to read. `label_range`:
    of the labels, mapped to -3..3; (-1, 1) for SIMS, and for declared dims with labels within
    -1..1. SIMS's labels of one modality (`PER_MODALITY`) become annotations of that name, -3..3.
    """
    refuse_unknown("lengths", [lengths], ("file", "zeros"), DataError)
    refuse_unknown("modality", modalities, MODALITIES, DataError)
    declared = dims and ({m: (dims[i], "as declared") for i, m in enumerate(MODALITIES[1:])},)
    alone = "the file names no videos: each utterance counts as its own group"
    return _corpus(
        _pickled(path), declared or VARIANTS, alone, modalities, label_range,
        use_lengths=lengths == "file", text_features=text_features,
    )  # fmt: skip


def read_mmmo(path: Path) -> Corpus:
    """ICT-MMMO as train.npz, valid.npz, test.npz: audio (n, 20, 74), vision (n, 20, 36), label.

    The files name no video, so each row is its own group; its id consists of split and number.
    Labels 1..5 enter as 1.5 (y - 3).
    """
    splits = [_npz(path.with_name(f"{split}.npz"), split) for split in SPLITS]
    alone = "the files hold no text and no ids; each row counts as one video"
    return _corpus(splits, MMMO, alone, MODALITIES[1:], (1, 5))


def _corpus(
    splits: "list[_Split]",
    variants: Sequence[Mapping[str, tuple[int, str]]],
    alone: str,
    modalities: Sequence[str],
    label_range: Range,
    use_lengths: bool = True,
    text_features: bool = False,
) -> Corpus:
    """variants: columns of audio and vision; alone: the note if the videos are unknown."""
    asked = [m for m in MODALITIES[1:] if m in modalities] + ["text"] * text_features
    frames = {m: [split.frames(m) for split in splits] for m in asked}
    files = dict.fromkeys(split.path for split in splits)
    variant = [*(file.name for file in files), *_variant(splits, frames, variants)]
    label = np.concatenate([split.labels for split in splits])
    annotations = _annotations(splits)
    is_sims = annotations.keys() == PER_MODALITY.keys() or splits[0].path.parent.name == "sims"
    label, scale = _scaled(label, label_range, is_sims or variants is not VARIANTS)
    ids, groups = _ids(splits)
    notes = noted({alone: ids == groups})
    corpus = Corpus(
        name=splits[0].path.parent.name, variant=", ".join(variant), ids=ids, groups=groups,
        split=np.repeat(SPLITS, [len(split.labels) for split in splits]), label=label,
        text=_texts(splits, notes) if "text" in modalities else None,
        sequences={m: _sequences(m, splits, frames[m], use_lengths, notes) for m in asked},
        scale=scale, annotations=annotations, notes=tuple(notes),
        checksums={file.name: sha256(file) for file in files},
    )  # fmt: skip
    return without_crossing(corpus) if is_sims else corpus


def _annotations(splits: "list[_Split]") -> dict[str, np.ndarray]:
    """Name -> (n,): SIMS's labels per modality, or the six emotions after MOSEI's sentiment."""
    if all(key in split.content for split in splits for key in PER_MODALITY.values()):
        given = {m: [split.numbers(key) for split in splits] for m, key in PER_MODALITY.items()}
        return {m: to_sentiment(np.concatenate(parts), -1, 1)[0] for m, parts in given.items()}
    if any(split.others.shape[1] != len(EMOTIONS) for split in splits):
        return {}
    return dict(zip(EMOTIONS, np.concatenate([split.others for split in splits]).T, strict=True))


def _pickled(path: Path) -> "list[_Split]":
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path.name}: holds a {type(content).__name__}; expected a dict of splits")
    known = ["valid" if name in VALID else name for name in (as_text(x).lower() for x in content)]
    if len({*known}) < len(known):
        raise DataError(f"{path.name}: one split twice in {', '.join(map(str, content))}")
    content = dict(zip(known, content.values(), strict=True))
    for split in SPLITS:
        if isinstance(content.get(split), list) and content[split]:
            raise DataError(
                f"{path.name}: {split} is a list, as in MAG-BERT's files of ((words, visual, "
                "acoustic), label, segment); only {split: {'audio': ..., 'vision': ...}} is read: "
                "use MMSA's pickle of the data set"
            )
        if not isinstance(content.get(split), dict):
            there = ", ".join(map(str, content))
            raise DataError(f"{path.name}: no dict for split {split!r}; it has {there}")
    return [_Split(path, split, content[split]) for split in SPLITS]


def _npz(path: Path, split: str) -> "_Split":
    with readable(path, "not a readable npz"):
        with ZipFile(path) as archive:
            check_size(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in ("label", "audio", "vision") if name in file}
            content["id"] = [f"{i:03d}" for i in range(len(content.get("label", ())))]
    return _Split(path, split, content)


class _Split:
    """The content of a file for one split, and its sentiment (n,): the first label column."""

    def __init__(self, path: Path, name: str, content: Mapping[str, object]) -> None:
        self.path, self.name = path, name
        self.content = {as_text(key): value for key, value in content.items()}
        key = next((k for k in ("regression_labels", "labels", "label") if k in self.content), None)
        if key is None:
            keys = ", ".join(self.content)
            raise DataError(f"{path.name}: neither regression_labels nor labels in {name}: {keys}")
        with self.expected(key, "must hold one number an utterance; save them as an array"):
            labels = np.asarray(self.content[key], dtype=np.float32)
            if any(n > 1 for n in labels.shape[1:-1]):  # IEMOCAP's classes, (n, 4, 2)
                raise ValueError
            labels = labels.reshape(len(labels), -1)  # MOSEI's emotions are the other columns
            self.labels, self.others = labels[:, 0], labels[:, 1:]

    def numbers(self, key: str) -> np.ndarray:  # (n,)
        with self.expected(key, "must hold one number in -1..1 an utterance; correct it"):
            values = np.asarray(self.content[key], np.float32).reshape(len(self.labels))
            if (abs(values) <= 1).all():
                return values
            raise ValueError

    @contextmanager
    def expected(self, key: str, what: str) -> Iterator[None]:
        """DataError if an entry of the split is missing or of another type."""
        try:
            yield
        except (ValueError, TypeError, IndexError, KeyError):
            keys = ", ".join(self.content)
            words = f"{self.path.name}: {self.name} {key} {what}"
            raise DataError(words if key in self.content else f"{words}; it holds {keys}") from None

    def frames(self, modality: str) -> Frames:
        """The frames (t, d) of each utterance in the file, including padding."""
        n = len(self.labels)
        what = (
            "must be an array (utterances, frames, columns) of numbers; modalities= leaves one out"
        )
        with self.expected(modality, what):
            rows = list(map(np.asarray, self.content[modality]))
            rows = [row if row.dtype.kind in "biuf" else row.astype(np.float32) for row in rows]
            (d,) = {row.shape[1] for row in rows if row.ndim == 2 and row.shape[1]} or {0}
            rows = [row if row.size else np.zeros((0, d), np.float32) for row in rows]
            if any(row.ndim != 2 for row in rows):
                raise ValueError
        if len(rows) != n:
            raise DataError(
                f"{self.path.name}: {self.name} {modality} has shape {_shape(rows)}, but there are "
                f"{n} labels; save as many of both"
            )
        return rows

    def lengths(self, modality: str, rows: Frames, notes: list[str]) -> np.ndarray:
        """Stated lengths (n,); for token features the sums of BERT's mask; else all frames."""
        n, longest, _ = _shape(rows)
        full = np.array([len(row) for row in rows], dtype=int)
        has_mask = modality == "text" and self.content.get("text_bert") is not None
        key = "text_bert" if has_mask else f"{modality}_lengths"
        if self.content.get(key) is None:
            return full
        what = f"must hold {n} lengths from 0 to {longest}; correct it or use lengths='zeros'"
        with self.expected(key, what):
            values = np.asarray(self.content[key], dtype=np.float64)
            lengths = _mask(values).sum(axis=1) if has_mask else values.ravel()
            if len(lengths) != n or not ((lengths >= 0) & (lengths % 1 == 0)).all():  # nor NaN
                raise ValueError
        above = int((lengths > longest).sum())
        words = f"{modality}: {above} lengths of {self.name} exceed its {longest} frames: cut"
        notes += noted({words: above})
        return np.minimum(lengths, full).astype(np.int64)

    def ids(self) -> list[list[str]]:
        """Each utterance's `video$_$clip`, `video[clip]` or (video, start, end)."""
        given = self.content.get("id")
        given = range(len(self.labels)) if given is None else self.listed("id", "id")
        ids = [list(map(as_text, np.atleast_1d(np.asarray(row)))) for row in given]
        is_bare = all(len(row) == 1 and re.fullmatch(r"[\d.]+", row[0]) for row in ids)
        return [[f"{self.name}-{row[0]}"] for row in ids] if is_bare else ids

    def listed(self, key: str, what: str) -> list | tuple | np.ndarray:
        """An entry that has one item per utterance."""
        with self.expected(key, f"must hold one {what} an utterance; leave it out"):
            if not isinstance(value := self.content[key], list | tuple | np.ndarray):
                raise TypeError
            if len(value) != len(self.labels):  # TypeError: an array without an axis
                raise ValueError
        return value


def _variant(
    splits: list[_Split],
    frames: Mapping[str, list[Frames]],
    variants: Sequence[Mapping[str, tuple[int, str]]],
) -> list[str]:
    """Names of the audio and vision features; their widths must be equal in all splits."""
    asked = [modality for modality in frames if modality != "text"]
    shapes = {(s.name, m): _shape(frames[m][i]) for i, s in enumerate(splits) for m in asked}
    for variant in variants:
        if all(shape[2] == variant[m][0] for (_, m), shape in shapes.items()):
            return list(dict.fromkeys(variant[m][1] for m in asked))
    there = ", ".join(f"{split} {m} has shape {shape}" for (split, m), shape in shapes.items())
    known = ", ".join(str(tuple(variant[m][0] for m in asked)) for variant in variants)
    remedy = ", or declare dims=(audio, vision); modalities= leaves one out"
    raise DataError(
        f"{splits[0].path.name}: {there}; expected {known} columns of {' and '.join(asked)}"
        f"{remedy if variants is VARIANTS else ''}"
    )


def _ids(splits: list[_Split]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids of the utterances, and their videos."""
    rows = [row for split in splits for row in split.ids()]
    ids = tuple("$_$".join(row[:2]) for row in rows)
    if len(set(ids)) < len(ids):  # segments with the same start
        ids = tuple("$_$".join(row[:3]) for row in rows)
    return ids, tuple(re.split(r"\$_\$|\[", name)[0] for name in ids)


def _texts(splits: list[_Split], notes: list[str]) -> tuple[str, ...] | None:
    """The text of each utterance, "" if it has none; None if the file has no texts at all."""
    if any(split.content.get("raw_text") is None for split in splits):
        return None
    given = chain(*(split.listed("raw_text", "text") for split in splits))
    texts = [" ".join(map(_word, np.ravel(text))) for text in given]
    texts = [text if text.strip() else "" for text in texts]
    if not any(texts):
        return None
    empty = texts.count("")
    notes += noted({f"text: missing for {empty} utterances (empty)": empty})
    return tuple(texts)


def _sequences(
    modality: str, splits: list[_Split], frames: list[Frames], use_lengths: bool, notes: list[str]
) -> Sequences:
    """Frames of a modality without padding, which may be behind the frames or in front."""
    lengths = [
        split.lengths(modality, rows, notes) if use_lengths else [len(row) for row in rows]
        for split, rows in zip(splits, frames, strict=True)
    ]
    rows = list(zip(chain(*frames), map(int, chain(*lengths)), strict=True))
    is_in_front = _is_in_front(rows)
    notes += noted({f"{modality}: the padding stands in front of the frames": is_in_front})
    cut = [row[len(row) - k :] if is_in_front else row[:k] for row, k in rows]
    owner = np.repeat(np.arange(len(cut)), [len(row) for row in cut])
    columns = names(modality, _shape(frames[0])[2])
    packed = pack(modality, np.concatenate(cut), owner, len(cut), columns, notes)
    beyond = 0 if is_in_front else sum(bool(row[k:].any()) for row, k in rows)
    words = f"{modality}: {beyond} utterances have frames beyond the length the file states; "
    notes += noted({f"{words}lengths='zeros' keeps them": beyond})
    return packed


def _word(value: object) -> str:
    return "" if value is None or value != value else as_text(value)  # NaN in a table


def _shape(rows: Frames) -> tuple[int, int, int]:
    """(n, t, d), with t of the longest utterance."""
    return len(rows), max((len(row) for row in rows), default=0), rows[0].shape[1] if rows else 0


def _is_in_front(rows: list[tuple[np.ndarray, int]]) -> bool:
    """Whether the padding is in front: frames lie beyond every stated length, none at the front."""
    cut = [(row, k) for row, k in rows if k < len(row) and row.any()]
    return bool(cut) and all(row[k:].any() and not row[: len(row) - k].any() for row, k in cut)


def _mask(bert: np.ndarray) -> np.ndarray:
    """BERT's mask (n, t) from token ids, mask and types: (n, 3, t), (n, t, 3), or one flattened."""
    shapes = (bert.reshape(len(bert), 3, -1)[:, 1], bert.reshape(len(bert), -1, 3)[..., 1])
    masks = [mask for mask in shapes if np.isin(mask, (0, 1)).all()]
    return masks[0 if bert.shape[2:] != (3,) else -1]


def _scaled(label: np.ndarray, given: Range, is_declared: bool) -> tuple[np.ndarray, Scale]:
    """Labels on the common scale; a range of -1..1 is inferred for declared dims and SIMS."""
    is_short = is_declared and label.any() and (abs(label) <= 1).all()
    low, high = given or ((-1, 1) if is_short else (SENTIMENT.low, SENTIMENT.high))
    if (low, high) == (SENTIMENT.low, SENTIMENT.high):
        return label, SENTIMENT
    label, scale = to_sentiment(label, low, high)
    return label, scale if given else replace(scale, origin=f"{scale.origin}, see label_range=")
