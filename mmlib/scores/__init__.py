"""Scores, intervals and paired tests; stored rows, their provenance, the ledger."""
