"""Training small fusion models: all seeds, folds and settings of one shape as one stack.

Each member has random streams of its own (initial weights, order of batches, three kinds of masks),
a loss of its own and early stopping of its own (`mmlib.stack.loop`), so a member's result does not
depend on which seeds and settings share its stack. Axes: s stack member, n utterances, b batch, m
modality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from mmlib.daf import fusion
from mmlib.daf.fusion import Fusion, Noise
from mmlib.data import DataError
from mmlib.data.corpus import rows_of
from mmlib.stack import loop
from mmlib.stack.loop import Member, OnStep, Streams
from mmlib.stack.vectors import Features, Scaler

BLOCK = 1024  # utterances a forward pass when predicting
SHAPE = (
    "rule",
    "shape",
    "corner",
    "batch",
    "epochs",
    "patience",
)  # what members of one stack share


@dataclass(frozen=True)
class Settings:
    """What a model is and how it learns."""

    rule: str = "daf"
    shape: Mapping[str, float] = field(default_factory=dict)  # e.g. width, scorer_width, rank
    lr: float = 3e-4
    fusion_lr: float = 1.0  # rate of the fusion rule's own parameters, as a multiple of lr
    weight_decay: float = 1e-2
    feature_dropout: float = 0.5
    dropout: float = 0.1
    modality_dropout: float = 0.0
    corner: float = 0.5  # errors below it count quadratically (smooth L1); 0: the absolute error
    batch: int = 128
    epochs: int = 60
    patience: int = 10


def error(score: Tensor, label: Tensor, corner: float) -> Tensor:
    """The training loss of each score: its absolute error with a rounded corner.

    |e| - corner / 2, and e^2 / (2 corner) where |e| < corner. At a sharp corner the gradient of an
    utterance that is predicted well changes its sign with the last bit of its features, and after
    some hundred steps two machines have trained two models.
    """
    return smooth_l1_loss(score, label, beta=corner, reduction="none")


class Prediction(NamedTuple):
    """What a stack says of n utterances, as arrays."""

    score: np.ndarray  # (s, n)
    weights: np.ndarray | None  # (s, n, m)
    opinions: np.ndarray  # (s, n, m)


@dataclass
class Fit:
    """A trained stack: every member at its best epoch on its own validation rows."""

    model: Fusion
    members: list[Member]
    valid_mae: np.ndarray  # (s,), at the best epoch
    best_epoch: np.ndarray  # (s,)
    curves: dict[str, np.ndarray]  # "train": loss, "valid": MAE; (epochs, s), constant once stopped
    scaler: Scaler

    def predict(self, features: Features) -> Prediction:
        """Scores and weights of every utterance; `features` as for training."""
        return predict(self.model, features)


def noise(members: Sequence[Member], streams: Sequence[Streams]) -> Noise:
    """The masks of a stack, each member at its own rates from its own streams."""
    return Noise(
        loop.masks(members, streams, "features", "feature_dropout"),
        loop.masks(members, streams, "hidden", "dropout"),
        loop.masks(members, streams, "modalities", "modality_dropout"),
    )


def fit(
    features: Features,
    settings: Settings | Sequence[Settings],
    seeds: Sequence[int] = range(5),
    folds: int | None = None,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Fit:
    """Train settings x folds x seeds as one stack, early stopping on the mean absolute error.

    Without `folds`, members learn on the split "train" and stop on "valid". With folds, those two
    splits are pooled and cut by group (video) into that many parts, each held out once; an epoch
    then has as many whole batches as the smallest fold fills. The test split is never read.
    `on_step(step, model)` is called after each update; members that have stopped leave the model.
    ValueError where settings of different shape are stacked, or a split is empty;
    FloatingPointError where a loss is not finite.
    """
    settings = [settings] if isinstance(settings, Settings) else list(settings)
    loop.same_shape(settings, SHAPE)
    splits = _folds(features, folds) if folds else [rows_of(features, ("train", "valid"))]
    members = [Member(one, seed, *rows) for one in settings for rows in splits for seed in seeds]
    streams = [Streams.of(member.seed) for member in members]
    model = fusion.create(settings[0].rule, features.dims, len(members), **settings[0].shape)
    model.reset([own.weights for own in streams]).to(device)
    best = loop.run(_Data(features, settings[0].corner, device), model, members, streams, on_step)
    curves = {name: losses[..., 0] for name, losses in best.curves.items()}
    return Fit(model, members, best.loss, best.epoch, curves, features.scaler)


def tensors(features: Features, device: str = "cpu") -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """x[m] (n, d), present (n, m) and label (n,) on a device."""
    x = {m: torch.as_tensor(values, device=device) for m, values in features.x.items()}
    return (
        x,
        torch.as_tensor(features.present, device=device),
        torch.as_tensor(np.array(features.label), device=device),
    )


class _Data(loop.Task):
    """Features on a device; each batch is gathered into the memory of the last one."""

    noise = staticmethod(noise)

    def __init__(self, features: Features, corner: float, device: str) -> None:
        self.corner = corner
        self.x, self.present, self.label = tensors(features, device)
        self.memory = {m: v.new_empty(0) for m, v in self.x.items()}

    def __getitem__(self, rows: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """x[m] (s, b, d), present (s, b, m) and label (s, b) of the rows (s, b)."""
        rows = rows.to(self.label.device)
        for m, values in self.x.items():
            self.memory[m].resize_(rows.numel(), values.shape[1])
            torch.index_select(values, 0, rows.flatten(), out=self.memory[m])
        x = {m: v.view(*rows.shape, -1) for m, v in self.memory.items()}
        return x, self.present[rows], self.label[rows]

    def losses(self, model: Fusion, rows: Tensor, noise: Noise | None = None) -> Tensor:
        """`error` while training, absolute errors when validating, (s, 1, b)."""
        x, present, label = self[rows]
        corner = self.corner if noise else 0
        return error(model(x, present, noise).score, label, corner)[:, None]


def _folds(features: Features, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out rows of each fold of train + valid, cut by group."""
    rows = np.concatenate(rows_of(features, ("train", "valid")))
    groups = np.array(features.groups)[rows]
    return [(rows[a], rows[b]) for a, b in GroupKFold(k).split(rows, groups=groups)]


