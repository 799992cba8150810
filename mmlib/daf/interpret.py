"""Analysis of a fusion model's weights: their spread, their faithfulness, signs of failure.

Axes: s seed, n utterances, m modality. Weights (s, n, m), which the rule must have, sum to 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from mmlib.daf.train import Fit, Prediction
from mmlib.data import Corpus
from mmlib.data.embedded.synthetic import MODALITIES
from mmlib.files import refuse_unknown
from mmlib.scores import stats
from mmlib.stack.vectors import Features

PERTURBATIONS = ("missing", "noise", "shuffle", "conflict")
WAYS = ("missing", "shuffle", "conflict")  # perturbations with which faithfulness is measured


def perturb(
    features: Features, modality: str, how: str, share: float = 1.0, seed: int = 0
) -> Features:
    """The same utterances with one modality perturbed in a random `share` of them.

    missing: masked out unless it is the only one; noise: Gaussian noise of 2 sd is added; shuffle:
    taken, with its mask, from a random utterance; conflict: from one whose label has the opposite
    sign (from any, if the label is 0 or NaN, or none has that sign). ValueError for another `how`.
    """
    refuse_unknown("perturbation", [how], PERTURBATIONS)
    rng = np.random.default_rng(seed)
    hit = np.flatnonzero(rng.random(len(features)) < share)
    column = features.modalities.index(modality)
    x, present = features.x[modality].copy(), features.present.copy()
    if how == "missing":
        others = np.delete(present, column, axis=1).any(axis=1)
        hit = hit[others[hit]]  # an utterance's only modality is kept
        present[hit, column], x[hit] = False, 0
    elif how == "noise":
        x[hit] += (
            2 * rng.standard_normal(x[hit].shape, dtype=np.float32) * present[hit, column, None]
        )
    else:
        donor = rng.permutation(len(features)) if how == "shuffle" else _opposite(features, rng)
        x[hit], present[hit, column] = features.x[modality][donor[hit]], present[donor[hit], column]
        bare = ~present.any(axis=1)
        present[bare, column], x[bare] = features.present[bare, column], features.x[modality][bare]
    return replace(features, x={**features.x, modality: x}, present=present)


def _opposite(features: Features, rng: np.random.Generator) -> np.ndarray:
    """For each utterance, the row of a random one whose label has the opposite sign, (n,)."""
    label = features.label
    pools = [np.flatnonzero(label < 0), np.arange(len(label)), np.flatnonzero(label > 0)]
    pools = [pool if len(pool) else pools[1] for pool in pools]
    return np.array([rng.choice(pools[1 - int(sign)]) for sign in np.nan_to_num(np.sign(label))])


def robustness(
    fit: Fit, features: Features, error: Callable, shares: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
) -> pd.DataFrame:
    """Error of every seed with one modality perturbed at a time.

    Columns modality, how, share, seed (0..s-1), error. `error(score (s, n), label (n,)) -> (s,)`.
    """
    rows = []
    for damage in product(features.modalities, PERTURBATIONS, shares):
        prediction = fit.predict(perturb(features, *damage))
        errors = error(prediction.score, features.label)
        rows += [(*damage, seed, value) for seed, value in enumerate(errors)]
    return pd.DataFrame(rows, columns=["modality", "how", "share", "seed", "error"])


def entropy(weights: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Entropy of weights (s, n, m) over the present (n, m), divided by its maximum, (s, n).

    1: uniform weights; 0: one modality has all weight. NaN if fewer than two are present.
    """
    m = present.sum(axis=-1)  # (n,)
    terms = weights * np.log(np.where(weights > 0, weights, 1))
    most = np.where(m > 1, np.log(np.maximum(m, 2)), np.nan)
    return np.clip(-terms.sum(axis=-1) / most, 0, 1)  # rounding may leave it


