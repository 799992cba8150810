"""Measures from a bank of cosine-modulated Gaussian wavelets: MDQ and peakSlope.

J. Kane, C. Gobl, "Wavelet maxima dispersion for breathy to tense voice discrimination", IEEE TASLP
21(6), 2013, and "Identifying regions of non-modal phonation using features of the wavelet
transform", Interspeech 2011.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy import fft

from mmlib.covarep.conventions import rnd, windows
from mmlib.covarep.iaif import cycle_lengths

HALF = 1000  # samples, half the length of a wavelet
POINTS = 1 << 13  # of the transforms


def wavelet(scale: int) -> np.ndarray:
    """Wavelet -cos(pi n / s) exp(-n^2 / 2 s^2), n = -HALF..HALF; its centre is at rate / 2 s."""
    n = np.arange(-HALF, HALF + 1)
    return -np.cos(np.pi * n / scale) * np.exp(-(n**2) / (2 * scale**2))


@lru_cache(maxsize=8)
def transfer(scales: tuple[int, ...], points: int) -> np.ndarray:
    """Spectra (s, points / 2 + 1) of the wavelets of each scale."""
    return np.stack([fft.rfft(wavelet(scale), points) for scale in scales])


def bands(
    wave: np.ndarray, scales: tuple[int, ...], overlap: int
) -> Iterator[tuple[int, int, np.ndarray]]:
    """The wave filtered by wavelets of several scales, without delay, a piece at a time.

    Yields the piece's first sample, the first sample of the next piece, and the bands (s, n) from
    the former to `overlap` samples past the latter. Bands are -inf where a wavelet covers NaN.
    """
    points = fft.next_fast_len(max(POINTS, 4 * (overlap + 2 * HALF)), real=True)
    step = points - 2 * HALF - overlap
    piece = np.zeros(points)
    for start in range(0, len(wave), step):
        first, last = max(start - HALF, 0), min(start + points - HALF, len(wave))
        piece[:] = 0
        piece[first - start + HALF : last - start + HALF] = wave[first:last]
        silent = np.isnan(piece)
        piece[silent] = 0
        y = fft.irfft(fft.rfft(piece) * transfer(scales, points), points, axis=1)[:, 2 * HALF :]
        if silent.any():
            n = np.arange(y.shape[1])
            y[:, any_within(silent, n, n + 2 * HALF + 1)] = -np.inf
        yield start, start + step, y


def any_within(mask: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Whether any sample of `mask` from `start` up to `stop`, clipped to the file, is set, (f,)."""
    count = np.concatenate([[0], np.cumsum(mask)])
    return count[np.minimum(stop, len(mask))] > count[np.maximum(start, 0)]


def mdq(excitation: np.ndarray, gci: np.ndarray) -> np.ndarray:
    """Maxima dispersion quotient (f,): mean distance of 5 bands' maxima from the GCI, in periods.

    Breathier voices have larger ones. Maxima are searched 0.2 periods each way; the distance is one
    sample too long, as in the original. 0 where the neighbouring cycles do not fit into the file.
    Where the residual is NaN (digital silence) there is no maximum.
    """
    period = cycle_lengths(gci)
    reach = rnd(0.2 * period)
    fits = np.flatnonzero((gci - period >= 0) & (gci + period <= len(excitation) - 1))
    distance = np.zeros(len(gci))
    scales, widest = (4, 8, 16, 32, 64), 2 * int(reach[fits].max(initial=0)) + 1
    for start, stop, y in bands(excitation, scales, widest):
        first = gci[fits] - reach[fits]
        for i in fits[(first >= start) & (first < stop)]:
            window = y[:, gci[i] - reach[i] - start : gci[i] + reach[i] + 1 - start]
            distance[i] = np.abs(window.argmax(axis=1) + 1 - reach[i]).sum()
    return distance / 5 / period


def peak_slope(wave: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """1-based samples and peak slopes, log10 amplitude per octave, of frames of 40 ms, both (f,).

    The slope is that of a line through the largest amplitudes of 7 octave bands, from the lowest to
    the highest. It is 0 where a band is silent.
    """
    length, hop = rnd(0.04 * sample_rate), rnd(0.01 * sample_rate)
    first = np.arange(0, len(wave) - length + 1, hop)
    largest = []
    for start, stop, y in bands(wave, (64, 32, 16, 8, 4, 2, 1), length):
        here = first[(first >= start) & (first < stop)] - start
        largest.append(windows(np.abs(y), length)[:, here].max(axis=2))
    peak = np.concatenate(largest, axis=1)  # (s, f)
    # Where the shortest wavelet covers only zeros, its band holds nothing but rounding errors.
    loud = any_within(wave != 0, first - 9, first + length + 9) & (peak.min(axis=0) > 0)
    level = np.log10(np.where(loud, peak, 1))
    octaves = np.arange(7) - 3
    return rnd((2 * first + length + 1) / 2) - 1, octaves @ level / (octaves @ octaves)
