"""DyFuLM on frozen encoders: states are computed once, fusion and heads are trained in seconds.

`states` pools the tokens of every layer of two encoders (`mmlib.text.encoding`, with its cache).
The rest is what DyFuLM adds to the training of a stack (`mmlib.stack.training`). Axes: s stack
member, n utterances, b batch, l layer, d feature, h hidden, k class.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmlib.data import Corpus, DataError
from mmlib.data.corpus import of_texts
from mmlib.data.targets import Targets, check_scale
from mmlib.dyfulm import losses
from mmlib.dyfulm.losses import ClassWeights
from mmlib.dyfulm.model import DyFuLM, Noise, Output
from mmlib.stack import task, training
from mmlib.stack.layers import Stacked
from mmlib.stack.loop import OnStep
from mmlib.stack.task import Member, noise
from mmlib.stack.training import Fit
from mmlib.stack.vectors import Features, Scaler
from mmlib.text import encoding

__all__ = ["Fit", "Learner", "Member", "Prediction", "Settings", "as_tensors", "fit", "noise"]
__all__ += ["predict", "select", "states"]
ENCODERS = ("a", "b")
log = logging.getLogger(__name__)


def states(
    corpus: Corpus, a: str | Path, b: str | Path, scaler: Scaler | None = None, **options: object
) -> Features:
    """Pooled states of every layer of encoders `a` and `b`, scaled by the training split.

    x["a"] and x["b"] are (n, l, d). options: of `mmlib.text.encoding.encode`, the same for both.
    scaler: that of a model's training states, to apply the model to another corpus. DataError if
    the corpus has no text or its labels too few classes to train on (both checked first), or if
    the scaler belongs to other encoders.
    """
    if corpus.text is None:
        raise DataError(f"{corpus.name} has no text; DyFuLM reads nothing else")
    if scaler is None:  # the states will be used for training
        check_scale(corpus)
    options = {**options, "layers": "all"}
    x, fitted, present = {}, Scaler({}, {}), np.ones((len(corpus), 2), dtype=bool)
    for name, encoder in zip(ENCODERS, (a, b), strict=True):
        pooled = {name: encoding.encode(corpus.text, encoder, **options)}  # (n, l, d)
        if pooled[name].shape[1] == 1:
            log.warning("encoder %s has one layer: layer fusion has nothing to fuse there", encoder)
        fitted |= scaler or Scaler.fit(pooled, present, corpus.rows("train"))
        x |= fitted.apply(pooled, present)
    encoders = {"a": str(a), "b": str(b), **options}
    return Features.of(corpus, x, present, fitted, encoders=encoders)


@dataclass(frozen=True)
class Settings(task.Settings):
    """Hyperparameters of a DyFuLM and of its training."""

    SHARED = ("weighting", "regression", "class_weights", *task.Settings.SHARED)

    shape: Mapping[str, object] = field(default_factory=dict)  # arguments of DyFuLM: width, ...
    weighting: str = "uncertainty"
    regression: str = "l2"
    class_weights: bool = False
    _: KW_ONLY
    lr: float = 1e-3
    dropout: float = 0.3
    epochs: int = 40
    patience: int = 6


class Learner(Stacked):
    """The module that is trained: a model, the weighting of its losses, and their options."""

    def __init__(self, model: DyFuLM, weighting: nn.Module, **options: object) -> None:
        super().__init__()
        self.model, self.weighting, self.options = model, weighting, options

    def reset(self, streams: Sequence[np.random.Generator]) -> "Learner":
        self.model.reset(streams)
        return self

    def fusion_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((f"model.{name}", p) for name, p in self.model.fusion_parameters())


class Prediction(NamedTuple):
    """A stack's predictions for n utterances, as arrays; None if the module is switched off."""

    coarse: np.ndarray  # (s, n) classes
    fine: np.ndarray  # (s, n) classes
    intensity: np.ndarray  # (s, n), in (0, 1)
    p_coarse: np.ndarray  # (s, n, 3) probabilities
    p_fine: np.ndarray  # (s, n, 5)
    alpha_a: np.ndarray | None  # (s, n, l)
    alpha_b: np.ndarray | None
    gate: np.ndarray | None  # (s, n, h)
    guidance: np.ndarray | None  # (s, n, h)


def predict(model: DyFuLM, states: Features) -> Prediction:
    """Classes, intensity, layer weights, gate, guidance; ValueError for other encoders' states."""
    return training.predict(model, states.only(ENCODERS), _output)


