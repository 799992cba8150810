"""Phase distortion: its mean (HMPDM) and deviation (HMPDD) over a few periods.

G. Degottex, D. Erro, "A uniform phase representation for the harmonic model in speech synthesis
applications", EURASIP JASMP 2014.

As in the original the frames are taken as four per period, and the deviation's first and last 9
frames (0.14 s) hang on rounding errors.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import fft, ndimage

from .conventions import interpolate, wrap
from .envelope import warped_cepstrum
from .sinusoids import FLOOR, Sinusoids

BINS = 1024
HALF = BINS // 2
LEAST = 73  # frames, what the longest smoothing needs
OVERLAP = 32  # frames, more than any smoothing reaches
MEANS, DEVIATIONS = 25, 13  # columns


def frequencies(sample_rate: int) -> np.ndarray:
    """Of the 513 bins, Hz."""
    return np.arange(HALF + 1) * sample_rate / BINS


def between_harmonics(values: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring values (f, k) and the share of the right one, at fractional columns (f, k)."""
    left = np.minimum(position.astype(np.int64), values.shape[1] - 2)
    row = np.arange(len(values))[:, None]
    return values[row, left], values[row, left + 1], position - left


def vocal_tract_phase(sinusoids: Sinusoids, sample_rate: int) -> np.ndarray:
    """Minimum phase (f, 513) of the harmonics' amplitudes, joined by lines in log amplitude.

    Constant below the first harmonic and above the last.
    """
    level = np.log(np.maximum(sinusoids.amplitude, FLOOR))
    position = frequencies(sample_rate) / sinusoids.step[:, None]
    here, there, share = between_harmonics(level, np.clip(position, 1, sinusoids.count[:, None]))
    # At the last harmonic itself the share is 0 and the right neighbour may not exist.
    envelope = here + np.where(share > 0, share * (there - here), 0)
    cepstrum = fft.irfft(envelope, BINS, axis=1)
    cepstrum[:, 1:HALF] *= 2
    cepstrum[:, HALF + 1 :] = 0
    return fft.rfft(cepstrum, axis=1).imag


def phase_distortion(
    sinusoids: Sinusoids, sample_rate: int, random: np.random.Generator
) -> np.ndarray:
    """Phase differences of neighbouring harmonics less that of the first, (f, 513), -pi..pi.

    Vocal tract removed; linear between harmonics; 0 below the first. Above the last harmonic
    there is none to compare with: the original draws the phase there at random, and so do we.
    """
    harmonic = np.arange(sinusoids.phase.shape[1])
    row, h = np.nonzero((harmonic > 0) & (harmonic <= sinusoids.count[:, None]))
    tract = vocal_tract_phase(sinusoids, sample_rate)
    position = h * sinusoids.step[row] * BINS / sample_rate
    left = np.minimum(position.astype(np.int64), HALF - 1)
    here, there = tract[row, left], tract[row, left + 1]
    removed = np.where(position <= HALF, here + (position - left) * (there - here), 0)
    phase = np.zeros((len(sinusoids.f0), len(harmonic) + 2))
    phase[row, h] = sinusoids.phase[row, h] - removed
    distortion = np.zeros(phase.shape)
    distortion[:, 1:] = wrap(np.diff(phase, axis=1) - phase[:, 1:2])
    distortion[:, 1] = 0
    rows = np.arange(len(phase))
    distortion[rows, sinusoids.count + 1] = random.uniform(-np.pi, np.pi, len(rows))
    here, there, share = between_harmonics(
        distortion, frequencies(sample_rate) / sinusoids.f0[:, None]
    )
    return wrap(here + share * wrap(there - here))


