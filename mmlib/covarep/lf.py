"""The LF model of the glottal pulse and its one-parameter family Rd.

G. Fant, J. Liljencrants, Q. Lin, STL-QPSR 4, 1985; Rd: G. Fant, STL-QPSR 2-3, 1995; spectrum:
B. Doval, C. d'Alessandro, 1997. Times are fractions of the period, Ee = 1. A small Rd (0.3) is a
pressed voice, a large one (2.5) a relaxed voice.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import elementwise


class Pulse(NamedTuple):
    """Parameters of LF pulses, arrays of the shape of Rd; times in periods, rates in 1 / period."""

    te: np.ndarray  # instant of the steepest closing flow
    tp: np.ndarray  # instant of the largest flow
    ta: np.ndarray  # time constant of the return to zero
    epsilon: np.ndarray  # rate of the return
    alpha: np.ndarray  # growth rate of the open phase
    e0: np.ndarray  # amplitude of the open phase


def timing(rd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """te, tp and ta, in periods, from Rd (Fant 1995)."""
    ra, rk = (-1 + 4.8 * rd) / 100, (22.4 + 11.8 * rd) / 100
    rg = rk / (4 * (0.11 * rd / (0.5 + 1.2 * rk) - ra))
    tp = 1 / (2 * rg)
    return tp * (rk + 1), tp, ra


def pulse(rd: np.ndarray) -> Pulse:
    """LF parameters of Rd: the two phases meet at te, and the flow ends where it began."""
    te, tp, ta = timing(np.asarray(rd, dtype=float))
    omega, rest = np.pi / tp, 1 - te

    def meets(epsilon, ta, rest):
        return 1 - np.exp(-epsilon * rest) - epsilon * ta

    # The root 0 is trivial. It lies left of the maximum, which is at log(rest / ta) / rest.
    top = np.log(rest / ta) / rest
    epsilon = elementwise.find_root(meets, (top, 1.01 / ta), args=(ta, rest)).x
    decay = np.exp(-epsilon * rest)
    area = (1 - decay) / (epsilon**2 * ta) - rest * decay / (epsilon * ta)

    def closes(alpha, te, omega, area):
        sine, cosine = np.sin(omega * te), np.cos(omega * te)
        open_phase = omega * np.exp(-alpha * te) + alpha * sine - omega * cosine
        return (alpha**2 + omega**2) * sine * area + open_phase

    alpha = elementwise.find_root(closes, (0.0, 100.0), args=(te, omega, area)).x
    return Pulse(te, tp, ta, epsilon, alpha, -1 / (np.exp(alpha * te) * np.sin(omega * te)))


def spectrum(shape: Pulse, harmonic: np.ndarray) -> np.ndarray:
    """Fourier transform of one flow-derivative pulse at `harmonic` > 0 (multiples of F0), complex.

    Time is in periods: multiply by sample_rate / F0 for the spectrum of the sampled pulse.
    """
    te, tp, ta, epsilon, alpha, e0 = shape
    omega, s = np.pi / tp, 2j * np.pi * harmonic
    sine, cosine = np.sin(omega * te), np.cos(omega * te)
    growth = alpha - s
    opening = omega + np.exp(growth * te) * (growth * sine - omega * cosine)
    tail = epsilon * (1 - epsilon * ta) * (1 - np.exp(-s * (1 - te))) - epsilon * ta * s
    return (
        e0 / (growth**2 + omega**2) * opening
        + np.exp(-s * te) / (epsilon * ta * s * (epsilon + s)) * tail
    )


def waveform(rd: float, time: np.ndarray) -> np.ndarray:
    """Flow derivative at `time` 0..1 within the period; its minimum is -1, at te."""
    te, tp, ta, epsilon, alpha, e0 = pulse(rd)
    opening = e0 * np.exp(alpha * np.minimum(time, te)) * np.sin(np.pi / tp * time)
    closing = (np.exp(-epsilon * (time - te)) - np.exp(-epsilon * (1 - te))) / (-epsilon * ta)
    return np.where(time <= te, opening, closing)
