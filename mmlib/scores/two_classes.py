"""AUC and balanced accuracy of two classes, with intervals over groups.

Neither depends on the class shares, so both can compare corpora with different base rates. AUC also
does not depend on the scale of a score. It is not a function of sums over utterances: to leave out
a group, its pairs are subtracted. Axes: s seed, n utterances, g groups.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from mmlib.scores import stats

LEAST = 30  # minimum number of utterances of each class


class Parts(NamedTuple):
    """A score of all utterances, and the scores without one group."""

    scores: np.ndarray  # (s,)
    without: np.ndarray  # (s, g)
    counts: np.ndarray  # (g,) utterances

    def interval(self) -> stats.Interval:
        """The interval of the mean over seeds, as in `mmlib.scores.stats.interval`."""
        return stats.around(*self)

    def minus(self, other: "Parts") -> stats.Difference:
        """The difference, paired by seed and group, as in `mmlib.scores.stats.compare`."""
        gaps = self.scores - other.scores, self.without - other.without
        return stats.difference(*gaps, self.counts)


def auc(score: np.ndarray, positive: np.ndarray, groups: np.ndarray) -> Parts:
    """Share of (positive, negative) pairs that score (s, n) or (n,) puts in the right order.

    Equal scores count half (Mann and Whitney 1947). positive (n,) bool, groups (n,) names.
    ValueError, one line, for fewer than LEAST utterances of a class, if one group has them all, or
    for a score that is not finite.
    """
    code, counts = _groups(positive, groups)
    score, pairs = np.atleast_2d(score), []
    if not np.isfinite(score).all():
        raise ValueError("a score is NaN or infinite: did training diverge?")
    for one in score:
        own = np.zeros(len(one))  # correctly ordered pairs of each utterance with the other class
        for side, sign in ((positive, 1), (~positive, -1)):
            inside = rankdata(sign * one[side])
            own[side] = rankdata(sign * one)[side] - inside
        within = [_ordered(one[code == g], positive[code == g]) for g in range(len(counts))]
        total = own[positive].sum()
        pairs.append([total, *(total - np.bincount(code, own) + within)])
    right = np.bincount(code, positive)
    n, p = counts.sum() - np.r_[0, counts], positive.sum() - np.r_[0, right]
    return _parts(np.array(pairs) / np.maximum(p * (n - p), 1), counts)


def balanced_accuracy(chosen: np.ndarray, positive: np.ndarray, groups: np.ndarray) -> Parts:
    """Mean recall of positives and negatives, for predictions chosen (s, n) or (n,) bool.

    ValueError as in `auc`.
    """
    code, counts = _groups(positive, groups)
    chosen, shares = np.atleast_2d(chosen), 0
    for side in (positive, ~positive):
        right = np.stack([np.bincount(code, side & (one == positive)) for one in chosen])  # (s, g)
        of = np.bincount(code, side)
        rest = right.sum(1, keepdims=True) - np.c_[np.zeros(len(right)), right]
        shares = shares + rest / np.maximum(of.sum() - np.r_[0, of], 1) / 2
    return _parts(shares, counts)


def _groups(positive: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of each utterance's group (n,) and the groups' sizes (g,)."""
    classes = {"positive": int(positive.sum()), "negative": int((~positive).sum())}
    name, n = min(classes.items(), key=lambda pair: pair[1])
    if n < LEAST:
        raise ValueError(f"{n} {name} utterances; AUC and balanced accuracy need {LEAST} of each")
    names, code, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError("1 group: an interval needs at least 2; give ids as groups")
    for side, name in ((positive, "positive"), (~positive, "negative")):
        if (whole := np.bincount(code, side) == side.sum()).any():
            where = f"group '{names[whole][0]}' holds every {name} utterance"
            raise ValueError(f"{where}; an interval needs 2 such groups: give ids as groups")
    return code, counts


def _ordered(score: np.ndarray, positive: np.ndarray) -> float:
    pairs = score[positive][:, None] - score[~positive]
    return float((pairs > 0).sum() + (pairs == 0).sum() / 2)


def _parts(values: np.ndarray, counts: np.ndarray) -> Parts:
    return Parts(values[:, 0], values[:, 1:], counts)
