"""DyFuLM: two encoders, fusion over the layers of each, a gate between them, three heads.

The paper (arXiv 2512.01410) in its notation; layers l = 0 (embeddings) to L, encoders A and B:

    H^(l)                                              states of layer l, projected to one width
    u^(0), ..., u^(L) = BiLSTM(H^(0), ..., H^(L))      over the layers
    alpha^(l) = softmax over l of w . u^(l)            weight of layer l
    H_fused   = sum_l alpha^(l) H^(l)                  h_A of encoder A, c_B of encoder B
    g         = sigma(W [h_A; c_B] + b)                the gate, one value per unit
    h         = g * h_A + (1 - g) * c_B
    y_c       = f_coarse(h),  y_i = f_intensity(h)
    h'        = h * Guidance(y_c, y_i)
    y_f       = f_fine(h')

Where the paper is not specific, this is our reading:
- alpha is the softmax of a linear score w . u of the BiLSTM's outputs;
- one affine map per encoder, shared by its layers, projects H^(l) to the common width;
- the BiLSTM has a quarter of that width per direction: its output is only one score per layer;
- alpha is computed per utterance, from the states' mean over its positions (scope "utterance"), or
  per position (scope "token"); the gate acts on each position, the heads on the mean over them;
- the heads are affine; the intensity's is followed by a sigmoid, for targets in [0, 1];
- Guidance = 2 sigma(V [softmax(y_c); y_i] + v), in (0, 2); initially V = v = 0 and Guidance = 1.

Each module can be replaced by a named alternative:
- `layer_fusion`: "bilstm", or "last" (the last layer), "mean" (equal weights), "static" (learned
  weights that are the same for every utterance);
- `gate`: "gate", or "mean", "concat" (an affine map of [h_A; c_B]), "a" or "b" (one encoder alone);
- `guidance`: False for a fine head without guidance.

Models are stacks (`mmlib.stack.layers`). Axes: s stack member, b batch, t position, l layer, d
feature, h hidden.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmlib.files import refuse_unknown
from mmlib.stack.layers import BiLSTM, Linear, Noise, Stacked

COARSE, FINE = 3, 5  # classes
CHOICES = {
    "layer_fusion": ("bilstm", "last", "mean", "static"),
    "gate": ("gate", "mean", "concat", "a", "b"),
    "guidance": (True, False),
    "scope": ("utterance", "token"),
}


class Output(NamedTuple):
    """The model's output for a batch; None if a module is switched off or not used."""

    coarse: Tensor  # (s, b, 3) logits
    intensity: Tensor  # (s, b), in (0, 1)
    fine: Tensor  # (s, b, 5) logits
    alpha_a: Tensor | None  # (s, b, l), or (s, b, t, l) for scope "token"; sums to 1 over l
    alpha_b: Tensor | None
    gate: Tensor | None  # (s, b, t, h), in (0, 1): 1 is encoder A alone, 0 is B alone
    guidance: Tensor | None  # (s, b, h), in (0, 2)


