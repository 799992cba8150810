"""Spectral envelope: the true envelope and its mel-warped cepstrum (MCEP).

A. Roebel, X. Rodet, "Efficient spectral envelope estimation and its application to pitch shifting
and envelope preservation", DAFx 2005, with the larger steps of F. Villavicencio and A. Roebel.

Spectra are real and even, so their cepstra are cosine sums. Bins k and BINS / 2 - k share their
cosines up to the sign (-1)^q: spectra are kept as (f, 2, k) halves, lower and mirrored upper, whose
sum and difference give the even and the odd cepstral coefficients.
"""

from functools import lru_cache

import numpy as np

from mmlib.covarep.conventions import rnd
from mmlib.covarep.lpc import batches
from mmlib.covarep.sinusoids import BINS

NYQUIST = BINS // 2
CLOSE = 2 * np.log(10) / 20  # 2 dB: the envelope may lie this far below a peak
MOST = 200  # iterations
GROUP = 48  # frames of similar order iterated together
SIGNS = np.where(np.arange(NYQUIST // 2 + 1) % 2, -1.0, 1.0).astype(np.float32)


@lru_cache(maxsize=8)
def cosines(top: int) -> tuple[np.ndarray, np.ndarray]:
    """cos(2 pi q k / BINS) for k = 0..NYQUIST / 2, q = 0, 2 .. and 1, 3 .. below `top`."""
    k = np.arange(NYQUIST // 2 + 1)
    angle = 2 * np.pi / BINS * (np.arange(top)[:, None] * k % BINS)
    rows = np.cos(angle).astype(np.float32)
    return rows[::2].copy(), rows[1::2].copy()


def fold(spectrum: np.ndarray) -> np.ndarray:
    """Half spectra (f, NYQUIST + 1) as lower and mirrored upper halves (f, 2, NYQUIST / 2 + 1)."""
    middle = NYQUIST // 2
    return np.stack([spectrum[:, : middle + 1], spectrum[:, : middle - 1 : -1]], axis=1)


def unfold(halves: np.ndarray) -> np.ndarray:
    """The inverse of `fold`."""
    return np.concatenate([halves[:, 0], halves[:, 1, -2::-1]], axis=1)


def cosine_sum(state: np.ndarray, even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Folded log spectra (f, 2, k) of cepstra (f, q)."""
    first, second = state[:, ::2] @ even, state[:, 1::2] @ odd
    halves = np.empty((len(state), 2, first.shape[1]), first.dtype)
    np.add(first, second, out=halves[:, 0])
    np.subtract(first, second, out=halves[:, 1])
    return halves


def cepstrum(
    halves: np.ndarray, even: np.ndarray, odd: np.ndarray, twice: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cepstra (f, q) of folded log spectra, times `twice` (f, q), and the power left out (f,).

    By Parseval the power past the order is known without those coefficients.
    """
    lower, upper = halves[:, 0], halves[:, 1]
    total, contrast = lower + upper, lower - upper
    power = 2 * (np.vecdot(lower, lower) + np.vecdot(upper, upper))  # all BINS, but these twice:
    power -= lower[:, 0] ** 2 + upper[:, 0] ** 2 + 2 * lower[:, -1] ** 2
    last = 2 * (total @ SIGNS) - total[:, 0] - total[:, -1] * SIGNS[-1]  # coefficient NYQUIST
    total[:, [0, -1]] /= 2
    contrast[:, 0] /= 2
    c = np.empty(twice.shape)
    c[:, ::2], c[:, 1::2] = total @ even.T, contrast @ odd.T
    c *= twice * (2 / BINS)
    inside = np.vecdot(c, c) - c[:, 0] ** 2
    outside = 2 * (power / BINS - c[:, 0] ** 2 - (last / BINS) ** 2) - inside
    return c, np.maximum(outside, 0)


def smooth(target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """True envelope (f, 2, k) of folded log spectra: cepstrally smooth, no more than 2 dB below.

    `order` (f,) counts cepstral coefficients; the frames should be of similar order. Each frame
    takes steps towards the cepstrum of max(spectrum, envelope) until it is close enough.
    """
    q = np.arange(order.max() + 1)
    tables = cosines(-(-len(q) // 128) * 128)
    even, odd = (c[: (len(q) + 1 - i) // 2] for i, c in enumerate(tables))
    used = q <= order[:, None]
    taper = used * (0.54 + 0.46 * np.cos(np.pi * q / order[:, None]))  # half a Hamming window
    twice = used * np.where(q == 0, 1, 2)  # (f, q)

    # With the mean level taken out, single precision resolves a millionth of the 2 dB.
    level = target.mean(axis=(1, 2))
    target = (target - level[:, None, None]).astype(np.float32)
    envelope, raised = np.empty_like(target), target.copy()
    state = np.zeros(twice.shape)
    state[:, 0] = -level
    rows = np.arange(len(order))  # still open
    for step in range(MOST):
        doubled, outside = cepstrum(raised, even, odd, twice)
        whole = (doubled[:, 0] + level[rows]) ** 2
        inside = np.vecdot(doubled, doubled) - doubled[:, 0] ** 2 + whole
        gain = 1 + np.sqrt(outside / inside)
        state += gain[:, None] * taper * (doubled - state)
        current = cosine_sum(state.astype(np.float32), even, odd)
        far = (target - current).reshape(len(rows), -1).max(axis=1) > CLOSE
        done = ~far | (step == MOST - 1)
        if done.any():
            envelope[rows[done]] = current[done]
            rows, state, taper, twice = rows[far], state[far], taper[far], twice[far]
            raised, target, current = raised[far], target[far], current[far]
        if not len(rows):
            break
        np.maximum(raised, current, out=raised)
    return envelope + level[:, None, None].astype(np.float32)


def true_envelope(log_spectrum: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Log envelopes (f, NYQUIST + 1) above the harmonics of log amplitude spectra.

    `order` (f,) is the cepstral order, half the period in samples. Near 0 and half the rate the
    spectrum is first replaced by a coarser envelope, because no harmonics lie there.
    """
    enlarged = np.minimum(rnd(1.2 * np.minimum(order, NYQUIST - 1)), NYQUIST - 1)
    result = np.empty(log_spectrum.shape, np.float32)
    by_order = np.argsort(enlarged, kind="stable")
    k = np.arange(NYQUIST // 2 + 1)
    for part in batches(len(by_order), GROUP):
        rows = by_order[part]
        target = fold(log_spectrum[rows])
        coarse = smooth(target, rnd(1.2 * rnd(enlarged[rows] / 2)))
        width = rnd(0.25 * BINS / enlarged[rows])[:, None]
        edge = np.stack([k < width, k < width - 1], axis=1)
        result[rows] = unfold(smooth(np.where(edge, coarse, target), enlarged[rows]))
    return result


@lru_cache(maxsize=8)
def warping(bins: int, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Where on the linear axis 0..bins the mel axis' points lie: left neighbour and share."""
    linear = np.arange(bins + 1) * sample_rate / (2 * bins)
    # 1000 mel at 1 kHz: the factor cancels but for the rounding of the last point.
    mel = 1000 / np.log(1 + 1000 / 700) * np.log(1 + linear / 700)
    warped = sample_rate / 2 * mel / mel[-1]
    left = np.clip(np.searchsorted(warped, linear, side="right") - 1, 0, bins - 1)
    share = (linear - warped[left]) / (warped[left + 1] - warped[left])
    if warped[-1] < linear[-1]:
        left[-1], share[-1] = left[-2], share[-2]
    return left, share


@lru_cache(maxsize=8)
def cepstral_matrix(bins: int, order: int) -> np.ndarray:
    """From log amplitudes at 0..bins to cepstral coefficients 0..order, (bins + 1, order + 1)."""
    k, q = np.arange(bins + 1), np.arange(order + 1)
    matrix = np.cos(np.pi / bins * (k[:, None] * q % (2 * bins))) / bins
    matrix[[0, -1]] /= 2
    matrix[:, 1:] *= 2
    return matrix


def warped_cepstrum(amplitude: np.ndarray, sample_rate: int, order: int) -> np.ndarray:
    """Cepstrum (f, order + 1) on the mel scale of amplitudes (f, bins + 1) at 0..rate / 2.

    Coefficients from 1 on are doubled: they sum up the log amplitude as cosines. Natural log.
    """
    left, share = warping(amplitude.shape[1] - 1, sample_rate)
    here = amplitude[:, left]
    warped = here + share * (amplitude[:, left + 1] - here)
    return np.log(warped) @ cepstral_matrix(amplitude.shape[1] - 1, order)


def mel_cepstra(log_spectrum: np.ndarray, f0: np.ndarray, sample_rate: int) -> np.ndarray:
    """MCEP_0 .. MCEP_24 (f, 25) of log amplitude spectra (f, NYQUIST + 1), ln amplitude."""
    envelope = true_envelope(log_spectrum, rnd(0.5 * sample_rate / f0))
    return warped_cepstrum(np.exp(envelope), sample_rate, 24)
