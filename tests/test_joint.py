"""The joint model has both papers as its limits, outputs and training; bad input is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlib.daf import fusion, train
from mmlib.data import Corpus, DataError, Sequences
from mmlib.data.targets import Targets
from mmlib.dyfulm import frozen, joint
from mmlib.dyfulm.joint import Joint, JointSettings
from mmlib.dyfulm.model import DyFuLM
from mmlib.stack.layers import Masks, Noise
from mmlib.stack.task import Streams
from mmlib.stack.vectors import Features, Scaler
from mmlib.text import encoding

S, B, T, WIDTH = 2, 7, 3, 8
DIMS, LAYERS, OTHERS = (6, 5), (3, 4), {"audio": 4, "vision": 3}
SIZES = {"train": 64, "valid": 32, "test": 24}
LIKE_DAF = dict(gate="a", layer_fusion="last", sigmoid=False, heads=False)
TINY = JointSettings(shape={"width": WIDTH}, batch=16, epochs=4, patience=4, lr=1e-2)


def data(seed=0):
    """Random features of which each modality knows a part of the sentiment; some are absent."""
    rng, n = np.random.default_rng(seed), sum(SIZES.values())
    shapes = dict(zip("ab", zip(LAYERS, DIMS, strict=True), strict=True))
    shapes |= {m: (d,) for m, d in OTHERS.items()}
    x = {m: rng.standard_normal((n, *s)).astype(np.float32) for m, s in shapes.items()}
    present = np.ones((n, 4), bool)
    present[::9, 2], present[3::7, 3] = False, False
    for m, k in (("audio", 2), ("vision", 3)):
        x[m] *= present[:, k, None]
    known = x["a"][:, -1, 0] + x["b"][:, 1, 0] + x["audio"][:, 0] + x["vision"][:, 0]
    label = np.clip(known + 0.2 * rng.standard_normal(n), -3, 3).astype(np.float32)
    fine = np.round(label.clip(-2, 2)).astype(np.int64) + 2
    targets = Targets(np.sign(label).astype(np.int64) + 1, fine, (label + 3) / 6)
    names, split = tuple(f"u{i}" for i in range(n)), np.repeat(list(SIZES), list(SIZES.values()))
    return Features("toy", names, names, split, label, x, present, Scaler({}, {})), targets


DATA, TARGETS = data()
TEST = DATA.take(DATA.rows("test"))
TEXT = DATA.only(["a", "b"])


def model_of(others=OTHERS, **switches):
    model = Joint(DIMS, LAYERS, others, WIDTH, S, **switches)
    model.reset([Streams.of(seed).weights for seed in range(S)])
    if model.guide is not None:  # not at its neutral start
        model.guide.weight.data = torch.randn(
            model.guide.weight.shape, generator=torch.Generator().manual_seed(1)
        )
    return model


def batch(seed=0):
    """x and present of a batch in which every modality is absent somewhere."""
    draw = torch.Generator().manual_seed(seed)
    x = {"a": torch.randn(S, B, T, LAYERS[0], DIMS[0], generator=draw),
         "b": torch.randn(S, B, T, LAYERS[1], DIMS[1], generator=draw)}  # fmt: skip
    x |= {m: torch.randn(S, B, d, generator=draw) for m, d in OTHERS.items()}
    present = torch.ones(S, B, 3, dtype=torch.bool)
    present[:, 0, 0] = present[:, 1, 1] = present[:, 2, 2] = present[:, 3, 1:] = False
    return x, present


def close(one, other, atol=1e-6):
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None or b is not None]
    assert pairs
    return all(torch.allclose(torch.as_tensor(a), torch.as_tensor(b), atol=atol) for a, b in pairs)


# The limit of one paper: DyFuLM


@pytest.mark.parametrize(
    "switches", [{}, {"gate": "concat"}, {"gate": "b"}, {"guidance": False}, {"scope": "token"}]
)
@pytest.mark.parametrize("rule", ["daf", "mean", "static"])
def test_on_text_alone_without_tanh_it_is_dyfulm(switches, rule):
    model = model_of({}, rule=rule, tanh=False, **switches)
    paper = DyFuLM(DIMS, LAYERS, WIDTH, S, **switches)
    own = model.state_dict()
    paper.load_state_dict({name: own[name] for name in paper.state_dict()})
    x, present = batch()
    mask = torch.arange(T) < torch.tensor([[3, 1, 2, 3, 2, 1, 3]])[..., None]
    mask = mask.expand(S, B, T)
    output, weights = model(x, present[..., :1] | True, mask)
    assert close(output, paper(x["a"], x["b"], mask))
    assert (weights == 1).all()
    assert not close(model_of({}, rule=rule, **switches)(x, present[..., :1] | True)[0],
                     paper(x["a"], x["b"]), 1e-3)  # fmt: skip


def test_trained_from_the_same_seeds_it_is_still_dyfulm():
    shape = {"width": WIDTH, "tanh": False}
    own = joint.train(TEXT, TARGETS, replace(TINY, shape=shape), range(2))
    like = frozen.Settings(shape={"width": WIDTH}, batch=16, epochs=4, patience=4, lr=1e-2)
    paper = frozen.fit(TEXT, TARGETS, like, range(2))
    one, other = own.predict(TEST), paper.predict(TEST)
    np.testing.assert_allclose(one.intensity, other.intensity, atol=1e-5)
    np.testing.assert_allclose(own.valid_loss, paper.valid_loss, atol=1e-5)
    assert (own.best_epoch == paper.best_epoch).all()
    assert np.abs(one.intensity - one.intensity.mean()).max() > 0.05  # it says something


# The limit of the other: DAF


def daf_view(x, present):
    """What DAF gets: the last layer of encoder a as its text."""
    return {"text": x["a"][..., -1, :].mean(2), **{m: x[m] for m in OTHERS}}, present


@pytest.mark.parametrize("rule", fusion.RULES)
def test_with_one_layer_one_head_and_tanh_it_is_daf(rule):
    model = model_of(rule=rule, **LIKE_DAF)
    paper = fusion.create(rule, {"text": DIMS[0], **OTHERS}, S, width=WIDTH)
    renamed = {"fusion.a.project": "project.text", "intensity": "head", "daf.": ""}
    state = model.state_dict()
    for ours, theirs in renamed.items():
        state = {name.replace(ours, theirs, 1): value for name, value in state.items()}
    paper.load_state_dict(state)  # strict: there is nothing else
    x, present = batch()
    output, weights = model(x, present)
    said = paper(*daf_view(x, present))
    assert close([output.intensity, weights], [said.score, said.weights], 1e-5)
    assert output.coarse is output.fine is output.guidance is None


def test_trained_from_the_same_seeds_it_is_still_daf():
    last = replace(DATA, x={**DATA.x, "a": DATA.x["a"][:, -1:]}).only(["a", "audio", "vision"])
    how = dict(batch=16, epochs=4, patience=4, lr=3e-3, fusion_lr=2.0, modality_dropout=0.2)
    shape = {"width": WIDTH, **LIKE_DAF}
    own = joint.train(DATA, TARGETS, JointSettings(shape=shape, **how), range(2))
    paper = train.fit(joint.flat(last), train.Settings(shape={"width": WIDTH}, dropout=0.3, **how),
                      range(2))  # fmt: skip
    one = own.predict(TEST)
    other = paper.predict(joint.flat(last).take(DATA.rows("test")))
    assert one.coarse is None
    np.testing.assert_allclose(one.intensity, other.score, atol=1e-3)
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-3)
    np.testing.assert_allclose(own.valid_loss, paper.valid_loss, atol=1e-3)


# Every part learns, and what is absent does not matter


@pytest.mark.parametrize(
    "switches", [{}, {"rule": "concat"}, {"sigmoid": False}, LIKE_DAF], ids=str
)
def test_gradients_reach_every_part(switches):
    model = model_of(**switches)
    x, present = batch()
    output, _ = model(x, present)
    parts = [y for y in (output.fine, output.coarse, output.intensity) if y is not None]
    sum(y.square().sum() for y in parts).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_an_absent_modality_has_no_weight_and_no_say():
    model, (x, present) = model_of(), batch()
    rubbish = {m: values + 50.0 for m, values in x.items()}
    output, weights = model(x, present)
    assert (weights[~present] == 0).all()
    assert torch.allclose(weights.sum(-1), torch.ones(S, B))
    for k, names in enumerate((("a", "b"), ("audio",), ("vision",))):
        absent = ~present[0, :, k]
        other, _ = model({**x, **{m: rubbish[m] for m in names}}, present)
        assert absent.any() and torch.equal(output.fine[:, absent], other.fine[:, absent])
        assert not torch.allclose(output.fine[:, ~absent], other.fine[:, ~absent], atol=1e-3)


def test_padded_positions_do_not_matter():
    model, (x, present) = model_of(scope="token"), batch()
    mask = torch.ones(S, B, T, dtype=torch.bool)
    mask[..., -1] = False
    other = {**x, **{k: torch.cat([x[k][:, :, :-1], x[k][:, :, -1:] + 9], dim=2) for k in "ab"}}
    assert close(model(x, present, mask)[0][:3], model(other, present, mask)[0][:3], 1e-5)


def test_noise_at_rate_zero_is_none_and_a_last_modality_stays():
    model, (x, present) = model_of(), batch()
    streams = [[np.random.default_rng(s) for s in range(S)] for _ in range(3)]
    idle = Noise(*(Masks(own, [0.0] * S) for own in streams))
    assert torch.equal(model(x, present, noise=idle)[0].fine, model(x, present)[0].fine)
    hiding = idle._replace(modalities=Masks(streams[2], [0.9] * S))
    _, weights = model(x, present, noise=hiding)
    assert torch.allclose(weights.sum(-1), torch.ones(S, B))
    assert (weights > 0).sum() < present.sum()
    columns = idle._replace(features=Masks(streams[0], [0.5] * S))
    assert not torch.allclose(model(x, present, noise=columns)[0].fine, model(x, present)[0].fine)


# Training


@pytest.fixture(scope="module")
def stack():
    """Two settings x three seeds."""
    return joint.train(
        DATA, TARGETS, [TINY, replace(TINY, lr=3e-3, modality_dropout=0.2)], range(3)
    )


@pytest.mark.parametrize("k", [0, 4])
def test_a_member_alone_is_the_same(stack, k):
    member = stack.members[k]
    alone = joint.train(DATA, TARGETS, member.settings, [member.seed])
    assert alone.best_epoch[0] == stack.best_epoch[k]
    one, other = alone.predict(TEST), stack.predict(TEST)
    np.testing.assert_allclose(one.intensity[0], other.intensity[k], atol=1e-3)
    np.testing.assert_allclose(one.weights[0], other.weights[k], atol=1e-3)


def test_it_learns_what_only_the_others_know(stack):
    def error(features, settings):
        said = joint.train(features, TARGETS, settings, range(3)).predict(TEST).intensity
        return np.abs(6 * said - 3 - TEST.label).mean()

    longer = replace(TINY, epochs=20, patience=20)
    assert error(DATA, longer) < error(TEXT, longer) - 0.1
    assert stack.predict(TEST).weights.shape == (6, SIZES["test"], 3)


def test_the_test_split_is_never_read():
    rows = DATA.rows("test")
    x = {m: values.copy() for m, values in DATA.x.items()}
    for values in x.values():
        values[rows] = np.nan
    other = joint.train(replace(DATA, x=x), TARGETS, TINY, [0])
    assert other.valid_loss == joint.train(DATA, TARGETS, TINY, [0]).valid_loss


def test_one_encoder_alone_does_not_see_the_other():
    one = replace(TINY, shape={"width": WIDTH, "gate": "a"})
    without = joint.train(DATA.only(["a", "audio", "vision"]), TARGETS, one, [0])
    assert without.valid_loss == joint.train(DATA, TARGETS, one, [0]).valid_loss
    assert without.predict(TEST).fine.shape == (1, SIZES["test"])


def test_folds_tell_candidates_apart():
    found = joint.train(DATA, TARGETS, [TINY, replace(TINY, lr=1e-6)], [0], folds=2)
    assert len(found.members) == 4
    assert found.valid_loss[:2].mean() < found.valid_loss[2:].mean()


# Features


def corpus(n=24, audio=True, text=True):
    ids, split = tuple(f"u{i}" for i in range(n)), np.resize(["train", "train", "valid", "test"], n)
    frames = np.random.default_rng(0).standard_normal((2 * (n - 1), 2))
    heard = (
        {"audio": Sequences(frames, np.r_[0, np.full(n - 1, 2)], ("F0", "VUV"))} if audio else {}
    )
    return Corpus("toy", "v1", ids, ids, split, np.zeros(n), ids if text else None, heard)


@pytest.fixture
def encoded(monkeypatch):
    def encode(texts, encoder, **options):
        rng = np.random.default_rng(len(encoder))
        return rng.normal(3, 2, (len(texts), 2, len(encoder))).astype(np.float32)

    monkeypatch.setattr(encoding, "encode", encode)


def test_features_hold_both_encoders_and_the_others(encoded):
    found = joint.build(corpus(), "one", "second")
    assert {m: x.shape for m, x in found.x.items()} == {
        "a": (24, 2, 3), "b": (24, 2, 6), "audio": (24, 4)}  # fmt: skip
    assert found.present[:, :2].all() and not found.present[0, 2] and found.present[1:, 2].all()
    assert set(found.scaler.mean) == {"a", "b", "audio"}
    assert joint.build(corpus(), "one", "second", ["text"]).modalities == ("a", "b")


def test_daf_s_view_has_the_states_end_to_end():
    absent = DATA.present.copy()
    absent[5, 1] = False
    view = joint.flat(replace(DATA, present=absent))
    assert view.modalities == ("text", "audio", "vision")
    both = np.concatenate([DATA.x["a"][3].ravel(), DATA.x["b"][3].ravel()])
    assert (view.x["text"][3] == both).all()
    assert not view.present[5, 0] and view.present[:5, 0].all()
    assert (view.present[:, 1:] == DATA.present[:, 2:]).all()
    assert joint.flat(TEXT).modalities == ("text",)


# Bad input


@pytest.mark.parametrize(
    "given, modalities, says",
    [
        (corpus(text=False), None, "toy: the joint model reads text, and this is audio only"),
        (corpus(), ["audio"], "reads text, and this is audio only"),
        (corpus(), ["text", "vision"], "toy has no vision; it has text, audio"),
        (corpus(audio=False), ["text", "audio"], "toy has no audio; it has text"),
    ],
)
def test_a_modality_that_is_not_there(encoded, given, modalities, says):
    with pytest.raises(DataError, match=says) as caught:
        joint.build(given, "one", "second", modalities)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "features, settings, error, says",
    [
        (DATA.only(["a", "audio"]), TINY, DataError, "no text states of encoder b; build them, or"),
        (DATA.only(["audio"]), TINY, DataError, "no text states of encoder a and b"),
        (DATA.only(["a"]), replace(TINY, shape={"gate": "b"}), DataError, "of encoder b"),
        (DATA, replace(TINY, shape={"rule": "sum"}), ValueError, "unknown fusion rule 'sum'"),
        (DATA, replace(TINY, shape={"gate": "c"}), ValueError, "unknown gate 'c'"),
        (DATA, replace(TINY, shape={"heads": False}), ValueError, "it needs sigmoid=False"),
        (DATA, [], ValueError, "no settings to train with"),
        (DATA, [TINY, replace(TINY, corner=0.1)], ValueError, "2 different shapes"),
    ],
)
def test_bad_input_of_training(features, settings, error, says):
    with pytest.raises(error, match=says) as caught:
        joint.train(features, TARGETS, settings, [0])
    assert "\n" not in str(caught.value)


def test_features_that_the_model_was_not_made_for(stack):
    with pytest.raises(DataError, match="asked for; toy has"):
        stack.predict(TEXT)
    other = replace(TEST, x={**TEST.x, "audio": TEST.x["audio"][:, 1:]})
    with pytest.raises(DataError, match="toy: audio has 3 features, training had 4"):
        stack.predict(other)
