"""The sound of a recording, 16 kHz mono, in blocks: an hour takes no more memory than a minute.

PyAV contains FFmpeg's libraries, so nothing but pip's packages has to be installed.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np

from mmlib.covarep.recording import DEAD
from mmlib.data import DataError
from mmlib.recordings.border import names_file
from mmlib.recordings.lengths import check_size, promised

RATE = 16000  # Hz
BLOCK = 10 * RATE  # samples
SILENCE = 1e-4  # of full scale; a recording below it is digital silence, perhaps with dither
LOUD = 100.0  # of full scale; float samples of recordings exceed it by a few dB only
ONE_SILENT = "clips with a silent channel, which is averaged in; export the other alone"
TRACKS = "clips with several sound tracks, of which the first is read"
LOST = 0.5  # seconds by which the decoded sound may be shorter than declared
# Playlists are not among them, because with these FFmpeg would open other files.
CONTAINERS = "wav,w64,aiff,caf,flac,mp3,ogg,aac,amr,mov,matroska,webm,avi,asf,mpeg,mpegts"


@dataclass(frozen=True)
class Limits:
    """Bounds on a single recording; DataError unless both are more than 0."""

    hours: float = 4.0  # of sound, since a small file can hold days of silence
    gigabytes: float = 8.0  # of the file

    def __post_init__(self) -> None:
        if not (self.hours > 0 and self.gigabytes > 0):  # nor NaN
            raise DataError(f"limits of {self.hours} h and {self.gigabytes} GB; give more than 0")


@dataclass(frozen=True)
class Recording:
    """Path, length and pictures of a recording."""

    path: Path
    seconds: float
    frame_rate: float | None  # pictures a second, None without video
    pictures_at: float = 0.0  # seconds from the start to the first picture


@names_file
def probe(path: Path | str, limits: Limits | None = None) -> Recording:
    """Length and frame rate of a recording; DataError, one line, if it cannot be used.

    If the file declares no length, its sound is decoded and measured.
    """
    path, limits = Path(path), limits or Limits()
    _check_file(path, limits)
    with _opened(path) as container:
        video = container.streams.video
        rate = float(video[0].average_rate) if video and video[0].average_rate else None
        length = promised(path, container).whole
        at = (video[0].start_time or 0) * video[0].time_base if video else 0
        at = max(float(at) - (container.start_time or 0) / av.time_base, 0.0)
    seconds = length or sum(map(len, blocks(path, limits))) / RATE
    _check_length(path, seconds, limits)
    return Recording(path, seconds, rate, at)


def blocks(
    path: Path | str, limits: Limits | None = None, counts: Counter | None = None
) -> Iterator[np.ndarray]:
    """Blocks (n,) of about 10 s of sound at RATE, float32 of full scale 1, all channels averaged.

    Sound that starts after the pictures is preceded by zeros. Only the first sound track is read.
    counts: records other tracks and silent channels. DataError at once if the limits are exceeded
    or a sample is not finite; after the last block if the file ends early, is silent throughout, or
    has channels that cancel each other.
    """
    path, limits = Path(path), limits or Limits()
    done, peak = 0, 0.0
    with _opened(path) as container:
        lengths, tracks = promised(path, container), len(container.streams.audio)
        sound = _Sound(container, path)
        for block in sound.blocks():
            done, peak = done + len(block), max(peak, float(np.abs(block).max(initial=0)))
            _check_length(path, done / RATE, limits)
            if not np.isfinite(block).all():
                raise DataError(f"{path}: samples that are NaN or infinite; convert it again")
            yield block
    _check_length(path, done / RATE, limits, lengths.whole or 0.0)
    _check_end(path, done / RATE, lengths.sound)
    _check_end(path, done / RATE, sound.heard)
    _check_end(path, sound.reached, lengths.whole if lengths.pictures else None)
    peaks = sound.peaks
    if peak > LOUD:
        raise DataError(
            f"{path}: samples up to {peak:.0f}, full scale is 1; save it as 16 bit, or divide them "
            "by 32768"
        )
    if peak < SILENCE <= peaks.max():
        raise DataError(f"{path}: its channels cancel each other; export a single one")
    if peak < SILENCE:
        raise DataError(f"{path}: silent ({done / RATE:.1f} s of sound without any); record again")
    if counts is not None:
        counts[ONE_SILENT] += bool((peaks < DEAD * peaks.max()).any())
        counts[TRACKS] += tracks > 1


def cut(stream: Iterator[np.ndarray], intervals: np.ndarray) -> Iterator[np.ndarray]:
    """Samples (n,) of each interval (k, 2) in seconds, sorted by start; they may overlap.

    Only samples that a later interval may need are kept. At the end the rest of the stream is read,
    because its checks come last.
    """
    held, first = np.zeros(0, np.float32), 0  # `first`: number of the first sample held
    for start, end in np.rint(np.asarray(intervals) * RATE).astype(int):
        while first + len(held) < end and (block := next(stream, None)) is not None:
            kept = held[max(start - first, 0) :]
            first += len(held) - len(kept)
            held = np.concatenate([kept, block])
        yield held[max(start - first, 0) : max(end - first, 0)]
    deque(stream, maxlen=0)


def load(path: Path | str, limits: Limits | None = None) -> np.ndarray:
    """All samples (n,) of a recording at RATE, in memory at once."""
    return np.concatenate([*blocks(path, limits)] or [np.zeros(0, np.float32)])


def _check_file(path: Path, limits: Limits) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file; correct its name")
    size = path.stat().st_size
    if size > limits.gigabytes * 1e9:
        raise DataError(
            f"{path}: {size / 1e9:.1f} GB, the limit is {limits.gigabytes:g}; "
            "cut it or raise the limit"
        )


def _check_length(path: Path, seconds: float, limits: Limits, declared: float = 0.0) -> None:
    if not seconds:
        raise DataError(f"{path}: no sound in it (0 s); record again")
    if seconds > limits.hours * 3600:
        raise DataError(f"{path}: over {limits.hours:g} h of sound; cut it, or raise the limit")
    if declared and seconds > declared + LOST:
        words = f"{seconds:.1f} s of sound, declared are {declared:.1f} (files joined?)"
        raise DataError(f"{path}: {words}; `ffmpeg -i OLD NEW.wav`")


def _check_end(path: Path, seconds: float, declared: float | None) -> None:
    if seconds < (declared or 0) - LOST:
        raise DataError(
            f"{path}: truncated, {seconds:.1f} of {declared:.1f} s can be decoded (or its sound "
            "has gaps); copy it again, or `ffmpeg -i OLD -af aresample=async=1 NEW.wav`"
        )


def _opened(path: Path) -> av.container.InputContainer:
    try:
        check_size(path)
        options = {"format_whitelist": CONTAINERS}
        container = av.open(
            str(path.absolute()), container_options=options, metadata_errors="replace"
        )
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        is_forbidden = isinstance(error, PermissionError)
        remedy = "correct its rights" if is_forbidden else "copy it again or convert it to WAV"
        raise DataError(
            f"{path}: not a readable recording, or a truncated one ({reason}); {remedy}"
        ) from None
    if not container.streams.audio:
        container.close()
        raise DataError(f"{path}: video without audio; export it with its sound")
    return container


class _Sound:
    """The first sound track of a file, and what its decoding shows."""

    def __init__(self, container: av.container.InputContainer, path: Path) -> None:
        self.container, self.path = container, path
        self.stream = container.streams.audio[0]
        self.start = (container.start_time or 0) / av.time_base  # seconds
        self.peaks = np.zeros(self.stream.channels)  # largest |sample| of each channel
        self.reached = 0.0  # seconds from the start to the end of the packets read, pictures too
        self.heard = 0.0  # the same of the sound

    def blocks(self) -> Iterator[np.ndarray]:
        """Blocks (n,) at RATE, the mean over the channels."""
        late = (self.stream.start_time or 0) * float(self.stream.time_base or 0) - self.start
        if (lead := round(late * RATE)) > 0:
            yield np.zeros(lead, np.float32)
        # Channels are averaged below: FFmpeg's own mono can exceed full scale. "flt" interleaves
        # them, because PyAV crashes on eight planes.
        resampler = av.AudioResampler("flt", rate=RATE, frame_size=BLOCK)
        try:
            for frame in chain(self._frames(), [None]):
                for piece in resampler.resample(frame):
                    channels = piece.to_ndarray().reshape(piece.samples, -1).T  # (channels, n)
                    peaks = np.abs(channels).max(axis=1, initial=0)
                    np.maximum(self.peaks, peaks, out=self.peaks)
                    yield channels.mean(axis=0)
        except av.FFmpegError as error:
            raise DataError(
                f"{self.path}: damaged or truncated ({error.strerror}); copy it again, or if it "
                "plays to its end `ffmpeg -i OLD NEW.wav`"
            ) from None

    def _frames(self) -> Iterator[av.AudioFrame]:
        for packet in self.container.demux():
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self.reached = max(self.reached, end - self.start)
                if packet.stream is self.stream:
                    self.heard = max(self.heard, end - self.start)
            if packet.stream is self.stream:
                yield from packet.decode()
