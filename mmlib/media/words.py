"""Word-timed JSON: Whisper's layout (also with speakers, as WhisperX writes it) and Gentle's."""

import json
from collections.abc import Iterable

from mmlib.data import DataError
from mmlib.media.pieces import Piece, spoken


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
