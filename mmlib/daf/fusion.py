"""DAF, per-utterance dynamic attention fusion, and the fusion rules it is compared with.

The paper (arXiv 2509.22729) prints no equation. This is our reading of its text:

    h_m   = tanh(W_m x_m + b_m)                               the same width for every modality
    e     = V relu(U [h_1; ...; h_M; present] + a) + c        a scorer that sees all modalities
    alpha = softmax over the present m of e_m / tau           one weight per modality and utterance
    z     = sum_m alpha_m h_m                                 fusion
    y     = u . z + u_0                                       sentiment

The head is affine and the weights sum to one, so y = sum_m alpha_m (u . h_m + u_0): the score is
exactly the weighted mean of the modalities' opinions, where the opinion of a modality is the score
from that modality alone. An utterance without any modality has weights 0 and the score u_0.

Models are stacks (`mmlib.stack.layers`): all seeds of one shape in one module.
Axes: s stack member, b batch, m modality, d feature, h hidden, r rank.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmlib.files import Names, reason_of, refuse_unknown
from mmlib.scores.results import DYFULM, REFERENCE, UNIMODAL
from mmlib.stack.layers import Linear, Noise, Stacked

NEVER = -1e9  # score e_m of an absent modality, so that its softmax weight is exactly zero


class Output(NamedTuple):
    """A fusion model's output for a batch."""

    score: Tensor  # (s, b)
    weights: Tensor | None  # (s, b, m), rows sum to 1; None if the rule has no such weights
    opinions: Tensor  # (s, b, m): the head on each modality's embedding alone, even if absent


class Fusion(Stacked):
    """Projections, a fusion rule and an affine head; each subclass is one rule."""

    def __init__(
        self, dims: Mapping[str, int], width: int = 64, s: int = 1, **shape: float
    ) -> None:
        """dims: modality -> number of features, in the order of the mask's last axis.

        width: h, the size of each embedding. shape: arguments of the rule's own `add_rule`.
        """
        super().__init__()
        self.dims, self.width = dict(dims), width
        self.project = nn.ModuleDict({m: Linear(s, d, width) for m, d in dims.items()})
        self.head = Linear(s, width, 1)
        self.add_rule(s, **shape)

    def add_rule(self, s: int) -> None:
        """Create the parameters that only this rule has."""

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.dims)

    @property
    def s(self) -> int:
        """How many models the stack holds."""
        return len(self.head.bias)

    def forward(
        self, x: Mapping[str, Tensor], present: Tensor, noise: Noise | None = None
    ) -> Output:
        """x[m] (s, b, d_m), present (s, b, m) bool; x of an absent modality is ignored (if finite).

        With `noise`, x is overwritten: dropped columns become 0 in place, which avoids a copy of
        the largest arrays.
        """
        if noise is not None and not noise.modalities.idle:
            kept = present & noise.modalities.keep(present.shape[1:]).to(present.device)
            present = torch.where(kept.any(-1, keepdim=True), kept, present)
        h = self.embed(x, noise)  # (s, b, m, h)
        z, weights = self.fuse(h * present[..., None], present)
        opinions = self.head(h.flatten(1, 2)).view(present.shape)
        return Output(self.head(z)[..., 0], weights, opinions)

    def embed(self, x: Mapping[str, Tensor], noise: Noise | None) -> Tensor:
        """h_m = tanh(W_m x_m + b_m), (s, b, m, h); with dropout if `noise` is given."""
        h = []
        for m in self.modalities:
            if noise is not None and not noise.features.idle:
                x[m].mul_(noise.features.scale((1, self.dims[m])).to(x[m].device))
            h.append(torch.tanh(self.project[m](x[m])))
        stacked = torch.stack(h, dim=2)  # (s, b, m, h)
        if noise is None or noise.hidden.idle:
            return stacked
        return stacked * noise.hidden.scale(stacked.shape[1:]).to(stacked.device)

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """h (s, b, m, h), zero where absent -> z (s, b, h), weights (s, b, m) or None."""
        raise NotImplementedError

    def fusion_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of the rule itself: they may learn at a rate of their own."""
        own = ("project.", "head.")
        return ((n, p) for n, p in self.named_parameters() if not n.startswith(own))


def weighted(scores: Tensor, h: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of h weighted by the softmax of scores (s, b, m) over the present, and the weights."""
    weights = scores.masked_fill(~present, NEVER).softmax(dim=-1) * present  # (s, b, m)
    return (weights[..., None] * h).sum(dim=2), weights


