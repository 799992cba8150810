"""Pickles of MMSA, MulT and MultiBench: {split: {"audio": (n, t, d), "vision": ..., ...}}.

Keys and shapes as MMSA's `data_loader.py` and MulT's `dataset.py` read them; lists, ragged ones
too, are taken for arrays.
"""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from mmlib.data.columns import names
from mmlib.data.corpus import SENTIMENT, SPLITS, Corpus, DataError, Scale, Sequences
from mmlib.data.readers.frames import pack_padded
from mmlib.data.readers.unpickle import load_pickle
from mmlib.files import refuse_unknown, sha256

VARIANTS = (  # columns of audio and vision
    {"audio": (74, "COVAREP 74"), "vision": (35, "FACET 35")},
    {"audio": (74, "COVAREP 74"), "vision": (47, "FACET 4.1 47")},
    {"audio": (5, "CMU's selection, COVAREP 5"), "vision": (20, "FACET 20")},
)


def read_mmsa(
    path: Path,
    *,
    text_features: bool = False,
    lengths: str = "file",
    dims: tuple[int, int] | None = None,
    modalities: Sequence[str] = ("text", "audio", "vision"),
    label_range: tuple[float, float] | None = None,
) -> Corpus:
    """CMU-MOSI or CMU-MOSEI from a pickle with splits train, valid, test.

    `text_features` adds the frozen token features of the file (BERT 768, GloVe 300) as sequences
    "text", which then stand for the text. Padding goes by `lengths`: "file" cuts at audio_lengths
    and vision_lengths where the file has them (0: missing), in front where the frames stand behind;
    "zeros" ignores them. MMSA computed them as the first frame whose columns add up to zero (its
    `getLengths.py`), so a face lost for one frame ends the sequence: a note counts that. Frames of
    zeros are left out either way. Audio and vision widths must be a known variant or those declared
    as `dims`. An empty text is masked. `modalities` leaves others out. `label_range`: of the file's
    labels, brought to -3..3; of declared dims and labels within -1..1 (SIMS) it is (-1, 1).
    """
    refuse_unknown("lengths", [lengths], ("file", "zeros"), DataError)
    refuse_unknown("modality", modalities, ("text", "audio", "vision"), DataError)
    parts = _parts(path)
    file = _File(path, parts, lengths == "file")
    variant = file.variant([m for m in ("audio", "vision") if m in modalities], dims)
    labels = [file.labels(split) for split in SPLITS]
    ids, groups = file.ids([len(of_split) for of_split in labels])
    label, scale = _scaled(np.concatenate(labels), label_range, dims is not None)
    text = file.text() if "text" in modalities else None
    asked = [m for m in ("audio", "vision") if m in modalities] + ["text"] * text_features
    sequences = {m: file.sequences(m) for m in asked}
    if ids == groups:
        file.notes.append("the file names no videos: each utterance counts as its own group")
    return Corpus(
        name=path.parent.name,
        variant=variant,
        ids=ids,
        groups=groups,
        split=np.repeat(SPLITS, [len(of_split) for of_split in labels]),
        label=label,
        text=text,
        sequences=sequences,
        scale=scale,
        notes=tuple(file.notes),
        checksums={path.name: sha256(path)},
    )


def _parts(path: Path) -> dict[str, dict]:
    """The content of each split."""
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path.name}: holds a {type(content).__name__}; expected a dict of splits")
    content = {"valid": content.get("dev"), **content}
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
    return {split: content[split] for split in SPLITS}


