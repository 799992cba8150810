"""Readers of transcript layouts: each gives a list of pieces, words or cues with their times.

JSON of speech recognisers and of Gentle, subtitles (SubRip, WebVTT), and plain text, which has no
times. Guesses and omissions are counted.
"""

import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from mmlib.data import DataError

UNTIMED = 1 / 3  # highest share of words without times that is accepted
RUN = 20  # most words without times in a row that are accepted
SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
# Abbreviations: the dot after one ends no sentence.
SHORT = ["Mr", "Mrs", "Ms", "Dr", "Prof", "St", "vs", "etc", r"e\.g", r"i\.e"]
ABBREVIATED = re.compile(rf"\b(?:{'|'.join(SHORT)})\.$", re.IGNORECASE)
BREAK = r"(?<=[.!?…])" + "".join(map(r"(?<!\b{}\.)".format, SHORT)) + r"\s+"  # between sentences
DIRECTION = re.compile(r"\[[^\]]*\]|\([A-Z ]+\)|[♪♫]")
# ANNA:, Speaker 1:, [SPEAKER_00]: of whisperX, (speaker 0) of whisper.cpp; perhaps after a dash
NAME = (
    r"(?:>>|[-–—])?[ \t]*(?:\[[^\]\n]{0,30}\d\]:|\((?:speaker|SPEAKER) [\d?]+\):?|"
    r"(?:[A-Z][A-Z0-9 ._-]{1,30}|[Ss]peaker[ _]?\w+):)\s+(?=\S)"
)
NAMED, TURN = re.compile(f"^{NAME}"), re.compile(rf"\n(?={NAME})")  # a turn begins with a name


class Piece(NamedTuple):
    """A word with its times, or a cue or segment whose words have no times of their own."""

    text: str
    start: float | None  # seconds; None while the pieces are still being completed
    end: float | None
    speaker: str = ""
    words: Sequence = ()  # of a segment, as in the file


def _words_and_speaker(text: str) -> tuple[str, str]:
    """Words and speaker of a line: "ANNA: Hello." names one. Stage directions are left out."""
    text = " ".join(text.split())
    name = NAMED.match(text) or NAMED.match(text := " ".join(DIRECTION.sub(" ", text).split()))
    speaker = name[0].strip(" >-–—[]():") if name else ""
    words = " ".join(DIRECTION.sub(" ", text[name.end() if name else 0 :]).split())
    return words.removeprefix(">> "), speaker


# Plain text

CLOCK = re.compile(r"^\W*\d{1,2}:\d\d(?![^\W\d])|(?<!\w)\d{1,2}:\d\d(?:[.,]\d+)?\W*$")


