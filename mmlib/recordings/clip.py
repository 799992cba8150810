"""Utterances and their features of one recording, its transcript and its face export."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import track

from mmlib.data import DataError, Sequences
from mmlib.data.columns import FACET
from mmlib.data.readers.recordings import Clip
from mmlib.files import refuse_unknown, sha256
from mmlib.recordings import audio
from mmlib.recordings.border import names_file
from mmlib.recordings.decode import Limits, blocks, cut, probe
from mmlib.recordings.faces import BEYOND, Faces, read_faces
from mmlib.recordings.transcript import Transcript, Utterance, read_transcript

LEVELS = ("utterance", "word", "frame")


@dataclass(frozen=True)
class Options:
    """Settings of how recordings become features; DataError for an unusable one."""

    audio: str = "covarep"  # or "egemaps"
    level: str = "utterance"  # a mean per utterance; "word": per word or cue; "frame": all
    frame_rate: float | None = None  # of a face export without times; default: the video's own
    stimulus: str | None = None  # of an iMotions export with several; default: the clip's name
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        audio.columns(self.audio)
        if self.frame_rate is not None and not 0 < self.frame_rate < np.inf:
            raise DataError(f"{self.frame_rate:g} face frames a second; give more than 0")
        refuse_unknown("level", [self.level], LEVELS, DataError)


@names_file
def build(
    media: Path | str,
    transcript: Path | str,
    faces: Path | str | None = None,
    name: str | None = None,
    options: Options | None = None,
    progress: bool = False,
) -> Clip:
    """Utterances of one recording with their features.

    name: the clip's id (default: the file's name without suffix). An utterance that is too short,
    or has no voiced frame, gets no audio features; one without a face gets no visual ones. Both are
    counted. Memory does not grow with the recording, except at level="frame". DataError, one line,
    if the recording, its transcript or its face export cannot be used.
    """
    options = options or Options()
    recording = probe(media, options.limits)
    words = read_transcript(transcript, recording.seconds)
    face = None
    if faces is not None:
        rate = options.frame_rate or recording.frame_rate
        stimulus = options.stimulus or recording.path.stem
        face = read_faces(faces, recording.seconds, rate, stimulus)
    utterances = track(words.utterances, recording.path.name, disable=not progress)
    sequences, counts = _audio(recording.path, utterances, words, options)
    if face is not None:
        at = face.intervals + recording.pictures_at  # exports count from the first picture
        rows = [_at_level(face.values, at, u, options.level) for u in words.utterances]
        sequences["vision"] = _packed(rows, FACET)
        counts += _of_faces(face, sequences["vision"], recording.seconds - recording.pictures_at)
    text, start, end, speaker, _ = zip(*words.utterances, strict=True)
    counts += _of_transcript(words)
    origin = fingerprint({"media": media, "transcript": transcript, "faces": faces}, options)
    clip = name or recording.path.stem
    return Clip(clip, recording.seconds, start, end, text, speaker, sequences, counts, origin)


def fingerprint(files: dict[str, Path | str | None], options: Options) -> dict[str, str]:
    """What a clip's features depend on: checksums of its files, and the settings."""
    origin = {what: sha256(Path(path)) for what, path in files.items() if path is not None}
    settings = f"{options.audio}, {options.level}, {options.frame_rate}, {options.stimulus}"
    return origin | {"settings": settings}


def _audio(
    path: Path, utterances: Iterable[Utterance], transcript: Transcript, options: Options
) -> tuple[dict[str, Sequences], Counter]:
    """Audio features of each utterance and counts, from one pass through the recording."""
    intervals = np.array([(u.start, u.end) for u in transcript.utterances])  # (n, 2) s
    rows, counts = [], Counter()
    waves = cut(blocks(path, options.limits, counts), intervals)
    for utterance, wave in zip(utterances, waves, strict=True):
        frames = audio.frames(wave, options.audio)
        times = frames.intervals + utterance.start
        rows.append(_at_level(frames.values, times, utterance, options.level))
        if frames.missing:
            counts[f"utterances without audio features, {frames.missing}"] += 1
    return {"audio": _packed(rows, audio.columns(options.audio))}, counts


def _at_level(
    values: np.ndarray, intervals: np.ndarray, utterance: Utterance, level: str
) -> np.ndarray:
    """Rows (t, d) of an utterance at a level; parts without any frame are left out."""
    if level == "frame":
        return values[overlapping(intervals, utterance.start, utterance.end)]
    parts = utterance.pieces if level == "word" else [utterance]
    means = collapse(values, intervals, np.array([(part.start, part.end) for part in parts]))
    return means[~np.isnan(means).any(axis=1)]


def _packed(rows: list[np.ndarray], names: tuple[str, ...]) -> Sequences:
    return Sequences(np.concatenate(rows), np.array([len(r) for r in rows]), names)


def _of_transcript(transcript: Transcript) -> Counter:
    """Notes for readers of the corpus on times and speakers, with their counts."""
    counts = Counter(transcript.counts)
    if not transcript.timed:
        counts["utterances with guessed times (txt)"] = len(transcript.utterances)
    if len(transcript.speakers) > 1:
        counts["clips with several speakers, who may talk at once"] = 1
    return counts


def _of_faces(faces: Faces, vision: Sequences, seconds: float) -> Counter:
    """Notes for readers of the corpus on faces, with their counts."""
    counts = Counter()
    counts["frames without a face, left out"] = faces.counts["lost"]
    counts["frames with several faces, one kept"] = faces.counts["several faces"]
    counts["utterances without a face"] = int((vision.lengths == 0).sum())
    if faces.absent:
        counts[f"clips without {', '.join(faces.absent)} ({faces.program}), set to 0"] = 1
    if abs(faces.until - seconds) > BEYOND:
        counts["clips whose face export is over 1 s shorter or longer (variable frame rate?)"] = 1
    return counts


EPSILON = 1e-5  # seconds, as in the SDK; a frame that only touches an interval is not in it


def collapse(values: np.ndarray, intervals: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Plain means (k, d) of the frames that overlap each wanted interval; NaN where none does.

    values (f, d); intervals (f, 2) and wanted (k, 2) in seconds, in any order, gaps and overlaps
    allowed. A frame counts once in each interval that it overlaps by any amount, as
    CMU-MultimodalSDK aligns sequences with an averaging collapse function (`mmdataset.align`).
    """
    values = np.asarray(values, dtype=np.float64)
    means = np.full((len(wanted), values.shape[1]), np.nan)
    for k, (start, end) in enumerate(wanted):
        if (at := overlapping(intervals, start, end)).any():
            means[k] = values[at].mean(axis=0)
    return means


def overlapping(intervals: np.ndarray, start: float, end: float) -> np.ndarray:
    """Whether each interval (f, 2) overlaps the one from start to end, (f,) bool."""
    intervals = np.asarray(intervals, dtype=float)
    return np.minimum(intervals[:, 1], end) - np.maximum(intervals[:, 0], start) > EPSILON
