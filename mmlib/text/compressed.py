"""Cheaper linear layers for a trained model: in 8 bits, or as two factors of low rank.

In 8 bits, y_k = s v_k (q . w_k) + b_k, with one scale v_k an output and one scale s = max |x_d| /
127 a token (ZeroQuant, Yao et al. 2022). q and w are whole numbers from -127 to 127 and their sums
are exact, so no text depends on its batch; torch's dynamic layers have one s for a whole batch.
Where 8-bit sums overflow, and on a GPU, they are computed in float32: exact to 2^24, but no faster.
Axes: n tokens of a batch, d feature, k output; r rank.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

ROWS = 256  # tokens at a time: what is between the steps stays in the processor's caches


def exchange(model: nn.Module, kind: type, make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """The model with each part of a class replaced by what `make` makes of it, in place."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if type(part) is kind:
                setattr(parent, name, make(part))
    return model


def to_eight_bits(model: nn.Module) -> nn.Module:
    """The model with each `nn.Linear` in 8 bits, in place; other layers (all of GPT-2) stay."""
    return exchange(model, nn.Linear, EightBit)


@cache
def is_exact(device: torch.device) -> bool:
    """Whether a device sums 8-bit products exactly: a CPU with VNNI; AVX2 alone overflows."""
    most = torch.full((64, 64), 127, dtype=torch.int8)
    return device.type == "cpu" and bool((torch._int_mm(most, most) == 64 * 127**2).all())


class EightBit(nn.Module):
    """A trained linear layer, its weights and inputs rounded to 8 bits."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()  # (k, d)
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127  # (k,)
        kind = torch.int8 if is_exact(weight.device) else torch.float32
        self.register_buffer("weight", (weight / scale[:, None]).round().to(kind))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", scale * 0 if layer.bias is None else layer.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """x (..., d) float32 -> (..., k)."""
        x_rows = x.flatten(0, -2)  # (n, d)
        y = x.new_empty(len(x_rows), len(self.bias))  # (n, k)
        for rows, out in zip(x_rows.split(ROWS), y.split(ROWS), strict=True):
            most = torch.maximum(rows.amax(dim=1, keepdim=True), -rows.amin(dim=1, keepdim=True))
            scale = most.clamp_(min=1e-12).div_(127)  # (ROWS, 1)
            whole = (rows / scale).round_().to(self.weight.dtype)  # (ROWS, d)
            multiply = torch.mm if whole.is_floating_point() else torch._int_mm
            sums = multiply(whole, self.weight.T)  # (ROWS, k), whole numbers
            torch.addcmul(self.bias, sums * scale, self.scale, out=out)
        return y.unflatten(0, x.shape[:-1])


class Factors(nn.Sequential):
    """Two linear layers in place of one: see `factorise`."""


def factorise(model: nn.Module, share: float) -> nn.Module:
    """The model with two linear layers for each, in place, with `share` of its weights in total.

    A weight W (k, d) becomes A B with B (r, d), A (k, r) and r = share d k / (d + k): the best
    approximation of that rank, from the singular values of W. The bias stays.
    """
    return exchange(model, nn.Linear, lambda layer: _factors(layer, share))


@torch.no_grad()
def _factors(layer: nn.Linear, share: float) -> Factors:
    k, d = layer.weight.shape
    r = max(1, int(share * d * k / (d + k)))
    left, sizes, right = torch.linalg.svd(layer.weight.float(), full_matrices=False)
    inner, outer = nn.Linear(d, r, bias=False), nn.Linear(r, k, layer.bias is not None)
    inner.weight.copy_(sizes[:r, None].sqrt() * right[:r])  # (r, d)
    outer.weight.copy_(left[:, :r] * sizes[:r].sqrt())  # (k, r)
    if layer.bias is not None:
        outer.bias.copy_(layer.bias)
    return Factors(inner, outer).to(layer.weight.dtype)


def multiply(model: nn.Module) -> nn.Module:
    """Undo `factorise`, in place: one linear layer for each two, with their weights' product."""
    return exchange(model, Factors, _product)


@torch.no_grad()
def _product(two: Factors) -> nn.Linear:
    inner, outer = two
    layer = nn.Linear(inner.in_features, outer.out_features, outer.bias is not None)
    layer.weight.copy_(outer.weight @ inner.weight)
    if outer.bias is not None:
        layer.bias.copy_(outer.bias)
    return layer
