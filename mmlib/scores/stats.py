"""Uncertainty of scores: intervals and paired tests that generalise to other videos and seeds.

Utterances of one video are similar, so a video counts as one draw, however long it is; so does a
seed. A metric is a function of sums over utterances (see `mmlib.scores.metrics`): the sums per
video are computed once, and the score without a video takes one subtraction. Predictions are
(s, n), or (n,) for one seed. Axes: s seed, n utterances, g videos (groups), k parts.

The variance of a mean over seeds is the sum of two variances: that of the videos, by the jackknife
(Efron and Stein 1981; biased upwards), and that of the seeds. Their degrees of freedom are combined
as in Satterthwaite (1946). For videos of unequal sizes n the effective number is
(sum n)^2 / sum n^2 (Kish 1965). The interaction of video and seed is counted twice, so the test is
conservative if the interaction dominates. An interval of one model's error covers less than 95 % if
its few seeds share a bias: 83 % for three such seeds, as `tests/test_stats.py` measures.
Differences between two models do not have this problem.
"""

from typing import NamedTuple

import numpy as np
import scipy  # submodules load at first use; a grid's workers need none

from mmlib.scores.metrics import Metric

LEVEL = 0.95


class Interval(NamedTuple):
    """The 95 % interval of a mean over seeds."""

    low: float
    high: float


class Difference(NamedTuple):
    """Score of a minus score of b, its 95 % interval, and the p value of no difference."""

    diff: float
    ci_low: float
    ci_high: float
    p: float


class Summary(NamedTuple):
    """Mean and standard deviation over seeds, and the t interval of that mean."""

    mean: float
    sd: float
    ci_low: float
    ci_high: float


def _video_sums(metric: Metric, pred, truth, groups, weights=None) -> np.ndarray:
    """Sums of the metric's parts over each video, (s, g, k); utterances weighted if asked."""
    pred, truth = np.atleast_2d(np.asarray(pred, float)), np.asarray(truth, float)
    weights = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    if not pred.shape[-1] == len(truth) == len(groups) == len(weights):
        raise ValueError(
            f"{pred.shape[-1]} predictions, {len(truth)} labels, {len(groups)} groups and "
            f"{len(weights)} weights: give one of each for every utterance"
        )
    names, code = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} video: an interval over videos needs at least 2; "
            "give utterance ids as groups to treat utterances as independent"
        )
    order = np.argsort(code, kind="stable")
    first = np.flatnonzero(np.diff(code[order], prepend=-1))
    parts = metric.parts(pred, truth) * weights[:, None]  # (s, n, k)
    sums = np.add.reduceat(parts[:, order], first, axis=1)
    if not np.isfinite(sums).all():
        raise ValueError("predictions or labels hold NaN or infinity: did training diverge?")
    return sums


class _Spread(NamedTuple):
    """Uncertainty of a mean over seeds, for other videos and seeds."""

    error: float  # standard error
    freedom: float  # degrees of freedom, at least 1

    @property
    def halfwidth(self) -> float:
        """Half-width of the interval at LEVEL."""
        return float(scipy.stats.t.ppf((1 + LEVEL) / 2, self.freedom)) * self.error


def _spread(scores: np.ndarray, without: np.ndarray, counts: np.ndarray) -> _Spread:
    """From scores (s,) per seed, scores `without` one video (s, g), and utterance counts (g,)."""
    s, g = without.shape
    left_out = without.mean(axis=0)  # (g,)
    videos = (g - 1) / g * ((left_out - left_out.mean()) ** 2).sum()
    seeds = scores.var(ddof=1) / s if s > 1 else 0.0
    if videos + seeds == 0:
        return _Spread(0.0, 1.0)
    effective = counts.sum() ** 2 / (counts**2).sum()  # effective number of videos of equal size
    parts = videos**2 / max(1.0, effective - 1) + seeds**2 / max(1, s - 1)
    return _Spread(float(np.sqrt(videos + seeds)), float((videos + seeds) ** 2 / parts))


