"""The effect of each word on a score, measured by leaving the word out (occlusion).

Axes: w word, n text, k point of a curve.
"""

from collections.abc import Sequence

import numpy as np

from mmlib.dyfulm.kept import STARS, Kept


def stars(model: Kept, texts: Sequence[str]) -> np.ndarray:
    """Expected number of stars of each text, 1..5, under the calibrated probabilities, (n,)."""
    return model.read(texts).fine @ STARS


def occlusion(model: Kept, text: str) -> tuple[list[str], np.ndarray]:
    """The words of a text, split at spaces, and the effect of each on the expected stars, (w,).

    An effect is the score of the whole text minus its score without the word; above 0, the word
    raises the score (Zeiler and Fergus 2014; for words Li et al. 2016). ValueError for one word.
    """
    words = text.split()
    if len(words) < 2:
        raise ValueError(f"{text!r}: one word cannot be left out of itself; give a longer text")
    less = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    whole, *without = stars(model, [text, *less])
    return words, whole - np.array(without)


def deletion(
    model: Kept, words: Sequence[str], order: Sequence[int], shares: Sequence[float]
) -> np.ndarray:
    """Expected stars after the first words of `order` are deleted, for each share of words, (k,).

    A faithful order changes the score faster than a random order.
    """
    counts = [round(share * len(words)) for share in shares]
    kept = [sorted(set(range(len(words))) - set(order[:count])) for count in counts]
    return stars(model, [" ".join(words[i] for i in rows) for rows in kept])
