"""What the weights of a fusion model mean: their spread, their faithfulness, their failures.

Axes: s seed, n utterances, m modality. Weights are (s, n, m) and sum to one over m.
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
WAYS = ("missing", "shuffle", "conflict")  # in which faithfulness is measured


def perturb(
    features: Features, modality: str, how: str, share: float = 1.0, seed: int = 0
) -> Features:
    """The same utterances with one modality damaged in a random `share` of them.

    missing: masked out; noise: Gaussian noise of 2 sd is added; shuffle: taken from another
    utterance; conflict: taken from an utterance whose label has the opposite sign (labels near 0
    take any). ValueError for another `how`.
    """
    refuse_unknown("perturbation", [how], PERTURBATIONS)
    rng = np.random.default_rng(seed)
    hit = np.flatnonzero(rng.random(len(features)) < share)
    column = features.modalities.index(modality)
    x, present = features.x[modality].copy(), features.present.copy()
    if how == "missing":
        others = np.delete(present, column, axis=1).any(axis=1)
        hit = hit[others[hit]]  # a last remaining modality stays
        present[hit, column], x[hit] = False, 0
    elif how == "noise":
        x[hit] += (
            2 * rng.standard_normal(x[hit].shape, dtype=np.float32) * present[hit, column, None]
        )
    else:
        donor = rng.permutation(len(features)) if how == "shuffle" else _opposite(features, rng)
        x[hit], present[hit, column] = features.x[modality][donor[hit]], present[donor[hit], column]
        bare = ~present.any(axis=1)
        present[bare, column] = features.present[bare, column]
    return replace(features, x={**features.x, modality: x}, present=present)


def _opposite(features: Features, rng: np.random.Generator) -> np.ndarray:
    """For each utterance a random other one with a label of the opposite sign, (n,)."""
    label = features.label
    pools = [np.flatnonzero(label < 0), np.arange(len(label)), np.flatnonzero(label > 0)]
    pools = [pool if len(pool) else pools[1] for pool in pools]
    return np.array([rng.choice(pools[1 - int(sign)]) for sign in np.sign(label)])


def robustness(
    fit: Fit, features: Features, error: Callable, shares: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)
) -> pd.DataFrame:
    """Error of every seed as one modality at a time is damaged: columns modality, how, share, seed.

    `error(score (s, n), label (n,)) -> (s,)`.
    """
    rows = []
    for damage in product(features.modalities, PERTURBATIONS, shares):
        prediction = fit.predict(perturb(features, *damage))
        errors = error(prediction.score, features.label)
        rows += [(*damage, seed, value) for seed, value in enumerate(errors)]
    return pd.DataFrame(rows, columns=["modality", "how", "share", "seed", "error"])


def entropy(weights: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Entropy of the weights over the present modalities, in [0, 1] of its maximum, (s, n).

    1: uniform; 0: one modality decides. NaN where fewer than two are present.
    """
    m = present.sum(axis=-1)  # (n,)
    terms = weights * np.log(np.where(weights > 0, weights, 1))
    most = np.where(m > 1, np.log(np.maximum(m, 2)), np.nan)
    return -terms.sum(axis=-1) / most


def faithfulness(fit: Fit, features: Features) -> pd.DataFrame:
    """How far the score moves when a modality is damaged, beside its weight.

    One row a modality and way (missing, shuffle, conflict): mean weight, mean |change of score|,
    and `rank_corr`, Spearman's over utterances between weight and |change|, mean over seeds.
    A weight that explains the score must have a clearly positive one.
    """
    before = fit.predict(features)
    rows = []
    for (column, modality), how in product(enumerate(features.modalities), WAYS):
        kept = features.present[:, column] & (features.present.sum(1) > 1)
        after = fit.predict(perturb(features, modality, how))
        change = np.abs(after.score - before.score)[:, kept]  # (s, n)
        weight = before.weights[:, kept, column]
        correlation = np.mean([_rank(w, c) for w, c in zip(weight, change, strict=True)])
        rows.append((modality, how, weight.mean(), change.mean(), correlation))
    return pd.DataFrame(rows, columns=["modality", "how", "weight", "change", "rank_corr"])


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation; 0 where one side is constant."""
    if np.ptp(a) < 1e-9 or np.ptp(b) < 1e-9:
        return 0.0
    return float(spearmanr(a, b).statistic)


def agreement(weights: np.ndarray, truth: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Rank correlation of weights (s, n, m) with a known truth (n, m), (s, m + 1).

    Columns: each modality over the utterances that have it, then all modalities pooled.
    """
    out = []
    for w in weights:
        each = [_rank(w[ok, k], truth[ok, k]) for k, ok in enumerate(present.T)]
        out.append([*each, _rank(w[present], truth[present])])
    return np.array(out)


