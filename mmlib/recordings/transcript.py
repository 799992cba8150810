"""A transcript, whatever its layout, as utterances with start, end and speaker.

Layouts (by suffix): .srt and .vtt (`subtitles`), .json of Whisper and of Gentle (`words`), and
.txt, which has no times.
"""

import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mmlib.data import DataError

SUFFIXES = (".json", ".vtt", ".srt", ".txt")  # in order of precedence: the better timed first
PAUSE = 1.0  # seconds of silence that end an utterance
LONGEST = 20.0  # seconds; a sentence that goes on is cut between words
BEYOND = 0.5  # seconds that the last words may run past the clip
SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
ABBREVIATED = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e)\.$", re.IGNORECASE)


NAMED = re.compile(r"^(?:>>\s*)?([A-Z][A-Z0-9 ._-]{1,30}|[Ss]peaker[ _]?\w+):\s+(?=\S)")
DIRECTION = re.compile(r"\[[^\]]*\]|\([A-Z ]+\)|[♪♫]")


class Piece(NamedTuple):
    """A word, or a cue where words have no times of their own."""

    text: str
    start: float  # seconds
    end: float
    speaker: str = ""


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


def spoken(text: str) -> tuple[str, str]:
    """Words and speaker of a line; "ANNA: Hello." names one. Stage directions are left out."""
    text = " ".join(DIRECTION.sub(" ", text).split())
    name = NAMED.match(text)
    return (text[name.end() :], name[1].strip()) if name else (text.removeprefix(">> "), "")


def read_words(text: str) -> list[Piece]:
    """The words, or Whisper's segments where it was run without word times.

    Words without a time of their own (not found in the sound, numerals) stay with the word before
    them. DataError for another layout.
    """
    try:
        content = json.loads(text)
        if "segments" in content:
            return _joined(_whisper(content["segments"]))
        if "words" in content:
            return _joined(_gentle(content["words"], content.get("transcript", "")))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"no word-timed JSON of Whisper or Gentle ({type(error).__name__}: {error})"
        ) from None
    raise DataError("no word-timed JSON: neither Whisper's `segments` nor Gentle's `words` in it")


def _whisper(segments: list[dict]) -> Iterable[tuple]:
    """Text, start, end, speaker of each word or segment; None for a time that is missing."""
    for segment in segments:
        for part in segment.get("words") or [segment]:
            words, named = spoken(part["word"] if "word" in part else part["text"])
            speaker = part.get("speaker") or segment.get("speaker") or named
            yield words, part.get("start"), part.get("end"), " ".join(str(speaker).split())


def _gentle(words: list[dict], transcript: str) -> Iterable[tuple]:
    """Words with the punctuation that follows them in the transcript."""
    ends = [word.get("startOffset") for word in words[1:]] + [len(transcript)]
    for word, end in zip(words, ends, strict=True):
        start = word.get("startOffset")
        text = transcript[start:end] if transcript and None not in (start, end) else word["word"]
        yield spoken(text)[0], word.get("start"), word.get("end"), ""


def _joined(words: Iterable[tuple]) -> list[Piece]:
    pieces: list[Piece] = []
    waiting = ""  # words before the first that has a time
    for text, start, end, speaker in words:
        if not text:
            continue
        text = text.encode(errors="replace").decode()  # half a surrogate pair cannot be written
        if start is not None and end is not None:
            pieces.append(Piece(f"{waiting} {text}".strip(), float(start), float(end), speaker))
            waiting = ""
        elif pieces:
            pieces[-1] = pieces[-1]._replace(text=f"{pieces[-1].text} {text}")
        else:
            waiting = f"{waiting} {text}".strip()
    if waiting:
        raise DataError(f"no word has a time, e.g. {waiting[:30]!r}; run it with word timestamps")
    return pieces


TIME = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,٫](\d{1,3}))?")
VOICE = re.compile(r"<v(?:\.[^ >]*)? ([^>]+)>")
MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")


def read_cues(text: str) -> list[Piece]:
    """The cues that hold words. DataError names the cue whose times cannot be read."""
    cues = []
    for block in re.split(r"\n[ \t]*\n", text):
        lines = block.strip().splitlines()
        at = next((i for i, line in enumerate(lines) if "-->" in line), None)
        if at is not None:
            start, end = _times(lines[at], len(cues) + 1)
            cues.append((start, end, "\n".join(lines[at + 1 :])))
    if not cues:
        raise DataError("no cue `start --> end` in it; is it SubRip or WebVTT?")
    pieces = [piece for cue in cues for piece in _voices(*cue)]
    return [piece for piece in pieces if piece.text]


def _times(line: str, number: int) -> tuple[float, float]:
    start, _, end = line.partition("-->")
    return _seconds(start, number), _seconds(end.split()[0] if end.split() else "", number)


def _seconds(text: str, number: int) -> float:
    found = TIME.fullmatch(text.strip())
    if not found:
        raise DataError(f"cue {number}: no time {text.strip()!r}; write 00:01:02,500")
    hours, minutes, seconds, fraction = found.groups()
    return (
        3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + float(f"0.{_ascii(fraction)}")
    )


def _ascii(digits: str | None) -> str:
    """Digits of any script as 0 to 9."""
    return "".join(str(int(digit)) for digit in digits or "0")


def _voices(start: float, end: float, text: str) -> list[Piece]:
    """One piece a voice tag; the voices of a cue share its times."""
    parts = VOICE.split(text)  # text, name, text, name, text ...
    pieces = [_piece(parts[0], "", start, end)]
    pieces += [
        _piece(said, name, start, end) for name, said in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return pieces


def _piece(text: str, name: str, start: float, end: float) -> Piece:
    words, speaker = spoken(html.unescape(MARKUP.sub("", text)))
    return Piece(words, start, end, html.unescape(name).strip() or speaker)
