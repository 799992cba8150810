"""Embedded hotel reviews: the content and weight of each sentence and the verdict are known.

    m        the guest's mood in [-3, 3]: the quality of the hotel plus a random part
    v_k      her opinion of aspect k: around m, or around -m if she concedes a point
    w_k      its weight, given by the wording ("matters most", "but", "hardly cared", "others")
    verdict  = clip(GAIN * sum(w v) / sum(w), -3, 3), a function of the words alone
    stars    = 3 + 2/3 * clip(verdict + NOISE * normal, -3, 3), the label, in [1, 5] with fractions

Opinions come from the grammar of the first corpus, so negated and graded phrases occur. A bag of
words sees the opinions but not their weights. What the words say (`truth`) is the best possible
prediction, because the noise is not visible. Axes: n reviews, k aspects.
"""

from typing import NamedTuple

import numpy as np

from mmlib.data.corpus import Corpus, Scale
from mmlib.data.embedded import grammar
from mmlib.data.embedded.groups import numbered

GAIN = 1.5  # a verdict is more extreme than the mean of its opinions
NOISE = 0.3
SPREAD = 1.0  # sd of one guest's opinions around her mood

ASPECTS = {
    "room": ("room", "bedroom", "suite"),
    "bed": ("bed", "mattress"),
    "bathroom": ("bathroom", "shower"),
    "staff": ("staff", "reception", "service"),
    "food": ("food", "breakfast", "dinner"),
    "location": ("location", "neighbourhood"),
    "price": ("price", "value for money"),
    "pool": ("pool", "gym", "spa"),
}
OCCASIONS = {
    "party": ("my wife and i", "we", "my family", "two colleagues and i", "my parents and i"),
    "nights": ("one night", "two nights", "three nights", "a week"),
    "time": ("in june", "last month", "in early spring", "over new year", "in the holidays"),
}
FACTS = (
    "{party} stayed {nights} {time}.",
    "we booked {nights} for a wedding.",
    "it was our second visit.",
    "our flight was late and we arrived after midnight.",
    "the building has five floors.",
)


class Opinion(NamedTuple):
    """The contribution of one clause: its weight, its side, and how its frame changes the value."""

    weight: float
    side: int = 1  # -1: a concession, opposite to the guest's mood
    turn: float = 1.0  # the frame multiplies the value of the words by this


_PLAIN, _CONCEDED, _HELD = Opinion(1), Opinion(0.5, -1), Opinion(1.5)
FORMS: tuple[tuple[str, tuple[Opinion, ...]], ...] = (
    ("the {} was {}.", (_PLAIN,)),
    ("i found the {} {}.", (_PLAIN,)),
    ("the {} was {}, but the {} was {}.", (_CONCEDED, _HELD)),
    ("although the {} was {}, the {} was {}.", (_CONCEDED, _HELD)),
    ("the {} was {}, even if the {} was {}.", (_HELD, _CONCEDED)),
    ("nobody would call the {} {}.", (Opinion(1, turn=grammar.NEGATED["not "]),)),
    ("what matters most to us is the {}, and it was {}.", (Opinion(3),)),
    ("we hardly cared about the {}, which was {}.", (Opinion(0.25, -1),)),
    ("other guests had called the {} {}.", (Opinion(0, -1),)),
    ("on our first visit the {} was still {}.", (Opinion(0, -1),)),
)


def synthetic_reviews(seed: int = 0, n: int = 2400) -> Corpus:
    """The embedded reviews, n of them (at least 200), deterministic in its arguments.

    Labels are stars in [1, 5], groups are hotels, splits 70/10/20 of whole hotels. `truth` holds
    what the words say: "values" (n, k) in [-3, 3] and "weights" (n, k) in the order of ASPECTS (0
    for an aspect that is not judged), and the verdict as "coarse" (n,), "fine" (n,) and "intensity"
    (n,) in [0, 1]. DataError if n is too small for three splits.
    """
    rng = np.random.default_rng(seed)
    hotel, identity = numbered("hotel", n)
    good = rng.normal(0, 0.6, (hotel[-1] + 1, 1))  # (hotels, 1)
    quality = good + rng.normal(0, 0.5, (len(good), len(ASPECTS)))  # (hotels, k)
    moods = rng.uniform(-2.4, 2.4, (n, 1)) + quality[hotel]  # (n, k)
    texts, values, weights = zip(*(_review(mood, rng) for mood in moods), strict=True)
    values, weights = np.array(values), np.array(weights)  # (n, k)
    verdict = np.clip(GAIN * (weights * values).sum(1) / weights.sum(1), -3, 3)
    stars = 3 + np.clip(verdict + NOISE * rng.standard_normal(n), -3, 3) * 2 / 3
    fine = np.round(verdict * 2 / 3).astype(np.int64) + 2
    truth = {"values": values, "weights": weights, "coarse": np.sign(fine - 2) + 1, "fine": fine,
             "intensity": (verdict + 3) / 6}  # fmt: skip
    return Corpus(name="synthetic_reviews", variant=f"seed {seed}, {n} reviews", **identity,
                  label=stars, text=texts, scale=Scale("stars", 1, 5), truth=truth)  # fmt: skip


def _review(mood: np.ndarray, rng: np.random.Generator) -> tuple[str, np.ndarray, np.ndarray]:
    """A random text by a guest of this mood (k,), its opinions' values (k,) and weights (k,)."""
    values, weights = np.zeros(len(ASPECTS)), np.zeros(len(ASPECTS))
    free = list(rng.permutation(len(ASPECTS)))
    facts = [grammar.filled(form, OCCASIONS, rng) for form in rng.permutation(FACTS)[:2]]
    sentences = facts[:1]
    for form in [rng.integers(2), *rng.integers(len(FORMS), size=rng.integers(2, 5))]:
        frame, opinions = FORMS[form]
        words = []
        for opinion in opinions:
            k = free.pop()
            phrase, values[k] = _worded(opinion, mood[k], rng)
            weights[k] = opinion.weight
            words += [grammar.drawn([*ASPECTS.values()][k], rng), phrase]
        sentences.append(frame.format(*words))
        if len(free) < 2:
            break
    sentences.insert(int(rng.integers(1, len(sentences) + 1)), facts[1])
    return " ".join(sentences), values * (weights > 0), weights


def _worded(opinion: Opinion, mood: float, rng: np.random.Generator) -> tuple[str, float]:
    """A phrase for an opinion, and its value in the frame."""
    meant = np.clip(opinion.side * mood + SPREAD * rng.standard_normal(), -3, 3)
    words = grammar.phrase(float(np.clip(meant / opinion.turn, -3, 3)), rng)
    return words, opinion.turn * _WORTH[words]


_WORTH = dict(zip(*grammar.opinions(), strict=True))