def _output(model: DyFuLM, x: Mapping[str, Tensor], present: Tensor) -> Prediction:
    output = model(*(x[name][:, :, None] for name in ENCODERS))  # (s, b, 1, l, d)
    p_coarse, p_fine = output.coarse.softmax(dim=-1), output.fine.softmax(dim=-1)
    gate = None if output.gate is None else output.gate[:, :, 0]  # t is 1: states are pooled
    return Prediction(
        p_coarse.argmax(-1), p_fine.argmax(-1), output.intensity, p_coarse, p_fine,
        output.alpha_a, output.alpha_b, gate, output.guidance,
    )  # fmt: skip


def as_tensors(targets: Targets, device: str = "cpu") -> Targets:
    """Arrays coarse, fine and intensity (n,) as tensors on a device."""
    return Targets(*(torch.as_tensor(values, device=device) for values in targets))


def read_texts(texts: Sequence[str], seen: Features) -> Features:
    """States of new texts, made as `seen` were; DataError unless `seen` is of both encoders."""
    how = dict(seen.origin.get("encoders", {}))
    if seen.modalities != ENCODERS or not how:
        read = ", ".join(seen.modalities)
        raise DataError(f"the model reads {read} of {seen.name}; train one on frozen.states")
    return states(of_texts(texts), how.pop("a"), how.pop("b"), seen.scaler, **how)


class Task(task.Task):
    """A DyFuLM and the weighting of its losses, on frozen states."""

    predict = staticmethod(predict)
    read_texts = staticmethod(read_texts)

    def __init__(
        self,
        states: Features,
        targets: Targets,
        settings: Settings | Sequence[Settings],
        device: str = "cpu",
    ) -> None:
        super().__init__(states, settings, device)
        self.targets = as_tensors(targets, device)

    def create(self, members: Sequence[Member]) -> Learner:
        rows = np.unique(np.concatenate([member.train for member in members]))
        self._know(self.targets.take(rows))
        s = len(members)
        return Learner(self.model(s), losses.weighting(self.settings.weighting, s), **self.options)

    def model(self, s: int) -> DyFuLM:
        """A stack of s models for these features."""
        layers, dims = zip(*(x.shape[1:] for x in self.x.values()), strict=True)
        return DyFuLM(dims, layers, s=s, **self.settings.shape)

    def _know(self, known: Targets) -> None:
        """Compute class weights and the best constant's losses, from all members' training rows."""
        balanced = ClassWeights.balanced(*known[:2]) if self.settings.class_weights else None
        self.options = {"regression": self.settings.regression, "class_weights": balanced}
        self.constant = losses.constant_losses(known, **self.options).cpu().numpy()  # (3,)
        for name in np.array(losses.TASKS)[self.constant == 0]:
            raise DataError(f"{name} is the same for all training utterances; use more of them")

    def trained(self, learner: Learner) -> DyFuLM:
        return learner.model

    def losses(self, learner: Learner, rows: Tensor, noise: Noise | None = None) -> Tensor:
        """Losses of each utterance, (s, 3, b)."""
        output = self.output(learner.model, rows, noise)
        return losses.each(output, self.targets.take(rows), **self.options)

    def output(self, model: DyFuLM, rows: Tensor, noise: Noise | None) -> Output:
        """The model's output for `rows` (s, b)."""
        x = [self.gather(k, rows)[:, :, None] if k in model.fusion else None for k in ENCODERS]
        return model(*x, noise=noise)

    def objective(self, learner: Learner, losses: Tensor) -> Tensor:
        return learner.weighting(losses)

    def criterion(self, losses: np.ndarray) -> np.ndarray:
        return (losses / self.constant).mean(axis=1)

    def epoch_ends(self, learner: Learner, losses: Tensor) -> None:
        learner.weighting.epoch_ends(losses)


def fit(
    states: Features,
    targets: Targets,
    settings: Settings | Sequence[Settings] = Settings(),
    seeds: Sequence[int] = range(5),
    device: str = "cpu",
    on_step: OnStep | None = None,
    folds: int | None = None,
) -> Fit:
    """Train settings x folds x seeds as one stack; see `mmlib.stack.training.fit`.

    The early-stopping criterion is the validation loss divided by that of the best constant, mean
    over the tasks: 1 is the constant. It favours no task, does not depend on the weighting of the
    losses and, unlike accuracy, has no ties. `targets`: coarse, fine and intensity of all n
    utterances, from `mmlib.data.targets`. `curves` has the losses in the order of `TASKS`.
    ValueError if the settings have different shapes; DataError if a target is constant.
    """
    learned = Task(states.only(ENCODERS), targets, settings, device)
    return training.fit(learned, seeds, folds, on_step)


def select(
    states: Features,
    targets: Targets,
    settings: Sequence[Settings],
    folds: int = 5,
    seeds: Sequence[int] = (0,),
) -> tuple[Settings, np.ndarray]:
    """The settings with the lowest cross-validated criterion, and all candidates' criteria (c,)."""
    return training.select(Task(states.only(ENCODERS), targets, settings), folds, seeds)
