"""Spectral envelope: the true envelope and its mel-warped cepstrum (MCEP).

A. Roebel, X. Rodet, "Efficient spectral envelope estimation and its application to pitch shifting
and envelope preservation", DAFx 2005, with the larger steps of F. Villavicencio and A. Roebel.

Log spectra are real and even. Their cepstra are therefore cosine sums over bins 0..NYQUIST, with
both ends weighted by one half. Within BLOCK neighbouring bins, all cosines of low quefrency are
sums of a few functions; computing with these costs a fraction of a transform. Arrays are of single
precision, which resolves a millionth of CLOSE because the mean level is subtracted first.
"""

from functools import lru_cache

import numpy as np

from mmlib.covarep.conventions import rnd
from mmlib.covarep.lpc import batches
from mmlib.covarep.sinusoids import BINS

NYQUIST = BINS // 2
CLOSE = 2 * np.log(10) / 20  # 2 dB, by which the envelope may lie below a peak
MOST = 200  # iterations
GROUP = 48  # frames of similar order iterated at once; more would not fit the processor's cache
BLOCK = 64  # bins
WIDE = NYQUIST + BLOCK  # bins, a multiple of BLOCK that holds 0..NYQUIST


@lru_cache(maxsize=32)
def factors(top: int) -> tuple[np.ndarray, np.ndarray]:
    """The cosines cos(2 pi q k / BINS), q < top and k < WIDE, factored into two thin matrices.

    They are the weights (top, blocks * j) of each cosine in each block, and the j functions
    (j, BLOCK) that all blocks share. Their product is exact to a millionth.
    """
    k = np.arange(WIDE)
    cosines = np.cos(2 * np.pi / BINS * (np.arange(top)[:, None] * k % BINS))
    _, size, functions = np.linalg.svd(cosines.reshape(-1, BLOCK), full_matrices=False)
    functions = functions[size > 1e-6 * size[0]]
    weights = cosines.reshape(-1, BLOCK) @ functions.T
    return weights.reshape(top, -1).astype(np.float32), functions.astype(np.float32)


