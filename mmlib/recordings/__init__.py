"""From recordings to a corpus: a clip, its transcript and its face export in, features out.

One idea a file: decode (sound in blocks), lengths (what a file promises), transcript with its
layouts (what was said when), audio (COVAREP, eGeMAPS), faces with the programs that write them
(action units), clip (one recording, frames to intervals), folder (many), border (files as text,
errors that name them), demo (recordings made here).
"""

from mmlib.recordings.clip import Options, build, collapse
from mmlib.recordings.decode import Limits, probe
from mmlib.recordings.faces import read_faces
from mmlib.recordings.folder import build_corpus
from mmlib.recordings.transcript import read_transcript

__all__ = [
    "Limits",
    "Options",
    "build",
    "build_corpus",
    "collapse",
    "probe",
    "read_faces",
    "read_transcript",
]
