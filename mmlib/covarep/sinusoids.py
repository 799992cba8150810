"""Harmonic sinusoidal analysis: amplitude and phase at every multiple of the pitch.

Peak picking after R. McAulay, T. Quatieri, IEEE TASSP 34(4), 1986, tied to the harmonics.
"""

from typing import NamedTuple

import numpy as np
from scipy import fft

from mmlib.covarep.conventions import cached, nearest, peaks, rnd, wrap
from mmlib.covarep.lpc import batches

BINS = 4096  # of the spectrum
FEW = 64  # frames at once; the spectra of more would not fit the processor's cache
FLOOR = 1e-20  # amplitude that replaces smaller ones, such as an exact 0
unit_blackman = cached(lambda length: np.blackman(length) / np.blackman(length).sum())


class Sinusoids(NamedTuple):
    """Sinusoids of voiced and unvoiced frames. Column h: harmonic h, 0 is DC; NaN past `count`."""

    f0: np.ndarray  # (f,) Hz, of the pitch tracker
    step: np.ndarray  # (f,) Hz, measured spacing of the harmonics; harmonic h is at h * step
    count: np.ndarray  # (f,) harmonics up to half the sampling rate
    amplitude: np.ndarray  # (f, h) of the one-sided complex exponential
    phase: np.ndarray  # (f, h) rad, at the frame's centre
    log_spectrum: np.ndarray  # (f, 2049) natural log amplitude


def half_length(f0: np.ndarray, sample_rate: int) -> np.ndarray:
    """Samples (f,) on each side of the centre of a window of three periods."""
    return rnd(1.5 * sample_rate / f0)


def centred_spectra(
    wave: np.ndarray, centre: np.ndarray, f0: np.ndarray, sample_rate: int
) -> np.ndarray:
    """Spectra (f, 2049) of windows around the samples `centre` (f,), to which phases refer."""
    frames = np.zeros((len(centre), BINS))
    for frame, middle, half in zip(frames, centre, half_length(f0, sample_rate), strict=True):
        window = unit_blackman(2 * half + 1)
        right = min(half + 1, BINS - half)
        np.multiply(wave[middle : middle + right], window[half : half + right], out=frame[:right])
        np.multiply(wave[middle - half : middle], window[:half], out=frame[-half:])
    return fft.rfft(frames, axis=1, overwrite_x=True)


def spectral_peaks(log_spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, position (bins) and height of the peaks of log spectra (f, 2049), by a parabola."""
    row, peak = peaks(log_spectrum)
    before, here, after = (log_spectrum[row, peak + i] for i in (-1, 0, 1))
    slope = (after - before) / 2
    bend = here - slope - before
    sharp = bend > 0
    safe = np.where(sharp, bend, 1)
    flat_even = (here == after).astype(float)  # the left one of a plateau's two middle samples
    shift = np.where(sharp, slope / (2 * safe), 0.5 * flat_even)
    return row, peak + shift, here + np.where(sharp, slope**2 / (4 * safe), 0)


def phase_at(spectrum: np.ndarray, row: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Phase (rad) of spectra at fractional bins, interpolated the shorter way round."""
    left = np.minimum(position.astype(np.int64), BINS // 2 - 1)
    here, there = np.angle(spectrum[row, left]), np.angle(spectrum[row, left + 1])
    return wrap(here + (position - left) * wrap(there - here))


def analyse(
    wave: np.ndarray, centre: np.ndarray, f0: np.ndarray, count: np.ndarray, most: int, rate: int
) -> Sinusoids:
    """`harmonic_analysis` of a few frames, `count` (f,) harmonics each, in most + 1 columns."""
    spectrum = centred_spectra(wave, centre, f0, rate)
    power = spectrum.real**2 + spectrum.imag**2
    log_spectrum = np.log(np.maximum(power, FLOOR**2, out=power), out=power)
    log_spectrum /= 2
    step = BINS * f0 / rate  # bins from harmonic to harmonic
    harmonic = np.arange(most + 1)
    row, h = np.nonzero((harmonic <= count[:, None]) & (harmonic > 0))
    nominal = h * step[row]

    position, log_amplitude = nominal.copy(), log_spectrum[row, rnd(nominal)]
    peak_row, peak, height = spectral_peaks(log_spectrum)
    if len(peak):
        which = nearest(peak_row, peak, row, nominal)
        near = (peak_row[which] == row) & (np.abs(peak[which] - nominal) < step[row] / 2)
        position[near], log_amplitude[near] = peak[which[near]], height[which[near]]

    positions, amplitude, phase = np.full((3, len(f0), most + 1), np.nan)
    positions[:, 0], positions[row, h] = 0, position
    amplitude[:, 0], amplitude[row, h] = np.exp(log_spectrum[:, 0]), np.exp(log_amplitude)
    phase[:, 0], phase[row, h] = np.angle(spectrum[:, 0]), phase_at(spectrum, row, position)
    spacing = np.sort(np.diff(positions, axis=1), axis=1)  # NaN last
    rows = np.arange(len(f0))
    middle = (spacing[rows, (count - 1) // 2] + spacing[rows, count // 2]) / 2
    return Sinusoids(f0, middle * rate / BINS, count, amplitude, phase, log_spectrum)


def harmonic_analysis(
    wave: np.ndarray, centre: np.ndarray, f0: np.ndarray, sample_rate: int
) -> Sinusoids:
    """Sinusoids of the frames around `centre` (f,), whose windows must fit into the wave.

    A harmonic takes the nearest spectral peak if that is less than half a harmonic away, else the
    spectrum at its nominal frequency. The frequencies then become multiples of the median spacing.
    """
    count = rnd((sample_rate / 2 - f0 / 2) / f0)
    parts = [
        analyse(wave, centre[part], f0[part], count[part], count.max(), sample_rate)
        for part in batches(len(centre), FEW)
    ]
    return Sinusoids(*map(np.concatenate, zip(*parts, strict=True)))
