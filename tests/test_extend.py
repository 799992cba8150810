"""What a reader adds from a cell: rule, modality, table, metric; misspelt names are refused."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from torch import Tensor, nn

from mmlib import daf, files
from mmlib.daf import features, fusion, saved, train, tune
from mmlib.daf.features import variant
from mmlib.data import Corpus, DataError, Sequences, load
from mmlib.data.targets import targets
from mmlib.dyfulm import frozen
from mmlib.dyfulm import tune as dyfulm_tune
from mmlib.figures import plots
from mmlib.scores import metrics, results, stats
from mmlib.stack import choices

rng = np.random.default_rng(0)
PLACE = {"notebook": "14_extend", "dataset": "mine", "variant": "ap", "split": "test"}
TINY = {"shape": {"width": 4}, "epochs": 2, "patience": 2, "batch": 16}


class Product(daf.Fusion):
    """z = h_1 * ... * h_M."""

    def fuse(self, h: Tensor, present: Tensor) -> tuple[Tensor, None]:
        return h.prod(dim=2), None


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Files of its own, and nothing that stays registered."""
    monkeypatch.setattr(files, "RUNS", tmp_path)
    monkeypatch.setattr(choices, "FILE", tmp_path / "settings.json")
    choices.missing.cache_clear()
    yield
    for table in (fusion.RULES, metrics.METRICS):
        for name in table.added:
            table.unregister(name)


def corpus(*modalities, n=60):
    label = rng.uniform(-3, 3, n)
    sequences = {m: Sequences(label[:, None] + rng.normal(size=(n, 3)), np.ones(n, int),
                              tuple("xyz")) for m in modalities}  # fmt: skip
    ids, split = tuple(f"u{i}" for i in range(n)), np.resize(["train", "valid", "test"], n)
    return Corpus("mine", "toy", ids, ids, split, label, sequences=sequences)


def scores(rule, data):
    test = data.take(data.rows("test"))
    fit = train.fit(data, train.Settings(rule, **TINY), range(2))
    return fit.predict(test).score, test


def test_a_rule_of_one_s_own_trains_and_reaches_rows_tests_and_figures():
    daf.register("product", Product)
    assert tune.models(("audio", "vision"))["product"] == ("product", ("audio", "vision"))
    data = features.build(corpus("audio", "vision"))
    (own, test), (theirs, _) = scores("product", data), scores("daf", data)
    new = results.rows(own, test.label, test.groups, model="product", **PLACE)
    pair = results.comparisons({"product": own, "daf": theirs}, [("product", "daf")], test.label,
                               test.groups, **PLACE)  # fmt: skip
    results.save(new, "own", "14_extend", comparisons=pair)
    assert set(results.load("own")["model"]) == {"product"}
    assert plots.differences(results.load_comparisons("own"), "mae").axes[0].get_title()


def test_a_cell_run_again_replaces_and_another_source_does_not():
    daf.register("product", Product)
    again = type("Product", (Product,), {"__module__": __name__, "__qualname__": "Product"})
    daf.register("product", again)
    assert fusion.RULES["product"] is again
    other = type("Other", (Product,), {})
    with pytest.raises(ValueError, match=r"'product' is of .*Product; unregister it first"):
        daf.register("product", other)
    daf.unregister("product")
    with pytest.raises(ValueError, match="unknown fusion rule 'product'; choose one of mean"):
        fusion.create("product", {"audio": 3})
    for name in ("daf", "DAF"):
        with pytest.raises(ValueError, match="is built in; choose another name"):
            daf.register(name, Product)
    with pytest.raises(ValueError, match="use letters"):
        daf.register("my:rule", Product)
    with pytest.raises(ValueError, match=r"give a subclass of daf\.Fusion that defines fuse"):
        daf.register("none", daf.Fusion)


def plain_layer(self, s):
    self.layer = nn.Linear(64, 64)


def dropping(self, s):
    self.drop = nn.Dropout(0.5)


def unused(self, s):
    self.scale = nn.Parameter(Tensor(s, 1, 1))


class Wrong(daf.Fusion):
    """fuse returns what `answer` makes of h (s, b, m, h)."""

    def fuse(self, h, present):
        return self.answer(h)


