"""SubRip (.srt) and WebVTT (.vtt) cues; times in any locale's decimal mark."""

import html
import re

from mmlib.data import DataError
from mmlib.media.pieces import Piece, spoken

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
