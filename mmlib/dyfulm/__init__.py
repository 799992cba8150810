"""DyFuLM: the model, its losses, its training on frozen encoders, interpretation, cost."""

from mmlib import lazily

MODEL = ("CHOICES", "COARSE", "DyFuLM", "FINE", "LayerFusion", "Noise", "Output", "over_positions")
__getattr__ = lazily(__name__, dict.fromkeys(MODEL, "model"))
