"""Glottal inverse filtering, pitch-synchronous: IAIF.

P. Alku, "Glottal wave analysis with pitch synchronous iterative adaptive inverse filtering",
Speech Communication 11, 1992.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy import fft, signal

from mmlib.covarep.conventions import CovarepError, hann, rnd
from mmlib.covarep.lpc import lpc, prediction_error

LEAK = 0.99  # of the integrator that undoes lip radiation


def similar(lengths: np.ndarray, budget: int = 30_000) -> Iterator[np.ndarray]:
    """Row numbers in groups of similar length, of at most `budget` samples when padded."""
    order = np.argsort(lengths, kind="stable")
    while len(order):
        longest = lengths[order[: max(1, budget // max(lengths[order[0]], 1))]]
        fits = longest * np.arange(1, len(longest) + 1) <= budget
        size = max(1, int(fits.sum()))
        yield order[:size]
        order = order[size:]


def cycle_lengths(gci: np.ndarray) -> np.ndarray:
    """Samples (f,) since the previous GCI; the first as the second. CovarepError under 2 GCIs."""
    if len(gci) < 2:
        raise CovarepError(f"{len(gci)} glottal closures found: at least 2 are needed")
    periods = np.diff(gci)
    return np.concatenate([periods[:1], periods])


@lru_cache(maxsize=8)
def highpass_taps(sample_rate: int) -> np.ndarray:
    """Taps of a linear-phase least-squares high-pass, stop 0-40 Hz, pass from 70 Hz; odd count."""
    order = rnd(300 * sample_rate / 16000)
    order += order % 2
    edges = [0, 40, 70, sample_rate / 2]
    return signal.firls(order + 1, edges, [0, 0, 1, 1], weight=[1, 1], fs=sample_rate)


def without_delay(frames: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Frames (f, n) filtered by symmetric taps, the delay removed, same length."""
    n, half = frames.shape[1], len(taps) // 2
    points = fft.next_fast_len(n + half, real=True)  # what wraps around is cut off with the delay
    spectrum = fft.rfft(frames, points, axis=1)
    spectrum *= fft.rfft(taps, points)
    return fft.irfft(spectrum, points, axis=1)[:, half : half + n]


def hann_rows(lengths: np.ndarray, width: int) -> np.ndarray:
    """Hann windows of several lengths, zero at both ends, as rows (f, width); zero past them."""
    windows = np.zeros((len(lengths), width))
    for row, length in zip(windows, lengths, strict=True):
        row[:length] = hann(length)
    return windows


def inverse_filter(
    frames: np.ndarray, lengths: np.ndarray, tract: int, source: int
) -> tuple[np.ndarray, np.ndarray]:
    """Glottal flow and its derivative (f, n) of high-passed frames, zero after their lengths.

    Vocal tract and source are estimated in turn, twice; each estimate is removed from the frame
    before the other is made. A linear ramp up to the first sample avoids a step at the start.
    """
    ramp = np.linspace(-1, 1, tract + 1) * frames[:, :1]
    led = np.concatenate([ramp, frames], axis=1)
    window = hann_rows(lengths, frames.shape[1])
    within = np.arange(frames.shape[1]) < lengths[:, None]

    def integrated(error: np.ndarray) -> np.ndarray:
        return signal.lfilter([1.0], [1.0, -LEAK], error, axis=1)

    def predictor(error: np.ndarray, order: int) -> np.ndarray:
        return lpc(error[:, tract + 1 :] * window, order)

    tilt = predictor(led, 1)
    first_tract = predictor(prediction_error(led, tilt), tract)
    smooth = integrated(led)  # integration and filter can be exchanged
    glottis = predictor(prediction_error(smooth, first_tract), source)
    second_tract = predictor(prediction_error(smooth, glottis), tract)
    derivative = prediction_error(led, second_tract)
    flow = integrated(derivative)
    return flow[:, tract + 1 :] * within, derivative[:, tract + 1 :] * within


def glottal_flow(
    wave: np.ndarray, gci: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Glottal flow and its derivative (n,) of a wave; zero outside the glottal cycles.

    Frames of two periods around each GCI (one sample early, as in the original) are Hann-windowed,
    high-passed, inverse filtered and added up. After a pause the frame is as long as the pause.
    """
    source, tract = 2 * rnd(sample_rate / 4000), 2 * rnd(sample_rate / 2000) + 4
    taps = highpass_taps(sample_rate)
    period = cycle_lengths(gci)
    start = np.maximum(gci - 1 - period, 0)
    lengths = np.minimum(gci - 1 + period, len(wave) - 1) + 1 - start
    used = np.flatnonzero(lengths > tract)
    flow, derivative = np.zeros(len(wave)), np.zeros(len(wave))
    for group in similar(lengths[used]):
        rows = used[group]
        width = lengths[rows].max()
        frames = hann_rows(lengths[rows], width)
        for row, a, n in zip(frames, start[rows], lengths[rows], strict=True):
            row[:n] *= wave[a : a + n]
        frames = without_delay(frames, taps) * (np.arange(width) < lengths[rows, None])
        parts = inverse_filter(frames, lengths[rows], tract, source)
        for total, part in zip((flow, derivative), parts, strict=True):
            for row, a, n in zip(part, start[rows], lengths[rows], strict=True):
                total[a : a + n] += row[:n]
    return flow, derivative