def predict(model: Fusion, features: Features) -> Prediction:
    """Scores (s, n), weights (s, n, m) or None and opinions (s, n, m) of a stack.

    Of the features' modalities those of the model are used. DataError where one is missing or has
    another number of features.
    """
    features, device = features.only(model.modalities), model.head.bias.device
    if features.dims != model.dims:
        raise DataError(
            f"{features.name} has features {features.dims}, the model was trained on {model.dims}; "
            "use the same data format and encoder"
        )
    x, present, _ = tensors(features, device)
    parts = []
    with torch.inference_mode():
        for rows in torch.arange(len(features), device=device).split(BLOCK):
            shared = {m: v[rows].expand(model.s, -1, -1) for m, v in x.items()}
            parts.append(model(shared, present[rows].expand(model.s, -1, -1)))
    columns = zip(*parts, strict=True)
    return Prediction(*(None if c[0] is None else torch.cat(c, 1).cpu().numpy() for c in columns))


def select(
    features: Features, settings: Sequence[Settings], folds: int = 5, seeds: Sequence[int] = (0,)
) -> tuple[Settings, np.ndarray]:
    """The settings with the lowest cross-validated error, and every candidate's error.

    Folds are cut by video from train and valid; the test split is not read. All candidates, folds
    and seeds train as one stack.
    """
    fitted = fit(features, settings, seeds, folds)
    errors = fitted.valid_mae.reshape(len(settings), -1).mean(axis=1)  # (candidates,)
    return settings[int(errors.argmin())], errors
