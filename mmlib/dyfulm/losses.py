"""The three losses of DyFuLM and their weighting.

The paper mentions a dynamic loss but prints no formula: "uncertainty" and "dwa" are two well-known
methods that fit its words; "static" uses fixed weights.
Axes: s stack member, b batch, k class; the tasks are in the order of `TASKS`.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, huber_loss, mse_loss

from mmlib.data.targets import Targets
from mmlib.dyfulm.model import COARSE, FINE, Output
from mmlib.files import refuse_unknown

TASKS = ("coarse", "fine", "intensity")
HUBER = 0.1  # residual of the intensity, in [0, 1], above which Huber's loss is linear
REGRESSIONS = {"l2": mse_loss, "huber": partial(huber_loss, delta=HUBER)}
TEMPERATURE = 2.0  # of dynamic weight averaging, as chosen by its authors


class ClassWeights(NamedTuple):
    """A factor for each class's losses."""

    coarse: Tensor  # (3,)
    fine: Tensor  # (5,)

    @classmethod
    def balanced(cls, coarse: Tensor, fine: Tensor) -> "ClassWeights":
        """n / (k n_k) from the training labels (n,); a class that never occurs gets 0."""
        return cls(_balanced(coarse, COARSE), _balanced(fine, FINE))


def _balanced(labels: Tensor, k: int) -> Tensor:
    counts = labels.bincount(minlength=k)
    return torch.where(counts > 0, len(labels) / (k * counts.clamp(min=1)), 0)


def each(
    output: Output,
    targets: Targets,
    regression: str = "l2",
    class_weights: ClassWeights | None = None,
) -> Tensor:
    """Losses of each utterance, (s, 3, b): two cross-entropies and the L2 or Huber loss.

    targets: tensors (s, b). regression: "l2" or "huber"; ValueError for another value.
    """
    refuse_unknown("regression", [regression], REGRESSIONS)
    coarse = _cross_entropy(output.coarse, targets.coarse)
    fine = _cross_entropy(output.fine, targets.fine)
    if class_weights is not None:
        coarse = coarse * class_weights.coarse[targets.coarse]
        fine = fine * class_weights.fine[targets.fine]
    pair = output.intensity.float(), targets.intensity.float()
    return torch.stack([coarse, fine, REGRESSIONS[regression](*pair, reduction="none")], dim=1)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """(s, b, k), (s, b) -> (s, b), computed in float32 for logits of any dtype."""
    return cross_entropy(logits.float().movedim(-1, 1), classes, reduction="none")


def task_losses(output: Output, targets: Targets, **options: object) -> Tensor:
    """Mean losses of a batch, (s, 3); options: of `each`."""
    return each(output, targets, **options).mean(dim=-1)


def constant_losses(targets: Targets, **options: object) -> Tensor:
    """Mean losses (3,) if the class shares and mean intensity of `targets` (n,) are predicted.

    options: of `each`.
    """
    shares = (
        labels.bincount(minlength=k) / len(labels)
        for labels, k in ((targets.coarse, COARSE), (targets.fine, FINE))
    )
    coarse, fine = (p.clamp(min=1e-9).log().expand(1, len(targets.fine), -1) for p in shares)
    intensity = targets.intensity.mean().expand(1, len(targets.intensity))
    constant = Output(coarse, intensity, fine, None, None, None, None)
    here = Targets(*(values[None] for values in targets))
    return task_losses(constant, here, **options)[0]


class Static(nn.Module):
    """The sum of the losses with fixed weights; defines the interface of all weightings."""

    def __init__(self, s: int = 1) -> None:
        super().__init__()
        self.register_buffer("weights", torch.ones(s, len(TASKS)))  # the current weights

    def forward(self, losses: Tensor) -> Tensor:
        """The quantity to minimise, (s,), from the losses (s, 3)."""
        return (self.weights * losses).sum(dim=-1)

    def epoch_ends(self, losses: Tensor) -> None:
        """Called after each epoch with its mean training losses (s, 3)."""


class Uncertainty(nn.Module):
    """Homoscedastic uncertainty (Kendall et al. 2018): v = log sigma^2 of each task is learned.

    A cross-entropy L contributes exp(-v) L + v / 2, the regression exp(-v) L / 2 + v / 2. Adam's
    steps have the same size for all parameters, but v has to change by about 3 and weights by about
    .1. So v is 10 times its parameter; otherwise v would hardly change in a short training.
    """

    def __init__(self, s: int = 1) -> None:
        super().__init__()
        self.tenth = nn.Parameter(torch.zeros(s, len(TASKS)))

    @property
    def log_variance(self) -> Tensor:
        """v, (s, 3)."""
        return 10 * self.tenth

    @property
    def weights(self) -> Tensor:
        return torch.exp(-self.log_variance) * self.tenth.new_tensor([1, 1, 0.5])

    def forward(self, losses: Tensor) -> Tensor:
        return (self.weights * losses + self.log_variance / 2).sum(dim=-1)

    def epoch_ends(self, losses: Tensor) -> None:
        """Do nothing: v is updated by gradient descent."""


class DWA(Static):
    """Dynamic weight averaging (Liu et al. 2019): a loss that falls slowly gets more weight.

    With r the ratio of a task's losses in the last two epochs, the weights of the next epoch are
    3 softmax(r / 2) over the tasks; all weights are 1 in the first two epochs.
    """

    def __init__(self, s: int = 1) -> None:
        super().__init__(s)
        self.register_buffer("before", torch.full((s, len(TASKS)), torch.nan))

    def epoch_ends(self, losses: Tensor) -> None:
        ratio = (losses / self.before).nan_to_num(nan=1.0)
        self.weights = len(TASKS) * (ratio / TEMPERATURE).softmax(dim=-1)
        self.before = losses.detach().clone()


WEIGHTINGS = {"static": Static, "uncertainty": Uncertainty, "dwa": DWA}


def weighting(name: str, s: int = 1) -> nn.Module:
    """A weighting for s members; ValueError for an unknown name."""
    refuse_unknown("weighting", [name], WEIGHTINGS)
    return WEIGHTINGS[name](s)
