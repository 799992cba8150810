"""Folders of recordings to files of features: parallel, resumable, with a list of what failed."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from rich.progress import track

from mmlib.covarep.columns import FEATURES
from mmlib.covarep.conventions import CovarepError
from mmlib.covarep.recording import read_wav
from mmlib.covarep.stages import extract


def destinations(paths: Iterable[str | Path], out: Path) -> dict[Path, Path]:
    """Which .csv under `out` each recording gets; folders are searched for .wav files.

    A folder's files keep their places below it. CovarepError if two would share one place, or if
    there is none.
    """
    paths = list(paths)
    targets: dict[Path, Path] = {}
    for path in map(Path, paths):
        found = sorted(path.rglob("*.[wW][aA][vV]")) if path.is_dir() else [path]
        for file in found:
            inner = file.relative_to(path) if path.is_dir() else Path(file.name)
            targets[file] = out / inner.with_suffix(".csv")
    if not targets:
        raise CovarepError(f"no .wav file in {', '.join(map(str, paths))}: give another folder")
    taken: dict[Path, Path] = {}
    for file, target in targets.items():
        if taken.setdefault(target, file) != file:
            raise CovarepError(f"{taken[target]} and {file} would both become {target}: rename one")
    return targets


def complete(path: Path, target: Path, columns: Sequence[str]) -> bool:
    """Whether `target` was written before, with these columns and after the recording `path`."""
    if not target.exists() or not path.exists() or target.stat().st_mtime < path.stat().st_mtime:
        return False
    with target.open() as file:
        return file.readline().rstrip("\r\n").split(",") == ["seconds", *columns]


def extract_file(path: Path, target: Path, columns: Sequence[str], seed: int) -> None:
    """Features of one WAV file, written whole or not at all."""
    table = extract(*read_wav(path), features=columns, seed=seed)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    table.to_csv(unfinished, float_format="%.9g")
    os.replace(unfinished, target)


def attempt(job: tuple[Path, Path], columns: Sequence[str], seed: int) -> str:
    """Why a file failed, "" if it did not. One bad file must not end the run of a folder."""
    try:
        extract_file(*job, columns, seed)
    except Exception as error:
        return f"{'' if isinstance(error, CovarepError) else type(error).__name__ + ': '}{error}"
    return ""


def extract_files(
    paths: Iterable[str | Path],
    out: str | Path,
    workers: int = 1,
    features: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Features of WAV files, and of those in folders, as .csv files under `out`; what failed.

    Files that are there already, with the same columns and newer than their recording, are left
    alone: an interrupted run goes on where it stopped (another seed wants another folder). workers:
    processes, one file and one core each. Returns one row per failed recording: path and reason
    (see `extract` for the reasons). CovarepError if there is no recording.
    """
    if workers < 1:
        raise CovarepError(f"{workers} workers: give 1 or more")
    columns = tuple(FEATURES if features is None else features)
    jobs = [
        (path, target)
        for path, target in destinations(paths, Path(out)).items()
        if not complete(path, target, columns)
    ]
    task = partial(attempt, columns=columns, seed=seed)
    if workers == 1:
        reasons = {job[0]: task(job) for job in track(jobs, "COVAREP", disable=not jobs)}
    else:
        context = get_context("spawn")  # a fork of a process with threads may hang
        with ProcessPoolExecutor(workers, context) as pool:
            running = {pool.submit(task, job): job[0] for job in jobs}
            finished = track(as_completed(running), "COVAREP", len(jobs), disable=not jobs)
            reasons = {running[future]: future.result() for future in finished}
    failed = [(str(path), reason) for path, reason in sorted(reasons.items()) if reason]
    return pd.DataFrame(failed, columns=["path", "reason"])
