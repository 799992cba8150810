"""Scores of predictions: sentiment in all conventions of the field, and targets of reviews.

Papers use one name ("F1", "Acc-7") for different quantities: zeros dropped or kept, classes split
at > 0 or >= 0, rounding to even or away from zero. `METRICS` gives each quantity its own name.

Every score is a function of sums over utterances, so it has two steps: the contribution of one
utterance (`parts`) and the score from the sums (`combine`). Resampling or weighting utterances then
costs one matrix product (`mmlib.scores.stats`). Axes: s seed, n utterances, k parts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from mmlib.files import Names, refuse_unknown
from mmlib.scores.own_metric import checked_values

Parts = Callable[[np.ndarray, np.ndarray], np.ndarray]  # pred (..., n), truth (n,) -> (..., n, k)
Rule = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """One score; the last part is always the number of utterances counted."""

    parts: Parts
    combine: Rule  # sums (..., k) -> (...)
    definition: str  # for a prediction p and a label y
    whose: str
    better: str = "high"  # or "low"
    of: str = "sentiment"  # target of an added metric; targets of built-in ones: `REVIEW`
    is_bounded: bool = True  # best possible score: 1, or 0 if low is better

    def __call__(
        self, pred: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None
    ) -> np.ndarray:
        return self.of_parts(self.parts(pred, truth), weights)

    def of_parts(self, parts: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """The score from the utterances' contributions parts (..., n, k), with weights (n,)."""
        return self.combine(parts.sum(axis=-2) if weights is None else weights @ parts)


class Reviews(Protocol):
    """Targets of n reviews: predictions (s, n) or (n,) each, or the truth (n,)."""

    coarse: np.ndarray  # classes 0..2
    fine: np.ndarray  # classes 0..4
    intensity: np.ndarray  # in [0, 1]


Values = np.ndarray | Reviews  # of sentiment, or of reviews
Scores = dict[str, float | np.ndarray]


# Which utterances are counted, and how values are turned into classes


_everything: Rule = partial(np.ones_like, dtype=bool)
_non0: Rule = partial(np.not_equal, 0)
_positive: Rule = partial(np.less, 0)  # 0 < x
_not_negative: Rule = partial(np.less_equal, 0)
_as_is: Rule = np.asarray


def _half_to_even(bound: float) -> Rule:
    return lambda x: np.round(np.clip(x, -bound, bound))


