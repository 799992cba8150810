"""What a model costs: parameters, memory, latency; of DyFuLM's fusion and heads as a table.

Parameters and memory are counted and the same everywhere; latency is measured where it runs.
Axes: b batch, t position, l layer, d feature.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from mmlib.dyfulm.model import DyFuLM

MB = 1e6  # bytes


class Latency(NamedTuple):
    """Milliseconds of one call."""

    median: float
    best: float


def latency(call: Callable[[], Any], repeats: int = 30) -> Latency:
    """How long a call takes, after three that do not count; waits for a GPU where there is one."""
    times = []
    for _ in range(3 + repeats):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    return Latency(float(np.median(times[3:])), min(times[3:]))


def parameters(model: nn.Module) -> dict[str, int]:
    """How many numbers each first-level part of a model learns."""
    return {
        name: count
        for name, part in model.named_children()
        if (count := sum(p.numel() for p in part.parameters()))
    }


def activations(model: nn.Module, call: Callable[[], Any]) -> int:
    """Bytes that `call` keeps for its backward pass, beside the model's own parameters."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor  # and so it lives until the count is done

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = call()
    total = sum(size for at, size in kept.items() if at not in own)
    del output
    return total


def fusion_and_heads(models: Mapping[str, DyFuLM], batch: int = 32) -> pd.DataFrame:
    """A row a model (s = 1) on pooled states of random numbers, without its encoders.

    Columns: parameters; weights_mb; activations_mb, kept in training for one batch; ms, the median
    for one utterance; ms_batch, for a whole batch.
    """
    rows = {}
    for name, model in models.items():
        single, many = _states(model, 1), _states(model, batch)
        count = sum(parameters(model).values())
        kept = activations(model, lambda m=model, x=many: m(*x))
        with torch.inference_mode():
            ms = [latency(lambda m=model, x=x: m(*x)).median for x in (single, many)]
        rows[name] = (count, 4 * count / MB, kept / MB, *ms)
    columns = ["parameters", "weights_mb", "activations_mb", "ms", "ms_batch"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("model")


def _states(model: DyFuLM, b: int) -> list[Tensor]:
    """Random states of both encoders, (1, b, 1, l, d)."""
    device = model.fine.bias.device
    return [
        torch.randn(1, b, 1, layers, d, device=device)
        for layers, d in zip(model.layers, model.dims, strict=True)
    ]
