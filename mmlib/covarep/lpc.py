"""Linear prediction over many frames at once, and the overlap-added residual."""

from collections.abc import Iterator

import numpy as np

BATCH = 128  # frames worked on together: they stay in the processor's cache


def levinson(r: np.ndarray) -> np.ndarray:
    """Prediction error filters A (f, p + 1), A[:, 0] = 1, from autocorrelations r (f, p + 1).

    Levinson-Durbin recursion in all frames together; a frame of zeros gives NaN.
    """
    a = np.zeros_like(r)
    a[:, 0] = 1
    error = r[:, 0].copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        for k in range(1, r.shape[1]):
            reflection = -np.vecdot(a[:, :k], r[:, k:0:-1]) / error
            a[:, 1 : k + 1] += reflection[:, None] * a[:, k - 1 :: -1][:, :k]
            error *= 1 - reflection**2
    return a


def lpc(frames: np.ndarray, order: int) -> np.ndarray:
    """Prediction error filters (f, order + 1) by the autocorrelation method.

    Frames (f, n) may be padded with zeros on the right: A does not depend on the scale of r.
    """
    n = frames.shape[1]
    r = np.zeros((len(frames), order + 1))
    for k in range(min(order + 1, n)):
        r[:, k] = np.vecdot(frames[:, : n - k], frames[:, k:])
    return levinson(r)


def prediction_error(frames: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Each frame (f, n) through its own filter A (f, p + 1), from zero state, same length."""
    error = frames * a[:, :1]
    for k in range(1, min(a.shape[1], frames.shape[1])):
        error[:, k:] += a[:, k, None] * frames[:, :-k]
    return error


def batches(n: int, size: int = BATCH) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n)."""
    return (slice(a, min(a + size, n)) for a in range(0, n, size))


def residual(
    wave: np.ndarray, window: int, shift: int, order: int, predictor: np.ndarray | None = None
) -> np.ndarray:
    """LPC residual (n,) of `wave`, overlap-added from equal-energy frames, largest |value| 1.

    Frames of window + 1 samples every `shift`, zero-ended Hann. The filters come from `predictor`
    (default: the wave itself). Samples under an all-zero frame are NaN.
    """
    taper = np.hanning(window + 1)
    starts = np.arange(0, len(wave) - window - 1, shift)
    total = np.zeros(len(wave))
    for part in batches(len(starts)):
        index = starts[part, None] + np.arange(window + 1)  # (f, n)
        frames = wave[index] * taper
        a = lpc(frames if predictor is None else predictor[index] * taper, order)
        error = prediction_error(frames, a)
        with np.errstate(invalid="ignore", divide="ignore"):
            gain = np.sqrt(np.vecdot(frames, frames) / np.vecdot(error, error))
        error *= gain[:, None]
        for start, piece in zip(starts[part], error, strict=True):
            total[start : start + window + 1] += piece
    largest = np.nanmax(np.abs(total), initial=0)
    return total / largest if largest > 0 else total
