"""A timed piece of a transcript, and what of a line was said aloud."""

import re
from typing import NamedTuple

NAMED = re.compile(r"^(?:>>\s*)?([A-Z][A-Z0-9 ._-]{1,30}|[Ss]peaker[ _]?\w+):\s+(?=\S)")
DIRECTION = re.compile(r"\[[^\]]*\]|\([A-Z ]+\)|[♪♫]")


class Piece(NamedTuple):
    """A word, or a cue where words have no times of their own."""

    text: str
    start: float  # seconds
    end: float
    speaker: str = ""


def spoken(text: str) -> tuple[str, str]:
    """Words and speaker of a line; "ANNA: Hello." names one. Stage directions are left out."""
    text = " ".join(DIRECTION.sub(" ", text).split())
    name = NAMED.match(text)
    return (text[name.end() :], name[1].strip()) if name else (text.removeprefix(">> "), "")
