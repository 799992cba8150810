"""DyFuLM: each equation by hand, what each switch leaves, and that nobody else matters."""

import numpy as np
import pytest
import torch

from mmlib.dyfulm.model import CHOICES, DyFuLM, Noise
from mmlib.stack.layers import Masks
from mmlib.stack.loop import Streams

S, B, T, WIDTH = 3, 6, 4, 8
DIMS, LAYERS = (5, 7), (3, 4)
SWITCHES = [
    {},
    {"scope": "token"},
    *({"layer_fusion": how} for how in CHOICES["layer_fusion"][1:]),
    *({"gate": how} for how in CHOICES["gate"][1:]),
    {"guidance": False},
]
every_switch = pytest.mark.parametrize("switch", SWITCHES, ids=str)


def model_of(seeds=range(S), **switch):
    model = DyFuLM(DIMS, LAYERS, WIDTH, len(seeds), **switch)
    streams = [Streams.of(seed) for seed in seeds]
    model.reset([own.weights for own in streams])
    for name, parameter in model.named_parameters():  # nothing stays at its neutral start
        if name.startswith("guide") or name.endswith("theta"):
            draws = [own.hidden.normal(size=parameter.shape[1:]) for own in streams]
            parameter.data.copy_(torch.from_numpy(np.stack(draws)))
    return model


def states(seed=0):
    """a, b and a mask whose first position is always valid."""
    draw = torch.Generator().manual_seed(seed)
    a, b = (
        torch.randn(S, B, T, layers, d, generator=draw)
        for layers, d in zip(LAYERS, DIMS, strict=True)
    )
    mask = torch.rand(S, B, T, generator=draw) < 0.6
    mask[..., 0] = True
    return a, b, mask


def flat(output):
    return {name: value for name, value in output._asdict().items() if value is not None}


# The equations, for one member and one utterance


def by_hand(model, a, b, mask):
    """The docstring's equations for one member's utterance: a, b (t, l, d), mask (t,)."""
    fused, alphas = [], []
    for name, x in (("a", a), ("b", b)):
        part = model.fusion[name]
        H = x @ part.project.weight[0] + part.project.bias[0, 0]  # (t, l, h)
        u = part.bilstm(H[mask].mean(0)[None, None])[0, 0]  # (l, h)
        alphas.append((u @ part.w.weight[0, :, 0]).softmax(0))
        fused.append(sum(alphas[-1][k] * H[:, k] for k in range(H.shape[1])))
    h_A, c_B = fused
    g = torch.sigmoid(torch.cat([h_A, c_B], 1) @ model.gate.weight[0] + model.gate.bias[0])
    h = (g * h_A + (1 - g) * c_B)[mask].mean(0)

    def head(name, x):
        layer = getattr(model, name)
        return x @ layer.weight[0] + layer.bias[0, 0]

    y_c, y_i = head("coarse", h), torch.sigmoid(head("intensity", h))
    guidance = 2 * torch.sigmoid(head("guide", torch.cat([y_c.softmax(0), y_i])))
    y_f = head("fine", h * guidance)
    return {"coarse": y_c, "intensity": y_i[0], "fine": y_f, "guidance": guidance,
            "alpha_a": alphas[0], "alpha_b": alphas[1], "gate": g}  # fmt: skip


def test_the_model_is_its_equations():
    a, b, mask = states()
    for seed in range(S):
        model = model_of([seed])
        found = model(a[:1], b[:1], mask[:1])
        for n in range(B):
            for name, expected in by_hand(model, a[0, n], b[0, n], mask[0, n]).items():
                assert torch.allclose(getattr(found, name)[0, n], expected, atol=1e-5), name


@every_switch
def test_layer_weights_sum_to_one(switch):
    a, b, mask = states()
    found = model_of(**switch)(a, b, mask)
    lead = (S, B, T) if switch.get("scope") == "token" else (S, B)
    for alpha, layers in zip((found.alpha_a, found.alpha_b), LAYERS, strict=True):
        if alpha is not None:
            assert alpha.shape == (*lead, layers)
            assert torch.allclose(alpha.sum(-1), torch.ones(lead), atol=1e-6)


@pytest.mark.parametrize("how, expected", [("last", [0, 0, 1]), ("mean", [1 / 3] * 3)])
def test_fixed_layer_weights(how, expected):
    a, b, mask = states()
    alpha = model_of(layer_fusion=how)(a, b, mask).alpha_a
    assert torch.allclose(alpha, torch.tensor(expected).expand_as(alpha).float())


def test_the_last_layer_alone_ignores_the_others():
    a, b, mask = states()
    model, changed = model_of(layer_fusion="last"), a.clone()
    changed[..., :-1, :] = torch.inf
    found, again = model(a, b, mask), model(changed, b, mask)
    assert torch.equal(found.fine, again.fine)
    h = model.fusion["a"].project(a[..., -1, :])
    assert torch.allclose(model.fusion["a"](a, mask, None)[0], h, atol=1e-6)


def test_tokens_weights_are_those_of_the_token_alone():
    a, b, _ = states()
    model = model_of(scope="token")
    together = model(a, b).alpha_a
    assert (together[:, :, 0] - together[:, :, 1]).abs().max() > 1e-3
    for t in range(T):
        alone = model(a[:, :, [t]], b[:, :, [t]]).alpha_a
        assert torch.allclose(together[:, :, [t]], alone, atol=1e-6)


