"""DyFuLM on frozen encoders: states computed once, fusion and heads trained in seconds.

`states` pools the tokens of every layer of two encoders (`mmlib.text.encoding`, with its cache);
`fit` trains all seeds, and settings of one shape, as one stack (`mmlib.stack.loop`). Axes: s stack
member, n utterances, b batch, l layer, d feature, h hidden.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmlib.data import Corpus, DataError
from mmlib.data.corpus import rows_of
from mmlib.data.targets import Targets as Labels
from mmlib.dyfulm import losses
from mmlib.dyfulm.losses import ClassWeights, Targets
from mmlib.dyfulm.model import DyFuLM, Noise, Output
from mmlib.stack import loop
from mmlib.stack.layers import Stacked
from mmlib.stack.loop import Member, OnStep, Streams
from mmlib.stack.vectors import Scaler
from mmlib.text import encoding

BLOCK = 1024  # utterances a forward pass when predicting
SHAPE = ("shape", "weighting", "regression", "class_weights", "batch", "epochs", "patience")


@dataclass(frozen=True)
class States:
    """Standardised pooled states of two encoders; `states` makes them."""

    name: str  # of the corpus
    ids: tuple[str, ...]  # n
    groups: tuple[str, ...]  # n
    split: np.ndarray  # (n,)
    a: np.ndarray  # (n, l, d) float32
    b: np.ndarray
    scaler: Scaler
    origin: Mapping[str, object] = field(default_factory=dict)  # variant, checksums, encoders

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def layers(self) -> tuple[int, int]:
        return self.a.shape[1], self.b.shape[1]

    @property
    def dims(self) -> tuple[int, int]:
        return self.a.shape[2], self.b.shape[2]

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split."""
        return np.flatnonzero(self.split == split)

    def take(self, rows: np.ndarray) -> "States":
        """The utterances `rows` (integers), in that order."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            groups=tuple(self.groups[i] for i in rows),
            split=self.split[rows],
            a=self.a[rows],
            b=self.b[rows],
        )


def states(
    corpus: Corpus, a: str | Path, b: str | Path, scaler: Scaler | None = None, **options: object
) -> States:
    """Pooled states of every layer of encoders `a` and `b`, scaled by the training split.

    options: of `mmlib.text.encoding.encode`, the same for both. scaler: of the states that a model
    was trained on, for another corpus. DataError where the corpus has no text, or the scaler is
    that of other encoders.
    """
    if corpus.text is None:
        raise DataError(f"{corpus.name} has no text; DyFuLM reads nothing else")
    options = {**options, "layers": "all"}
    x, parts, present = {}, [], np.ones((len(corpus), 1), dtype=bool)
    for name, encoder in (("a", a), ("b", b)):
        pooled = encoding.encode(corpus.text, encoder, **options)  # (n, l, d)
        flat = {name: pooled.reshape(len(pooled), -1)}  # each feature of each layer by itself
        parts.append(scaler or Scaler.fit(flat, present, corpus.rows("train")))
        x[name] = parts[-1].apply(flat, present)[name].reshape(pooled.shape)
    first, second = parts
    both = Scaler({**first.mean, **second.mean}, {**first.scale, **second.scale})
    origin = {"variant": corpus.variant, "checksums": dict(corpus.checksums)}
    origin["encoders"] = {"a": str(a), "b": str(b), **options}
    return States(
        corpus.name, corpus.ids, corpus.groups, corpus.split, **x, scaler=both, origin=origin
    )


@dataclass(frozen=True)
class Settings:
    """What a model is and how it learns."""

    shape: Mapping[str, object] = field(default_factory=dict)  # DyFuLM's: width, gate, ...
    weighting: str = "uncertainty"
    regression: str = "l2"
    class_weights: bool = False
    lr: float = 1e-3
    fusion_lr: float = 1.0  # rate of layer weights, gate and guidance, as a multiple of lr
    weight_decay: float = 1e-2
    feature_dropout: float = 0.5
    dropout: float = 0.3
    batch: int = 128
    epochs: int = 40
    patience: int = 6


class Learner(Stacked):
    """What is trained: a model and the weighting of its losses."""

    def __init__(self, model: DyFuLM, weighting: nn.Module) -> None:
        super().__init__()
        self.model, self.weighting = model, weighting

    def fusion_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((f"model.{name}", p) for name, p in self.model.fusion_parameters())


class Prediction(NamedTuple):
    """What a stack says of n utterances, as arrays; None where a module is off."""

    coarse: np.ndarray  # (s, n) classes
    fine: np.ndarray  # (s, n) classes
    intensity: np.ndarray  # (s, n), in (0, 1)
    p_coarse: np.ndarray  # (s, n, 3) probabilities
    p_fine: np.ndarray  # (s, n, 5)
    alpha_a: np.ndarray | None  # (s, n, l)
    alpha_b: np.ndarray | None
    gate: np.ndarray | None  # (s, n, h)
    guidance: np.ndarray | None  # (s, n, h)


@dataclass
class Fit:
    """A trained stack: every member at its best epoch on the validation rows."""

    model: DyFuLM
    members: list[Member]
    valid_loss: np.ndarray  # (s,), at the best epoch; 1 is a constant predictor
    best_epoch: np.ndarray  # (s,)
    curves: dict[str, np.ndarray]  # "train", "valid": losses (epochs, s, 3), as `TASKS`

    def predict(self, states: States) -> Prediction:
        """Classes, intensity and what led to them; `states` as for training."""
        return predict(self.model, states)


def fit(
    states: States,
    targets: Labels,
    settings: Settings | Sequence[Settings] = Settings(),
    seeds: Sequence[int] = range(5),
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Fit:
    """Train settings x seeds as one stack on the split "train", early stopping on "valid".

    A member stops by the mean over the tasks of its validation loss divided by that of the best
    constant: it has no favourite task, is the same for every weighting of the losses, and ties as
    accuracies have them do not occur. `targets`: coarse, fine and intensity of all n utterances,
    as `mmlib.data.targets` makes them; those of the test split are never read.
    `on_step(step, learner)` is called after each update; members that have stopped leave.
    ValueError where settings of different shape are stacked; DataError where a split is empty;
    FloatingPointError where a loss is not finite.
    """
    settings = [settings] if isinstance(settings, Settings) else list(settings)
    loop.same_shape(settings, SHAPE)
    rows = rows_of(states, ("train", "valid"))
    members = [Member(one, seed, *rows) for one in settings for seed in seeds]
    streams = [Streams.of(member.seed) for member in members]
    model = DyFuLM(states.dims, states.layers, s=len(members), **settings[0].shape)
    model.reset([own.weights for own in streams])
    learner = Learner(model, losses.weighting(settings[0].weighting, len(members))).to(device)
    task = _Data(states, targets, rows[0], settings[0], device)
    best = loop.run(task, learner, members, streams, on_step)
    return Fit(model, members, best.loss, best.epoch, best.curves)


def noise(members: Sequence[Member], streams: Sequence[Streams]) -> Noise:
    """The masks of a stack, each member at its own rates from its own streams."""
    return Noise(
        loop.masks(members, streams, "features", "feature_dropout"),
        loop.masks(members, streams, "hidden", "dropout"),
    )


class _Data(loop.Task):
    """States and targets on a device; each batch is gathered into the memory of the last one."""

    noise = staticmethod(noise)

    def __init__(
        self, states: States, targets: Labels, train: np.ndarray, settings: Settings, device
    ) -> None:
        self.x = {name: torch.as_tensor(getattr(states, name), device=device) for name in "ab"}
        self.memory = {name: x.new_empty(0) for name, x in self.x.items()}
        self.targets = as_tensors(targets, device)
        known = Targets(*(values[train] for values in self.targets))
        weights = ClassWeights.balanced(*known[:2]) if settings.class_weights else None
        self.options = {"regression": settings.regression, "class_weights": weights}
        self.constant = losses.constant_losses(known, **self.options).cpu().numpy()  # (3,)

    def gather(self, name: str, rows: Tensor) -> Tensor:
        """States (s, b, 1, l, d) of the rows (s, b)."""
        x, memory = self.x[name], self.memory[name].resize_(rows.numel(), *self.x[name].shape[1:])
        torch.index_select(x, 0, rows.flatten(), out=memory)
        return memory.view(*rows.shape, 1, *x.shape[1:])

    def losses(self, learner: Learner, rows: Tensor, noise: Noise | None = None) -> Tensor:
        """Losses of each utterance, (s, 3, b)."""
        rows = rows.to(self.targets.coarse.device)
        x = [self.gather(k, rows) if k in learner.model.fusion else None for k in "ab"]
        said = learner.model(*x, noise=noise)
        return losses.each(said, Targets(*(v[rows] for v in self.targets)), **self.options)

    def objective(self, learner: Learner, losses: Tensor) -> Tensor:
        return learner.weighting(losses)

    def criterion(self, losses: np.ndarray) -> np.ndarray:
        return (losses / self.constant).mean(axis=1)

    def epoch_ends(self, learner: Learner, losses: Tensor) -> None:
        learner.weighting.epoch_ends(losses)


def as_tensors(targets: Labels, device: str = "cpu") -> Targets:
    """Arrays coarse, fine and intensity (n,) as tensors on a device."""
    return Targets(*(torch.as_tensor(values, device=device) for values in targets))


def predict(model: DyFuLM, states: States) -> Prediction:
    """What a stack says of every utterance; ValueError for states of other encoders."""
    device, parts = model.fine.bias.device, []
    with torch.inference_mode():
        for at in range(0, len(states), BLOCK):
            block = (x[at : at + BLOCK, None] for x in (states.a, states.b))  # (b, 1, l, d)
            a, b = (torch.as_tensor(x, device=device) for x in block)
            said = model(*(x.expand(model.s, *x.shape) for x in (a, b)))
            parts.append(_arrays(said))
    columns = zip(*parts, strict=True)
    return Prediction(*(None if c[0] is None else np.concatenate(c, axis=1) for c in columns))


def _arrays(said: Output) -> Prediction:
    p_coarse, p_fine = said.coarse.softmax(dim=-1), said.fine.softmax(dim=-1)
    gate = None if said.gate is None else said.gate[:, :, 0]  # of the one position
    found = (p_coarse.argmax(-1), p_fine.argmax(-1), said.intensity, p_coarse, p_fine,
             said.alpha_a, said.alpha_b, gate, said.guidance)  # fmt: skip
    return Prediction(*(None if x is None else x.cpu().numpy() for x in found))
