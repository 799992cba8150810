"""Scores against scikit-learn and numpy, which hold the definitions the peers call."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)

from mmlib.data.targets import Targets
from mmlib.scores.metrics import (
    METRICS,
    REVIEW,
    SENTIMENT,
    all_scores,
    named,
    review_scores,
    score,
)

rng = np.random.default_rng(0)
TRUTH = rng.integers(-9, 10, 400) / 3  # multiples of 1/3 with many zeros, as MOSEI's labels
PRED = np.concatenate([TRUTH + rng.normal(0, 1, 400), rng.normal(0, 2, 400)]).reshape(2, 400)
PRED[:, :40] = np.round(PRED[:, :40])  # exact zeros and exact integers occur
PRED[:, 40:50], TRUTH[40:50] = 0.5, 2.5  # halves, where rounding rules differ
NON0 = TRUTH != 0


def by_definition(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The table of definitions once more, in the libraries' words."""
    q, z = p[NON0], y[NON0]
    away = [np.sign(x) * np.ceil(np.abs(np.clip(x, -3, 3))) for x in (y, p)]
    return {
        "mae": np.abs(p - y).mean(),
        "corr": np.corrcoef(p, y)[0, 1],
        "acc2_non0": accuracy_score(z > 0, q > 0),
        "f1_non0": f1_score(z > 0, q > 0, average="weighted"),
        "acc2_has0": accuracy_score(y >= 0, p >= 0),
        "f1_has0": f1_score(y >= 0, p >= 0, average="weighted"),
        "acc5": np.mean(np.round(np.clip(p, -2, 2)) == np.round(np.clip(y, -2, 2))),
        "acc7": np.mean(np.round(np.clip(p, -3, 3)) == np.round(np.clip(y, -3, 3))),
        "acc7_away_from_zero": accuracy_score(*away),
        "f1_non0_swapped": f1_score(q > 0, z > 0, average="weighted"),
        "mae_non0": np.abs(q - z).mean(),
        "corr_non0": np.corrcoef(q, z)[0, 1],
        "acc2_non0_ge": accuracy_score(z >= 0, q >= 0),
        "f1_non0_ge": f1_score(z >= 0, q >= 0, average="weighted"),
        "acc2_positive": accuracy_score(y > 0, p > 0),
    }


@pytest.mark.parametrize("name", SENTIMENT)
def test_each_score_is_its_definition_for_one_and_for_many_seeds(name):
    want = [by_definition(p, TRUTH)[name] for p in PRED]
    assert all_scores(PRED, TRUTH)[name] == pytest.approx(want, abs=1e-12)
    one = all_scores(PRED[0], TRUTH)[name]
    assert isinstance(one, float) and one == pytest.approx(want[0], abs=1e-12)


@pytest.mark.parametrize(
    ("name", "pred", "truth", "want"),
    [
        ("acc7", [0.5, 1.5, 2.5, -9.0], [0.0, 2.0, 2.0, -3.0], 1.0),  # half to even, clipped
        ("acc7_away_from_zero", [0.01, -0.01, 1.0], [1.0, -1.0, 1.0], 1.0),
        ("acc2_non0", [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], 0.5),  # p = 0 is not positive, y = 0 gone
        ("acc2_non0_ge", [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], 1.0),
        ("acc2_has0", [0.0, -1.0, 1.0], [1.0, 0.0, 0.0], 2 / 3),
        ("acc2_positive", [0.0, -1.0, 1.0], [1.0, 0.0, 0.0], 1 / 3),
        ("corr", [0.1, 0.1, 0.1], [1.0, 2.0, 4.0], 0.0),  # a constant
        ("corr", [1e6, 1e6 + 1, 1e6 + 2], [1.0, 2.0, 3.0], 1.0),  # an offset costs no digits
        ("f1_non0", [1.0, 1.0, 1.0], [1.0, 1.0, -1.0], 2 / 3 * 0.8),
        ("f1_non0_swapped", [1.0, 1.0, 1.0], [1.0, 1.0, -1.0], 0.8),
    ],
)
def test_cases_where_conventions_part(name, pred, truth, want):
    assert score(name, np.array(pred), np.array(truth)) == pytest.approx(want)


