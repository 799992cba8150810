"""Which words changed a score: each is left out once, and the change is its effect.

Axes: w word, n text, k point of a curve.
"""

from collections.abc import Sequence

import numpy as np

from mmlib.dyfulm.kept import STARS, Kept


def stars(model: Kept, texts: Sequence[str]) -> np.ndarray:
    """Expected stars of texts, 1..5, by the calibrated probabilities, (n,)."""
    return model.read(list(texts)).fine @ STARS


def occlusion(model: Kept, text: str) -> tuple[list[str], np.ndarray]:
    """The words of a text, by spaces, and the effect of each on the expected stars, (w,).

    An effect is the score of the whole text minus its score without that word: above 0 the word
    raised it (Zeiler and Fergus 2014, for words Li et al. 2016). ValueError for fewer than two.
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
    """Expected stars after the first words of an order are deleted, a value a share of them, (k,).

    A faithful order moves the score faster than a random one does.
    """
    counts = [round(share * len(words)) for share in shares]
    kept = [sorted(set(range(len(words))) - set(order[:count])) for count in counts]
    return stars(model, [" ".join(words[i] for i in rows) for rows in kept])
