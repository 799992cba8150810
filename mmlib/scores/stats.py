"""How sure a score is: intervals over videos and seeds, and paired tests.

Utterances of one video resemble one another, so whole videos are resampled, never utterances. A
metric is a function of sums over utterances (see `mmlib.scores.metrics`): sums per video are made
once, and all resamples are one matrix product. Predictions are (s, n), or (n,) for a single seed.
Axes: s seed, n utterances, g videos (groups), k parts, r resamples.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from mmlib.scores.metrics import Metric

RESAMPLES = 2000
PERMUTATIONS = 9999  # p is at least 1e-4, so Holm over a hundred rows can still reach .01
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


def _weighted(metric: Metric, sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Scores under weights of videos (r, g): (s, g, k) -> (r, s)."""
    return metric.combine(np.tensordot(weights, sums, axes=(1, 1)))


@lru_cache(maxsize=8)
def _draws(n: int, resamples: int, *stream: int) -> np.ndarray:
    """How often each of n is drawn in each resample, (r, n); the same for the same stream."""
    rng = np.random.default_rng(stream)
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)


def _bootstrap(scores_under, seeds: int, videos: int, resamples: int, seed: int) -> np.ndarray:
    """Means over seeds with videos and seeds drawn with replacement, each on its own, (r,)."""
    scores = scores_under(_draws(videos, resamples, seed, 0))  # (r, s)
    return (scores * _draws(seeds, resamples, seed, 1)).sum(axis=1) / seeds


def _percentiles(values: np.ndarray) -> Interval:
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))


def interval(
    metric: Metric, pred, truth, groups, *, weights=None, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile interval of the mean score over seeds: other videos AND other seeds.

    pred (s, n) or (n,), truth (n,), groups (n,) names of videos, weights (n,) of utterances. Both
    factors are resampled (the pigeonhole bootstrap, Owen 2007, which errs on the wide side); one
    seed has no seed part. ValueError where lengths differ or there is one video only.
    """
    sums = _video_sums(metric, pred, truth, groups, weights)  # (s, g, k)
    s, g, _ = sums.shape
    return _percentiles(_bootstrap(lambda w: _weighted(metric, sums, w), s, g, resamples, seed))


def compare(
    metric: Metric, a, b, truth, groups, *, weights=None, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Score of model a minus score of model b on the same utterances, mean over the same seeds.

    a, b: (s, n) or (n,); weights (n,) of utterances. The interval draws videos and seeds as
    `interval` does, the same ones for both models. p is a two-sided permutation test: were the
    models alike, they could be swapped within any video; it holds the trained seeds fixed.
    """
    sums_a, sums_b = (_video_sums(metric, x, truth, groups, weights) for x in (a, b))
    if sums_a.shape != sums_b.shape:
        raise ValueError(f"{len(sums_a)} seeds against {len(sums_b)}: pair as many of each")
    s, g, _ = sums_a.shape

    def differences(w: np.ndarray) -> np.ndarray:
        return _weighted(metric, sums_a, w) - _weighted(metric, sums_b, w)  # (r, s)

    diff = float(differences(np.ones((1, g))).mean())
    low, high = _percentiles(_bootstrap(differences, s, g, resamples, seed))
    return Difference(diff, low, high, _permutation_p(metric, sums_a, sums_b, seed))


def _permutation_p(metric: Metric, sums_a, sums_b, seed: int) -> float:
    """The share of random swaps of whole videos between two models that leave a gap as large."""
    flips = np.random.default_rng([seed, 2]).integers(0, 2, (PERMUTATIONS, sums_a.shape[1]))
    keep = np.vstack([np.ones_like(flips[:1]), flips]).astype(float)  # the first swaps nothing
    kept = np.tensordot(keep, sums_a - sums_b, axes=(1, 1))  # (r, s, k)
    score_a = metric.combine(kept + sums_b.sum(axis=1))
    score_b = metric.combine(sums_a.sum(axis=1) - kept)
    gaps = np.abs((score_a - score_b).mean(axis=1))
    return float(np.mean(gaps >= gaps[0] - 1e-12))


def holm(p: np.ndarray) -> np.ndarray:
    """p values adjusted for having looked at all of them (Holm 1979), in the same order."""
    return multipletests(np.asarray(p, float), method="holm")[1]


def over_seeds(scores: np.ndarray) -> Summary:
    """Summary of a score per seed, (s,); other seeds only, the test videos stay as they are.

    One seed says nothing about others: its sd is 0 and its interval has no width.
    """
    scores = np.asarray(scores, float)
    mean, s = float(scores.mean()), len(scores)
    if s == 1:
        return Summary(mean, 0.0, mean, mean)
    sd = float(scores.std(ddof=1))
    half = float(scipy_stats.t.ppf((1 + LEVEL) / 2, s - 1)) * sd / np.sqrt(s)
    return Summary(mean, sd, mean - half, mean + half)
