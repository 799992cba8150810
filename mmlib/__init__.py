"""Executable companion to DAF (arXiv 2509.22729) and DyFuLM (arXiv 2512.01410)."""

__version__ = "0.1.0"