def over_positions(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of x (s, b, t, ...) over the valid positions of mask (s, b, t), (s, b, ...)."""
    if mask is None:
        return x.mean(dim=2)
    share = mask / mask.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.einsum("sbt,sbt...->sb...", share.to(x.dtype), x)


class LayerFusion(nn.Module):
    """Fuse one encoder's layers (s, b, t, l, d) into one state per position, by layer weights."""

    def __init__(self, s: int, layers: int, d: int, width: int, how: str, scope: str) -> None:
        super().__init__()
        how = "last" if layers == 1 else how  # one layer needs no fusion and no parameters
        self.layers, self.how, self.scope = layers, how, scope
        self.project = Linear(s, d, width)
        if how == "bilstm":
            self.bilstm = BiLSTM(s, width, width // 4)
            self.w = Linear(s, width // 2, 1, bias=False)  # the softmax cancels a bias
        if how == "static":
            self.theta = nn.Parameter(torch.zeros(s, 1, layers))

    def forward(
        self, x: Tensor, mask: Tensor | None, factor: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """States (s, b, t, h) and alpha (s, b, l) or (s, b, t, l)."""
        if self.how == "last":
            return self.last(x, factor)
        H = self.project(x, factor).float()  # (s, b, t, l, h)
        if self.scope == "token":
            alpha = self.weights(H.flatten(1, 2)).view(H.shape[:-1])  # (s, b, t, l)
            return torch.einsum("sbtl,sbtlh->sbth", alpha, H), alpha
        alpha = self.weights(over_positions(H, mask))  # (s, b, l)
        return torch.einsum("sbl,sbtlh->sbth", alpha, H), alpha

    def last(self, x: Tensor, factor: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `forward`, for the last layer alone: the other layers are not projected."""
        lead = x.shape[:3] if self.scope == "token" else x.shape[:2]
        alpha = torch.zeros(*lead, self.layers, device=x.device)
        alpha[..., -1] = 1
        return self.project(x[..., -1, :], factor).float(), alpha

    def weights(self, H: Tensor) -> Tensor:
        """alpha (s, n, l) of layer states (s, n, l, h)."""
        if self.how == "bilstm":
            return self.w(self.bilstm(H))[..., 0].softmax(dim=-1)
        if self.how == "static":
            return self.theta.softmax(dim=-1).expand(H.shape[:-1])
        return H.new_full(H.shape[:-1], 1 / self.layers)


class DyFuLM(Stacked):
    """Layer fusion, gate and heads on the layer states of two encoders."""

    def __init__(
        self,
        dims: tuple[int, int],
        layers: tuple[int, int],
        width: int = 64,
        s: int = 1,
        layer_fusion: str = "bilstm",
        gate: str = "gate",
        guidance: bool = True,
        scope: str = "utterance",
    ) -> None:
        """dims, layers: widths and depths of encoders A and B; embeddings count as a layer.

        ValueError for a choice that is not in CHOICES, or a width that is not a multiple of 4.
        """
        super().__init__()
        _check(width, layer_fusion=layer_fusion, gate=gate, guidance=guidance, scope=scope)
        self.dims, self.layers, self.how = tuple(dims), tuple(layers), gate
        self.fusion = nn.ModuleDict(
            {
                name: LayerFusion(s, depth, d, width, layer_fusion, scope)
                for name, depth, d in zip("ab", layers, dims, strict=True)
                if gate not in ("a", "b") or gate == name
            }
        )
        if gate in ("gate", "concat"):
            self.gate = Linear(s, 2 * width, width)
        self.coarse = Linear(s, width, COARSE)
        self.intensity = Linear(s, width, 1)
        self.guide = Linear(s, COARSE + 1, width) if guidance else None
        self.fine = Linear(s, width, FINE)

    @property
    def s(self) -> int:
        """How many models the stack holds."""
        return len(self.intensity.bias)

    def forward(
        self,
        a: Tensor | None,
        b: Tensor | None,
        mask: Tensor | None = None,
        noise: Noise | None = None,
    ) -> Output:
        """a (s, b, t, l_a, d_a), b (s, b, t, l_b, d_b), mask (s, b, t) of the valid positions.

        States at other positions are ignored (if finite), and so is an encoder that is not used.
        ValueError for states of another depth or width.
        """
        fused, seen = self.fuse(a, b, mask, noise)
        if noise is not None and not noise.hidden.idle:
            fused = fused * noise.hidden.scale(fused.shape[1:]).to(fused.device)
        return self.read(fused)._replace(**seen)

    def fuse(
        self, a: Tensor | None, b: Tensor | None, mask: Tensor | None, noise: Noise | None
    ) -> tuple[Tensor, dict[str, Tensor | None]]:
        """The text state h (s, b, h), and a dict of alpha_a, alpha_b and gate."""
        h, alpha = {}, {}
        for k, (name, x) in enumerate(zip("ab", (a, b), strict=True)):
            if name in self.fusion:
                _check_states(name, x, (self.layers[k], self.dims[k]))
                factor = None
                if noise is not None and not noise.features.idle:
                    factor = noise.features.scale((self.dims[k],)).to(x.device)  # (s, d)
                h[name], alpha[name] = self.fusion[name](x, mask, factor)
        fused, g = self.join(h)
        seen = {"alpha_a": alpha.get("a"), "alpha_b": alpha.get("b"), "gate": g}
        return over_positions(fused, mask), seen

    def join(self, h: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Combine the two encoders' states (s, b, t, h) into one; returns it and the gate."""
        if len(h) == 1:
            return h[self.how], None
        h_A, c_B = h["a"], h["b"]
        if self.how == "mean":
            return (h_A + c_B) / 2, None
        both = self.gate(torch.cat([h_A, c_B], dim=-1))
        if self.how == "concat":
            return both, None
        g = torch.sigmoid(both)
        return g * h_A + (1 - g) * c_B, g

    def read(self, h: Tensor) -> Output:
        """Apply the heads to the fused state (s, b, h)."""
        coarse = self.coarse(h)
        intensity = self.squash(self.intensity(h))  # (s, b, 1)
        guidance = None
        if self.guide is not None:
            guides = torch.cat([coarse.softmax(dim=-1), intensity], dim=-1)  # (s, b, 4)
            guidance = 2 * torch.sigmoid(self.guide(guides))
            h = h * guidance
        return Output(coarse, intensity[..., 0], self.fine(h), None, None, None, guidance)

    def squash(self, intensity: Tensor) -> Tensor:
        """The output activation of the intensity head."""
        return torch.sigmoid(intensity)

    def reset(self, streams: Sequence[np.random.Generator]) -> "DyFuLM":
        """Draw initial weights, each member's from its own stream; the guidance starts at 1."""
        super().reset(streams)
        if self.guide is not None:
            nn.init.zeros_(self.guide.weight)
            nn.init.zeros_(self.guide.bias)
        return self

    def fusion_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters of layer fusion, gate and guidance, which can have their own learning rate."""
        heads = ("coarse.", "intensity.", "fine.")
        for name, parameter in self.named_parameters():
            if not name.startswith(heads) and "project." not in name:
                yield name, parameter

    def shared_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters that all three tasks use, i.e. all before the heads."""
        shared = ("fusion.", "gate.")
        return ((n, p) for n, p in self.named_parameters() if n.startswith(shared))


def _check(width: int, **given: object) -> None:
    for name, value in given.items():
        refuse_unknown(name, [value], CHOICES[name])
    if width < 4 or width % 4:
        raise ValueError(f"width={width} must be a multiple of 4: the BiLSTM has a quarter of it")


def _check_states(name: str, x: Tensor | None, expected: tuple[int, int]) -> None:
    shape = None if x is None else tuple(x.shape[-2:])
    if shape != expected:
        raise ValueError(
            f"encoder {name} gave (layers, width) {shape}, the model was made for {expected}; "
            "use the encoder that it was made for"
        )
