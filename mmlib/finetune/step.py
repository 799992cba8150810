"""One step of the optimizer: gradients over the batches of all processes, then the update.

Losses are weighted by the number of examples, so the result does not depend on the sizes of batches
or the number of processes. All random numbers are determined by seed and step number.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.optim import AdamW

from mmlib.dyfulm.losses import weighting
from mmlib.dyfulm.model import Noise
from mmlib.finetune.config import Config
from mmlib.finetune.pair import Pair
from mmlib.finetune.plan import Plan
from mmlib.finetune.precision import MasterWeights
from mmlib.finetune.tokens import batches
from mmlib.stack.layers import Masks


@dataclass(frozen=True)
class Learner:
    """The modules that learn, their optimizer, and the processes used."""

    accelerator: Accelerator
    pair: Pair
    weights: MasterWeights  # of `pair`
    weighting: nn.Module  # of the three losses
    parameters: list[nn.Parameter]  # of `pair` (float32) and `weighting`
    optimizer: AdamW


class Gradients(NamedTuple):
    """Results of a step's backward passes, over all processes."""

    losses: list[float]  # mean of each task
    loss: float  # after weighting
    norm: float  # of the gradients, before clipping


def learner(config: Config, pair: Pair, accelerator: Accelerator, bfloat16: bool) -> Learner:
    """A pair on its device, in its precision, and an optimizer for it."""
    pair.to(accelerator.device)
    short = pair.encoders if bfloat16 else []
    weights = MasterWeights(pair, short, [encoder.get_input_embeddings() for encoder in short])
    for encoder in pair.encoders:
        if config.checkpointing:
            enable = getattr(encoder, "activation_checkpointing_enable", None)  # its older name:
            (enable or encoder.gradient_checkpointing_enable)()
        if config.compile:
            encoder.compile(dynamic=True)
    weigh = weighting(config.weighting).to(accelerator.device)
    named = weights.parameters() | {f"weighting.{n}": p for n, p in weigh.named_parameters()}
    optimizer = _optimizer(config, named)
    return Learner(accelerator, pair, weights, weigh, list(named.values()), optimizer)


def _optimizer(config: Config, named: dict[str, nn.Parameter]) -> AdamW:
    """AdamW with two learning rates. Vectors have no decay, nor has the weighting.

    So the BiLSTM's biases, a row a direction, decay; the weights of the intensity's head do not.
    """
    groups: dict[tuple[bool, bool], dict] = {}
    for name, parameter in named.items():
        is_encoder = name.startswith("encoders.")
        is_decayed = not name.startswith("weighting.") and parameter.squeeze().ndim > 1
        rate = config.lr if is_encoder else config.head_lr
        decay = config.weight_decay if is_decayed else 0.0
        group = {"params": [], "lr": rate, "rate": rate, "weight_decay": decay}
        groups.setdefault((is_encoder, is_decayed), group)["params"].append(parameter)
    return AdamW(list(groups.values()), fused=True)


def gradients(learner: Learner, plan: Plan, rows: np.ndarray, number: int) -> Gradients:
    """Compute the gradients of step `number` on the texts `rows`; weights do not change.

    FloatingPointError if the loss or the gradients are not finite.
    """
    accelerator = learner.accelerator
    sums = torch.zeros(4, device=accelerator.device)  # the tasks' mean losses, and weighted
    learner.pair.train()
    own = (accelerator.process_index, accelerator.num_processes)
    for k, part in enumerate(batches(plan.tokens.lengths, rows, plan.config.budget, *own)):
        batch = send_to_device(plan.tokens.batch(part), accelerator.device, non_blocking=True)
        output = learner.pair(batch, noise(plan.config, number, accelerator.process_index, k))
        losses = plan.losses(output, part)  # (1, 3)
        loss = learner.weighting(losses)  # (1,)
        fraction = len(part) / len(rows)
        (fraction * loss.sum()).backward()
        learner.weights.gather()
        sums += fraction * torch.cat([losses[0], loss]).detach()
    norm = _reduced_norm(learner, plan.config.clip)
    *losses, loss, norm = torch.cat([accelerator.reduce(sums), norm[None]]).tolist()
    if not np.isfinite(loss + norm):
        raise FloatingPointError
    return Gradients(losses, loss, norm)


def noise(config: Config, number: int, process: int, k: int) -> Noise:
    """Seed and draw the random numbers for batch k of a process in step `number`."""
    place = [config.seed, number, process, k]
    torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
    stream = [np.random.default_rng(place)]
    return Noise(Masks(stream, [0.0]), Masks(stream, [config.dropout]))


def _reduced_norm(learner: Learner, clip: float) -> Tensor:
    """Sum the gradients over processes and clip them; returns their norm before clipping."""
    for parameter in learner.parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if learner.accelerator.num_processes > 1:
        summed = learner.accelerator.reduce([parameter.grad for parameter in learner.parameters])
        for parameter, grad in zip(learner.parameters, summed, strict=True):
            parameter.grad = grad
    return torch.nn.utils.clip_grad_norm_(learner.parameters, clip)


def update(learner: Learner, plan: Plan, number: int) -> list[float]:
    """Update the weights; returns the learning rates: linear warm-up, then linear decay to 0."""
    warm = max(1, round(plan.config.warmup * plan.steps))
    left = (plan.steps - number) / max(1, plan.steps - warm)
    for group in learner.optimizer.param_groups:
        group["lr"] = group["rate"] * min((number + 1) / warm, left)
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    learner.weights.publish()
    return sorted({group["lr"] for group in learner.optimizer.param_groups})
