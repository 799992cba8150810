"""A synthetic voice of known pitch, glottal shape and formants, to check the features against.

The source is the LF model's flow derivative as a sum of harmonics below half the sampling rate.
So nothing is aliased, and pitch and Rd may change from sample to sample. The vocal tract is a
cascade of resonances (G. Fant, "Acoustic Theory of Speech Production", 1960).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import signal

from mmlib.covarep import lf

VOWEL = ((700, 80), (1220, 90), (2600, 120), (3500, 200), (4500, 250))  # an a: Hz, bandwidth in Hz


class Voice(NamedTuple):
    """A synthetic wave and what it was made from."""

    wave: np.ndarray  # (n,) largest |value| 0.5
    sample_rate: int  # Hz
    f0: np.ndarray  # (n,) Hz, 0 where unvoiced
    rd: np.ndarray  # (n,)
    closures: np.ndarray  # (f,) fractional samples: where the flow falls fastest
    formants: tuple[tuple[float, float], ...]  # Hz, bandwidth in Hz


def source(f0: np.ndarray, rd: np.ndarray, sample_rate: int) -> np.ndarray:
    """LF flow derivative (n,) of pitch f0 (n,) in Hz and shape rd (n,); its steepest fall is 1.

    Harmonics fade out over the last 200 Hz below half the rate. It is 0 where f0 is 0.
    """
    turns = np.cumsum(f0) / sample_rate
    grid = np.linspace(rd.min(), rd.max(), 1 if np.ptp(rd) == 0 else 64)
    shapes = lf.Pulse(*(v[:, None] for v in lf.pulse(grid)))
    wave = np.zeros(len(f0))
    voiced = np.flatnonzero(f0 > 0)
    for h in range(1, int(sample_rate / 2 / f0[voiced].min(initial=sample_rate)) + 1):
        heard = np.clip((sample_rate / 2 - h * f0[voiced]) / 200, 0, 1)
        weights = lf.spectrum(shapes, np.array([h]))[:, 0]
        weight = np.interp(rd[voiced], grid, weights)
        wave[voiced] += 2 * heard * (weight * np.exp(2j * np.pi * h * turns[voiced])).real
    return wave


def closures(f0: np.ndarray, rd: np.ndarray, sample_rate: int) -> np.ndarray:
    """Fractional samples (f,) at which the source falls fastest: te of each voiced period."""
    turns = np.cumsum(f0) / sample_rate
    since = turns - lf.timing(rd)[0]
    cycle = np.floor(since)
    last = np.flatnonzero((np.diff(cycle) > 0) & (f0[1:] > 0))
    return last + (cycle[last + 1] - since[last]) / (since[last + 1] - since[last])


def resonate(wave: np.ndarray, formants: Sequence[tuple[float, float]], rate: int) -> np.ndarray:
    """The wave filtered by resonances (Hz, bandwidth in Hz) below rate / 2, of gain 1 at 0 Hz."""
    for frequency, bandwidth in formants:
        if frequency < rate / 2:
            pole = np.exp(-np.pi * bandwidth / rate + 2j * np.pi * frequency / rate)
            a = np.array([1, -2 * pole.real, abs(pole) ** 2])
            wave = signal.lfilter([a.sum()], a, wave)
    return wave


def synthesise(
    f0: np.ndarray,
    rd: np.ndarray | float = 1.0,
    formants: Sequence[tuple[float, float]] = VOWEL,
    sample_rate: int = 16000,
    noise: float = 1e-3,
    seed: int = 0,
) -> Voice:
    """A voice of pitch f0 (n,) in Hz, 0 where unvoiced, and glottal shape rd, 0.3..2.5.

    noise: white noise in the source, relative to the steepest fall of the flow; every recording
    has some. seed: of that noise. The largest |value| of the wave is 0.5.
    """
    f0 = np.asarray(f0, dtype=float)
    rd = np.broadcast_to(np.asarray(rd, dtype=float), f0.shape)
    breath = noise * np.random.default_rng(seed).standard_normal(len(f0))
    wave = resonate(source(f0, rd, sample_rate) + breath, formants, sample_rate)
    closed = closures(f0, rd, sample_rate)
    return Voice(0.5 * wave / np.abs(wave).max(), sample_rate, f0, rd, closed, tuple(formants))
