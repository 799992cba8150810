"""Measures of gate, layers, tasks and guidance on arrays whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlib.dyfulm import interpret as interpret
from mmlib.dyfulm.frozen import Fit, Learner, Settings, fit
from mmlib.dyfulm.losses import TASKS, Targets, task_losses, weighting
from mmlib.dyfulm.model import DyFuLM
from mmlib.stack.vectors import Features, Scaler

N, LAYERS, DIMS = 90, (3, 4), (6, 5)


def data(seed=0):
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal((N, *s)).astype(np.float32) for s in zip(LAYERS, DIMS, strict=True))
    fine = rng.integers(0, 5, N)
    a[:, 1, 0], b[:, 2, 0] = 3 * (fine - 2), 3 * (2 - fine)
    ids = tuple(f"r{i}" for i in range(N))
    targets = Targets(np.sign(fine - 2) + 1, fine, (fine / 4).astype(np.float32))
    split = np.resize(["train", "train", "valid"], N)
    x, present = {"a": a, "b": b}, np.ones((N, 2), bool)
    return Features("toy", ids, ids, split, fine, x, present, Scaler({}, {})), targets


STATES, TARGETS = data()
TINY = Settings({"width": 8}, "static", batch=20, epochs=20, patience=20, lr=3e-2)


@pytest.fixture(scope="module")
def trained():
    hook = interpret.Gradients(STATES, TARGETS, every=10, utterances=40)
    return fit(STATES, TARGETS, TINY, range(3), on_step=hook), hook


# The gate


def test_gates_tell_a_mixture_from_a_choice():
    still, fixed, chooses = np.full((10, 4), 0.5), np.full((10, 4), 0.5), np.full((10, 4), 0.5)
    fixed[:, :2], fixed[:, 2:] = 0.95, 0.05
    chooses[::2], chooses[1::2] = 0.95, 0.05
    table = interpret.gates(np.stack([still, fixed, chooses]))
    assert table["near_half"].tolist() == [1, 0, 0]
    np.testing.assert_allclose(table["mean"], 0.5)
    np.testing.assert_allclose(table[["open_a", "open_b"]], [[0, 0], [0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(table["sd_units"], [0, 0.45, 0], atol=1e-12)
    np.testing.assert_allclose(table["sd_inputs"], [0, 0, 0.45], atol=1e-12)


def test_words_are_ranked_from_a_to_b():
    words = ["Clean", "clean", "noisy", "noisy", "rare"]
    table = interpret.by_word(words, np.array([0.9, 0.7, 0.1, 0.3, 1.0]), least=2)
    assert table.index.tolist() == ["clean", "noisy"] and table["n"].tolist() == [2, 2]
    np.testing.assert_allclose(table["gate"], [0.8, 0.2])


def test_words_in_place_have_the_mean_gate_of_their_positions():
    texts = ["Not good,  at all!", " \n", "good --"]
    spans = np.array([[0, 3], [4, 6], [6, 8], [8, 9], [11, 13], [14, 17], [0, 4], [5, 7]])
    gate = np.array([0.1, 0.2, 0.6, 0.7, 0.3, 0.4, 0.9, 0.5])
    words, found = interpret.in_context(texts, np.array([6, 0, 2]), spans, gate)
    assert words == ["Not", "good", "at", "all", "good"]
    np.testing.assert_allclose(found, [0.1, 0.5, 0.3, 0.4, 0.9])


# The layers


def test_the_concentration_of_layer_weights():
    alpha = np.array([[[0.2, 0.8], [0.6, 0.4], [0.4, 0.6]]])  # (s, n, l)
    assert interpret.largest(alpha) == pytest.approx(2 / 3)


# The tasks


def test_gradients_are_those_of_each_loss(trained):
    table = trained[1].table
    assert table.index.tolist() == [10, 20, 30, 40, 50, 60]
    assert np.isfinite(table).all(axis=None) and (table.filter(like="norm_") > 0).all(axis=None)
    assert table.filter(like="cos_").abs().max(axis=None) <= 1

    learner = Learner(trained[0].model, weighting("static", 3))
    hook = interpret.Gradients(STATES, TARGETS, utterances=N)
    hook(10, learner)
    rows = STATES.rows("train")

    def inputs():
        return (torch.from_numpy(v[rows])[None, :, None].repeat(3, 1, 1, 1, 1)
                for v in STATES.x.values())  # fmt: skip

    truth = Targets(*(torch.from_numpy(v[rows]).repeat(3, 1) for v in TARGETS))
    losses = task_losses(learner.model(*inputs()), truth)
    pulls = []
    for k, task in enumerate(TASKS):
        learner.zero_grad()
        losses[:, k].sum().backward(retain_graph=True)
        shared = [p.grad.flatten(1) for n, p in learner.model.named_parameters()
                  if n.startswith(("fusion", "gate"))]  # fmt: skip
        pulls.append(torch.cat(shared, dim=1))
        expected = float(pulls[-1].norm(dim=1).mean())
        assert hook.table[f"norm_{task}"].item() == pytest.approx(expected, rel=1e-4)
    cosine = torch.cosine_similarity(pulls[0], pulls[1]).mean()
    assert hook.table["cos_coarse_fine"].item() == pytest.approx(float(cosine), rel=1e-4)

    huber = interpret.Gradients(STATES, TARGETS, utterances=N)
    huber(10, Learner(learner.model, weighting("static", 3), regression="huber"))
    learner.zero_grad()
    task_losses(learner.model(*inputs()), truth, regression="huber")[
        :, TASKS.index("intensity")
    ].sum().backward()
    shared = [p.grad.flatten(1) for n, p in learner.model.named_parameters()
              if n.startswith(("fusion", "gate"))]  # fmt: skip
    expected = float(torch.cat(shared, dim=1).norm(dim=1).mean())
    assert huber.table["norm_intensity"].item() == pytest.approx(expected, rel=1e-4)
    assert huber.table["norm_intensity"].item() != pytest.approx(
        hook.table["norm_intensity"].item(), rel=0.1
    )


@pytest.mark.parametrize("more", [{"regression": "huber"}, {"class_weights": True}])
def test_gradients_are_those_of_the_losses_that_train(more):
    hook, seen = interpret.Gradients(STATES, TARGETS, every=1, utterances=N), []

    def on_step(step, learner):
        hook(step, learner)
        seen.append(learner.options)

    fit(STATES, TARGETS, replace(TINY, epochs=1, **more), range(3), on_step=on_step)
    usual = interpret.Gradients(STATES, TARGETS, every=1, utterances=N)
    fit(STATES, TARGETS, replace(TINY, epochs=1), range(3), on_step=usual)
    changed = "norm_intensity" if "regression" in more else "norm_fine"
    assert hook.table[changed].iloc[0] != pytest.approx(usual.table[changed].iloc[0], rel=1e-3)
    assert all(bool(options[name]) for options in seen for name in more)


def test_the_hook_does_not_touch_training(trained):
    plain = fit(STATES, TARGETS, TINY, range(3))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, trained[0].model.state_dict()[name]), name


def test_guidance_gradient_reaches_the_other_heads_once_it_is_not_neutral(trained):
    model = DyFuLM(DIMS, LAYERS, 8).reset([np.random.default_rng(0)])
    hook = interpret.Gradients(STATES, TARGETS, every=1)
    hook(1, Learner(model, weighting("static")))
    model.guide.weight.data += torch.linspace(-1, 1, 8)
    hook(2, Learner(model, weighting("static")))
    assert hook.table["guidance"].min() > 0
    assert hook.table["through"].tolist()[0] == 0 < hook.table["through"].tolist()[1]
    free = interpret.Gradients(STATES, TARGETS, every=1)
    assert free.table.empty  # no step was measured yet
    free(1, Learner(DyFuLM(DIMS, LAYERS, 8, guidance=False), weighting("dwa")))
    assert "guidance" not in free.table


# The diagnosis


def alarms(found: Fit, **more) -> dict[str, bool]:
    table = interpret.diagnosis(found, STATES, TARGETS, **more)
    return dict(zip(table["signature"], table["alarm"], strict=True))


def with_parameters(found: Fit, **values: float) -> Fit:
    """The same fit with all values of some parameters set."""
    model = DyFuLM(DIMS, LAYERS, s=3, **TINY.shape)
    model.load_state_dict(found.model.state_dict())
    for name, value in values.items():
        model.get_parameter(name.replace("__", ".")).data.fill_(value)
    return replace(found, model=model)


def test_a_healthy_model_raises_few_alarms(trained):
    ringing = {name for name, rings in alarms(trained[0]).items() if rings}
    assert "gate stuck near .5" not in ringing
    assert not {name for name in ringing if "one layer" in name or "coarse" in name}


@pytest.mark.parametrize(
    "harm, signature",
    [
        ({"gate__weight": 0, "gate__bias": 0}, "gate stuck near .5"),
        ({"gate__weight": 0, "gate__bias": 5}, "gate ignores its input"),
        ({"fusion__a__w__weight": 0}, "layers of A ignore the input"),
        ({"fusion__b__w__weight": 1e5}, "one layer of B is all"),
        ({"intensity__weight": 0, "intensity__bias": 0}, "intensity not learned, classes are"),
        ({"fine__weight": 0}, "coarse far above fine"),
        ({"guide__weight": 0, "guide__bias": 0}, "guidance idle"),
    ],
)
def test_each_alarm_can_ring_and_be_silent(trained, harm, signature):
    assert alarms(with_parameters(trained[0], **harm))[signature]
    assert not alarms(trained[0])[signature]


def test_the_gap_between_coarse_and_fine_is_judged_against_a_bag_of_words(trained):
    off, poor = with_parameters(trained[0], fine__weight=0), TARGETS.fine * 0 + 4
    assert alarms(off, bag=TARGETS)["coarse far above fine"]
    assert not alarms(off, bag=TARGETS._replace(fine=poor))["coarse far above fine"]
    table = interpret.diagnosis(off, STATES, TARGETS, bag=TARGETS).set_index("signature")
    assert table.loc["coarse far above fine", "threshold"] == "> 0.05"
    assert table.loc["guidance idle", "threshold"] == "< 0.01"


@pytest.mark.parametrize("how", ["last", "mean", "static"])
def test_layer_weights_that_no_input_can_change_are_not_judged(how):
    model = fit(STATES, TARGETS, replace(TINY, shape={"width": 8, "layer_fusion": how}), [0])
    assert not [name for name in alarms(model) if "layer" in name]


def test_optional_rows_and_modules_that_are_off(trained):
    found, hook = trained
    full = alarms(found, without_layers=found, gradients=hook.table)
    assert full["layer fusion without effect"] and not full["guidance gradients near zero"]
    assert alarms(found, gradients=hook.table * 0)["guidance gradients near zero"]
    bare = fit(
        STATES, TARGETS, replace(TINY, shape={"width": 8, "gate": "a", "guidance": False}), [0]
    )
    left = set(alarms(bare))
    assert not any("gate" in name or "guidance" in name or " B " in name for name in left)


def test_unguided_holds_the_guidance_at_one(trained):
    before = trained[0].predict(STATES)
    said = interpret.unguided(trained[0], STATES)
    assert (said.guidance == 1).all() and (before.guidance != 1).any()
    np.testing.assert_array_equal(said.coarse, before.coarse)
    np.testing.assert_array_equal(trained[0].predict(STATES).guidance, before.guidance)