class Halved(Product):
    def add_rule(self, s, factor):  # without a default
        self.factor = factor


@pytest.mark.parametrize(
    "wrong, why",
    [
        ({"answer": lambda _, h: h.mean(2)}, "ValueError: not enough values"),
        ({"answer": lambda _, h: (h.mean(2), h)}, r"weights has shape \(1, 3, 2, 64\), not"),
        ({"answer": lambda _, h: (h, None)}, r"z has shape \(1, 3, 2, 64\), not \(1, 3, 64\)"),
        ({"answer": lambda _, h: (h.mean(1), None)}, r"z has shape \(1, 2, 64\), not \(1, 3, 64\)"),
        ({"answer": lambda _, h: (None, None)}, r"z has shape \(\), not"),
        ({"answer": lambda _, h: h[:, :, 9]}, "IndexError: index 9 is out of bounds"),
        ({"add_rule": lambda _: None}, "TypeError: .* positional argument"),
        (
            {"add_rule": plain_layer, "answer": lambda self, h: (self.layer(h).mean(2), None)},
            "ValueError: layer.weight has 64 rows, not one for each of 1 seeds",
        ),
        (
            {"add_rule": dropping, "answer": lambda self, h: (self.drop(h).mean(2), None)},
            "ValueError: leave out Dropout, which knows no seeds",
        ),
        (
            {"add_rule": unused, "answer": lambda _, h: (h.mean(2), None)},
            "ValueError: fuse does not use the parameter scale",
        ),
    ],
)
def test_a_rule_that_returns_something_else_is_named_before_it_trains(wrong, why):
    daf.register("wrong", type("Wrong", (Wrong,), wrong))
    fits = r"; .*returns two: z \(s, b, h\), and weights \(s, b, m\) or None\Z"
    with pytest.raises(ValueError, match=rf"\Arule 'wrong': .*{why}.*{fits}"):
        train.fit(features.build(corpus("audio", "vision")), train.Settings("wrong"), [0])


def test_a_rule_may_have_arguments_without_defaults_and_any_number_of_modalities():
    daf.register("halved", Halved)
    for m in (1, 2, 5):
        made = fusion.create("halved", {f"m{i}": 3 for i in range(m)}, s=m, factor=0.5)
        assert made.factor == 0.5
    with pytest.raises(ValueError, match=r"\Arule 'halved': TypeError: .*'factor'"):
        fusion.create("halved", {"audio": 3})


@pytest.mark.parametrize("name", ["text", "Text_deep", "audio_gated", "constant", "both", "ridge"])
def test_a_rule_has_no_other_model_s_name(name):
    with pytest.raises(ValueError, match=f"rule '{name}': a model in rows has that name; choose"):
        daf.register(name, Product)
    daf.register("tfn", Product)  # a known rule that mmlib does not have


def test_a_rule_and_a_modality_of_one_name_are_not_taken_for_each_other():
    daf.register("pulse_deep", Product)
    with pytest.raises(
        DataError, match="'pulse_deep' is a modality's model and a fusion rule; ren"
    ):
        tune.models(("audio", "pulse"))
    assert "pulse_deep" in tune.models(("audio", "skin"))


def test_a_saved_model_of_a_rule_that_is_not_registered_names_the_rule(tmp_path):
    daf.register("product", Product)
    data = features.build(corpus("audio", "physio"))
    path = saved.save(train.fit(data, train.Settings("product", **TINY), [0]), data,
                      tmp_path / "own.safetensors")  # fmt: skip
    assert isinstance(saved.load(path).model, Product)
    daf.unregister("product")
    with pytest.raises(
        ValueError, match=r"rule 'product'.*first: daf\.register\('product', "
    ) as error:
        saved.load(path)
    assert "damaged" not in str(error.value) and "\n" not in str(error.value)
    path.with_suffix(".json").write_text("[]")
    with pytest.raises(ValueError, match="damaged"):
        saved.load(path)


def test_a_misspelt_rule_is_refused_where_settings_are_asked_for():
    with pytest.raises(ValueError, match="unknown fusion rule 'dfa'"):
        tune.settings("synthetic", ("text",), "dfa")