def cosine_sum(
    cepstra: np.ndarray, weights: np.ndarray, functions: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """Log spectra (f, WIDE) of cepstra (f, q), written into `out`."""
    parts = (cepstra @ weights).reshape(-1, len(functions))
    np.matmul(parts, functions, out=out.reshape(-1, BLOCK))
    return out


def mean_cosines(spectrum: np.ndarray, weights: np.ndarray, functions: np.ndarray) -> np.ndarray:
    """Cepstra (f, q) of log spectra (f, WIDE)."""
    parts = (spectrum.reshape(-1, BLOCK) @ functions.T).reshape(len(spectrum), -1)
    j = len(functions)
    parts[:, :j] -= spectrum[:, :1] / 2 * functions[:, 0]
    parts[:, -j:] = spectrum[:, NYQUIST, None] / 2 * functions[:, 0]  # no bins past NYQUIST
    return parts @ weights.T * np.float32(2 / BINS)


def power(spectrum: np.ndarray) -> np.ndarray:
    """Mean square (f,) of log spectra (f, WIDE) over all BINS."""
    half = spectrum[:, : NYQUIST + 1]
    return (2 * np.vecdot(half, half) - half[:, 0] ** 2 - half[:, -1] ** 2) / BINS


def lifters(order: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """`factors` up to the highest order, a Hamming taper (f, q), and the weights 1, 2, 2 .. (f, q).

    Taper and weights are 0 past each frame's order.
    """
    q = np.arange(order.max() + 1)
    weights, functions = factors(-(-len(q) // 16) * 16)
    used = (q <= order[:, None]).astype(np.float32)
    taper = used * (0.54 + 0.46 * np.cos(np.pi * q / order[:, None], dtype=np.float32))
    return (weights[: len(q)], functions), taper, used * np.where(q == 0, 1, 2).astype(np.float32)


def smooth(spectrum: np.ndarray, level: np.ndarray, order: np.ndarray) -> np.ndarray:
    """True envelope (f, WIDE) of log spectra (f, WIDE): smooth, and at most 2 dB below them.

    Both are relative to `level` (f,). `order` (f,) counts cepstral coefficients; the frames should
    be of similar order. Each frame steps towards the cepstrum of max(spectrum, envelope) until no
    bin is more than 2 dB below, or for MOST iterations.
    """
    tables, taper, twice = lifters(order)
    level = level.astype(np.float32)
    raised, least = spectrum.copy(), spectrum - np.float32(CLOSE)
    result, room = np.empty((2, *spectrum.shape), np.float32)
    state = np.zeros(twice.shape, np.float32)
    state[:, 0] = -level
    rows = np.arange(len(order))  # of the frames that still iterate
    for step in range(MOST):
        c = mean_cosines(raised, *tables) * twice
        low_power = np.vecdot(c, c) - c[:, 0] ** 2
        # Parseval's theorem gives the power past the order without those coefficients. The last
        # one, NYQUIST, is nearly 0; the original leaves it out.
        high_power = np.maximum(2 * (power(raised) - c[:, 0] ** 2) - low_power, 0)
        gain = 1 + np.sqrt(high_power / (low_power + (c[:, 0] + level[rows]) ** 2))
        state += gain[:, None] * taper * (c - state)
        current = cosine_sum(state, *tables, out=room[: len(rows)])
        far = (least > current).any(axis=1) & (step < MOST - 1)
        np.maximum(raised, current, out=raised)
        if not far.all():
            result[rows[~far]] = current[~far]
            arrays = rows, state, taper, twice, least, raised
            rows, state, taper, twice, least, raised = closed_up(far, *arrays)
            if not len(rows):
                break
    return result


def closed_up(kept: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays' rows where `kept` (f,), in any order, moved in place so that few are copied."""
    count = np.count_nonzero(kept)
    holes, movers = np.flatnonzero(~kept[:count]), count + np.flatnonzero(kept[count:])
    for array in arrays:
        array[holes] = array[movers]
    return [array[:count] for array in arrays]


def true_envelope(log_spectrum: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Log envelopes (f, NYQUIST + 1) of log amplitude spectra of the same shape, ln amplitude.

    `order` (f,) is the cepstral order, half the period in samples. Near 0 and half the rate there
    are no harmonics, so a coarser envelope first replaces the spectrum there.
    """
    enlarged = np.minimum(rnd(1.2 * np.minimum(order, NYQUIST - 1)), NYQUIST - 1)
    result = np.empty(log_spectrum.shape, np.float32)
    by_order = np.argsort(enlarged, kind="stable")
    for part in batches(len(by_order), GROUP):
        rows = by_order[part]
        spectrum = log_spectrum[rows]
        level = spectrum[:, ::16].mean(axis=1)
        target = np.empty((len(rows), WIDE), np.float32)
        np.subtract(spectrum, level[:, None], out=target[:, : NYQUIST + 1], casting="same_kind")
        target[:, NYQUIST + 1 :] = target[:, NYQUIST - 1 : NYQUIST - BLOCK : -1]  # mirrored
        coarse = smooth(target, level, rnd(1.2 * rnd(enlarged[rows] / 2)))
        for to, by, k in zip(target, coarse, rnd(0.25 * BINS / enlarged[rows]), strict=True):
            to[:k] = by[:k]
            to[NYQUIST + 2 - k : NYQUIST + k - 1] = by[NYQUIST + 2 - k : NYQUIST + k - 1]
        envelope = smooth(target, level, enlarged[rows])[:, : NYQUIST + 1]
        result[rows] = envelope + level[:, None].astype(np.float32)
    return result


@lru_cache(maxsize=8)
def warping(bins: int, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Linear bins at the bins + 1 points of the mel axis: left neighbour and fraction."""
    linear = np.arange(bins + 1) * sample_rate / (2 * bins)
    # 1000 mel at 1 kHz. The factor cancels, but changes how the last point is rounded.
    mel = 1000 / np.log(1 + 1000 / 700) * np.log(1 + linear / 700)
    warped = sample_rate / 2 * mel / mel[-1]
    left = np.clip(np.searchsorted(warped, linear, side="right") - 1, 0, bins - 1)
    fraction = (linear - warped[left]) / (warped[left + 1] - warped[left])
    if warped[-1] < linear[-1]:
        left[-1], fraction[-1] = left[-2], fraction[-2]
    return left, fraction


@lru_cache(maxsize=8)
def cepstral_matrix(bins: int, order: int) -> np.ndarray:
    """Matrix (bins + 1, order + 1) from log amplitudes at bins 0..bins to cepstra 0..order."""
    k, q = np.arange(bins + 1), np.arange(order + 1)
    matrix = np.cos(np.pi / bins * (k[:, None] * q % (2 * bins))) / bins
    matrix[[0, -1]] /= 2
    matrix[:, 1:] *= 2
    return matrix


def warped_cepstrum(amplitude: np.ndarray, sample_rate: int, order: int) -> np.ndarray:
    """Mel cepstrum (f, order + 1) of amplitudes (f, bins + 1) at 0..rate / 2, natural log.

    Coefficients from 1 on are doubled, so that their sum of cosines gives the log amplitude.
    """
    left, fraction = warping(amplitude.shape[1] - 1, sample_rate)
    matrix = cepstral_matrix(amplitude.shape[1] - 1, order)
    fraction, matrix = (v.astype(amplitude.dtype, copy=False) for v in (fraction, matrix))
    here = amplitude.take(left, axis=1)
    warped = amplitude.take(left + 1, axis=1)
    warped -= here
    warped *= fraction
    warped += here
    return np.log(warped, out=warped) @ matrix


def mel_cepstra(log_spectrum: np.ndarray, f0: np.ndarray, sample_rate: int) -> np.ndarray:
    """MCEP_0 .. MCEP_24 (f, 25), ln amplitude, of log amplitude spectra (f, NYQUIST + 1)."""
    envelope = true_envelope(log_spectrum, rnd(0.5 * sample_rate / f0))
    parts = (np.exp(envelope[part]) for part in batches(len(envelope), GROUP))
    return np.concatenate([warped_cepstrum(part, sample_rate, 24) for part in parts])
