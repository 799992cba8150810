"""Corpora made from a seed, with their hidden truth."""