def side_by_side(h: Tensor, present: Tensor) -> Tensor:
    """[h_1; ...; h_M; present] of each utterance, (s, b, m (h + 1))."""
    return torch.cat([h.flatten(2), present.to(h.dtype)], dim=-1)


class Mean(Fusion):
    """Equal weights; with one modality, the unimodal model."""

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return weighted(torch.zeros_like(h[..., 0]), h, present)


class Static(Fusion):
    """Learned weights that are the same for every utterance: alpha = softmax(theta)."""

    def add_rule(self, s: int) -> None:
        self.theta = nn.Parameter(torch.zeros(s, 1, len(self.dims)))

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return weighted(self.theta.expand(h.shape[:3]), h, present)


class DAF(Fusion):
    """Weights computed anew for each utterance by a scorer that sees every modality."""

    def add_rule(self, s: int, scorer_width: int = 16, temperature: float = 1.0) -> None:
        self.temperature = temperature
        self.scorer_in = Linear(s, len(self.dims) * (self.width + 1), scorer_width)
        self.scorer_out = Linear(s, scorer_width, len(self.dims))

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        e = self.scorer_out(torch.relu(self.scorer_in(side_by_side(h, present))))  # (s, b, m)
        return weighted(e / self.temperature, h, present)


class Concat(Fusion):
    """z = relu(W [h_1; ...; h_M; present] + b): the usual static fusion (LF-DNN's)."""

    def add_rule(self, s: int) -> None:
        self.mix = Linear(s, len(self.dims) * (self.width + 1), self.width)

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, None]:
        return torch.relu(self.mix(side_by_side(h, present))), None


class GMU(Fusion):
    """z = sum_m sigmoid(G_m [h; present]) * h_m: one gate per unit (Arevalo et al. 2017)."""

    def add_rule(self, s: int) -> None:
        m, width = len(self.dims), self.width
        self.gate = Linear(s, m * (width + 1), m * width)

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, None]:
        gates = torch.sigmoid(self.gate(side_by_side(h, present))).view(h.shape)  # (s, b, m, h)
        return (gates * h).sum(dim=2), None


class LMF(Fusion):
    """z = mean_r prod_m (1 + W_m^r h_m): low-rank tensor fusion (Liu et al. 2018).

    The 1 replaces the constant that the paper appends to h_m; an absent modality's factor is 1.
    """

    def add_rule(self, s: int, rank: int = 4) -> None:
        self.rank = rank
        width = self.width
        self.factors = nn.ModuleDict({m: Linear(s, width, rank * width) for m in self.dims})

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, None]:
        s, b, _, width = h.shape
        product = h.new_ones(s, b, self.rank * width)
        for i, m in enumerate(self.modalities):
            product = product * (1 + self.factors[m](h[:, :, i]) * present[:, :, i, None])
        return product.view(s, b, self.rank, width).mean(dim=2), None


