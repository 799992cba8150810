"""Training small fusion models: all seeds, folds and settings of one shape as one stack.

Each member has random streams of its own (initial weights, order of batches, three kinds of
masks), a loss of its own and early stopping of its own, so a member's result does not depend on
who else is in the stack. Axes: s stack member, n utterances, b batch, m modality.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor

from mmlib import daf
from mmlib.daf import Fusion, Masks, Noise
from mmlib.features import Features, Scaler

BLOCK = 1024  # utterances a forward pass when predicting


@dataclass(frozen=True)
class Settings:
    """What a model is and how it learns. Members of one stack share `rule`, `shape`, `batch`."""

    rule: str = "daf"
    shape: Mapping[str, float] = field(default_factory=dict)  # e.g. width, scorer_width, rank
    lr: float = 3e-4
    fusion_lr: float = 3.0  # rate of the fusion rule's own parameters, as a multiple of lr
    weight_decay: float = 1e-2
    feature_dropout: float = 0.5
    dropout: float = 0.3
    modality_dropout: float = 0.0
    batch: int = 128
    epochs: int = 40
    patience: int = 8


class Streams(NamedTuple):
    """The independent random streams of one seed."""

    weights: np.random.Generator
    order: np.random.Generator
    features: np.random.Generator
    hidden: np.random.Generator
    modalities: np.random.Generator

    @classmethod
    def of(cls, seed: int) -> "Streams":
        parts = np.random.SeedSequence(seed).spawn(len(cls._fields))
        return cls(*(np.random.Generator(np.random.SFC64(part)) for part in parts))


class Member(NamedTuple):
    """One model of a stack."""

    settings: Settings
    seed: int
    train: np.ndarray  # row numbers
    valid: np.ndarray


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
    curves: dict[str, np.ndarray]  # "train", "valid": (epochs, s) mean absolute error
    scaler: Scaler

    def predict(self, features: Features) -> Prediction:
        """Scores and weights of every utterance; `features` as for training."""
        return predict(self.model, features)


def noise(members: Sequence[Member], streams: Sequence[Streams]) -> Noise:
    """The masks of a stack, each member at its own rates from its own streams."""

    def masks(stream: str, rate: str) -> Masks:
        rates = [getattr(member.settings, rate) for member in members]
        return Masks([getattr(own, stream) for own in streams], rates)

    return Noise(
        masks("features", "feature_dropout"),
        masks("hidden", "dropout"),
        masks("modalities", "modality_dropout"),
    )


def fit(
    features: Features,
    settings: Settings | Sequence[Settings],
    seeds: Sequence[int] = range(5),
    folds: int | None = None,
    device: str = "cpu",
    on_step: Callable[[int, Fusion], None] | None = None,
) -> Fit:
    """Train settings x folds x seeds as one stack, early stopping on the mean absolute error.

    Without `folds`, members learn on the split "train" and stop on "valid". With folds, those two
    splits are pooled and cut by group (video) into that many parts, each held out once; the test
    split is never read. `on_step(step, model)` is called after each update.
    ValueError where settings of different shape are stacked; FloatingPointError where a loss is
    not finite.
    """
    settings = [settings] if isinstance(settings, Settings) else list(settings)
    _same_shape(settings)
    splits = (
        _folds(features, folds) if folds else [(features.rows("train"), features.rows("valid"))]
    )
    members = [Member(one, seed, *rows) for one in settings for rows in splits for seed in seeds]
    streams = [Streams.of(member.seed) for member in members]
    model = daf.build(settings[0].rule, features.dims, len(members), **settings[0].shape)
    model.reset([own.weights for own in streams]).to(device)
    return _run(model, members, streams, features, device, on_step)


def _run(model, members, streams, features, device, on_step) -> Fit:
    x, present, label = tensors(features, device)
    optimizer = Optimizer(model, members)
    masks, best, step = noise(members, streams), _Best(model, members), 0
    for epoch in range(members[0].settings.epochs):
        losses = []
        for rows in _batches(members, streams):  # (s, b)
            out = model({m: v[rows] for m, v in x.items()}, present[rows], masks)
            loss = (out.score - label[rows]).abs().mean(dim=1)  # (s,)
            optimizer.step(loss.sum())
            losses.append(loss.detach())
            step += 1
            if on_step:
                on_step(step, model)
        best.see(epoch, torch.stack(losses).mean(0), _valid(model, members, x, present, label))
        if best.done:
            break
    model.load_state_dict(best.state)
    curves = {name: np.array(rows) for name, rows in best.curves.items()}
    return Fit(model, members, best.mae, best.epoch, curves, features.scaler)


def tensors(features: Features, device: str = "cpu") -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """x[m] (n, d), present (n, m) and label (n,) on a device."""
    x = {m: torch.as_tensor(values, device=device) for m, values in features.x.items()}
    return (
        x,
        torch.as_tensor(features.present, device=device),
        torch.as_tensor(np.array(features.label), device=device),
    )


def _same_shape(settings: list[Settings]) -> None:
    shapes = {(s.rule, str(s.shape), s.batch, s.epochs, s.patience) for s in settings}
    if len(shapes) != 1:
        raise ValueError(
            f"{len(shapes)} different shapes in one stack; rule, shape, batch, epochs and "
            "patience must agree: train the others in a call of their own"
        )


def _folds(features: Features, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out rows of each fold of train + valid, cut by group."""
    rows = np.concatenate([features.rows("train"), features.rows("valid")])
    groups = np.array(features.groups)[rows]
    return [(rows[a], rows[b]) for a, b in GroupKFold(k).split(rows, groups=groups)]


