"""Data sets in, one `Corpus` out; imports nothing else of mmlib but `paths`."""
