"""Apply a trained DAF to new utterances: sentiment with an interval, modality weights, ablations.

The models in `mmlib/daf/weights` are made by `mmlib.daf.pretrain`; each has a model card beside it.
Axes: n utterances, m modality.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.daf import features, interpret, saved, train
from mmlib.daf.saved import Saved
from mmlib.data import Corpus, DataError, Sequences
from mmlib.stack.vectors import Features

MODELS = Path(__file__).with_name("weights")


def model_for(corpus: Corpus) -> Saved:
    """The model trained on MOSI's text and audio; the one with vision if the corpus has vision."""
    return saved.load(
        MODELS / f"mosi-{'tav' if 'vision' in corpus.modalities else 'ta'}.safetensors"
    )


def borrowed(model: Saved) -> tuple[str, ...]:
    """Modalities that the model learned from synthetic data only, not from real recordings."""
    return tuple(model.about["data"].get("borrowed", ()))


def matched(corpus: Corpus, columns: Mapping[str, Sequence[str]]) -> Corpus:
    """The corpus in the form of the model's training data: MOSI's spelling, utterance means.

    columns: modality -> names of the features to keep; others are dropped. A modality that the
    corpus lacks is marked missing for every utterance. DataError if text or a column is missing.
    """
    if corpus.text is None:
        raise DataError(f"{corpus.name} has no text; the model reads text")
    n, sequences = len(corpus), {}
    for m, names in columns.items():
        none = Sequences(np.zeros((0, len(names))), np.zeros(n), tuple(names))
        sequences[m] = means(corpus.sequences[m].only(names)) if m in corpus.sequences else none
    return replace(corpus, text=tuple(map(plain, corpus.text)), sequences=sequences)


def means(sequences: Sequences) -> Sequences:
    """The mean frame of each utterance; no frame for an utterance whose frames are all zero."""
    mean = features.pool(sequences)[:, : len(sequences.columns)]  # (n, d)
    present = mean.any(axis=1)
    return Sequences(mean[present], present.astype(int), sequences.columns)


def plain(text: str) -> str:
    """Lower case, no punctuation except apostrophes, as in MOSI; unchanged if no word is left."""
    return " ".join(re.sub(r"[^\w' ]+|_", " ", text.lower().replace("’", "'")).split()) or text


def verdict(model: Saved, corpus: Corpus) -> pd.DataFrame:
    """The model's prediction for every utterance, one row each.

    Columns: id; heard, the modalities it has ("text+audio"); score, in [-3, 3] or a little outside;
    low, high, the score's interval; weight_<m> (0 if missing); opinion_<m> (NaN if missing);
    without_<m>, the score without that modality (NaN if it is missing, or the only one). All are
    means over the stack; opinions are averaged by weight, so weights times opinions sum to the
    score. The interval is split conformal (Vovk et al. 2005, ch. 2): with the same modalities it
    covered the share `model.about["data"]["coverage"]` on "valid". DataError as in `matched`.
    """
    data = model.features(matched(corpus, model.about["data"]["columns"]))
    prediction = train.predict(model.model, data)
    score, weights = prediction.score.mean(axis=0), prediction.weights.mean(axis=0)  # (n,), (n, m)
    terms = (prediction.weights * prediction.opinions).mean(axis=0)  # (n, m), add up to the score
    opinions = np.divide(terms, weights, out=np.full_like(terms, np.nan), where=data.present)
    half = _halfwidth(model, data)
    heard = ["+".join(_of(data.modalities, row)) for row in data.present]
    table = pd.DataFrame({"id": data.ids, "heard": heard, "score": score})
    table["low"], table["high"] = score - half, score + half
    for i, m in enumerate(data.modalities):
        table[f"weight_{m}"], table[f"opinion_{m}"] = weights[:, i], opinions[:, i]
        table[f"without_{m}"] = _without(model, data, m)
    return table


def _halfwidth(model: Saved, data: Features) -> np.ndarray:
    """Half-width of each utterance's interval, (n,); borrowed modalities are not counted in it."""
    measured = ~np.isin(data.modalities, borrowed(model))  # (m,)
    names = ["+".join(_of(data.modalities, row & measured)) for row in data.present]
    return np.array([model.about["data"]["halfwidth"][name] for name in names])


def _without(model: Saved, data: Features, modality: str) -> np.ndarray:
    """The score without a modality, (n,); NaN if the utterance lacks it or has no other."""
    column = data.modalities.index(modality)
    less = train.predict(model.model, interpret.perturb(data, modality, "missing"))
    possible = data.present[:, column] & (data.present.sum(axis=1) > 1)
    return np.where(possible, less.score.mean(axis=0), np.nan)


def _of(names: Sequence[str], present: np.ndarray) -> list[str]:
    return [name for name, there in zip(names, present, strict=True) if there]
