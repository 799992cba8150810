"""Measures from a bank of cosine-modulated Gaussian wavelets: MDQ and peakSlope.

J. Kane, C. Gobl, "Wavelet maxima dispersion for breathy to tense voice discrimination", IEEE TASLP
21(6), 2013, and "Identifying regions of non-modal phonation using features of the wavelet
transform", Interspeech 2011.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

from .conventions import rnd
from .iaif import cycle_lengths

REACH = 1000  # samples, half the length of a wavelet
PIECE = 1 << 15  # samples filtered at a time


def wavelet(scale: int) -> np.ndarray:
    """-cos(pi n / s) exp(-n^2 / 2 s^2), n = -1000..1000 less the tails that are below 1e-17."""
    n = np.arange(-min(REACH, 9 * scale), min(REACH, 9 * scale) + 1)
    return -np.cos(np.pi * n / scale) * np.exp(-(n**2) / (2 * scale**2))


def band(wave: np.ndarray, scale: int) -> np.ndarray:
    """The wave (n,) filtered at one scale (centre: rate / 2 scale), without delay."""
    kernel = wavelet(scale)
    half = len(kernel) // 2
    padded = np.pad(wave, half)
    y = np.empty(len(wave))
    for a in range(0, len(wave), PIECE):
        piece = padded[a : a + PIECE + 2 * half]
        y[a : a + PIECE] = signal.oaconvolve(piece, kernel, mode="valid")
    return y


def any_within(mask: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Whether a sample of `mask` from `start` up to `stop` (clipped to the file) is set, (f,)."""
    count = np.concatenate([[0], np.cumsum(mask)])
    return count[np.minimum(stop, len(mask))] > count[np.maximum(start, 0)]


def mdq(excitation: np.ndarray, gci: np.ndarray) -> np.ndarray:
    """Maxima dispersion quotient (f,): mean distance of 5 bands' maxima from the GCI, in periods.

    The larger, the breathier. The search is 0.2 periods each way; the distance is one sample too
    long, as in the original. 0 where the neighbouring cycles do not fit into the file.
    """
    period = cycle_lengths(gci)
    reach = rnd(0.2 * period)
    silent = np.isnan(excitation)
    n = np.arange(len(excitation))
    spoilt = any_within(silent, n - REACH, n + REACH + 1) if silent.any() else silent
    clean = np.nan_to_num(excitation, nan=0.0)
    fits = np.flatnonzero((gci - period >= 0) & (gci + period <= len(excitation) - 1))
    distance = np.zeros(len(gci))
    for scale in (4, 8, 16, 32, 64):
        y = band(clean, scale)
        y[spoilt] = -np.inf
        for i in fits:
            window = y[gci[i] - reach[i] : gci[i] + reach[i] + 1]
            distance[i] += abs(window.argmax() + 1 - reach[i])
    return distance / 5 / period


def peak_slope(wave: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """1-based positions and slopes (f,) in log10 amplitude per octave, frames of 40 ms.

    Line through the largest amplitude of each of 7 octave bands, from the lowest to the highest;
    0 where a band is silent.
    """
    length, hop = rnd(0.04 * sample_rate), rnd(0.01 * sample_rate)
    start = np.arange(0, len(wave) - length + 1, hop)
    largest = []
    for octave in range(6, -1, -1):
        y = np.abs(band(wave, 2**octave))
        largest.append(sliding_window_view(y, length)[::hop].max(axis=1))
    # Where the shortest wavelet meets no sample at all, what is left is rounding errors.
    loud = any_within(wave != 0, start - 9, start + length + 9) & (np.min(largest, axis=0) > 0)
    with np.errstate(divide="ignore"):
        level = np.where(loud, np.log10(largest), 0)
    octaves = np.arange(7) - 3
    return rnd((2 * start + length + 1) / 2) - 1, octaves @ level / (octaves @ octaves)
