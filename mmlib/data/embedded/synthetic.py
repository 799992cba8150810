"""The embedded corpus: sentiment and informativeness of every modality are known.

    y        sentiment, a multiple of 1/3 in [-3, 3], many zeros (as in CMU-MOSEI)
    q_m      informativeness of modality m in [0, 1], latent, but visible in the input's manner
    s_m      = 0.2 ** q_m * 6 ** (1 - q_m), the noise of the evidence
    e_m      = clip(y + s_m * normal, -3, 3), the evidence: what the words, voice or face express

Words express e_m to within 0.2. A modality with low q_m is often wrong. A model that estimates q_m
can weight the three modalities accordingly; any other must use fixed weights. There are two upper
bounds: the best weighting, sum_m w_m e_m with w_m the shares of the precisions 1 / s_m^2, which is
the best that attention can reach; and the oracle, the exact posterior median of y given all e_m and
q_m, which also uses the frequencies of the labels. With `control=True`, q_m is the same for all
utterances, and fixed weights are optimal.
Axes: n utterances, t frame, d feature, m modality (text, audio, vision).
"""

import numpy as np
from scipy.stats import norm

from mmlib.data.columns import COVAREP, FACET
from mmlib.data.corpus import Corpus, Sequences
from mmlib.data.embedded import grammar
from mmlib.data.embedded.groups import numbered

MODALITIES = ("text", "audio", "vision")
GRID = np.arange(-9, 10) / 3  # (19,), the possible values of a label
CLEAR, UNCLEAR = 0.2, 6.0  # noise of the evidence at informativeness 1 and 0
CONTROL = {"text": 0.8, "audio": 0.75, "vision": 0.7}  # informativeness, control corpus
MISSING = 0.05  # share of utterances without audio, and without vision

# Typical values of each COVAREP column (mean, sd), and its shift in sd for evidence of +3 and for a
# loss of clarity from 1 to 0: a loud, high, tense voice is positive here.
AUDIO = {
    "F0": (180, 40, 1.2, 0), "VUV": (0.6, 0.2, 0, -1.6), "NAQ": (0.11, 0.03, -1.0, 0),
    "QOQ": (0.42, 0.1, -0.5, 0), "H1H2": (5, 3, -0.7, 0), "PSP": (0.35, 0.1, 0.3, 0),
    "MDQ": (0.12, 0.02, -0.4, 0), "peakSlope": (-0.4, 0.1, 1.1, 0), "Rd": (1.4, 0.4, -0.6, 0),
    "Rd_conf": (0.6, 0.12, 0, -1.4), "creak": (0, 0, 0, 0), "MCEP_0": (-8, 1.3, 1.2, 0.3),
    "MCEP_1": (1.2, 0.5, 0.6, -0.4), "MCEP_2": (0.4, 0.4, -0.4, 0), "MCEP_3": (0.2, 0.3, 0.4, 0),
}  # fmt: skip
MCEP_HIGH, HMPDM, HMPDD = (0, 0.15, 0, 0), (0, 1.0, 0, 0), (-1, 0.3, 0, 1.2)
VISION = {  # mean shift of the FACET channels, log10 odds
    "Joy": 1.0, "AU6": 0.7, "AU12": 1.0, "AU25": 0.3, "Anger": -0.8, "Contempt": -0.5,
    "Disgust": -0.6, "Sadness": -0.8, "AU4": -0.7, "AU15": -0.8, "AU17": -0.4,
}  # fmt: skip


def synthetic(seed: int = 0, n: int = 6000, control: bool = False) -> Corpus:
    """The embedded corpus of n utterances (at least 200), deterministic in its arguments.

    `truth` holds "informativeness" (n, m) in [0, 1], "evidence" (n, m) in [-3, 3], "precision" (n,
    m) = 1 / s_m^2 (0 if the modality is missing), "weights" (n, m), the shares of the precision,
    "weighted" (n,), the weighted mean of the evidence, and "oracle" (n,), the posterior median.
    DataError if n is too small for three splits.
    """
    rng = np.random.default_rng(seed)
    group, identity = numbered("speaker", n)
    y = rng.choice(GRID, size=n, p=prior())
    q, present = _informativeness(n, control, rng)
    evidence = np.clip(y[:, None] + noise_of(q) * rng.standard_normal(q.shape), -3, 3)
    text = _text(evidence[:, 0], q[:, 0], control, rng)
    precision = present / noise_of(q) ** 2
    weights = precision / precision.sum(axis=1, keepdims=True)
    truth = {
        "informativeness": np.where(present, q, 0), "evidence": evidence, "precision": precision,
        "weights": weights, "weighted": (weights * evidence).sum(axis=1),
        "oracle": oracle(evidence, q, present),
    }  # fmt: skip
    sequences = {
        "audio": _audio(evidence[:, 1], q[:, 1], present[:, 1], group, rng),
        "vision": _vision(evidence[:, 2], q[:, 2], present[:, 2], group, rng),
    }
    variant = f"seed {seed}, {n} utterances" + (", control: fixed weights optimal" * control)
    return Corpus(name="synthetic", variant=variant, **identity, label=y, text=text,
                  sequences=sequences, truth=truth)  # fmt: skip


