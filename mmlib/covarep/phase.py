"""Phase distortion: its mean (HMPDM) and deviation (HMPDD) over a few periods.

G. Degottex, D. Erro, "A uniform phase representation for the harmonic model in speech synthesis
applications", EURASIP JASMP 2014.

As in the original, frames are treated as four per period. In the first and last 9 frames (0.14 s)
HMPDD cannot be compared with the original's: the trend of changing phases is a vector of length 0
there. The original takes its angle from rounding errors; here the angle is 0.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from scipy import fft

from mmlib.covarep.conventions import interpolate, wrap
from mmlib.covarep.envelope import warped_cepstrum
from mmlib.covarep.lpc import batches
from mmlib.covarep.sinusoids import FLOOR, Sinusoids

BINS = 1024
HALF = BINS // 2
LEAST = 73  # frames that the longest smoothing needs
OVERLAP = 32  # frames, more than the reach of any smoothing
MEANS, DEVIATIONS = 25, 13  # columns
STEP = 24  # frames smoothed by one product
FEW = 57  # bins at once; more would not fit the processor's cache
MANY = 64  # frames whose deviations are warped at once
ROUNDING = 1e-12  # a mean of unit vectors shorter than this is rounding error
BOX25, BOX9 = (1 / 25,) * 25, (1 / 9,) * 9
HANN9 = tuple(np.hanning(9)[1:-1] / 4)  # the outer two are 0


def frequencies(sample_rate: int) -> np.ndarray:
    """Frequencies (513,) of the bins, Hz."""
    return np.arange(HALF + 1) * sample_rate / BINS


def between_harmonics(values: np.ndarray, rise: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Values at fractional columns (f, k), float32; `rise` is the step to the next column."""
    left = np.minimum(position.astype(np.int32), values.shape[1] - 1)
    between = (position - left).astype(np.float32)
    left += values.shape[1] * np.arange(len(values), dtype=np.int32)[:, None]  # when flattened
    between *= rise.astype(np.float32).take(left)
    between += values.astype(np.float32).take(left)
    return between


def vocal_tract_phase(sinusoids: Sinusoids, sample_rate: int) -> np.ndarray:
    """Minimum phase (f, 513), rad, of the spectral envelope through the harmonics' amplitudes.

    The envelope is linear in log amplitude; constant below the first harmonic and above the last.
    """
    level = np.log(np.maximum(sinusoids.amplitude, FLOOR))
    rise = np.nan_to_num(np.diff(level, axis=1, append=np.nan))  # none after the last harmonic
    position = frequencies(sample_rate) / sinusoids.step[:, None]
    position = np.clip(position, 1, sinusoids.count[:, None], out=position)
    cepstrum = fft.irfft(between_harmonics(level, rise, position), BINS, axis=1)
    cepstrum[:, 1:HALF] *= 2
    cepstrum[:, HALF + 1 :] = 0
    return fft.rfft(cepstrum, axis=1).imag


def phase_distortion(
    sinusoids: Sinusoids, sample_rate: int, random: np.random.Generator
) -> np.ndarray:
    """Phase differences of neighbouring harmonics minus the first one's phase, (f, 513), rad.

    The vocal tract's phase is removed first. Values are linear between harmonics and 0 below the
    first. As in the original, the value one harmonic above the last is drawn at random.
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
    rise = wrap(np.diff(distortion, axis=1, append=0))
    position = frequencies(sample_rate) / sinusoids.f0[:, None]
    return between_harmonics(distortion, rise, position)


@lru_cache(maxsize=8)
def band(taps: tuple[float, ...]) -> np.ndarray:
    """Matrix (STEP, STEP + 2 reach) that filters forwards and backwards, without the ends."""
    twice = np.convolve(taps, taps)
    matrix = np.zeros((STEP, STEP + len(twice)))
    matrix[:, : len(twice)] = twice
    return matrix.ravel()[:-STEP].reshape(STEP, -1)  # each row starts one column later


def both_ways(rows: np.ndarray, taps: tuple[float, ...]) -> np.ndarray:
    """Rows (f, k) smoothed along the frames, forwards and backwards, odd extension at the ends.

    Sums are of double precision: where sines and cosines nearly cancel, rounding would decide the
    angle. They are no cumulative sums, because the rounding of those would look like a deviation.
    """
    matrix, reach = band(taps), len(taps) - 1
    rows = rows.astype(float, copy=False)
    first, last = 2 * rows[:1] - rows[reach:0:-1], 2 * rows[-1:] - rows[-2 : -reach - 2 : -1]
    padded, smooth = np.concatenate([first, rows, last]), np.empty_like(rows)
    for part in batches(len(rows), STEP):
        here = padded[part.start : part.stop + 2 * reach]
        np.matmul(matrix[: len(here) - 2 * reach, : len(here)], here, out=smooth[part])
    return smooth


def median_of_nine(rows: np.ndarray) -> np.ndarray:
    """Running median (f, k) over 9 frames, with zeros beyond the ends.

    The 9 are three sorted triples. Their median is the median of the largest minimum, the median
    of the medians, and the smallest maximum.
    """
    padded = np.zeros((len(rows) + 8, rows.shape[1]), rows.dtype)
    padded[4:-4] = rows
    a, b, c = padded[:-2], padded[1:-1], padded[2:]
    least, most = np.minimum(a, b), np.maximum(a, b)
    centre = np.minimum(most, c)
    np.maximum(least, centre, out=centre)
    np.minimum(least, c, out=least)
    np.maximum(most, c, out=most)
    least, centre, most = ([v[i : i + len(rows)] for i in (0, 3, 6)] for v in (least, centre, most))
    largest_least, smallest_most = np.maximum(*least[:2]), np.minimum(*most[:2])
    np.maximum(largest_least, least[2], out=largest_least)
    np.minimum(smallest_most, most[2], out=smallest_most)
    return middle(largest_least, middle(*centre), smallest_most)


def middle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Elementwise median of three arrays."""
    least, most = np.minimum(a, b), np.maximum(a, b)
    np.minimum(most, c, out=most)
    return np.maximum(least, most, out=most)


