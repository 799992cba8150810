"""A student's soft targets: whose they are, what their loss is, and that no weight means none."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmlib.data import load
from mmlib.data.corpus import first
from mmlib.data.targets import targets
from mmlib.dyfulm import frozen
from mmlib.dyfulm.model import Output
from mmlib.finetune import checkpoint, distillation, teacher
from mmlib.finetune.checkpoint import BEST, read_log
from mmlib.finetune.config import Config, read_config
from mmlib.finetune.run import finetune
from mmlib.stack.vectors import Features, Scaler
from mmlib.text import made


@pytest.fixture(scope="module")
def corpus():
    return load("synthetic_reviews", n=200)


@pytest.fixture(scope="module")
def config(corpus, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        small = made.small(list(corpus.text), vocabulary=150, width=32, depth=1, steps=1)
    return Config([str(small)], "synthetic_reviews", max_length=32, batch=8, width=16,
                  device="cpu", precision="float32", utterances=24)  # fmt: skip


def soft(corpus, rows, seed=0):
    rng = np.random.default_rng(seed)
    n, some = len(rows), corpus.take(rows)
    return {
        "ids": np.array(some.ids), "texts": distillation.digests(some.text),
        "coarse": rng.dirichlet(np.ones(3), n), "fine": rng.dirichlet(np.ones(5), n),
        "intensity": rng.random(n),
    }  # fmt: skip


@pytest.fixture
def file(corpus, tmp_path):
    path = tmp_path / "soft" / distillation.FILE
    checkpoint.save_arrays(path, soft(corpus, corpus.rows("train")))
    return path


def trained(config, corpus, folder):
    run = finetune(config, folder, corpus)
    return load_file(run / BEST), [line["loss"] for line in read_log(run) if "loss" in line]


def test_without_weight_training_is_that_without_a_teacher_bit_for_bit(
    config, corpus, file, tmp_path
):
    plain, losses = trained(config, corpus, tmp_path / "plain")
    same, those = trained(
        replace(config, teacher=str(file), teacher_weight=0.0), corpus, tmp_path / "none"
    )
    assert losses == those
    assert all(torch.equal(plain[name], same[name]) for name in plain)
    other, _ = trained(replace(config, teacher=str(file.parent)), corpus, tmp_path / "half")
    assert any(not torch.equal(plain[name], other[name]) for name in plain)


def test_the_soft_losses_are_those_of_hinton_et_al():
    torch.manual_seed(0)
    coarse, fine, intensity = torch.randn(1, 4, 3), torch.randn(1, 4, 5), torch.rand(1, 4)
    output = Output(coarse, intensity, fine, None, None, None, None)
    p = torch.randn(4, 5).double().softmax(-1)
    known = distillation.SoftTargets(p[:, :3] / p[:, :3].sum(-1, keepdim=True), p, torch.rand(4))
    found = distillation.soft_losses(output, known.take(torch.arange(4)), 3.0)
    softened = p ** (1 / 3) / (p ** (1 / 3)).sum(-1, keepdim=True)
    q = (fine[0].double() / 3).softmax(-1)
    expected = 9 * (softened * (softened / q).log()).sum(-1).mean()
    assert found[0, 1].item() == pytest.approx(expected.item(), rel=1e-5)
    assert found[0, 2].item() == pytest.approx(((intensity - known.intensity) ** 2).mean().item())


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(temperature):
    torch.manual_seed(0)
    parts = [torch.randn(1, 6, 3), torch.rand(1, 6), torch.randn(1, 6, 5)]
    coarse, intensity, fine = (x.requires_grad_() for x in parts)
    equal = distillation.SoftTargets(
        coarse.detach()[0].softmax(-1), fine.detach()[0].softmax(-1), intensity.detach()[0]
    ).take(torch.arange(6))
    output = Output(coarse, intensity, fine, None, None, None, None)
    losses = distillation.soft_losses(output, equal, temperature)
    losses.sum().backward()
    assert losses.abs().max() < 1e-5
    assert max(x.grad.abs().max() for x in parts) < 1e-6
    moved = equal._replace(fine=equal.fine.flip(-1))
    fine.grad = None
    distillation.soft_losses(output, moved, temperature).sum().backward()
    assert fine.grad.abs().max() > 1e-3


def test_soft_targets_find_their_utterances_in_any_order(corpus, tmp_path):
    train = corpus.rows("train")
    arrays = soft(corpus, train[::-1])
    checkpoint.save_arrays(tmp_path / distillation.FILE, arrays)
    found = distillation.load(tmp_path, corpus, train)
    np.testing.assert_array_equal(found.fine[train], arrays["fine"][::-1].astype(np.float32))
    assert found.fine[corpus.rows("test")].abs().sum() == 0


def _wrong(change):
    def write(path, corpus):
        arrays = soft(corpus, corpus.rows("train"))
        checkpoint.save_arrays(path, {**arrays, **change(arrays)})

    return write


REFUSED = {
    "is missing": lambda path, corpus: None,
    "is damaged": lambda path, corpus: path.write_bytes(b"PK\x03\x04 no archive"),
    "no soft targets": lambda path, corpus: checkpoint.save_arrays(path, {"ids": np.arange(3)}),
    "knows 0 of": lambda path, corpus: checkpoint.save_arrays(
        path, soft(corpus, corpus.rows("valid"))
    ),
    "knows 1 of": lambda path, corpus: checkpoint.save_arrays(
        path, soft(corpus, corpus.rows("train")[:1])
    ),
    "utterances and their texts, not": _wrong(lambda arrays: {"texts": arrays["texts"][::-1]}),
    "fine has shape": _wrong(lambda arrays: {"fine": arrays["coarse"]}),
    "the probabilities of coarse do not sum to 1": _wrong(
        lambda arrays: {"coarse": arrays["coarse"] / 2}
    ),
    "fine has values outside 0 to 1": _wrong(lambda arrays: {"fine": arrays["fine"] * np.nan}),
    "intensity has values outside": _wrong(lambda arrays: {"intensity": arrays["intensity"] + 1}),
    "coarse has shape": _wrong(lambda arrays: {x: arrays[x][:-1] for x in ("ids", "texts")}),
}


@pytest.mark.parametrize("words", REFUSED)
def test_soft_targets_of_something_else_are_refused_in_one_line(config, corpus, tmp_path, words):
    path = tmp_path / "soft.npz"
    REFUSED[words](path, corpus)
    with pytest.raises(ValueError) as error:
        finetune(replace(config, teacher=str(path)), tmp_path / "run", corpus)
    message = str(error.value)
    assert words in message and str(path) in message and distillation.REMEDY in message
    assert "\n" not in message


@pytest.mark.parametrize("name, value", [("temperature", 0), ("teacher_weight", 1.5)])
def test_settings_that_mean_nothing_are_refused(tmp_path, name, value):
    path = tmp_path / "run.yaml"
    path.write_text(f"encoders: [minilm]\n{name}: {value}\n")
    with pytest.raises(ValueError, match=f"run.yaml: {name}="):
        read_config(path)


def test_no_soft_target_has_seen_its_own_label(corpus, monkeypatch):
    """One fold's labels are turned round: what is said of that fold stays the same to the bit."""
    rng = np.random.default_rng(0)
    goal, n = targets(corpus), len(corpus)
    x = {k: rng.normal(size=(n, 2, 4)).astype(np.float32) for k in ("a", "b")}
    for values in x.values():
        values[:, 0, 0] += goal.fine
    present = np.ones((n, 2), dtype=bool)
    states = Features.of(corpus, x, present, Scaler.fit(x, present, corpus.rows("train")))
    quick = frozen.Settings(shape={"width": 8}, epochs=2, batch=16)
    read = []
    fit = frozen.fit

    def watched(states, *others):
        fitted = fit(states, *others)
        read.append({i for m in fitted.members for part in (m.train, m.valid) for i in part})
        return fitted

    monkeypatch.setattr(frozen, "fit", watched)
    before = teacher.out_of_fold(states, goal, quick, folds=3, seeds=1)
    train, test = set(corpus.rows("train")), set(corpus.rows("test"))
    folds = [train - seen for seen in read]
    assert len(folds) == 3 and set.union(*folds) == train and sum(map(len, folds)) == len(train)
    assert not any(seen & test for seen in read)
    fold = sorted(folds[0])
    fine = goal.fine.copy()
    fine[fold] = 4 - fine[fold]
    after = teacher.out_of_fold(states, goal._replace(fine=fine), quick, folds=3, seeds=1)
    here = np.isin(before["ids"], [corpus.ids[i] for i in fold])
    np.testing.assert_array_equal(before["fine"][here], after["fine"][here])
    assert not np.array_equal(before["fine"][~here], after["fine"][~here])
    assert before["ids"].tolist() == [corpus.ids[i] for i in corpus.rows("train")]
    np.testing.assert_allclose(before["fine"].sum(axis=1), 1, atol=1e-5)


