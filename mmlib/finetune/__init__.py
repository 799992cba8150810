"""Fine-tuning two encoders under DyFuLM, or one alone."""

from mmlib import lazily

__getattr__ = lazily(
    __name__,
    {
        "Run": "run",
        "export": "run",
        "finetune": "run",
        "Config": "config",
    },
)
