"""Intervals and tests against scipy, and against what is known by construction."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mmlib.scores import stats
from mmlib.scores.metrics import METRICS

G, PER, S = 40, 6, 8
GROUPS = np.repeat([f"video{i}" for i in range(G)], PER)
TRUTH = np.random.default_rng(1).integers(-9, 10, G * PER) / 3


def noisy(sd_video: float, sd_seed: float, n_seeds: int = S, sd: float = 0.5, draw: int = 0):
    """Predictions whose error has a part by video, by seed and by utterance, (s, n)."""
    rng = np.random.default_rng(draw)
    video = np.repeat(rng.normal(0, 1, G), PER) * sd_video
    seed = rng.normal(0, 1, (n_seeds, 1)) * sd_seed
    return TRUTH + video + seed + rng.normal(0, sd, (n_seeds, G * PER))


@pytest.mark.parametrize("name", ["mae", "corr", "f1_non0", "acc7"])
def test_resampled_sums_are_scores_of_resampled_utterances(name):
    pred, metric = noisy(0.5, 0.2), METRICS[name]
    code = np.unique(GROUPS, return_inverse=True)[1]
    drawn = np.random.default_rng(2).integers(0, G, G)
    rows = np.concatenate([np.flatnonzero(code == i) for i in drawn])
    sums = stats._video_sums(metric, pred, TRUTH, GROUPS)
    weights = np.bincount(drawn, minlength=G)[None].astype(float)
    got = stats._weighted(metric, sums, weights)[0]
    assert got == pytest.approx(metric(pred[:, rows], TRUTH[rows]), abs=1e-12)


@pytest.mark.parametrize("name", ["f1_fine", "r2", "mae"])
def test_a_weight_of_two_is_an_utterance_twice(name):
    truth, pred = (np.random.default_rng(k).integers(0, 5, G * PER) for k in (0, 1))
    weights = 1 + (np.arange(G * PER) % 3 == 0)
    twice = np.repeat(np.arange(G * PER), weights)
    for call, said in ((stats.interval, [pred]), (stats.compare, [pred, truth[::-1]])):
        weighted = call(METRICS[name], *said, truth, GROUPS, weights=weights)
        doubled = call(METRICS[name], *(x[twice] for x in [*said, truth, GROUPS]))
        assert weighted == pytest.approx(doubled, abs=1e-12)


def test_interval_agrees_with_scipy_where_utterances_are_the_clusters():
    error = np.abs(noisy(0, 0, 1)[0] - TRUTH)
    want = scipy_stats.bootstrap((error,), np.mean, method="percentile", rng=0).confidence_interval
    low, high = stats.interval(METRICS["mae"], TRUTH + error, TRUTH, np.arange(G * PER))
    assert (low, high) == pytest.approx((want.low, want.high), abs=0.01)


def test_interval_widens_with_video_effects_and_with_seed_effects():
    def width(pred: np.ndarray) -> float:
        low, high = stats.interval(METRICS["mae"], pred, TRUTH, GROUPS)
        return high - low

    plain = width(noisy(0, 0))
    assert width(noisy(1.5, 0)) > 2 * plain
    assert width(noisy(0, 1.5)) > 2 * plain


def test_interval_covers_the_true_error_at_its_level():
    """E|error| of a normal with both parts is known; 150 studies, binomial slack of three sd."""
    true = np.sqrt(2 / np.pi) * np.hypot(1.0, 0.5)
    hits = 0
    for draw in range(150):
        pred = noisy(1, 0, 1, draw=draw)
        low, high = stats.interval(METRICS["mae"], pred, TRUTH, GROUPS, resamples=400)
        hits += low <= true <= high
    assert 0.88 < hits / 150 <= 1


def test_same_seed_same_numbers():
    pred = noisy(1, 1)
    one, two = (stats.interval(METRICS["corr"], pred, TRUTH, GROUPS) for _ in range(2))
    assert one == two != stats.interval(METRICS["corr"], pred, TRUTH, GROUPS, seed=1)


def test_paired_difference_sees_what_separate_intervals_hide():
    shared = noisy(2, 0.3)
    better, worse = shared, shared + 0.25 * np.sign(shared - TRUTH)
    mae = METRICS["mae"]
    result = stats.compare(mae, better, worse, TRUTH, GROUPS)
    assert result.diff == pytest.approx(-0.25) and result.ci_high < 0 and result.p < 0.001
    apart = [stats.interval(mae, x, TRUTH, GROUPS) for x in (better, worse)]
    assert apart[0].high > apart[1].low  # the two intervals overlap all the same


def test_equal_models_are_not_told_apart():
    pred = noisy(1, 0.5)
    assert stats.compare(METRICS["f1_non0"], pred, pred, TRUTH, GROUPS) == (0, 0, 0, 1)


def test_permutation_agrees_with_scipy():
    a, b = noisy(0.5, 0, 1), noisy(0.5, 0, 1, sd=0.6, draw=1)
    by_video = [np.abs(x - TRUTH).reshape(G, PER).mean(1) for x in (a, b)]
    want = scipy_stats.permutation_test(
        by_video, lambda x, y: np.mean(x - y), permutation_type="samples", rng=0
    ).pvalue
    got = stats.compare(METRICS["mae"], a, b, TRUTH, GROUPS).p
    assert got == pytest.approx(want, abs=0.02)


def test_holm_steps_down_and_keeps_the_order():
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_summary_over_seeds_is_the_t_interval():
    scores = np.random.default_rng(3).normal(0, 1, 12)
    want = scipy_stats.ttest_1samp(scores, 0).confidence_interval()
    assert stats.over_seeds(scores)[2:] == pytest.approx((want.low, want.high))
    assert stats.over_seeds([0.7]) == (0.7, 0, 0.7, 0.7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: stats.interval(m, np.ones(3), np.ones(3), ["v"] * 3), "1 video"),
        (lambda m: stats.interval(m, np.ones(3), np.ones(3), ["v", "w"]), "2 groups"),
        (lambda m: stats.interval(m, *[np.ones(2)] * 2, [0, 1], weights=[1]), "1 weights"),
        (lambda m: stats.compare(m, np.ones((2, 2)), np.ones((3, 2)), [1, 2], [0, 1]), "2 seeds"),
        (lambda m: stats.interval(m, np.array([1, np.nan]), np.ones(2), [0, 1]), "NaN"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(METRICS["mae"])
