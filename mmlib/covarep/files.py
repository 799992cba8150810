"""Features of folders of recordings as .csv files: parallel, resumable, failures listed."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from mmlib.covarep.columns import FEATURES
from mmlib.covarep.conventions import CovarepError
from mmlib.covarep.recording import read_wav
from mmlib.covarep.stages import check_names, extract
from mmlib.covarep.work import attempt_all, files_below, only_run, several, write_whole


def destinations(paths: Sequence[str | Path], out: Path) -> dict[Path, Path]:
    """The .csv file under `out` of each recording; folders are searched for .wav files.

    Files of a folder keep their path below it. CovarepError if two recordings would share a .csv,
    or if no recording is found.
    """
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for file, inner in files_below(map(Path, paths), (".wav",)):
        target = targets[file] = out / inner.with_suffix(".csv")
        if taken.setdefault(target, file) != file:
            raise CovarepError(f"{taken[target]} and {file} would both become {target}: rename one")
    if not targets:
        raise CovarepError(f"no .wav file in {', '.join(map(str, paths))}: convert to WAV")
    return targets


def complete(path: Path, target: Path, columns: Sequence[str]) -> bool:
    """Whether `target` has these columns and is no older than the recording `path`."""
    if not target.is_file() or not path.exists() or target.stat().st_mtime < path.stat().st_mtime:
        return False
    with target.open(errors="replace") as file:
        return file.readline().rstrip("\r\n").split(",") == ["seconds", *columns]


def check_own(targets: Iterable[Path]) -> None:
    """CovarepError if one of the files that would be replaced was not written by `attempt`."""
    for target in filter(Path.is_file, targets):
        with target.open(errors="replace") as file:
            first, *names = file.readline().rstrip("\r\n").split(",")
            if first != "seconds" or not names or not {*names} <= {*FEATURES}:
                raise CovarepError(f"{target} holds something else: choose another folder")


def attempt(job: tuple[Path, Path], columns: Sequence[str], seed: int) -> str:
    """Write one recording's features: "", or why it failed, so that the others are still done."""
    path, target = job
    try:
        table = extract(*read_wav(path), features=columns, seed=seed)
        write_whole(target, partial(table.to_csv, float_format="%.9g"))
    except (CovarepError, OSError) as error:
        return str(error).removeprefix(f"{path}: ")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def extract_files(
    paths: str | Path | Iterable[str | Path],
    out: str | Path,
    workers: int = 1,
    features: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Write features of WAV files, and of those in folders, as .csv files under `out`.

    Returns one row per failed recording: path and reason (see `extract` for the reasons). A .csv
    that has the same columns and is no older than its recording is kept, so an interrupted run
    continues. The seed is not compared: give another seed another folder. A second run on the same
    folder waits for the first. workers: processes, one file and one core each. CovarepError for no
    recording, an unknown feature, under 1 worker, two recordings that would share a .csv, or a .csv
    of another program there; OSError, one line, if `out` cannot be made or no process started.
    """
    if workers < 1:
        raise CovarepError(f"{workers} workers: give 1 or more")
    if seed < 0:
        raise CovarepError(f"seed {seed}: give 0 or more")
    columns = check_names(features)
    out = Path(out).expanduser()
    targets = destinations(several(paths), out)
    check_own(targets.values())
    with only_run(out, targets.values()):
        jobs = [job for job in targets.items() if not complete(*job, columns)]
        task = partial(attempt, columns=columns, seed=seed)
        reasons = attempt_all(task, jobs, workers, "COVAREP", hidden=not jobs)
    failed = [(str(path), reason) for (path, _), reason in sorted(reasons.items()) if reason]
    failed = [[v.encode(errors="backslashreplace").decode() for v in row] for row in failed]
    return pd.DataFrame(failed, columns=["path", "reason"])
