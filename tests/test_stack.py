"""Stacked layers against torch's own, one member at a time."""

import pytest
import torch

from mmlib.stack.layers import BiLSTM, Linear, Stacked
from mmlib.stack.loop import Streams

S, B, L, D, H = 3, 4, 5, 6, 2


def filled(layer, seeds=range(S)):
    layer.reset([Streams.of(seed).weights for seed in seeds])
    return layer


def states(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_linear_takes_any_number_of_axes_and_a_factor():
    layer, x = filled(Linear(S, D, H)), states(S, B, L, D)
    for s in range(S):
        expected = x[s] @ layer.weight[s] + layer.bias[s]
        assert torch.allclose(layer(x)[s], expected, atol=1e-6)
    factor = states(S, D)
    assert torch.allclose(layer(x, factor), layer(x * factor[:, None, None]), atol=1e-6)


def torchs_lstm(layer: BiLSTM, s: int) -> torch.nn.LSTM:
    """The same member as torch has it: (4 h, d), gates i, f, g, o, two biases."""
    theirs = torch.nn.LSTM(D, H, bidirectional=True, batch_first=True)
    parts = {"weight_ih": layer.weight, "bias_ih": layer.bias, "weight_hh": layer.recurrent}
    for way, suffix in enumerate(("_l0", "_l0_reverse")):
        for name, values in parts.items():
            gates = values[s, way].unflatten(-1, (4, H))[:, [0, 1, 3, 2]]  # ours: i, f, o, g
            getattr(theirs, name + suffix).data = gates.flatten(1).T.squeeze(-1)
        getattr(theirs, "bias_hh" + suffix).data.zero_()
    return theirs


def test_bilstm_is_torchs():
    layer, x = filled(BiLSTM(S, D, H)), states(S, B, L, D).requires_grad_()
    ours = layer(x)
    for s in range(S):
        theirs = torchs_lstm(layer, s)(x[s])[0]
        assert torch.allclose(ours[s], theirs, atol=1e-6)
        (slope,) = torch.autograd.grad(theirs.square().sum(), x)
        (own,) = torch.autograd.grad(ours[s].square().sum(), x, retain_graph=True)
        assert torch.allclose(own, slope, atol=1e-5)


@pytest.mark.parametrize("make", [Linear, BiLSTM])
def test_a_member_starts_from_its_own_stream(make):
    together, alone = filled(make(S, D, H)), filled(make(1, D, H), seeds=[1])
    for a, b in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(a[1], b[0]) and not torch.equal(a[0], a[1])
        assert a.abs().max() <= (D if make is Linear else H) ** -0.5


class WithBuffer(Stacked):
    def __init__(self):
        super().__init__()
        self.layer = Linear(S, D, H)
        self.register_buffer("seen", torch.arange(3.0))


def test_replace_takes_parameters_and_buffers_of_fewer_members():
    model = WithBuffer()
    model.replace({name: value[[0, 2]] for name, value in model.state_dict().items()})
    assert model.seen.tolist() == [0, 2] and model.layer.weight.shape[0] == 2
    assert set(dict(model.named_parameters())) == {"layer.weight", "layer.bias"}
    assert set(dict(model.named_buffers())) == {"seen"}
