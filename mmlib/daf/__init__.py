"""DAF: fusion rules, features, training, tuning, interpretation, and saved models."""

from mmlib import lazily

MODELS = ("CrossModal", "Concat", "DAF", "Fusion", "GMU", "LMF", "Mean", "Static")
OTHERS = ("Noise", "Output", "RULES", "create", "register", "unregister", "weighted")
__getattr__ = lazily(__name__, dict.fromkeys(MODELS + OTHERS, "fusion"))
