import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import transformers
import yaml
from safetensors.torch import load_file, save_file

from mmlib.data import load
from mmlib.data.targets import targets
from mmlib.dyfulm.losses import Targets, constant_losses, task_losses
from mmlib.files import locked
from mmlib.finetune import checkpoint, evaluation, machine, pair, plan, step
from mmlib.finetune.checkpoint import BEST, LOG, ORIGIN, STATE, read_log
from mmlib.finetune.config import Config, read_config
from mmlib.finetune.precision import MasterWeights
from mmlib.finetune.run import export, finetune
from mmlib.finetune.tokens import tokenize
from mmlib.scores import provenance
from mmlib.text import compressed, made
from mmlib.text.encoding import encode


@pytest.fixture(scope="module")
def corpus():
    return load("synthetic_reviews", n=200)  # 140 to train on, 20 and 40 for the others


@pytest.fixture(scope="module")
def two(corpus, tmp_path_factory):
    """Folders of two small encoders: other depth, other width, other tokens."""
    texts = list(corpus.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        wide = made.small(texts, vocabulary=150, width=64, depth=1, steps=1)
        deep = made.small(texts, vocabulary=80, width=32, depth=3, steps=1)
    return [str(wide), str(deep)]


@pytest.fixture(scope="module")
def config(two):
    """Quick, and float32 so that runs can be compared."""
    given = {"dataset": "synthetic_reviews", "max_length": 48, "batch": 8, "lr": 1e-3, "width": 16}
    return Config(two, **given, device="cpu", precision="float32", utterances=40, save_every=2)


def losses(folder):
    return np.array([line["loss"] for line in read_log(folder) if "loss" in line])


def test_it_learns_and_keeps_what_it_said(config, corpus, tmp_path):
    folder = finetune(replace(config, epochs=4, patience=9, head_lr=1e-2), tmp_path / "run", corpus)
    curve = losses(folder)
    assert len(curve) == 20 and curve[-5:].mean() < 0.9 * curve[:5].mean()
    assert {p.name for p in folder.iterdir()} == {
        BEST, STATE, LOG, ORIGIN, "config.yaml", "valid.npz", "test.npz"
    }  # fmt: skip
    rows = corpus.rows("test")
    with np.load(folder / "test.npz") as said:
        assert said["ids"].tolist() == [corpus.ids[i] for i in rows]
        assert said["groups"].tolist() == [corpus.groups[i] for i in rows]
        for name, values in targets(corpus)._asdict().items():
            np.testing.assert_array_equal(said[f"true_{name}"], values[rows])
            assert said[name].shape == (len(rows),)
        for name in ("p_coarse", "p_fine", "alpha_a", "alpha_b"):
            np.testing.assert_allclose(said[name].sum(axis=1), 1, atol=1e-5)
        assert said["alpha_a"].shape[1] == 2 and said["alpha_b"].shape[1] == 4
        np.testing.assert_array_equal(said["fine"], said["p_fine"].argmax(axis=1))
        assert (said["gate_counts"].sum(axis=1) % 16 == 0).all()  # width 16 values a position
        middle = (np.arange(20) + 0.5) / 20
        means = said["gate_counts"] @ middle / said["gate_counts"].sum(axis=1)
        np.testing.assert_allclose(means, said["gate"].mean(axis=1), atol=0.026)
        assert said["positions"].sum() == len(said["position_gate"]) == len(said["position_spans"])
        each = np.split(said["position_gate"].astype(float), np.cumsum(said["positions"])[:-1])
        np.testing.assert_allclose([g.mean() for g in each], said["gate"].mean(axis=1), atol=1e-3)


def test_what_it_said_is_what_the_best_weights_say(config, corpus, tmp_path):
    folder = finetune(replace(config, epochs=3), tmp_path, corpus)
    model, tokenizers = pair.build(read_config(folder / "config.yaml"))
    model.load_state_dict(checkpoint.load_weights(folder, model))
    texts = [corpus.text[i] for i in corpus.rows("valid")]
    tokens = tokenize(texts, tokenizers, 48)
    said = evaluation.predict(model, tokens, np.arange(len(texts)), budget=100)  # other batches
    with np.load(folder / "valid.npz") as kept:
        for name in ("p_fine", "intensity", "gate", "alpha_b", "guidance"):
            np.testing.assert_allclose(said[name].numpy(), kept[name], atol=1e-5)
        output = evaluation.as_output(said)
        known = targets(corpus).take(corpus.rows("valid"))
        known = Targets(*(torch.from_numpy(v)[None] for v in known))
        logged = [line["losses"] for line in read_log(folder) if "valid" in line]
        best = min(logged, key=lambda one: sum(np.array(one) / multitask_constant(corpus, 40)))
        np.testing.assert_allclose(task_losses(output, known)[0], best, atol=1e-5)


def multitask_constant(corpus, n):
    known = targets(corpus).take(corpus.rows("train")[:n])
    return constant_losses(Targets(*map(torch.from_numpy, known))).numpy()


VARIANTS = [
    {"layer_fusion": "last", "gate": "mean", "guidance": False, "weighting": "static"},
    {"gate": "concat", "scope": "token", "weighting": "dwa", "epochs": 3},
    {"gate": "b", "regression": "huber", "class_weights": True, "intensity": "label"},
    {"encoder_dropout": 0.1, "checkpointing": True, "attention": "sdpa"},
    {"low_rank": 0.5},
]


@pytest.mark.parametrize("switches", VARIANTS, ids=lambda one: next(iter(one.values())))
def test_variants_run(config, corpus, tmp_path, switches):
    folder = finetune(replace(config, utterances=16, **switches), tmp_path, corpus)
    assert np.isfinite(losses(folder)).all()
    with np.load(folder / "test.npz") as said:
        assert ("gate" in said) == (switches.get("gate", "gate") == "gate")
        assert ("guidance" in said) == switches.get("guidance", True)


def test_factors_are_the_nearest_of_their_rank_and_multiply_to_one_layer():
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"one": torch.nn.Linear(30, 20), "own": torch.nn.LayerNorm(20)})
    weight, bias = (p.detach().clone() for p in model["one"].parameters())
    compressed.factorise(model, 0.5)
    inner, outer = model["one"]
    assert inner.weight.numel() + outer.weight.numel() <= 0.5 * weight.numel() == 300
    rest = torch.linalg.svdvals(weight)[inner.out_features :]
    missed = torch.linalg.norm(outer.weight @ inner.weight - weight).item()
    assert missed == pytest.approx(rest.square().sum().sqrt().item(), rel=1e-5)
    x, two = torch.randn(4, 30), model["one"]
    compressed.multiply(model)
    assert isinstance(model["one"], torch.nn.Linear) and torch.equal(model["one"].bias, bias)
    torch.testing.assert_close(model["one"](x), two(x))


