"""Finely spaced spectra of short frames, from a coarse transform.

The pitch tracker and H1-H2 want every whole Hz of frames of a tenth of a second or less: a DFT of
mostly zeros. A transform about twice the frame's length holds the same information; between its
bins the spectrum is a short weighted sum of them (Kaiser-Bessel interpolation; J. Fessler,
B. Sutton, IEEE TSP 51(2), 2003), exact to 1e-11 of the largest value.
"""

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft

REACH = 6  # coarse bins each side that count
BLOCK = 16  # coarse bins interpolated by one product
SHAPE = np.pi * 2 * REACH * 0.75  # of the Kaiser-Bessel kernel, for frames of half the transform


def kernel(offset: np.ndarray) -> np.ndarray:
    """Weight of a coarse bin at a distance of `offset` bins."""
    return np.i0(SHAPE * np.sqrt(np.maximum(1 - (offset / REACH) ** 2, 0))) * (
        np.abs(offset) <= REACH
    )


@lru_cache(maxsize=32)
def compensation(length: int, coarse: int) -> np.ndarray:
    """What the kernel's smoothing does to each sample of a centred frame, inverted, (n,)."""
    place = (np.arange(length) - length // 2) / coarse
    root = np.sqrt(SHAPE**2 - (2 * np.pi * REACH * place) ** 2)
    return root / (2 * REACH * np.sinh(root))


@lru_cache(maxsize=32)
def weights(step: int) -> np.ndarray:
    """From coarse bins -REACH .. BLOCK + REACH to BLOCK * step fine bins from 0."""
    coarse = np.arange(-REACH, BLOCK + REACH + 1)
    return kernel(np.arange(BLOCK * step) / step - coarse[:, None])


@lru_cache(maxsize=128)
def coarseness(length: int, points: int) -> int:
    """The largest divisor of `points` that leaves a transform of twice the frame's length."""
    return next(d for d in range(max(points // (2 * length), 1), 0, -1) if points % d == 0)


def power_spectrum(frames: np.ndarray, points: int, top: int) -> np.ndarray:
    """|DFT of `points` points|^2 of frames (f, n), bins 0 .. top - 1 (at most points / 2)."""
    length = frames.shape[1]
    step = coarseness(length, points)
    if step == 1:
        spectrum = fft.rfft(frames, points, axis=1)[:, :top]
        return spectrum.real**2 + spectrum.imag**2
    coarse = points // step
    half = length // 2
    shaped = frames * compensation(length, coarse)
    centred = np.zeros((len(frames), coarse))
    centred[:, : length - half], centred[:, coarse - half :] = shaped[:, half:], shaped[:, :half]
    blocks = -(-top // (BLOCK * step))
    spectrum = fft.rfft(centred, axis=1)
    # Bins below 0 and above half the rate are mirror images.
    around = np.abs(np.arange(-REACH, blocks * BLOCK + REACH + 1)) % coarse
    mirrored = np.minimum(around, coarse - around)
    signs = np.where((np.arange(len(around)) < REACH) ^ (around > coarse // 2), -1, 1)
    total = 0
    for part in (spectrum.real[:, mirrored], spectrum.imag[:, mirrored] * signs):
        pieces = sliding_window_view(part, BLOCK + 2 * REACH + 1, axis=1)[:, ::BLOCK]
        fine = pieces.reshape(-1, pieces.shape[2]) @ weights(step)
        total = total + fine.reshape(len(frames), -1)[:, :top] ** 2
    return total