def _batches(members: Sequence[Member], streams: Sequence[Streams]):
    """Whole batches of an epoch, (s, b) row numbers; the remainder of each order is left out."""
    orders = [own.order.permutation(m.train) for m, own in zip(members, streams, strict=True)]
    n = min(len(order) for order in orders)
    batch = min(members[0].settings.batch, n)
    order = torch.from_numpy(np.stack([order[:n] for order in orders]))
    yield from order[:, : n - n % batch].split(batch, dim=1)


def _valid(model: Fusion, members: Sequence[Member], x, present, label) -> np.ndarray:
    """Mean absolute error of each member on its validation rows, (s,)."""
    longest = max(len(member.valid) for member in members)
    rows = torch.from_numpy(np.stack([np.resize(m.valid, longest) for m in members]))  # (s, n)
    counts = torch.tensor([[len(m.valid)] for m in members], device=label.device)
    real = torch.arange(longest, device=label.device) < counts  # np.resize repeats the first rows
    with torch.inference_mode():
        score = model({m: v[rows] for m, v in x.items()}, present[rows]).score
        error = (score - label[rows]).abs() * real
    return (error.sum(1) / counts[:, 0]).cpu().numpy()


class Optimizer:
    """AdamW with one learning rate and weight decay a member, by torch's fused kernel.

    Neighbouring members with equal settings share a slice of each parameter, so a stack of seeds
    costs the same kernel calls as one model.
    """

    def __init__(self, model: Fusion, members: Sequence[Member]) -> None:
        self.model, self.slices, groups = model, [], []
        own = {name for name, _ in model.fusion_parameters()}
        starts = [k for k in range(len(members)) if not k or _differ(members, k)]
        for first, last in zip(starts, [*starts[1:], len(members)], strict=True):
            at = members[first].settings
            for name, parameter in model.named_parameters():
                piece = parameter.detach()[first:last]
                self.slices.append((piece, parameter, slice(first, last)))
                rate = at.lr * (at.fusion_lr if name in own else 1)
                groups.append({"params": [piece], "lr": rate, "weight_decay": at.weight_decay})
        self.adamw = torch.optim.AdamW(groups, fused=True)

    def step(self, loss: Tensor) -> None:
        """One update from the sum of the members' losses; ValueError never, NaN stops."""
        if not torch.isfinite(loss):
            raise FloatingPointError("the loss is not finite: lower lr, or look at the passport")
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        for piece, parameter, part in self.slices:
            piece.grad = None if parameter.grad is None else parameter.grad[part]
        self.adamw.step()


def _differ(members: Sequence[Member], k: int) -> bool:
    a, b = members[k - 1].settings, members[k].settings
    return (a.lr, a.fusion_lr, a.weight_decay) != (b.lr, b.fusion_lr, b.weight_decay)


class _Best:
    """Each member's parameters at its lowest validation error, and who has run out of patience."""

    def __init__(self, model: Fusion, members: Sequence[Member]) -> None:
        self.model, self.patience = model, members[0].settings.patience
        self.state = {name: value.clone() for name, value in model.state_dict().items()}
        self.mae = np.full(len(members), np.inf)
        self.epoch = np.zeros(len(members), dtype=int)
        self.curves: dict[str, list] = {"train": [], "valid": []}
        self.done = False

    def see(self, epoch: int, train: Tensor, valid: np.ndarray) -> None:
        waited = epoch - self.epoch
        better = (valid < self.mae) & (waited <= self.patience)  # a stopped member stays stopped
        rows = torch.from_numpy(np.flatnonzero(better))
        for name, value in self.model.state_dict().items():
            self.state[name][rows] = value[rows]
        self.mae = np.where(better, valid, self.mae)
        self.epoch = np.where(better, epoch, self.epoch)
        self.curves["train"].append(train.cpu().numpy())
        self.curves["valid"].append(valid)
        self.done = bool((epoch - self.epoch >= self.patience).all())


def predict(model: Fusion, features: Features) -> Prediction:
    """Scores (s, n), weights (s, n, m) or None and opinions (s, n, m) of a stack."""
    device = model.head.bias.device
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
