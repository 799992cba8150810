"""Settings are chosen with one budget for all rules and kept in one file."""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from mmlib.daf import fusion, tune
from mmlib.daf.features import build, with_constant
from mmlib.daf.train import Settings
from mmlib.data import Corpus, Sequences
from mmlib.stack import choices
from mmlib.stack.task import same_shape


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "FILE", tmp_path / "runs" / "settings.json")
    return choices.FILE


@pytest.fixture
def quick(monkeypatch):
    """Two candidates a rule, one seed, one epoch each."""
    drawn = tune.candidates
    tiny = {"shape": {"width": 2}, "epochs": 1, "patience": 1}
    monkeypatch.setattr(
        tune, "candidates", lambda rule: [replace(one, **tiny) for one in drawn(rule)]
    )
    monkeypatch.setattr(tune, "BUDGET", 2)
    monkeypatch.setattr(tune, "SEEDS", range(1))


def corpus(n=40):
    rng = np.random.default_rng(0)
    sequences = {
        m: Sequences(rng.standard_normal((n, 3)), np.ones(n, int), tuple("abc"))
        for m in ("audio", "vision")
    }
    ids, split = tuple(f"u{i}" for i in range(n)), np.resize(["train", "valid", "test"], n)
    return Corpus("mosi", "toy", ids, ids, split, rng.uniform(-3, 3, n), sequences=sequences)


def test_every_rule_has_the_same_candidates():
    drawn = {rule: tune.candidates(rule) for rule in fusion.RULES}
    same = {json.dumps([asdict(replace(c, rule="")) for c in some]) for some in drawn.values()}
    assert len(same) == 1 and {c.rule for c in drawn["gmu"]} == {"gmu"}
    assert len({json.dumps(asdict(c)) for c in drawn["daf"]}) == tune.BUDGET >= 20
    same_shape(drawn["daf"], Settings.SHARED)


def test_candidates_span_their_ranges():
    drawn = tune.candidates("daf")
    for name, (low, high) in {"lr": (2e-4, 4e-3), "dropout": (0.1, 0.7)}.items():
        values = np.array([getattr(c, name) for c in drawn])
        assert low <= values.min() < values.max() <= high
        assert np.ptp(np.log(values)) > 0.7 * np.log(high / low)


def test_a_modality_alone_has_the_depth_of_a_fusion():
    known = tune.models(("text", "audio"))
    assert known["text"] == ("mean", ("text",)) and known["daf"][1] == ("text", "audio")
    dims = {"text": 5, "audio": 4, "constant": 1}
    sizes = {}
    for name, (rule, used) in known.items():
        model = fusion.create(rule, {m: dims[m] for m in used}, width=8)
        sizes[name] = {part.split(".")[0] for part, _ in model.named_parameters()}
    assert sizes["text"] < sizes["text_deep"] == sizes["concat"]
    assert sizes["text_gated"] == sizes["daf"]
    assert "daf" not in tune.models(("text",)) and "text_gated" in tune.models(("text",))


def test_the_constant_modality_tells_nothing():
    data = with_constant(build(corpus()))
    assert (data.x["constant"] == 1).all() and data.present[:, -1].all()
    assert data.only(["audio", "vision"]).dims == build(corpus()).dims


def test_the_best_candidate_is_stored_and_read(quick):
    data = build(corpus())
    entry = tune.tune(data, "daf")
    errors = [trial["cv_mae"] for trial in entry["tried"]]
    assert entry["cv_mae"] == min(errors)
    chosen = tune.candidates("daf")[int(np.argmin(errors))]
    choices.store("mosi", "av", "daf", entry)
    assert tune.settings("mosi", data.modalities, "daf") == chosen
    row = {"variant": "av", "rule": "daf", "lr": chosen.lr, "candidates": 2, "worst": max(errors)}
    assert row.items() <= tune.table("mosi")[0].items()


def test_storing_keeps_the_others(file):
    entry = {"settings": asdict(Settings("lmf", lr=0.5)), "cv_mae": 1.0, "tried": [{"cv_mae": 1.0}]}
    for place in (("mosi", "ta", "lmf"), ("mosi", "tav", "lmf"), ("mmmo", "av", "lmf")):
        choices.store(*place, entry)
    assert tune.settings("mosi", ["text", "audio"], "lmf").lr == 0.5
    assert [row["variant"] for row in tune.table("mosi")] == ["ta", "tav"]
    assert [path.name for path in file.parent.iterdir()] == ["settings.json"]


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
    run(monkeypatch, "--dataset", "mosi", "--models", "mean", "daf")
    run(monkeypatch, "--dataset", "mosi", "--modalities", "audio", "--utterances", "30")
    assert [(row["variant"], row["rule"]) for row in tune.table("mosi")] == [
        ("av", "mean"), ("av", "daf"), ("a", "mean"), ("a", "concat"), ("ac", "daf"),
    ]  # fmt: skip
    assert capsys.readouterr().out.count("CV MAE") == 5
    before = choices.FILE.read_bytes()
    with pytest.raises(SystemExit, match="av mean is tuned with all utterances; leave --utter"):
        run(monkeypatch, "--dataset", "mosi", "--models", "mean", "--utterances", "30")
    assert choices.FILE.read_bytes() == before
    assert {one["utterances"] for one in choices.stored("mosi")["a"].values()} == {30}
    with pytest.raises(SystemExit, match="unknown model 'tfn'; choose one of audio, "):
        run(monkeypatch, "--dataset", "mosi", "--models", "tfn")
    with pytest.raises(
        SystemExit, match=r"^mmlib\.daf\.tune: mosi has no text; it has audio, vision$"
    ):
        run(monkeypatch, "--dataset", "mosi", "--modalities", "text")


def test_the_split_that_leaks_is_tuned_under_a_key_of_its_own(quick, monkeypatch, capsys):
    tune.settings("mosi-leak", ["text", "audio"], "mean")
    command = capsys.readouterr().out.strip().partition("to tune: python -m mmlib.daf.tune ")[2]
    assert command == "--dataset mosi-leak --modalities text audio"
    run(monkeypatch, "--dataset", "mosi-leak", "--modalities", "audio", "--models", "audio")
    assert [row["variant"] for row in tune.table("mosi-leak")] == ["a"] and not tune.table("mosi")