class CrossModal(Fusion):
    """Each modality attends to all (one head), then the mean; MulT's idea on pooled sequences.

    The attention has no biases: the softmax cancels the bias of the keys.
    """

    def add_rule(self, s: int) -> None:
        self.qkv = Linear(s, self.width, 3 * self.width, bias=False)
        self.out = Linear(s, self.width, self.width)

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, None]:
        q, k, v = self.qkv(h.flatten(1, 2)).view(*h.shape[:3], -1).chunk(3, dim=-1)
        scores = q @ k.transpose(-1, -2) / self.width**0.5  # (s, b, m, m)
        attention = scores.masked_fill(~present[:, :, None], NEVER).softmax(dim=-1)
        heard = self.out((attention @ v).flatten(1, 2)).view(h.shape)
        return weighted(torch.zeros_like(h[..., 0]), h + heard, present)[0], None


BUILT_IN: dict[str, type[Fusion]] = {
    "mean": Mean, "static": Static, "concat": Concat, "gmu": GMU, "lmf": LMF,
    "crossmodal": CrossModal, "daf": DAF,
}  # fmt: skip
RULES = Names("fusion rule", BUILT_IN)


def register(name: str, rule: type[Fusion]) -> None:
    """Add a user's fusion rule: in this process its name works wherever those of mmlib do.

    rule: a subclass of `Fusion` with its own `fuse`, which `create` tests. ValueError as in
    `mmlib.files.Names`, and for a name that another model has in result rows ("text_deep").
    """
    if not (isinstance(rule, type) and issubclass(rule, Fusion) and rule.fuse is not Fusion.fuse):
        raise ValueError(f"rule {name!r}: give a subclass of daf.Fusion that defines fuse")
    if name.lower() in UNIMODAL + DYFULM + REFERENCE:
        raise ValueError(f"rule {name!r}: a model in rows has that name; choose another")
    RULES.register(name, rule, rule)


def unregister(name: str) -> None:
    """Remove a rule that `register` added; ValueError for any other name."""
    RULES.unregister(name)


def create(rule: str, dims: Mapping[str, int], s: int = 1, **shape: float) -> Fusion:
    """A stack of s fusion models of one rule; `shape`: `width` and the rule's own arguments.

    ValueError for an unknown rule, and for a registered rule that cannot be created with these
    arguments or whose `fuse` returns wrong shapes.
    """
    refuse_unknown("fusion rule", [rule], RULES)
    if rule not in RULES.added:
        return RULES[rule](dims, s=s, **shape)
    try:
        model = RULES[rule](dims, s=s, **shape)
        _try(model)
    except Exception as error:  # raised by the user's code
        raise ValueError(
            f"rule {rule!r}: {type(error).__name__}: {reason_of(error)}; add_rule(self, s, ...) "
            "makes parameters; fuse(self, h, present) returns two: z (s, b, h), and weights "
            "(s, b, m) or None"
        ) from error
    return model


def _try(model: Fusion) -> None:
    """Fuse a batch of zeros, one modality absent in one utterance.

    ValueError for wrong shapes, and for a parameter without seed axis or one that is not used.
    """
    s, m, h = model.s, len(model.dims), model.width
    b = next(n for n in (2, 3, 4, 5) if n not in (s, m, h))  # so that swapped axes are noticed
    present = torch.ones(s, b, m, dtype=torch.bool)
    present[:, 0, 0] = False
    z, weights = model.fuse(torch.zeros(s, b, m, h), present)
    sizes = {"z": (z, (s, b, h))} | ({} if weights is None else {"weights": (weights, (s, b, m))})
    for name, (given, size) in sizes.items():
        if (shape := tuple(getattr(given, "shape", ()))) != size:
            raise ValueError(f"{name} has shape {shape}, not {size}")
    for part in model.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd | nn.modules.batchnorm._BatchNorm):
            raise ValueError(f"leave out {type(part).__name__}, which knows no seeds")
    for name, parameter in model.fusion_parameters():
        if len(parameter) != s:
            raise ValueError(f"{name} has {len(parameter)} rows, not one for each of {s} seeds")
        of = (z.sum(), parameter) if z.requires_grad else ()
        if not of or torch.autograd.grad(*of, retain_graph=True, allow_unused=True)[0] is None:
            raise ValueError(f"fuse does not use the parameter {name}")
