"""DyFuLM's stack is its members, each alone; weightings follow them; the test split is not read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlib.data import Corpus, DataError
from mmlib.dyfulm import frozen, losses
from mmlib.dyfulm.frozen import Settings, fit
from mmlib.dyfulm.losses import WEIGHTINGS, Targets
from mmlib.dyfulm.model import DyFuLM
from mmlib.stack import loop, training
from mmlib.stack.task import Member, Streams, same_shape
from mmlib.stack.vectors import Features, Scaler
from mmlib.text import encoding

LAYERS, DIMS = (3, 4), (6, 5)
SIZES = {"train": 60, "valid": 30, "test": 30}
TINY = Settings(shape={"width": 4}, batch=16, epochs=4, patience=4, lr=1e-2, fusion_lr=2.0)


def data(seed=0):
    """Random states of which each encoder knows half of the sentiment."""
    rng, n = np.random.default_rng(seed), sum(SIZES.values())
    a, b = (rng.standard_normal((n, *s)).astype(np.float32) for s in zip(LAYERS, DIMS, strict=True))
    seen = rng.standard_normal((2, n))  # by each encoder in one of its layers
    a[:, 1, 0], b[:, 2, 0] = 3 * seen
    sentiment = np.tanh(seen.sum(axis=0) + 0.2 * rng.standard_normal(n))
    fine = np.digitize(sentiment, [-0.8, -0.3, 0.3, 0.8])
    targets = Targets(np.sign(fine - 2) + 1, fine, (sentiment.astype(np.float32) + 1) / 2)
    names = tuple(f"r{i}" for i in range(n))
    split = np.repeat(list(SIZES), list(SIZES.values()))
    x, present = {"a": a, "b": b}, np.ones((n, 2), bool)
    return Features("random", names, names, split, sentiment, x, present, Scaler({}, {})), targets


STATES, TARGETS = data()
ROWS = {split: STATES.rows(split) for split in SIZES}


def parameters(model, k=0):
    return {name: value[k].clone() for name, value in model.state_dict().items()}


def same(a, b, atol):
    return all(torch.allclose(a[name], b[name], atol=atol) for name in a)


# The stack is its members, each alone


def plain_loop(settings: Settings, seed: int, steps: int) -> dict[str, torch.Tensor]:
    """The usual loop: one model, torch's AdamW, the sum of three losses."""
    streams, targets = Streams.of(seed), frozen.as_tensors(TARGETS)
    model = DyFuLM(DIMS, LAYERS, **settings.shape).reset([streams.weights])
    own = dict(model.fusion_parameters())
    rest = [p for name, p in model.named_parameters() if name not in own]
    groups = [{"params": rest}, {"params": own.values(), "lr": settings.lr * settings.fusion_lr}]
    adamw = torch.optim.AdamW(
        groups, lr=settings.lr, weight_decay=settings.weight_decay, eps=loop.EPS
    )
    noise = frozen.noise([Member(settings, seed, ROWS["train"], ROWS["valid"])], [streams])
    order = torch.from_numpy(
        np.concatenate([streams.order.permutation(ROWS["train"])[:48] for _ in range(steps // 3)])
    )
    for rows in order.split(settings.batch):
        a, b = (torch.from_numpy(x)[rows][None, :, None] for x in STATES.x.values())
        said = model(a, b, noise=noise)
        loss = losses.task_losses(said, Targets(*(v[rows][None] for v in targets))).sum()
        adamw.zero_grad()
        loss.backward()
        adamw.step()
    return parameters(model)


@pytest.mark.parametrize(
    "shape", [{}, {"gate": "a"}, {"layer_fusion": "static", "guidance": False}]
)
def test_a_stack_is_so_many_plain_loops(shape):
    steps, after = 12, {}
    one = replace(TINY, shape={"width": 4, **shape}, weighting="static")
    settings = [one, replace(one, lr=3e-3, dropout=0.4, feature_dropout=0.0)]

    def keep(step, learner):
        if step == steps:
            after.update({k: parameters(learner.model, k) for k in range(4)})

    found = fit(STATES, TARGETS, settings, (3, 5), on_step=keep)
    for k, member in enumerate(found.members):
        assert same(plain_loop(member.settings, member.seed, steps), after[k], 1e-5), k


PATIENT = replace(TINY, epochs=20, patience=2)
VARIED = [replace(PATIENT, lr=0.1), PATIENT, replace(PATIENT, lr=3e-2)]


@pytest.fixture(scope="module", params=WEIGHTINGS)
def stack(request):
    """Three settings x three seeds that stop one after the other."""
    return fit(STATES, TARGETS, [replace(one, weighting=request.param) for one in VARIED], range(3))


@pytest.mark.parametrize("k", [0, 4, 8])
def test_a_member_alone_is_the_same(stack, k):
    member = stack.members[k]
    alone = fit(STATES, TARGETS, member.settings, [member.seed])
    assert len(set(stack.best_epoch)) > 2
    assert alone.best_epoch[0] == stack.best_epoch[k]
    assert alone.valid_loss[0] == pytest.approx(stack.valid_loss[k], abs=1e-3)
    assert same(parameters(alone.model), parameters(stack.model, k), 1e-3)


def test_a_member_is_left_at_its_best_by_the_criterion(stack):
    said = stack.predict(STATES.take(ROWS["valid"]))
    truth = {name: v[ROWS["valid"]] for name, v in TARGETS._asdict().items()}
    at = np.arange(len(truth["fine"]))
    losses = [-np.log(p[:, at, truth[name]]).mean(axis=1)
              for name, p in (("coarse", said.p_coarse), ("fine", said.p_fine))]  # fmt: skip
    losses.append(((said.intensity - truth["intensity"]) ** 2).mean(axis=1))
    known = TARGETS.coarse[ROWS["train"]], TARGETS.fine[ROWS["train"]]
    shares = [np.unique(v, return_counts=True)[1] / SIZES["train"] for v in known]
    constant = [-(p * np.log(p)).sum() for p in shares] + [TARGETS.intensity[ROWS["train"]].var()]
    expected = np.mean([a / b for a, b in zip(losses, constant, strict=True)], axis=0)
    np.testing.assert_allclose(stack.valid_loss, expected, rtol=1e-4)
    curve = (stack.curves["valid"] / constant).mean(axis=-1)  # (epochs, s)
    np.testing.assert_allclose(np.nanmin(curve, axis=0), expected, rtol=1e-4)
    assert stack.valid_loss.min() < 0.8  # and it learns


def test_two_runs_agree_bit_for_bit(stack):
    again = fit(STATES, TARGETS, [m.settings for m in stack.members[::3]], range(3))
    for name, value in stack.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


def test_the_test_split_is_never_read():
    spoilt = replace(STATES, x={name: x.copy() for name, x in STATES.x.items()})
    targets = Targets(*(v.copy() for v in TARGETS))
    for array in (*spoilt.x.values(), targets.intensity):
        array[ROWS["test"]] = np.nan
    targets.fine[ROWS["test"]] = 0
    clean, other = fit(STATES, TARGETS, TINY, [0]), fit(spoilt, targets, TINY, [0])
    assert (clean.valid_loss == other.valid_loss).all()


def test_a_single_encoder_does_not_see_the_other():
    blind = replace(STATES, x={**STATES.x, "b": np.full_like(STATES.x["b"], np.nan)})
    one = replace(TINY, shape={"width": 4, "gate": "a"})
    found = fit(blind, TARGETS, one, [0])
    assert found.valid_loss == fit(STATES, TARGETS, one, [0]).valid_loss
    said = found.predict(blind)
    assert np.isfinite(said.intensity).all() and said.gate is None and said.alpha_b is None


def test_class_weights_raise_the_rare_class():
    rare = TARGETS._replace(coarse=np.where(np.arange(len(STATES)) % 12, 0, 2))
    plain, even = (
        fit(STATES, rare, replace(TINY, class_weights=on, lr=0.1), range(3)) for on in (False, True)
    )
    share = [one.predict(STATES).p_coarse[..., 2].mean() for one in (plain, even)]
    assert share[1] > 2 * share[0]


# Folds


def test_folds_hold_out_whole_groups_and_all_of_them():
    data = replace(STATES, groups=tuple(f"g{i // 5}" for i in range(len(STATES))))
    with pytest.raises(DataError, match="folds=0 do not suit"):
        fit(data, TARGETS, TINY, [0], folds=0)
    found = fit(data, TARGETS, [TINY, replace(TINY, lr=1e-3)], [0, 1], folds=3)
    assert len(found.members) == 12
    held = [member.valid for member in found.members[:6:2]]
    assert sorted(np.concatenate(held)) == np.flatnonzero(data.split != "test").tolist()
    for member in found.members:
        groups = [{data.groups[i] for i in rows} for rows in member[2:]]
        assert not groups[0] & groups[1]


def test_select_takes_the_lowest_cross_validated_criterion():
    choice = [replace(TINY, lr=1e-6), TINY, replace(TINY, lr=1e-5)]
    best, errors = frozen.select(STATES, TARGETS, choice, folds=3, seeds=(0, 1))
    assert best == TINY and errors.argmin() == 1 and errors.shape == (3,)
    alone = fit(STATES, TARGETS, TINY, (0, 1), folds=3)
    assert errors[1] == pytest.approx(alone.valid_loss.mean(), abs=1e-3)


# Predicting


def test_prediction_in_blocks_has_classes_and_what_led_to_them(stack, monkeypatch):
    whole = stack.predict(STATES)
    monkeypatch.setattr(training, "BLOCK", 7)
    for a, b in zip(whole, stack.predict(STATES), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert (whole.coarse == whole.p_coarse.argmax(-1)).all()
    assert (whole.fine == whole.p_fine.argmax(-1)).all()
    assert whole.alpha_a.shape == (9, 120, 3) and whole.alpha_b.shape == (9, 120, 4)
    assert whole.gate.shape == whole.guidance.shape == (9, 120, 4)


# States


def corpus(n=40):
    ids, split = tuple(f"r{i}" for i in range(n)), np.resize(["train", "train", "valid", "test"], n)
    return Corpus("toy", "seed 1", ids, ids, split, np.zeros(n), text=ids, checksums={"x": "abc"})


def test_states_are_scaled_by_the_training_split(monkeypatch):
    asked = []

    def encode(texts, encoder, **options):
        asked.append((encoder, options))
        rng = np.random.default_rng(len(encoder))
        return rng.normal(3, 2, (len(texts), 2, len(encoder))).astype(np.float32)

    monkeypatch.setattr(encoding, "encode", encode)
    toy = corpus()
    found = frozen.states(toy, "one", "second", max_length=64)
    options = {"layers": "all", "max_length": 64}
    assert asked == [("one", options), ("second", options)]
    assert found.dims == {"a": 3, "b": 6} and found.ids == toy.ids
    assert [x.shape for x in found.x.values()] == [(40, 2, 3), (40, 2, 6)]
    assert found.origin["encoders"] == {"a": "one", "b": "second", **options}
    for x in found.x.values():
        np.testing.assert_allclose(x[toy.split == "train"].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(x[toy.split == "train"].std(axis=0), 1, atol=1e-4)
    other = frozen.states(toy.take(np.arange(4)), "one", "second", found.scaler)
    np.testing.assert_allclose(other.x["a"], found.x["a"][:4], atol=1e-6)  # not scaled anew
    with pytest.raises(DataError, match="b has 6 features, training had 12"):
        frozen.states(toy, "one", "two", found.scaler)
    some = found.take(np.array([3, 1]))
    assert some.ids == ("r3", "r1") and (some.x["a"] == found.x["a"][[3, 1]]).all()


# Bad input

NOTHING = replace(STATES, x={name: x * np.nan for name, x in STATES.x.items()})


@pytest.mark.parametrize(
    "states, settings, error, says",
    [
        (STATES, [TINY, replace(TINY, weighting="dwa")], ValueError, "2 different shapes"),
        (STATES, [TINY, replace(TINY, shape={})], ValueError, "2 different shapes"),
        (STATES, replace(TINY, weighting="gradnorm"), ValueError, "unknown weighting"),
        (STATES, replace(TINY, regression="l1"), ValueError, "unknown regression 'l1'"),
        (STATES, replace(TINY, shape={"gate": "c"}), ValueError, "unknown gate 'c'"),
        (STATES.take(ROWS["train"]), TINY, DataError, "no utterance in split valid"),
        (NOTHING, TINY, DataError, "a holds values that are not finite"),
    ],
)
def test_bad_input_of_fit(states, settings, error, says):
    with pytest.raises(error, match=says) as caught:
        fit(states, TARGETS, settings, [0])
    assert "\n" not in str(caught.value)


def test_a_validation_loss_that_is_not_finite_is_an_error():
    intensity = TARGETS.intensity.copy()
    intensity[ROWS["valid"][0]] = np.nan
    with pytest.raises(
        FloatingPointError, match=r"the validation loss of seed 3 .* after epoch 1:"
    ):
        fit(STATES, TARGETS._replace(intensity=intensity), TINY, [3])


def test_a_target_that_does_not_vary_is_refused():
    constant = TARGETS._replace(coarse=np.ones_like(TARGETS.coarse))
    with pytest.raises(DataError, match="coarse is the same for all training utterances; use more"):
        fit(STATES, constant, TINY, [3])


def test_bad_input_elsewhere():
    with pytest.raises(DataError, match="toy has no text"):
        frozen.states(replace(corpus(), text=None), "minilm", "minilm")
    model = DyFuLM(DIMS, LAYERS, 4).reset([Streams.of(0).weights])
    with pytest.raises(ValueError, match="encoder b gave"):
        frozen.predict(model, replace(STATES, x={**STATES.x, "b": STATES.x["b"][:, 1:]}))
    with pytest.raises(ValueError, match=r"2 different shapes .* a and b must agree"):
        same_shape([Both(1, 2), Both(1, 3)], ("a", "b"))


class Both:
    def __init__(self, a, b):
        self.a, self.b = a, b


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_trains_the_same_models(stack):
    settings = [member.settings for member in stack.members[::3]]
    there = fit(STATES, TARGETS, settings, range(3), device="cuda")
    np.testing.assert_allclose(there.curves["valid"][:3], stack.curves["valid"][:3], atol=1e-3)
    assert there.predict(STATES).intensity.shape == (9, 120)
