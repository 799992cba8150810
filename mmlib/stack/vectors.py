"""Standardised vectors of a corpus' utterances, ready for training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmlib.data import DataError

CLIP = 5.0  # standard deviations; COVAREP's tails reach hundreds


@dataclass(frozen=True)
class Scaler:
    """Mean and scale of each feature over the training utterances that have it."""

    mean: Mapping[str, np.ndarray]  # modality -> (d,)
    scale: Mapping[str, np.ndarray]  # modality -> (d,); inf: constant in training, becomes 0

    @classmethod
    def fit(cls, x: Mapping[str, np.ndarray], present: np.ndarray, train: np.ndarray) -> "Scaler":
        """x[m] (n, d), present (n, m) bool, train: row numbers of the training split."""
        mean, scale = {}, {}
        for i, (m, values) in enumerate(x.items()):
            rows = values[train[present[train, i]]]
            if not len(rows):
                raise DataError(f"no training utterance has {m}; leave it out of modalities")
            sd = rows.std(axis=0)
            mean[m] = rows.mean(axis=0)
            scale[m] = np.where(sd > 1e-6, sd, np.inf).astype(np.float32)
        return cls(mean, scale)

    def apply(self, x: Mapping[str, np.ndarray], present: np.ndarray) -> dict[str, np.ndarray]:
        """Standardised, clipped to +-5, and 0 where the modality is absent."""
        out = {}
        for i, (m, values) in enumerate(x.items()):
            known = len(self.mean.get(m, ()))
            if values.shape[1] != known:
                raise DataError(
                    f"{m} has {values.shape[1]} features, training had {known}; "
                    "use the same modalities, data format and encoder"
                )
            z = np.clip((values - self.mean[m]) / self.scale[m], -CLIP, CLIP)
            out[m] = (z * present[:, i, None]).astype(np.float32)
        return out

    def only(self, modalities: Sequence[str]) -> "Scaler":
        """The same scaling, of those of the modalities that it knows."""
        known = [m for m in modalities if m in self.mean]
        return Scaler({m: self.mean[m] for m in known}, {m: self.scale[m] for m in known})


@dataclass(frozen=True)
class Features:
    """Standardised features of a corpus, ready for `mmlib.daf.train`; `build` makes them."""

    name: str  # of the corpus
    ids: tuple[str, ...]  # n
    groups: tuple[str, ...]  # n
    split: np.ndarray  # (n,)
    label: np.ndarray  # (n,) float32
    x: Mapping[str, np.ndarray]  # modality -> (n, d) float32
    present: np.ndarray  # (n, m) bool
    scaler: Scaler
    origin: Mapping[str, object] = field(default_factory=dict)  # variant, checksums, encoder

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.x)

    @property
    def dims(self) -> dict[str, int]:
        return {m: values.shape[1] for m, values in self.x.items()}

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split."""
        return np.flatnonzero(self.split == split)

    def only(self, modalities: Sequence[str]) -> "Features":
        """The same utterances with some of the modalities."""
        unknown = [m for m in modalities if m not in self.x]
        if unknown or not modalities:
            raise DataError(
                f"modalities {list(modalities)} asked for; {self.name} has {list(self.x)}"
            )
        columns = [self.modalities.index(m) for m in modalities]
        x = {m: self.x[m] for m in modalities}
        scaler = self.scaler.only(modalities)
        return replace(self, x=x, present=self.present[:, columns], scaler=scaler)

    def take(self, rows: np.ndarray) -> "Features":
        """The utterances `rows` (integers), in that order."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            groups=tuple(self.groups[i] for i in rows),
            split=self.split[rows],
            label=self.label[rows],
            x={m: values[rows] for m, values in self.x.items()},
            present=self.present[rows],
        )
