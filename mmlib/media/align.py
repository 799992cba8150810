"""Frames to words or utterances, by the intervals that both hold in seconds."""

import numpy as np

EPSILON = 1e-5  # seconds, the SDK's; a frame that only touches an interval is not in it


def collapse(values: np.ndarray, intervals: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Plain means (k, d) of the frames that overlap each wanted interval; NaN where none does.

    values (f, d); intervals (f, 2) and wanted (k, 2) in seconds, in any order; both may leave gaps
    and overlap. A frame counts once for every interval it reaches into, however far: the way
    CMU-MultimodalSDK aligns sequences with an averaging collapse function (`mmdataset.align`).
    """
    values = np.asarray(values, dtype=np.float64)
    means = np.full((len(wanted), values.shape[1]), np.nan)
    for k, (start, end) in enumerate(wanted):
        if (at := inside(intervals, start, end)).any():
            means[k] = values[at].mean(axis=0)
    return means


def inside(intervals: np.ndarray, start: float, end: float) -> np.ndarray:
    """Which of the intervals (f, 2) overlap the one from start to end, (f,) bool."""
    intervals = np.asarray(intervals, dtype=float)
    return np.minimum(intervals[:, 1], end) - np.maximum(intervals[:, 0], start) > EPSILON