def test_a_modality_of_one_s_own_is_used_and_named_in_full():
    data = features.build(corpus("physio", "audio"))
    assert data.modalities == ("audio", "physio") and variant(data.modalities) == "audio+physio"
    assert scores("daf", data)[0].shape == (2, 20)
    assert variant(("text", "audio", "vision", "constant")) == "tavc"
    assert variant(("pose",)) == "pose" != variant(("pitch",))  # tuned settings have these keys
    assert variant(("text", "pose")) == "text+pose"
    why = "'a' and 'b' are DyFuLM's encoders"
    for name in ("constant", "a", "b", "t", "ta", "tavc", "skin.temperature", ""):
        with pytest.raises(DataError, match=f"^modality '{name}': choose another name.*{why}"):
            corpus(name)
    assert corpus("pulse").modalities == ("pulse",)  # the remedy of that line


def test_a_metric_of_one_s_own_reaches_rows_intervals_and_tests():
    truth = rng.uniform(-3, 3, 60)
    good, poor = truth + rng.normal(0, 0.7, (3, 60)), truth + rng.normal(0, 2, (3, 60))
    groups = [f"g{i // 5}" for i in range(60)]
    metrics.add("far", lambda p, y: abs(p - y) > 1, better="lower")
    (row,) = [r for r in results.rows(good, truth, groups, model="daf", **PLACE)
              if r["metric"] == "far"]  # fmt: skip
    assert row["mean"] == pytest.approx((abs(good - truth) > 1).mean(), abs=1e-6)
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    tests = results.comparisons({"daf": good, "mine": poor}, [("daf", "mine")], truth, groups,
                                **PLACE)  # fmt: skip
    results.save([row], "own", "14_extend", comparisons=tests)
    metrics.remove("far")  # as who reads the run in another process
    stored = results.load_comparisons("own").set_index("metric", drop=False).loc["far"]
    assert stored["diff"] < 0 and results.better(stored) == "daf"
    assert "far" not in metrics.all_scores(good, truth)


def test_a_metric_may_leave_the_bounds_of_the_built_in_ones():
    truth = np.zeros(40)
    metrics.add("bias", lambda p, y: p - y, better="higher")
    ends = stats.interval(metrics.METRICS["bias"], truth + 5, truth, np.arange(40))
    assert ends.low <= 5 <= ends.high
    with pytest.raises(ValueError, match="give each utterance's value"):
        metrics.add("mean_error", lambda p, y: np.mean(p - y))
    metrics.add("scaled", partial(lambda p, y, k: k * abs(p - y), k=2))
    assert metrics.METRICS["scaled"](truth + 1, truth) == 2
    rule = type("Rule", (), {"func": "tanh"})  # not a partial
    metrics.METRICS.register("own", metrics.METRICS["mae"], rule)
    assert "own" in metrics.METRICS.added
    with pytest.raises(ValueError, match="unknown better 'low'; choose one of lower, higher"):
        metrics.add("bias2", lambda p, y: p - y, better="low")
    with pytest.raises(ValueError, match="'mae_natural': _natural marks weighted scores"):
        metrics.add("mae_natural", lambda p, y: p - y)


def test_a_metric_that_writes_into_its_arguments_leaves_the_predictions_alone():
    def clipped(p, y):
        p[p > 2] = 2
        return abs(p - y)

    metrics.add("clipped", clipped)
    pred, truth = np.full((2, 40), 3.0), np.tile([1.0, -1.0], 20)
    rows = results.rows(pred, truth, [f"g{i // 4}" for i in range(40)], model="daf", **PLACE)
    assert (pred == 3).all()
    assert {r["metric"]: r["mean"] for r in rows if r["metric"] in ("mae", "clipped")} == {
        "mae": 3, "clipped": 2,
    }  # fmt: skip


