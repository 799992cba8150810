"""Reads data sets into one type, `Corpus`; imports nothing else of mmlib but `files`."""

from mmlib.data.corpus import SENTIMENT, SPLITS, Corpus, DataError, Scale, Sequences
from mmlib.data.load import NAMES, load

__all__ = ["NAMES", "SENTIMENT", "SPLITS", "Corpus", "DataError", "Scale", "Sequences", "load"]
