"""A small English grammar of graded opinions: generates a sentence from a value and a manner.

The value, in [-3, 3], is expressed by polarity adjectives, intensifiers and negation. The manner is
how reliable the words are (plain, hedged, second-hand, vague, sarcastic) and shows in the wording.
Everything is in lower case, also "i" and "friday", with few commas, as in a transcript of speech.
Any aspect may occur with any topic, so sentences are correct English but need not make sense.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

ADJECTIVES = {
    "terrible": -2.6, "awful": -2.3, "bad": -1.6, "poor": -1.2, "weak": -1.0, "mediocre": -0.6,
    "okay": 0.0, "fine": 0.5, "decent": 0.7, "nice": 1.1, "good": 1.4, "great": 2.1,
    "wonderful": 2.5, "fantastic": 2.6,
}  # fmt: skip
DEGREES = {"": 1.0, "somewhat ": 0.4, "really ": 1.15, "absolutely ": 1.2}
NEGATED = {"not ": -0.5}  # "not good" is mildly bad, "not bad" mildly good
TOPICS = (
    "movie", "hotel", "phone", "concert", "restaurant", "book", "camera", "game", "museum", "show",
)  # fmt: skip
ASPECTS = ("story", "service", "design", "sound", "staff", "price", "picture", "pace", "location",
           "ending")  # fmt: skip
OPENINGS = ("", "so ", "well ", "okay so ", "and ", "you know ", "to be honest ", "overall ")
TIMES = ("last week", "yesterday", "on friday", "this summer", "last month", "in the morning")

# From reliable to unreliable wording; {0} and {1} are the opinion, {topic} and {aspect} its object.
# A certain speaker says it twice, in two phrases of about the same value.
MANNERS = {
    "plain": (
        "{open}the {aspect} of this {topic} was {0}, {1} and i mean it",
        "{open}i thought the {topic} was {0}, {1}, that is my clear opinion",
        "{open}this {topic} is {0}, no doubt about it, {1}",
        "{open}the {topic} was {0}, i am certain of that, {1}",
    ),
    "hedged": (
        "{open}i guess the {topic} was maybe {0}, kind of {1}",
        "{open}the {aspect} was i suppose {0} in a way, {1} perhaps",
        "{open}perhaps the {topic} seemed {0} to me, more or less {1}",
    ),
    "second-hand": (
        "{open}my cousin said the {topic} was {0} but i never saw it",
        "{open}people online call the {aspect} {0}, i could not tell",
        "{open}they told us the {topic} was {0}, who knows",
    ),
    "vague": (
        "{open}the {topic} was {0} or something, i forgot, whatever, that was {time}",
        "{open}i do not remember the {aspect}, {0} or whatever, it was {time}",
        "{open}it was {time} i think, the {topic}, {0}, i really cannot say",
    ),
    "sarcastic": (
        "oh yeah right, what a {topic}, {0}, sure, as if",
        "haha sure, the {aspect} was {0}, thanks for nothing",
        "wow, {0}, just what i needed, yeah right",
    ),
}


def opinions() -> tuple[list[str], np.ndarray]:
    """Every phrase of the grammar and its value in [-3, 3]."""
    graded = product(DEGREES.items(), ADJECTIVES.items())
    denied = product(NEGATED.items(), ADJECTIVES.items())
    value_of = {f"{how}{word}": np.clip(k * value, -3, 3) for (how, k), (word, value) in graded}
    value_of |= {f"{no}{word}": k * value for (no, k), (word, value) in denied if abs(value) > 1}
    return list(value_of), np.array(list(value_of.values()))


def phrase(value: float, rng: np.random.Generator, within: float = 0.2) -> str:
    """A random phrase whose value differs from `value` by at most `within`, or the nearest one."""
    distance = np.abs(_VALUES - value)
    near = np.flatnonzero(distance <= max(within, distance.min() + 1e-9))
    return _PHRASES[rng.choice(near)]


def sentence(value: float, manner: str, rng: np.random.Generator) -> str:
    """One sentence in a manner of MANNERS that expresses a value in [-3, 3]."""
    words = phrase(value, rng), phrase(value, rng)
    choices = {"topic": TOPICS, "aspect": ASPECTS, "open": OPENINGS, "time": TIMES}
    return filled(drawn(MANNERS[manner], rng), choices, rng, *words)


def filled(
    template: str, choices: Mapping[str, Sequence[str]], rng: np.random.Generator, *words: str
) -> str:
    """Fill a template: `words` at its numbers, a random choice at each of its names."""
    return template.format(*words, **{name: drawn(of, rng) for name, of in choices.items()})


def drawn(choices: Sequence[str], rng: np.random.Generator) -> str:
    """One of the choices at random."""
    return choices[rng.integers(len(choices))]


_PHRASES, _VALUES = opinions()
