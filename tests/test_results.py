"""Rows go in whole or not at all, and the ledger's verdicts follow from them."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from mmlib import files
from mmlib.data.readers.reviews import natural_weights
from mmlib.data.targets import Targets
from mmlib.scores import results, runs, stats
from mmlib.scores.ledger import judged
from mmlib.scores.metrics import METRICS, REVIEW, SENTIMENT, all_scores

rng = np.random.default_rng(0)
GROUPS = [f"v{i // 5}" for i in range(200)]
TRUTH = rng.integers(-9, 10, 200) / 3
GOOD = TRUTH + rng.normal(0, 0.8, (4, 200))
POOR = TRUTH + rng.normal(0, 1.6, (4, 200))
PLACE = {"notebook": "02_daf", "dataset": "mosi", "model": "daf", "variant": "ta", "split": "test"}
PAIRED = {key: value for key, value in PLACE.items() if key != "model"}


@pytest.fixture(autouse=True)
def runs_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RUNS", tmp_path)
    return tmp_path


def rows(pred=GOOD, **place):
    return results.rows(pred, TRUTH, GROUPS, **{**PLACE, **place})


def against(a=GOOD, b=POOR, other="concat"):
    return results.comparisons({"daf": a, other: b}, [("daf", other)], TRUTH, GROUPS, **PAIRED)


def test_rows_hold_each_score_with_its_seeds_and_interval():
    table = rows()
    assert [r["metric"] for r in table] == list(SENTIMENT)
    mae = table[0]
    assert set(mae) == set(results.ROW)
    assert mae["per_seed"] == pytest.approx(all_scores(GOOD, TRUTH)["mae"], abs=1e-6)
    assert mae["mean"] == pytest.approx(np.mean(mae["per_seed"]), abs=1e-6)
    assert mae["sd"] == pytest.approx(np.std(mae["per_seed"], ddof=1), abs=1e-6)
    assert (mae["ci_low"], mae["ci_high"]) == pytest.approx(
        stats.interval(METRICS["mae"], GOOD, TRUTH, GROUPS), abs=1e-6
    )


def test_saved_rows_are_read_back_and_a_notebook_replaces_only_its_own():
    results.save(rows() + rows(model="text", variant="t"), "mosi", "02_daf")
    results.save(rows(POOR, notebook="03_x"), "mosi", "03_x", comparisons=[])
    results.save(rows(POOR), "mosi", "02_daf", parameters={"seeds": 4}, checksums={"f": "ab"})
    frame = results.load("mosi")
    assert list(frame.columns) == list(results.ROW) and results.runs() == ["mosi"]
    assert frame.groupby("notebook")["model"].unique().map(list).to_dict() == {
        "02_daf": ["daf"],
        "03_x": ["daf"],
    }
    origin = results.origins("mosi")["02_daf"]
    assert origin["parameters"] == {"seeds": 4} and origin["data"] == {"f": "ab"}
    assert {"commit", "dirty", "versions", "device", "seconds", "command"} <= set(origin)
    assert "torch" in origin["versions"]


def test_notebooks_may_save_at_the_same_time(runs_folder):
    names = [f"0{i}_x" for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: results.save(rows(notebook=n), "all", n), names))
    assert sorted(results.load("all")["notebook"].unique()) == names
    assert not list(runs_folder.glob("*/*.part"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "f1"}, "unknown metric 'f1'; choose one of mae"),
        ({"model": "DAF"}, "unknown model 'DAF'"),
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"notebook": "03"}, "unknown notebook '03'"),
        ({"mean": float("nan")}, "NaN"),
        ({"per_seed": [1.0, np.inf]}, "infinity"),
        ({"ci_low": 9.0}, "ci_low, is above ci_high"),
        ({"n_seeds": 3}, "n_seeds"),
        ({"extra": 1}, r"missing or unknown: \['extra'\]"),
    ],
)
def test_a_wrong_row_is_refused_and_nothing_is_written(runs_folder, change, message):
    good = rows()
    with pytest.raises(ValueError, match=message) as error:
        results.save([{**good[0], **change}, *good[1:]], "mosi", "02_daf")
    assert "\n" not in str(error.value) and not list(runs_folder.iterdir())


def test_parameters_that_cannot_be_stored_leave_rows_and_origin_as_they_were(runs_folder):
    """New rows stood beside the old origin."""
    results.save(rows(), "r", "02_daf", parameters={"n": 1})
    before = [path.read_bytes() for path in sorted(runs_folder.rglob("*.json"))]
    with pytest.raises(ValueError, match=r"\A02_daf: Object of type \w+ is not JSON .*; store num"):
        results.save(rows(POOR), "r", "02_daf", parameters={"n": runs_folder})
    assert [path.read_bytes() for path in sorted(runs_folder.rglob("*.json"))] == before


def test_a_row_may_not_stand_twice():
    with pytest.raises(ValueError, match="02_daf mosi daf ta test mae: there are two such rows"):
        results.save(rows() + rows(), "mosi", "02_daf")


@pytest.mark.parametrize("run", ["../x", "", "a/b", ".hidden"])
def test_a_run_is_a_plain_folder_name(run):
    with pytest.raises(ValueError, match="use letters"):
        results.save(rows(), run, "02_daf")


def test_kept_runs_are_those_that_a_parameter_file_or_script_made(runs_folder):
    for name in ("mosi", "hotel", "mine", "peers"):
        results.save(rows(), name, "02_daf")
    for name in ("params/mosi.yaml", "params/sst5.yaml", "finetune/hotel-dyfulm.yaml"):
        files.write_whole(runs_folder / name, "")
    assert runs.kept() == ["hotel", "mosi", "peers"]


def test_the_fullest_test_row_counts():
    few = pd.DataFrame(rows(GOOD[:2]) + rows(split="valid"))
    many = pd.DataFrame(rows(GOOD))
    table = runs.fullest(pd.concat([few, many]))
    assert set(table["n_seeds"]) == {len(GOOD)} and len(table) == len(SENTIMENT)


def test_tests_of_several_runs_come_with_their_verdicts():
    results.save(rows(), "mosi", "02_daf", comparisons=against())
    results.save(rows(), "other", "02_daf", comparisons=against(b=GOOD))
    results.save(rows(), "bare", "02_daf")
    pairs = runs.tested(["mosi", "other", "bare"]).query("metric == 'mae'")
    assert dict(zip(pairs["run"], pairs["verdict"], strict=True)) == {
        "mosi": "daf better",
        "other": "not told apart",
    }
    assert len(runs.tested([])) == 0 and "verdict" in runs.tested([])


def test_a_table_is_written_as_csv_beside_the_rows(runs_folder):
    path = results.save_csv(pd.DataFrame({"a": [1], "b": ["x, y"]}), "mosi", "08_pairs")
    assert path == runs_folder / "mosi" / "08_pairs.csv"
    assert path.read_text() == 'a,b\n1,"x, y"\n'
    with pytest.raises(ValueError, match="use letters"):
        results.save_csv(pd.DataFrame(), "mosi", "../x")


def test_an_unknown_run_names_those_there_are():
    results.save(rows(), "mosi", "02_daf")
    with pytest.raises(ValueError, match=r"no results of run 'nope' \(stored: mosi\)"):
        results.load("nope")


def test_comparisons_carry_holm_over_the_whole_table():
    noise = GOOD + rng.normal(0, 0.3, GOOD.shape)
    table = results.comparisons(
        {"daf": GOOD, "concat": POOR, "daf:tav": noise},
        [("daf", "concat"), ("daf", "daf:tav")],
        TRUTH,
        GROUPS,
        metrics=["mae", "corr"],
        **PAIRED,
    )
    results.save([], "mosi", "02_daf", comparisons=table)
    frame = results.load_comparisons("mosi")
    assert list(frame.columns) == list(results.COMPARISON) and len(frame) == 4
    assert frame["p_holm"].to_numpy() == pytest.approx(stats.holm(frame["p"]), abs=1e-5)
    assert frame.loc[0, "diff"] < 0 < frame.loc[1, "diff"]  # lower MAE, higher correlation


def test_sentiment_is_paired_by_common_seeds_as_reviews_are():
    models = {"daf": GOOD, "concat": POOR[[2, 0]], "oracle": TRUTH + 0.1}
    pairs, seeds = [("daf", "concat")], {"daf": [0, 1, 2, 3], "concat": [2, 0]}
    given = results.comparisons(models, pairs, TRUTH, GROUPS, seeds=seeds, **PAIRED)
    want = {"daf": GOOD[[0, 2]], "concat": POOR[[0, 2]]}
    assert given == results.comparisons(want, pairs, TRUTH, GROUPS, **PAIRED)
    single = results.comparisons(models, [("daf", "oracle")], TRUTH, GROUPS, **PAIRED)
    four = {**models, "oracle": np.tile(models["oracle"], (4, 1))}
    assert single == results.comparisons(four, [("daf", "oracle")], TRUTH, GROUPS, **PAIRED)
    every = {"daf": [0, 1, 2, 3], "oracle": [0, 1, 2, 3]}  # seeds of a model that has none
    named = results.comparisons(models, [("daf", "oracle")], TRUTH, GROUPS, seeds=every, **PAIRED)
    assert named == single


def test_table_shows_test_scores_with_their_intervals():
    shown = results.table(results_frame := results_of(rows() + rows(POOR, split="valid")))
    cell = shown.loc[("02_daf", "mosi", "daf", "ta"), "mae"]
    mae = results_frame.iloc[0]
    assert cell == f"{mae['mean']:.3f} [{mae['ci_low']:.3f}, {mae['ci_high']:.3f}]"
    assert list(shown.columns) == ["mae", "corr", "acc2_non0", "f1_non0"]


def results_of(table):
    results.save(table, "mosi", "02_daf")
    return results.load("mosi")


def verdicts(**wanted):
    ledger = judged()
    for key, value in wanted.items():
        ledger = ledger[ledger[key] == value]
    return ledger.set_index("metric")["verdict"].to_dict()


def test_ledger_without_rows_says_why_nothing_is_testable():
    ledger = judged()
    assert set(ledger["verdict"]) == {"not testable here"} and ledger["reason"].str.len().min() > 20
    assert not ledger.duplicated(["paper", "system", "dataset", "metric"]).any()
    daf = ledger[(ledger["system"] == "DAF")].set_index("metric")["reported"]
    assert daf["mae"] == 0.539 and daf[["f1_non0", "f1_has0", "f1_non0_swapped"]].eq(0.874).all()


def test_ledger_verdicts_are_computed_from_stored_rows(runs_folder):
    lmf = rows(POOR, model="lmf")
    results.save(lmf, "mosi", "02_daf")
    for metric, verdict in verdicts(system="LMF", dataset="mosi").items():
        mine = next(r for r in lmf if r["metric"] == metric)
        ledger = judged().query(f"system == 'LMF' and dataset == 'mosi' and metric == '{metric}'")
        value = ledger["reported"].item()
        assert verdict == ("inside" if mine["ci_low"] <= value <= mine["ci_high"] else "outside")
    assert set(verdicts(system="LMF", dataset="mosei").values()) == {"not testable here"}
    path = runs_folder / "mosi" / "metrics.json"
    moved = [{**r, "ci_low": 0.0, "ci_high": 9.0} for r in json.loads(path.read_text())]
    path.write_text(json.dumps(moved))
    assert set(verdicts(system="LMF", dataset="mosi").values()) == {"inside"}


def test_inside_under_one_convention_only_is_said(runs_folder):
    results.save(rows(POOR, model="lmf"), "mosi", "02_daf")
    path = runs_folder / "mosi" / "metrics.json"
    for outside in (set(), {"f1_has0"}):
        ends = {"ci_low": 0.0, "ci_high": 9.0}, {"ci_low": 8.0, "ci_high": 9.0}
        lines = [{**r, **ends[r["metric"] in outside]} for r in json.loads(path.read_text())]
        path.write_text(json.dumps(lines))
        ledger = judged().query("system == 'LMF' and dataset == 'mosi'").set_index("metric")
        says = "in this convention; outside as f1_has0" in ledger.loc["f1_non0", "reason"]
        assert says == bool(outside) and "convention" not in ledger.loc["mae", "reason"]


@pytest.mark.parametrize(
    ("metric", "diff", "low", "high", "p", "winner"),
    [
        ("mae", -0.1, -0.2, -0.01, 0.01, "daf"),
        ("mae", 0.1, 0.01, 0.2, 0.01, "text"),
        ("acc_fine_natural", 0.1, 0.01, 0.2, 0.01, "daf"),
        ("corr", 0.1, 0.01, 0.2, 0.06, ""),
        ("corr", 0.1, -0.01, 0.2, 0.01, ""),
    ],
)
def test_one_rule_says_which_model_is_better(metric, diff, low, high, p, winner):
    pair = {"a": "daf", "b": "text", "metric": metric, "diff": diff, "p_holm": p}
    assert results.better({**pair, "ci_low": low, "ci_high": high}) == winner


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [(GOOD, POOR, "inside"), (POOR, GOOD, "outside"), (GOOD, GOOD, "outside")],
)
def test_a_claim_holds_only_if_the_paired_test_says_so(a, b, verdict):
    results.save([], "mosi", "02_daf", comparisons=against(a, b))
    claim = verdicts(system="DAF beats static fusion")
    assert claim["mae: daf - concat"] == claim["corr: daf - concat"] == verdict
    assert claim["mae: daf - mean"] == "not testable here"


def test_the_validation_split_is_never_evidence():
    results.save(rows(POOR, model="lmf", split="valid"), "mosi", "02_daf")
    assert set(verdicts(system="LMF", dataset="mosi").values()) == {"not testable here"}


# Reviews: classes and intensities

STARS = rng.integers(0, 5, 200)
REAL = Targets(np.sign(STARS - 2) + 1, STARS, STARS / 4)
SHARES = natural_weights(STARS + 1)
HOTEL = {**PLACE, "dataset": "hotel", "model": "dyfulm", "variant": "full"}


def guesses(right: float) -> Targets:
    """Predictions of four seeds, so many of them right."""
    fine = np.where(rng.random((4, 200)) < right, STARS, rng.integers(0, 5, (4, 200)))
    return Targets(np.sign(fine - 2) + 1, fine, (fine / 4 + STARS / 4) / 2)


def test_rows_of_reviews_stand_plain_and_under_natural_shares():
    said = guesses(0.6)
    plain = results.rows(said, REAL, GROUPS, **HOTEL)
    both = results.rows(said, REAL, GROUPS, weights=SHARES, **HOTEL)
    names = [line["metric"] for line in both]
    assert names == [*REVIEW, *(f"{name}_natural" for name in REVIEW)] and both[:7] == plain
    for line in both:
        weights = SHARES if line["metric"].endswith("_natural") else None
        want = all_scores(said, REAL, weights)[line["metric"].removesuffix("_natural")]
        assert line["per_seed"] == pytest.approx(want, abs=1e-6)
        assert line["ci_low"] < line["mean"] < line["ci_high"]
    best = Targets(*(np.full(200, value) for value in (2, 4, 1.0)))  # five stars
    alone = results.rows(best, REAL, GROUPS, weights=SHARES, **HOTEL)
    natural = {line["metric"]: line["mean"] for line in alone}
    assert natural["acc_fine_natural"] == pytest.approx(0.512 / 0.999, abs=1e-6)
    assert natural["acc_coarse_natural"] == pytest.approx(0.812 / 0.999, abs=1e-6)
    two = results.rows(said, REAL, GROUPS, weights=SHARES, natural=best, **HOTEL)
    assert two == both[:7] + alone[7:]


def test_pairs_of_reviews_models_are_tested_by_hotel_with_holm(runs_folder):
    single = Targets(*(part[0] for part in guesses(0.8)))  # no randomness, so no seeds
    models = {"dyfulm": guesses(0.8), "dyfulm:none": guesses(0.4), "tfidf": single}
    pairs = [("dyfulm", "dyfulm:none"), ("dyfulm", "tfidf")]
    place = {**PAIRED, "dataset": "hotel", "variant": "full"}
    table = results.comparisons(
        models, pairs, REAL, GROUPS, metrics=["acc_fine", "mae_natural"], weights=SHARES, **place
    )
    results.save([], "hotel", "02_daf", comparisons=table)
    frame = results.load_comparisons("hotel")
    assert frame["p_holm"].to_numpy() == pytest.approx(stats.holm(frame["p"]), abs=1e-5)
    assert frame.loc[0, "ci_low"] > 0 > frame.loc[1, "ci_high"]
    mae = [all_scores(models[name], REAL, SHARES)["mae"].mean() for name in pairs[0]]
    assert frame.loc[1, "diff"] == pytest.approx(mae[0] - mae[1], abs=1e-6)
    best = [all_scores(models[name], REAL)["acc_fine"] for name in pairs[1]]
    assert frame.loc[2, "diff"] == pytest.approx(best[0].mean() - best[1], abs=1e-6)
    claim = verdicts(system="all modules together add accuracy")
    assert claim["acc_fine: dyfulm - dyfulm:none"] == "inside"
    assert claim["acc_coarse: dyfulm - dyfulm:none"] == "not testable here"
    with pytest.raises(ValueError, match="mae_natural needs weights"):
        results.comparisons(models, pairs, REAL, GROUPS, metrics=["mae_natural"], **place)


def test_dyfulms_numbers_stand_under_both_distributions_and_in_every_reading(runs_folder):
    found = judged().query("paper == 'DyFuLM' and dataset == 'hotel'").dropna(subset="reported")
    full = found[found["system"] == "DyFuLM"].set_index("metric")["reported"]
    assert full["acc_coarse"] == full["acc_coarse_natural"] == 0.8264 and len(full) == 10
    gaps = (full["acc_coarse"] - found.query("metric == 'acc_coarse'")["reported"]).round(4)
    assert sorted(gaps * 100) == pytest.approx([0, 0, 0.73, 0.75, 0.75, 0.78, 0.91, 0.91])
    rows = results.rows(guesses(0.6), REAL, GROUPS, weights=SHARES, **HOTEL)
    results.save(rows, "hotel", "02_daf")
    tested = judged().query("system == 'DyFuLM'").set_index("metric")
    assert set(tested["verdict"]) <= {"inside", "outside"} and len(tested) == 10
    assert "sd .163" in tested.loc["r2_natural", "reason"]


def test_another_table_stands_beside_the_rows(runs_folder):
    frame = pd.DataFrame({"signature": ["gate stuck"], "value": [0.25], "alarm": [np.True_]})
    path = results.save_table(frame, "mine", "diagnosis")
    assert path == runs_folder / "mine" / "diagnosis.json"
    assert results.load_table("mine", "diagnosis").to_dict() == frame.to_dict()
    assert results.load_table("mine", "other").empty


@pytest.mark.parametrize("name", ["metrics", "Comparisons", "provenance", "a/b"])
def test_another_table_never_replaces_the_results(runs_folder, name):
    results.save(rows(), "mine", "02_daf")
    with pytest.raises(ValueError, match=f"^table '{name}': .*(choose another name|use letters)"):
        results.save_table(pd.DataFrame({"x": [1]}), "mine", name)
    assert len(results.load("mine")) == len(rows())
