"""Settings are chosen with one budget for all rules and kept in one file."""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from mmlib.daf import fusion, tune
from mmlib.daf.features import build
from mmlib.daf.train import Settings
from mmlib.data import Corpus, Sequences
from mmlib.stack.task import same_shape


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "FILE", tmp_path / "runs" / "settings.json")
    return tune.FILE


@pytest.fixture
def quick(monkeypatch):
    """Two candidates a rule, one epoch each."""
    tiny = Settings(shape={"width": 2}, epochs=1, patience=1)
    for name in ("CANDIDATES", "WITHOUT_FUSION"):
        monkeypatch.setattr(tune, name, [tiny, replace(tiny, lr=1e-2)])


def corpus(n=40):
    rng = np.random.default_rng(0)
    sequences = {
        m: Sequences(rng.standard_normal((n, 3)), np.ones(n, int), tuple("abc"))
        for m in ("audio", "vision")
    }
    ids, split = tuple(f"u{i}" for i in range(n)), np.resize(["train", "valid", "test"], n)
    return Corpus("mosi", "toy", ids, ids, split, rng.uniform(-3, 3, n), sequences=sequences)


def test_every_rule_has_the_same_budget():
    for modalities in (["text"], ["text", "audio"]):
        sizes = {rule: len(tune.candidates(rule, modalities)) for rule in fusion.RULES}
        assert len(set(sizes.values())) == 1 and min(sizes.values()) > 1
        assert all(one.rule == "gmu" for one in tune.candidates("gmu", modalities))
    for found in (tune.candidates("daf", "t"), tune.candidates("daf", "ta")):
        assert len({json.dumps(asdict(one)) for one in found}) == len(found)
        same_shape(found, Settings.SHARED)


def test_the_best_candidate_is_stored_and_read(quick, monkeypatch):
    data = build(corpus())
    entry = tune.tune(data, "daf")
    errors = [one["cv_mae"] for one in entry["tried"]]
    assert entry["cv_mae"] == min(errors)
    chosen = tune.candidates("daf", data.modalities)[int(np.argmin(errors))]
    tune.store("mosi", data.modalities, "daf", entry)
    assert tune.settings("mosi", data.modalities, "daf") == chosen
    row = {"variant": "av", "rule": "daf", "lr": chosen.lr, "candidates": 2, "worst": max(errors)}
    assert row.items() <= tune.table("mosi")[0].items()


def test_storing_keeps_the_others(file):
    entry = {"settings": asdict(Settings("lmf", lr=0.5)), "cv_mae": 1.0, "tried": [{"cv_mae": 1.0}]}
    for place in (("mosi", "ta", "lmf"), ("mosi", "tav", "lmf"), ("mmmo", "av", "lmf")):
        tune.store(*place, entry)
    assert tune.settings("mosi", ["text", "audio"], "lmf").lr == 0.5
    assert [row["variant"] for row in tune.table("mosi")] == ["ta", "tav"]
    assert sorted(p.suffix for p in file.parent.iterdir()) in ([".json"], [".json", ".lock"])


def test_without_a_choice_the_defaults_hold():
    assert tune.settings("mosi", ["text"], "gmu") == Settings("gmu")
    assert tune.table("mosi") == []


def test_a_damaged_file_is_named(file):
    file.parent.mkdir()
    file.write_text('{"mosi": ')
    with pytest.raises(ValueError, match=r"settings\.json is damaged; restore it"):
        tune.settings("mosi", ["text"], "daf")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["tune", *arguments])
    monkeypatch.setattr(tune, "load", lambda name: corpus())
    tune.main()


def test_command_line(quick, monkeypatch, capsys):
    run(monkeypatch, "--dataset", "mosi", "--rules", "mean", "daf")
    run(monkeypatch, "--dataset", "mosi", "--modalities", "audio", "--utterances", "30")
    assert [(row["variant"], row["rule"]) for row in tune.table("mosi")] == [
        ("av", "mean"), ("av", "daf"), ("a", "mean"),
    ]  # fmt: skip
    assert capsys.readouterr().out.count("CV MAE") == 3
    with pytest.raises(
        SystemExit, match=r"^mmlib\.daf\.tune: mosi has no text; it has audio, vision$"
    ):
        run(monkeypatch, "--dataset", "mosi", "--modalities", "text")
