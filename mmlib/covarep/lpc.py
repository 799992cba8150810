"""Linear prediction over many frames at once, and the overlap-added residual."""

from collections.abc import Iterator

import numpy as np

from mmlib.covarep.conventions import CovarepError, windows

BATCH = 64  # frames at once; more would not fit the processor's cache
BLOCK = 16  # output samples of one matrix product
MANY = 4096  # blocks of a frame at once; after a pause a frame may last minutes


def levinson(r: np.ndarray) -> np.ndarray:
    """Prediction error filters A (f, p + 1), A[:, 0] = 1, from autocorrelations r (f, p + 1).

    Levinson-Durbin recursion, in all frames at once; a frame of zeros gives NaN.
    """
    r = np.ascontiguousarray(r.T)  # (p + 1, f): the long axis last is faster
    a = np.zeros_like(r)
    a[0] = 1
    error = r[0].copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        for k in range(1, len(r)):
            reflection = -np.einsum("kf,kf->f", a[:k], r[k:0:-1]) / error
            a[1 : k + 1] += reflection * a[k - 1 :: -1]
            error *= 1 - reflection**2
    return a.T


def autocorrelation(frames: np.ndarray, order: int) -> np.ndarray:
    """Autocorrelation (f, order + 1) of frames (f, n) at lags 0..order: sums of products."""
    n = frames.shape[1]
    r = np.zeros((len(frames), order + 1))
    for k in range(min(order + 1, n)):
        r[:, k] = np.vecdot(frames[:, : n - k], frames[:, k:])
    return r


def lpc(frames: np.ndarray, order: int) -> np.ndarray:
    """Prediction error filters (f, order + 1) by the autocorrelation method.

    Frames (f, n) may be zero-padded on the right: A does not depend on the scale of r.
    """
    return levinson(autocorrelation(frames, order))


def prediction_error(frames: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Each frame (f, n) filtered by its own A (f, p + 1) from zero state, same length.

    BLOCK outputs at a time are a product with a small Toeplitz matrix of the filter.
    """
    count, n = frames.shape
    order, blocks = a.shape[1] - 1, -(-n // BLOCK)
    led = np.zeros((count, order + blocks * BLOCK))
    led[:, order : order + n] = frames
    pieces = windows(led, BLOCK + order, BLOCK)
    taps = np.zeros((count, order + 2 * BLOCK - 1))
    taps[:, BLOCK - 1 : BLOCK + order] = a[:, ::-1]
    toeplitz = windows(taps, BLOCK + order)[:, ::-1]
    toeplitz, error = np.ascontiguousarray(toeplitz).mT, np.empty((count, blocks, BLOCK))
    with np.errstate(invalid="ignore"):  # filters of silent frames are NaN
        for part in batches(blocks, MANY):
            np.matmul(np.ascontiguousarray(pieces[:, part]), toeplitz, out=error[:, part])
    return error.reshape(count, -1)[:, :n]


def batches(n: int, size: int = BATCH) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n)."""
    return (slice(a, min(a + size, n)) for a in range(0, n, size))


def residual(
    wave: np.ndarray, window: int, shift: int, order: int, predictor: np.ndarray | None = None
) -> np.ndarray:
    """LPC residual (n,) of `wave`, overlap-added from frames, scaled to a largest |value| of 1.

    Frames (window + 1 samples every `shift`, Hann with zero ends) keep their energy. Filters are
    those of `predictor`, by default the wave. NaN under all-zero frames. CovarepError if too short.
    """
    if len(wave) < window + 2:
        raise CovarepError(f"recording of {len(wave)} samples: shorter than one frame of {window}")
    taper = np.hanning(window + 1)
    count = len(range(0, len(wave) - window - 1, shift))
    frames, known = (
        windows(v, window + 1, shift)[:count]  # (f, n), without a copy
        for v in (wave, wave if predictor is None else predictor)
    )
    r = np.concatenate([autocorrelation(known[part] * taper, order) for part in batches(count)])
    a = levinson(r)
    hops = -(-(window + 1) // shift)
    total = np.zeros((count + hops - 1, shift))  # (hops, samples), without the wave's end
    for part in batches(count):
        tapered = frames[part] * taper
        error = prediction_error(tapered, a[part])
        with np.errstate(invalid="ignore", divide="ignore"):
            gain = np.sqrt(np.vecdot(tapered, tapered) / np.vecdot(error, error))
        pieces = np.zeros((len(error), hops * shift))
        np.multiply(error, gain[:, None], out=pieces[:, : window + 1])
        for hop, piece in enumerate(np.split(pieces, hops, axis=1), part.start):
            total[hop : hop + len(error)] += piece
    result = np.zeros(len(wave))
    covered = min(total.size, len(wave))
    result[:covered] = total.ravel()[:covered]
    largest = max(np.nanmax(result, initial=0), -np.nanmin(result, initial=0))
    result /= largest or 1
    return result