def distances(corpus: Corpus, modalities: Sequence[str]) -> np.ndarray | None:
    """How far each modality alone lies from the whole, |y_m - y|, (n, m) on the label's scale.

    y_m: the label by people who had that modality alone (CH-SIMS: T, A, V beside M), or the
    embedded corpus' evidence. None where the corpus has neither for one of the modalities.
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
    """Does a modality's weight fall as it lies farther from the whole? A row each.

    weights (s, n, m), distance (n, m) of `distances`, present (n, m), groups (n,). rank_corr:
    Spearman's, over the n utterances that have the modality and another one, mean over seeds;
    ci_low, ci_high: its interval for other groups and other seeds (`mmlib.scores.stats`).
    """
    rows = []
    for k in range(weights.shape[-1]):
        kept = np.flatnonzero(present[:, k] & (present.sum(1) > 1))
        names = np.array(groups)[kept]
        _, code, counts = np.unique(names, return_inverse=True, return_counts=True)
        w, d = weights[:, kept, k], distance[kept, k]
        scores = np.array([_rank(one, d) for one in w])
        rest = [code != g for g in range(len(counts))]
        without = np.array([[_rank(one[r], d[r]) for r in rest] for one in w])  # (s, g)
        rows.append((scores.mean(), *stats.around(scores, without, counts), len(kept)))
    return pd.DataFrame(rows, columns=["rank_corr", "ci_low", "ci_high", "n"])


def gap_closed(static: np.ndarray, dynamic: np.ndarray, oracle: float) -> np.ndarray:
    """Share of the error between static fusion and the oracle that a dynamic one removes, (s,)."""
    gap = np.mean(static) - oracle
    if gap <= 0:
        raise ValueError("the static fusion is not worse than the oracle: there is no gap to close")
    return (np.mean(static) - dynamic) / gap


def by_bins(values: np.ndarray, weights: np.ndarray, edges: Sequence[float]) -> pd.DataFrame:
    """Mean weight of each modality (n, m) in bins of a variable (n,); columns bin, n, 0..m-1."""
    which = pd.cut(values, edges, include_lowest=True)
    frame = pd.DataFrame(weights).groupby(which, observed=True)
    return frame.mean().assign(n=frame.size()).rename_axis("bin").reset_index()


def conflict(opinions: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Disagreement of an utterance: range of the present modalities' opinions (s, n, m) -> (n,)."""
    masked = np.where(present, opinions, np.nan)
    return (np.nanmax(masked, axis=-1) - np.nanmin(masked, axis=-1)).mean(axis=0)


def contradicted(prediction: Prediction, features: Features) -> pd.DataFrame:
    """Utterances in which one modality's opinion has the other sign than all others': a row each.

    n: how many, a mean over seeds; weight: the modality's there; elsewhere: its weight in all other
    utterances that have it; followed: the share in which the score takes its sign; right: the share
    in which the label has it. A rule that relies on a modality whatever the others say follows it
    more often than it is right.
    """
    sign, rows = np.sign(prediction.opinions), []  # (s, n, m)
    for column, modality in enumerate(features.modalities):
        others = np.delete(features.present, column, axis=1)  # (n, m - 1)
        opposed = np.delete(sign, column, axis=2) == -sign[..., column, None]
        has = features.present[:, column] & others.any(axis=1)  # (n,)
        alone = has & np.where(others, opposed, True).all(axis=2)  # (s, n)
        parts = {"weight": (prediction.weights[..., column], alone)}
        parts["elsewhere"] = (prediction.weights[..., column], has & ~alone)
        parts["followed"] = (np.sign(prediction.score) == sign[..., column], alone)
        parts["right"] = (np.sign(features.label) == sign[..., column], alone)
        means = {name: values[where].mean() for name, (values, where) in parts.items()}
        rows.append({"modality": modality, "n": alone.sum(axis=1).mean(), **means})
    return pd.DataFrame(rows)


def diagnosis(fit: Fit, features: Features) -> pd.DataFrame:
    """The signatures of a fusion that has failed, measured: one row each.

    uniform weights: mean entropy above .98 of its maximum, or weights that hardly vary (sd < .02);
    one-modality reliance: one modality has the largest weight in over 95 % of the utterances;
    misaligned input: shuffling a modality changes its weight so little (mean |change| < .02) that
    the scorer cannot have noticed. Thresholds are ours.
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
