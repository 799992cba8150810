"""Processing of a folder: one process a file, one run at a time, files written whole."""

import fcntl
import os
import secrets
import signal
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children, current_process, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TypeVar

from rich.progress import track
from threadpoolctl import threadpool_limits

DIED = "its process was killed (too little memory, or a crash in the decoder); convert it to WAV"
NO_MAIN = (
    "no process could start. They import your script again: put the call in a file, under `if "
    "__name__ == '__main__':`, or use one worker, if memory is short too"
)
NAME = 60  # first letters of a file's name in that of its unfinished part, which may be too long
Job = TypeVar("Job", bound=Hashable)


def several(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """One path, or several, as a list."""
    return [Path(paths)] if isinstance(paths, str | Path) else list(map(Path, paths))


def files_below(paths: Iterable[Path], suffixes: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Files, and those of these suffixes in folders, each once, with its path below the folder."""
    seen: set[Path] = set()
    for path in paths:
        named = path.rglob("*") if path.is_dir() else ()
        below = [file for file in named if file.suffix.lower() in suffixes and not file.is_dir()]
        for file in sorted(below) if path.is_dir() else [path]:
            if (place := file.parent.resolve() / file.name) not in seen:  # links to a file: several
                seen.add(place)
                yield file, file.relative_to(path) if path.is_dir() else Path(file.name)


def attempt_all(
    task: Callable[[Job], str], jobs: Sequence[Job], workers: int, title: str, hidden: bool = False
) -> dict[Job, str]:
    """What `task` returns for each job: why it failed, or "" if it did not.

    workers: processes; with 1 the jobs run in this process. When a process is killed, its pool ends
    with it: each job that it may have had is tried alone, so that the cause is named (DIED) and the
    others are done. OSError, one line, if no process can be started.
    """
    if workers == 1:
        return {job: task(job) for job in track(jobs, title, disable=hidden)}
    reasons: dict[Job, str] = {}
    while left := [job for job in jobs if job not in reasons]:
        reasons |= _pool(task, left, workers, title, hidden)
        suspects = [job for job in left if job not in reasons][: workers + 1]  # taken in order
        for job in suspects:
            reasons |= _pool(task, [job], 1, title, True) or {job: DIED}
    return reasons


def _pool(
    task: Callable[[Job], str], jobs: Sequence[Job], workers: int, title: str, hidden: bool
) -> dict[Job, str]:
    """The reasons of all jobs, or of those that ended before a process was killed."""
    reasons: dict[Job, str] = {}
    others = set(active_children())
    context = get_context("spawn")  # a fork of a process with threads may hang
    try:
        pool = ProcessPoolExecutor(workers, context, _begin_worker)
    except OSError as error:  # its locks are in shared memory
        raise OSError(
            f"cannot start {workers} processes ({error.strerror}; is /dev/shm full or missing?): "
            "free it, or use --workers 1"
        ) from error
    has_begun = False
    try:
        has_begun = pool.submit(int).result() == 0
        running = {pool.submit(task, job): job for job in jobs}
        for future in track(as_completed(running), title, len(jobs), disable=hidden):
            reasons[running[future]] = future.result()
    except BrokenProcessPool as error:
        if not has_begun:
            raise OSError(NO_MAIN) from error
    except KeyboardInterrupt:  # to leave a `with pool` would first do all other jobs
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        del pool  # its semaphores end with it; the interrupt's traceback would keep them
    return reasons


def _begin_worker() -> None:
    """Set one BLAS thread; end this process when its parent ends, even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threadpool_limits(1)
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


def end_stopped(said: str) -> None:
    """After Ctrl-C: print one line and end by that signal, so that a shell loop ends, too."""
    print(said, file=sys.stderr, flush=True)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def only_run(folder: Path, targets: Iterable[Path]) -> Iterator[None]:
    """Hold a folder for one run; a second run waits for the first. The folder is made if missing.

    Unfinished parts of `targets` by killed runs are removed. OSError if it cannot be made, and in a
    process that is importing the script of its parent while that holds the folder.
    """
    is_import = getattr(current_process(), "_inheriting", False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: {error.strerror}; name another folder with --out") from error
    handle = os.open(folder, os.O_RDONLY)  # the folder itself is locked, so no lock file is left
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | is_import * fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(NO_MAIN) from error
        except OSError:  # a file system without locks
            pass
        names = {target.name[:NAME] for target in targets}
        for part in folder.rglob(".*.part"):
            if part.name[1:].rsplit(".", 2)[0][:NAME] in names:
                part.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Replace a file at once: a reader, or a power loss, finds the whole old or the whole new one.

    write: a function that writes the content to a path. OSError, one line, if it cannot be written.
    """
    part = path.with_name(f".{path.name[:NAME]}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error.strerror}): free space or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
