"""Polarity of a recording: residual excitation skewness.

T. Drugman, "Residual Excitation Skewness for Automatic Speech Polarity Detection", IEEE SPL 2013.
"""

import numpy as np

from mmlib.covarep.conventions import PIECE, elliptic_highpass, filtfilt, rnd
from mmlib.covarep.lpc import batches, residual


def speech_residual(wave: np.ndarray, sample_rate: int, predictor=None) -> np.ndarray:
    """LPC residual (n,): 25 ms frames every 5 ms, order (rate in kHz) + 2; NaN under silence."""
    order = rnd(sample_rate / 1000) + 2
    window, shift = rnd(0.025 * sample_rate), rnd(0.005 * sample_rate)
    return residual(wave, window, shift, order, predictor)


def skewness(values: np.ndarray) -> float:
    """Skewness: third central moment over the 3/2 power of the second; NaN counts as 0."""
    mean = np.nansum(values) / len(values)
    pieces = (np.nan_to_num(values[part], nan=0.0) - mean for part in batches(len(values), PIECE))
    square, cube = np.sum([(v @ v, (v * v) @ v) for v in pieces], axis=0) / len(values)
    return float(cube / square**1.5) if square > 0 else 0.0


def polarity(wave: np.ndarray, sample_rate: int, plain: np.ndarray) -> int:
    """Polarity of a recording: +1, or -1 if it is inverted (0 if the two skewnesses are equal).

    `plain` is `speech_residual(wave)`. A second residual takes its filters from the high-passed
    wave; in a recording that is not inverted it is the less skewed one.
    """
    b, a = elliptic_highpass(480, 500, sample_rate)
    rough = speech_residual(wave, sample_rate, filtfilt(b, a, wave))
    return int(np.sign(skewness(plain) - skewness(rough)))
