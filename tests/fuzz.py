"""Damaged inputs of every format: `python tests/fuzz.py [INPUTS]` (the target `make fuzz`).

A sound file of each format is damaged from a seed and read. Right is a result or one line of a
ValueError (DataError and CovarepError are such); wrong are any other exception, a second line, 20
seconds without an answer, and a gigabyte of memory. Each block of inputs has a process of its own.
"""

import gzip
import json
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

BLOCK = 50  # inputs a process
SECONDS, GIGABYTE = 20, 2**30
ODD = (b"nan", b"-inf", b"1e999", b"-1", b"99999999999", b"", b"\x00", b"\xff\xfe", b"\r", b'"')


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The same bytes with an accident, or a few."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        n = len(content)
        at, other = sorted(rng.integers(0, n + 1, 2))
        kind = rng.integers(7)
        if kind == 0:  # cut off
            content = content[:other]
        elif kind == 1:  # a piece is lost
            content = content[:at] + content[min(other, at + 200) :]
        elif kind == 2:  # a piece stands twice
            content = content[:other] + content[at:]
        elif kind == 3:  # bits flip
            flipped = bytearray(content)
            for i in rng.integers(0, max(n, 1), 8 if n else 0):
                flipped[i] ^= 1 << int(rng.integers(8))
            content = bytes(flipped)
        elif kind == 4:  # something odd in between
            content = content[:at] + ODD[rng.integers(len(ODD))] + content[at:]
        elif kind == 5:  # a number becomes another
            words = content[at : at + 400].split(b",")
            words[rng.integers(len(words))] = ODD[rng.integers(len(ODD))]
            content = content[:at] + b",".join(words) + content[at + 400 :]
        else:  # line ends of another system
            content = content.replace(b"\n", (b"\r\n", b"\r")[rng.integers(2)])
    return content


