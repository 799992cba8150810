"""Synthetic corpora, generated from a seed, with their latent variables."""
