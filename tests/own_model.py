"""A small stand-in for the kept DyFuLM: it counts good and bad words, and what it was asked."""

import sys
import time
from types import SimpleNamespace

import numpy as np

GOOD, BAD = {"good", "great", "clean", "friendly", "lovely"}, {"bad", "dirty", "rude", "noisy"}
KNOWN = set(
    [
        "the",
        "a",
        "an",
        "room",
        "rooms",
        "was",
        "were",
        "is",
        "and",
        "very",
        "but",
        "staff",
        "of",
        "bed",
        "in",
        "we",
        "hotel",
        "for",
        "our",
    ]
)


class Model:
    """Has the interface of `mmlib.dyfulm.kept.Kept`."""

    def __init__(self, longest: int = 64) -> None:
        self.longest, self.asked, self.precision = longest, [], ""

    def in_precision(self, precision):
        self.precision = precision
        return self

    def read(self, texts, batch=64):
        self.asked += list(texts)
        words = [[w.strip(".,!?").lower() for w in text.split()][: self.longest] for text in texts]
        good = np.array([sum(w in GOOD for w in row) for row in words], float)
        bad = np.array([sum(w in BAD for w in row) for row in words], float)
        known = [np.mean([w in KNOWN | GOOD | BAD for w in row] or [0]) for row in words]
        logit = good - bad  # (n,)
        return SimpleNamespace(
            coarse=_softmax(logit[:, None] * [-1, 0, 1]),
            fine=_softmax(logit[:, None] * [-2, -1, 0, 1, 2]),
            intensity=1 / (1 + np.exp(-logit)),
            tokens=np.array([len(row) for row in words]),
            cut=np.array([len(text.split()) > self.longest for text in texts]),
            unknown=1 - np.array(known),
        )


def _softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def command() -> None:
    """`python tests/own_model.py SECONDS TABLE ...`: the command, so slow, with this model."""
    from mmlib.dyfulm import kept
    from mmlib.dyfulm.__main__ import main

    model, pause = Model(), float(sys.argv[1])
    read = model.read
    model.read = lambda texts: (time.sleep(pause), read(texts))[1]
    kept.load = lambda folder: model
    done = main(sys.argv[2:])
    print(f"asked for {len(model.asked)}")
    sys.exit(done)


if __name__ == "__main__":
    command()
