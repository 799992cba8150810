"""From a corpus to one vector a modality and utterance: frozen text states, pooled sequences.

Axes: n utterances, t frame, d feature, m modality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmlib import text
from mmlib.data import Corpus, DataError, Sequences

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
    """Standardised features of a corpus, ready for `mmlib.train`; `build` makes them."""

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


def pool(sequences: Sequences) -> np.ndarray:
    """Mean and standard deviation over the valid frames, (n, 2 d); (n, d) if no t exceeds 1.

    Neither padding nor a frame of zeros enters: trackers write zeros where they have lost the face
    or the voice. An utterance without a valid frame is 0.
    """
    valid = sequences.values.any(axis=1)  # (frames,)
    at = np.repeat(np.arange(len(sequences)), sequences.lengths)[valid]  # utterance of each frame
    values, lengths = sequences.values[valid], np.bincount(at, minlength=len(sequences))
    t = np.maximum(lengths, 1)[:, None]  # (n, 1)
    mean = _sum(values, lengths) / t  # (n, d)
    if sequences.lengths.max(initial=0) <= 1:
        return mean.astype(np.float32)
    sd = np.sqrt(_sum((values - mean.astype(np.float32)[at]) ** 2, lengths) / t)
    return np.concatenate([mean, sd], axis=1).astype(np.float32)


def _sum(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sums over each utterance's frames, (n, d) float64."""
    out = np.zeros((len(lengths), values.shape[1]))
    full = np.flatnonzero(lengths)  # reduceat cannot sum an empty stretch
    if len(full):
        starts = (np.cumsum(lengths) - lengths)[full]
        out[full] = np.add.reduceat(values, starts, axis=0, dtype=np.float64)
    return out


def raw(
    corpus: Corpus, modalities: Sequence[str], **encoder: object
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Unscaled features x[m] (n, d) and who has them, present (n, m); `encoder`: see `build`."""
    x, present = {}, np.ones((len(corpus), len(modalities)), dtype=bool)
    for i, m in enumerate(modalities):
        if m == "text" and corpus.text is not None:
            states = text.encode(corpus.text, **encoder)  # (n, d) or (n, l, d)
            x[m] = states.reshape(len(states), -1)
        else:
            x[m] = pool(corpus.sequences[m])
            present[:, i] = x[m].any(axis=1)  # without a valid frame all is zero
    return x, present


def build(
    corpus: Corpus,
    modalities: Sequence[str] | None = None,
    scaler: Scaler | None = None,
    **encoder: object,
) -> Features:
    """Features of the corpus' modalities (default: all of them), scaled by its training split.

    `scaler`: of another corpus, to apply a model trained there; the default is then its modalities.
    `encoder`: arguments of `mmlib.text.encode`; by default the mean-pooled states of all layers,
    end to end. DataError where a modality is not in the corpus, nobody in training has it, or its
    number of features is not the scaler's.
    """
    modalities = tuple(modalities or (scaler.mean if scaler else corpus.modalities))
    missing = [m for m in modalities if m not in corpus.modalities]
    if missing:
        raise DataError(
            f"{corpus.name} has no {', '.join(missing)}; it has {', '.join(corpus.modalities)}"
        )
    encoder = {"layers": "all", **encoder}
    x, present = raw(corpus, modalities, **encoder)
    scaler = scaler or Scaler.fit(x, present, corpus.rows("train"))
    x = scaler.apply(x, present)
    return Features(
        name=corpus.name,
        ids=corpus.ids,
        groups=corpus.groups,
        split=corpus.split,
        label=corpus.label,
        x=x,
        present=present,
        scaler=scaler,
        origin={
            "variant": corpus.variant,
            "checksums": dict(corpus.checksums),
            "encoder": encoder,
        },
    )
