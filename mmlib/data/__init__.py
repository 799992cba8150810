"""Data sets in, one `Corpus` out; imports nothing else of mmlib but `paths`."""

from mmlib.data.corpus import SENTIMENT, SPLITS, Corpus, DataError, Scale, Sequences
from mmlib.data.load import NAMES, load
from mmlib.data.passport import Passport, passport

__all__ = [
    "NAMES",
    "SENTIMENT",
    "SPLITS",
    "Corpus",
    "DataError",
    "Passport",
    "Scale",
    "Sequences",
    "load",
    "passport",
]