def test_a_gate_with_equal_inputs_returns_them():
    h = torch.randn(S, B, T, WIDTH)
    for how in ("gate", "mean"):
        assert torch.allclose(model_of(gate=how).join({"a": h, "b": h})[0], h, atol=1e-6)


def test_guidance_starts_neutral_and_then_changes_nothing():
    streams = [Streams.of(seed).weights for seed in range(S)]
    guided = DyFuLM(DIMS, LAYERS, WIDTH, S).reset(streams)
    free = DyFuLM(DIMS, LAYERS, WIDTH, S, guidance=False)
    free.load_state_dict({k: v for k, v in guided.state_dict().items() if "guide" not in k})
    a, b, mask = states()
    found, other = guided(a, b, mask), free(a, b, mask)
    assert (found.guidance == 1).all() and other.guidance is None
    assert torch.equal(found.fine, other.fine)
    guided.guide.weight.data += torch.linspace(-1, 1, WIDTH)
    assert not torch.allclose(guided(a, b, mask).fine, other.fine)


@pytest.mark.parametrize("one", ["a", "b"])
def test_a_single_encoder_ignores_the_other(one):
    a, b, mask = states()
    model = model_of(gate=one)
    found = model(a, b, mask)
    alone = model(a if one == "a" else None, b if one == "b" else None, mask)
    for name, value in flat(found).items():
        assert torch.equal(value, flat(alone)[name])
    assert found.gate is None and getattr(found, "alpha_b" if one == "a" else "alpha_a") is None
    other = "b" if one == "a" else "a"
    assert not any(f"fusion.{other}." in name for name in model.state_dict())


# Nobody else matters


@every_switch
def test_padding_does_not_matter(switch):
    a, b, mask = states()
    model = model_of(**switch)
    found = model(a, b, mask)
    hidden = ~mask[..., None, None]
    again = model(a + 9 * hidden, b - 9 * hidden, mask)
    longer = model(*(torch.cat([x, x + 1], dim=2) for x in (a, b)),
                   torch.cat([mask, torch.zeros_like(mask)], dim=2))  # fmt: skip
    for name in ("coarse", "intensity", "fine"):
        assert torch.allclose(getattr(found, name), getattr(again, name), atol=1e-6)
        assert torch.allclose(getattr(found, name), getattr(longer, name), atol=1e-6)


@every_switch
def test_members_never_mix(switch):
    a, b, mask = states()
    model = model_of(**switch)
    found = model(a, b, mask)
    alone = model_of([1], **switch)(a[1:2], b[1:2], mask[1:2])
    for name, value in flat(found).items():
        assert torch.allclose(value[1], flat(alone)[name][0], atol=1e-6), name
    (found.fine[0].sum() + found.intensity[0].sum()).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:  # the guidance's way to the coarse head may be cut
            assert (parameter.grad[1:] == 0).all(), name


def noise(features=0.0, hidden=0.0):
    streams = [Streams.of(seed) for seed in range(S)]
    return Noise(
        Masks([own.features for own in streams], [features] * S),
        Masks([own.hidden for own in streams], [hidden] * S),
    )


def test_noise_drops_columns_of_the_states_and_units_of_h():
    a, b, mask = states()
    model = model_of()
    assert torch.equal(model(a, b, mask, noise()).fine, model(a, b, mask).fine)
    assert not torch.allclose(model(a, b, mask, noise(hidden=0.5)).fine, model(a, b, mask).fine)
    masks, columns = noise(features=0.5), noise(features=0.5).features
    dropped = (a * columns.scale((5,))[:, None, None, None],
               b * columns.scale((7,))[:, None, None, None])  # fmt: skip
    expected = model(*dropped, mask).fine
    assert torch.allclose(model(a, b, mask, masks).fine, expected, atol=1e-5)


def test_parameters_are_sorted_by_what_they_are_for():
    model = model_of()
    parts = {name.split(".")[0] for name, _ in model.shared_parameters()}
    assert parts == {"fusion", "gate"}
    own = {name.rsplit(".", 1)[0] for name, _ in model.fusion_parameters()}
    layers = {f"fusion.{name}.{part}" for name in "ab" for part in ("bilstm", "w")}
    assert own == layers | {"gate", "guide"}


# Bad input


@pytest.mark.parametrize(
    "given, says",
    [
        ({"layer_fusion": "max"}, "unknown layer_fusion 'max'; choose one of bilstm, last"),
        ({"gate": "c"}, "unknown gate 'c'; choose one of gate, mean"),
        ({"scope": "word"}, "unknown scope 'word'"),
        ({"width": 6}, "width=6 must be a multiple of 4"),
    ],
)
def test_bad_arguments(given, says):
    with pytest.raises(ValueError, match=says):
        DyFuLM(DIMS, LAYERS, **given)


@pytest.mark.parametrize("shape", [(3, 7), (4, 5), None])
def test_states_of_another_encoder_are_refused(shape):
    a, _, mask = states()
    other = None if shape is None else torch.zeros(S, B, T, *shape)
    with pytest.raises(ValueError, match=r"encoder b gave .* made for \(4, 7\)") as caught:
        model_of()(a, other, mask)
    assert "\n" not in str(caught.value)
