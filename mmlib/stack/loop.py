"""The training loop of a stack; each member has its own order, masks, rates and early stopping.

A `Task` defines what is learned; the loop knows nothing else about the model. Up to 1e-6, a
member's result does not depend on the other members; a member that has stopped leaves the stack.
Axes: s stack member, b batch, n utterances, k loss.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlib.stack.layers import Stacked
from mmlib.stack.task import Member, Streams, Task, noise

# AdamW divides a gradient by its own magnitude + EPS. With torch's 1e-8, a gradient that is zero
# up to rounding error moves its weight by up to the learning rate, in an arbitrary direction.
EPS = 1e-6

OnStep = Callable[[int, Any], None]  # (number of updates so far, the model)


def run(
    task: Task,
    model: Stacked,
    members: Sequence[Member],
    streams: Sequence[Streams],
    on_step: OnStep | None = None,
) -> "Best":
    """Train `model`, a stack of `members`; each member ends with the weights of its best epoch.

    FloatingPointError if a loss is not finite.
    """
    best, step = Best(task, model, members), 0
    optimizer, running = Optimizer(model, members), np.arange(len(members))
    n = min(len(member.train) for member in members)
    for epoch in range(members[0].settings.epochs):
        here, own = [members[k] for k in running], [streams[k] for k in running]
        masks, seen = noise(here, own), []
        for rows in _batches(here, own, n):  # (s, b)
            losses = task.losses(model, rows.to(task.device), masks).mean(dim=-1)  # (s, k)
            step += 1
            optimizer.step(task.objective(model, losses).sum(), step)
            seen.append(losses.detach())
            if on_step:
                on_step(step, model)
        mean = torch.stack(seen).mean(0)
        task.epoch_ends(model, mean)
        best.see(epoch, running, mean, _valid(task, model, here))
        running, before = best.running(epoch), running
        if not len(running):
            break
        if len(running) < len(before):
            optimizer.keep(np.searchsorted(before, running))
    model.replace(best.state)
    best.curves = {name: losses[: epoch + 1] for name, losses in best.curves.items()}
    return best


def _batches(members: Sequence[Member], streams: Sequence[Streams], n: int) -> Iterator[Tensor]:
    """Full batches of an epoch of n rows, as row numbers (s, b); an incomplete batch is dropped."""
    orders = [own.order.permutation(m.train) for m, own in zip(members, streams, strict=True)]
    batch = min(members[0].settings.batch, n)
    order = torch.from_numpy(np.stack([order[: n - n % batch] for order in orders]))
    yield from order.split(batch, dim=1)


def _valid(task: Task, model: Stacked, members: Sequence[Member]) -> np.ndarray:
    """Mean losses of each member on its own validation rows, (s, k)."""
    longest = max(len(member.valid) for member in members)
    rows = torch.from_numpy(np.stack([np.resize(m.valid, longest) for m in members]))  # (s, n)
    rows, batch = rows.to(task.device), members[0].settings.batch
    counts = np.array([[len(member.valid)] for member in members])  # (s, 1)
    with torch.inference_mode():
        parts = [task.losses(model, p) for p in rows.split(batch, dim=1)]
    losses = torch.cat(parts, dim=-1).cpu().numpy()  # (s, k, n)
    real = np.arange(longest) < counts  # np.resize repeats the first rows
    return (losses * real[:, None]).sum(axis=-1) / counts


class Optimizer:
    """AdamW with its own learning rate and weight decay for each member, in torch's fused kernel.

    Neighbouring members with equal settings share one slice of each parameter, so a stack that
    differs only in seeds needs as many kernel calls as one model.
    """

    def __init__(self, model: Stacked, members: Sequence[Member]) -> None:
        self.model, self.slices, groups = model, [], []
        own = dict(model.fusion_parameters())
        rest = {name: p for name, p in model.named_parameters() if name not in own}
        rates = [(m.settings.lr, m.settings.fusion_lr, m.settings.weight_decay) for m in members]
        for (lr, fusion_lr, decay), equal in groupby(range(len(members)), rates.__getitem__):
            neighbours = list(equal)
            first, last = neighbours[0], neighbours[-1] + 1
            for parameters, rate in ((rest, lr), (own, lr * fusion_lr)):
                groups.append({"params": [], "lr": rate, "weight_decay": decay})
                for name, p in parameters.items():
                    self.slices.append(_Slice(name, first, last, p.detach()[first:last]))
                    groups[-1]["params"].append(self.slices[-1].values)
        self.adamw = torch.optim.AdamW(groups, eps=EPS, fused=True)

    def step(self, loss: Tensor, number: int) -> None:
        """Update `number`, from the members' summed loss; FloatingPointError if not finite."""
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss of step {number} is not finite: lower lr, or look at the passport"
            )
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        parameters = dict(self.model.named_parameters())
        for part in self.slices:
            part.values.grad = parameters[part.name].grad[part.first : part.last]
        self.adamw.step()

    def keep(self, rows: np.ndarray) -> None:
        """Keep the members `rows` (ascending) of the stack and remove the others from the model."""
        self.model.replace({n: v[rows] for n, v in self.model.state_dict().items()})
        parameters = dict(self.model.named_parameters())
        for part in self.slices:
            first, last = np.searchsorted(rows, (part.first, part.last))
            moments, kept = self.adamw.state[part.values], rows[first:last] - part.first
            moments |= {name: moments[name][kept] for name in ("exp_avg", "exp_avg_sq")}
            part.first, part.last, part.values.grad = first, last, None
            part.values.data = parameters[part.name].detach()[first:last]


@dataclass
class _Slice:
    """The slice of a parameter that belongs to neighbouring members with equal settings."""

    name: str
    first: int
    last: int
    values: Tensor  # (last - first, ...), a view of the parameter


class Best:
    """Each member's parameters at its lowest validation loss, and which members still train."""

    def __init__(self, task: Task, model: Stacked, members: Sequence[Member]) -> None:
        self.task, self.model, self.members = task, model, members
        self.state = {name: v.clone() for name, v in model.state_dict().items()}
        self.loss = np.full(len(members), np.inf)
        self.epoch = np.zeros(len(members), dtype=int)
        self.longest = members[0].settings.epochs
        # Mean losses on "train" and "valid", (epochs, s, k); constant after a member has stopped.
        self.curves: dict[str, np.ndarray] = {}

    def see(self, epoch: int, running: np.ndarray, train: Tensor, valid: np.ndarray) -> None:
        """Record the losses (s, k) of the members `running`, which are in the model, of one epoch.

        FloatingPointError if the early-stopping criterion is not finite.
        """
        loss = self.task.criterion(valid)
        if len(failed := running[~np.isfinite(loss)]):
            raise FloatingPointError(
                f"the validation loss of seed {self.members[failed[0]].seed} is not finite after "
                f"epoch {epoch + 1}: lower lr, or look at the passport"
            )
        better = loss < self.loss[running]
        at = running[better]
        for name, values in self.model.state_dict().items():
            self.state[name][at] = values[better]
        self.loss[at], self.epoch[at] = loss[better], epoch
        for name, values in (("train", train.cpu().numpy()), ("valid", valid)):
            empty = np.empty((self.longest, len(self.loss), values.shape[1]))
            self.curves.setdefault(name, empty)[epoch:, running] = values

    def running(self, epoch: int) -> np.ndarray:
        """Members whose best epoch is less than `patience` epochs ago."""
        return np.flatnonzero(epoch - self.epoch < self.members[0].settings.patience)