def test_a_finished_run_gives_soft_targets_for_its_first_utterances(config, corpus, tmp_path):
    run = finetune(config, tmp_path / "run", corpus)
    settings = (run / "config.yaml").read_text()  # as if two processes had trained it
    (run / "config.yaml").write_text(settings.replace("processes: 1", "processes: 2"))
    few = first(corpus, 10)
    found = teacher.of_run(run, few)
    assert found["ids"].tolist() == [few.ids[i] for i in few.rows("train")]
    checkpoint.save_arrays(path := tmp_path / "soft.npz", found)
    distillation.load(path, few, few.rows("train"))  # probabilities that a student accepts
    other = few.take(few.rows("test"))  # the run has predicted these
    said = teacher.of_run(run, replace(other, split=np.full(len(other), "train")))
    with np.load(run / "test.npz") as arrays:
        rows = [arrays["ids"].tolist().index(id) for id in said["ids"]]
        np.testing.assert_allclose(said["fine"], arrays["p_fine"][rows], atol=1e-5)
        np.testing.assert_allclose(said["intensity"], arrays["intensity"][rows], atol=1e-5)


def test_the_command_refuses_what_it_cannot_use_before_it_writes(tmp_path, monkeypatch):
    def said(*given):
        monkeypatch.setattr(sys, "argv", ["teacher", *map(str, given)])
        with pytest.raises(SystemExit) as error:
            teacher.main()
        assert "\n" not in str(error.value)
        return str(error.value)

    (tmp_path / "mine.yaml").write_text("encoders: [minilm]")
    assert "name one, say teacher.npz" in said("synthetic_reviews", tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "encoders: [minilm]"
    assert "name one, say teacher.npz" in said("synthetic_reviews", tmp_path)
    table = tmp_path / "two.csv"
    table.write_text("text,label\n" + "".join(f"so good {i},{i % 2}\n" for i in range(40)))
    assert "no targets for labels" in said(table, tmp_path / "t.npz", "--run", tmp_path)
    assert not (tmp_path / "t.npz").exists()


def test_soft_targets_of_a_run_that_is_not_finished_are_refused(config, corpus, tmp_path):
    with pytest.raises(ValueError, match=r"\A[^\n]*provenance.json is missing; python -m mmlib"):
        teacher.of_run(tmp_path, corpus)
