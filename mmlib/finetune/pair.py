"""Two encoders that learn together with DyFuLM on top, or one alone.

The encoders may be of any architecture, depth and width; DyFuLM brings them to one width.
Axes: s stack member (1 here), b batch, t token, p position, l layer, d feature.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmlib.dyfulm.model import DyFuLM, Noise, Output, over_positions
from mmlib.finetune.alignment import pool
from mmlib.finetune.config import Config
from mmlib.finetune.tokens import Batch, Tokens, share
from mmlib.text import encoding
from mmlib.text.encoder import check_length, load

GATE_BINS = 20  # of the histogram of gate values


class Pair(nn.Module):
    """One or two encoders under a DyFuLM of s = 1."""

    def __init__(self, encoders: Sequence[nn.Module], fusion: DyFuLM) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.fusion = fusion

    def forward(self, batch: Batch, noise: Noise | None = None) -> Output:
        """DyFuLM's output, s = 1, in float32; gradients reach the encoders."""
        states = [self._states(k, batch) for k in range(len(self.encoders))]
        return self.fusion(states[0], states[1] if states[1:] else None, batch.mask[None], noise)

    def _states(self, k: int, batch: Batch) -> Tensor:
        """All layers' states at the common positions, (1, b, p, l, d), as the encoder has them."""
        found = self.encoders[k](
            input_ids=batch.ids[k], attention_mask=batch.attended[k], output_hidden_states=True
        )
        states = torch.stack(encoding.hidden_states(found), dim=2)  # (b, t, l, d)
        if batch.places is not None:
            states = pool(states.float(), batch.places[k], batch.mask.shape[1])
        return states[None]


def build(config: Config, attention: str = "sdpa") -> tuple[Pair, list[Any]]:
    """A pair from the folders `config.encoders`, and their tokenizers.

    attention: as `mmlib.finetune.machine.attention` settled it; encoders without "sdpa" use
    "eager". ValueError for what an encoder or DyFuLM cannot do.
    """
    loaded = [load(Path(folder), attention=attention) for folder in config.encoders]
    for model, tokenizer in loaded:
        check_length(config.max_length, model, tokenizer)
        model.pooler = None  # DyFuLM reads the layers
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = config.encoder_dropout
    dims = [model.config.hidden_size for model, _ in loaded]
    layers = [model.config.num_hidden_layers + 1 for model, _ in loaded]
    is_alone = len(loaded) == 1
    fusion = DyFuLM(
        (dims[0], dims[-1]),
        (layers[0], layers[-1]),
        width=config.width,
        layer_fusion=config.layer_fusion,
        gate="a" if is_alone else config.gate,
        guidance=config.guidance,
        scope=config.scope,
    )
    fusion.reset([np.random.default_rng(config.seed)])
    return Pair([model for model, _ in loaded], fusion), [tokenizer for _, tokenizer in loaded]


@torch.inference_mode()
def say(
    pair: Pair,
    tokens: Tokens,
    rows: np.ndarray,
    budget: int = 4096,
    process: int = 0,
    processes: int = 1,
) -> dict[str, Tensor]:
    """What a pair says of the texts `rows` (n,), without noise, on the device where it is.

    coarse, fine (n,) classes; intensity (n,) in (0, 1); p_coarse (n, 3), p_fine (n, 5)
    probabilities; where there are any: alpha_a, alpha_b (n, l), the mean over positions if they
    have one each; gate (n, h), the mean over positions, gate_counts (n, 20), how many of its values
    lie in each twentieth of (0, 1), gate_positions (n, p), the mean over units at each of
    `tokens.spans`, 0 past a text's last; guidance (n, h). Of several processes each fills in its
    share, the rest is 0.
    """
    found: dict[str, Tensor] = {}
    lengths, most = tokens.lengths[rows], max(len(tokens.spans[i]) for i in rows)
    pair.eval()
    for part in share(lengths, np.arange(len(rows)), budget, process, processes):
        batch = tokens.batch(rows[part]).to(pair.fusion.fine.bias.device)
        for name, values in _said(pair(batch), batch.mask, most).items():
            empty = values.new_zeros(len(rows), *values.shape[1:])
            found.setdefault(name, empty)[torch.from_numpy(part)] = values
    return found


def _said(output: Output, mask: Tensor, most: int) -> dict[str, Tensor]:
    """The fields of `say` for one batch; `most` positions in any text."""
    p_coarse, p_fine = output.coarse[0].softmax(dim=-1), output.fine[0].softmax(dim=-1)
    said = {"coarse": p_coarse.argmax(dim=-1), "fine": p_fine.argmax(dim=-1)}
    said |= {"intensity": output.intensity[0], "p_coarse": p_coarse, "p_fine": p_fine}
    for name in ("alpha_a", "alpha_b", "gate"):
        if (values := getattr(output, name)) is not None:
            is_mean = values.ndim == 3
            said[name] = (values if is_mean else over_positions(values, mask[None]))[0]
    if output.gate is not None:
        bins = (output.gate[0] * GATE_BINS).long().clamp(max=GATE_BINS - 1)  # (b, p, h)
        bins = bins.masked_fill(~mask[..., None], GATE_BINS)
        counts = nn.functional.one_hot(bins, GATE_BINS + 1).sum(dim=(1, 2))
        said["gate_counts"] = counts[:, :GATE_BINS]
        means = output.gate[0].mean(dim=-1).masked_fill(~mask, 0)  # (b, p)
        valid_first = (~mask).long().argsort(dim=1, stable=True)  # tokens have gaps: [CLS] is one
        means = means.gather(1, valid_first)[:, :most]
        said["gate_positions"] = nn.functional.pad(means, (0, most - means.shape[1]))
    if output.guidance is not None:
        said["guidance"] = output.guidance[0]
    return said


def as_output(said: Mapping[str, np.ndarray], device: torch.device) -> Output:
    """What the losses are made from, of the arrays that `say` gives."""
    logits = [
        torch.as_tensor(said[n], device=device).clamp(min=1e-9).log()
        for n in ("p_coarse", "p_fine")
    ]
    intensity = torch.as_tensor(said["intensity"], device=device)
    return Output(logits[0][None], intensity[None], logits[1][None], None, None, None, None)


def needs(pair: Pair, rows: int, length: int, is_short: bool, checkpointing: bool) -> int:
    """Bytes that training on a batch of `rows` texts of `length` tokens takes, roughly.

    Activations after Korthikanti et al. (2022), b t (34 d + 5 h t) a layer in 16 bits, h heads;
    all layers' states for DyFuLM and their gradients; four numbers a parameter.
    """
    token = 0
    for encoder in pair.encoders:
        c = encoder.config
        layer = (34 * c.hidden_size + 5 * c.num_attention_heads * length) * (1 if is_short else 2)
        token += layer * (1 if checkpointing else c.num_hidden_layers)
        token += 2 * 4 * (c.num_hidden_layers + 1) * c.hidden_size
    return rows * length * token + 16 * sum(p.numel() for p in pair.parameters())
