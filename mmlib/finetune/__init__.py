"""Fine-tuning of two encoders with DyFuLM on top, or of one encoder alone."""

from mmlib import lazily

__getattr__ = lazily(
    __name__, {"Run": "run", "export": "run", "finetune": "run", "Config": "config"}
)
