"""Parameters of each glottal cycle: NAQ, QOQ, H1-H2 and PSP.

NAQ: P. Alku, T. Backstrom, E. Vilkman, JASA 112, 2002. QOQ: T. Hacki, 1989. H1-H2: H. Hanson, 1997
(here of the flow derivative). PSP: P. Alku, H. Strik, E. Vilkman, Speech Communication 22, 1997.
All work on cycles f of any length at once: row i of the index holds cycle i, and what is past its
end is masked.
"""

import numpy as np
from scipy import fft

from mmlib.covarep.conventions import decibel, hamming, nearest, peaks, rnd
from mmlib.covarep.iaif import cycle_lengths, similar
from mmlib.covarep.lpc import batches
from mmlib.covarep.zoom import power_spectrum

SLOWEST, FASTEST = 20, 500  # Hz; other cycles get 0
FIRST_BINS = 96
FEW = 64  # cycles whose spectra stay in the processor's cache


def pulse_shape(
    flow: np.ndarray,
    derivative: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    period: np.ndarray,
    sample_rate: int,
) -> tuple[np.ndarray, np.ndarray]:
    """NAQ and QOQ (f,) of the flow pulses start..end (samples, inclusive), each 0..1 or so.

    NAQ: pulse height over (steepest flow change x period). QOQ: the part of the period in which
    the flow is above half its height. The pulse is measured from the line through its ends.
    """
    length = end - start + 1
    k = np.arange(length.max())
    index = np.minimum(start[:, None] + k, len(flow) - 1)
    first, last = flow[start, None], flow[end, None]
    pulse = flow[index] - (first + (last - first) * k / (length[:, None] - 1))  # (f, n)
    pulse[k >= length[:, None]] = -np.inf
    top, rows = pulse.argmax(axis=1), np.arange(len(pulse))
    height = pulse[rows, top]

    guard = rnd(0.0005 * sample_rate)
    reach = end + np.where(end + guard > len(flow) - 1, 0, guard)
    wide = start[:, None] + np.arange((reach - start).max() + 1)
    slope = np.abs(derivative[np.minimum(wide, len(flow) - 1)])
    steepest = np.where(wide <= reach[:, None], slope, 0).max(axis=1)

    low = pulse <= 0.5 * height[:, None]
    left_stop = (low | (k < 3)) & (k <= top[:, None])
    right_stop = (low | (k >= length[:, None] - 3)) & (k >= top[:, None])
    left = len(k) - 1 - left_stop[:, ::-1].argmax(axis=1)
    right = right_stop.argmax(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return height / (steepest * period), (right - left) / period


def thin(
    row: np.ndarray, position: np.ndarray, height: np.ndarray, width: np.ndarray
) -> tuple[np.ndarray, int]:
    """Which peaks (sorted by row, then position) stay when none may be within `width` of another.

    In each round all close neighbours of the same row are found, and the lower one of each pair
    (the right one of equals) goes; rounds are simultaneous, so the order matters. Also returns
    the number of rounds.
    """
    kept, rounds = np.arange(len(row)), 0
    while True:
        close = (np.diff(row[kept]) == 0) & (np.diff(position[kept]) <= width[row[kept[:-1]]])
        if not close.any():
            return kept, rounds
        left = np.flatnonzero(close)
        lower = np.where(height[kept[left]] < height[kept[left + 1]], left, left + 1)
        kept, rounds = np.delete(kept, lower), rounds + 1


def harmonic_levels(power: np.ndarray, f0: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Power at the thinned peaks nearest to f0 and 2 f0 (2, f), peaks found (f,), and rounds.

    Bins of `power` are 1 Hz and numbered from 1, so a harmonic is sought 1 Hz low.
    """
    row, position = peaks(power)
    kept, rounds = thin(row, position, power[row, position], f0 / 2)
    row, position = row[kept], position[kept]
    peak_counts = np.bincount(row, minlength=len(f0))
    if not len(row):
        return np.zeros((2, len(f0))), peak_counts, rounds
    rows = np.arange(len(f0))
    chosen = [position[nearest(row, position + 1, rows, h * f0)] for h in (1, 2)]
    return power[rows, chosen], peak_counts, rounds


def h1_h2(
    derivative: np.ndarray, gci: np.ndarray, period: np.ndarray, sample_rate: int
) -> np.ndarray:
    """Level of the first harmonic less that of the second (f,), dB; 0 with fewer than 5 peaks.

    Of the flow derivative in a Hamming window of three periods, at every whole Hz.
    """
    half = rnd(1.5 * period)
    start, stop = np.maximum(gci - half, 0), np.minimum(gci + half, len(derivative) - 1) + 1
    frames = np.zeros((len(gci), (stop - start).max()))
    for frame, a, b in zip(frames, start, stop, strict=True):
        frame[: b - a] = derivative[a:b] * hamming(b - a)
    f0 = sample_rate / period
    # Seven harmonics are enough, unless the missing right neighbour of the last peak could have
    # reached the second harmonic: thinning carries it by half a harmonic a round.
    top = min(int(7 * f0.max()), sample_rate // 2)
    levels, peak_counts, rounds = harmonic_levels(power_spectrum(frames, sample_rate, top), f0)
    unsure = np.flatnonzero((peak_counts < 5) | (rounds > 6))
    if len(unsure):
        power = np.abs(fft.rfft(frames[unsure], sample_rate, axis=1)) ** 2
        power = np.concatenate([power, power[:, (sample_rate - 1) // 2 : 0 : -1]], axis=1)
        levels[:, unsure], peak_counts[unsure], _ = harmonic_levels(power, f0[unsure])
    levels = decibel(2**15 * np.sqrt(levels))
    return np.where(peak_counts >= 5, levels[0] - levels[1], 0.0)


def parabola(level: np.ndarray, tolerance: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Coefficient a (f,) of level[k] ~ a k^2 + b over k < n, at the first n that fits too badly.

    Levels (f, n) in dB; n grows from 3 until the squared error is `tolerance` of the squares.
    Also returns whether it came to that.
    """
    k2 = np.arange(level.shape[1], dtype=float) ** 2
    n, s2, s4 = np.arange(1, len(k2) + 1), np.cumsum(k2), np.cumsum(k2**2)
    x, x2, xk = (np.cumsum(v, axis=1) for v in (level, level**2, level * k2))
    with np.errstate(invalid="ignore", divide="ignore"):
        a = (n * xk - x * s2) / (n * s4 - s2**2)
        b = (x - a * s2) / n
        error = (x2 - a * xk - b * x) / x2
    stop = ~(error < tolerance)
    stop[:, :2] = False
    stopped = stop.any(axis=1)
    return np.where(stopped, a[np.arange(len(a)), stop.argmax(axis=1)], a[:, -1]), stopped


def psp(
    flow: np.ndarray, start: np.ndarray, end: np.ndarray, sample_rate: int, bins: int = FIRST_BINS
) -> np.ndarray:
    """Parabolic spectral parameter (f,): decay of the pulse spectrum over that of a flat pulse.

    Spectra of 2048 points in dB, the pulse scaled to 0..1, the flat one of unit sum. The first
    `bins` nearly always do, else all of them are used.
    """
    period = end - start
    k = np.arange(period.max() + 1)
    within = k <= period[:, None]
    pulse = flow[np.minimum(start[:, None] + k, len(flow) - 1)]
    pulse = pulse - np.where(within, pulse, np.inf).min(axis=1, keepdims=True)
    pulse[~within] = 0
    with np.errstate(invalid="ignore"):
        pulse /= pulse.max(axis=1, keepdims=True)
    periods, which = np.unique(period, return_inverse=True)
    width, angle = np.minimum(periods, 2047)[:, None], np.pi * np.arange(1, bins) / 2048
    flat = np.sin(width * angle) / (periods[:, None] * np.sin(angle))  # but at 0 Hz
    flat = np.concatenate([width / periods[:, None], flat], axis=1)
    level = decibel(np.sqrt(power_spectrum(pulse, 2048, bins)))
    (a, stopped), (b, flat_stopped) = parabola(level), parabola(decibel(flat))
    ratio = a / b[which]
    every = int((sample_rate / 2 - 1) * 2047 / (sample_rate - 1)) + 1
    unsure = np.flatnonzero(~(stopped & flat_stopped[which]))
    if bins < every and len(unsure):
        ratio[unsure] = psp(flow, start[unsure], end[unsure], sample_rate, every)
    return ratio


def glottal_parameters(
    flow: np.ndarray, derivative: np.ndarray, gci: np.ndarray, sample_rate: int
) -> np.ndarray:
    """NAQ, QOQ, H1-H2 (dB) and PSP of each glottal closure, (f, 4).

    Zero for cycles slower than 20 Hz or faster than 500 Hz, such as the first after a pause, and
    PSP also for the first of the file.
    """
    period = cycle_lengths(gci)
    start = np.concatenate([[0], gci[:-1]])
    values = np.zeros((len(gci), 4))
    pitch = sample_rate / period
    usable = np.flatnonzero((pitch > SLOWEST) & (pitch < FASTEST))
    for group in similar((gci - start)[usable]):
        rows = usable[group]
        values[rows, 0], values[rows, 1] = pulse_shape(
            flow, derivative, start[rows], gci[rows], period[rows], sample_rate
        )
        for part in batches(len(rows), FEW):
            few = rows[part]
            values[few, 2] = h1_h2(derivative, gci[few], period[few], sample_rate)
        values[rows, 3] = psp(flow, start[rows], gci[rows], sample_rate)
    values[0, 3] = 0
    return values