def plain(text: str, seconds: float) -> list[Piece]:
    """Lines, or the sentences of a single line, timed in proportion to their characters.

    They fill `seconds`. A sentence ends at . ! ? or … before a space, but not after one of `SHORT`.
    DataError for a table of numbers, or if over a third of the lines, and more than one, begin or
    end with a time (no word).
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(clocks := [line for line in lines if CLOCK.search(line)]) > max(1, len(lines) / 3):
        raise DataError(
            f"{len(clocks)} of {len(lines)} lines hold a time, the first is {clocks[0][:30]!r}; "
            "take the times out, or save it as .srt (00:00:01,000 --> 00:00:02,500)"
        )
    if sum(map(str.isdigit, text)) > sum(map(str.isalpha, text)):
        raise DataError("more digits than letters; is it a face export? That is for --faces")
    if len(lines) == 1:
        lines = re.split(BREAK, lines[0], flags=re.IGNORECASE)
    spoken = [(words, speaker) for words, speaker in map(_words_and_speaker, lines) if words]
    total, before, pieces = sum(len(words) for words, _ in spoken), 0, []
    for words, speaker in spoken:
        start, end = (seconds * n / total for n in (before, before + len(words)))
        pieces.append(Piece(words, start, end, speaker))
        before += len(words)
    return pieces


# Speech recognisers

LISTS = ("segments", "transcription", "chunks")  # of Whisper, whisper.cpp, transformers
GUESSED = "words without a time of their own, put with a neighbour"
IN_ONE = "segments with words that have no times or lack some, read as one piece"
ROLLING = "cues that repeat the one before (rolling captions), repetition left out"


def recognised(text: str, counts: Counter) -> list[Piece]:
    """Words of JSON by Whisper and its variants, Gentle or OpenAI's API; else its timed segments.

    DataError for another layout, and for words that leave out a part of the text.
    """
    try:
        content = json.loads(text)
        if content and isinstance(content, list):  # faster-whisper's segments
            content = {"segments": content}
        words, listed = content.get("words"), [content[name] for name in LISTS if name in content]
        if words is None and not listed:
            raise DataError("no word-timed JSON: neither Whisper's `segments` nor `words` in it")
        segments = _whole(map(_piece, (listed or [[]])[0]))
        if words and not any(segment.words for segment in segments):
            written = content.get("transcript") or content.get("text") or ""
            pieces = list(_punctuated(words, written))
        else:
            pieces = [piece for segment in segments for piece in _of_segment(segment, counts)]
        return _joined(_ended([piece for piece in pieces if piece.text]), counts)
    except DataError:
        raise
    except (AttributeError, LookupError, StopIteration, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"no word-timed JSON of Whisper or Gentle ({reason})") from error


def _piece(entry: dict | list) -> Piece:
    """A word or segment; a list is a named tuple in JSON: ..., start, end, text, ..., words."""
    if isinstance(entry, list):
        at = next(i for i, value in enumerate(entry) if isinstance(value, str))
        lists = [x for x in entry[at:] if isinstance(x, list) and x and not isinstance(x[0], int)]
        start, end = entry[at - 2 : at]
        entry = {"text": entry[at], "start": start, "end": end, "words": (lists or [[]])[0]}
    start, end = entry.get("start"), entry.get("end")
    if "timestamp" in entry:
        start, end = entry["timestamp"]
    if "offsets" in entry:  # milliseconds
        start, end = (entry["offsets"][edge] / 1000 for edge in ("from", "to"))
    words = entry.get("words") or []
    text = entry["word"] if "word" in entry else entry.get("text", "") if words else entry["text"]
    start, end = (None if time is None else float(time) for time in (start, end))
    text = text.encode(errors="replace").decode()  # half a surrogate pair has no UTF-8
    speaker = "" if entry.get("speaker") is None else str(entry["speaker"])  # a number may be 0
    return Piece(text, start, end, " ".join(speaker.split()), words)


def _word(entry: dict | list) -> Piece:
    """A word; times that are NaN count as missing."""
    word = _piece(entry)
    return word._replace(start=None) if math.isnan((word.start or 0) + (word.end or 0)) else word


def _whole(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces joined to words: a word of Whisper's begins with a space, " 3" and ".5" are one."""
    pieces, whole = list(pieces), []
    begins = [piece.text.startswith(" ") for piece in pieces]
    if not any(begins[:1]) or sum(begins) < len(begins) / 2:  # others, or no spaces
        return pieces
    for piece, is_first in zip(pieces, begins, strict=True):
        last = whole[-1] if whole else piece
        is_apart = piece.words or len(f"{last.text}{piece.text}".split()) > 1
        is_apart = is_apart or piece.speaker != last.speaker
        if is_first or is_apart or None in (last.start, piece.start):
            whole.append(piece)
        else:
            whole[-1] = last._replace(text=last.text + piece.text, end=piece.end)
    return whole


def _letters(text: str) -> int:
    return len(re.findall(r"\w", text))


def _of_segment(segment: Piece, counts: Counter) -> Iterator[Piece]:
    """Words of a segment; or it as one piece if they lack times or leave out a part of its text."""
    words = _whole(map(_word, segment.words))
    timed = [i for i, word in enumerate(words) if word.start is not None]
    spoken = " ".join(word.text for word in words)
    text = segment.text or spoken
    if _letters(spoken) < _letters(text) or (not timed and segment.start is not None):
        counts[IN_ONE] += bool(words)
        words = [segment._replace(text=text)]
    elif timed and timed[0] and segment.start is not None:  # numerals at its start, for example
        counts[GUESSED] += timed[0]
        numerals = " ".join(word.text for word in words[: timed[0]])
        words[: timed[0]] = [segment._replace(text=numerals, end=words[timed[0]].start)]
    for word in words:
        text, named = _words_and_speaker(word.text)
        yield Piece(text, word.start, word.end, word.speaker or segment.speaker or named)


