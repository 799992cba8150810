"""A recording as the features want it: one channel, float64, a known rate, something in it."""

import warnings
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from mmlib.covarep.conventions import CovarepError

SLOWEST, FASTEST = 8000, 48000  # Hz
# Samples, 3 minutes at 16 kHz: under 300 MB of memory even if a pause fills most of the file (the
# frame of the glottal cycle after a pause is as long as the pause).
LONGEST = 2_880_000


def checked(wave: np.ndarray, sample_rate: float) -> tuple[np.ndarray, int]:
    """The first channel of `wave` (n,) or (n, channels) as float64, and the rate as an int.

    Integers are divided by their full scale (int16: 32768; uint8 is centred at 128). CovarepError
    if the rate is not a whole number of 8000 to 48000 Hz, or the wave is empty, constant, longer
    than LONGEST or holds NaN or infinity. Clipped recordings pass.
    """
    if not (SLOWEST <= sample_rate <= FASTEST) or sample_rate != int(sample_rate):
        raise CovarepError(
            f"sample rate {sample_rate} Hz: resample to a whole number of {SLOWEST} to {FASTEST} Hz"
        )
    wave = np.asarray(wave)
    if wave.ndim == 2 and wave.shape[0] < wave.shape[1]:
        raise CovarepError(f"wave of shape {wave.shape}: give (samples, channels), transpose it")
    if wave.ndim == 2 and wave.shape[1]:
        wave = wave[:, 0]
    if wave.ndim != 1 or wave.dtype.kind not in "iuf":
        raise CovarepError(f"wave of shape {wave.shape}, {wave.dtype}: give real samples, (n,)")
    if not len(wave):
        raise CovarepError("the recording is empty: drop it")
    if len(wave) > LONGEST:
        raise CovarepError(f"{len(wave)} samples, at most {LONGEST}: cut into utterances first")
    if wave.dtype.kind in "iu":
        scale = 2.0 ** (8 * wave.dtype.itemsize - 1)
        wave = wave / scale - (wave.dtype.kind == "u")
    wave = np.ascontiguousarray(wave, dtype=np.float64)
    if not np.isfinite(wave).all():
        raise CovarepError("the recording holds NaN or infinity: repair or drop it")
    if wave.min() == wave.max():
        raise CovarepError(f"the recording is constant ({wave[0]:g}): drop it")
    return wave, int(sample_rate)


def read_wav(path: str | Path) -> tuple[np.ndarray, int]:
    """Samples and rate of a WAV file; CovarepError if it is none that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, wave = wavfile.read(path)
    except (OSError, ValueError, EOFError) as error:
        raise CovarepError(f"{path}: not a readable WAV file ({error}); convert it") from error
    return wave, rate
