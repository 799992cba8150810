"""Glottal shape from phase: Rd by mean squared phase (MSP).

G. Degottex, A. Roebel, X. Rodet, "Phase Minimization for Glottal Model Estimation", IEEE TASLP
19(5), 2011; "Function of phase-distortion for glottal model estimation", ICASSP 2011 (MSPD2).

The error measures how far phases are from minimum phase after the glottal model is divided out.
Phases and log amplitudes of measurement and model add up. The model's part is therefore a curve
over Rd for each number of harmonics: it is tabulated once, and all frames are searched at once.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from mmlib.covarep import lf
from mmlib.covarep.conventions import wrap
from mmlib.covarep.sinusoids import Sinusoids

LOWEST, HIGHEST, TOLERANCE, EVALUATIONS = 0.3, 2.5, 0.01, 33
GOLDEN = (3 - np.sqrt(5)) / 2
TOP = 8000  # Hz, above which harmonics are not used
USED = 8  # harmonics whose phases are compared
# Which three of the points 0, 1, 2 and the new one (3) stay if that ranks first .. fourth.
INSERTED = np.array([[3, 0, 1], [0, 3, 1], [0, 1, 3], [0, 1, 2]]).T
GRID = np.linspace(LOWEST, HIGHEST, 441)


@lru_cache(maxsize=512)
def minimum_phase(count: int) -> np.ndarray:
    """Matrix (USED, count + 1): minimum phase at harmonics 1..USED of log amplitudes at 0..count.

    It is the discrete Hilbert transform of an even spectrum with a period of 2 count.
    """
    offset = np.arange(1, USED + 1)[:, None] - np.arange(2 * count)
    kernel = np.zeros(offset.shape)
    odd = offset % 2 == 1
    kernel[odd] = -1 / (count * np.tan(np.pi * offset[odd] / (2 * count)))
    kernel[:, 1:count] += kernel[:, :-count:-1]
    return kernel[:, : count + 1]


def excess_phase(log_amplitude: np.ndarray, phase: np.ndarray, count: int, sign: int) -> np.ndarray:
    """Phase plus `sign` times minimum phase at harmonics 1..USED, (f, USED), rad.

    Columns are harmonics 0..count. As in the original, both end values of the amplitude are copies
    of their neighbours, and the last harmonic's phase is 0; past it the spectrum is mirrored.
    """
    level = log_amplitude[:, : count + 1].copy()
    level[:, 0], level[:, count] = level[:, 1], level[:, count - 1]
    excess = np.zeros((len(phase), max(count, USED) + 1))
    excess[:, 1:count] = phase[:, 1:count]
    for h in range(count + 1, USED + 1):
        excess[:, h] = -excess[:, 2 * count - h]
    return excess[:, 1 : USED + 1] + sign * level @ minimum_phase(count).T


def distortion(phase: np.ndarray) -> np.ndarray:
    """Second-order phase differences (..., USED - 1), rad, which a linear phase does not change."""
    return phase[..., 1:] - phase[..., :-1] - phase[..., :1]


@lru_cache(maxsize=2)
def glottal_spectra(top: int) -> tuple[np.ndarray, np.ndarray]:
    """Log amplitude and phase, (grid, top + 1) each, of the LF model over the grid of Rd."""
    harmonic = np.arange(1, top + 1)
    spectra = lf.spectrum(lf.Pulse(*(v[:, None] for v in lf.pulse(GRID))), harmonic)
    log_amplitude, phase = np.log(np.abs(spectra)), np.unwrap(np.angle(spectra), axis=0)
    return tuple(np.pad(v, ((0, 0), (1, 0))) for v in (log_amplitude, phase))


@lru_cache(maxsize=512)
def model_distortion(count: int, published: bool) -> np.ndarray:
    """Cubic splines (grid - 1, 4, USED - 1) over the grid of Rd of the model's distortion.

    The published method subtracts the model's phase from the measured one. The original program
    adds it, because one of two conjugations is missing.
    """
    log_amplitude, phase = glottal_spectra(256 if count <= 256 else 512)
    phase = -phase if published else phase
    curves = distortion(excess_phase(log_amplitude, phase, count, +1))
    return np.ascontiguousarray(np.moveaxis(CubicSpline(GRID, curves).c, 1, 0))


def error_function(
    sinusoids: Sinusoids, published: bool = False
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The error as a function of rd (f,) and rows (f,): mean squared phase (f,), rad^2."""
    harmonic = np.arange(sinusoids.amplitude.shape[1])
    used = (harmonic * sinusoids.step[:, None] <= TOP) & (harmonic <= sinusoids.count[:, None])
    counts, table = np.unique(used.sum(axis=1) - 1, return_inverse=True)
    splines = np.stack([model_distortion(int(k), published) for k in counts])  # (k, grid - 1, 4, 7)
    log_amplitude = np.log(sinusoids.amplitude)
    measured = np.empty((len(table), USED - 1))
    for i, count in enumerate(counts):
        rows = table == i
        excess = excess_phase(log_amplitude[rows], sinusoids.phase[rows], int(count), -1)
        measured[rows] = distortion(excess)
    spacing = GRID[1] - GRID[0]

    def error(rd: np.ndarray, rows: np.ndarray) -> np.ndarray:
        cell = np.minimum(((rd - LOWEST) / spacing).astype(np.int64), len(GRID) - 2)
        c3, c2, c1, c0 = np.moveaxis(splines[table[rows], cell], 1, 0)
        t = (rd - GRID[cell])[:, None]
        model = c0 + t * (c1 + t * (c2 + t * c3))
        return np.mean(wrap(measured[rows] + model) ** 2, axis=1)

    return error


