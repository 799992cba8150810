"""Glottal closure instants: SEDREAMS.

T. Drugman, T. Dutoit, "Glottal Closure and Opening Instant Detection from Speech Signals",
Interspeech 2009; T. Drugman et al., IEEE TASLP 20(3), 2012.
"""

import numpy as np
from scipy import signal

from mmlib.covarep.conventions import CovarepError, elliptic_highpass, filtfilt, nearest, rnd


def mean_based_signal(wave: np.ndarray, sample_rate: int, f0: float) -> np.ndarray:
    """The wave (n,) averaged over 1.7 periods, high-passed: swings at F0, largest |value| 1."""
    half = rnd(1.7 * rnd(sample_rate / f0) / 2)
    if len(wave) <= 2 * half:
        raise CovarepError(f"recording of {len(wave)} samples: shorter than two pitch periods")
    y = np.zeros(len(wave))
    window = np.blackman(2 * half + 1)
    y[half : len(wave) - half] = np.convolve(wave, window, "valid") / (2 * half + 1)
    y = filtfilt(*elliptic_highpass(50, 30, sample_rate), y)
    y /= max(y.max(), -y.min())
    return y


def extrema(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minima of y and the maximum that follows each, both (f,); a plateau counts at its start.

    Negates y in place, since copies of long recordings cost much. CovarepError without a pair.
    """
    high = signal.find_peaks(y, plateau_size=1)[1]["left_edges"]
    np.negative(y, out=y)
    low = signal.find_peaks(y, plateau_size=1)[1]["left_edges"]
    if not len(low) or not len(high) or low[0] > high[-1]:
        raise CovarepError("no glottal cycles found: the recording holds no voiced speech")
    return low[low < high[-1]], high[high > low[0]]


def closure_instants(
    wave: np.ndarray, excitation: np.ndarray, sample_rate: int, f0: float
) -> np.ndarray:
    """Glottal closure instants (f,) of voiced and unvoiced cycles alike, samples counted from 0.

    A cycle runs from a minimum of the mean-based signal to the next maximum. Its GCI is the largest
    residual within .35 of its length around the place where strong residual peaks fall (the median
    over the file). `excitation` (n,) is the residual; NaN counts as 0.
    """
    low, high = extrema(mean_based_signal(wave, sample_rate, f0))
    excitation = np.nan_to_num(excitation, nan=0.0)
    strong = np.flatnonzero(excitation > 0.4 * max(excitation.max(), -excitation.min()))
    cycle = nearest(np.zeros_like(low), low, np.zeros_like(strong), strong)
    depth = high - low
    fraction = (strong - low[cycle]) / depth[cycle]
    ratio = np.median(fraction) if len(fraction) else 0.0
    start = np.maximum(low + rnd((ratio - 0.35) * depth), 0)
    stop = np.minimum(low + rnd((ratio + 0.35) * depth), len(wave) - 1)
    instants = [
        a + excitation[a : b + 1].argmax()
        for a, b in zip(start, stop, strict=True)
        if a < len(wave) and b > 0
    ]
    return np.array([i for i in instants if i >= 1], dtype=np.int64)
