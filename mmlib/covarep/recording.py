"""A recording as the features need it: one channel, float64, a known rate, and not silent."""

import io
import warnings
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from scipy.io import wavfile

from mmlib.covarep.conventions import CovarepError

SLOWEST, FASTEST = 8000, 48000  # Hz
# Samples, 3 minutes at 16 kHz: under 300 MB of memory, even if a pause fills most of the file: the
# frame of the glottal cycle after a pause is as long as the pause.
LONGEST = 2_880_000
DEAD = 0.01  # share of the loudest channel's extent under which a channel counts as silent
UNKNOWN = (0x7FFFFFFF, 0xFFFFFFFF)  # bytes declared by programs that cannot return to the header
OVERFLOW = 1 << 32  # bytes, more than a length of 4 bytes can express
LOUD = 256  # of full scale 1
NEAR = 1 << 13  # bytes; some programs subtract the header, or round to blocks


def checked(wave: np.ndarray, sample_rate: float) -> tuple[np.ndarray, int]:
    """The first channel of `wave` (n,) or (n, channels) as float64 (n,), and the rate as an int.

    Integers are divided by their full scale (int16: 32768; uint8 is centred at 128). Clipped
    recordings pass. CovarepError if the rate is not a whole number of 8000 to 48000 Hz, if the wave
    is empty, constant, longer than LONGEST or holds NaN or infinity, or if its first channel is
    silent and another is not.
    """
    if not (SLOWEST <= sample_rate <= FASTEST) or sample_rate != int(sample_rate):
        raise CovarepError(
            f"sample rate {sample_rate} Hz: resample to a whole number of {SLOWEST} to {FASTEST} Hz"
        )
    wave = np.asarray(wave)
    if wave.ndim == 2 and wave.shape[0] < wave.shape[1]:
        raise CovarepError(f"wave of shape {wave.shape}: give (samples, channels), transpose it")
    if wave.ndim not in (1, 2) or wave.dtype.kind not in "iuf" or wave.shape[1:] == (0,):
        raise CovarepError(f"wave of shape {wave.shape}, {wave.dtype}: give real samples, (n,)")
    if not len(wave):
        raise CovarepError("the recording is empty: drop it")
    if len(wave) > LONGEST:
        raise CovarepError(f"{len(wave)} samples, at most {LONGEST}: cut into utterances first")
    channels = np.atleast_2d(wave.T)
    channels = _of_scale_1(channels)
    wave = np.ascontiguousarray(channels[0], dtype=np.float64)
    if not np.isfinite(wave).all():
        raise CovarepError("the recording holds NaN or infinity: repair or drop it")
    reach = np.ptp(np.nan_to_num(channels, posinf=0, neginf=0), axis=1)
    if reach[0] < DEAD * reach.max():
        raise CovarepError(
            f"channel 1 of {len(reach)}, the only one that is used, is silent: give channel "
            f"{reach.argmax() + 1} alone"
        )
    if not reach[0]:
        raise CovarepError(f"the recording is constant ({wave[0]:g}): drop it")
    return wave, int(sample_rate)


def _of_scale_1(channels: np.ndarray) -> np.ndarray:
    """Samples divided by the full scale of their kind; CovarepError if they have another scale."""
    kind, size = channels.dtype.kind, channels.dtype.itemsize
    peak = np.abs(channels.astype(float)).max(where=np.isfinite(channels), initial=0)
    if (kind != "f" and size > 2 and 0 < peak <= 2**15) or (kind == "f" and peak > LOUD):
        raise CovarepError(
            f"{channels.dtype} samples up to {peak:.0f}: give int16, or floats of full scale 1 (of "
            "16 bits: divided by 32768)"
        )
    return channels if kind == "f" else channels / 2.0 ** (8 * size - 1) - (kind == "u")


class Samples(NamedTuple):
    """Place and length of the samples in a WAV file."""

    start: int  # byte
    size: int  # bytes, of whole samples of all channels
    streamed: bool  # whether the lengths in the header do not hold
    seconds: float
    kind: str  # RIFF; RIFX of other byte order; RF64, BW64 of any length


