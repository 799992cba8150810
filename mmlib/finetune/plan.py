"""Everything fixed before a run's first step: texts, targets, and the texts of each step."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import torch

from mmlib.data import SPLITS, Corpus
from mmlib.data.corpus import rows_of
from mmlib.data.targets import targets
from mmlib.dyfulm.losses import TASKS, ClassWeights, Targets, constant_losses, task_losses
from mmlib.dyfulm.model import Output
from mmlib.files import expanded
from mmlib.finetune import distillation
from mmlib.finetune.config import Config, defining
from mmlib.finetune.tokens import Tokens, steps, tokenize


@dataclass(frozen=True)
class Plan:
    """What a run learns from, and how its losses are computed."""

    config: Config
    corpus: Corpus  # n texts
    tokens: Tokens
    rows: dict[str, np.ndarray]  # row numbers of each split
    targets: Targets  # (n,) each
    loss_options: dict[str, Any]  # of `mmlib.dyfulm.losses.task_losses`
    constant: torch.Tensor  # (3,) losses of the best constant on the training texts
    teacher: distillation.SoftTargets | None = None  # (n, ...) each

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.rows["train"]) // self.config.batch)

    @property
    def steps(self) -> int:
        """Number of steps of the whole run, unless early stopping ends it."""
        return self.steps_per_epoch * self.config.epochs

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What must not change when the run is resumed, with a checksum of what it learns from."""
        whole = sha256(repr((self.corpus.ids, self.corpus.text, *self.corpus.split)).encode())
        for values in (*self.targets, *(self.teacher or ())):
            whole.update(values.cpu().numpy().tobytes())
        return defining(self.config) | {"the checksum of its data": whole.hexdigest()[:16]}

    def rows_from(self, step: int) -> Iterator[np.ndarray]:
        """Yield the training texts of each step, starting after `step` steps."""
        train, config = self.rows["train"], self.config
        first, done = divmod(step, self.steps_per_epoch)
        for epoch in range(first, config.epochs):
            taken = steps(self.tokens.lengths[train], config.batch, config.seed, epoch)
            yield from (train[part] for part in taken[done if epoch == first else 0 :])

    def targets_of(self, rows: np.ndarray) -> Targets:
        """Targets (1, b) of the texts `rows`."""
        at = torch.as_tensor(rows, device=self.targets.coarse.device)
        return Targets(*(values[at][None] for values in self.targets))

    def losses(self, output: Output, rows: np.ndarray) -> torch.Tensor:
        """Mean losses of the training texts `rows`, (1, 3): of labels, mixed with the teacher's."""
        losses = task_losses(output, self.targets_of(rows), **self.loss_options)
        if self.teacher is None:
            return losses
        soft = self.teacher.take(torch.as_tensor(rows, device=losses.device))
        own = distillation.soft_losses(output, soft, self.config.temperature)
        weight = self.config.teacher_weight
        return (1 - weight) * losses + weight * own

    def largest_batch(self) -> tuple[int, int]:
        """Number of texts, and their tokens, of the batch that needs most memory."""
        longest = int(self.tokens.lengths.max())
        texts_a_process = -(-self.config.batch // self.config.processes)
        return min(texts_a_process, max(1, self.config.budget // longest)), longest


def make(config: Config, corpus: Corpus, tokenizers: list[Any], device: torch.device) -> Plan:
    """The plan of a run; targets of the test split are not used.

    ValueError, one line, if the corpus is not suitable for training.
    """
    rows = dict(zip(SPLITS, rows_of(corpus, SPLITS), strict=True))
    if (fewest := min(map(len, rows.values()))) < config.processes:
        raise ValueError(f"{config.processes} processes share {fewest} texts of a split; use fewer")
    tokens = tokenize(corpus.text, tokenizers, config.max_length, config.truncation)
    tensors = (torch.as_tensor(v, device=device) for v in targets(corpus, config.intensity))
    everything = Targets(*tensors)
    known = Targets(*(values[rows["train"]] for values in everything))
    weights = ClassWeights.balanced(*known[:2]) if config.class_weights else None
    options = {"regression": config.regression, "class_weights": weights}
    constant = constant_losses(known, **options)
    for task, loss in zip(TASKS, constant.tolist(), strict=True):
        if not loss:
            raise ValueError(f"{task} is the same for all training texts; use more of them")
    teacher = None
    if config.teacher:
        soft = distillation.load(expanded(config.teacher), corpus, rows["train"])
        teacher = distillation.SoftTargets(*(values.to(device) for values in soft))
    return Plan(config, corpus, tokens, rows, everything, options, constant, teacher)
