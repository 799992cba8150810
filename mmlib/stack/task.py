"""What a stack learns: settings, members with their random streams, data, losses.

Each paper has its subclass of `Task`. Axes: s stack member, b batch, n utterances, k loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmlib.stack.layers import Masks, Noise, Stacked
from mmlib.stack.vectors import Features

RATES = {"features": "feature_dropout", "hidden": "dropout", "modalities": "modality_dropout"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Hyperparameters of training; a subclass adds those of the model, including its `shape`.

    ValueError, one line, for a size not above 0, or a learning rate or decay not in [0, inf).
    """

    SHARED: ClassVar = ("shape", "batch", "epochs", "patience")  # the same for a whole stack

    lr: float
    fusion_lr: float = 1.0  # learning rate of the fusion's own parameters, as a multiple of lr
    weight_decay: float = 1e-2
    feature_dropout: float = 0.5
    dropout: float
    batch: int = 128
    epochs: int
    patience: int

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("batch", "epochs", "patience")}
        sizes |= {name: v for name, v in self.shape.items() if not isinstance(v, str | bool)}
        for name, value in sizes.items():
            if not value > 0:
                raise ValueError(f"{name}={value}: no training is possible; give more than 0")
        for name in ("lr", "fusion_lr", "weight_decay"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}={getattr(self, name)} is not a rate; give 0 or more")


def same_shape(settings: Sequence[Any], fields: Sequence[str]) -> None:
    """ValueError unless the settings agree in `fields`, as members of one stack must."""
    shapes = {str([getattr(candidate, name) for name in fields]) for candidate in settings}
    if len(shapes) != 1:
        raise ValueError(
            f"{len(shapes)} different shapes in one stack; {', '.join(fields[:-1])} and "
            f"{fields[-1]} must agree: train the others in a call of their own"
        )


class Streams(NamedTuple):
    """The independent random streams of one seed; a model uses the ones that it needs."""

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


def noise(members: Sequence[Member], streams: Sequence[Streams]) -> Noise:
    """The dropout masks of a stack; each member has its own rates and its own random streams."""
    masks = {}
    for stream, rate in RATES.items():
        if hasattr(members[0].settings, rate):
            rates = [getattr(member.settings, rate) for member in members]
            masks[stream] = Masks([getattr(own, stream) for own in streams], rates)
    return Noise(**masks)


class Task:
    """What a stack learns, from which features, on which device."""

    predict: Callable[[Any, Features], Any]  # (trained model, features) -> prediction
    read_texts: Callable[[Sequence[str], Features], Features]  # (texts, training features)

    def __init__(
        self, features: Features, settings: Settings | Sequence[Settings], device: str = "cpu"
    ) -> None:
        """ValueError if there are no settings, or if they differ in what a stack must share."""
        self.candidates = [settings] if isinstance(settings, Settings) else list(settings)
        if not self.candidates:
            raise ValueError("no settings to train with; pass one or more")
        self.settings = self.candidates[0]  # read for values that all members share
        same_shape(self.candidates, self.settings.SHARED)
        self.features, self.device = features, device
        self.x = {m: torch.as_tensor(values, device=device) for m, values in features.x.items()}
        self.memory = {m: values.new_empty(0) for m, values in self.x.items()}

    def gather(self, name: str, rows: Tensor) -> Tensor:
        """x[name] at `rows` (s, b), as (s, b, ...); overwrites the memory of the last batch."""
        x = self.x[name]
        memory = self.memory[name].resize_(rows.numel(), *x.shape[1:])
        torch.index_select(x, 0, rows.flatten(), out=memory)
        return memory.view(*rows.shape, *x.shape[1:])

    def create(self, members: Sequence[Member]) -> Stacked:
        """The learner, i.e. the module that is optimized; its initial weights are not drawn yet."""
        raise NotImplementedError

    def trained(self, learner: Any) -> Any:
        """The part of the learner that is kept after training, for `predict`."""
        return learner

    def losses(self, learner: Any, rows: Tensor, noise: Noise | None = None) -> Tensor:
        """k losses of each utterance in `rows` (s, b), as (s, k, b); no noise in validation."""
        raise NotImplementedError

    def objective(self, learner: Any, losses: Tensor) -> Tensor:
        """The quantity that is minimised, (s,), from a batch's mean losses (s, k)."""
        return losses[:, 0]

    def criterion(self, losses: np.ndarray) -> np.ndarray:
        """The early-stopping criterion, (s,), from the mean validation losses (s, k)."""
        return losses[:, 0]

    def epoch_ends(self, learner: Any, losses: Tensor) -> None:
        """Called after each epoch with its mean training losses (s, k)."""
