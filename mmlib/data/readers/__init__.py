"""Each kind of file that becomes a `Corpus`, one a module."""