def trial_points(
    a: np.ndarray, b: np.ndarray, points: np.ndarray, values: np.ndarray, moves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The next points (f,) of Brent's method in a..b (f,), and the last two moves (2, f) with them.

    points and values (3, f): the best, the second best, and the previous second best. Next is the
    minimum of their parabola if moves shrink fast enough, else a golden section of the larger side.
    """
    (x, w, v), (fx, fw, fv), (step, before) = points, values, moves
    middle, tol = (a + b) / 2, tolerance(x)
    r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
    p, q = (x - v) * q - (x - w) * r, 2 * (q - r)
    p, q = np.where(q > 0, -p, p), np.abs(q)
    fits = (np.abs(before) > tol) & (np.abs(p) < np.abs(q * before / 2))
    fits &= (p > q * (a - x)) & (p < q * (b - x))
    aside = np.where(x >= middle, a - x, b - x)
    move = np.where(fits, p / np.where(fits, q, 1), GOLDEN * aside)
    at_edge = fits & ((x + move - a < 2 * tol) | (b - x - move < 2 * tol))
    move = np.where(at_edge, np.where(middle >= x, tol, -tol), move)
    u = x + np.where(move >= 0, 1, -1) * np.maximum(np.abs(move), tol)
    return u, np.stack([move, np.where(fits, step, aside)])


def ranked(
    points: np.ndarray, values: np.ndarray, u: np.ndarray, fu: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The three points that are kept and their values, (3, f) each, given the error fu at u."""
    (x, w, v), (fx, fw, fv) = points, values
    rank = np.where((fu <= fv) | (v == x) | (v == w), 2, 3)
    rank = np.where((fu <= fw) | (w == x), 1, rank)
    kept = INSERTED[:, np.where(fu <= fx, 0, rank)]  # (3, f)
    return tuple(np.take_along_axis(np.vstack(a), kept, 0) for a in ((points, u), (values, fu)))


def tolerance(x: np.ndarray) -> np.ndarray:
    """Smallest move (f,) at x, absolute and relative part."""
    return np.sqrt(np.finfo(float).eps) * np.abs(x) + TOLERANCE / 3


def minimise(
    error: Callable[[np.ndarray, np.ndarray], np.ndarray], n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Minimum of n functions in LOWEST..HIGHEST: place and value, both (n,).

    Brent's bounded method in lockstep (R. Brent, "Algorithms for Minimization without Derivatives",
    1973, chapter 5). With several minima and a coarse tolerance, other trial points end elsewhere.
    """
    a, b = np.full(n, LOWEST), np.full(n, HIGHEST)
    points = np.tile(a + GOLDEN * (b - a), (3, 1))
    values = np.tile(error(points[0], np.arange(n)), (3, 1))
    moves = np.zeros((2, n))
    for _ in range(EVALUATIONS - 1):
        x = points[0]
        i = np.flatnonzero(np.abs(x - (a + b) / 2) > 2 * tolerance(x) - (b - a) / 2)
        if not len(i):
            break
        x = x[i]
        u, moves[:, i] = trial_points(a[i], b[i], points[:, i], values[:, i], moves[:, i])
        fu = error(u, i)
        better, right = fu <= values[0, i], u >= x
        end = np.where(better, x, u)  # the new end of the interval on one side
        a[i], b[i] = np.where(better == right, end, a[i]), np.where(better != right, end, b[i])
        points[:, i], values[:, i] = ranked(points[:, i], values[:, i], u, fu)
    return points[0], values[0]


def estimate_rd(sinusoids: Sinusoids, published: bool = False) -> np.ndarray:
    """Rd in 0.3..2.5 and its confidence 1 - sqrt(error) / pi in 0..1, (f, 2).

    published: the papers' method, which recovers the Rd of a known LF source. The default is that
    of the original program, whose values are in the data sets.
    """
    rd, error = minimise(error_function(sinusoids, published), len(sinusoids.f0))
    return np.stack([rd, 1 - np.sqrt(error) / np.pi], axis=1)
