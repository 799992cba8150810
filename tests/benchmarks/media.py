"""Cost of the features of a long recording: processor seconds a second of sound, peak memory.

`python tests/benchmarks/media.py 60` measures an hour of sound (default: 10 minutes), of which 90 %
is speech in utterances of 4.5 s. It also measures a tenth of that, to show that memory does not
grow with length.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from mmlib.recordings import build, demo
from mmlib.recordings.decode import RATE, load

STEP, SPOKEN = 5.0, 4.5  # seconds from start to start of utterances, and of each utterance


def prepare(folder: Path, seconds: float) -> Path:
    """Write a recording of `seconds` and its transcript; the path of the recording."""
    path = folder / f"{seconds:g}.wav"
    samples = np.rint(32767 * load(demo.record(folder).clip)).astype(np.int16)
    wavfile.write(path, RATE, np.resize(samples, int(seconds * RATE)))
    starts = np.arange(0, seconds - STEP, STEP)
    segments = [{"start": t, "end": t + SPOKEN, "text": f"It was {t}."} for t in starts]
    path.with_suffix(".json").write_text(json.dumps({"segments": segments}))
    return path


def measure(path: Path) -> tuple[float, float]:
    """Processor seconds, and the peak memory of the process in MB."""
    before = time.process_time()
    clip = build(path, path.with_suffix(".json"))
    spent = time.process_time() - before
    assert clip.sequences["audio"].lengths.all()
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(function: Callable, *arguments):
    """What a function returns in a process of its own, which a small process starts.

    A process counts the memory of its parent at its start as its own peak.
    """
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (6 * minutes, 60 * minutes):
            spent, peak = apart(measure, apart(prepare, Path(folder), seconds))
            print(
                f"{seconds / 60:5.1f} min: {spent / seconds:.3f} of its length, peak {peak:.0f} MB"
            )


if __name__ == "__main__":
    main()
