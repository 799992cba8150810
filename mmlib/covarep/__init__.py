"""COVAREP's 74 acoustic features from raw speech.

Each file holds one method: pitch (SRH), gci (SEDREAMS), iaif and glottal (NAQ, QOQ, H1-H2, PSP),
wavelets (MDQ, peakSlope), sinusoids, lf and rd, envelope (MCEP), phase (HMPD). stages runs them
all. voice synthesises speech whose pitch, glottal shape and formants are known.
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
