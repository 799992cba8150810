"""Phase distortion: its mean (HMPDM) and deviation (HMPDD) over a few periods.

G. Degottex, D. Erro, "A uniform phase representation for the harmonic model in speech synthesis
applications", EURASIP JASMP 2014.

As in the original the frames are taken as four per period, and the deviation's first and last 9
frames (0.14 s) hang on rounding errors.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy import fft

from mmlib.covarep.conventions import interpolate, wrap
from mmlib.covarep.envelope import warped_cepstrum
from mmlib.covarep.lpc import batches
from mmlib.covarep.sinusoids import FLOOR, Sinusoids

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


def running_sum(rows: np.ndarray, n: int) -> np.ndarray:
    """Sums of n consecutive rows, from sums of half as many.

    Not from cumulative sums, whose rounding errors would pass for a deviation.
    """
    if n == 1:
        return rows
    half = running_sum(rows, n // 2)
    pairs = half[: -(n // 2)] + half[n // 2 :]
    return pairs[:-1] + rows[n - 1 :] if n % 2 else pairs


def box(n: int) -> Callable[[np.ndarray], np.ndarray]:
    """Mean over n frames, without the ends."""
    return lambda rows: running_sum(rows, n) / n


def hann(rows: np.ndarray) -> np.ndarray:
    """Hann-weighted mean over 9 frames, of which the outer two count nothing; without the ends."""
    taps, size = np.hanning(9) / 4, len(rows) - 8
    sides = [taps[i] * (rows[i : i + size] + rows[8 - i : 8 - i + size]) for i in range(1, 4)]
    return taps[4] * rows[4:-4] + sum(sides)


def both_ways(
    rows: np.ndarray, smooth: Callable[[np.ndarray], np.ndarray], reach: int
) -> np.ndarray:
    """Smoothing along the frames (f, k), forwards and backwards, odd extension by `reach`."""
    first, last = 2 * rows[:1] - rows[reach:0:-1], 2 * rows[-1:] - rows[-2 : -reach - 2 : -1]
    return smooth(smooth(np.concatenate([first, rows, last])))


def median_of_nine(rows: np.ndarray) -> np.ndarray:
    """Running median over 9 frames (f, k), zeros beyond the ends.

    Three neighbours are sorted, then three such triples compared: the median is that of the
    largest minimum, the middle median and the smallest maximum.
    """
    padded = np.pad(rows, ((4, 4), (0, 0)))
    a, b, c = padded[:-2], padded[1:-1], padded[2:]
    low, high = np.minimum(a, b), np.maximum(a, b)
    triple = np.minimum(low, c), np.maximum(low, np.minimum(high, c)), np.maximum(high, c)
    least, centre, most = ([v[i : i + len(rows)] for i in (0, 3, 6)] for v in triple)
    largest_least = np.maximum(np.maximum(*least[:2]), least[2])
    smallest_most = np.minimum(np.minimum(*most[:2]), most[2])
    return middle(largest_least, middle(*centre), smallest_most)


def middle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Median of three."""
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def direction(sine: np.ndarray, cosine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of the angle of (cosine, sine); 0 and 1 for a vector of no length."""
    length = np.sqrt(sine * sine + cosine * cosine)
    known = length > 0
    length[~known] = 1
    return sine / length, np.where(known, cosine / length, 1)


def mean_direction(sine: np.ndarray, cosine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine (f, k) of the mean phase over 25 frames, both ways."""
    return direction(both_ways(sine, box(25), 24), both_ways(cosine, box(25), 24))


def deviation(sine: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Circular standard deviation (f, k), rad, around the running median, 9 frames both ways."""
    trend = direction(*(both_ways(median_of_nine(v), hann, 8) for v in (sine, cosine)))
    around_sine = sine * trend[1] - cosine * trend[0]
    around_cosine = cosine * trend[1] + sine * trend[0]
    s, c = both_ways(around_sine, box(9), 8), both_ways(around_cosine, box(9), 8)
    square = s * s + c * c
    # A constant phase has length 1 up to rounding: that is no deviation.
    return np.sqrt(-np.log(np.where(square > 1 - 2e-14, 1.0, square)))


def bin_groups() -> np.ndarray:
    """First bin of each of the 25 groups that HMPDM averages: a Bezier curve's bend of 512 bins."""
    t = np.linspace(0, 1, 101)
    x, y = ((1 - t) ** 2 * 8 + 2 * t * (1 - t) * 25 + t**2 * end for end in (512, 25))
    scale = np.arange(1.0, HALF + 1)
    scale[8:] = np.interp(scale[8:], x, y)
    return np.flatnonzero(np.diff(np.floor(scale + 0.5), prepend=0))


def compress(sine: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """HMPDM (f, 25), rad: circular mean of the directions (f, 513) over each group of bins."""
    first = bin_groups()
    return np.arctan2(*(np.add.reduceat(v[:, :HALF], first, axis=1) for v in (sine, cosine)))


def warp_deviation(values: np.ndarray, sample_rate: int) -> np.ndarray:
    """HMPDD (f, 13), ln rad: mel cepstrum of the deviation (f, 513)."""
    values = np.where(values == 0, 0.001, values)
    values[:, 0] = values[:, 1]
    return warped_cepstrum(values, sample_rate, DEVIATIONS - 1)


def window_statistics(distortion: np.ndarray, sample_rate: int) -> np.ndarray:
    """HMPDM and HMPDD (f, 38) of the phase distortion (f, 513)."""
    results = np.empty((3, *distortion.shape))
    for bins in batches(distortion.shape[1], 64):  # few enough to stay in the processor's cache
        part = np.ascontiguousarray(distortion[:, bins])
        sine, cosine = np.sin(part), np.cos(part)
        results[0, :, bins], results[1, :, bins] = mean_direction(sine, cosine)
        results[2, :, bins] = deviation(sine, cosine)
    means = compress(results[0], results[1])
    return np.concatenate([means, warp_deviation(results[2], sample_rate)], axis=1)


def statistics(parts: Iterable[np.ndarray], total: int, sample_rate: int) -> Iterator[np.ndarray]:
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
