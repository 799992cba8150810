"""COVAREP's 74 acoustic features from raw speech.

One idea a file: pitch (SRH), gci (SEDREAMS), iaif and glottal (NAQ, QOQ, H1-H2, PSP), wavelets
(MDQ, peakSlope), sinusoids, lf and rd, envelope (MCEP), phase (HMPD); extract puts them together.
voice synthesises speech of known truth; spoken gives it to utterances of the embedded corpus.
"""

from mmlib.covarep.conventions import CovarepError
from mmlib.covarep.extract import FEATURES, GROUPS, extract, utterance_means
from mmlib.covarep.files import extract_files
from mmlib.covarep.recording import read_wav

__all__ = [
    "FEATURES",
    "GROUPS",
    "CovarepError",
    "extract",
    "extract_files",
    "read_wav",
    "utterance_means",
]