def direction(sine: np.ndarray, cosine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of the angle of the vectors (cosine, sine), computed in place.

    The vectors are weighted means of unit vectors; one shorter than ROUNDING gets the angle 0.
    """
    length = np.sqrt(sine * sine + cosine * cosine)
    none = length < ROUNDING
    sine[none], cosine[none], length[none] = 0, 1, 1
    return np.divide(sine, length, out=sine), np.divide(cosine, length, out=cosine)


def deviation(sine: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Circular standard deviation (f, k), rad, around the running median, 9 frames both ways.

    Sines and cosines may be of single precision. Their vectors are scaled to length 1 in double
    precision, so that rounding does not hide a small deviation.
    """
    trend_sine, trend_cosine = direction(
        *(both_ways(median_of_nine(v), HANN9) for v in (sine, cosine))
    )
    sine, cosine = direction(sine.astype(float), cosine.astype(float))
    around_sine = both_ways(sine * trend_cosine - cosine * trend_sine, BOX9)
    around_cosine = both_ways(cosine * trend_cosine + sine * trend_sine, BOX9)
    square = around_sine**2 + around_cosine**2
    square[square > 1 - 2e-14] = 1  # a constant phase up to rounding has no deviation
    return np.sqrt(-np.log(square, out=square), out=square)


def bin_groups() -> np.ndarray:
    """First bin (25,) of each group of the 512 bins that HMPDM averages, along a Bezier curve."""
    t = np.linspace(0, 1, 101)
    x, y = ((1 - t) ** 2 * 8 + 2 * t * (1 - t) * 25 + t**2 * end for end in (512, 25))
    scale = np.arange(1.0, HALF + 1)
    scale[8:] = np.interp(scale[8:], x, y)
    return np.flatnonzero(np.diff(np.floor(scale + 0.5), prepend=0))


def warp_deviation(values: np.ndarray, sample_rate: int) -> np.ndarray:
    """HMPDD (f, 13), ln rad: mel cepstrum of the deviation (f, 513), of which 0 counts as .001."""
    values = np.where(values == 0, 0.001, values)
    values[:, 0] = values[:, 1]
    return warped_cepstrum(values, sample_rate, DEVIATIONS - 1)


def window_statistics(distortion: np.ndarray, sample_rate: int) -> np.ndarray:
    """HMPDM (25 columns) and HMPDD (13), together (f, 38), of the phase distortion (f, 513)."""
    first = bin_groups()
    sums = np.zeros((2, len(distortion), MEANS))  # of sines and cosines, over each group of bins
    deviations = np.empty(distortion.shape)
    for bins in batches(HALF + 1, FEW):
        part = distortion[:, bins].astype(np.float32)
        sine, cosine = np.sin(part), np.cos(part)
        deviations[:, bins] = deviation(sine, cosine)
        groups = slice(first.searchsorted(bins.start, "right") - 1, first.searchsorted(bins.stop))
        edges = np.maximum(first[groups] - bins.start, 0)
        means = direction(both_ways(sine, BOX25), both_ways(cosine, BOX25))
        for total, mean in zip(sums, means, strict=True):
            total[:, groups] += np.add.reduceat(mean[:, : HALF - bins.start], edges, axis=1)
    warped = (warp_deviation(deviations[part], sample_rate) for part in batches(len(part), MANY))
    return np.concatenate([np.arctan2(*sums), np.concatenate(list(warped))], axis=1)


def statistics(parts: Iterable[np.ndarray], total: int, sample_rate: int) -> Iterator[np.ndarray]:
    """HMPDM and HMPDD in pieces (f, 38), of the `total` frames of distortion in parts (f, 513).

    No smoothing reaches further than OVERLAP frames, so only these are kept from part to part.
    """
    window = np.zeros((0, HALF + 1), np.float32)  # frames from `start` on
    start = done = 0
    for part in parts:
        window = np.concatenate([window, part])
        end = start + len(window)
        ready = total if end == total else end - OVERLAP
        if ready - start > OVERLAP:
            yield window_statistics(window, sample_rate)[done - start : ready - start]
            window, start, done = window[ready - OVERLAP - start :], ready - OVERLAP, ready


def to_grid(values: np.ndarray, time: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """HMPDM and HMPDD (f, 38) at the `wanted` times (s), NaN outside.

    They are interpolated to a 5 ms grid first, which smooths a little where frames are off that
    grid. The means are angles and take the shorter way round the circle.
    """
    grid = 0.005 * np.arange(int(time[-1] / 0.005) + 1)
    grid = grid[(grid >= time[0]) & (grid <= time[-1])]
    for known, at in ((time, grid), (grid, wanted)):
        straight = np.concatenate([np.unwrap(values[:, :MEANS], axis=0), values[:, MEANS:]], axis=1)
        values = interpolate(known, straight, at)
        values[:, :MEANS] = wrap(values[:, :MEANS])
    return values