def altered(value: object, rng: np.random.Generator) -> object:
    """The same structure with one of its values replaced, however deep it lies."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return _odd(value, rng)
    other, keys = value.copy(), list(value) if isinstance(value, dict) else range(len(value))
    key = keys[rng.integers(len(keys))]
    if isinstance(value, dict) and rng.random() < 0.1:
        del other[key]
    else:
        other[key] = altered(value[key], rng)
    return other


def _odd(value: object, rng: np.random.Generator) -> object:
    """Something that does not belong where `value` is."""
    kept = np.asarray(value, dtype=object) if isinstance(value, list) else np.asarray(value)
    half = kept[: len(kept) // 2] if kept.ndim else kept
    return [
        *(None, "words", 7, -1, float("nan"), 10**9, [], {}, [[1, 2], [3]], b"\xff", True),
        *(kept.tolist(), half, kept[None], kept.astype(object), np.float64(3), kept.astype(str)),
    ][rng.integers(17)]


def _array(value: object) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:  # ragged
        return np.array([value], dtype=object)


def structure(path: Path, rng: np.random.Generator) -> bool:
    """Alter a value of a pickle, an npz or a JSON file; False for other files."""
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(altered(pickle.loads(path.read_bytes()), rng)))
    elif path.suffix == ".npz":
        with np.load(path) as stored:
            other = altered(dict(stored), rng)
        if isinstance(other, dict):
            np.savez(path, **{name: _array(value) for name, value in other.items()})
    elif path.suffix == ".json":
        path.write_text(json.dumps(altered(json.loads(path.read_text()), rng), default=str))
    else:
        return False
    return True


def whole(path: Path, rng: np.random.Generator) -> None:
    """Damage a file: its structure where it has one, the content of a gzip file, or its bytes."""
    if rng.random() < 0.6 and structure(path, rng):
        return
    content = path.read_bytes()
    if path.suffix == ".gz" and rng.random() < 0.7:
        path.write_bytes(gzip.compress(damaged(gzip.decompress(content), rng)))
    else:
        path.write_bytes(damaged(content, rng))


# Formats: a folder -> the file to damage, and what reads it


def from_corpus(write: Callable, name: str) -> Callable:
    def make(folder: Path) -> tuple[Path, Callable]:
        from mmlib.data import load

        path = write(folder)
        return path, lambda: load(name, root=folder)

    return make


def csd(folder: Path) -> tuple[Path, Callable]:
    import test_data

    from mmlib.data import load

    test_data.csd_folder(folder)
    (path, *_) = sorted((folder / "mosi").glob("*COVAREP.csd"))
    return path, lambda: load("mosi", root=folder)


def reviews(suffix: str) -> Callable:
    def write(folder: Path) -> Path:
        table = pd.DataFrame({"hotel": [f"h{i // 4}" for i in range(40)]})
        table["review"] = [f"The room {i} was clean, the staff kind." for i in range(40)]
        table["rating"] = np.arange(40) % 5 + 1
        path = folder / "hotel" / f"reviews{suffix}"
        path.parent.mkdir()
        if suffix == ".parquet":
            table.to_parquet(path)
        else:
            table.to_csv(path, index=False, sep="\t" if ".tsv" in suffix else ",")
        return path

    return from_corpus(write, "hotel")


TRANSCRIPTS = {
    ".srt": "1\n00:00:00,500 --> 00:00:01,500\nHello there.\n\n2\n00:00:01,500 --> 00:00:03,000\n"
    "ANNA: A fine day.\n",
    ".vtt": "WEBVTT\n\n00:00.500 --> 00:01.500\n<v Anna>Hello <00:00:01.000><c>there.</c>\n\n"
    "00:01.500 --> 00:03.000\nA fine day.\n",
    ".json": json.dumps(
        {
            "segments": [
                {
                    "start": 0.5,
                    "end": 3.0,
                    "text": " Hello there.",
                    "words": [
                        {"word": " Hello", "start": 0.5, "end": 1.0},
                        {"word": " there.", "start": 1.0, "end": 3.0},
                    ],
                }
            ]
        }
    ),
    ".txt": "Hello there.\nA fine day.\n",
}


def transcript(suffix: str) -> Callable:
    def make(folder: Path) -> tuple[Path, Callable]:
        from mmlib.recordings.transcript import read_transcript

        path = folder / f"clip{suffix}"
        path.write_text(TRANSCRIPTS[suffix])
        return path, lambda: read_transcript(path, 3.0)

    return make


def faces(folder: Path) -> tuple[Path, Callable]:
    import recordings

    from mmlib.recordings.faces import read_faces

    path = recordings.facet(folder / "clip.txt", np.full((75, 35), 0.5))
    return path, lambda: read_faces(path, 3.0)


def wave(folder: Path) -> tuple[Path, Callable]:
    import recordings

    from mmlib.covarep.recording import read_wav

    path = recordings.write_wav(folder / "clip.wav", recordings.voice(0.3))
    return path, lambda: read_wav(path)


def configuration(folder: Path) -> tuple[Path, Callable]:
    from mmlib.finetune.config import read_config

    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({"encoders": ["minilm"], "dataset": "hotel", "lr": 0.0001}))
    return path, lambda: read_config(path)


def grid(folder: Path) -> tuple[Path, Callable]:
    from mmlib.batch import grid as grids

    path = folder / "grid.yaml"
    path.write_text("notebooks: [02_daf]\nfixed: {seeds: 2}\ncross:\n  layers: [all, last]\n")
    return path, lambda: grids.read(path)


def pickled(folder: Path) -> tuple[Path, Callable]:
    import test_data

    from mmlib.data import load

    path = test_data.mmsa_pickle(folder, protocol=pickle.DEFAULT_PROTOCOL)
    return path, lambda: load("mosi", root=folder)


def tables() -> dict[str, Callable]:
    import test_data

    return {
        "mosi": from_corpus(test_data.mosi_csv, "mosi"),
        "mosei": from_corpus(test_data.mosei_csv, "mosei"),
        "mmmo": from_corpus(test_data.mmmo_npz, "mmmo"),
        "meld": from_corpus(test_data.meld_csv, "meld"),
    }


FORMATS: dict[str, Callable] = {
    "pickle": pickled,
    "csd": csd,
    **{f"reviews{suffix}": reviews(suffix) for suffix in (".csv", ".csv.gz", ".tsv", ".parquet")},
    **{f"transcript{suffix}": transcript(suffix) for suffix in TRANSCRIPTS},
    "faces": faces,
    "wave": wave,
    "configuration": configuration,
    "grid": grid,
    **{name: None for name in ("mosi", "mosei", "mmmo", "meld")},  # made by `tables`
}


# One block, in this process


def complaint(read: Callable, path: Path) -> str:
    """What is wrong with how a damaged file was read; "" where nothing is."""
    try:
        read()
    except ValueError as error:
        text = str(error)
        if not text or "\n" in text.strip():
            return f"not one line: {text!r:.300}"
        named = any(word in text for word in (path.name, path.parent.name, path.stem))
        return "" if named else f"nothing is named: {text!r:.300}"
    except BaseException:
        return traceback.format_exc(limit=-4)
    return ""


def give_up(*_: object) -> None:
    raise TimeoutError(f"no answer in {SECONDS} s")


def block(name: str, first: int, last: int) -> list[str]:
    """The complaints about inputs `first` to `last` of a format."""
    make = FORMATS[name] or tables()[name]
    signal.signal(signal.SIGALRM, give_up)
    told = []
    for seed in range(first, last):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path, read = make(Path(folder))
            whole(path, np.random.default_rng([seed, len(name)]))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            signal.alarm(SECONDS)
            wrong = complaint(read, path)
            signal.alarm(0)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            wrong = wrong or (f"{grown / GIGABYTE:.1f} GiB more" if grown > GIGABYTE else "")
        if wrong:
            told.append(f"{name} {seed}: {wrong}")
    return told


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (12 * GIGABYTE, 12 * GIGABYTE))


def run(name: str, first: int, last: int) -> list[str]:
    """`block` in a process of its own, so that a crash of the interpreter is told as well."""
    command = [sys.executable, __file__, name, str(first), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    if done.returncode not in (0, 1):
        return [f"{name} {first} to {last}: ended with {done.returncode}: {done.stderr[-500:]}"]
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str]) -> int:
    if len(arguments) == 3:
        told = block(arguments[0], *map(int, arguments[1:]))
        print(json.dumps(told))
        return int(bool(told))
    each = -(-int(arguments[0] if arguments else 4000) // len(FORMATS))
    told = []
    for name in FORMATS:
        wrong = [w for k in range(0, each, BLOCK) for w in run(name, k, min(k + BLOCK, each))]
        print(f"{name}: {each} inputs, {len(wrong)} misread", flush=True)
        told += wrong
    print("\n".join(told))
    print(f"{each * len(FORMATS) - len(told)} passed, {len(told)} failed")
    return int(bool(told))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main(sys.argv[1:]))