def _without_each(metric: Metric, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores on all videos, (s,), and without each video, (s, g), from sums (s, g, k)."""
    total = sums.sum(axis=1, keepdims=True)
    return metric.combine(total)[:, 0], metric.combine(total - sums)


def interval(metric: Metric, pred, truth, groups, *, weights=None) -> Interval:
    """The interval of the mean score over seeds, for other videos AND other seeds.

    pred (s, n) or (n,), truth (n,), groups (n,) names of videos, weights (n,) of utterances. With
    one seed there is no variance of seeds. The interval is cut at the best possible score, 1 or 0.
    ValueError if lengths differ or if there is only one video.
    """
    sums = _video_sums(metric, pred, truth, groups, weights)  # (s, g, k)
    scores, without = _without_each(metric, sums)
    mean, half = float(scores.mean()), _spread(scores, without, sums[0, :, -1]).halfwidth
    if not metric.is_bounded:
        return Interval(mean - half, mean + half)
    if metric.better == "low":
        return Interval(max(mean - half, 0.0), mean + half)
    return Interval(mean - half, min(mean + half, 1.0))


def compare(metric: Metric, a, b, truth, groups, *, weights=None) -> Difference:
    """Score of model a minus score of model b on the same utterances, mean over the same seeds.

    a, b: (s, n) or (n,); weights (n,) of utterances. Interval and p (two-sided t test) account for
    videos and seeds as in `interval`, and agree: p < .05 if and only if the interval excludes 0.
    """
    sums = [_video_sums(metric, x, truth, groups, weights) for x in (a, b)]
    if sums[0].shape != sums[1].shape:
        raise ValueError(f"{len(sums[0])} seeds against {len(sums[1])}: pair as many of each")
    (score_a, without_a), (score_b, without_b) = (_without_each(metric, x) for x in sums)
    return difference(score_a - score_b, without_a - without_b, sums[0][0, :, -1])


def around(scores: np.ndarray, without: np.ndarray, counts: np.ndarray) -> Interval:
    """Interval of the mean of scores (s,), cut at 1; without (s, g): less a group; counts (g,)."""
    mean, half = float(scores.mean()), _spread(scores, without, counts).halfwidth
    return Interval(mean - half, min(mean + half, 1.0))


def difference(gaps: np.ndarray, without: np.ndarray, counts: np.ndarray) -> Difference:
    """The mean of gaps (s,) and its test; `without` (s, g): without each group; counts (g,)."""
    diff, spread = float(gaps.mean()), _spread(gaps, without, counts)
    if spread.error < 1e-12:  # only rounding error: other draws would change nothing
        return Difference(diff, diff, diff, float(abs(diff) < 1e-12))
    p = 2 * float(scipy.stats.t.sf(abs(diff) / spread.error, spread.freedom))
    return Difference(diff, diff - spread.halfwidth, diff + spread.halfwidth, p)


def holm(p: np.ndarray) -> np.ndarray:
    """p values with Holm's correction (1979) for multiple tests, in the same order."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(np.asarray(p, float), method="holm")[1]


def p_text(p: float) -> str:
    """A p-value in words: "p < .001", or "p " with three places."""
    return "p < .001" if p < 0.001 else f"p {p:.3f}"


def over_seeds(scores: np.ndarray) -> Summary:
    """Summary of one score per seed, (s,): for other seeds only, with the test videos fixed.

    With one seed, sd is 0 and the interval has no width.
    """
    scores = np.asarray(scores, float)
    mean, s = float(scores.mean()), len(scores)
    if s == 1:
        return Summary(mean, 0.0, mean, mean)
    sd = float(scores.std(ddof=1))
    half = _Spread(sd / np.sqrt(s), s - 1).halfwidth
    return Summary(mean, sd, mean - half, mean + half)
