"""A transcript of any layout as utterances with start, end and speaker.

Pieces (`mmlib.recordings.layouts`) are fitted into the recording and grouped into utterances.
Guesses, corrections and omissions are counted.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from mmlib.data import DataError
from mmlib.recordings import layouts
from mmlib.recordings.border import names_file, read_text
from mmlib.recordings.layouts import Piece

SUFFIXES = (".json", ".vtt", ".srt", ".txt")  # by precedence: better times first
PAUSE = 1.0  # seconds of silence that end an utterance
LONGEST = 20.0  # seconds; a longer sentence is cut between words
SLIP = 0.5  # seconds by which a time may run backwards, or be outside the clip
WINDOW = 30.0  # seconds, Whisper's input: its last words may end in the padding
UNSPACED = re.compile(
    r"(?<=[\u3000-\u9fff\uff00-\uffef])\0|\0(?=[\u3000-\u9fff\uff00-\uffef])"
)  # Chinese, Japanese


class Utterance(NamedTuple):
    """A sentence, a line, or the words between two pauses."""

    text: str
    start: float  # seconds
    end: float
    speaker: str
    pieces: tuple[Piece, ...]


class Transcript(NamedTuple):
    """Utterances sorted by start, and how their times came about."""

    utterances: tuple[Utterance, ...]
    timed: bool  # whether the file has times
    counts: Counter  # guess, correction or omission -> how often

    @property
    def speakers(self) -> set[str]:
        return {utterance.speaker for utterance in self.utterances} - {""}


@names_file
def read_transcript(path: Path | str, seconds: float) -> Transcript:
    """The transcript of a recording of `seconds`, from a file .json, .vtt, .srt or .txt.

    Lines of a .txt, or the sentences of a single line, are utterances; they share the recording by
    their characters, our guess. Words without a time stay with the previous word, times off by SLIP
    or less are corrected, an end after the clip is cut; all three are counted. DataError, one line,
    for an encoding other than UTF-8 or UTF-16, another layout, no words, too many without times
    (`layouts.UNTIMED`, `RUN`), or times that are negative, run backwards or are of another clip.
    """
    path, counts = Path(path), Counter()
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: no transcript layout; give one of {', '.join(SUFFIXES)}")
    text = read_text(path, "transcript")
    timed = suffix != ".txt" or any(map(layouts.is_time_line, text.splitlines()))
    try:
        if timed:
            read = layouts.recognised if suffix == ".json" else layouts.subtitles
            utterances = _utterances(_within(read(text, counts), seconds, counts))
        else:
            utterances = [_utterance([piece]) for piece in layouts.plain(text, seconds)]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error.__cause__
    if not utterances:
        raise DataError(f"{path}: no words in it; was it transcribed?")
    return Transcript(tuple(utterances), timed, +counts)


def _within(pieces: Iterable[Piece], seconds: float, counts: Counter) -> list[Piece]:
    """Pieces with times in order and inside the recording; DataError if they are off by more."""
    kept, begun = [], 0.0
    for piece in pieces:
        start, end = piece.start, piece.end
        if not (start >= -SLIP and end >= start - SLIP):  # NaN, too
            raise DataError(f"{piece.text[:30]!r} from {start:g} to {end:g} s; correct the times")
        if start > seconds + SLIP or seconds + WINDOW < end < math.inf:
            raise DataError(
                f"words until {end:.1f} s, the clip lasts {seconds:.1f} s; "
                "is it the transcript of another clip, or in milliseconds?"
            )
        counts["words or cues whose times ran backwards, mended"] += start < 0 or end < start
        counts["words or cues that begin before the one above them"] += start < begun - SLIP
        counts["words or cues cut at the clip's end"] += seconds + SLIP < end < math.inf
        begun = start = min(max(start, 0.0), seconds)
        kept.append(piece._replace(start=start, end=min(max(end, start), seconds)))
    return kept


def _utterances(pieces: Iterable[Piece]) -> list[Utterance]:
    """Utterances sorted by start, of pieces in file order; `_ends` says where a new one begins."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        if not groups or _ends(groups[-1], piece):
            groups.append([])
        groups[-1].append(piece)
    return sorted(map(_utterance, groups), key=attrgetter("start"))


def _utterance(pieces: list[Piece]) -> Utterance:
    text = UNSPACED.sub("", "\0".join(piece.text for piece in pieces)).replace("\0", " ")
    end = max(piece.end for piece in pieces)
    return Utterance(text, pieces[0].start, end, pieces[0].speaker, tuple(pieces))


def _ends(group: list[Piece], following: Piece) -> bool:
    last = group[-1]
    return (
        bool(layouts.SENTENCE.search(last.text) and not layouts.ABBREVIATED.search(last.text))
        or following.speaker != last.speaker
        or following.start < last.start
        or following.start - last.end >= PAUSE
        or following.end - group[0].start > LONGEST
    )
