"""From a corpus to one vector a modality and utterance: frozen text states, pooled sequences.

Axes: n utterances, t frame, d feature, m modality.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from string import ascii_lowercase

import numpy as np

from mmlib.data import Corpus, DataError, Sequences
from mmlib.data.corpus import check_finite
from mmlib.stack.vectors import Features, Scaler
from mmlib.text import encoding

CONSTANT = "constant"  # the modality of `with_constant`
log = logging.getLogger(__name__)
LETTERS = {"t": "text", "a": "audio", "v": "vision", "c": CONSTANT}  # of `variant`


def pool(sequences: Sequences) -> np.ndarray:
    """Mean and standard deviation over the valid frames, (n, 2 d); (n, d) if no t exceeds 1.

    Neither padding nor a frame of zeros enters: trackers write zeros where they have lost the face
    or the voice. An utterance without a valid frame is 0.
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
    full = np.flatnonzero(lengths)  # reduceat cannot sum an empty stretch
    if len(full):
        starts = (np.cumsum(lengths) - lengths)[full]
        out[full] = np.add.reduceat(values, starts, axis=0, dtype=np.float64)
    return out


def raw(
    corpus: Corpus, modalities: Sequence[str], **encoder: object
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Unscaled features x[m] (n, d) and who has them, present (n, m); `encoder`: see `build`."""
    x, present = {}, np.ones((len(corpus), len(modalities)), dtype=bool)
    for i, m in enumerate(modalities):
        if m == "text" and m not in corpus.sequences:
            there = np.array([bool(text) for text in corpus.text])  # (n,)
            texts = [text for text in corpus.text if text]
            states = encoding.encode(texts, **encoder)  # (n, d) or (n, l, d)
            x[m] = np.zeros((len(corpus), states[0].size), np.float32)
            x[m][there], present[:, i] = states.reshape(len(states), -1), there
        else:
            frames = corpus.sequences[m]
            check_finite(m, frames.values, corpus.ids, frames.lengths)
            x[m] = pool(frames)
            present[:, i] = x[m].any(axis=1)  # without a valid frame all is zero
    return x, present


def build(
    corpus: Corpus,
    modalities: Sequence[str] | None = None,
    scaler: Scaler | None = None,
    **encoder: object,
) -> Features:
    """Features of the corpus' modalities (default: all of them), scaled by its training split.

    `scaler`: of another corpus, to apply a model trained there; the default is then its modalities.
    `encoder`: arguments of `mmlib.text.encoding.encode`; by default the mean-pooled states of all
    layers, end to end. Frames that the corpus has under "text" (`text_features` of `read_mmsa`)
    stand for its words, which no encoder then reads; a warning says so. DataError where a modality
    is not in the corpus or not finite, nobody in training has it, or its number of features is not
    the scaler's.
    """
    modalities = tuple(modalities or (scaler.mean if scaler else corpus.modalities))
    missing = [m for m in modalities if m not in corpus.modalities]
    if missing:
        raise DataError(
            f"{corpus.name} has no {', '.join(missing)}; it has {', '.join(corpus.modalities)}"
        )
    encoder = {"layers": "all", **encoder}
    from_file = "text" in modalities and "text" in corpus.sequences
    x, present = raw(corpus, modalities, **encoder)
    scaler = scaler or Scaler.fit(x, present, corpus.rows("train"))
    x = scaler.apply(x, present)
    if from_file:
        if any(corpus.text or ()):
            log.warning("%s: the frames named 'text' stand for its words, which are not read; give "
                        "them another name to use both", corpus.name)  # fmt: skip
        about = {"text": "token features of the file", "encoder": {}}
    else:
        about = {"encoder": encoder}
    return Features.of(corpus, x, present, scaler, **about)


def with_constant(data: Features) -> Features:
    """The same utterances and a modality "constant" that is 1 for all and tells nothing."""
    n = len(data)
    x = {**data.x, CONSTANT: np.ones((n, 1), np.float32)}
    return replace(data, x=x, present=np.hstack([data.present, np.ones((n, 1), bool)]))


def variant(modalities: Sequence[str]) -> str:
    """Short name of a set of modalities: ("text", "audio") is "ta".

    t, a, v and c are those of `LETTERS`; another modality has the first letter of its name that is
    still free, else of the alphabet. DataError where none is left.
    """
    letters: dict[str, str] = {m: letter for letter, m in LETTERS.items()}
    for m in (m for m in modalities if m not in letters):
        free = (x for x in m.lower() + ascii_lowercase if x not in letters.values())
        letters[m] = next((x for x in free if x in ascii_lowercase), "")
        if not letters[m]:
            raise DataError(f"no letter is left for modality {m!r}; name fewer of them")
    return "".join(letters[m] for m in modalities)
