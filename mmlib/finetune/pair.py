"""Two encoders, or one, trained together with a DyFuLM on top.

The encoders may have any architecture, depth and width; DyFuLM projects them to one width.
Axes: s stack member (1 here), b batch, t token, p position, l layer, d feature.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig

from mmlib.dyfulm.model import DyFuLM, Noise, Output
from mmlib.files import reason_of
from mmlib.finetune.alignment import pool
from mmlib.finetune.config import Config
from mmlib.finetune.tokens import Batch
from mmlib.text import compressed
from mmlib.text.encoder import check_length, load, quiet
from mmlib.text.encoding import hidden_states


class Pair(nn.Module):
    """One or two encoders with a DyFuLM (s = 1) on top."""

    def __init__(self, encoders: Sequence[nn.Module], fusion: DyFuLM) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.fusion = fusion

    def forward(self, batch: Batch, noise: Noise | None = None) -> Output:
        """DyFuLM's output, s = 1, in float32; gradients flow into the encoders."""
        states = []
        for k, encoder in enumerate(self.encoders):
            x = layer_states(encoder, batch.ids[k], batch.attended[k])  # (b, t, l, d)
            if batch.positions is not None:
                x = pool(x.float(), batch.positions[k], batch.mask.shape[1])  # (b, p, l, d)
            states.append(x[None])
        return self.fusion(states[0], states[1] if states[1:] else None, batch.mask[None], noise)


def layer_states(encoder: nn.Module, ids: Tensor, attended: Tensor) -> Tensor:
    """States of every layer at every token, (b, t, l, d), in the encoder's precision."""
    output = encoder(input_ids=ids, attention_mask=attended, output_hidden_states=True)
    return torch.stack(hidden_states(output), dim=2)


def build(config: Config, attention: str = "sdpa") -> tuple[Pair, list[Any]]:
    """A pair from the folders `config.encoders`, and their tokenizers.

    attention: from `mmlib.finetune.machine.attention`; encoders without "sdpa" use "eager".
    ValueError, one line, if an encoder or DyFuLM does not support the configuration.
    """
    loaded = [_encoder(Path(folder), config, attention) for folder in config.encoders]
    models, tokenizers, shapes = zip(*loaded, strict=True)
    layers, dims = zip(*(shapes[0], shapes[-1]), strict=True)
    fusion = DyFuLM(
        dims, layers, width=config.width, layer_fusion=config.layer_fusion,
        gate=config.gate if len(loaded) == 2 else "a", guidance=config.guidance, scope=config.scope,
    )  # fmt: skip
    fusion.reset([np.random.default_rng(config.seed)])
    return Pair(models, fusion), list(tokenizers)


def _encoder(folder: Path, config: Config, attention: str) -> tuple[nn.Module, Any, torch.Size]:
    """An encoder with dropout `config.encoder_dropout`, its tokenizer, and its (l, d)."""
    own = _dropout_fields(folder)
    asked = {name: 0.0 if name == "layerdrop" else config.encoder_dropout for name in own}
    model, tokenizer = load(folder, attention=attention, **asked)
    for name, value in own.items():
        setattr(model.config, name, value)  # restored: an exported encoder has its own settings
    check_length(config.max_length, model, tokenizer)
    model.pooler = None  # DyFuLM reads the layers
    if config.low_rank < 1:
        compressed.factorise(model, config.low_rank)
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = config.encoder_dropout
    return model, tokenizer, _tried(model, tokenizer, folder, config.encoder_dropout == 0)


def _dropout_fields(folder: Path) -> dict[str, float]:
    """The dropout rates in an encoder's configuration; empty if `load` will refuse the encoder."""
    with suppress(Exception), quiet():
        fields = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
        return {n: x for n, x in fields.items() if "drop" in n and type(x) in (float, int)}
    return {}


@torch.no_grad()
def _tried(model: nn.Module, tokenizer: Any, folder: Path, is_exact: bool) -> torch.Size:
    """Number of layers and width (l, d) of an encoder's states, from a short test text.

    ValueError if it has no attention, gives no states without its pooler, or, if `is_exact`, gives
    different states the second time.
    """
    try:
        if not getattr(model.config, "num_attention_heads", 0):
            raise ValueError("it has no attention, so it would read padding")
        ids = torch.tensor([tokenizer("Good, not bad.").input_ids])
        with torch.random.fork_rng(devices=[]):
            model.train()
            first, second = (layer_states(model, ids, torch.ones_like(ids)) for _ in range(2))
        model.eval()
    except Exception as error:  # each architecture fails in its own way
        raise ValueError(
            f"{folder}: {type(model).__name__} cannot be trained under DyFuLM "
            f"({reason_of(error)}); use an encoder such as BERT, RoBERTa or DeBERTa"
        ) from error
    if is_exact and not torch.allclose(first, second, rtol=1e-5, atol=1e-5):
        raise ValueError(
            f"{folder}: {type(model).__name__} drops values though encoder_dropout is 0; "
            "use an encoder whose dropout can be set"
        )
    return first.shape[2:]


def needed_memory(pair: Pair, rows: int, length: int, bfloat16: bool, checkpointing: bool) -> int:
    """Approximate number of bytes for training on a batch of `rows` texts of `length` tokens.

    Activations as in Korthikanti et al. (2022): b t (34 d + 5 h t) per layer in 16 bits, h heads;
    plus the states of all layers for DyFuLM with their gradients, and four numbers per parameter.
    """
    token = 0
    for encoder in pair.encoders:
        c = encoder.config
        layer = (34 * c.hidden_size + 5 * c.num_attention_heads * length) * (1 if bfloat16 else 2)
        token += layer * (1 if checkpointing else c.num_hidden_layers)
        token += 2 * 4 * (c.num_hidden_layers + 1) * c.hidden_size
    return rows * length * token + 16 * sum(p.numel() for p in pair.parameters())
