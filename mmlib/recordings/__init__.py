"""Recordings to a corpus: a clip, its transcript and its face export become features.

Each file has one task. decode: sound in blocks. lengths: the length that a file declares.
transcript, layouts: words and their times. audio: COVAREP, eGeMAPS. faces, programs: action units
of three programs. clip: one recording, frames to intervals. folder: many recordings. border: files
as text, errors that name the file. demo: a synthetic recording to try it with.
"""

from mmlib.recordings.clip import Options, build, collapse
from mmlib.recordings.decode import Limits, probe
from mmlib.recordings.faces import read_faces
from mmlib.recordings.folder import build_corpus
from mmlib.recordings.transcript import read_transcript

__all__ = [
    "Limits", "Options", "build", "build_corpus", "collapse", "probe", "read_faces",
    "read_transcript",
]  # fmt: skip
