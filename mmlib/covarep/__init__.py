"""COVAREP's 74 acoustic features from raw speech.

One idea a file: pitch (SRH), gci (SEDREAMS), iaif and glottal (NAQ, QOQ, H1-H2, PSP), wavelets
(MDQ, peakSlope), sinusoids, lf and rd, envelope (MCEP), phase (HMPD); stages puts them together.
voice synthesises speech of known truth.
"""

from mmlib import lazily

__getattr__ = lazily(
    __name__,
    {
        "FEATURES": "columns",
        "GROUPS": "columns",
        "CovarepError": "conventions",
        "extract": "stages",
        "extract_files": "files",
        "read_wav": "recording",
        "utterance_means": "stages",
    },
)
