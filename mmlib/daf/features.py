"""From a corpus to one vector per modality and utterance: frozen text states, pooled sequences.

Axes: n utterances, t frame, d feature, m modality.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmlib.data import Corpus, DataError, Sequences
from mmlib.data.corpus import check_finite
from mmlib.stack.vectors import Features, Scaler
from mmlib.text import encoding

CONSTANT = "constant"  # name of the modality that `with_constant` adds
log = logging.getLogger(__name__)
LETTERS = {"t": "text", "a": "audio", "v": "vision", "c": CONSTANT}  # used by `variant`


def pool(sequences: Sequences) -> np.ndarray:
    """Mean and standard deviation over the valid frames, (n, 2 d).

    If no utterance has more than one frame, the mean alone, (n, d). Padding and all-zero frames are
    left out: trackers write zeros when they lose the face or voice. Without valid frames: zeros.
    """
    valid = sequences.values.any(axis=1)  # (frames,)
    at = np.repeat(np.arange(len(sequences)), sequences.lengths)[valid]  # utterance of each frame
    values, lengths = sequences.values[valid], np.bincount(at, minlength=len(sequences))
    t = np.maximum(lengths, 1)[:, None]  # (n, 1)
    mean = _sum(values, lengths) / t  # (n, d)
    if sequences.lengths.max(initial=0) <= 1:
        return mean.astype(np.float32)
    sd = np.sqrt(_sum((values - mean.astype(np.float32)[at]) ** 2, lengths) / t)
    return np.concatenate([mean, sd], axis=1).astype(np.float32)


def _sum(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sums over each utterance's frames, (n, d) float64."""
    out = np.zeros((len(lengths), values.shape[1]))
    full = np.flatnonzero(lengths)  # reduceat cannot sum an empty range
    if len(full):
        starts = (np.cumsum(lengths) - lengths)[full]
        out[full] = np.add.reduceat(values, starts, axis=0, dtype=np.float64)
    return out


def raw(
    corpus: Corpus, modalities: Sequence[str], **encoder: object
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Unscaled x[m] (n, d), present (n, m) bool; DataError if not finite; encoder: see `build`."""
    x, present = {}, np.ones((len(corpus), len(modalities)), dtype=bool)
    for i, m in enumerate(modalities):
        if m == "text" and m not in corpus.sequences:
            there = np.array([bool(text.strip()) for text in corpus.text])  # (n,)
            texts = [text for text in corpus.text if text.strip()]
            states = encoding.encode(texts or ["."], **encoder)  # (n, d) or (n, l, d)
            x[m] = np.zeros((len(corpus), states[0].size), np.float32)
            x[m][there], present[:, i] = states.reshape(len(states), -1)[: len(texts)], there
        else:
            frames = corpus.sequences[m]
            check_finite(m, frames.values, corpus.ids, frames.lengths)
            x[m] = pool(frames)
            present[:, i] = x[m].any(axis=1)  # all features are zero without a valid frame
    return x, present


def build(
    corpus: Corpus,
    modalities: Sequence[str] | None = None,
    scaler: Scaler | None = None,
    **encoder: object,
) -> Features:
    """Features of the corpus' modalities (default: all of them), scaled by its training split.

    scaler: that of another corpus, to apply a model trained there; it sets the default modalities.
    encoder: arguments of `mmlib.text.encoding.encode`; by default the mean-pooled states of all
    layers, concatenated. If the corpus has frames named "text" (`text_features` of `read_mmsa`),
    these are used and the words are not encoded; a warning says so. DataError if a modality is not
    in the corpus, is not finite or is absent from all training utterances, or if its number of
    features differs from the scaler's.
    """
    asked = modalities or (scaler.mean if scaler else corpus.modalities)
    modalities = tuple(dict.fromkeys(asked))
    missing = [m for m in modalities if m not in corpus.modalities]
    if missing:
        raise DataError(
            f"{corpus.name} has no {', '.join(missing)}; it has {', '.join(corpus.modalities)}"
        )
    encoder = {"layers": "all", **encoder}
    from_file = "text" in modalities and "text" in corpus.sequences
    x, present = raw(corpus, modalities, **encoder)
    for m, there in zip(modalities, present.any(axis=0), strict=True):
        if scaler and m in scaler.mean and not there:  # nobody has it: zeros as wide as in training
            x[m] = np.zeros((len(corpus), len(scaler.mean[m])), np.float32)
    scaler = scaler or Scaler.fit(x, present, corpus.rows("train"))
    x = scaler.apply(x, present)
    if from_file:
        if any(corpus.text or ()):
            log.warning("%s: the frames named 'text' replace its words, which are not read; give "
                        "them another name to use both", corpus.name)  # fmt: skip
        about = {"text": "token features of the file", "encoder": {}}
    else:
        about = {"encoder": encoder}
    return Features.of(corpus, x, present, scaler, **about)


def with_constant(data: Features) -> Features:
    """Add a modality "constant" that is 1 for every utterance and so carries no information."""
    n = len(data)
    x = {**data.x, CONSTANT: np.ones((n, 1), np.float32)}
    return replace(data, x=x, present=np.hstack([data.present, np.ones((n, 1), bool)]))


def variant(modalities: Sequence[str]) -> str:
    """Short name of a set of modalities: ("text", "audio") is "ta".

    t, a, v and c are those of `LETTERS`. With any other modality the names are written out, so that
    no two sets have one name: ("text", "pose") is "text+pose".
    """
    letters = {m: letter for letter, m in LETTERS.items()}
    known = letters.keys() >= {*modalities}
    return "".join(letters[m] for m in modalities) if known else "+".join(modalities)