@pytest.mark.parametrize(
    ("pred", "truth", "message"),
    [
        (np.zeros((5, 1)), np.ones(5), "shape"),
        (np.zeros(4), np.ones(5), "shape"),
        (np.zeros(0), np.ones(0), "empty"),
        (np.array([np.nan, 1.0]), np.ones(2), "1 of 2 predictions are NaN"),
        (np.ones(2), np.array([np.inf, 1.0]), "1 of 2 labels are NaN or infinite"),
        (np.ones(2), np.zeros(2), "all 2 labels are 0"),
    ],
)
def test_bad_input_is_named_in_one_line(pred, truth, message):
    with pytest.raises(ValueError, match=message) as error:
        all_scores(pred, truth)
    assert "\n" not in str(error.value)


def test_an_unknown_metric_names_the_choices():
    with pytest.raises(ValueError, match=r"unknown metric 'f1'; choose one of mae, .*f1_non0"):
        score("f1", np.ones(2), np.ones(2))


# Reviews: two sets of classes and an intensity

CLASSES = [rng.integers(k, size=(3, 400)) for k in (3, 5)]
CLASSES[1][:, :300] = np.arange(300) % 4  # class 4 is rare
SAID = Targets(CLASSES[0][:2], CLASSES[1][:2], rng.random((2, 400)))
TRUE = Targets(CLASSES[0][2], CLASSES[1][2], rng.random(400) * 0.4 + 0.5)
WEIGHTS = rng.random(400) * 5
BY_SCIKIT = {
    "acc_coarse": accuracy_score,
    "acc_fine": accuracy_score,
    "f1_coarse": lambda y, p, **w: f1_score(y, p, average="macro", **w),
    "f1_fine": lambda y, p, **w: f1_score(y, p, average="macro", **w),
    "mae": mean_absolute_error,
    "mse": mean_squared_error,
    "r2": r2_score,
}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", REVIEW)
def test_scores_of_reviews_are_scikit_learns(name, weights):
    y, p = getattr(TRUE, REVIEW[name]), getattr(SAID, REVIEW[name])
    want = [BY_SCIKIT[name](y, one, sample_weight=weights) for one in p]
    assert all_scores(SAID, TRUE, weights)[name] == pytest.approx(want, abs=1e-12)
    one = all_scores(Targets(*(part[0] for part in SAID)), TRUE, weights)[name]
    assert isinstance(one, float) and one == pytest.approx(want[0], abs=1e-12)
    assert named(name + "_natural") is METRICS[name]


def test_constants_score_what_they_should():
    mean = TRUE.intensity.mean()
    fours = Targets(np.full(400, 2), np.full(400, 4), np.full(400, mean))
    scores = all_scores(fours, TRUE)
    assert scores["acc_fine"] == pytest.approx(np.mean(TRUE.fine == 4))
    assert scores["f1_coarse"] < scores["acc_coarse"]  # two classes are never named
    assert scores["r2"] == pytest.approx(0, abs=1e-12)
    assert scores["mse"] == pytest.approx(TRUE.intensity.var())
    flat = TRUE._replace(intensity=np.full(400, 0.3))
    assert all_scores(SAID, flat)["r2"].tolist() == [0, 0]
    assert set(all_scores(TRUE, TRUE).values()) == {1, 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fine": np.full(400, 5)},
            r"400 of 400 fine predictions are no class 0..4",
        ),
        ({"coarse": np.full(400, 0.5)}, r"400 of 400 coarse predictions are no class 0..2"),
        ({"intensity": np.full(400, np.nan)}, "400 of 400 predictions are NaN"),
        ({"coarse": np.zeros(3)}, "shape"),
    ],
)
def test_what_is_no_prediction_of_a_review_is_named(change, message):
    with pytest.raises(ValueError, match=message) as error:
        all_scores(TRUE._replace(**change), TRUE)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="empty"):
        all_scores(TRUE.take([]), TRUE.take([]))


def test_kinds_are_not_mixed_and_a_score_of_the_other_kind_is_refused():
    with pytest.raises(ValueError, match="give predictions with coarse, fine, intensity"):
        all_scores(PRED, TRUE)
    with pytest.raises(ValueError, match="unknown score of reviews 'corr'; choose one of acc_coa"):
        score("corr", SAID, TRUE)
    assert set(review_scores(SAID, TRUE)) == set(REVIEW)  # the name in cells that were copied
