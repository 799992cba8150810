"""Figures of both papers, and a slider through utterances."""
