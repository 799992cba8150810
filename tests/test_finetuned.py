"""Finished fine-tuning runs as stored rows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlib import encoders, finetuned, results
from mmlib.config import Config, read_config
from mmlib.data import load
from mmlib.data.targets import targets
from mmlib.finetune import finetune


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folders of two seeds of one encoder and a seed of another model, on embedded reviews."""
    folder = tmp_path_factory.mktemp("finetuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMLIB_CACHE", str(folder / "cache"))
        texts = list(load("synthetic_reviews").text)
        small = str(encoders.small(texts, vocabulary=80, width=32, depth=1, steps=1))
    given = {"dataset": "synthetic_reviews", "max_length": 16, "batch": 64, "width": 16}
    config = Config([small], **given, device="cpu", precision="float32")
    runs = {"one": config, "two": replace(config, seed=1), "bare": replace(config, guidance=False)}
    return {name: finetune(each, folder / name) for name, each in runs.items()}


def test_seeds_are_stacked_and_models_paired(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RUNS", tmp_path)
    models = {"single_a": [finished["one"], finished["two"]], "single_b": [finished["bare"]] * 2}
    finetuned.store("mine", models)
    rows = results.load("mine").set_index(["model", "metric"])
    assert rows.loc[("single_a", "acc_fine"), "n_seeds"] == 2
    corpus = load("synthetic_reviews")
    known = targets(corpus).fine[corpus.rows("test")]
    with np.load(finished["two"] / "test.npz") as said:
        right = np.mean(said["fine"] == known)
    assert rows.loc[("single_a", "acc_fine"), "per_seed"][1] == pytest.approx(right, abs=1e-6)
    assert {"tfidf", "constant"} <= set(rows.index.get_level_values("model"))
    tests = results.load_comparisons("mine")
    assert set(tests["a"]) == {"single_a"} and set(tests["b"]) == {"single_b", "tfidf"}
    told = results.origins("mine")["finetune"]["parameters"]["single_a"]
    assert told["guidance"] is True and "/" not in told["encoders"][0]
    looked = json.loads((tmp_path / "mine" / finetuned.INSIDE).read_text())["single_a"]
    assert sum(looked["alpha_a"]) == pytest.approx(1, abs=1e-3) and "gate" not in looked


def test_runs_that_cannot_be_compared(finished, tmp_path):
    with pytest.raises(ValueError, match="holds no finished run"):
        finetuned.said([tmp_path], [])
    with pytest.raises(ValueError, match="other reviews"):
        finetuned.said([finished["one"]], ["another"])
    with pytest.raises(ValueError, match="'dyfulm': write MODEL=FOLDER"):
        finetuned.named(["single_a=there", "dyfulm"])
    config = read_config(finished["one"] / "config.yaml")
    with pytest.raises(ValueError, match="differ in utterances: 0, 9"):
        finetuned.common({"single_a": config, "single_b": replace(config, utterances=9)})
