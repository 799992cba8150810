"""Numerical conventions of the original program: rounding, phase, interpolation, peaks, filters.

Axis letters in this folder: f frame (or glottal cycle), n sample or bin, h harmonic.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import signal

PIECE = 1 << 16  # samples of a long recording that are processed at once


class CovarepError(ValueError):
    """The features of a recording cannot be computed; its one line names the cause and a remedy."""


def cached(window: Callable[[int], np.ndarray]) -> Callable[[int], np.ndarray]:
    """The window function with a cache for lengths up to 4096 samples."""
    remembered = lru_cache(maxsize=2048)(window)
    return lambda length: remembered(length) if length <= 4096 else window(length)


hann, hamming, blackman = cached(np.hanning), cached(np.hamming), cached(np.blackman)


def rnd(value):
    """`value` rounded to the nearest integer, halves away from zero (numpy rounds them to even)."""
    rounded = np.sign(value) * np.floor(np.abs(value) + 0.5)
    return int(rounded) if np.ndim(value) == 0 else rounded.astype(np.int64)


def wrap(phase: np.ndarray) -> np.ndarray:
    """`phase` (rad) brought into [-pi, pi] by multiples of 2 pi."""
    return phase - 2 * np.pi * np.rint(phase / (2 * np.pi))


def decibel(amplitude: np.ndarray) -> np.ndarray:
    """Level in dB: 20 log10 of the magnitude, finite at 0."""
    return 20 * np.log10(np.abs(amplitude) + np.finfo(float).tiny)


def interpolate(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """`values` interpolated linearly from `known` positions to the `wanted` ones, NaN outside.

    values (f,) or (f, d), `known` increasing. numpy.interp repeats end values, of one column only.
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
    """Windows (..., i, width) of contiguous rows (..., n), one every `step`, without a copy.

    On short rows numpy's sliding_window_view takes longer than the work on its windows.
    """
    count = (rows.shape[-1] - width) // step + 1
    strides = *rows.strides[:-1], step * rows.itemsize, rows.itemsize
    return np.ndarray((*rows.shape[:-1], count, width), rows.dtype, rows, strides=strides)


def peaks(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local maxima of each row (f, n): their row numbers and positions, in order.

    A plateau counts once, at its middle (rounded down). End points are never peaks.
    """
    # One call for all rows: the +inf after each row is a peak itself, but adds none in the row.
    fence = np.full((len(rows), rows.shape[1] + 1), np.inf)
    fence[:, :-1] = rows
    row, position = np.divmod(signal.find_peaks(fence.ravel())[0], fence.shape[1])
    interior = position < rows.shape[1]
    return row[interior], position[interior]


def nearest(
    row: np.ndarray, position: np.ndarray, wanted_row: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """For each wanted position the index of the nearest known position in the same row.

    Positions are sorted by row. Of two equally near the left; for an empty row, another row's.
    """
    # All rows are laid on one axis, far apart.
    far = 4 * (max(position.max(initial=0), wanted.max(initial=0)) + 1)
    known, wanted = row * far + position, wanted_row * far + wanted
    right = np.clip(np.searchsorted(known, wanted), min(1, len(known) - 1), len(known) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(wanted - known[left] <= known[right] - wanted, left, right)


@lru_cache(maxsize=8)
def elliptic_highpass(edge: float, stop: float, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of an elliptic high-pass, 3 dB ripple, 60 dB attenuation.

    Its order is the lowest that gives a transition from `stop` to `edge` (Hz, in either order).
    """
    low, high = sorted((edge, stop))
    order, _ = signal.ellipord(high, low, 3, 60, fs=sample_rate)
    return signal.ellip(order, 3, 60, edge, "highpass", fs=sample_rate)


def filtfilt(b: np.ndarray, a: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """The wave filtered forwards and backwards, its ends extended by 3 orders (scipy: 3 more)."""
    pad = 3 * (max(len(a), len(b)) - 1)
    if len(wave) <= pad:
        raise CovarepError(f"recording of {len(wave)} samples: the filters need more than {pad}")
    return np.ascontiguousarray(signal.filtfilt(b, a, wave, padlen=pad))
