"""Frozen text features: encoders, their layer states, pooling, and the cache."""

from mmlib import lazily

__getattr__ = lazily(
    __name__,
    {
        "Report": "encoding",
        "encode": "encoding",
        "hidden_states": "loaded",
        "MINILM": "encoder",
        "MINILM_PACKAGE": "encoder",
        "check_length": "encoder",
        "identity": "encoder",
        "load": "encoder",
        "locate": "encoder",
        "quiet": "encoder",
        "versions": "encoder",
        "bucket": "batching",
    },
)
