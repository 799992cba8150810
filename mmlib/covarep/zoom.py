"""Finely spaced spectra of short frames, from a coarse transform.

The pitch tracker and H1-H2 need the spectrum at every whole Hz of frames of 0.1 s or less; a DFT
for that is mostly of zeros. A transform about twice as long as the frame holds the same
information. Between its bins the spectrum is a short weighted sum of them (Kaiser-Bessel
interpolation; J. Fessler, B. Sutton, IEEE TSP 51(2), 2003), exact to 1e-11 of the largest value.
"""

from functools import lru_cache

import numpy as np
from scipy import fft

from mmlib.covarep.conventions import windows

REACH = 6  # coarse bins on each side that enter the sum
BLOCK = 16  # coarse bins interpolated by one product
SHAPE = np.pi * 2 * REACH * 0.75  # of the Kaiser-Bessel kernel, for frames of half the transform


def kernel(offset: np.ndarray) -> np.ndarray:
    """Kaiser-Bessel weight of a coarse bin at a distance of `offset` bins."""
    return np.i0(SHAPE * np.sqrt(np.maximum(1 - (offset / REACH) ** 2, 0))) * (
        np.abs(offset) <= REACH
    )


@lru_cache(maxsize=32)
def compensation(length: int, coarse: int) -> np.ndarray:
    """Factors (n,) that undo the kernel's effect on the samples of a centred frame."""
    offset = (np.arange(length) - length // 2) / coarse
    root = np.sqrt(SHAPE**2 - (2 * np.pi * REACH * offset) ** 2)
    return root / (2 * REACH * np.sinh(root))


@lru_cache(maxsize=32)
def weights(step: int, dtype: np.dtype) -> np.ndarray:
    """Matrix from coarse bins -REACH .. BLOCK + REACH to the BLOCK * step fine bins from 0."""
    coarse = np.arange(-REACH, BLOCK + REACH + 1)
    return kernel(np.arange(BLOCK * step) / step - coarse[:, None]).astype(dtype)


@lru_cache(maxsize=128)
def around(coarse: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Stored bins that equal bins -REACH .. blocks * BLOCK + REACH, and the imaginary part's sign.

    Bins below 0 and above half the rate are mirror images of stored ones.
    """
    bins = np.arange(-REACH, blocks * BLOCK + REACH + 1)
    source = np.abs(bins) % coarse
    sign = np.where((bins < 0) ^ (source > coarse // 2), -1, 1).astype(np.int8)
    return np.minimum(source, coarse - source), sign


@lru_cache(maxsize=128)
def coarseness(length: int, points: int) -> int:
    """Largest divisor of `points` that leaves a transform of twice the frame or longer, else 1."""
    return next(d for d in range(max(points // (2 * length), 1), 0, -1) if points % d == 0)


def power_spectrum(frames: np.ndarray, points: int, top: int) -> np.ndarray:
    """|DFT of `points` points|^2 of frames (f, n), bins 0 .. top - 1 (at most points / 2).

    Computed in the frames' precision. Give few frames at a time, for the processor's cache.
    """
    length = frames.shape[1]
    step = coarseness(length, points)
    if step == 1:
        spectrum = fft.rfft(frames, points, axis=1)[:, :top]
        return spectrum.real**2 + spectrum.imag**2
    coarse, half = points // step, length // 2
    shape = compensation(length, coarse).astype(frames.dtype)
    centred = np.zeros((len(frames), coarse), frames.dtype)
    np.multiply(frames[:, half:], shape[half:], out=centred[:, : length - half])
    np.multiply(frames[:, :half], shape[:half], out=centred[:, coarse - half :])
    spectrum = fft.rfft(centred, axis=1)
    mirrored, sign = around(coarse, -(-top // (BLOCK * step)))
    total = 0
    for part in (spectrum.real.take(mirrored, axis=1), spectrum.imag.take(mirrored, axis=1) * sign):
        pieces = windows(part.astype(frames.dtype, copy=False), BLOCK + 2 * REACH + 1, BLOCK)
        pieces = pieces.reshape(-1, BLOCK + 2 * REACH + 1)
        fine = (pieces @ weights(step, frames.dtype)).reshape(len(frames), -1)
        total += np.multiply(fine, fine, out=fine)
    return total[:, :top]
