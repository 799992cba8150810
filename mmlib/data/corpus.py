"""The common record of all data sets: utterances with modalities, labels and splits.

Axis letters used throughout mmlib: b batch, t token or frame, d feature, m modality, l layer,
h hidden, k class, s seed (member of a stack); n counts utterances.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from mmlib.files import refuse_unknown

Range = tuple[float, float] | None  # range of the labels in a file
SPLITS = ("train", "valid", "test")
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")  # of CMU-MOSEI, each in 0..3


class DataError(ValueError):
    """A problem with the data; the message is one line: what, where, and the remedy."""


@dataclass(frozen=True)
class Scale:
    """The range of a label and the name of the scale."""

    name: str  # "sentiment"
    low: float
    high: float
    origin: str = ""  # how the labels of the file were converted to this scale; "" if unchanged


SENTIMENT = Scale("sentiment", -3.0, 3.0)


def to_sentiment(
    label: np.ndarray, low: float, high: float, name: str = "sentiment"
) -> tuple[np.ndarray, Scale]:
    """Map labels low..high (n,) linearly to -3..3; returns them and the scale, with its origin.

    DataError unless low is below high and both are finite.
    """
    if not -np.inf < low < high < np.inf:
        raise DataError(f"label_range {low:g}..{high:g}: give two numbers, the lower one first")
    factor = (SENTIMENT.high - SENTIMENT.low) / (high - low)
    origin = f"{factor:g} (y - {(low + high) / 2:g}) of y in {low:g}..{high:g}"
    return factor * (label - (low + high) / 2), Scale(name, SENTIMENT.low, SENTIMENT.high, origin)


@dataclass(frozen=True)
class Sequences:
    """Feature sequences of one modality, all utterances concatenated (no padding is stored)."""

    values: np.ndarray  # (sum of lengths, d) float32
    lengths: np.ndarray  # (n,) int64; 0: the modality is missing for that utterance
    columns: tuple[str, ...]  # d names
    filled: np.ndarray | None = None  # (2, d) counts of NaN and infinite values, now 0

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        lengths = np.ascontiguousarray(self.lengths, dtype=np.int64)
        if values.ndim != 2 or len(self.columns) != values.shape[1]:
            raise DataError(f"{len(self.columns)} column names for values of shape {values.shape}")
        if lengths.sum() != len(values) or (lengths < 0).any():
            raise DataError(f"lengths add up to {lengths.sum()}; there are {len(values)} frames")
        for name, array in (("values", values), ("lengths", lengths)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def offsets(self) -> np.ndarray:
        """Index of the first frame of each utterance, and the number of all frames, (n + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        """Frames of utterance i, (t, d)."""
        start = int(self.lengths[:i].sum())
        return self.values[start : start + self.lengths[i]]

    def only(self, columns: Sequence[str]) -> "Sequences":
        """The same frames with only these columns; drops `filled`; DataError if one is missing."""
        if missing := [name for name in columns if name not in self.columns]:
            raise DataError(
                f"no column {missing[0]!r}; there are {', '.join(self.columns[:5])} ..."
            )
        at = [self.columns.index(name) for name in columns]
        return Sequences(self.values[:, at], self.lengths, tuple(columns))

    def take(self, rows: np.ndarray) -> "Sequences":
        """The utterances `rows` (integers), in that order."""
        off = self.offsets
        frames = [np.arange(off[i], off[i + 1]) for i in rows]
        index = np.concatenate(frames) if frames else np.zeros(0, dtype=np.int64)
        return Sequences(self.values[index], self.lengths[rows], self.columns)


@dataclass(frozen=True)
class Corpus:
    """Utterances with text, per-modality sequences, labels, splits and groups; immutable."""

    name: str  # "mosi"
    variant: str  # file and format of the source, e.g. "mosi.csv.gz, standard_split"
    ids: tuple[str, ...]  # n
    groups: tuple[str, ...]  # n; video or speaker: the unit of splits and of clustered intervals
    split: np.ndarray  # (n,) of "train", "valid", "test"
    label: np.ndarray  # (n,) float32; all NaN for recordings without labels
    text: tuple[str, ...] | None = None  # n
    sequences: Mapping[str, Sequences] = field(default_factory=dict)  # "audio", "vision", "text"
    scale: Scale = SENTIMENT
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)  # embedded corpora only
    annotations: Mapping[str, np.ndarray] = field(default_factory=dict)  # other human labels
    notes: tuple[str, ...] = ()  # what the loader dropped, filled in or warns of
    checksums: Mapping[str, str] = field(default_factory=dict)  # file name -> sha256

    def __post_init__(self) -> None:
        split = np.asarray(self.split, dtype=str)
        label = np.asarray(self.label, dtype=np.float32)
        split.flags.writeable = label.flags.writeable = False
        object.__setattr__(self, "split", split)
        object.__setattr__(self, "label", label)
        for name in ("sequences", "truth", "annotations", "checksums"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

        for name in self.sequences:
            is_taken = name in ("constant", "b") or re.fullmatch("t?a?v?c?", name)
            if is_taken or not name.isidentifier():
                raise DataError(
                    f"modality {name!r}: choose another name, of letters, digits, '_'; 'a' and 'b' "
                    "are DyFuLM's encoders, 'constant' is all 1, 't', 'ta' and so on are several"
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> bool:
        """False for recordings without labels: all labels are NaN and all splits "test"."""
        return not (np.isnan(self.label).all() and (self.split == "test").all())

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities present: text, audio, vision, then others in the order of `sequences`."""
        have = [*self.sequences, *["text"] * (self.text is not None)]
        usual = [m for m in ("text", "audio", "vision") if m in have]
        return (*usual, *(m for m in self.sequences if m not in usual))

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split."""
        refuse_unknown("split", [split], SPLITS, DataError)
        return np.flatnonzero(self.split == split)

    def sample(self, n: int, seed: int = 0, splits: Sequence[str] = SPLITS) -> "Corpus":
        """n random utterances of some splits, and all of the other splits, in the old order.

        All utterances if n is 0 or not smaller than their number. A larger n gives a superset.
        """
        splits = [splits] if isinstance(splits, str) else splits
        refuse_unknown("split", splits, SPLITS, DataError)
        is_drawn = np.isin(self.split, splits)
        rows = np.flatnonzero(is_drawn)
        kept = rows[np.random.default_rng(seed).permutation(len(rows))[: n or None]]
        return self.take(np.sort(np.concatenate([kept, np.flatnonzero(~is_drawn)])))

    def take(self, rows: np.ndarray) -> "Corpus":
        """The utterances `rows` (integers), in that order, as a corpus."""
        return replace(
            self, ids=tuple(self.ids[i] for i in rows), groups=tuple(self.groups[i] for i in rows),
            split=self.split[rows], label=self.label[rows],
            text=None if self.text is None else tuple(self.text[i] for i in rows),
            sequences={m: s.take(rows) for m, s in self.sequences.items()},
            truth={name: values[rows] for name, values in self.truth.items()},
            annotations={name: values[rows] for name, values in self.annotations.items()},
        )  # fmt: skip


def of_texts(texts: Sequence[str]) -> Corpus:
    """A corpus of unlabelled texts; DataError as in `checked_texts`."""
    texts = tuple(checked_texts(texts))
    ids = tuple(f"text {i}" for i in range(len(texts)))
    none, split = np.full(len(ids), np.nan), np.full(len(ids), "test")
    return Corpus("texts", "texts", ids, ids, split, none, texts)


def checked_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list; DataError for a single string, no text, or an empty one."""
    if isinstance(texts, str):
        raise DataError("texts is one string; pass a list of strings")
    if not (texts := list(texts)):
        raise DataError("texts is empty; pass at least one")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {i} is {type(text).__name__}, not a string; convert or drop it")
        if not text.strip():
            raise DataError(f"text {i} is empty; drop it or mask the modality for that utterance")
    return texts


def noted(counts: Mapping[str, int]) -> list[str]:
    """Notes on what was dropped, filled or cut: the sentences whose count is not 0."""
    return [sentence for sentence, count in counts.items() if count]


def rows_of(data: Any, splits: Sequence[str], least: int = 1) -> list[np.ndarray]:
    """Row numbers of each split of features or states; DataError for fewer than `least` rows."""
    rows = [data.rows(split) for split in splits]
    for split, numbers in zip(splits, rows, strict=True):
        if len(numbers) < least:
            raise DataError(
                f"{data.name} has {len(numbers) or 'no'} utterance in split {split}; training "
                f"needs {least} or more: take more of the data, or split it anew"
            )
    return rows


def check_finite(
    what: str, values: np.ndarray, ids: Sequence[str], lengths: np.ndarray | None = None
) -> None:
    """DataError, one line with their number, if values (n, ...) contain NaN or infinity.

    lengths: number of frames of each utterance, if the values are frames.
    """
    if not (good := np.isfinite(values)).all():
        first = int(np.argmin(good.reshape(len(good), -1).all(axis=1)))
        if lengths is not None:
            first = int(np.searchsorted(np.cumsum(lengths), first, side="right"))
        raise DataError(
            f"{what} holds values that are not finite: {(~good).sum()} of {good.size}, the first "
            f"of {ids[first]!r}; correct them, or leave these utterances out"
        )


def few(corpus: Corpus, n: int, seed: int = 0, split: str = "train") -> Corpus:
    """n random labelled utterances of one split: the examples of a new domain.

    DataError, one line, if there are fewer than n, or as in `check_sides`.
    """
    rows, name = corpus.rows(split), f"{corpus.name}, split {split}"
    if not 1 <= n <= len(rows):
        words = f"{n} labelled asked for, {len(rows)} are there; ask for"
        raise DataError(f"{name}: {words} {'fewer' if n > 0 else 'one or more'}")
    drawn = corpus.take(np.sort(np.random.default_rng(seed).permutation(rows)[:n]))
    check_sides(drawn, split, "ask for more, or another seed")
    return drawn


def check_sides(corpus: Corpus, split: str = "train", remedy: str = "use other data") -> None:
    """DataError, one line, unless a split has labels below and above the middle of the scale.

    Otherwise neither an AUC nor a decision boundary can be computed.
    """
    label, middle = corpus.label[corpus.rows(split)], (corpus.scale.low + corpus.scale.high) / 2
    for side, is_there in (("negative", label < middle), ("positive", label > middle)):
        if not is_there.any():
            words = f"none of {len(label)} labels is {side}"
            raise DataError(f"{corpus.name}, split {split}: {words}; {remedy}")


def first(corpus: Corpus, n: int) -> Corpus:
    """The first n utterances of each split; all if n is 0."""
    return corpus.take(np.concatenate([corpus.rows(split)[: n or None] for split in SPLITS]))
