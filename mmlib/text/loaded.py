"""A loaded encoder; whether it is affected by padding is tested, not inferred from its name.

Most encoders ignore padded positions. Some read them in spite of the mask: FNet mixes all
positions, and ConvBERT and MobileBERT read the neighbours of a token. For these, all texts of a
batch must have the same length. An attention implementation is used only if it agrees with "eager".
"""

import inspect
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmlib.files import reason_of
from mmlib.text.attention import GROUP, GROUPED, use_groups
from mmlib.text.compressed import to_eight_bits
from mmlib.text.encoder import load

SHORT = "It was good."
LONG = "The room was clean and the staff were friendly, but breakfast was cold."
LONGEST = 24  # maximum number of tokens of the test texts
TOLERANCE = 1e-3  # of the root mean square of the states, in float32


@dataclass(frozen=True)
class Encoder:
    """A model and its tokenizer on a device."""

    model: Any
    tokenizer: Any
    device: torch.device
    reads_padding: bool = False  # if so, all texts of a batch must have the same length

    @cached_property
    def takes_mask(self) -> bool:
        return "attention_mask" in inspect.signature(self.model.forward).parameters

    def states(self, tokens: Tensor, mask: Tensor, every: bool = True) -> tuple[Tensor, ...]:
        """States of every layer, or of the last layer only, l of (b, t, d), for tokens (b, t)."""
        masks = {"attention_mask": mask.to(self.device)} if self.takes_mask else {}
        output = self.model(input_ids=tokens.to(self.device), output_hidden_states=every, **masks)
        return hidden_states(output) if every else (output.last_hidden_state,)


def hidden_states(output: Any) -> tuple[Tensor, ...]:
    """The states of every layer, l of (b, t, d); ValueError if a layer has fewer tokens."""
    if len({state.shape[1] for state in output.hidden_states}) > 1:
        raise ValueError("the encoder merges tokens between its layers; use one that keeps all")
    return output.hidden_states


def ready(folder: Path, dtype: str, attention: str, device: torch.device) -> Encoder:
    """Load an encoder in evaluation mode and test it, in float32 whatever the dtype.

    How bfloat16 rounds depends on the processor and the size of a batch. On a CPU, SDPA is replaced
    by `mmlib.text.attention.grouped`; if the states differ from those of "eager" attention, "eager"
    is used. ValueError, one line, if the encoder cannot encode a short text, or if the states of a
    text depend on another text of the same length.
    """
    model, tokenizer = load(folder, attention=attention)
    encoder = Encoder(model.eval().to(device), tokenizer, device)
    try:
        encoder = _tried(encoder)
        return encoder if dtype == "float32" else _in(dtype, encoder, folder, attention)
    except ValueError:
        raise
    except Exception as error:  # the model, of any kind, runs here for the first time
        raise ValueError(
            f"{folder} cannot encode a short text ({reason_of(error)}); use another encoder"
        ) from error


def _in(dtype: str, encoder: Encoder, folder: Path, attention: str) -> Encoder:
    """The encoder in another dtype; loaded again, since a cast would also round its constants."""
    if dtype == "int8":
        return replace(encoder, model=to_eight_bits(encoder.model))
    model = load(folder, dtype, attention)[0]
    tested = encoder.model.config._attn_implementation
    if tested == GROUPED:
        use_groups(model)
    elif tested != model.config._attn_implementation:
        model.set_attn_implementation(tested)
    return replace(encoder, model=model.eval().to(encoder.device))


@torch.inference_mode()
def _tried(encoder: Encoder) -> Encoder:
    model = encoder.model
    short, long = (encoder.tokenizer(text)["input_ids"][:LONGEST] or [0] for text in (SHORT, LONG))
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation("eager")
        plain = _alone(encoder, short, long)
        if encoder.device.type == "cpu":
            use_groups(model)
        else:
            model.set_attn_implementation("sdpa")
        if not _same(plain, _alone(encoder, short, long)):
            model.set_attn_implementation("eager")
    alone = _alone(encoder, short, long)
    double = [_rows(encoder, [row, row[::-1]], len(row))[0] for row in (short, long)]
    if not _same(alone, double):
        raise ValueError("the states of a text depend on the texts beside it; use another encoder")
    t = max(len(short), len(long))
    t += -t % GROUP
    padded = _rows(encoder, [short, long], t)
    return replace(encoder, reads_padding=not _same(alone, padded))


def _alone(encoder: Encoder, *rows: list[int]) -> list[Tensor]:
    return [_rows(encoder, [row], len(row))[0] for row in rows]


def _rows(encoder: Encoder, rows: list[list[int]], t: int) -> list[Tensor]:
    """States of each row, computed with padding to t tokens, returned without, (l, own t, d)."""
    filler = encoder.tokenizer.pad_token_id or 0
    tokens = torch.tensor([row + [filler] * (t - len(row)) for row in rows])  # (b, t)
    mask = torch.tensor([[1] * len(row) + [0] * (t - len(row)) for row in rows])
    states = torch.stack([state.float() for state in encoder.states(tokens, mask)])  # (l, b, t, d)
    return [states[:, i, : len(row)] for i, row in enumerate(rows)]


def _same(some: list[Tensor], others: list[Tensor]) -> bool:
    pairs = zip(some, others, strict=True)
    return all((a - b).abs().max() <= TOLERANCE * a.square().mean().sqrt() for a, b in pairs)
