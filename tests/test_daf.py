"""Every fusion rule against its equation, written for one model and one utterance in numpy."""

import numpy as np
import pytest
import torch

from mmlib.daf.fusion import RULES, Noise, create
from mmlib.daf.train import Streams
from mmlib.stack.layers import Masks

DIMS = {"text": 5, "audio": 3, "vision": 2}
WEIGHTED = ("mean", "static", "daf")
S, B, WIDTH = 3, 8, 4
every_rule = pytest.mark.parametrize("rule", RULES)


def batch(dims=DIMS, seed=0):
    """x[m] (s, b, d) and present (s, b, m): all patterns of three modalities, the last empty."""
    draw = torch.Generator().manual_seed(seed)
    x = {m: torch.randn(S, B, d, generator=draw) for m, d in dims.items()}
    patterns = [[bool(k & 1 << i) for i in range(len(dims))] for k in range(B)][::-1]
    return x, torch.tensor(patterns)[None].repeat(S, 1, 1)


def model_of(rule, dims=DIMS, seeds=range(S), **shape):
    model = create(rule, dims, len(seeds), width=WIDTH, **shape)
    model.reset([Streams.of(seed).weights for seed in seeds])
    if rule == "static":
        model.theta.data += torch.arange(len(dims)) * 0.7
    return model


def none(rates=(0.0,) * S, part="hidden", first_seed=0):
    streams = [getattr(Streams.of(first_seed + k), part) for k in range(len(rates))]
    return Masks(streams, rates)


# The equations


def softmax(e):
    return np.exp(e) / np.exp(e).sum()


def fuse_weighted(rule, p, h, here, known):
    scores = {
        "mean": lambda: np.zeros(len(h)),
        "static": lambda: p["theta"][0],
        "daf": lambda: (
            np.maximum(known @ p["scorer_in.weight"] + p["scorer_in.bias"][0], 0)
            @ p["scorer_out.weight"]
            + p["scorer_out.bias"][0]
        ),
    }[rule]()
    alpha = np.zeros(len(h))
    alpha[here] = softmax(scores[here])
    return sum(alpha[i] * h[i] for i in range(len(h))), alpha


def fuse_concat(p, h, here, known):
    return np.maximum(known @ p["mix.weight"] + p["mix.bias"][0], 0)


def fuse_gmu(p, h, here, known):
    gates = 1 / (1 + np.exp(-(known @ p["gate.weight"] + p["gate.bias"][0])))
    return sum(gates[i * WIDTH : (i + 1) * WIDTH] * h[i] for i in here)


def fuse_lmf(p, h, here, known):
    products = []
    for r in range(4):
        part = slice(r * WIDTH, (r + 1) * WIDTH)
        product = np.ones(WIDTH)
        for i in here:
            at = f"factors.{list(DIMS)[i]}"
            product *= 1 + h[i] @ p[f"{at}.weight"][:, part] + p[f"{at}.bias"][0, part]
        products.append(product)
    return np.mean(products, axis=0)


def fuse_crossmodal(p, h, here, known):
    q, k, v = (np.array(part) for part in np.split(h @ p["qkv.weight"], 3, axis=1))
    heard = []
    for i in here:
        attention = softmax(np.array([q[i] @ k[j] / np.sqrt(WIDTH) for j in here]))
        mixed = sum(a * v[j] for a, j in zip(attention, here, strict=True))
        heard.append(h[i] + mixed @ p["out.weight"] + p["out.bias"][0])
    return np.mean(heard, axis=0)


@every_rule
def test_rule_is_its_equation(rule):
    model, (x, present) = model_of(rule), batch()
    out = model(x, present)
    for s in range(S):
        p = {name: value[s].double().numpy() for name, value in model.state_dict().items()}
        for b in range(B - 1):  # the last has no modality
            here = np.flatnonzero(present[s, b])
            h = np.stack([
                np.tanh(x[m][s, b].double().numpy() @ p[f"project.{m}.weight"]
                        + p[f"project.{m}.bias"][0])
                for m in DIMS
            ])  # fmt: skip
            opinions = h @ p["head.weight"][:, 0] + p["head.bias"][0, 0]
            h = h * present[s, b].numpy()[:, None]
            known = np.concatenate([h.ravel(), present[s, b]])
            if rule in WEIGHTED:
                z, alpha = fuse_weighted(rule, p, h, here, known)
                np.testing.assert_allclose(out.weights[s, b].detach(), alpha, atol=1e-6)
            else:
                z = globals()[f"fuse_{rule}"](p, h, here, known)
            score = z @ p["head.weight"][:, 0] + p["head.bias"][0, 0]
            np.testing.assert_allclose(out.score[s, b].detach(), score, atol=1e-5)
            np.testing.assert_allclose(out.opinions[s, b].detach(), opinions, atol=1e-5)


# What every rule promises


@every_rule
@pytest.mark.parametrize("dims", [DIMS, {"text": 5}], ids=["three", "one"])
def test_shapes(rule, dims):
    x, present = batch(dims)
    out = model_of(rule, dims)(x, present)
    assert out.score.shape == (S, B) and out.score.isfinite().all()
    assert out.opinions.shape == (S, B, len(dims))
    assert (out.weights is not None) == (rule in WEIGHTED)


