"""Recordings and exports for tests, sound and broken, made on the spot."""

import json
import os
import signal
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
from scipy.io import wavfile

from mmlib.covarep.voice import synthesise
from mmlib.data.columns import FACET
from mmlib.recordings.decode import RATE

CODECS = {".flac": ("flac", "s16"), ".mp3": ("libmp3lame", "s16p"), ".mp4": ("aac", "fltp")}
BROKEN = {  # kind -> a word of the reason
    "empty": "empty file",
    "truncated": "truncated",
    "silent": "silent",
    "without audio": "video without audio",
    "wrong encoding": "wrong encoding",
    "NaN faces": "no usable face",
    "past the end": "is it the transcript of another clip",
}


def killed_by_odd_ends(job) -> str:
    """A task whose process dies over some jobs, as for want of memory."""
    if job.name in ("3", "7"):
        os.kill(os.getpid(), signal.SIGKILL)
    return ""


def voice(seconds: float = 1.0, f0: float = 140.0, rate: int = RATE) -> np.ndarray:
    return synthesise(np.full(round(seconds * rate), f0), 1.2, sample_rate=rate, noise=0.02).wave


def write_wav(path: Path, wave: np.ndarray, rate: int = RATE) -> Path:
    wavfile.write(path, rate, np.rint(32767 * wave).astype(np.int16))
    return path


def chunks(
    wave: np.ndarray,
    kind: str = "<i2",
    riff: int | None = None,
    data: int | None = None,
    rate: int = RATE,
    extensible: bool = False,
    between: bytes = b"",
    after: bytes = b"",
    magic: bytes = b"RIFF",
) -> bytes:
    """A WAV file (n,) or (n, channels) byte by byte: of 3 bytes ("i3"), any lengths, any chunks."""
    order, letter, width = kind[0], kind[1], int(kind[2:])
    channels = 1 if wave.ndim == 1 else wave.shape[1]
    if letter == "f":
        samples = wave.astype(kind).tobytes()
    else:
        whole = np.rint(wave.ravel() * (2.0 ** (8 * width - 1) - 1)).astype(np.int64)
        whole += 128 * (letter == "u")
        endian = "little" if order == "<" else "big"
        samples = b"".join(int(v).to_bytes(width, endian, signed=letter == "i") for v in whole)
    tag = 3 if letter == "f" else 1
    align = channels * width
    facts = (0xFFFE if extensible else tag, channels, rate, rate * align, align, 8 * width)
    form = struct.pack(f"{order}HHIIHH", *facts)
    if extensible:
        guid = bytes.fromhex("000000001000800000aa00389b71")
        form += struct.pack(f"{order}HHIH", 22, 8 * width, 0, tag) + guid
    size = len(samples) if data is None else data
    head = b"WAVEfmt " + struct.pack(f"{order}I", len(form)) + form + between
    body = head + b"data" + struct.pack(f"{order}I", size) + samples + after
    return magic + struct.pack(f"{order}I", len(body) if riff is None else riff) + body


def encode(path: Path, wave: np.ndarray | None, pictures: int = 0) -> Path:
    """A compressed recording; `pictures` at 25 a second before the sound."""
    with av.open(str(path), "w") as file:
        if pictures:
            video = file.add_stream("mpeg4", rate=25)
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
            grey = np.full((64, 64, 3), 128, np.uint8)
            for _ in range(pictures):
                file.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            file.mux(video.encode(None))
        if wave is not None:
            codec, kind = CODECS[path.suffix]
            sound = file.add_stream(codec, rate=RATE, layout="mono", format=kind)
            for frame in _frames(wave, kind):
                file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
    return path


def film(
    path: Path, wave: np.ndarray, codec: str, kind: str, rate: int, pictures: str | None,
    late: int = 0,
) -> Path:  # fmt: skip
    """Sound of any codec, with noise for pictures (of the codec `pictures`) between its packets.

    late: pictures by which these begin after the sound.
    """
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as file:
        video = file.add_stream(pictures, rate=25) if pictures else None
        sound, n = file.add_stream(codec, rate=rate, layout="mono", format=kind), 0
        if video:
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for frame in _frames(wave, kind, 960 if codec == "libopus" else 1024, rate):
            while video and (n + late) / 25 <= frame.pts / rate:
                noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
                picture = av.VideoFrame.from_ndarray(noise, format="rgb24")
                picture.pts, picture.time_base, n = n + late, Fraction(1, 25), n + 1
                file.mux(video.encode(picture))
            file.mux(sound.encode(frame))
        for stream in filter(None, (video, sound)):
            file.mux(stream.encode(None))
    return path


def _frames(wave: np.ndarray, kind: str, size: int = 1152, rate: int = RATE):
    samples = wave.astype(np.float32) if kind == "fltp" else np.rint(32767 * wave).astype(np.int16)
    for at in range(0, len(wave), size):
        part = np.ascontiguousarray(samples[None, at : at + size])
        frame = av.AudioFrame.from_ndarray(part, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        yield frame


def whisper(path: Path, *words: tuple[str, float, float]) -> Path:
    """A transcript in Whisper's layout: (word, start, end)."""
    timed = [{"word": f" {w}", "start": a, "end": b} for w, a, b in words]
    path.write_text(json.dumps({"segments": [{"start": 0, "end": 1, "words": timed}]}))
    return path


def facet(path: Path, values: np.ndarray, step: float = 0.04) -> Path:
    """An iMotions export of values (f, 35), NaN where the face is lost."""
    names = [f"{c} {'Degrees' if c in ('Yaw', 'Pitch', 'Roll') else 'Evidence'}" for c in FACET]
    table = pd.DataFrame(values, columns=names)
    table.insert(0, "FrameTime", 1000 * step * np.arange(len(values)))
    path.write_text("#Version : 6.1\n\n" + table.to_csv(sep="\t", index=False))
    return path


def clip(folder: Path, name: str, wave: np.ndarray, kind: str = "") -> None:
    """A clip with transcript and faces, or one that is broken in the way `kind` says."""
    media, text = folder / f"{name}.wav", folder / f"{name}.json"
    seconds = len(wave) / RATE
    write_wav(media, 0 * wave if kind == "silent" else wave)
    whisper(text, ("Very", 0, seconds / 2), ("good.", seconds / 2, seconds))
    (folder / "faces").mkdir(exist_ok=True)
    values = np.full((int(seconds * 25), 35), np.nan if kind == "NaN faces" else 0.5)
    facet(folder / "faces" / f"{name}.txt", values)
    if kind == "empty":
        media.write_bytes(b"")
    elif kind == "truncated":
        media.write_bytes(media.read_bytes()[: media.stat().st_size // 3])
    elif kind == "without audio":
        media.unlink()
        encode(media.with_suffix(".mp4"), None, pictures=25)
    elif kind == "wrong encoding":
        text.with_suffix(".txt").write_bytes("schön".encode("latin-1"))
        text.unlink()
    elif kind == "past the end":
        whisper(text, ("Late.", seconds + 5, seconds + 6))
