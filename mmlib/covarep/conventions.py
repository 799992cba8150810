"""Numerical conventions of the original program: rounding, phase, interpolation, peaks, filters.

Axis letters in this folder: f frame (or glottal cycle), n sample or bin, h harmonic.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import signal

PIECE = 1 << 16  # samples of a long recording worked on together


class CovarepError(ValueError):
    """A recording from which the features cannot be computed; one line: what, and the remedy."""


def cached(window: Callable[[int], np.ndarray]) -> Callable[[int], np.ndarray]:
    """A window function that remembers the windows of usual lengths."""
    remembered = lru_cache(maxsize=2048)(window)
    return lambda length: remembered(length) if length <= 4096 else window(length)


hann, hamming, blackman = cached(np.hanning), cached(np.hamming), cached(np.blackman)


def rnd(value):
    """Round to the nearest integer, halves away from zero (numpy rounds them to even)."""
    rounded = np.sign(value) * np.floor(np.abs(value) + 0.5)
    return int(rounded) if np.ndim(value) == 0 else rounded.astype(np.int64)


def wrap(phase: np.ndarray) -> np.ndarray:
    """Phase in [-pi, pi]."""
    return phase - 2 * np.pi * np.rint(phase / (2 * np.pi))


def decibel(amplitude: np.ndarray) -> np.ndarray:
    """20 log10 of a magnitude, finite at 0."""
    return 20 * np.log10(np.abs(amplitude) + np.finfo(float).tiny)


def interpolate(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values (f,) or (f, d) at increasing `known` positions, linearly at `wanted`, NaN outside.

    numpy.interp holds the end values instead, and takes one column at a time.
    """
    left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, max(len(known) - 2, 0))
    right = np.minimum(left + 1, len(known) - 1)
    gap = np.where(right > left, known[right] - known[left], 1)
    fraction = (wanted - known[left]) / gap
    covered = (wanted >= known[0]) & (wanted <= known[-1])
    fraction, covered = (a.reshape((-1,) + (1,) * (values.ndim - 1)) for a in (fraction, covered))
    between = values[left] + fraction * (values[right] - values[left])
    return np.where(covered, between, np.nan)


def windows(rows: np.ndarray, width: int, step: int = 1) -> np.ndarray:
    """Pieces (..., i, width) of contiguous rows (..., n), one every `step`, without a copy.

    numpy's sliding_window_view takes longer than the work on short rows.
    """
    count = (rows.shape[-1] - width) // step + 1
    strides = *rows.strides[:-1], step * rows.itemsize, rows.itemsize
    return np.ndarray((*rows.shape[:-1], count, width), rows.dtype, rows, strides=strides)


def peaks(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interior local maxima of each row (f, n): row numbers and positions, in order.

    A plateau counts once, at its middle (rounded down); end points are never peaks.
    """
    # One call for all rows: a wall of +inf after each row is a peak itself, but makes none.
    fence = np.full((len(rows), rows.shape[1] + 1), np.inf)
    fence[:, :-1] = rows
    row, position = np.divmod(signal.find_peaks(fence.ravel())[0], fence.shape[1])
    interior = position < rows.shape[1]
    return row[interior], position[interior]


def nearest(
    row: np.ndarray, position: np.ndarray, wanted_row: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """For each wanted position, the index of the nearest of sorted positions in the same row.

    The left one of two equally near. A row without any gets one of another row.
    """
    # Rows end to end on one axis.
    far = 4 * (max(position.max(initial=0), wanted.max(initial=0)) + 1)
    known, wanted = row * far + position, wanted_row * far + wanted
    right = np.clip(np.searchsorted(known, wanted), min(1, len(known) - 1), len(known) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(wanted - known[left] <= known[right] - wanted, left, right)


@lru_cache(maxsize=8)
def elliptic_highpass(edge: float, stop: float, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of an elliptic high-pass, 3 dB ripple, 60 dB attenuation.

    The order is what a transition from `stop` to `edge` (Hz, in either order) needs.
    """
    low, high = sorted((edge, stop))
    order, _ = signal.ellipord(high, low, 3, 60, fs=sample_rate)
    return signal.ellip(order, 3, 60, edge, "highpass", fs=sample_rate)


def filtfilt(b: np.ndarray, a: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Forwards and backwards, extended by 3 (order) samples; scipy's default is three more."""
    pad = 3 * (max(len(a), len(b)) - 1)
    if len(wave) <= pad:
        raise CovarepError(f"recording of {len(wave)} samples: the filters need more than {pad}")
    return np.ascontiguousarray(signal.filtfilt(b, a, wave, padlen=pad))
