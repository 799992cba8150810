"""Calibration of probabilities: reliability, expected calibration error, temperature scaling.

Temperature scaling and the expected calibration error are those of Guo et al. (2017).
Axes: n text, k class.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from mmlib.scores.two_classes import Parts

BINS = 10  # number of bins of equal width over (0, 1]


def scaled(p: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(log p / temperature) of probabilities (n, k)."""
    x = np.log(np.clip(p, 1e-12, 1)) / temperature
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True)


def temperature(p: np.ndarray, known: np.ndarray) -> float:
    """The temperature, .05 to 20, of least negative log-likelihood; p (n, k), true classes (n,)."""

    def loss(log_t: float) -> float:
        chosen = scaled(p, np.exp(log_t))[np.arange(len(known)), known]
        return -float(np.log(np.clip(chosen, 1e-12, 1)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def reliability(p: np.ndarray, known: np.ndarray) -> pd.DataFrame:
    """One row per bin of the largest probability: mean `confidence`, mean `accuracy`, and `share`.

    Empty bins are left out.
    """
    bins = _binned(p, known).groupby("bin")
    return bins.mean().assign(share=bins.size() / len(p)).reset_index()


def ece(p: np.ndarray, known: np.ndarray, groups: np.ndarray) -> Parts:
    """Expected calibration error: mean |accuracy - confidence| weighted by bin share; 0 is best.

    Of all texts and without each group; groups (n,) are names. ValueError for one group.
    """
    frame = _binned(p, known)
    code, counts = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    if len(counts) < 2:
        raise ValueError("1 group: an interval needs at least 2; give ids as groups")
    gaps = np.zeros((1 + len(counts), BINS))  # sums by group; row 0, no group, stays 0
    np.add.at(gaps, (1 + code, frame["bin"]), frame["accuracy"] - frame["confidence"])
    errors = np.abs(gaps.sum(axis=0) - gaps).sum(axis=1) / (len(frame) - np.r_[0, counts])
    return Parts(errors[:1], errors[None, 1:], counts)


def _binned(p: np.ndarray, known: np.ndarray) -> pd.DataFrame:
    top, right = p.max(axis=1), p.argmax(axis=1) == known
    which = np.clip(np.ceil(top * BINS).astype(int) - 1, 0, BINS - 1)
    return pd.DataFrame({"bin": which, "confidence": top.astype(float), "accuracy": right * 1.0})
