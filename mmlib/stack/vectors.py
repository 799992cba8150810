"""Standardised vectors of a corpus' utterances, ready for training.

DAF has one vector per modality, x[m] (n, d); DyFuLM has one per layer of encoders "a" and "b", x[m]
(n, l, d). Each feature of each layer is scaled alone. Axes: n utterances, m modality or encoder.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from mmlib.data import Corpus, DataError

CLIP = 5.0  # standard deviations; COVAREP features have outliers of hundreds


@dataclass(frozen=True)
class Scaler:
    """Mean and scale of each feature over the training utterances that have it."""

    mean: Mapping[str, np.ndarray]  # modality -> (d,), of layers (l d,)
    scale: Mapping[str, np.ndarray]  # the same; inf where sd <= 1e-6: becomes 0

    @classmethod
    def fit(cls, x: Mapping[str, np.ndarray], present: np.ndarray, train: np.ndarray) -> "Scaler":
        """x[m] (n, ..., d), present (n, m) bool, train: row numbers; DataError if m has no row."""
        mean, scale = {}, {}
        if not len(train):
            raise DataError("no utterance in split train, which scales the features; split anew")
        for i, (m, values) in enumerate(x.items()):
            rows = _flat(values)[train[present[train, i]]]
            if not len(rows):
                raise DataError(f"no training utterance has {m}; leave it out of modalities")
            sd = rows.std(axis=0) * (np.ptp(rows, axis=0) > 0)  # a constant's is rounded
            mean[m] = rows.mean(axis=0)
            scale[m] = np.where(sd > 1e-6, sd, np.inf).astype(np.float32)
        return cls(mean, scale)

    def apply(self, x: Mapping[str, np.ndarray], present: np.ndarray) -> dict[str, np.ndarray]:
        """x in sd, clipped to +-5, 0 where absent, in the same shape; DataError for another d."""
        out = {}
        for i, (m, values) in enumerate(x.items()):
            flat, known = _flat(values), len(self.mean.get(m, ()))
            if flat.shape[1] != known:
                raise DataError(
                    f"{m} has {flat.shape[1]} features, training had {known}; "
                    "use the same modalities, data format and encoder"
                )
            z = np.clip((flat - self.mean[m]) / self.scale[m], -CLIP, CLIP)
            out[m] = (z * present[:, i, None]).astype(np.float32).reshape(values.shape)
        return out

    def only(self, modalities: Sequence[str]) -> "Scaler":
        """The scaling of these modalities; names that the scaler lacks are ignored."""
        known = [m for m in modalities if m in self.mean]
        return Scaler({m: self.mean[m] for m in known}, {m: self.scale[m] for m in known})

    def __or__(self, other: "Scaler") -> "Scaler":
        """The scaling of the modalities of both."""
        return Scaler({**self.mean, **other.mean}, {**self.scale, **other.scale})


def _flat(values: np.ndarray) -> np.ndarray:
    """Reshape (n, ..., d) to (n, features)."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


@dataclass(frozen=True)
class Features:
    """Standardised vectors of a corpus' utterances: DAF's features, or DyFuLM's states."""

    name: str  # of the corpus
    ids: tuple[str, ...]  # n
    groups: tuple[str, ...]  # n
    split: np.ndarray  # (n,)
    label: np.ndarray  # (n,) float32
    x: Mapping[str, np.ndarray]  # modality -> (n, d) or (n, l, d) float32
    present: np.ndarray  # (n, m) bool
    scaler: Scaler
    origin: Mapping[str, object] = field(default_factory=dict)  # variant, checksums, encoder

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        x: Mapping[str, np.ndarray],
        present: np.ndarray,
        scaler: Scaler,
        **origin: object,
    ) -> Self:
        """Features of all utterances of a corpus, from vectors x already scaled by `scaler`."""
        known = {"variant": corpus.variant, "checksums": dict(corpus.checksums)}
        about = (corpus.name, corpus.ids, corpus.groups, corpus.split, corpus.label)
        return cls(*about, x, present, scaler, known | origin)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.x)

    @property
    def dims(self) -> dict[str, int]:
        return {m: values.shape[-1] for m, values in self.x.items()}

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split."""
        return np.flatnonzero(self.split == split)

    def only(self, modalities: Sequence[str]) -> Self:
        """The same utterances with these modalities only; DataError if one is not there."""
        unknown = [m for m in modalities if m not in self.x]
        if unknown or not modalities:
            raise DataError(
                f"modalities {list(modalities)} asked for; {self.name} has {list(self.x)}"
            )
        columns = [self.modalities.index(m) for m in modalities]
        x = {m: self.x[m] for m in modalities}
        scaler = self.scaler.only(modalities)
        return replace(self, x=x, present=self.present[:, columns], scaler=scaler)

    def take(self, rows: np.ndarray) -> Self:
        """The utterances `rows` (integers), in that order."""
        return replace(
            self, ids=tuple(self.ids[i] for i in rows), groups=tuple(self.groups[i] for i in rows),
            split=self.split[rows], label=self.label[rows],
            x={m: values[rows] for m, values in self.x.items()}, present=self.present[rows],
        )  # fmt: skip