def faithfulness(fit: Fit, features: Features) -> pd.DataFrame:
    """Do the weights predict how much the score changes when a modality is perturbed?

    One row per modality and perturbation (`WAYS`), over utterances with this and another modality:
    mean weight, mean |change of score|, and `rank_corr`, Spearman's correlation of the two, mean
    over seeds. Weights that explain the score have a clearly positive `rank_corr`. ValueError if
    no utterance has a modality beside another.
    """
    before = fit.predict(features)
    rows = []
    for (column, modality), how in product(enumerate(features.modalities), WAYS):
        kept = features.present[:, column] & (features.present.sum(1) > 1)
        if not kept.any():
            raise ValueError(f"no utterance of {features.name} has {modality} and another modality")
        after = fit.predict(perturb(features, modality, how))
        change = np.abs(after.score - before.score)[:, kept]  # (s, n)
        weight = before.weights[:, kept, column]
        correlation = np.mean([_rank(w, c) for w, c in zip(weight, change, strict=True)])
        rows.append((modality, how, weight.mean(), change.mean(), correlation))
    return pd.DataFrame(rows, columns=["modality", "how", "weight", "change", "rank_corr"])


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation; 0 if a or b is constant or has one value."""
    if len(a) < 2 or np.ptp(a) < 1e-9 or np.ptp(b) < 1e-9:
        return 0.0
    return float(spearmanr(a, b).statistic)


def agreement(weights: np.ndarray, truth: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Spearman's correlation of weights (s, n, m) with known true weights (n, m), (s, m + 1).

    Columns: each modality over the utterances that have it (present (n, m)), then all pooled.
    """
    out = []
    for w in weights:
        each = [_rank(w[ok, k], truth[ok, k]) for k, ok in enumerate(present.T)]
        out.append([*each, _rank(w[present], truth[present])])
    return np.array(out)


def distances(corpus: Corpus, modalities: Sequence[str]) -> np.ndarray | None:
    """|y_m - y|: distance of each modality's own label from the multimodal label, (n, m).

    y_m: the label given by people who had that modality alone (CH-SIMS: T, A, V beside M), or the
    evidence of the embedded corpus. None if the corpus has neither for one of the modalities.
    """
    alone = dict(corpus.annotations)
    if "evidence" in corpus.truth:
        alone |= zip(MODALITIES, corpus.truth["evidence"].T, strict=True)
    if not alone.keys() >= {*modalities}:
        return None
    return np.abs(np.stack([alone[m] for m in modalities], axis=1) - corpus.label[:, None])


