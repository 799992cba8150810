"""DyFuLM: the model, its losses, its training on frozen encoders, interpretation, cost."""

from mmlib import lazily

__getattr__ = lazily(
    __name__,
    {
        "CHOICES": "model",
        "COARSE": "model",
        "DyFuLM": "model",
        "FINE": "model",
        "LayerFusion": "model",
        "Noise": "model",
        "Output": "model",
        "over_positions": "model",
    },
)
