"""Stacks: s models of one shape in one module, trained at once and never mixed.

Every parameter has a leading stack axis, so that a batched matrix product computes all members;
s = 1 is the plain model. Axes: s stack member, b batch, l layer, d feature, h hidden.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn


class Stacked(nn.Module):
    """A module all of whose parameters and buffers are (s, ...)."""

    def reset(self, streams: Sequence[np.random.Generator]) -> Self:
        """Fresh initial weights, each member's from its own stream."""
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.reset(streams)
        return self

    def replace(self, state: Mapping[str, Tensor]) -> None:
        """Take parameters and buffers of another number of members, name -> (s, ...), as is."""
        for name, values in state.items():
            path, _, leaf = name.rpartition(".")
            owner = self.get_submodule(path)
            is_learned = isinstance(getattr(owner, leaf), nn.Parameter)
            setattr(owner, leaf, nn.Parameter(values) if is_learned else values)


class Layer(nn.Module):
    """Parameters (s, ...) that start uniform in +-bound."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def reset(self, streams: Sequence[np.random.Generator]) -> None:
        """Fresh values, each member's from its own stream."""
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
        """`factor` (s, d) multiplies the inputs, by way of the weights, which are smaller.

        Inputs in bfloat16 are multiplied in bfloat16.
        """
        flat = x.flatten(1, -2)  # (s, b, d)
        weight = self.weight if factor is None else self.weight * factor[..., None]
        weight, bias = (None if p is None else p.to(x.dtype) for p in (weight, self.bias))
        y = flat @ weight if bias is None else torch.baddbmm(bias, flat, weight)
        return y.view(*x.shape[:-1], y.shape[-1])


class BiLSTM(Layer):
    """s independent bidirectional LSTMs over l, (s, b, l, d) -> (s, b, l, 2 h).

    torch.nn.LSTM's equations with one bias, and the gates in the order i, f, o, g. The two
    directions are members of one stack of 2 s: the second reads from the end.
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
    """Random zero/scale masks from one stream a stack member, so that members never interact.

    Random bytes are compared with a threshold: a rate is a multiple of 1/256. numpy draws them on
    the CPU, hence the same masks on every device.
    """

    def __init__(self, streams: Sequence[np.random.Generator], rates: Sequence[float]) -> None:
        """`rates` (s,): the share of values set to zero, in [0, 1). ValueError outside."""
        for rate in rates:
            if not 0 <= round(256 * rate) < 256:
                raise ValueError(f"a dropout rate of {rate} drops all or nothing; use 0 to 0.99")
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
        """Dropout's factor: 0, or 1 / (1 - rate), (s, *shape) float32."""
        gain = 256 / (256 - self.cuts.float())
        return self.keep(shape) * gain.view(-1, *[1] * len(shape))


class Noise(NamedTuple):
    """The random parts of training; evaluation passes none."""

    features: Masks  # columns of the input vectors, one mask a batch
    hidden: Masks  # entries of the hidden state
    modalities: Masks | None = None  # whole modalities, one utterance at a time
