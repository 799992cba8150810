"""Stacks: s independent models of the same shape in one module, trained together.

Every parameter has a leading stack axis, so one batched matrix product computes all members;
s = 1 is an ordinary model. Axes: s stack member, b batch, l layer, d feature, h hidden.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn


class Stacked(nn.Module):
    """A module whose parameters and buffers all have the shape (s, ...)."""

    def reset(self, streams: Sequence[np.random.Generator]) -> Self:
        """Draw new initial weights, those of each member from its own random stream."""
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.reset(streams)
        return self

    def replace(self, state: Mapping[str, Tensor]) -> None:
        """Replace parameters and buffers by name -> (s, ...); s may differ from before; no copy."""
        for name, values in state.items():
            path, _, leaf = name.rpartition(".")
            owner = self.get_submodule(path)
            is_learned = isinstance(getattr(owner, leaf), nn.Parameter)
            setattr(owner, leaf, nn.Parameter(values) if is_learned else values)


class Layer(nn.Module):
    """Parameters (s, ...) with initial values drawn uniformly from [-bound, bound]."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def reset(self, streams: Sequence[np.random.Generator]) -> None:
        """Draw new values, those of each member from its own random stream."""
        for parameter in self.parameters():
            draws = [rng.uniform(-self.bound, self.bound, parameter.shape[1:]) for rng in streams]
            parameter.data.copy_(torch.from_numpy(np.stack(draws)))


class Linear(Layer):
    """s independent affine maps, (s, ..., d) -> (s, ..., h)."""

    def __init__(self, s: int, d: int, h: int, bias: bool = True) -> None:
        super().__init__(bound=d**-0.5)  # torch's own default
        self.weight = nn.Parameter(torch.zeros(s, d, h))
        self.bias = nn.Parameter(torch.zeros(s, 1, h)) if bias else None

    def forward(self, x: Tensor, factor: Tensor | None = None) -> Tensor:
        """x W + b in the dtype of x; `factor` (s, d) scales the input features.

        The factor is applied to the weights, which are smaller than the inputs.
        """
        flat = x.flatten(1, -2)  # (s, b, d)
        weight = self.weight if factor is None else self.weight * factor[..., None]
        weight, bias = (None if p is None else p.to(x.dtype) for p in (weight, self.bias))
        y = flat @ weight if bias is None else torch.baddbmm(bias, flat, weight)
        return y.view(*x.shape[:-1], y.shape[-1])


class BiLSTM(Layer):
    """s independent bidirectional LSTMs over l, (s, b, l, d) -> (s, b, l, 2 h).

    The equations of torch.nn.LSTM with one bias, and the gates in the order i, f, o, g. The two
    directions are members of one stack of size 2 s; the second reads the sequence backwards.
    """

    def __init__(self, s: int, d: int, h: int) -> None:
        super().__init__(bound=h**-0.5)  # torch's own default
        self.weight = nn.Parameter(torch.zeros(s, 2, d, 4 * h))
        self.bias = nn.Parameter(torch.zeros(s, 2, 1, 4 * h))
        self.recurrent = nn.Parameter(torch.zeros(s, 2, h, 4 * h))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, recurrent = (p.flatten(0, 1) for p in self.parameters())  # (2 s, ...)
        h, steps, states, cell = recurrent.shape[1], x.unbind(2), [], 0
        for ahead, back in zip(steps, reversed(steps), strict=True):
            seen = torch.stack([ahead, back], dim=1).flatten(0, 1)  # (2 s, b, d)
            gates = torch.baddbmm(bias, seen, weight)
            if states:
                gates = torch.baddbmm(gates, states[-1], recurrent)
            i, f, o = gates[..., : 3 * h].sigmoid().chunk(3, dim=-1)
            cell = f * cell + i * gates[..., 3 * h :].tanh()
            states.append(o * cell.tanh())
        ahead, back = torch.stack(states, dim=2).unflatten(0, (-1, 2)).unbind(1)
        return torch.cat([ahead, back.flip(2)], dim=-1)


class Masks:
    """Dropout masks; each stack member has its own random stream, so members never interact.

    Random bytes are compared with a threshold, so rates are rounded to multiples of 1/256. numpy
    draws the bytes on the CPU, so the masks are the same on every device.
    """

    def __init__(self, streams: Sequence[np.random.Generator], rates: Sequence[float]) -> None:
        """rates (s,): share of values set to zero; ValueError if 256 rate rounds to no 0..255."""
        for rate in rates:
            if not 0 <= round(256 * rate) < 256:
                raise ValueError(f"dropout rate {rate}: give one from 0 to 0.99")
        self.streams = streams
        self.cuts = torch.tensor([round(256 * rate) for rate in rates], dtype=torch.uint8)
        self.idle = not self.cuts.any()

    def keep(self, shape: Sequence[int]) -> Tensor:
        """True where a value is kept, (s, *shape)."""
        size = math.prod(shape)
        raw = bytearray(b"".join(rng.bytes(size) for rng in self.streams))
        drawn = torch.from_numpy(np.frombuffer(raw, np.uint8)).view(len(self.streams), *shape)
        return drawn >= self.cuts.view(-1, *[1] * len(shape))

    def scale(self, shape: Sequence[int]) -> Tensor:
        """The dropout factors: 0 or 1 / (1 - rate), (s, *shape) float32."""
        gain = 256 / (256 - self.cuts.float())
        return self.keep(shape) * gain.view(-1, *[1] * len(shape))


class Noise(NamedTuple):
    """The dropout masks used in training; evaluation uses none."""

    features: Masks  # on columns of the input vectors, one mask per batch
    hidden: Masks  # on entries of the hidden state
    modalities: Masks | None = None  # on whole modalities, drawn for each utterance
