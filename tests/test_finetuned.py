"""Finished fine-tuning runs as stored rows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlib import files
from mmlib.data import load
from mmlib.data.targets import Targets, targets
from mmlib.finetune import rows
from mmlib.finetune.config import Config, read_config
from mmlib.finetune.rows import store
from mmlib.finetune.run import finetune
from mmlib.scores import results
from mmlib.text import made


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folders of two seeds of one encoder and a seed of another model, on embedded reviews."""
    folder = tmp_path_factory.mktemp("finetuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMLIB_CACHE", str(folder / "cache"))
        texts = list(load("synthetic_reviews").text)
        small = str(made.small(texts, vocabulary=80, width=32, depth=1, steps=1))
    given = {"dataset": "synthetic_reviews", "max_length": 16, "batch": 64, "width": 16}
    config = Config([small], **given, device="cpu", precision="float32")
    runs = {"one": config, "two": replace(config, seed=1), "bare": replace(config, guidance=False)}
    return {name: finetune(each, folder / name) for name, each in runs.items()}


def test_seeds_are_stacked_and_models_paired(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RUNS", tmp_path)
    models = {"single_a": [finished["one"], finished["two"]], "single_b": [finished["bare"]]}
    store("mine", models)
    table = results.load("mine").set_index(["model", "metric"])
    assert table.loc[("single_a", "acc_fine"), "n_seeds"] == 2
    corpus = load("synthetic_reviews")
    known = targets(corpus).fine[corpus.rows("test")]
    with np.load(finished["two"] / "test.npz") as said:
        right = np.mean(said["fine"] == known)
    assert table.loc[("single_a", "acc_fine"), "per_seed"][1] == pytest.approx(right, abs=1e-6)
    assert {"tfidf", "constant"} <= set(table.index.get_level_values("model"))
    tests = results.load_comparisons("mine")
    assert set(tests["a"]) == {"single_a"} and set(tests["b"]) == {"single_b", "tfidf"}
    origin = results.origins("mine")["finetune"]
    told = origin["parameters"]["single_a"]
    assert told["guidance"] is True and "/" not in told["encoders"][0] and told["seed"] == [0, 1]
    assert [one["device"] for one in told["trained"]] == [origin["device"]] * 2
    runs = told["trained"] + origin["parameters"]["single_b"]["trained"]
    assert origin["seconds"] == pytest.approx(sum(one["seconds"] for one in runs), abs=0.1)
    looked = json.loads((tmp_path / "mine" / rows.GATE_FILE).read_text())["single_a"]
    assert np.sum(looked["alpha_a"], axis=1) == pytest.approx([1, 1], abs=1e-3)
    top = np.max(looked["alpha_a"], axis=1)  # of the mean weights
    assert (top <= np.array(looked["largest_a"]) + 1e-4).all() and max(looked["largest_a"]) <= 1
    assert "gate" not in looked


def test_models_are_paired_by_the_seeds_that_both_have(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RUNS", tmp_path)
    one, two, bare = (finished[name] for name in ("one", "two", "bare"))
    store("all", {"single_a": [one, two], "single_b": [bare]})
    store("back", {"single_a": [two, one], "single_b": [bare]})  # in any order
    store("first", {"single_a": [one], "single_b": [bare]})
    found = [
        results.load_comparisons(run).query("b == 'single_b'").set_index("metric")["diff"]
        for run in ("all", "back", "first")
    ]
    assert found[0].equals(found[2]) and found[1].equals(found[2])
    with pytest.raises(ValueError, match="single_a and single_b have no seed in common"):
        store("none", {"single_a": [two], "single_b": [bare]})


def test_runs_that_cannot_be_compared(finished, tmp_path):
    with np.load(finished["one"] / "test.npz") as arrays:
        ids, known = arrays["ids"], Targets(*(arrays[f"true_{x}"] for x in Targets._fields))
    with pytest.raises(ValueError, match=r"test\.npz is missing; python -m mmlib\.finetune ends"):
        rows.predictions([tmp_path], ids, known)
    (tmp_path / "test.npz").write_bytes((finished["one"] / "test.npz").read_bytes()[:-99])
    with pytest.raises(ValueError, match=r"test\.npz is damaged; python -m mmlib\.finetune ends"):
        rows.predictions([tmp_path], ids, known)
    assert len(rows.predictions([finished["one"]], ids, known).fine) == 1
    with pytest.raises(ValueError, match="other reviews or labels"):
        rows.predictions([finished["one"]], ["another"], known)
    with pytest.raises(ValueError, match="other reviews or labels"):
        rows.predictions([finished["one"]], ids, known._replace(fine=known.fine[::-1]))
    with pytest.raises(ValueError, match="'dyfulm': write MODEL=FOLDER"):
        rows.folders_of(["single_a=there", "dyfulm"])
    config = read_config(finished["one"] / "config.yaml")
    with pytest.raises(ValueError, match="differ in utterances: 0, 9"):
        rows.common_config({"single_a": config, "single_b": replace(config, utterances=9)})
    with pytest.raises(ValueError, match=r"two runs of one seed \(\[0, 0\]\)"):
        rows.seeds_of("single_a", [config, config])
    with pytest.raises(ValueError, match="runs of single_a differ in batch, lr; leave"):
        rows.seeds_of("single_a", [config, replace(config, seed=1, batch=2, lr=1.0)])
    (finished["bare"] / "provenance.json").rename(tmp_path / "kept")
    with pytest.raises(ValueError, match=r"provenance\.json is missing; .* ends the run"):
        store("mine", {"single_b": [finished["bare"]]})
    (tmp_path / "kept").rename(finished["bare"] / "provenance.json")


def test_words_that_open_the_gate(tmp_path, monkeypatch):
    """Of two encoders: they lean somewhere, and no text stands in the file."""
    monkeypatch.setattr(files, "RUNS", tmp_path)
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))
    corpus = load("synthetic_reviews")
    a = made.small(list(corpus.text), vocabulary=80, width=32, depth=1, steps=1)
    given = {"dataset": "synthetic_reviews", "max_length": 40, "batch": 64, "width": 16}
    config = Config([str(a), str(a)], **given, device="cpu", precision="float32")
    store("mine", {"dyfulm": [finetune(config, tmp_path / "run")]})
    looked = json.loads((tmp_path / "mine" / rows.GATE_FILE).read_text())["dyfulm"]
    to_a, to_b = looked["to_a"], looked["to_b"]
    assert len(to_a) == len(to_b) == rows.WORDS
    gates = [gate for _, gate, _ in (*to_a, *to_b[::-1])]
    assert gates == sorted(gates, reverse=True) and 0 < gates[-1] < gates[0] < 1
    assert all(" " not in word and n >= rows.COMMON for word, _, n in (*to_a, *to_b))
