"""From recordings to a corpus: a clip, its transcript and its face export in, features out.

One idea a file: decode (sound in blocks), transcript with subtitles and words (what was said when),
audio (COVAREP, eGeMAPS), faces with exports (action units), align (frames to intervals), clip (one
recording), folder (many), demo (a recording made here).
"""

from mmlib.media.align import collapse
from mmlib.media.clip import Options, build
from mmlib.media.decode import Limits, probe
from mmlib.media.faces import read_faces
from mmlib.media.folder import build_corpus
from mmlib.media.transcript import read_transcript

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
