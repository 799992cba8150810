"""The full DyFuLM is tuned once for a data set and a pair of encoders, without the test split."""

import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from mmlib.data import load
from mmlib.data.targets import targets
from mmlib.dyfulm import tune
from mmlib.dyfulm.frozen import Settings
from mmlib.finetune import teacher
from mmlib.stack import choices
from mmlib.stack.task import same_shape
from mmlib.stack.vectors import Features, Scaler


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "FILE", tmp_path / "settings.json")
    drawn = tune.candidates()[:3]
    tiny = {"shape": {"width": 4}, "epochs": 15, "patience": 15, "batch": 16}
    monkeypatch.setattr(tune, "candidates", lambda: [replace(one, **tiny) for one in drawn])
    return choices.FILE


@pytest.fixture(scope="module")
def corpus():
    return load("synthetic_reviews", n=300)


def states(corpus, *_, **options):
    rng = np.random.default_rng(0)
    x = {m: (corpus.label[:, None, None] + rng.normal(0, 1, (len(corpus), 2, 5))) for m in "ab"}
    x = {m: values.astype(np.float32) for m, values in x.items()}
    present = np.ones((len(corpus), 2), bool)
    scaler = Scaler.fit(x, present, corpus.rows("train"))
    return Features.of(corpus, scaler.apply(x, present), present, scaler)


def test_candidates_can_share_a_stack_and_differ():
    drawn = choices.draw(tune.RANGES, tune.BUDGET)
    assert len({str(one) for one in drawn}) == tune.BUDGET <= 12
    same_shape([Settings(**one) for one in drawn], Settings.SHARED)


def test_the_choice_is_the_best_one_and_does_not_see_the_test_split(corpus):
    data, goal = states(corpus), targets(corpus)
    entry = tune.tune(data, goal)
    errors = [trial["cv_criterion"] for trial in entry["tried"]]
    assert entry["cv_criterion"] == min(errors) < 1  # better than the constant
    assert entry["settings"] == asdict(tune.candidates()[int(np.argmin(errors))])
    x = {m: values.copy() for m, values in data.x.items()}
    for values in x.values():
        values[data.rows("test")] = 5
    assert tune.tune(replace(data, x=x), goal) == entry


def test_the_command_stores_what_the_notebooks_read(corpus, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(tune, "load", lambda name: corpus)
    monkeypatch.setattr(tune.made, "named", lambda name, texts: name)
    monkeypatch.setattr(
        tune.frozen, "states", lambda c, *pair, **o: seen.append((c, pair, o)) or states(c)
    )
    arguments = ["tune", "--dataset", "hotel", "--encoders", "minilm", "folder/second"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--rows", "120", "--max-length", "9"])
    tune.main()
    read, pair, options = seen[0]
    assert len(read) == 120 and set(read.split) == {"train", "valid"}
    assert pair == ("minilm", "folder/second") and options["max_length"] == 9
    assert tune.settings("hotel", "minilm", "folder/second") in tune.candidates()
    (row,) = tune.table("hotel", "minilm", "folder/second")
    assert row["rule"] == "dyfulm" and row["candidates"] == 3
    assert capsys.readouterr().out.startswith("hotel-minilm+second: criterion 0.")


def test_without_a_choice_the_defaults_hold():
    assert tune.settings("hotel", "minilm", "small") == Settings()
    assert tune.table("hotel", "minilm", "small") == []


def test_an_unknown_data_set_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tune", "--dataset", "imdb"])
    with pytest.raises(SystemExit, match=r"^mmlib\.dyfulm\.tune: unknown data set 'imdb'; choose"):
        tune.main()


@pytest.mark.parametrize(
    "module, arguments",
    [
        (tune, ["--dataset", "mmmo", "--rows", "-3"]),
        (teacher, ["mmmo", "a.npz", "--utterances", "-3"]),
    ],
)
def test_a_negative_number_of_texts_is_one_line(monkeypatch, corpus, module, arguments):
    monkeypatch.setattr(module, "load", lambda name: corpus)
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit, match=r"^mmlib\.\S+: --(rows|utterances) -3: give 0 .*or more$"):
        module.main()


@pytest.mark.parametrize("module, arguments", [(tune, ["--dataset", "mmmo"]),
                                               (teacher, ["mmmo", "a.npz"])])  # fmt: skip
def test_a_data_set_without_text_is_one_line(monkeypatch, corpus, module, arguments):
    monkeypatch.setattr(module, "load", lambda name: replace(corpus, text=None))
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit, match=r"^mmlib\.\S+: mmmo has no text.* reads nothing else$"):
        module.main()
