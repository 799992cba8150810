"""Training small fusion models: all seeds, folds and settings of one shape as one stack.

Each member has random streams of its own (initial weights, order of batches, three kinds of
masks), a loss of its own and early stopping of its own, so a member's result does not depend on
which seeds and settings share its stack. Axes: s stack member, n utterances, b batch, m modality.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor

from mmlib import daf
from mmlib.daf import Fusion, Noise
from mmlib.data import DataError
from mmlib.features import Features, Scaler
from mmlib.stack import Masks

BLOCK = 1024  # utterances a forward pass when predicting


@dataclass(frozen=True)
class Settings:
    """What a model is and how it learns. Members of one stack share `rule`, `shape`, `batch`."""

    rule: str = "daf"
    shape: Mapping[str, float] = field(default_factory=dict)  # e.g. width, scorer_width, rank
    lr: float = 3e-4
    fusion_lr: float = 1.0  # rate of the fusion rule's own parameters, as a multiple of lr
    weight_decay: float = 1e-2
    feature_dropout: float = 0.5
    dropout: float = 0.1
    modality_dropout: float = 0.0
    batch: int = 128
    epochs: int = 60
    patience: int = 10


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
    curves: dict[str, np.ndarray]  # "train", "valid": MAE (epochs, s), constant once stopped
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
    splits are pooled and cut by group (video) into that many parts, each held out once; an epoch
    then has as many whole batches as the smallest fold fills. The test split is never read.
    `on_step(step, model)` is called after each update; members that have stopped leave the model.
    ValueError where settings of different shape are stacked, or a split is empty;
    FloatingPointError where a loss is not finite.
    """
    settings = [settings] if isinstance(settings, Settings) else list(settings)
    _same_shape(settings)
    splits = _folds(features, folds) if folds else [_rows(features, ("train", "valid"))]
    members = [Member(one, seed, *rows) for one in settings for rows in splits for seed in seeds]
    streams = [Streams.of(member.seed) for member in members]
    model = daf.build(settings[0].rule, features.dims, len(members), **settings[0].shape)
    model.reset([own.weights for own in streams]).to(device)
    return _run(model, members, streams, features, device, on_step)


def _run(model, members, streams, features, device, on_step) -> Fit:
    data, best, step = _Data(features, device), _Best(model, members), 0
    optimizer, running = Optimizer(model, members), np.arange(len(members))
    n = min(len(member.train) for member in members)
    for epoch in range(members[0].settings.epochs):
        here, own = [members[k] for k in running], [streams[k] for k in running]
        masks, losses = noise(here, own), []
        for rows in _batches(here, own, n):  # (s, b)
            x, present, label = data[rows]
            loss = (model(x, present, masks).score - label).abs().mean(dim=1)  # (s,)
            optimizer.step(loss.sum())
            losses.append(loss.detach())
            step += 1
            if on_step:
                on_step(step, model)
        best.see(epoch, running, torch.stack(losses).mean(0), _valid(model, here, data))
        running, before = best.running(epoch), running
        if not len(running):
            break
        if len(running) < len(before):
            optimizer.keep(np.searchsorted(before, running))
    model.replace(best.state)
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


class _Data:
    """Features on a device; each batch is gathered into the memory of the last one."""

    def __init__(self, features: Features, device: str) -> None:
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


def _same_shape(settings: list[Settings]) -> None:
    shapes = {(s.rule, str(s.shape), s.batch, s.epochs, s.patience) for s in settings}
    if len(shapes) != 1:
        raise ValueError(
            f"{len(shapes)} different shapes in one stack; rule, shape, batch, epochs and "
            "patience must agree: train the others in a call of their own"
        )


def _rows(features: Features, splits: Sequence[str]) -> list[np.ndarray]:
    """Row numbers of each split; DataError where one is empty."""
    rows = [features.rows(split) for split in splits]
    for split, found in zip(splits, rows, strict=True):
        if not len(found):
            raise DataError(f"{features.name} has no utterance in split {split}; training needs it")
    return rows


