"""Parameters of each glottal cycle: NAQ, QOQ, H1-H2 and PSP.

NAQ: P. Alku, T. Backstrom, E. Vilkman, JASA 112, 2002. QOQ: T. Hacki, 1989. H1-H2: H. Hanson, 1997
(here of the flow derivative). PSP: P. Alku, H. Strik, E. Vilkman, Speech Communication 22, 1997.
All functions work on many cycles f of different lengths at once: row i of an index array holds
cycle i, and samples past its end are masked.
"""

import numpy as np
from scipy import fft

from mmlib.covarep.conventions import decibel, hamming, nearest, peaks, rnd
from mmlib.covarep.iaif import cycle_lengths, similar
from mmlib.covarep.lpc import batches
from mmlib.covarep.zoom import power_spectrum

SLOWEST, FASTEST = 20, 500  # Hz; other cycles get 0
FIRST_BINS = 96  # of the spectrum, which nearly always suffice for PSP
FEW = 64  # cycles at once; the spectra of more would not fit the processor's cache


def pulse_shape(
    flow: np.ndarray,
    derivative: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    period: np.ndarray,
    sample_rate: int,
) -> tuple[np.ndarray, np.ndarray]:
    """NAQ and QOQ (f,) of the flow pulses start..end (samples, inclusive), each roughly 0..1.

    NAQ is the pulse height over (steepest flow change x period). QOQ is the share of the period in
    which the flow is above half the height. Heights are measured from the line between the ends.
    """
    length = end - start + 1
    k = np.arange(length.max())
    index = np.minimum(start[:, None] + k, len(flow) - 1)
    first, last = flow[start, None], flow[end, None]
    pulse = flow[index] - (first + (last - first) * k / (length[:, None] - 1))  # (f, n)
    rows = np.arange(len(pulse))
    pulse[rows, length - 1] = 0  # exactly, or a pulse below its line has its top there by rounding
    pulse[k >= length[:, None]] = -np.inf
    top = pulse.argmax(axis=1)
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
    """Indices of the peaks that stay when none may be within `width` of another, and the rounds.

    Peaks are sorted by row, then position. A round finds all close neighbours in a row and removes
    the lower one of each pair (of equals the right one), at once: pair by pair would differ.
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
    """Power at the thinned peaks nearest to f0 and 2 f0 (2, f), number of peaks (f,), and rounds.

    Bins of `power` are 1 Hz wide and numbered from 1, so a harmonic is looked for 1 Hz too low.
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
    """H1-H2 (f,) in dB: level of the first harmonic minus that of the second; 0 under 5 peaks.

    The spectrum is that of the flow derivative in a Hamming window of three periods, at whole Hz.
    """
    half = rnd(1.5 * period)
    start, stop = np.maximum(gci - half, 0), np.minimum(gci + half, len(derivative) - 1) + 1
    frames = np.zeros((len(gci), (stop - start).max()))
    for frame, a, b in zip(frames, start, stop, strict=True):
        frame[: b - a] = derivative[a:b] * hamming(b - a)
    f0 = sample_rate / period
    # Seven harmonics are enough after up to 6 rounds: the last peak lacks its right neighbour, and
    # each round of thinning carries that error at most half a harmonic further down.
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
    """Coefficient a (f,) of the fit level[k] = a k^2 + b over k < n, and whether the fit stopped.

    Levels (f, n) in dB. n grows from 3 and stops at the first fit whose squared error reaches
    `tolerance` of the sum of squares; without such an n, all bins are fitted.
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

    Spectra have 2048 points, in dB; the pulse is scaled to 0..1, the flat one has unit sum. Where
    the fit does not stop within the first `bins`, all bins are used.
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
    flat = np.sin(width * angle) / (periods[:, None] * np.sin(angle))  # except at 0 Hz
    flat[width * np.arange(1, bins) % 2048 == 0] = 0  # exactly: its level in dB counts
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
    """NAQ, QOQ, H1-H2 (dB) and PSP (f, 4), one row a glottal closure.

    They are 0 for cycles of 20 Hz or slower (the first after a pause, say) and of 500 Hz or faster.
    PSP is also 0 for the first cycle of the file.
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
