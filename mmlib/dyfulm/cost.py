"""The cost of a model: parameters, memory and latency; for DyFuLM's fusion and heads as a table.

Parameters and memory are the same on every machine; latency is measured on the machine in use.
Axes: b batch, t position, l layer, d feature.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.benchmark import Timer

from mmlib.dyfulm.model import DyFuLM

MB = 1e6  # bytes


def latency(call: Callable[[], Any], seconds: float = 0.2) -> float:
    """Median duration of a call in ms, over `seconds` after a warm-up, on torch's threads."""
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return 1000 * timer.blocked_autorange(min_run_time=seconds).median


def parameters(model: nn.Module) -> dict[str, int]:
    """Number of parameters of each direct submodule, by name; submodules with none are left out."""
    return {
        name: count
        for name, part in model.named_children()
        if (count := sum(p.numel() for p in part.parameters()))
    }


def activations(model: nn.Module, call: Callable[[], Any]) -> int:
    """Bytes that `call` stores for its backward pass, without the model's own parameters."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor  # keeps the tensor alive until the count is done

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = call()
    total = sum(size for at, size in kept.items() if at not in own)
    del output
    return total


def fusion_and_heads(models: Mapping[str, DyFuLM], batch: int = 32) -> pd.DataFrame:
    """One row per model (s = 1), run on random pooled states, without its encoders.

    Columns: parameters; weights_mb; activations_mb, stored in training for one batch; ms, median
    latency for one utterance; ms_batch, for a whole batch. MB are 1e6 bytes.
    """
    rows = {}
    for name, model in models.items():
        single, many = _states(model, 1), _states(model, batch)
        count = sum(parameters(model).values())
        kept = activations(model, lambda m=model, x=many: m(*x))
        with torch.inference_mode():
            ms = [latency(lambda m=model, x=x: m(*x)) for x in (single, many)]
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