def by_distance(
    weights: np.ndarray, distance: np.ndarray, present: np.ndarray, groups: Sequence[str]
) -> pd.DataFrame:
    """Does a modality's weight fall with its distance from the multimodal label? One row each.

    weights (s, n, m), distance (n, m) of `distances`, present (n, m), groups (n,). rank_corr:
    Spearman's, over the n utterances that have this and another modality (of two groups or more),
    mean over seeds; ci_low, ci_high: its interval for other groups and seeds, as in `stats.around`.
    """
    rows = []
    for k in range(weights.shape[-1]):
        kept = np.flatnonzero(present[:, k] & (present.sum(1) > 1))
        names = np.array(groups)[kept]
        _, code, counts = np.unique(names, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            raise ValueError(f"modality {k} is beside another in under two groups; use more data")
        w, d = weights[:, kept, k], distance[kept, k]
        scores = np.array([_rank(one, d) for one in w])
        rest = [code != g for g in range(len(counts))]
        without = np.array([[_rank(one[r], d[r]) for r in rest] for one in w])  # (s, g)
        rows.append((scores.mean(), *stats.around(scores, without, counts), len(kept)))
    return pd.DataFrame(rows, columns=["rank_corr", "ci_low", "ci_high", "n"])


def gap_closed(static: np.ndarray, dynamic: np.ndarray, oracle: float) -> np.ndarray:
    """Share (s,) of the gap, mean static - oracle, that dynamic (s,) closes; ValueError if <= 0."""
    gap = np.mean(static) - oracle
    if gap <= 0:
        raise ValueError("the static fusion is not worse than the oracle: there is no gap to close")
    return (np.mean(static) - dynamic) / gap


def by_bins(values: np.ndarray, weights: np.ndarray, edges: Sequence[float]) -> pd.DataFrame:
    """Mean weight of each modality (n, m) in bins of `values` (n,); columns bin, 0..m-1, n."""
    which = pd.cut(np.asarray(values), edges, include_lowest=True)
    frame = pd.DataFrame(weights).groupby(which, observed=True)
    return frame.mean().assign(n=frame.size()).rename_axis("bin").reset_index()


def conflict(opinions: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Range of the present modalities' opinions (s, n, m), mean over s, (n,); NaN without any."""
    masked = np.where(present, opinions, np.nan)
    return (np.nanmax(masked, axis=-1) - np.nanmin(masked, axis=-1)).mean(axis=0)


def contradicted(prediction: Prediction, features: Features) -> pd.DataFrame:
    """Utterances in which one modality's opinion has the opposite sign of all others'.

    One row per modality. n: number of such utterances, mean over seeds; weight: the modality's mean
    weight in them; elsewhere: its mean weight in the other utterances that have it; followed: share
    in which the score has the modality's sign; right: share in which the label has it; NaN if n is
    0. A rule that always relies on one modality has a `followed` above `right`.
    """
    label, sign, rows = features.label, np.sign(prediction.opinions), []  # (n,), (s, n, m)
    for column, modality in enumerate(features.modalities):
        others = np.delete(features.present, column, axis=1)  # (n, m - 1)
        opposed = np.delete(sign, column, axis=2) == -sign[..., column, None]
        has = features.present[:, column] & others.any(axis=1)  # (n,)
        alone = has & np.where(others, opposed, True).all(axis=2)  # (s, n)
        parts = {"weight": (prediction.weights[..., column], alone)}
        parts["elsewhere"] = (prediction.weights[..., column], has & ~alone)
        parts["followed"] = (np.sign(prediction.score) == sign[..., column], alone)
        parts["right"] = (np.sign(label) == sign[..., column], alone & ~np.isnan(label))
        means = {name: values[where].mean() for name, (values, where) in parts.items()}
        rows.append({"modality": modality, "n": alone.sum(axis=1).mean(), **means})
    return pd.DataFrame(rows)


def diagnosis(fit: Fit, features: Features) -> pd.DataFrame:
    """Signs that a fusion has failed, one row each: signature, measure, value, alarm.

    Only utterances with all modalities count; without any, values are NaN. uniform weights: mean
    entropy above .98 of its maximum; constant weights: largest sd over utterances below .02;
    reliance: one modality has the largest weight in over 95 %; misaligned: shuffling a modality
    changes its weight by less than .02 on average. Thresholds are ours.
    """
    before = fit.predict(features)
    full = features.present.all(axis=1)
    w = before.weights[:, full]  # (s, n, m)
    top = np.bincount(w.argmax(-1).ravel(), minlength=w.shape[-1]) / w[..., 0].size
    spread = w.std(axis=1).mean(axis=0)  # (m,)
    even = float(np.nanmean(entropy(w, features.present[full])))
    rows = [
        ("uniform weights", "entropy / maximum", even, even > 0.98),
        ("constant weights", "sd over utterances, largest", spread.max(), spread.max() < 0.02),
        (f"reliance on {features.modalities[top.argmax()]}", "share with the largest weight",
         top.max(), top.max() > 0.95),
    ]  # fmt: skip
    for column, modality in enumerate(features.modalities):
        moved = fit.predict(perturb(features, modality, "shuffle")).weights
        change = float(np.abs(moved - before.weights)[:, full, column].mean())
        rows.append(
            (f"{modality} misaligned, unnoticed", "mean |change of weight|", change, change < 0.02)
        )
    return pd.DataFrame(rows, columns=["signature", "measure", "value", "alarm"])
