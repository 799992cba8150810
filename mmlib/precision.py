"""Parameters that compute in bfloat16 and learn in float32.

A step of AdamW is often smaller than the distance between two neighbouring bfloat16 numbers, and
would be lost. So the optimizer changes float32 masters (Micikevicius et al. 2018), and the model
computes with their rounded copies. On CPUs this is faster than autocast, which rounds at each use.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class Masters:
    """float32 values of parameters that compute in a shorter type, and their gradients' sums."""

    def __init__(
        self, model: nn.Module, short: Sequence[nn.Module], tables: Sequence[nn.Embedding] = ()
    ) -> None:
        """`short`: the parts of the model to hold in bfloat16 from now on.

        Their `tables` stay in float32, and what is looked up in them is rounded: a step reads few
        of their rows, and need not copy all of them to and fro.
        """
        self.model = model
        full = {name: p.detach().clone() for name, p in model.named_parameters()}
        exact = [table.weight.data for table in tables]
        for part in short:
            part.to(torch.bfloat16)
        for table, values in zip(tables, exact, strict=True):
            table.weight.data = values
            table.register_forward_hook(lambda _, __, rows: rows.to(torch.bfloat16))
        self.copies = {
            name: nn.Parameter(full[name])
            for name, p in model.named_parameters()
            if p.dtype != torch.float32
        }

    def parameters(self) -> dict[str, nn.Parameter]:
        """What the optimizer is to change, in float32."""
        return {name: self.copies.get(name, p) for name, p in self.model.named_parameters()}

    def gather(self) -> None:
        """Add the gradients of the last batch to the masters'."""
        for name, parameter in self.model.named_parameters():
            if name in self.copies and parameter.grad is not None:
                master, found = self.copies[name], parameter.grad.float()
                master.grad = found if master.grad is None else master.grad.add_(found)
                parameter.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Let the model compute with the masters' values."""
        for name, parameter in self.model.named_parameters():
            if name in self.copies:
                parameter.copy_(self.copies[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The model's state in float32."""
        return {**self.model.state_dict(), **{n: p.detach() for n, p in self.copies.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take a float32 state, rounded copies included."""
        self.model.load_state_dict(dict(state))
        for name, master in self.copies.items():
            master.copy_(state[name])