def _away_from_zero(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.ceil(np.abs(np.clip(x, -3, 3)))


# The contribution of one utterance


def _stack(*parts: np.ndarray, counted: np.ndarray) -> np.ndarray:
    weighted = [part * counted for part in parts]
    return np.stack(np.broadcast_arrays(*weighted, counted.astype(float)), axis=-1)


def _distance(keep: Rule) -> Parts:
    return lambda p, y: _stack(np.abs(p - y), counted=keep(y))


def _agreement(classes: Rule, keep: Rule = _everything) -> Parts:
    return lambda p, y: _stack(classes(p) == classes(y), counted=keep(y))


def _confusion(positive: Rule, keep: Rule = _everything) -> Parts:
    def parts(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        p, y, counted = positive(p), positive(y), keep(y)
        return _stack(p & y, p, y, counted=counted)

    return parts


def _moments(keep: Rule) -> Parts:
    def parts(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        # subtract the first value: correlation does not change; a constant is exactly 0
        counted, p, y = keep(y), p - p[..., :1], y - y[:1]
        return _stack(p, y, p * p, y * y, p * y, counted=counted)

    return parts


def _squares(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = y - y[:1]  # shifted as in `_moments`
    return _stack((p - y) ** 2, z, z * z, counted=_everything(y))


def _classes(k: int) -> Parts:
    def parts(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        predicted, true = ([x == c for c in range(k)] for x in (p, y))
        both = [a & b for a, b in zip(predicted, true, strict=True)]
        return _stack(*both, *predicted, *true, counted=_everything(y))

    return parts


# Scores from the sums


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is 0, as scikit-learn's `zero_division=0`."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)


def _mean(sums: np.ndarray) -> np.ndarray:
    return _divide(sums[..., 0], sums[..., -1])


def _weighted_f1(sums: np.ndarray, *, by_truth: bool = True) -> np.ndarray:
    both, predicted, true, n = np.moveaxis(sums, -1, 0)
    f1_positive = _divide(2 * both, predicted + true)
    f1_negative = _divide(2 * (n - predicted - true + both), 2 * n - predicted - true)
    positive = _divide(true if by_truth else predicted, n)
    return positive * f1_positive + (1 - positive) * f1_negative


def _r2(sums: np.ndarray) -> np.ndarray:
    square, y, yy, n = np.moveaxis(sums, -1, 0)
    spread = yy - _divide(y * y, n)
    real = spread > 1e-12 * yy  # otherwise the truth is constant
    return real * (1 - _divide(square, np.where(real, spread, 1)))


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    both, predicted, true = np.split(sums[..., :-1], 3, axis=-1)  # (..., k) each
    occurs = predicted + true > 0
    return _divide(_divide(2 * both, predicted + true).sum(axis=-1), occurs.sum(axis=-1))


def _pearson(sums: np.ndarray) -> np.ndarray:
    p, y, pp, yy, py, n = np.moveaxis(sums, -1, 0)
    spread_p, spread_y = pp - _divide(p * p, n), yy - _divide(y * y, n)
    # a spread of only rounding error means constant values: their correlation is set to 0
    real = (spread_p > 1e-12 * pp) & (spread_y > 1e-12 * yy)
    return _divide((py - _divide(p * y, n)) * real, np.sqrt(np.where(real, spread_p * spread_y, 1)))


_swapped: Rule = partial(_weighted_f1, by_truth=False)
_MACRO = "mean of the F1 of all classes that occur in y or p"
_SIGN = "y = 0 dropped, classes > 0 and <= 0"
_SIGN_GE = "y = 0 dropped, classes >= 0, < 0"
_HAS0 = "classes >= 0 and < 0"
_BY_TRUTH = "weighted by truth"
_SWAPPED = "weighted by prediction (arguments swapped)"
_AWAY = "(0, 1] is 1, [-1, 0) is -1, only exact 0 is 0"
_MMSA, _MAG, _NOT_MAG = "MMSA, Self-MM, ALMT", "MAG-BERT", "all but MAG-BERT"
_SDK, _MULT = f"{_MMSA}, CMU SDK", f"{_MMSA}, MulT"
_R2 = "1 - MSE / variance of y; 0 if y is constant"

METRICS: dict[str, Metric] = Names("metric", {
    "mae": Metric(_distance(_everything), _mean, "mean of |p - y|", _NOT_MAG, "low"),
    "corr": Metric(_moments(_everything), _pearson, "Pearson; 0 for a constant", _NOT_MAG),
    "acc2_non0": Metric(_agreement(_positive, _non0), _mean, _SIGN, _MULT),
    "f1_non0": Metric(_confusion(_positive, _non0), _weighted_f1, f"{_SIGN}; {_BY_TRUTH}", _MMSA),
    "acc2_has0": Metric(_agreement(_not_negative), _mean, _HAS0, _SDK),
    "f1_has0": Metric(_confusion(_not_negative), _weighted_f1, f"{_HAS0}; {_BY_TRUTH}", _MMSA),
    "acc5": Metric(
        _agreement(_half_to_even(2)), _mean, "clip to [-2, 2], round half to even", _MMSA
    ),
    "acc7": Metric(
        _agreement(_half_to_even(3)), _mean, "clip to [-3, 3], round half to even", _MULT
    ),
    "acc7_away_from_zero": Metric(_agreement(_away_from_zero), _mean, _AWAY, "CMU SDK"),
    "f1_non0_swapped": Metric(
        _confusion(_positive, _non0), _swapped, f"{_SIGN}; {_SWAPPED}", "MulT"
    ),
    "mae_non0": Metric(_distance(_non0), _mean, "mean of |p - y|, y = 0 dropped", _MAG, "low"),
    "corr_non0": Metric(_moments(_non0), _pearson, "Pearson, y = 0 dropped", _MAG),
    "acc2_non0_ge": Metric(_agreement(_not_negative, _non0), _mean, _SIGN_GE, _MAG),
    "f1_non0_ge": Metric(
        _confusion(_not_negative, _non0), _weighted_f1, f"{_SIGN_GE}; {_BY_TRUTH}", _MAG
    ),
    "acc2_positive": Metric(
        _agreement(_positive), _mean, "classes > 0 and <= 0, y = 0 kept", "MultiBench"
    ),
    "acc_coarse": Metric(_agreement(_as_is), _mean, "the right one of 3 classes", "DyFuLM"),
    "acc_fine": Metric(_agreement(_as_is), _mean, "the right one of 5 classes", "DyFuLM"),
    "f1_coarse": Metric(_classes(3), _macro_f1, _MACRO, "scikit-learn"),
    "f1_fine": Metric(_classes(5), _macro_f1, _MACRO, "scikit-learn"),
    "mse": Metric(_squares, _mean, "mean of (p - y)^2", "DyFuLM", "low"),
    "r2": Metric(_squares, _r2, _R2, "DyFuLM"),
}, "metrics.remove it")  # fmt: skip

# The target of `Reviews` that a score is about; `mae` is the same function as for sentiment.
REVIEW = {
    "acc_coarse": "coarse", "acc_fine": "fine", "f1_coarse": "coarse", "f1_fine": "fine",
    "mae": "intensity", "mse": "intensity", "r2": "intensity",
}  # fmt: skip
SENTIMENT = tuple(name for name in METRICS if name == "mae" or name not in REVIEW)
CLASSES = {"coarse": 3, "fine": 5}
NATURAL = "_natural"  # suffix of scores whose reviews are weighted to natural class shares


def add(
    name: str, function: Callable[..., np.ndarray], better: str = "lower", of: str = "sentiment"
) -> None:
    """Add a user's metric to the rows, intervals and paired tests of this process.

    function(pred, truth), written with `def`, returns each utterance's value, shaped like pred,
    (s, n), for truth (n,); the score is their mean. better: "lower" or "higher". of: "sentiment",
    or a target of reviews: "coarse", "fine" or "intensity". ValueError, one line, as in
    `mmlib.files.Names`, or now or later for a failure, another shape or NaN; see `remove`.
    """
    if name.endswith(NATURAL):
        raise ValueError(f"{name!r}: {NATURAL} marks weighted scores; choose another name")
    refuse_unknown("better", [better], ("lower", "higher"))
    refuse_unknown("of", [of], ("sentiment", "coarse", "fine", "intensity"))
    probe = np.arange(6.0).reshape(2, 3)
    remedy = "correct its function"
    checked_values(name, function, remedy, probe, probe[1])
    own = partial(checked_values, name, function, f'{remedy}, or metrics.remove("{name}")')

    def parts(p: np.ndarray, y: np.ndarray) -> np.ndarray:
        return _stack(own(p, y), counted=_everything(y))

    metric = Metric(parts, _mean, "added", "one's own", better.removesuffix("er"), of, False)
    METRICS.register(name, metric, function)


def remove(name: str) -> None:
    """Remove a metric that `add` added; ValueError, one line, for any other name."""
    METRICS.unregister(name)


def added(are_reviews: bool = False) -> tuple[str, ...]:
    """Names of the metrics that `add` added, of sentiment or of reviews."""
    return tuple(n for n in METRICS.added if (METRICS[n].of != "sentiment") == are_reviews)


def named(name: str) -> Metric:
    """The metric of this name, with or without the suffix `_natural`; ValueError with choices."""
    refuse_unknown("metric", [name.removesuffix(NATURAL)], METRICS)
    return METRICS[name.removesuffix(NATURAL)]


def are_reviews(values: Values) -> bool:
    """Whether `values` are reviews (coarse, fine and intensity), not an array of sentiment."""
    return hasattr(values, "intensity")


def compared(name: str, pred: Values, truth: Values) -> tuple[np.ndarray, np.ndarray]:
    """The arrays that a score compares, as float64: predictions (n,) or (s, n) and labels (n,).

    ValueError, one line, for an unknown score, shapes that do not match, no utterance, NaN or
    infinity, or values that are not classes.
    """
    if not are_reviews(truth):
        named(name)
        return _checked(pred, truth)
    if not are_reviews(pred):
        raise ValueError("the labels are reviews': give predictions with coarse, fine, intensity")
    name = name.removesuffix(NATURAL)
    refuse_unknown("score of reviews", [name], [*REVIEW, *added(are_reviews=True)])
    target = REVIEW.get(name) or METRICS[name].of
    p, y = _checked(getattr(pred, target), getattr(truth, target))
    if target in CLASSES:
        _check_classes(target, predictions=p, labels=y)
    return p, y


def _checked(pred: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pred, truth = np.asarray(pred, dtype=float), np.asarray(truth, dtype=float)
    if truth.ndim != 1 or pred.ndim not in (1, 2) or pred.shape[-1] != len(truth):
        raise ValueError(
            f"predictions of shape {pred.shape} for labels of shape {truth.shape}: "
            "give labels as (n,) and predictions as (n,) or (seeds, n)"
        )
    if pred.size == 0:
        raise ValueError("no utterance to score: the split is empty")
    for name, values in (("predictions", pred), ("labels", truth)):
        if bad := np.count_nonzero(~np.isfinite(values)):
            raise ValueError(
                f"{bad} of {values.size} {name} are NaN or infinite: "
                "training diverged (lower the learning rate) or a feature column is not clean"
            )
    return pred, truth


def _check_classes(target: str, **values: np.ndarray) -> None:
    for what, x in values.items():
        bad = x[~np.isin(x, range(CLASSES[target]))]
        if len(bad):
            raise ValueError(
                f"{len(bad)} of {x.size} {target} {what} are no class 0..{CLASSES[target] - 1}: "
                f"the first is {bad[0]:g}"
            )


def score(
    name: str, pred: Values, truth: Values, weights: np.ndarray | None = None
) -> float | np.ndarray:
    """One score of `METRICS` by its name; shapes, weights and errors as in `all_scores`."""
    metric, (pred, truth) = named(name), compared(name, pred, truth)
    parts = metric.parts(pred, truth)
    if not parts[..., -1].any():
        raise ValueError(f"{name} counts no utterance: all {len(truth)} labels are 0")
    value = metric.of_parts(parts, weights)
    return value if pred.ndim == 2 else float(value)


def all_scores(pred: Values, truth: Values, weights: np.ndarray | None = None) -> Scores:
    """All scores of sentiment on [-3, 3] (`SENTIMENT`) or of reviews (`REVIEW`), and added metrics.

    pred: (n,), or (s, n) for s seeds at once; truth: (n,). For reviews, coarse, fine and intensity
    have these shapes. weights (n,): of the utterances, e.g. `mmlib.data.readers.reviews.natural`.
    Values are floats, or (s,) arrays. The correlation with a constant is 0, R2 of a constant at
    most 0; F1 of a class that never occurs is 0 and is left out of macro-F1. ValueError as in
    `compared`, and if all labels of sentiment are 0. The first eight scores of sentiment are those
    of MMSA (utils/metricsTop.py, regression on MOSI and MOSEI).
    """
    names = (*(REVIEW if are_reviews(truth) else SENTIMENT), *added(are_reviews(truth)))
    return {name: score(name, pred, truth, weights) for name in names}


review_scores = sentiment_scores = all_scores  # old names, still used in copied cells
