"""How sure a score is: intervals and paired tests that hold for other videos and other seeds.

Utterances of one video resemble one another, so a video counts as one draw, however long it is; so
does a seed. A metric is a function of sums over utterances (see `mmlib.scores.metrics`): sums per
video are made once, and the score without a video is one subtraction. Predictions are (s, n), or
(n,) for a single seed. Axes: s seed, n utterances, g videos (groups), k parts.

The variance of a mean over seeds is the sum of two: that of the videos, by leaving out one at a
time (jackknife; Efron and Stein 1981, errs on the wide side), and that of the seeds. Their degrees
of freedom are joined after Satterthwaite (1946). Videos of unequal size count as fewer ones:
(sum n)^2 / sum n^2 for n utterances each (Kish 1965). What a pair of video and seed adds counts
twice, so the test is strict where that dominates. An interval of one model's error holds in fewer
than 19 of 20 cases where its few seeds differ by a bias: in 83 % with three such seeds, as
`tests/test_stats.py` measures. A difference between two models does not suffer from that.
"""

from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are first used; a grid's workers need none

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
    """What each video adds to the metric's sums, (s, g, k), utterances weighted if asked."""
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
    """How far a mean over seeds lies from what other videos and seeds would give."""

    error: float  # standard error
    freedom: float  # degrees of freedom, at least 1

    @property
    def halfwidth(self) -> float:
        """Half of the interval at LEVEL."""
        return float(scipy.stats.t.ppf((1 + LEVEL) / 2, self.freedom)) * self.error


def _spread(scores: np.ndarray, without: np.ndarray, counts: np.ndarray) -> _Spread:
    """scores (s,) of each seed, `without` (s, g) one video each, counts (g,) of utterances."""
    s, g = without.shape
    left_out = without.mean(axis=0)  # (g,)
    videos = (g - 1) / g * ((left_out - left_out.mean()) ** 2).sum()
    seeds = scores.var(ddof=1) / s if s > 1 else 0.0
    if videos + seeds == 0:
        return _Spread(0.0, 1.0)
    effective = counts.sum() ** 2 / (counts**2).sum()  # as many videos of equal size
    parts = videos**2 / max(1.0, effective - 1) + seeds**2 / max(1, s - 1)
    return _Spread(float(np.sqrt(videos + seeds)), float((videos + seeds) ** 2 / parts))


def _without_each(metric: Metric, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all videos, (s,), and of all but one, (s, g), from sums (s, g, k)."""
    total = sums.sum(axis=1, keepdims=True)
    return metric.combine(total)[:, 0], metric.combine(total - sums)


def interval(metric: Metric, pred, truth, groups, *, weights=None) -> Interval:
    """The interval of the mean score over seeds: for other videos AND other seeds.

    pred (s, n) or (n,), truth (n,), groups (n,) names of videos, weights (n,) of utterances. One
    seed has no seed part. It ends at the best score there is, 1 or 0. ValueError where lengths
    differ or there is one video only.
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

    a, b: (s, n) or (n,); weights (n,) of utterances. Interval and p (two-sided t test) count
    videos and seeds as `interval` does, and agree: p < .05 where the interval excludes 0.
    """
    sums = [_video_sums(metric, x, truth, groups, weights) for x in (a, b)]
    if sums[0].shape != sums[1].shape:
        raise ValueError(f"{len(sums[0])} seeds against {len(sums[1])}: pair as many of each")
    (score_a, without_a), (score_b, without_b) = (_without_each(metric, x) for x in sums)
    return difference(score_a - score_b, without_a - without_b, sums[0][0, :, -1])


def around(scores: np.ndarray, without: np.ndarray, counts: np.ndarray) -> Interval:
    """The interval of the mean of scores (s,); `without` (s, g) a group each, counts (g,)."""
    mean, half = float(scores.mean()), _spread(scores, without, counts).halfwidth
    return Interval(mean - half, min(mean + half, 1.0))


def difference(gaps: np.ndarray, without: np.ndarray, counts: np.ndarray) -> Difference:
    """The mean of gaps (s,) and its test; `without` (s, g) a group each, counts (g,)."""
    diff, spread = float(gaps.mean()), _spread(gaps, without, counts)
    if spread.error < 1e-12:  # rounding: there is nothing that other draws would change
        return Difference(diff, diff, diff, float(abs(diff) < 1e-12))
    p = 2 * float(scipy.stats.t.sf(abs(diff) / spread.error, spread.freedom))
    return Difference(diff, diff - spread.halfwidth, diff + spread.halfwidth, p)


def holm(p: np.ndarray) -> np.ndarray:
    """p values adjusted for having looked at all of them (Holm 1979), in the same order."""
    from statsmodels.stats.multitest import multipletests

    return multipletests(np.asarray(p, float), method="holm")[1]


def p_text(p: float) -> str:
    """A p-value in words: "p < .001", or "p " with three places."""
    return "p < .001" if p < 0.001 else f"p {p:.3f}"


def over_seeds(scores: np.ndarray) -> Summary:
    """Summary of a score per seed, (s,); other seeds only, the test videos stay as they are.

    One seed says nothing about others: its sd is 0 and its interval has no width.
    """
    scores = np.asarray(scores, float)
    mean, s = float(scores.mean()), len(scores)
    if s == 1:
        return Summary(mean, 0.0, mean, mean)
    sd = float(scores.std(ddof=1))
    half = _Spread(sd / np.sqrt(s), s - 1).halfwidth
    return Summary(mean, sd, mean - half, mean + half)
