"""DyFuLM's targets (coarse, fine, intensity), made from the labels of any corpus.

    label                  coarse (3)               fine (5)                 intensity
    stars 1..5             1-2, 3, 4-5              one per star             (stars - 1) / 4
    five classes 0..4      0-1, 2, 3-4              as they are              label / 4
    sentiment -3..3        sign                     round, clip to -2..2     (label + 3) / 6
    rating, valence        as stars 1 + 4 (label + 3) / 6, for labels low..high mapped to -3..3

Fractional stars are rounded to classes (half to even, like the usual acc5); fine is then a
refinement of coarse. For sentiment it is not: .3 is positive in coarse but neutral in fine.
The paper does not say how its labels and its intensity were made: all of this is our reading. Its
intensity is not a function of stars (see `PAPER_SD`), so a lexicon can be used instead.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmlib.data.corpus import Corpus, DataError, check_finite
from mmlib.files import refuse_unknown

COARSE = ("negative", "neutral", "positive")
FINE = ("very negative", "negative", "neutral", "positive", "very positive")
INTENSITIES = ("label", "lexicon", "lexicon_sentences")
_median = partial(np.quantile, q=0.5, method="inverted_cdf")
PAPER_SD = (0.0082 / (1 - 0.6903)) ** 0.5  # .163, sd of the paper's intensity: R2 = 1 - MSE / sd^2


class Targets(NamedTuple):
    """Three targets of n utterances."""

    coarse: np.ndarray  # (n,) int64, 0..2 as COARSE
    fine: np.ndarray  # (n,) int64, 0..4 as FINE
    intensity: np.ndarray  # (n,) float32 in [0, 1], 1 the most positive

    def take(self, rows: np.ndarray) -> "Targets":
        """The utterances `rows`, in that order."""
        return Targets(*(target[rows] for target in self))


def targets(corpus: Corpus, intensity: str = "label") -> Targets:
    """Targets of a corpus with stars, five classes or sentiment.

    intensity: "label", or from the words alone by VADER's lexicon (Hutto and Gilbert 2014):
    "lexicon" scores the whole text; "lexicon_sentences" is the mean over its sentences, which
    VADER's authors recommend for long texts. DataError for another scale, a NaN label, an unknown
    intensity, a corpus without text, or if vaderSentiment is not installed.
    """
    check_scale(corpus)
    check_finite("label", corpus.label, corpus.ids)
    by_label = _RULES[corpus.scale.name](corpus.label)
    refuse_unknown("intensity", [intensity], INTENSITIES, DataError)
    if intensity == "label":
        return by_label
    if corpus.text is None:
        raise DataError(f"{corpus.name} has no text for a lexicon to score; use intensity='label'")
    return by_label._replace(intensity=lexicon(corpus.text, intensity == "lexicon_sentences"))


def check_scale(corpus: Corpus) -> None:
    """DataError, one line with the remedy, if DyFuLM's targets cannot be made from the labels."""
    if corpus.scale.name not in _RULES:
        raise DataError(
            f"{corpus.name}: no targets for labels of scale {corpus.scale.name!r}; "
            f"there are rules for {', '.join(_RULES)}: DyFuLM's five classes and intensity cannot "
            "be made of fewer; give labels of five values or more, or train DAF on the text "
            "(notebook 02 takes this table)"
        )


def lexicon(texts: Sequence[str], by_sentence: bool = False) -> np.ndarray:
    """VADER's compound score as (score + 1) / 2 in [0, 1], (n,); takes about 1.5 ms per review.

    by_sentence: the mean over the sentences of each text.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise DataError("a lexicon needs vaderSentiment: pip install -e '.[lexicon]'") from None
    score = SentimentIntensityAnalyzer().polarity_scores
    parts = [(by_sentence and _sentences(text)) or [text] for text in texts]
    means = [np.mean([score(part)["compound"] for part in of_text]) for of_text in parts]
    return ((np.array(means) + 1) / 2).astype(np.float32)


def intensity_table(
    corpus: Corpus, weights: np.ndarray | None = None, intensities: Sequence[str] = INTENSITIES
) -> pd.DataFrame:
    """Spread of each kind of intensity in a corpus, and scores of the best constant, a row each.

    Columns: mean, sd, mae (of the median), mse (of the mean: sd squared) and sd_to_paper, the ratio
    to PAPER_SD. weights (n,): of the utterances, e.g. `natural_weights`.
    """
    lines = {name: _width(targets(corpus, name).intensity, weights) for name in intensities}
    frame = pd.DataFrame.from_dict(lines, orient="index").rename_axis("intensity")
    return frame.assign(sd_to_paper=frame["sd"] / PAPER_SD)


def constant(known: Targets, n: int, weights: np.ndarray | None = None) -> Targets:
    """The best constant prediction for n utterances: most frequent classes, median intensity.

    weights: of the known targets, if the constant is to be the best one under natural class shares.
    """
    coarse, fine = (np.bincount(y, weights).argmax() for y in (known.coarse, known.fine))
    middle = _median(known.intensity, weights=weights)
    return Targets(np.full(n, coarse), np.full(n, fine), np.full(n, middle, np.float32))


def _width(values: np.ndarray, weights: np.ndarray | None) -> dict[str, float]:
    mean = np.average(values.astype(float), weights=weights)
    mse = np.average((values - mean) ** 2, weights=weights)
    mae = np.average(abs(values - _median(values, weights=weights)), weights=weights)
    return {"mean": mean, "sd": mse**0.5, "mae": mae, "mse": mse}


def _of_classes(classes: np.ndarray, intensity: np.ndarray) -> Targets:
    """Targets from classes 0..4: two negative, one neutral, two positive."""
    fine = np.round(classes).astype(np.int64)
    return Targets(np.sign(fine - 2) + 1, fine, _in_unit(intensity))


def _of_sentiment(label: np.ndarray) -> Targets:
    fine = np.round(np.clip(label, -2, 2)).astype(np.int64) + 2
    coarse = np.sign(label).astype(np.int64) + 1
    return Targets(coarse, fine, _in_unit((label + 3) / 6))


def _of_range(label: np.ndarray) -> Targets:
    unit = np.round((label + 3) / 6, 5)  # so that halves are exact again
    return _of_classes(np.round(1 + 4 * unit) - 1, unit)


def _in_unit(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 1).astype(np.float32)  # a label may exceed the scale by 1e-4


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+", text) if part.strip()]


_RULES: dict[str, Callable[[np.ndarray], Targets]] = {
    "stars": lambda label: _of_classes(np.round(label) - 1, (label - 1) / 4),
    "five classes": lambda label: _of_classes(label, label / 4),
    "sentiment": _of_sentiment,
    "rating": _of_range,
    "valence": _of_range,
}