def _folds(features: Features, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out rows of each fold of train + valid, cut by group."""
    rows = np.concatenate(_rows(features, ("train", "valid")))
    groups = np.array(features.groups)[rows]
    return [(rows[a], rows[b]) for a, b in GroupKFold(k).split(rows, groups=groups)]


def _batches(members: Sequence[Member], streams: Sequence[Streams], n: int):
    """Whole batches of an epoch of n rows, (s, b) row numbers; the rest of an order is left out."""
    orders = [own.order.permutation(m.train) for m, own in zip(members, streams, strict=True)]
    batch = min(members[0].settings.batch, n)
    order = torch.from_numpy(np.stack([order[: n - n % batch] for order in orders]))
    yield from order.split(batch, dim=1)


def _valid(model: Fusion, members: Sequence[Member], data: _Data) -> np.ndarray:
    """Mean absolute error of each member on its validation rows, (s,)."""
    longest = max(len(member.valid) for member in members)
    rows = torch.from_numpy(np.stack([np.resize(m.valid, longest) for m in members]))  # (s, n)
    counts = np.array([[len(member.valid)] for member in members])  # (s, 1)
    errors = []
    with torch.inference_mode():
        for part in rows.split(members[0].settings.batch, dim=1):  # (s, b)
            x, present, label = data[part]
            errors.append((model(x, present).score - label).abs())
    error = torch.cat(errors, dim=1).cpu().numpy()  # (s, n)
    real = np.arange(longest) < counts  # np.resize repeats the first rows
    return (error * real).sum(axis=1) / counts[:, 0]


class Optimizer:
    """AdamW with one learning rate and weight decay a member, by torch's fused kernel.

    Neighbouring members with equal settings share a slice of each parameter, so a stack of seeds
    costs the same kernel calls as one model.
    """

    def __init__(self, model: Fusion, members: Sequence[Member]) -> None:
        self.model, self.slices, groups = model, [], []
        own = dict(model.fusion_parameters())
        rest = {name: p for name, p in model.named_parameters() if name not in own}
        starts = [k for k in range(len(members)) if not k or _differ(members, k)]
        for first, last in zip(starts, [*starts[1:], len(members)], strict=True):
            at = members[first].settings
            for parameters, rate in ((rest, at.lr), (own, at.lr * at.fusion_lr)):
                part = [
                    _Slice(n, first, last, p.detach()[first:last]) for n, p in parameters.items()
                ]
                self.slices += part
                values = [one.values for one in part]
                groups.append({"params": values, "lr": rate, "weight_decay": at.weight_decay})
        self.adamw = torch.optim.AdamW(groups, fused=True)

    def step(self, loss: Tensor) -> None:
        """One update from the sum of the members' losses; FloatingPointError if not finite."""
        if not torch.isfinite(loss):
            raise FloatingPointError("the loss is not finite: lower lr, or look at the passport")
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        parameters = dict(self.model.named_parameters())
        for one in self.slices:
            one.values.grad = parameters[one.name].grad[one.first : one.last]
        self.adamw.step()

    def keep(self, rows: np.ndarray) -> None:
        """Go on with the members `rows` (ascending) of the stack; the others leave the model."""
        self.model.replace({n: p.detach()[rows] for n, p in self.model.named_parameters()})
        parameters = dict(self.model.named_parameters())
        for one in self.slices:
            first, last = np.searchsorted(rows, (one.first, one.last))
            moments, within = self.adamw.state[one.values], rows[first:last] - one.first
            moments |= {name: moments[name][within] for name in ("exp_avg", "exp_avg_sq")}
            one.first, one.last, one.values.grad = first, last, None
            one.values.data = parameters[one.name].detach()[first:last]


@dataclass
class _Slice:
    """The part of a parameter that belongs to neighbouring members."""

    name: str
    first: int
    last: int
    values: Tensor  # (last - first, ...), in the parameter's memory


def _differ(members: Sequence[Member], k: int) -> bool:
    a, b = members[k - 1].settings, members[k].settings
    return (a.lr, a.fusion_lr, a.weight_decay) != (b.lr, b.fusion_lr, b.weight_decay)


class _Best:
    """Each member's parameters at its lowest validation error, and who has patience left."""

    def __init__(self, model: Fusion, members: Sequence[Member]) -> None:
        self.model, self.patience = model, members[0].settings.patience
        self.state = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.mae = np.full(len(members), np.inf)
        self.epoch = np.zeros(len(members), dtype=int)
        self.now = {name: np.full(len(members), np.nan) for name in ("train", "valid")}
        self.curves: dict[str, list] = {name: [] for name in self.now}

    def see(self, epoch: int, running: np.ndarray, train: Tensor, valid: np.ndarray) -> None:
        """Errors (s,) of the members `running`, those that are in the model, after an epoch."""
        better = valid < self.mae[running]
        at = running[better]
        for name, parameter in self.model.named_parameters():
            self.state[name][at] = parameter.detach()[better]
        self.mae[at], self.epoch[at] = valid[better], epoch
        for name, values in (("train", train.cpu().numpy()), ("valid", valid)):
            self.now[name][running] = values
            self.curves[name].append(self.now[name].copy())

    def running(self, epoch: int) -> np.ndarray:
        """Members whose best epoch is less than `patience` epochs ago."""
        return np.flatnonzero(epoch - self.epoch < self.patience)


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
