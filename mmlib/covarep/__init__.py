"""COVAREP's 74 acoustic features from raw speech."""

from .conventions import CovarepError
from .extract import FEATURES, GROUPS, extract, utterance_means
from .recording import read_wav

__all__ = ["FEATURES", "GROUPS", "CovarepError", "extract", "read_wav", "utterance_means"]
