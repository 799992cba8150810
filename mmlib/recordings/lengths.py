"""The length that a file declares, because FFmpeg reads many truncated files without an error."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av

from mmlib.covarep.conventions import CovarepError
from mmlib.covarep.recording import locate_samples
from mmlib.data import DataError

TIMED = ("matroska", "mov")  # containers whose headers give the length of all their streams
PAGE = 65307  # bytes of an Ogg page, at most
W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


class Lengths(NamedTuple):
    """Seconds that a file declares; None where it declares none."""

    whole: float | None  # of all streams, pictures too
    sound: float | None  # may end before the pictures
    pictures: bool  # whether `whole` can be relied on and includes pictures


def promised(path: Path, container: av.container.InputContainer) -> Lengths:
    """Lengths that an opened file declares; DataError, one line, if it holds fewer bytes than that.

    FFmpeg's guesses from the bit rate (AMR, AAC without a container, MP3 without a Xing header) do
    not count, and MPEG streams (.ts, .mpg) declare no length.
    """
    streamed = check_size(path)
    stream, duration = container.streams.audio[0], (container.duration or 0) / av.time_base
    if streamed:
        return Lengths(streamed, streamed, False)
    if _is_guess(path, container.format.name):
        return Lengths(None, None, False)
    pictures = bool(container.streams.video)
    sound = float(stream.duration * stream.time_base) if stream.duration else None
    if not sound and not pictures:
        sound = duration or None
    return Lengths(duration or None, sound, pictures and container.format.name.startswith(TIMED))


def check_size(path: Path) -> float | None:
    """Seconds of a streamed WAV, else None; DataError for a file shorter than it declares."""
    try:
        wav = locate_samples(path)
    except CovarepError as error:
        raise DataError(str(error)) from None
    if wav and (wav.kind == "RIFX" or (wav.kind != "RIFF" and wav.streamed)):
        # FFmpeg reads RIFX in the wrong byte order, and no samples of a streamed RF64.
        raise DataError(f"{path}: WAV of the kind {wav.kind}; convert it to a plain one, RIFF")
    size = path.stat().st_size
    for end in _ends(path):
        if size + 1 < end:  # the last byte of padding may be missing
            raise DataError(f"{path}: truncated, {size} of {end} bytes are there; copy it again")
    return wav.seconds if wav and wav.streamed else None


def _ends(path: Path) -> Iterator[int]:
    """Bytes at which parts of an AVI, Wave64, CAF or Ogg file end, as their headers declare."""
    with path.open("rb") as file:
        head = file.read(24)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            length = int.from_bytes(head[4:8], "little")
            yield 0 if length >= 0x7FFFFFFF else 8 + length  # unknown in a stream
        elif head[:16] == W64:
            length = int.from_bytes(head[16:24], "little", signed=True)
            yield 0 if length >= 1 << 62 else length
        elif head[:4] == b"caff":
            file.seek(8)
            while len(chunk := file.read(12)) == 12:
                length = int.from_bytes(chunk[4:], "big", signed=True)
                if length < 0:  # unknown in a stream
                    return
                yield file.tell() + length
                file.seek(length, 1)
        elif head[:4] == b"OggS":
            start = max(path.stat().st_size - 2 * PAGE, 0)
            file.seek(start)
            last = file.read()
            page = last[(at := last.rfind(b"OggS")) :]
            yield start + at + 27 + sum(page[26:27]) + sum(page[27 : 27 + sum(page[26:27])])


def _is_guess(path: Path, kind: str) -> bool:
    """Whether FFmpeg guesses the length from the bit rate."""
    if kind != "mp3":
        return kind in ("aac", "amr")
    with path.open("rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3":  # the length of its pictures and names, 7 bits a byte
            file.seek(10 + sum(byte << 7 * i for i, byte in enumerate(reversed(tag[6:10]))))
        else:
            file.seek(0)
        return not re.search(rb"Xing|Info|VBRI", file.read(2000))