def _punctuated(entries: list[dict], written: str) -> Iterator[Piece]:
    """Words with the punctuation that follows each in the written text."""
    entries = [entry for entry in entries if _piece(entry).text.strip()]
    words = list(map(_word, entries))
    edges = (r"(?<!\w)", r"(?!\w)") if len(written.split()) > len(words) / 2 else ("", "")
    if sum(_letters(word.text) for word in words) < 0.9 * _letters(written):
        raise DataError("its words leave out a part of its text; transcribe it again")
    starts, after = [], 0
    for word, entry in zip(words, entries, strict=True):
        text, start = word.text.strip(), entry.get("startOffset")
        if start is None:  # OpenAI's API gives no offset, Gentle does
            pattern = re.compile(re.escape(text).join(edges))  # without edges where no spaces are
            match = pattern.search(written, after, after + len(text) + 40)
            start = match and match.start()
        after = after if start is None else start + len(text)
        starts.append(start)
    for word, start, end in zip(words, starts, [*starts[1:], len(written)], strict=True):
        text = written[start:end] if written and None not in (start, end) else word.text
        yield Piece(_words_and_speaker(text)[0], word.start, word.end, word.speaker)


def _ended(pieces: list[Piece]) -> list[Piece]:
    """Pieces whose missing ends are set to the next start, the last to infinity: the clip's end."""
    ended, following = [], math.inf
    for piece in reversed(pieces):
        ended.append(piece._replace(end=following) if piece.end is None else piece)
        following = following if piece.start is None else piece.start
    return ended[::-1]


def _joined(pieces: list[Piece], counts: Counter) -> list[Piece]:
    """Pieces without a time joined to the previous piece, or after a sentence's end to the next."""
    untimed = [piece.start is None for piece in pieces]
    if pieces and all(untimed):
        example = pieces[0].text[:30]
        raise DataError(f"no word has a time, e.g. {example!r}; run it with word timestamps")
    longest = max((len(list(run)) for none, run in groupby(untimed) if none), default=0)
    if sum(untimed) > UNTIMED * len(pieces) or longest > RUN:
        raise DataError(
            f"{sum(untimed)} of {len(pieces)} words have no time, up to {longest} in a row; align "
            "or transcribe it again"
        )
    counts[GUESSED] += sum(untimed)
    joined: list[Piece] = []
    waiting = ""
    for piece in pieces:
        if piece.start is not None:
            joined.append(piece._replace(text=f"{waiting} {piece.text}".strip()))
            waiting = ""
        elif joined and not waiting and not SENTENCE.search(joined[-1].text):
            joined[-1] = joined[-1]._replace(text=f"{joined[-1].text} {piece.text}")
        else:
            waiting = f"{waiting} {piece.text}".strip()
    if waiting:
        joined[-1] = joined[-1]._replace(text=f"{joined[-1].text} {waiting}")
    return joined


# Subtitles

TIME = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,٫](\d+)(?:[.,٫](\d+))?)?")
NUMBER = re.compile(r"\n[ \t\ufeff]*#?\d+[.:]?[ \t]*(?=\n[^\n]*-->)")  # a line above the times
COMMENT = re.compile(r"\n[ \t]*\n(?:NOTE|STYLE|REGION)\b.*?(?=\n[ \t]*\n|\Z)", re.DOTALL)
IDENTIFIER = re.compile(r"(?<=\n)[ \t]*\n(?:(?!-->)[^\n])+(?=\n[^\n]*-->)")
ARROW = re.compile(r"\d:\d\d\S*\s*[-–—=]*>+\s*\d+:\d")  # times with another arrow than -->
VOICE = re.compile(r"<v(?:\.[^ >]*)? ([^>]+)>")
TAGS = re.compile(r"(<v[. ][^>]*>|<[\d:]+[.,]\d+>)")  # of a voice, of the next word's time
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^}]*\}")