def locate_samples(path: str | Path) -> Samples | None:
    """Place and length of a WAV file's samples; None for another format (by its first bytes).

    A declared length of 0 or near UNKNOWN means up to the end of the file: programs that write into
    a pipe, or that are killed, leave it. So does a length that overflowed in a file of over 4 GB.
    CovarepError, one line, if there are no samples, or fewer than the header declares.
    """
    path = Path(path)
    with path.open("rb") as file:
        kind, riff, form = file.read(4), file.read(4), file.read(4)
        if not kind:
            raise CovarepError(f"{path}: empty file (0 bytes); copy it again")
        if kind not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or form != b"WAVE":
            return None
        order = "big" if kind == b"RIFX" else "little"
        rate, width, promised = _read_head(file, path, order)
        start = file.tell()
    there, end = path.stat().st_size - start, int.from_bytes(riff, order) + 8
    if promised:
        streamed = (there < promised and _is_unknown(promised)) or there - promised >= OVERFLOW
    else:
        streamed = end <= start or _is_unknown(end)
    size = (there if streamed else min(there, promised)) // width * width
    if not streamed and promised - size >= width:
        raise CovarepError(
            f"{path}: truncated, {size / rate:.2f} of {promised / rate:.2f} s are there: copy it "
            "again, or keep what is there with `ffmpeg -i OLD.wav -c copy NEW.wav`"
        )
    if not size:
        raise CovarepError(f"{path}: no samples in it (0 s): record it again, or drop it")
    return Samples(start, size, streamed or end < start + size, size / rate, kind.decode())


def _is_unknown(length: int) -> bool:
    return any(abs(length - claimed) < NEAR for claimed in UNKNOWN)


def _read_head(file: BinaryIO, path: Path, order: str) -> tuple[int, int, int]:
    """Bytes a second, a sample of all channels, and all samples; reads up to the first sample."""
    rate = width = total = 0
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], order)
        if name == b"data" and width:
            return rate, width, total or size
        body = file.read(min(size, 16))
        if name == b"fmt ":
            per_second, rate, width = (
                int.from_bytes(body[a:b], order) for a, b in ((4, 8), (8, 12), (12, 14))
            )
            rate = rate or per_second * width or 1
        elif name == b"ds64":  # of a file that may be over 4 GB
            total = int.from_bytes(body[8:16], order)
        file.seek(size + size % 2 - len(body), io.SEEK_CUR)
    missing = "data" if width else "fmt"
    raise CovarepError(f"{path}: no usable {missing} chunk, so no sound in it: convert it again")


def read_wav(path: str | Path) -> tuple[np.ndarray, int]:
    """Samples (n,) or (n, channels), of the file's own type, and the rate (Hz) of a WAV file.

    CovarepError if it cannot be read, or ends before the samples it declares (`locate_samples`).
    """
    try:
        samples = locate_samples(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, wave = wavfile.read(_mended(path, samples) if samples else path)
    except CovarepError:
        raise
    except Exception as error:  # the parser's own
        remedy = "correct its name or rights" if isinstance(error, OSError) else "convert it to WAV"
        reason = getattr(error, "strerror", None) or error
        raise CovarepError(f"{path}: not a readable WAV file ({reason}); {remedy}") from error
    return wave, rate


def _mended(path: str | Path, samples: Samples) -> str | Path | io.BytesIO:
    """The path, or for a streamed file its bytes with the lengths filled in."""
    if not samples.streamed:
        return path
    content = bytearray(Path(path).read_bytes()[: samples.start + samples.size])
    order = "big" if content[:4] == b"RIFX" else "little"
    content[:4] = b"RIFX" if order == "big" else b"RIFF"
    content[4:8] = (len(content) - 8).to_bytes(4, order)
    content[samples.start - 4 : samples.start] = samples.size.to_bytes(4, order)
    return io.BytesIO(content)
