"""Training of fusion models: what DAF adds to the training of a stack (`mmlib.stack.training`).

The label is one number, the sentiment. The training loss is smooth L1; early stopping uses the
absolute error. Axes: s stack member, n utterances, b batch, m modality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from mmlib.daf import fusion
from mmlib.daf.features import build
from mmlib.daf.fusion import Fusion, Noise
from mmlib.data import DataError
from mmlib.data.corpus import of_texts
from mmlib.stack import task, training
from mmlib.stack.loop import OnStep
from mmlib.stack.task import Member, Streams, noise
from mmlib.stack.training import Fit
from mmlib.stack.vectors import Features

__all__ = ["Fit", "Member", "Prediction", "Settings", "Streams", "error", "fit", "noise", "predict"]
__all__ += ["select", "tensors"]


@dataclass(frozen=True)
class Settings(task.Settings):
    """Hyperparameters of a fusion model and of its training."""

    SHARED = ("rule", "corner", *task.Settings.SHARED)

    rule: str = "daf"
    shape: Mapping[str, float] = field(default_factory=dict)  # e.g. width, scorer_width, rank
    _: KW_ONLY
    lr: float = 3e-4
    dropout: float = 0.1
    modality_dropout: float = 0.0
    corner: float = 0.5  # smooth L1: errors below this are quadratic; 0 gives the absolute error
    epochs: int = 60
    patience: int = 10


def error(score: Tensor, label: Tensor, corner: float) -> Tensor:
    """The training loss of each score: smooth L1 of the error e.

    e^2 / (2 corner) if |e| < corner, else |e| - corner / 2. With the plain absolute error, rounding
    in the last bit can flip the sign of the gradient of a well-predicted utterance; after some
    hundred steps, two machines would then have different models.
    """
    return smooth_l1_loss(score, label, beta=corner, reduction="none")


class Prediction(NamedTuple):
    """What a stack predicts for n utterances, as arrays."""

    score: np.ndarray  # (s, n)
    weights: np.ndarray | None  # (s, n, m); None if the rule has no such weights
    opinions: np.ndarray  # (s, n, m)


def predict(model: Fusion, features: Features) -> Prediction:
    """Scores (s, n), weights (s, n, m) or None, and opinions (s, n, m) of a stack.

    Modalities that the model does not have are ignored. DataError if one of the model's modalities
    is missing or has another number of features.
    """
    features = features.only(model.modalities)
    if features.dims != model.dims:
        raise DataError(
            f"{features.name} has features {features.dims}, the model was trained on {model.dims}; "
            "use the same data format and encoder"
        )
    return training.predict(model, features, lambda model, *x: Prediction(*model(*x)))


def read_texts(texts: Sequence[str], seen: Features) -> Features:
    """Features of new texts, made as `seen` were; DataError unless `seen` is of text alone."""
    how = seen.origin.get("encoder")
    if seen.modalities != ("text",) or not how:
        read = ", ".join(seen.modalities)
        raise DataError(f"the model reads {read} of {seen.name}; train one on texts: "
                        'features.build(corpus, ["text"])')  # fmt: skip
    return build(of_texts(texts), ["text"], seen.scaler, **how)


class _Task(task.Task):
    predict = staticmethod(predict)
    read_texts = staticmethod(read_texts)

    def __init__(self, features: Features, settings: Settings | Sequence[Settings], device: str):
        super().__init__(features, settings, device)
        self.present = torch.as_tensor(features.present, device=device)
        self.label = torch.as_tensor(np.array(features.label), device=device)

    def create(self, members: Sequence[Member]) -> Fusion:
        shape = self.settings.shape
        return fusion.create(self.settings.rule, self.features.dims, len(members), **shape)

    def losses(self, model: Fusion, rows: Tensor, noise: Noise | None = None) -> Tensor:
        """The training loss `error`; without noise (validation) the absolute error, (s, 1, b)."""
        x = {m: self.gather(m, rows) for m in self.x}
        score = model(x, self.present[rows], noise).score
        return error(score, self.label[rows], self.settings.corner if noise else 0)[:, None]


def tensors(features: Features, device: str = "cpu") -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """x[m] (n, d), present (n, m) and label (n,) on a device."""
    data = _Task(features, Settings(), device)
    return data.x, data.present, data.label


def fit(
    features: Features,
    settings: Settings | Sequence[Settings],
    seeds: Sequence[int] = range(5),
    folds: int | None = None,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Fit:
    """Train settings x folds x seeds as one stack; see `mmlib.stack.training.fit`.

    `valid_loss` is the mean absolute error. ValueError if shapes differ or a rule is unknown.
    """
    return training.fit(_Task(features, settings, device), seeds, folds, on_step)


def select(
    features: Features, settings: Sequence[Settings], folds: int = 5, seeds: Sequence[int] = (0,)
) -> tuple[Settings, np.ndarray]:
    """The settings with the lowest cross-validated error, and every candidate's error (c,)."""
    return training.select(_Task(features, settings, "cpu"), folds, seeds)
