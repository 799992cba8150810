"""Stacks: s models of the same shape, trained together; and the feature vectors they learn from."""

from mmlib import lazily

LAYERS = ("BiLSTM", "Layer", "Linear", "Masks", "Stacked")
__getattr__ = lazily(__name__, dict.fromkeys(LAYERS, "layers"))
