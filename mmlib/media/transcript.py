"""A transcript, whatever its layout, as utterances with start, end and speaker.

Layouts (by suffix): .srt and .vtt (`subtitles`), .json of Whisper and of Gentle (`words`), and
.txt, which has no times.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mmlib.data import DataError
from mmlib.media.pieces import Piece, spoken
from mmlib.media.subtitles import read_cues
from mmlib.media.words import read_words

SUFFIXES = (".json", ".vtt", ".srt", ".txt")  # in order of precedence: the better timed first
PAUSE = 1.0  # seconds of silence that end an utterance
LONGEST = 20.0  # seconds; a sentence that goes on is cut between words
BEYOND = 0.5  # seconds that the last words may run past the clip
SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
ABBREVIATED = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e)\.$", re.IGNORECASE)


class Utterance(NamedTuple):
    """What is said at once: a sentence, a line, or what lies between two pauses."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        return " ".join(piece.text for piece in self.pieces)

    @property
    def start(self) -> float:
        return self.pieces[0].start

    @property
    def end(self) -> float:
        return max(piece.end for piece in self.pieces)

    @property
    def speaker(self) -> str:
        return self.pieces[0].speaker


class Transcript(NamedTuple):
    """The utterances by ascending start, and whether their times were in the file."""

    utterances: tuple[Utterance, ...]
    timed: bool

    @property
    def speakers(self) -> set[str]:
        return {one.speaker for one in self.utterances} - {""}


def read_transcript(path: Path | str, seconds: float) -> Transcript:
    """The transcript of a recording of `seconds`.

    Lines of a .txt are utterances (a single line: its sentences); they share the recording by
    their number of characters, our guess. DataError, one line, for another encoding than UTF-8,
    another layout, no words, times that are negative, run backwards or past the end.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: no transcript layout; give one of {', '.join(SUFFIXES)}")
    text = _decoded(path)
    if path.suffix.lower() == ".txt":
        found = [Utterance((piece,)) for piece in _shared_out(text, seconds)]
    else:
        found = cut(_within(path, _pieces(path, text), seconds))
    if not found:
        raise DataError(f"{path}: no words in it; was it transcribed?")
    return Transcript(tuple(found), timed=path.suffix.lower() != ".txt")


def cut(pieces: Iterable[Piece]) -> list[Utterance]:
    """Utterances by ascending start: cut where a sentence ends, the speaker changes, after a
    pause, and before LONGEST is exceeded. Pieces come in the order of the file."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        if not groups or _ends(groups[-1], piece):
            groups.append([])
        groups[-1].append(piece)
    return sorted((Utterance(tuple(group)) for group in groups), key=lambda one: one.start)


def _ends(group: list[Piece], following: Piece) -> bool:
    last = group[-1]
    return (
        bool(SENTENCE.search(last.text) and not ABBREVIATED.search(last.text))
        or following.speaker != last.speaker
        or following.start < last.start
        or following.start - last.end >= PAUSE
        or following.end - group[0].start > LONGEST
    )


def _decoded(path: Path) -> str:
    """The file's text: UTF-8, or UTF-16 with a byte order mark."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give the transcript of the clip") from None
    marked = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return raw.decode("utf-16" if marked else "utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: wrong encoding, byte {error.start} is no UTF-8; save it as UTF-8"
        ) from None


def _pieces(path: Path, text: str) -> list[Piece]:
    try:
        return read_words(text) if path.suffix.lower() == ".json" else read_cues(text)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _within(path: Path, pieces: list[Piece], seconds: float) -> list[Piece]:
    """The pieces, ends cut to the recording's; DataError if one lies behind it."""
    for piece in pieces:
        if not 0 <= piece.start <= piece.end:  # nor NaN
            raise DataError(
                f"{path}: {piece.text[:30]!r} from {piece.start:g} to {piece.end:g} s; "
                "correct the times"
            )
        if piece.end > seconds + BEYOND or piece.start >= seconds:
            raise DataError(
                f"{path}: words until {piece.end:.1f} s, the clip lasts {seconds:.1f} s; "
                "is it the transcript of another clip?"
            )
    return [piece._replace(end=min(piece.end, seconds)) for piece in pieces if piece.text]


def _shared_out(text: str, seconds: float) -> list[Piece]:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = re.split(r"(?<=[.!?…])\s+", lines[0])
    said = [(words, speaker) for words, speaker in map(spoken, lines) if words]
    total, before, pieces = sum(len(words) for words, _ in said), 0, []
    for words, speaker in said:
        start, end = (seconds * n / total for n in (before, before + len(words)))
        pieces.append(Piece(words, start, end, speaker))
        before += len(words)
    return pieces