def both_ways(rows: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Zero-phase smoothing along the frames (f, k), odd extension at the ends.

    The symmetric filter applied forwards and backwards, as one: the taps with themselves.
    """
    twice = np.convolve(taps, taps)
    reach = len(taps) - 1
    first, last = 2 * rows[:1] - rows[reach:0:-1], 2 * rows[-1:] - rows[-2 : -reach - 2 : -1]
    extended = np.concatenate([first, rows, last])
    return ndimage.correlate1d(extended, twice, axis=0)[reach:-reach]


def median_of_nine(rows: np.ndarray) -> np.ndarray:
    """Running median over 9 frames (f, k), zeros beyond the ends, by a network of comparisons."""
    padded = np.pad(rows, ((4, 4), (0, 0)))
    p = [padded[i : i + len(rows)] for i in range(9)]

    def sort(*pairs):
        for i, j in pairs:
            p[i], p[j] = np.minimum(p[i], p[j]), np.maximum(p[i], p[j])

    triples = ((0, 1), (3, 4), (6, 7)), ((1, 2), (4, 5), (7, 8)), ((0, 1), (3, 4), (6, 7))
    for stage in triples:
        sort(*stage)
    # p holds three sorted triples. The median is that of the largest minimum, the middle median
    # and the smallest maximum.
    low = np.maximum(np.maximum(p[0], p[3]), p[6])
    high = np.minimum(np.minimum(p[2], p[5]), p[8])
    middle = np.maximum(np.minimum(p[1], p[4]), np.minimum(np.maximum(p[1], p[4]), p[7]))
    return np.maximum(np.minimum(low, middle), np.minimum(np.maximum(low, middle), high))


def mean_phase(distortion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine parts (f, k) of the phase distortion's mean over 25 frames, both ways."""
    box = np.full(25, 1 / 25)
    return both_ways(np.sin(distortion), box), both_ways(np.cos(distortion), box)


def deviation(distortion: np.ndarray) -> np.ndarray:
    """Circular standard deviation (f, k) around the running median, 9 frames both ways, rad."""
    hann = np.hanning(9) / np.hanning(9).sum()
    sine, cosine = (both_ways(median_of_nine(v(distortion)), hann) for v in (np.sin, np.cos))
    around = distortion - np.arctan2(sine, cosine)
    box = np.full(9, 1 / 9)
    length = np.hypot(both_ways(np.cos(around), box), both_ways(np.sin(around), box))
    # A constant phase has length 1 up to rounding: that is no deviation.
    return np.sqrt(-2 * np.log(np.where(length > 1 - 1e-14, 1.0, length)))


def bin_groups() -> np.ndarray:
    """First bin of each of the 25 groups that HMPDM averages: a Bezier curve's bend of 512 bins."""
    t = np.linspace(0, 1, 101)
    x, y = ((1 - t) ** 2 * 8 + 2 * t * (1 - t) * 25 + t**2 * end for end in (512, 25))
    scale = np.arange(1.0, HALF + 1)
    scale[8:] = np.interp(scale[8:], x, y)
    return np.flatnonzero(np.diff(np.floor(scale + 0.5), prepend=0))


def compress(sine: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """HMPDM (f, 25), rad: circular mean of the directions (f, 513) over each group of bins."""
    length = np.hypot(sine, cosine)
    length = np.where(length > 0, length, 1)
    first = bin_groups()
    parts = (np.add.reduceat((v / length)[:, :HALF], first, axis=1) for v in (sine, cosine))
    return np.arctan2(*parts)


def warp_deviation(values: np.ndarray, sample_rate: int) -> np.ndarray:
    """HMPDD (f, 13), ln rad: mel cepstrum of the deviation (f, 513)."""
    values = values.copy()
    values[:, 0] = values[:, 1]
    values[values == 0] = 0.001
    return warped_cepstrum(values, sample_rate, DEVIATIONS - 1)


def window_statistics(distortion: np.ndarray, sample_rate: int) -> np.ndarray:
    """HMPDM and HMPDD (f, 38) of the phase distortion (f, 513)."""
    means = compress(*mean_phase(distortion))
    return np.concatenate([means, warp_deviation(deviation(distortion), sample_rate)], axis=1)


def statistics(
    parts: Iterable[np.ndarray], total: int, sample_rate: int
) -> Iterator[np.ndarray]:
    """HMPDM and HMPDD, in pieces (f, 38), of phase distortions that come in parts (f, 513).

    The smoothing reaches no further than OVERLAP frames, so only these are kept from part to part.
    """
    window, start, done = np.zeros((0, HALF + 1)), 0, 0  # window: frames from `start` on
    for part in parts:
        window = np.concatenate([window, part])
        end = start + len(window)
        ready = total if end == total else end - OVERLAP
        if ready - start > OVERLAP:
            yield window_statistics(window, sample_rate)[done - start : ready - start]
            window, start, done = window[ready - OVERLAP - start :], ready - OVERLAP, ready


def to_grid(values: np.ndarray, time: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """HMPDM and HMPDD (f, 38) at the `wanted` times (s), NaN outside, by way of a 5 ms grid.

    The means are angles and go the shorter way round. The detour smooths a little where frames
    do not fall on multiples of 5 ms.
    """
    grid = 0.005 * np.arange(int(time[-1] / 0.005) + 1)
    grid = grid[(grid >= time[0]) & (grid <= time[-1])]
    for known, at in ((time, grid), (grid, wanted)):
        straight = np.concatenate([np.unwrap(values[:, :MEANS], axis=0), values[:, MEANS:]], axis=1)
        values = interpolate(known, straight, at)
        values[:, :MEANS] = wrap(values[:, :MEANS])
    return values