def test_an_encoder_of_low_rank_is_exported_whole(config, corpus, tmp_path):
    folder = finetune(replace(config, utterances=8, low_rank=0.5), tmp_path / "run", corpus)
    for place in export(folder, tmp_path / "out"):
        names = load_file(place / "model.safetensors")
        assert not [name for name in names if name.endswith((".0.weight", ".1.weight"))]
        assert encode(["The room was clean."], str(place), cache=False).shape[0] == 1


def test_attention_is_chosen_for_the_device_and_precision(config, corpus, tmp_path, monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert machine.attention("auto", True, cpu) == "eager"
    assert machine.attention("auto", False, cpu) == machine.attention("auto", True, gpu) == "sdpa"
    assert machine.attention("sdpa", True, cpu) == "sdpa"
    real, asked = pair.load, []
    monkeypatch.setattr(pair, "load", lambda *a, **k: asked.append(k["attention"]) or real(*a, **k))
    finetune(replace(config, utterances=8), tmp_path / "full", corpus)
    finetune(replace(config, utterances=8, precision="bfloat16"), tmp_path / "short", corpus)
    assert asked == ["sdpa", "sdpa", "eager", "eager"]


def test_the_middle_of_long_reviews_can_be_left_out(config, corpus, tmp_path):
    short = replace(config, utterances=16, max_length=16)
    end = finetune(short, tmp_path / "end", corpus)
    middle = finetune(replace(short, truncation="middle"), tmp_path / "middle", corpus)
    assert not np.array_equal(losses(end), losses(middle))
    with pytest.raises(
        ValueError, match="belongs to a run with truncation='end', and this one has 'middle'"
    ):
        finetune(replace(short, truncation="middle"), end, corpus)
    with pytest.raises(ValueError, match="unknown truncation 'start'; choose one of end, middle"):
        replace(short, truncation="start")


def test_one_encoder(config, corpus, tmp_path, two):
    folder = finetune(replace(config, encoders=two[1:], utterances=16), tmp_path, corpus)
    with np.load(folder / "test.npz") as said:
        assert "alpha_a" in said and "alpha_b" not in said and "gate" not in said
    assert not any(name.startswith("encoders.1.") for name in load_file(folder / BEST))


@pytest.mark.parametrize("change", [{"budget": 60}, {"checkpointing": True}], ids=str)
def test_how_a_step_is_computed_does_not_matter(config, corpus, tmp_path, change):
    config = replace(config, dropout=0.0, epochs=2)
    whole = losses(finetune(config, tmp_path / "whole", corpus))
    parts = losses(finetune(replace(config, **change), tmp_path / "parts", corpus))
    np.testing.assert_allclose(parts, whole, atol=2e-5)


def test_bfloat16_is_near_float32(config, corpus, tmp_path):
    full = losses(finetune(config, tmp_path / "full", corpus))
    short = losses(finetune(replace(config, precision="bfloat16"), tmp_path / "short", corpus))
    assert not np.array_equal(short, full)
    np.testing.assert_allclose(short, full, rtol=0.02)


def test_masters_add_up_steps_too_small_for_bfloat16():
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    masters = MasterWeights(model, [model])
    optimizer = torch.optim.SGD(masters.parameters().values(), lr=1e-3)
    for _ in range(10):
        model(torch.ones(1, 1, dtype=torch.bfloat16)).sum().backward()
        masters.gather()
        optimizer.step()
        optimizer.zero_grad()
        masters.publish()
    assert masters.state_dict()["weight"].item() == pytest.approx(0.99)
    assert model.weight.item() == torch.tensor(0.99).bfloat16().item() and model.weight.grad is None


def test_tables_stay_in_float32_and_are_rounded_when_read():
    model = torch.nn.Sequential(torch.nn.Embedding(3, 2), torch.nn.Linear(2, 1))
    exact = model[0].weight.detach().clone()
    masters = MasterWeights(model, [model], [model[0]])
    assert torch.equal(model[0].weight, exact) and set(masters.copies) == {"1.weight", "1.bias"}
    rows = model[0](torch.tensor([2]))
    assert torch.equal(rows, exact[[2]].bfloat16())
    model[1](rows).sum().backward()
    assert model[0].weight.grad.dtype == torch.float32 and model[0].weight.grad[2].abs().sum() > 0


def test_buffers_stay_in_float32():
    """E.g. the frequencies of rotary positions, which a rounding would change."""
    model = torch.nn.Linear(1, 1)
    model.register_buffer("frequencies", torch.tensor([1 / 3]), persistent=False)
    MasterWeights(model, [model])
    assert model.weight.dtype == torch.bfloat16
    assert model.frequencies.equal(torch.tensor([1 / 3]))


def test_it_stops_when_nothing_gets_better(config, corpus, tmp_path):
    still = replace(config, lr=1e-30, head_lr=1e-30, weight_decay=0.0, epochs=9, patience=2)
    still = replace(still, weighting="static")
    folder = finetune(still, tmp_path, corpus)
    evaluated = [line["step"] for line in read_log(folder) if "valid" in line]
    assert evaluated == [5, 10, 15]  # 40 texts are 5 steps an epoch


def test_evaluation_within_an_epoch(config, corpus, tmp_path):
    folder = finetune(replace(config, evaluate_every=2), tmp_path, corpus)
    assert [line["step"] for line in read_log(folder) if "valid" in line] == [2, 4, 5]


# Going on after a kill


@pytest.fixture(scope="module")
def whole(config, corpus, tmp_path_factory):
    """A run with all that is random."""
    config = replace(config, epochs=2, encoder_dropout=0.1, weighting="dwa", precision="bfloat16")
    return config, finetune(config, tmp_path_factory.mktemp("whole"), corpus)


@pytest.mark.parametrize("at", [1, 4, 5, 9])
def test_resumed_losses_are_the_same(whole, corpus, tmp_path, monkeypatch, at):
    config, expected = whole
    left, real = [at], torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(KeyboardInterrupt):
        finetune(config, tmp_path / "part", corpus)
    assert len(losses(tmp_path / "part")) == at
    monkeypatch.undo()
    folder = finetune(config, tmp_path / "part", corpus)
    np.testing.assert_array_equal(losses(folder), losses(expected))
    for name in ("valid.npz", "test.npz"):
        one, other = (np.load(run / name) for run in (expected, folder))
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def write(config, path):
    path.write_text(yaml.safe_dump(asdict(config)))
    return path


SLOWLY = """
import runpy, time
from torch.optim import AdamW
step = AdamW.step
AdamW.step = lambda *given, **named: (time.sleep(0.1), step(*given, **named))[1]
runpy.run_module("mmlib.finetune", run_name="__main__")
"""  # a run cannot end before it is stopped


def command(*arguments):
    return [sys.executable, "-m", "mmlib.finetune", *map(str, arguments)]


def slowly(*arguments):
    return [sys.executable, "-c", SLOWLY, *map(str, arguments)]


@pytest.mark.parametrize("alike", [False, True])
def test_the_gate_at_each_position_is_that_of_its_characters(config, corpus, two, alike):
    """Tokens that are positions themselves have others, special ones, between them."""
    model, tokenizers = pair.build(replace(config, encoders=[two[0], two[0] if alike else two[1]]))
    texts = list(corpus.text[:9])
    read = tokenize(texts, tokenizers, 48)
    said = evaluation.predict(model, read, np.arange(9), budget=200)["gate_positions"]
    for i, spans in enumerate(read.spans):
        batch = read.batch([i])
        gate = model.eval()(batch).gate[0, 0].mean(dim=-1)[batch.mask[0]]  # (p,)
        assert len(gate) == len(spans) and not said[i, len(spans) :].any()
        np.testing.assert_allclose(said[i, : len(spans)], gate.detach(), atol=1e-5)


@pytest.mark.parametrize("at", [2, 5, 10])
def test_asked_to_stop_in_a_step_it_is_the_last(config, corpus, tmp_path, monkeypatch, at):
    """In an ordinary one, before an evaluation, and in the last of all."""
    real, calls = step.gradients, []

    def gradients(learner, plan, rows, number):
        calls.append(number)
        if number == at - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(learner, plan, rows, number)

    config = replace(config, epochs=2, save_every=1000)
    monkeypatch.setattr(step, "gradients", gradients)
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {at} of 10"):
        finetune(config, tmp_path / "run", corpus)
    assert checkpoint.load_state(tmp_path / "run")["step"] == at == max(calls) + 1
    monkeypatch.undo()
    found, whole = (read_log(finetune(config, tmp_path / n, corpus)) for n in ("run", "whole"))
    for one, other in zip(found, whole, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_the_seconds_of_a_run_are_those_of_all_its_starts(config, corpus, tmp_path):
    finetune(config, tmp_path, corpus)
    first, *rest = read_log(tmp_path)
    lines = [first | {"seconds": 1000.0}, *rest]  # as if an earlier start had taken so long
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    finetune(config, tmp_path, corpus)
    spent = json.loads((tmp_path / ORIGIN).read_text())["seconds"]
    assert spent == pytest.approx(1000 + sum(line["seconds"] for line in rest), abs=0.1)


def test_repeating_a_finished_run_leaves_its_provenance(config, corpus, tmp_path, monkeypatch):
    finetune(config, tmp_path, corpus)
    before = checkpoint.load_origin(tmp_path)
    monkeypatch.setattr(provenance, "here", lambda *_: before | {"commit": "another"})
    finetune(config, tmp_path, corpus)
    assert checkpoint.load_origin(tmp_path) == before


def test_a_run_begun_anew_has_no_results_of_the_one_before(config, corpus, tmp_path, monkeypatch):
    finetune(config, tmp_path, corpus)
    (tmp_path / STATE).unlink()
    monkeypatch.setattr(step, "update", lambda *_: (_ for _ in ()).throw(InterruptedError))
    with pytest.raises(InterruptedError):
        finetune(replace(config, seed=7), tmp_path, corpus)
    assert {p.name for p in tmp_path.iterdir()} == {"config.yaml", LOG}
    with pytest.raises(ValueError, match=r"provenance\.json is missing"):
        export(tmp_path, tmp_path / "made")


@pytest.mark.parametrize("name", ["config.yaml", "test.npz"])
def test_a_folder_of_ones_own_files_is_refused(config, corpus, tmp_path, name):
    (tmp_path / name).write_bytes(b"# mine")
    with pytest.raises(ValueError, match="files of no training; name a new folder by --out"):
        finetune(replace(config, utterances=8), tmp_path, corpus)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(name, b"# mine")]


def test_a_run_resumed_on_other_data_is_refused(config, corpus, tmp_path):
    finetune(config, tmp_path, corpus)
    for changed in ({"text": corpus.text[::-1]}, {"label": corpus.label[::-1].copy()}):
        with pytest.raises(ValueError, match="a run with the checksum of its data=") as error:
            finetune(config, tmp_path, replace(corpus, **changed))
        assert one_line(error)
    order = np.argsort(corpus.split == "test", kind="stable")  # the rest comes first
    sorted_, moved = corpus.take(order), corpus.split[order].copy()
    moved[-45:] = "test"  # five more, and neither an id nor a text nor a label has moved
    finetune(config, tmp_path / "sorted", sorted_)
    with pytest.raises(ValueError, match="a run with the checksum of its data="):
        finetune(config, tmp_path / "sorted", replace(sorted_, split=moved))
    state = torch.load(tmp_path / STATE, weights_only=True)
    del state["config"]["the checksum of its data"]  # begun before it was noted
    torch.save(state, tmp_path / STATE)
    finetune(config, tmp_path, corpus)


def test_killed_after_an_evaluation_it_is_logged_once(config, corpus, tmp_path, monkeypatch):
    real, left = checkpoint.save_state, [1]

    def save(*args):  # that after the step is kept, that after the evaluation not
        left[0] -= 1
        if left[0] < 0:
            raise InterruptedError
        real(*args)

    config = replace(config, save_every=1000)
    monkeypatch.setattr(checkpoint, "save_state", save)
    with pytest.raises(InterruptedError):
        finetune(config, tmp_path, corpus)
    monkeypatch.undo()
    finetune(config, tmp_path, corpus)
    assert [line["step"] for line in read_log(tmp_path) if "valid" in line] == [5]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_the_command_says_so_and_dies_of_it(config, tmp_path, how):
    config = replace(config, utterances=160, epochs=3, save_every=1000)
    path, out = write(config, tmp_path / "c.yaml"), tmp_path / "run"
    process = subprocess.Popen(slowly(path, "--out", out), stderr=subprocess.PIPE, text=True)
    while process.poll() is None and len(losses(out)) < 5:
        time.sleep(0.05)
    process.send_signal(how)
    said = process.communicate()[1].splitlines()[-1]
    assert process.returncode == -signal.SIGINT  # a shell's loop ends with it
    step = checkpoint.load_state(out)["step"]
    assert said == f"mmlib.finetune: stopped after step {step} of 60; the same command goes on"
    assert len(losses(out)) == step < 60
    after = losses(finetune(config, out))
    np.testing.assert_array_equal(after, losses(finetune(config, tmp_path / "whole")))


def test_killed_process_goes_on(config, tmp_path):
    config = replace(config, utterances=160, epochs=3)
    path, out = write(config, tmp_path / "c.yaml"), tmp_path / "run"
    process = subprocess.Popen(slowly(path, "--out", out), stderr=subprocess.DEVNULL)
    while process.poll() is None and len(losses(out)) < 5:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = losses(out)
    after = losses(finetune(config, out))
    assert len(after) == 60 > len(before)
    np.testing.assert_array_equal(after[: len(before)], before)
    np.testing.assert_array_equal(after, losses(finetune(config, tmp_path / "whole")))


def test_interrupted_save_leaves_the_one_before(config, corpus, tmp_path, monkeypatch):
    real, left = torch.save, [2]

    def save(state, path):
        left[0] -= 1
        if left[0] < 0:
            path.write_bytes(b"half")
            raise OSError("No space left on device")
        return real(state, path)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(ValueError, match=r"cannot write .*state\.pt \(No space left") as error:
        finetune(config, tmp_path / "run", corpus)
    assert one_line(error)
    monkeypatch.undo()
    assert checkpoint.load_state(tmp_path / "run")["step"] == 4
    assert not list((tmp_path / "run").glob(".*"))
    again = losses(finetune(config, tmp_path / "run", corpus))
    np.testing.assert_array_equal(again, losses(finetune(config, tmp_path / "whole", corpus)))


# Several processes


def test_two_processes_are_one(config, tmp_path):
    config = replace(config, dropout=0.0, utterances=21, batch=7, epochs=2)  # a rank may be idle
    alone = finetune(config, tmp_path / "one")
    path = write(replace(config, processes=2), tmp_path / "c.yaml")
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    run += ["-m", *command(path, "--out", tmp_path / "two")[2:]]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(alone), atol=2e-5)
    one, other = (np.load(folder / "test.npz") for folder in (alone, tmp_path / "two"))
    for name in ("p_fine", "intensity", "gate"):
        np.testing.assert_allclose(one[name], other[name], atol=2e-4)