class _File:
    """The splits of one pickle, and what is noted of them."""

    def __init__(self, path: Path, parts: dict[str, dict], use_lengths: bool) -> None:
        self.path, self.parts, self.use_lengths = path, parts, use_lengths
        self.notes: list[str] = []

    def refusal(self, split: str, key: str, words: str) -> DataError:
        return DataError(f"{self.path.name}: {split} {key} {words}")

    def variant(self, asked: list[str], dims: tuple[int, int] | None) -> str:
        """What the columns of the asked modalities are; they must be the same in all splits."""
        known = [tuple(variant[m][0] for m in asked) for variant in VARIANTS]
        if dims:
            declared = dict(zip(("audio", "vision"), dims, strict=True))
            known = [tuple(declared[m] for m in asked)]
        widths = {tuple(self.padded(s, m)[0].shape[2] for m in asked) for s in SPLITS}
        if len(widths) > 1 or not widths <= set(known):
            raise DataError(
                f"{self.path.name}: {' and '.join(asked)} have "
                f"{' and '.join(map(str, sorted(widths)))} columns; expected one of "
                f"{', '.join(map(str, known))}, or declare dims=(audio, vision)"
            )
        columns = VARIANTS[known.index(widths.pop())]
        called = ["as declared"] if dims else [columns[m][1] for m in asked]
        return ", ".join([self.path.name, *called])

    def padded(self, split: str, key: str) -> tuple[np.ndarray, np.ndarray | None]:
        """The features (n, t, d) of a modality, and their own lengths (n,) if they differ."""
        value = self.parts[split].get(key)
        try:
            array, lengths = _rectangular(value)
        except (ValueError, TypeError):
            keys = ", ".join(map(str, self.parts[split]))
            raise self.refusal(
                split,
                key,
                f"must be an array (utterances, frames, columns) of numbers; its keys are {keys}; "
                "modalities= leaves one out",
            ) from None
        return array, lengths

    def labels(self, split: str) -> np.ndarray:
        """Sentiment (n,): the first column, where MOSEI's emotions follow it."""
        part = self.parts[split]
        key = "regression_labels" if "regression_labels" in part else "labels"
        if key not in part:
            keys = ", ".join(map(str, part))
            raise DataError(
                f"{self.path.name}: neither regression_labels nor labels in {split}: {keys}"
            )
        try:
            labels = np.asarray(part[key], dtype=np.float32)
            return labels.reshape(len(labels), -1)[:, 0]
        except (ValueError, TypeError, IndexError):
            raise self.refusal(
                split, key, "must hold one number an utterance; save them as an array"
            ) from None

    def ids(self, sizes: list[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Utterance ids and their videos: `video$_$clip`, `video[clip]` or (video, start, end)."""
        rows: list[list[str]] = []
        for (split, part), n in zip(self.parts.items(), sizes, strict=True):
            given = part.get("id")
            given = [f"{split}-{i}" for i in range(n)] if given is None else given
            if np.ndim(given) == 0:
                raise self.refusal(split, "id", "must hold one id an utterance; leave it out")
            cells = [list(map(_plain, np.atleast_1d(np.asarray(row)))) for row in given]
            bare = all(len(row) == 1 and re.fullmatch(r"[\d.]+", row[0]) for row in cells)
            rows += [[f"{split}-{row[0]}"] for row in cells] if bare else cells
        ids = tuple("$_$".join(row[:2]) for row in rows)
        if len(set(ids)) < len(ids):  # segments of one start
            ids = tuple("$_$".join(row[:3]) for row in rows)
        return ids, tuple(re.split(r"\$_\$|\[", name)[0] for name in ids)

    def text(self) -> tuple[str, ...] | None:
        """The words of each utterance, "" where it has none; None if the file has none at all."""
        given = [part.get("raw_text") for part in self.parts.values()]
        if any(texts is None for texts in given):
            return None
        if wrong := [s for s, texts in zip(SPLITS, given, strict=True) if np.ndim(texts) == 0]:
            raise self.refusal(wrong[0], "raw_text", "must hold one text an utterance")
        texts = [_plain("" if text is None else text) for part in given for text in part]
        texts = [text if text.strip() else "" for text in texts]
        if not any(texts):
            return None
        if empty := texts.count(""):
            self.notes.append(f"text: missing for {empty} utterances (empty)")
        return tuple(texts)

    def sequences(self, modality: str) -> Sequences:
        """Frames of a modality without its padding, which may stand behind or in front."""
        arrays, lengths = [], []
        for split in SPLITS:
            array, own = self.padded(split, modality)
            stated = self.lengths(split, modality, array) if self.use_lengths else None
            length = own if stated is None else stated
            arrays.append(array)
            lengths.append(np.full(len(array), array.shape[1]) if length is None else length)
        rows = list(zip(chain(*arrays), chain(*lengths), strict=True))
        if _is_in_front(rows):
            self.notes.append(f"{modality}: the padding stands in front of the frames")
            arrays = [
                np.stack([np.roll(row, k, axis=0) for row, k in zip(array, length, strict=True)])
                for array, length in zip(arrays, lengths, strict=True)
            ]
            rows = []
        columns = names(modality, arrays[0].shape[2])
        packed = pack_padded(modality, arrays, columns, self.notes, lengths)
        if beyond := sum(bool(row[k:].any()) for row, k in rows):
            self.notes.append(
                f"{modality}: {beyond} utterances have frames beyond the length the file states; "
                "lengths='zeros' keeps them"
            )
        return packed

    def lengths(self, split: str, modality: str, array: np.ndarray) -> np.ndarray | None:
        """Stated lengths (n,), at most t, or for token features the sum of the BERT mask."""
        n, t, _ = array.shape
        key = "text_bert" if modality == "text" else f"{modality}_lengths"
        if (given := self.parts[split].get(key)) is None:
            return None
        try:
            values = np.asarray(given, dtype=np.float64)
            lengths = values.ravel() if modality != "text" else _mask(values, t).sum(axis=1)
            if len(lengths) != n or not (np.isfinite(lengths) & (lengths >= 0)).all():
                raise ValueError
        except (ValueError, TypeError):
            words = f"must hold {n} lengths from 0 to {t}; correct it or use lengths='zeros'"
            raise self.refusal(split, key, words) from None
        if above := int((lengths > t).sum()):
            self.notes.append(f"{modality}: {above} lengths of {split} exceed its {t} frames: cut")
        return np.minimum(lengths, t).astype(np.int64)


def _rectangular(value: object) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers (n, t, d), and the length of each row (n,) where lists of different ones are padded.

    ValueError or TypeError where there are no three axes, or something that is no number.
    """
    lengths = None
    if not isinstance(value, np.ndarray) or value.dtype == object:
        rows = [np.asarray(row) for row in value]
        width = max(row.shape[1] for row in rows if row.ndim == 2)
        rows = [row if row.size else np.zeros((0, width), np.float32) for row in rows]
        lengths = np.array([len(row) for row in rows])
        t = lengths.max()
        value = np.stack([np.pad(row, [(0, t - len(row)), (0, 0)]) for row in rows])
    if value.ndim != 3 or not value.shape[2]:
        raise ValueError("not three axes")
    return (value if value.dtype.kind in "biuf" else value.astype(np.float32)), lengths


def _is_in_front(rows: list[tuple[np.ndarray, int]]) -> bool:
    """Whether frames lie beyond every stated length, and none where padding in front would be."""
    cut = [(row, k) for row, k in rows if k < len(row) and row.any()]
    return bool(cut) and all(row[k:].any() and not row[: len(row) - k].any() for row, k in cut)


def _mask(bert: np.ndarray, t: int) -> np.ndarray:
    """BERT's mask (n, t) of token ids, mask and types, (n, 3, t), (n, t, 3) or either one flat."""
    shapes = (bert.reshape(len(bert), 3, t)[:, 1], bert.reshape(len(bert), t, 3)[..., 1])
    masks = [mask for mask in shapes if np.isin(mask, (0, 1)).all()]
    return masks[0 if bert.shape[1:] != (t, 3) else -1]


def _scaled(
    label: np.ndarray, given: tuple[float, float] | None, declared: bool
) -> tuple[np.ndarray, Scale]:
    """Labels on the common scale. Of declared dims and labels within -1..1 these are the range."""
    is_short = declared and label.any() and (abs(label) <= 1).all()
    low, high = given or ((-1, 1) if is_short else (SENTIMENT.low, SENTIMENT.high))
    if (low, high) == (SENTIMENT.low, SENTIMENT.high):
        return label, SENTIMENT
    factor = (SENTIMENT.high - SENTIMENT.low) / (high - low)
    origin = f"{factor:g} (y - {(low + high) / 2:g}) of y in {low:g}..{high:g}, see label_range="
    return factor * (label - (low + high) / 2), Scale("sentiment", -3.0, 3.0, origin)


def _plain(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
