"""Stacks: s models of one shape trained at once, on one class of vectors."""

from mmlib import lazily

__getattr__ = lazily(
    __name__,
    {
        "BiLSTM": "layers",
        "Layer": "layers",
        "Linear": "layers",
        "Masks": "layers",
        "Stacked": "layers",
    },
)