def test_other_number_of_processes_than_asked_for(config, corpus, tmp_path):
    with pytest.raises(ValueError, match="processes: 2, but 1 run; start with torchrun"):
        finetune(replace(config, processes=2), tmp_path, corpus)


# Bad input


def one_line(error):
    return "\n" not in str(error.value)


def test_loss_that_is_not_finite(config, corpus, tmp_path, monkeypatch):
    real, left = plan.task_losses, [3]

    def broken(*args, **kwargs):
        left[0] -= 1
        found = real(*args, **kwargs)
        return found if left[0] >= 0 else found * torch.nan

    monkeypatch.setattr(plan, "task_losses", broken)
    with pytest.raises(FloatingPointError, match="loss of step 4 is not finite") as error:
        finetune(config, tmp_path, corpus)
    assert one_line(error)
    state = checkpoint.load_state(tmp_path)
    assert state["step"] == 3 and all(v.isfinite().all() for v in state["model"].values())


def test_state_of_another_configuration(config, corpus, tmp_path):
    finetune(replace(config, utterances=8), tmp_path, corpus)
    with pytest.raises(
        ValueError, match="belongs to a run with max_length=48, and this one has 40"
    ) as error:
        finetune(replace(config, utterances=8, max_length=40), tmp_path, corpus)
    assert one_line(error)
    finetune(replace(config, utterances=8, budget=512, save_every=7), tmp_path, corpus)
    state = torch.load(tmp_path / STATE, weights_only=True)
    del state["config"]["low_rank"]  # begun before this setting existed
    torch.save(state, tmp_path / STATE)
    finetune(replace(config, utterances=8), tmp_path, corpus)
    with pytest.raises(ValueError, match=r"low_rank=1\.0, and this one has 0\.5"):
        finetune(replace(config, utterances=8, low_rank=0.5), tmp_path, corpus)