@every_rule
def test_an_absent_modality_is_ignored(rule):
    model, (x, present) = model_of(rule), batch()
    other = {m: torch.where(present[..., i, None], v, v + 9) for i, (m, v) in enumerate(x.items())}
    out, again = model(x, present), model(other, present)
    assert torch.equal(out.score, again.score)
    if rule in WEIGHTED:
        assert (out.weights[~present] == 0).all() and (out.weights[present] > 0).all()


@pytest.mark.parametrize("rule", WEIGHTED)
def test_score_is_the_weighted_mean_of_opinions(rule):
    model, (x, present) = model_of(rule), batch()
    out, some = model(x, present), present.any(-1)
    assert torch.allclose(out.weights.sum(-1), some.float(), atol=1e-6)
    mean = (out.weights * out.opinions).sum(-1)
    assert torch.allclose(out.score[some], mean[some], atol=1e-6)
    assert torch.allclose(out.score[~some], model.head.bias[:, 0, 0])  # nothing heard: u_0


def test_one_modality_gets_all_the_weight():
    x, present = batch({"text": 5})
    out = model_of("daf", {"text": 5})(x, present)
    assert torch.equal(out.weights, present.float())


def test_temperature_evens_the_weights():
    x, present = batch()
    models = [model_of("daf", temperature=t) for t in (0.1, 1, 1e4)]
    spread = [model(x, present).weights[:, 0].std(-1).max() for model in models]
    assert spread[0] > spread[1] > spread[2] and spread[2] < 1e-4


@every_rule
def test_members_never_mix(rule):
    model, (x, present) = model_of(rule), batch()
    model(x, present).score[0].sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad[1:] == 0).all(), name
    alone = model_of(rule, seeds=[1])({m: v[1:2] for m, v in x.items()}, present[1:2])
    assert torch.allclose(alone.score[0], model(x, present).score[1], atol=1e-6)


def test_fusion_parameters_are_the_rules_own():
    own = {rule: {name.split(".")[0] for name, _ in create(rule, DIMS).fusion_parameters()}
           for rule in RULES}  # fmt: skip
    assert own["mean"] == set() and own["static"] == {"theta"}
    assert own["daf"] == {"scorer_in", "scorer_out"}
    assert all(own[rule] for rule in RULES if rule != "mean")


def test_initial_weights_are_within_torchs_bounds():
    weight = model_of("daf").project["text"].weight
    assert weight.abs().max() <= 5**-0.5 and weight.std() > 0.2
    assert not torch.equal(weight[0], weight[1])


def test_unknown_rule_names_the_choices():
    with pytest.raises(ValueError, match=r"unknown fusion rule 'sum'; choose one of mean, .*daf"):
        create("sum", DIMS)


# Masks


def test_masks_have_their_rate_and_keep_the_mean():
    rates = (0.0, 0.25, 0.5)
    scale = none(rates).scale((100, 400))
    for k, rate in enumerate(rates):
        assert (scale[k] == 0).float().mean() == pytest.approx(rate, abs=0.01)
        assert scale[k].mean() == pytest.approx(1, abs=0.02)
        assert scale[k].max() == pytest.approx(1 / (1 - rate))


def test_a_members_masks_are_its_own():
    together, alone = none((0.5, 0.5, 0.2)), none((0.5,), first_seed=1)
    for shape in ((4, 5), (7,)):
        drawn = together.keep(shape)
        assert torch.equal(drawn[1], alone.keep(shape)[0])
        assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("rate", [-0.1, 1.0, 0.999])
def test_impossible_rate(rate):
    with pytest.raises(ValueError, match=f"dropout rate {rate}: give one from 0 to 0.99"):
        none((rate,))


def noise(features=0.0, hidden=0.0, modalities=0.0):
    rates = {"features": features, "hidden": hidden, "modalities": modalities}
    return Noise(*(none((rate,) * S, part) for part, rate in rates.items()))


def test_feature_dropout_is_one_mask_a_batch():
    model, (x, present) = model_of("mean"), batch()
    before = {m: v.clone() for m, v in x.items()}
    model(x, present, noise(features=0.5))
    for m, values in x.items():  # overwritten, as documented
        factor = values / before[m]
        assert torch.allclose(factor, factor[:, :1].expand_as(factor), atol=1e-5)
        assert set(factor.round().unique().tolist()) <= {0, 2}


def test_hidden_dropout_acts_on_single_units():
    model, (x, _) = model_of("mean"), batch()
    h = model.embed(x, noise(hidden=0.5)) / model.embed(x, None)
    assert set(h.round().unique().tolist()) == {0, 2}


def test_modality_dropout_spares_one_modality():
    model, (x, present) = model_of("mean"), batch()
    out = model(x, present, noise(modalities=0.9))
    hidden = (out.weights == 0) & present
    assert hidden.any() and (out.weights.sum(-1).round() == present.any(-1)).all()


def test_no_noise_leaves_no_trace():
    model, (x, present) = model_of("daf"), batch()
    assert torch.equal(model(x, present, noise()).score, model(x, present).score)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@every_rule
def test_gpu_agrees_with_cpu(rule):
    model, (x, present) = model_of(rule), batch()
    here = model(x, present).score
    there = model.cuda()({m: v.cuda() for m, v in x.items()}, present.cuda()).score
    assert torch.allclose(here, there.cpu(), atol=1e-4)
    dropped = model({m: v.cuda() for m, v in x.items()}, present.cuda(), noise(0.5, 0.5, 0.5))
    assert dropped.score.isfinite().all()