def is_time_line(line: str) -> bool:
    start, arrow, end = (part.strip() for part in line.partition("-->"))
    known = TIME.fullmatch(start) or TIME.match(end)
    return bool(arrow and (known or (start[:1].isdigit() and end[:1].isdigit())))


def subtitles(text: str, counts: Counter) -> list[Piece]:
    """The cues that hold words. Time lines separate them, since cues may contain blank lines.

    A cue with times between its words becomes one piece per time. DataError names a cue whose
    times cannot be read.
    """
    if text.lstrip().startswith("WEBVTT"):
        text = IDENTIFIER.sub("", COMMENT.sub("", text))
    lines = NUMBER.sub("", text).splitlines()
    at = [i for i, line in enumerate(lines) if is_time_line(line)]
    if not at:
        raise DataError("no cue `start --> end` in it; is it SubRip or WebVTT?")
    cues = []
    for number, (i, following) in enumerate(pairwise([*at, len(lines)]), 1):
        start, _, end = lines[i].partition("-->")
        start, end = _seconds(start, number), _seconds(" ".join(end.split()[:1]), number)
        cues.append(_parts(start, end, "\n".join(lines[i + 1 : following]), number))
    pieces = [piece for cue in _unrolled(cues, counts) for piece in _spoken_by(cue)]
    return [piece for piece in pieces if piece.text]


def _seconds(text: str, number: int) -> float:
    time = TIME.fullmatch(text.strip())
    if not time:
        raise DataError(f"cue {number}: no time {text.strip()!r}; write 00:01:02,500")
    hours, minutes, seconds, *fraction = time.groups()
    fraction = "".join(filter(None, fraction))  # 249.09 milliseconds are written ,249.09
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + float(f"0.{fraction}")


def _parts(start: float, end: float, text: str, number: int) -> list[Piece]:
    """Pieces of a cue between its voice and time tags; line breaks are kept, markup left out."""
    if ARROW.search(text):
        raise DataError(f"cue {number}: times in its text; write 00:00:01,000 --> 00:00:02,000")
    parts, speaker = [], ""
    for part in TAGS.split(text):
        if voice := VOICE.fullmatch(part):
            speaker = voice[1]  # the voices of a cue share its times
        elif TAGS.fullmatch(part) and not part.startswith("<v"):
            start = min(max(_seconds(part[1:-1], number), start), end)
            parts = [before._replace(end=min(before.end, start)) for before in parts]
        else:
            parts.append(Piece(MARKUP.sub("", part), start, end, speaker))
    return parts


def _unrolled(cues: list[list[Piece]], counts: Counter) -> list[list[Piece]]:
    """Cues without the words that rolling captions, as YouTube makes them, repeat.

    Captions roll if two cues or more, and over a third, begin with lines of the previous cue.
    """
    repeats = [0, *map(_repeated, cues, cues[1:])]  # words
    rolling = sum(map(bool, repeats))
    if rolling < 2 or rolling <= len(cues) / 3:
        return cues
    counts[ROLLING] += rolling
    return list(map(_without, cues, repeats))


def _repeated(before: list[Piece], cue: list[Piece]) -> int:
    """Words at the start of a cue that repeat the last lines of a cue that ends where it starts."""
    if before and cue and cue[0].start - before[-1].end < 0.1:
        words = "".join(part.text for part in cue).split()
        lines = "".join(part.text for part in before).splitlines()
        for i in range(len(lines)):
            last = " ".join(lines[i:]).split()
            if words[: len(last)] == last:
                return len(last)
    return 0


def _without(cue: list[Piece], words: int) -> list[Piece]:
    """The cue without its first `words` words."""
    kept = []
    for part in cue:
        left = part.text.split()[words:]
        words = max(words - len(part.text.split()), 0)
        kept += [part._replace(text=" ".join(left))] if left else []
    return kept


def _spoken_by(cue: list[Piece]) -> Iterator[Piece]:
    """Parts of a cue with their speakers, from a voice tag or from a name before the words."""
    speaker = ""
    for part in cue:
        text = html.unescape(part.text)
        for turn in TURN.split(text) if NAMED.match(text) else [text]:  # they share their times
            words, named = _words_and_speaker(turn)
            speaker = html.unescape(part.speaker).strip() or named or speaker
            yield Piece(words, part.start, part.end, speaker)