@pytest.mark.parametrize("name", [STATE, BEST])
def test_damaged_files(config, corpus, tmp_path, name):
    finetune(replace(config, utterances=8), tmp_path, corpus)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{name} is damaged") as error:
        finetune(replace(config, utterances=8), tmp_path, corpus)
    assert one_line(error)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_a_file_that_does_not_fit_into_memory_is_not_called_damaged(tmp_path, monkeypatch, error):
    for name in (STATE, BEST):
        (tmp_path / name).write_bytes(b"whole")
    for where, of in ((torch, "load"), (checkpoint, "load_file")):
        monkeypatch.setattr(where, of, lambda *_, **__: (_ for _ in ()).throw(error))
    for read in (checkpoint.load_state, lambda run: checkpoint.load_weights(run, None)):
        with pytest.raises(ValueError, match="needs more memory than is free"):
            read(tmp_path)


def test_the_weights_can_be_read_by_whom_the_folder_lets(config, corpus, tmp_path):
    finetune(replace(config, utterances=8), tmp_path, corpus)
    assert len({(tmp_path / name).stat().st_mode for name in (STATE, BEST)}) == 1


def test_state_that_would_execute_something(config, corpus, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    tmp_path.joinpath("run").mkdir()
    torch.save({"config": {}, "step": Trap()}, tmp_path / "run" / STATE)
    with pytest.raises(ValueError, match="is damaged"):
        finetune(config, tmp_path / "run", corpus)
    assert not (tmp_path / "sprung").exists()


def test_weights_of_another_shape(config, corpus, tmp_path, two):
    finetune(replace(config, utterances=8), tmp_path, corpus)
    model, _ = pair.build(replace(config, width=32))
    with pytest.raises(ValueError, match=r"the shape of fusion\.coarse\.weight is \(1, 16, 3\)"):
        checkpoint.load_weights(tmp_path, model)
    with pytest.raises(ValueError, match=r"is missing; delete state\.pt .*, and train"):
        checkpoint.load_weights(tmp_path / "elsewhere", model)


def test_batch_too_large_is_estimated_before(config, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "free", lambda _: 2**20)
    with pytest.raises(ValueError, match=r"of 4096 tokens needs about 0\.\d+ GiB.*set budget") as e:
        finetune(config, tmp_path, corpus)
    assert one_line(e)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
def test_batch_too_large_while_training(config, corpus, tmp_path, monkeypatch, error):
    def forward(*_):
        raise error

    monkeypatch.setattr(pair.Pair, "forward", forward)
    with pytest.raises(ValueError, match=r"needs about .* more than there is; set budget") as e:
        finetune(config, tmp_path, corpus)
    assert one_line(e)


def test_too_little_memory_keeps_the_steps_before(config, corpus, tmp_path, monkeypatch):
    """In an evaluation, too: it is made up for by the run that goes on."""
    real = evaluation.predict
    config = replace(config, epochs=2, save_every=1000)
    broken = lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory"))  # noqa: E731
    monkeypatch.setattr(evaluation, "predict", broken)
    with pytest.raises(ValueError, match="more than there is; set budget lower"):
        finetune(config, tmp_path / "run", corpus)
    assert checkpoint.load_state(tmp_path / "run")["step"] == 5
    monkeypatch.setattr(evaluation, "predict", real)
    found, whole = (read_log(finetune(config, tmp_path / n, corpus)) for n in ("run", "whole"))
    for one, other in zip(found, whole, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_too_little_memory_halfway_through_the_weights(config, corpus, tmp_path, monkeypatch):
    """The state then is of no step, and is not kept."""
    real = torch.optim.AdamW.step

    def step(self):
        real(self)
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(ValueError, match="more than there is"):
        finetune(config, tmp_path, corpus)
    assert not (tmp_path / STATE).exists()


def test_validation_loss_that_is_not_finite(config, corpus, tmp_path, monkeypatch):
    real = evaluation.predict

    def said(*args):
        found = real(*args)
        return {**found, "intensity": found["intensity"] * torch.nan}

    monkeypatch.setattr(evaluation, "predict", said)
    with pytest.raises(FloatingPointError, match="validation loss after step 5 is not fin") as e:
        finetune(config, tmp_path, corpus)
    assert one_line(e) and checkpoint.load_state(tmp_path)["step"] == 5


def test_estimate_grows_as_the_batch_does(config):
    model, _ = pair.build(config)
    how = {"bfloat16": False, "checkpointing": False}
    at = {n: pair.needed_memory(model, n, 48, **how) for n in (0, 1, 8)}
    assert at[0] == 16 * sum(p.numel() for p in model.parameters())
    assert at[8] - at[0] == 8 * (at[1] - at[0]) > 0


def test_unknown_encoder(config, corpus, tmp_path):
    with pytest.raises(ValueError, match="'no/such' is neither a folder nor downloaded") as error:
        finetune(replace(config, encoders=["no/such"]), tmp_path, corpus)
    assert one_line(error)


def test_what_cannot_be_trained_on(config, corpus, tmp_path):
    rows = np.r_[corpus.rows("train"), corpus.rows("test")]
    alike = replace(corpus, label=np.full(len(corpus), 5.0))
    for bad, message in (
        (corpus.take(rows), "has no utterance in split valid"),
        (alike, "coarse is the same for all training texts; use more of them"),
        (replace(corpus, text=None), "synthetic_reviews has no text"),
        (corpus.take([]), "has no utterance in split train"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            finetune(config, tmp_path, bad)
        assert one_line(error)


SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"intermediate_size": 16, "max_position_embeddings": 66, "pad_token_id": 1}
FLAUBERT = {"vocab_size": 60, "emb_dim": 16, "n_layers": 2, "n_heads": 4, "pad_index": 1}


def saved(tmp_path, two, kind, settings):
    """A folder with a random encoder of a kind and a tokenizer."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**settings)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path / kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(two[1], trust_remote_code=False)
    tokenizer.save_pretrained(tmp_path / kind)
    return str(tmp_path / kind)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("Longformer", {**SIZES, "attention_window": [8, 8]}),
        ("Flaubert", {**FLAUBERT, "layerdrop": 0.5}),
        ("ModernBert", {**SIZES, "attention_dropout": 0.5}),
    ],
)
def test_dropout_is_what_is_asked_for_in_every_encoder(config, tmp_path, two, kind, own):
    """Also where it is a number that is given to a function."""
    own = {**own, "vocab_size": 80, **dict.fromkeys(("bos_token_id", "eos_token_id"), 2)}
    folder = saved(tmp_path, two, kind, own)
    for rate in (0.0, 0.3):
        model, tokenizers = pair.build(replace(config, encoders=[folder], encoder_dropout=rate))
        batch = tokenize(["a good room"], tokenizers, 16).batch([0])
        one, other = (model.train()(batch).fine for _ in range(2))
        assert torch.equal(one, other) == (rate == 0)
        assert model.encoders[0].config.to_dict() == transformers.AutoConfig.from_pretrained(
            folder, dtype="float32", name_or_path=folder, trust_remote_code=False
        ).to_dict() | {"transformers_version": transformers.__version__}


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("SqueezeBert", {**SIZES, "embedding_size": 16}),  # calls its pooler
        ("FNet", {k: v for k, v in SIZES.items() if k != "num_attention_heads"}),  # has no heads
    ],
)
def test_encoder_that_cannot_be_trained_so(config, corpus, tmp_path, two, kind, own):
    encoder = saved(tmp_path, two, kind, {**own, "vocab_size": 80})
    with pytest.raises(ValueError, match=f"{kind}Model cannot be trained under DyFuLM") as error:
        finetune(replace(config, encoders=[encoder]), tmp_path / "run", corpus)
    assert one_line(error) and str(error.value).startswith(encoder)


def test_dropout_that_cannot_be_switched_off(config, tmp_path, two, monkeypatch):
    real = pair.load

    def load(*args, **settings):
        model, tokenizer = real(*args, **settings)
        model.embeddings.register_forward_hook(lambda *x: torch.dropout(x[2], 0.1, x[0].training))
        return model, tokenizer

    monkeypatch.setattr(pair, "load", load)
    with pytest.raises(ValueError, match="Model drops values though encoder_dropout is 0") as e:
        pair.build(config)
    assert one_line(e)
    pair.build(replace(config, encoder_dropout=0.1))


def test_state_of_other_encoder_files(config, corpus, tmp_path, two):
    folder = tmp_path / "encoder"
    shutil.copytree(two[0], folder)
    config = replace(config, encoders=[str(folder)], utterances=8)
    finetune(config, tmp_path / "run", corpus)
    shutil.rmtree(folder)
    shutil.copytree(two[1], folder)
    with pytest.raises(ValueError, match=r"state\.pt belongs to another model") as error:
        finetune(config, tmp_path / "run", corpus)
    assert one_line(error)
    torch.save({"step": 3}, tmp_path / "run" / STATE)
    with pytest.raises(ValueError, match=r"state\.pt was written by another version"):
        finetune(config, tmp_path / "run", corpus)


def test_folder_that_is_a_file(config, corpus, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(ValueError, match=r"cannot write .*run/log\.jsonl") as error:
        finetune(config, tmp_path / "run", corpus)
    assert one_line(error) and (tmp_path / "run").read_text() == "mine"


def test_encoder_that_takes_less_text(config, corpus, tmp_path):
    with pytest.raises(ValueError, match="max_length=513 exceeds what this encoder takes; use 512"):
        finetune(replace(config, max_length=513), tmp_path, corpus)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_no_reason_to_use_the_cpu(config, corpus, tmp_path):
    with pytest.raises(ValueError, match="device: cuda, but torch finds no GPU"):
        finetune(replace(config, device="cuda"), tmp_path, corpus)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("encoders: [minilm]\nlr: 1e-4", "lr cannot be '1e-4' .1e-4 is text"),
        ("encoders: [minilm]\nlayers: 3", "c.yaml:2: unknown name 'layers'"),
        ("encoders: [a, b, c]", "must name one or two, in a list"),
        ("encoders: minilm", "encoders cannot be 'minilm'"),
        ("lr: 0.1", "`encoders: .minilm.` at least"),
        ("encoders: []", "encoders=.. must name one or two, in a list"),
        ("encoders: ['', minilm]", "must name one or two, in a list"),
        ("encoders: [3]", "must name one or two, in a list"),
        *(
            (f"encoders: [minilm]\n{name}: {value}", rf"c\.yaml: {name}={value} must be {range_}")
            for name, value, range_ in (
                ("epochs", 0, "at least 1"),
                ("batch", 0, "at least 1"),
                ("processes", 0, "at least 1"),
                ("patience", 0, "at least 1"),
                ("save_every", 0, "at least 1"),
                ("seed", -1, "at least 0"),
                ("budget", -1, "at least 0"),
                ("utterances", -1, "at least 0"),
                ("weight_decay", -0.1, "at least 0"),
                ("max_length", 0, "at least 3"),
                ("width", 6, "a multiple of 4"),
                ("head_lr", 0, "above 0"),
                ("dropout", 1, "at least 0 and below 1"),
                ("dropout", 0.999, "at most 0.99"),
                ("encoder_dropout", -0.1, "at least 0 and below 1"),
            )
        ),
        ("encoders: [minilm]\nlr: .inf", "c.yaml: lr=inf must be a finite number"),
        ("encoders: [minilm]\nclip: .nan", "c.yaml:2: .nan is no number that can be compared"),
        ("encoders: [minilm]\nepochs: 010", "c.yaml:2: YAML reads 010 as 8: write 8 if that is"),
        ("encoders: [minilm]\nepochs: 1\nepochs: 2", "c.yaml:3: epochs is given twice"),
        ("encoders: [minilm]\ngate: open", "c.yaml: unknown gate 'open'; choose one of gate, mean"),
        ("encoders: [minilm]\nweighting: none", "c.yaml: unknown weighting 'none'"),
        ("encoders: [minilm]\nregression: l1", "c.yaml: unknown regression 'l1'"),
        ("encoders: [minilm]\nintensity: stars", "c.yaml: unknown intensity 'stars'"),
        ("encoders: [minilm]\nlr: -1", "lr=-1 must be above 0"),
        ("encoders: [minilm]\nclip: 0", "clip=0 must be above 0"),
        ("encoders: [minilm]\nwarmup: 2", "warmup=2 must be at least 0 and below 1"),
        ("encoders: [minilm]\nevaluate_every: -1", "evaluate_every=-1 must be at least 0"),
        ("encoders: [minilm]\nmax_length: 2", "max_length=2 must be at least 3"),
        ("encoders: [minilm]\nwidth: 0", "width=0 must be at least 4"),
        ("encoders: [minilm]\nlow_rank: 0.0", "low_rank=0.0 must be above 0 and at most 1"),
        ("encoders: [minilm]\nguidance: 1", "guidance cannot be 1"),
        ("encoders: [minilm]\nprecision: half", "unknown precision 'half'"),
        ("{", "c.yaml:2: did not find expected node"),
    ],
)
def test_bad_configuration(tmp_path, given, message):
    (tmp_path / "c.yaml").write_text(given)
    with pytest.raises(ValueError, match=message) as error:
        read_config(tmp_path / "c.yaml")
    assert one_line(error)


def test_seed_of_the_command_line_is_checked_too(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("encoders: [minilm]\nseed: 3")
    assert read_config(path, seed=4).seed == 4
    with pytest.raises(ValueError, match=r"c\.yaml: seed=-1 must be at least 0"):
        read_config(path, seed=-1)


def test_command_line_says_what_is_wrong_in_one_line(tmp_path):
    done = subprocess.run(command(tmp_path / "none.yaml"), capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("mmlib.finetune: ") and "No such file" in done.stderr


def test_a_folder_that_another_process_trains_in_is_refused(config, tmp_path):
    path, out = write(config, tmp_path / "c.yaml"), tmp_path / "run"
    with locked(out / ".lock"):
        done = subprocess.run(command(path, "--out", out), capture_output=True, text=True)
    assert done.returncode == 1 and not any(out.iterdir())
    assert f"{out}: another process trains there; wait, or change --out" in done.stderr


# What comes after


def test_export_gives_encoders_that_can_be_read(config, corpus, tmp_path):
    folder = finetune(replace(config, utterances=16), tmp_path / "run", corpus)
    (tmp_path / ".made.part" / "c").mkdir(parents=True)  # left by a kill
    texts, made = list(corpus.text[:5]), export(folder, tmp_path / "made")
    assert sorted(os.listdir(tmp_path / "made")) == ["a", "b"]
    assert made == [tmp_path / "made" / "a", tmp_path / "made" / "b"]
    model, _ = pair.build(read_config(folder / "config.yaml"))
    model.load_state_dict(checkpoint.load_weights(folder, model))
    for encoder, one in zip(model.encoders, made, strict=True):
        found = encode(texts, one, layers="all", max_length=48, cache=False)
        source = encode(texts, encoder.name_or_path, layers="all", max_length=48, cache=False)
        assert found.shape == source.shape and not np.allclose(found, source, atol=1e-3)
        state = load_file(one / "model.safetensors")
        for name, value in encoder.state_dict().items():
            torch.testing.assert_close(state[name], value)


def test_long_texts_are_counted(config, corpus, tmp_path):
    """20,000 words are cut, and the files say so."""
    texts = list(corpus.text)
    long = int(corpus.rows("test")[0])
    texts[long] = "the room was good. " * 5000
    corpus = replace(corpus, text=tuple(texts))
    folder = finetune(replace(config, utterances=8, max_length=512), tmp_path, corpus)
    with np.load(folder / "test.npz") as said:
        assert said["cut"].tolist() == [True] + [False] * 7


def test_log_without_its_last_half_line(tmp_path):
    (tmp_path / LOG).write_text(json.dumps({"step": 1}) + '\n{"step": 2, "lo')
    assert read_log(tmp_path) == [{"step": 1}]


def test_best_weights_have_names_of_their_own(config, corpus, tmp_path):
    folder = finetune(replace(config, utterances=8), tmp_path, corpus)
    found = load_file(folder / BEST)
    del found["fusion.fine.bias"]
    save_file(found, folder / BEST)
    model, _ = pair.build(config)
    with pytest.raises(ValueError, match=r"fusion\.fine\.bias is None in the file"):
        checkpoint.load_weights(folder, model)
