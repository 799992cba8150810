"""One recording, its transcript and its face export: utterances and their features."""

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
from mmlib.recordings.decode import Limits, blocks, cut, probe
from mmlib.recordings.faces import Faces, read_faces
from mmlib.recordings.transcript import Transcript, Utterance, read_transcript

LEVELS = ("utterance", "word", "frame")


@dataclass(frozen=True)
class Options:
    """How recordings become features."""

    audio: str = "covarep"  # or "egemaps"
    level: str = "utterance"  # one mean an utterance, one a word (or cue), or every frame
    frame_rate: float | None = None  # of py-feat's frames; default: the video's own
    stimulus: str | None = None  # of an iMotions export with several; default: the clip's name
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        audio.columns(self.audio)
        if self.frame_rate is not None and not self.frame_rate > 0:
            raise DataError(f"{self.frame_rate:g} face frames a second; give more than 0")
        refuse_unknown("level", [self.level], LEVELS, DataError)


def build(
    media: Path | str,
    transcript: Path | str,
    faces: Path | str | None = None,
    name: str | None = None,
    options: Options | None = None,
    progress: bool = False,
) -> Clip:
    """Utterances of one recording with their features.

    An utterance that is too short for the audio features, or without a voiced frame, gets none;
    so does one in which no face was found. Both are counted. `name` is the clip's id (default: the
    file's name without suffix). DataError, one line, if the recording or a file beside it cannot be
    used. Memory does not grow with the recording, apart from level="frame".
    """
    options = options or Options()
    recording = probe(media, options.limits)
    said = read_transcript(transcript, recording.seconds)
    seen = None
    if faces is not None:
        rate = options.frame_rate or recording.frame_rate
        stimulus = options.stimulus or recording.path.stem
        seen = read_faces(faces, recording.seconds, rate, stimulus)
    one_by_one = track(said.utterances, recording.path.name, disable=not progress)
    heard, counts = _audio(recording.path, one_by_one, said, options)
    sequences = {"audio": heard}
    if seen is not None:
        sequences["vision"] = _vision(seen, said, options.level)
    files = {"media": media, "transcript": transcript, "faces": faces}
    return Clip(
        id=name or recording.path.stem,
        seconds=recording.seconds,
        start=tuple(one.start for one in said.utterances),
        end=tuple(one.end for one in said.utterances),
        text=tuple(one.text for one in said.utterances),
        speaker=tuple(one.speaker for one in said.utterances),
        sequences=sequences,
        counts=counts + _remarks(said, seen, sequences),
        origin=fingerprint(files, options),
    )


def fingerprint(files: dict[str, Path | str | None], options: Options) -> dict[str, str]:
    """What a clip's features depend on: checksums of its files, the settings."""
    origin = {what: sha256(Path(path)) for what, path in files.items() if path is not None}
    settings = f"{options.audio}, {options.level}, {options.frame_rate}, {options.stimulus}"
    return origin | {"settings": settings}


def _audio(
    path: Path, utterances: Iterable[Utterance], said: Transcript, options: Options
) -> tuple[Sequences, Counter]:
    """Features of each utterance, while the recording streams by."""
    intervals = np.array([(one.start, one.end) for one in said.utterances])  # (n, 2)
    names, counts = audio.columns(options.audio), Counter()
    rows: list[np.ndarray] = []
    waves = cut(blocks(path, options.limits), intervals)
    for one, wave in zip(utterances, waves, strict=True):
        found = audio.frames(wave, options.audio)
        rows.append(_at_level(found.values, found.intervals + one.start, one, options.level))
        if found.missing:
            counts[f"utterances without audio features, {found.missing}"] += 1
    return _packed(rows, names), counts


def _vision(seen: Faces, said: Transcript, level: str) -> Sequences:
    rows = [_at_level(seen.values, seen.intervals, one, level) for one in said.utterances]
    return _packed(rows, FACET)


def _at_level(values: np.ndarray, intervals: np.ndarray, one: Utterance, level: str) -> np.ndarray:
    """Rows (t, d) of an utterance; what no frame falls into is left out."""
    if level == "frame":
        return values[inside(intervals, one.start, one.end)]
    wanted = [(one.start, one.end)]
    if level == "word":
        wanted = [(piece.start, piece.end) for piece in one.pieces]
    means = collapse(values, intervals, np.array(wanted))
    return means[~np.isnan(means).any(axis=1)]


def _packed(rows: list[np.ndarray], names: tuple[str, ...]) -> Sequences:
    return Sequences(np.concatenate(rows), np.array([len(r) for r in rows]), names)


def _remarks(said: Transcript, seen: Faces | None, sequences: dict[str, Sequences]) -> Counter:
    """What a reader of the corpus has to know, with how often."""
    found = Counter()
    if not said.timed:
        found["utterances with guessed times (txt)"] = len(said.utterances)
    if len(said.speakers) > 1:
        found["clips with several speakers, who may talk at once"] = 1
    if seen is not None:
        found["frames without a face, left out"] = seen.counts["lost"]
        found["frames with several faces, one kept"] = seen.counts["several faces"]
        found["utterances without a face"] = int((sequences["vision"].lengths == 0).sum())
        if seen.absent:
            found[f"clips without {', '.join(seen.absent)} ({seen.program}), set to 0"] = 1
    return +found  # without the zeros


EPSILON = 1e-5  # seconds, the SDK's; a frame that only touches an interval is not in it


def collapse(values: np.ndarray, intervals: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Plain means (k, d) of the frames that overlap each wanted interval; NaN where none does.

    values (f, d); intervals (f, 2) and wanted (k, 2) in seconds, in any order; both may leave gaps
    and overlap. A frame counts once for every interval it reaches into, however far: the way
    CMU-MultimodalSDK aligns sequences with an averaging collapse function (`mmdataset.align`).
    """
    values = np.asarray(values, dtype=np.float64)
    means = np.full((len(wanted), values.shape[1]), np.nan)
    for k, (start, end) in enumerate(wanted):
        if (at := inside(intervals, start, end)).any():
            means[k] = values[at].mean(axis=0)
    return means


def inside(intervals: np.ndarray, start: float, end: float) -> np.ndarray:
    """Which of the intervals (f, 2) overlap the one from start to end, (f,) bool."""
    intervals = np.asarray(intervals, dtype=float)
    return np.minimum(intervals[:, 1], end) - np.maximum(intervals[:, 0], start) > EPSILON
