"""DAF: fusion rules, features, training, tuning, interpretation, and a model that is kept."""

from mmlib import lazily

__getattr__ = lazily(
    __name__,
    {
        "CrossModal": "fusion",
        "Concat": "fusion",
        "DAF": "fusion",
        "Fusion": "fusion",
        "GMU": "fusion",
        "LMF": "fusion",
        "Mean": "fusion",
        "Noise": "fusion",
        "Output": "fusion",
        "RULES": "fusion",
        "Static": "fusion",
        "create": "fusion",
        "weighted": "fusion",
    },
)
