"""Stacks: s models of one shape trained at once, on one class of vectors."""

from mmlib import lazily

LAYERS = ("BiLSTM", "Layer", "Linear", "Masks", "Stacked")
__getattr__ = lazily(__name__, dict.fromkeys(LAYERS, "layers"))