def fails(p, y):
    raise ZeroDivisionError("no spread")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda p, y: fails(p, y) if len(y) > 3 else p - y, r"fails \(ZeroDivisionError: no"),
        (lambda p, y: np.where(y > 5, np.nan, p - y), "gives NaN or infinity for 10 of 20"),
        (lambda p, y: (p - y)[:, :3], r"has shape \(2, 3\); give each utterance's value, \(2, 10"),
    ],
)
def test_a_metric_that_fails_is_named_and_can_be_taken_out(function, said):
    truth = np.r_[np.linspace(-3, 3, 5), np.full(5, 9)]
    call = partial(results.rows, np.tile(truth, (2, 1)), truth, range(10), model="daf", **PLACE)
    known = call()
    metrics.add("own", function)
    with pytest.raises(ValueError, match=rf"^metric 'own' {said}.*metrics.remove\(\"own\"\)$"):
        call()
    metrics.remove("own")
    assert call() == known
    with pytest.raises(ValueError, match="unknown added metric 'mae'"):
        metrics.remove("mae")
    with pytest.raises(ValueError, match=r"^metric 'own' fails \(.*: correct its function$"):
        metrics.add("own", fails)


@pytest.mark.parametrize("labels", [(1, 2, 3, 4, 5), ("very negative", "negative", "neutral",
                                                      "positive", "very positive")])  # fmt: skip
def test_a_table_of_one_s_own_trains_both_and_reads_new_texts(labels, tmp_path):
    say = ("dreadful", "poor", "average", "good", "wonderful")
    rows = [(f"the stay number {i} was {say[i % 5]}", labels[i % 5], f"h{i // 5}")
            for i in range(100)]  # fmt: skip
    pd.DataFrame(rows, columns=["Comment", "Stars", "Place"]).to_csv(tmp_path / "mine.csv")
    mine = load(str(tmp_path / "mine.csv"), text="Comment", label="Stars", group="Place")
    data, new = features.build(mine, ["text"], layers="last"), mine.text[:3]
    fit = train.fit(data, train.Settings("mean", **TINY), [0, 1])
    again = fit.predict_texts(new).score
    assert np.allclose(again, fit.predict(data.take(np.arange(3))).score, atol=1e-5)
    states = frozen.states(mine, "minilm", "minilm")
    both = frozen.fit(states, targets(mine), frozen.Settings(**TINY), [0])
    known = both.predict(states.take(np.arange(3))).intensity
    assert np.allclose(both.predict_texts(new).intensity, known, atol=1e-5)
    for wrong in ("one text", [], ["good", " "]):
        with pytest.raises(DataError, match=r"^text(s is one string|s is empty| 1 is empty); "):
            fit.predict_texts(wrong)


def test_texts_alone_are_not_enough_for_a_model_that_hears():
    data = features.build(corpus("audio"))
    fit = train.fit(data, train.Settings("daf", **TINY), [0])
    with pytest.raises(DataError, match=r'the model reads audio of mine; .*\["text"\]'):
        fit.predict_texts(["good"])


def test_what_is_not_tuned_is_said_once_with_the_command(capsys):
    for _ in range(2):
        assert tune.settings("mine", ("text", "constant"), "daf") == train.Settings("daf")
    dyfulm_tune.settings("mine", "minilm", "small")
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("python -m mmlib.daf.tune --dataset mine --modalities text")
    assert second.endswith("python -m mmlib.dyfulm.tune --dataset mine --encoders minilm small")
    daf.register("product", Product)
    tune.settings("mine", ("text",), "product")
    assert "entry = tune.tune(data, 'product')" in capsys.readouterr().out


def test_a_look_of_one_s_own_is_stable_and_no_built_in_one():
    names = [f"model{i}" for i in range(10)]
    assert len({plots.look(name) for name in names}) > 5
    assert plots.look("bilinear") == plots.look("bilinear") not in plots.LOOKS.values()


def test_a_model_s_name_is_free_but_for_its_form():
    row = results.rows(rng.normal(size=(2, 20)), rng.uniform(1, 2, 20), range(20), model="mine",
                       **PLACE)[0]  # fmt: skip
    results.save([row], "own", "14_extend")
    for name, message in (("DAF", "unknown model 'DAF'"), ("my model", "use letters")):
        with pytest.raises(ValueError, match=message):
            results.save([replace_in(row, name)], "own", "14_extend")


def replace_in(row, name):
    return {**row, "model": name}
