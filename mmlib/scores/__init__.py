"""Scores, intervals and paired tests; stored rows, where they came from, the ledger."""
