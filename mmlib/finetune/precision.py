"""Parameters that compute in bfloat16 and are updated in float32.

A step of AdamW is often smaller than the distance between two neighbouring bfloat16 numbers and
would be lost. So the optimizer updates float32 master weights (Micikevicius et al. 2018), and the
model computes with rounded copies. On CPUs this is faster than autocast, which rounds at each use.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class MasterWeights:
    """float32 values of parameters that compute in bfloat16, and the sums of their gradients."""

    def __init__(
        self, model: nn.Module, short: Sequence[nn.Module], tables: Sequence[nn.Embedding] = ()
    ) -> None:
        """short: the parts of the model to hold in bfloat16 from now on.

        Their embedding `tables` stay in float32 and the rows read from them are rounded: a step
        reads few rows, so copying whole tables would be a waste.
        """
        self.model = model
        full = {name: p.detach().clone() for name, p in model.named_parameters()}
        exact = {table.weight for table in tables}
        for p in {p for part in short for p in part.parameters()} - exact:
            p.data = p.data.to(torch.bfloat16)  # buffers stay exact: RoPE's
        for table in tables:
            table.register_forward_hook(lambda _, __, rows: rows.to(torch.bfloat16))
        self.copies = {
            name: nn.Parameter(full[name])
            for name, p in model.named_parameters()
            if p.dtype != torch.float32
        }
        own = dict(model.named_parameters())
        self.pairs = [(own[name], master) for name, master in self.copies.items()]

    def parameters(self) -> dict[str, nn.Parameter]:
        """The float32 parameters for the optimizer."""
        return {name: self.copies.get(name, p) for name, p in self.model.named_parameters()}

    @torch.no_grad()
    def gather(self) -> None:
        """Add the gradients of the last batch to those of the master weights."""
        learnt = [(short, master) for short, master in self.pairs if short.grad is not None]
        exact = [torch.empty_like(master) for _, master in learnt]
        if learnt:  # one kernel for all: on a GPU, starting a kernel takes longest
            torch._foreach_copy_(exact, [short.grad for short, _ in learnt])
        for (short, master), values in zip(learnt, exact, strict=True):
            master.grad = values if master.grad is None else master.grad.add_(values)
            short.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Copy the master weights into the model, rounded."""
        if self.pairs:
            torch._foreach_copy_(*map(list, zip(*self.pairs, strict=True)))

    def state_dict(self) -> dict[str, Tensor]:
        """The model's state in float32."""
        return {**self.model.state_dict(), **{n: p.detach() for n, p in self.copies.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load a float32 state and update the rounded copies."""
        self.model.load_state_dict(dict(state))
        for name, master in self.copies.items():
            master.copy_(state[name])