def noise_of(q: np.ndarray) -> np.ndarray:
    """Standard deviation of the evidence at informativeness q in [0, 1]."""
    return CLEAR**q * UNCLEAR ** (1 - q)


def prior() -> np.ndarray:
    """Probability of each label in GRID, (19,): 22 % zeros, the rest bell-shaped around 0.2."""
    bell = np.exp(-0.5 * ((GRID - 0.2) / 1.3) ** 2) * (GRID != 0)
    return np.where(GRID == 0, 0.22, 0.78 * bell / bell.sum())


def oracle(evidence: np.ndarray, q: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Posterior median of y (n,) given evidence, informativeness and presence, all (n, m).

    No predictor of y from the evidence has a lower expected absolute error. Evidence of -3 or 3 has
    the probability of the whole clipped tail.
    """
    s = noise_of(q)[..., None]  # (n, m, 1)
    z = (evidence[..., None] - GRID) / s  # (n, m, 19)
    density = norm.logpdf(z) - np.log(s)
    tail = np.where(evidence[..., None] > 0, norm.logsf(z), norm.logcdf(z))
    log = np.where(np.abs(evidence[..., None]) >= 3, tail, density) * present[..., None]
    log = log.sum(axis=1) + np.log(prior())  # (n, 19)
    posterior = np.exp(log - log.max(axis=1, keepdims=True))
    cumulative = posterior.cumsum(axis=1) / posterior.sum(axis=1, keepdims=True)
    return GRID[(cumulative >= 0.5).argmax(axis=1)]


def _informativeness(n: int, control: bool, rng: np.random.Generator):
    """q (n, m) and present (n, m) bool; q of text has five levels, one per grammar manner."""
    if control:
        q = np.tile([CONTROL[m] for m in MODALITIES], (n, 1))
        return q, np.ones((n, 3), dtype=bool)
    q = rng.beta(0.4, 1.2, size=(n, 3))
    q[np.arange(n), rng.integers(3, size=n)] = 1 - 0.2 * rng.random(n)  # one is always clear
    q[:, 0] = np.round(q[:, 0] * 4) / 4
    missing = rng.random((n, 3)) < [0, MISSING, MISSING]
    return q, ~missing


def _text(value, q, control, rng) -> tuple[str, ...]:
    """Sentences that express `value` (n,), in the manner that corresponds to q (n,)."""
    manners = list(grammar.MANNERS)[::-1]  # from sarcastic, q = 0, to plain, q = 1
    level = np.full(len(q), 3) if control else np.round(q * 4).astype(int)
    return tuple(grammar.sentence(v, manners[k], rng) for v, k in zip(value, level, strict=True))


def _frames(mean, sd, q, lengths, rng) -> np.ndarray:
    """Frames (sum t, d) around each utterance's mean (n, d); their variance grows as q falls."""
    restless = np.broadcast_to(sd * (0.4 + 1.2 * (1 - q)[:, None]), mean.shape)  # (n, d)
    frames = rng.standard_normal((lengths.sum(), mean.shape[1]), dtype=np.float32)
    at = np.repeat(np.arange(len(lengths)), lengths)
    frames *= restless.astype(np.float32)[at]
    frames += mean.astype(np.float32)[at]
    return frames


def _speakers(group: np.ndarray, d: int, rng) -> np.ndarray:
    """A random offset that is the same in all utterances of a speaker, (n, d)."""
    return 0.1 * rng.standard_normal((group.max() + 1, d))[group]


def _audio(evidence, q, present, group, rng) -> Sequences:
    """COVAREP-like sequences: low q changes voicing, Rd_conf, HMPDD and the frames' variance."""
    kinds = {"MCEP": MCEP_HIGH, "HMPDM": HMPDM, "HMPDD": HMPDD}
    table = [AUDIO.get(column) or kinds[column.split("_")[0]] for column in COVAREP]
    mean, sd, by_value, by_clarity = np.array(table).T  # (d,) each
    lengths = rng.integers(15, 45, size=len(q)) * present
    shift = evidence[:, None] / 3 * by_value + (1 - q)[:, None] * by_clarity  # (n, d)
    shift = shift + _speakers(group, len(COVAREP), rng)
    frames = _frames(mean + sd * shift, sd, q, lengths, rng)
    for column, low, high in (("VUV", 0, 1), ("F0", 50, 500), ("NAQ", 0, 1), ("Rd", 0.3, 2.7)):
        k = COVAREP.index(column)
        frames[:, k] = frames[:, k].clip(low, high)
    return Sequences(frames, lengths, COVAREP)


def _vision(evidence, q, present, group, rng) -> Sequences:
    """FACET-like sequences: with low q, the face is lost (all zero) in many frames."""
    by_value = np.array([VISION.get(c, 0.0) for c in FACET])  # (d,)
    lengths = rng.integers(10, 30, size=len(q)) * present
    mean = -0.3 + 2.0 * evidence[:, None] / 3 * by_value + _speakers(group, len(FACET), rng)
    frames = _frames(mean, np.ones(len(FACET)), q, lengths, rng)
    lost = rng.random(len(frames)) < np.repeat(0.5 * (1 - q), lengths)
    return Sequences(frames * ~lost[:, None], lengths, FACET)
