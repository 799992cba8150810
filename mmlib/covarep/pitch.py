"""Pitch and voicing: summation of residual harmonics (SRH).

T. Drugman, A. Alwan, "Joint Robust Voicing Detection and Pitch Estimation Based on Residual
Harmonics", Interspeech 2011.
"""

from functools import lru_cache
from math import ceil, gcd
from typing import NamedTuple

import numpy as np
from scipy import signal

from mmlib.covarep.conventions import CovarepError, blackman, interpolate, rnd, windows
from mmlib.covarep.lpc import batches, residual
from mmlib.covarep.zoom import power_spectrum

LOW, HIGH = 50, 500  # Hz, the range searched
TOP = 5 * HIGH  # Hz, the highest harmonic looked at
FEW = 32  # frames at once; the spectra of more would not fit the processor's cache
RATE = 16000  # Hz, to which faster recordings are resampled


class Pitch(NamedTuple):
    """Pitch and voicing: one value per 10 ms frame, all (f,)."""

    time: np.ndarray  # s, of the frame's centre sample counted from 1
    f0: np.ndarray  # Hz, whole numbers; 1 without a positive criterion, as in digital silence
    voiced: np.ndarray  # 0 or 1
    strength: np.ndarray  # the SRH criterion at f0

    def at(self, positions: np.ndarray, sample_rate: int, values: np.ndarray) -> np.ndarray:
        """`values` (f,) of the frames, interpolated at 1-based sample positions; 0 outside."""
        known = rnd(self.time * sample_rate)
        return np.nan_to_num(interpolate(known, values, positions), nan=0.0)

    def typical(self) -> float:
        """Median F0 of the voiced frames strictly inside the range, Hz; NaN if there is none."""
        good = (self.f0 > LOW) & (self.f0 < HIGH) & (self.voiced == 1)
        return float(np.median(self.f0[good])) if good.any() else np.nan


def to_16k(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """The wave at 16 kHz: linear-phase Kaiser-windowed sinc, 60 dB, its delay removed."""
    common = gcd(RATE, sample_rate)
    up, down = RATE // common, sample_rate // common
    cut = 1 / (2 * max(up, down))
    half = ceil((60 - 8) / (28.714 * cut / 10))
    t = np.arange(-half, half + 1)
    taps = 2 * cut * np.sinc(2 * cut * t) * np.kaiser(2 * half + 1, 0.1102 * (60 - 8.7))
    return signal.resample_poly(wave, up, down, window=taps)


@lru_cache(maxsize=8)
def last_bin(length: int, rate: int) -> np.ndarray:
    """Cosine and sine (n, 2) of the DFT bin at half the rate."""
    angle = 2 * np.pi * (rate // 2) / rate * np.arange(length)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def residual_spectra(frames: np.ndarray, rate: int) -> np.ndarray:
    """Amplitudes (f, TOP) of frames (f, n) at 0, 1, 2 ... Hz, of unit norm over 0..rate / 2."""
    windowed = frames * blackman(frames.shape[1]).astype(frames.dtype)
    windowed -= windowed.mean(axis=1, keepdims=True)
    power = power_spectrum(windowed, rate, TOP)
    # Parseval's theorem gives the norm over the bins below the last without computing them.
    last = windowed @ last_bin(frames.shape[1], rate)
    both = rate * np.vecdot(windowed, windowed) + power[:, 0]
    norm = both / 2 - np.vecdot(last, last) * (0.5 if rate % 2 == 0 else 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        power /= norm[:, None]
        return np.sqrt(power, out=power)


def criterion(spectra: np.ndarray) -> np.ndarray:
    """SRH (f, HIGH - LOW + 1) at each whole Hz: harmonics 1..5 minus the valleys 1.5..4.5.

    As in the original, bins are numbered from 1, so every amplitude is read 1 Hz too low.
    """
    total = sum(spectra[:, h * LOW - 1 : h * HIGH : h] for h in range(1, 6))
    for h in (3, 5, 7, 9):  # twice the valley's number; at every other F0 it is between two bins
        for odd in (0, 1):
            valley = spectra[:, (h * (LOW + odd) + 1) // 2 - 1 : (h * HIGH + 1) // 2 : h]
            total[:, odd::2] -= valley
    return total


def search(
    excitation: np.ndarray, start: np.ndarray, length: int, rate: int, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """F0 (f,) in low..high Hz with the largest criterion, and that, of frames at `start` (f,).

    They are 1 Hz and 0 where no value is positive. Single precision is enough: the values at
    neighbouring Hz differ by far more.
    """
    f0, strength = np.ones(len(start)), np.zeros(len(start))
    frames = windows(excitation.astype(np.float32), length)
    for part in batches(len(start), FEW):
        spectra = residual_spectra(frames[start[part]], rate)
        values = criterion(spectra)[:, low - LOW : high - LOW + 1]
        values = np.nan_to_num(values, nan=-1.0)
        peak = values.argmax(axis=1)
        top = values[np.arange(len(peak)), peak]
        f0[part] = np.where(top > 0, peak + low, 1)
        strength[part] = np.maximum(top, 0)
    return f0, strength


def srh(wave: np.ndarray, sample_rate: int) -> Pitch:
    """Pitch and voicing every 10 ms, in frames of 100 ms, of a wave of positive polarity.

    A second search is from half to twice the first one's median. CovarepError under one frame.
    """
    if sample_rate > RATE:
        wave, sample_rate = to_16k(wave, sample_rate), RATE
    order = rnd(0.75 * sample_rate / 1000)
    excitation = residual(wave, rnd(0.025 * sample_rate), rnd(0.005 * sample_rate), order)
    half, hop = rnd((rnd(0.1 * sample_rate) - 2) / 2), rnd(0.01 * sample_rate)
    start = np.arange(0, len(wave) - 2 * half, hop)
    if not len(start):
        raise CovarepError(f"recording of {len(wave)} samples: shorter than a pitch frame of 0.1 s")
    f0, strength = search(excitation, start, 2 * half, sample_rate, LOW, HIGH)
    if strength.max() > 0.1:
        middle = np.median(f0[strength > 0.1])
        low, high = max(LOW, rnd(0.5 * middle)), min(HIGH, rnd(2 * middle))
        # A maximum inside the narrower range is its maximum, too: only the others are repeated.
        again = (f0 != 1) & ((f0 < low) | (f0 > high))
        f0[again], strength[again] = search(
            excitation, start[again], 2 * half, sample_rate, low, high
        )
    threshold = 0.085 if len(strength) > 1 and strength.std(ddof=1) > 0.05 else 0.07
    time = (start + half + 1) / sample_rate
    return Pitch(time, f0, (strength > threshold).astype(float), strength)
