"""A kernel for each point, in this Python, which ends with the process that started it.

jupyter_client tells a kernel its parent's id, and ipykernel ends within a second of the parent's
death. Processes that a cell starts, even in another session, inherit a mark in their environment,
by which they are found and ended.
"""

import errno
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from jupyter_client import AsyncKernelManager

from mmlib.batch.parameters import imported, literal
from mmlib.files import child_environment, kill_processes, reason_of

QUIET = "--log-level=CRITICAL"  # hides warnings about its sockets and shutdown
POLL = 1.0  # seconds between checks of a kernel's time and memory
MARK = "MMLIB_KERNEL"  # environment variable of a kernel and of all its child processes
# Dask has its workers return freed memory at once. A kernel that trains would then spend a third of
# its time on getting the same memory again.
TRIM, EAGER = "MALLOC_TRIM_THRESHOLD_", "65536"
SOCKET = 100  # bytes of a socket's path that every system with such sockets takes
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Watch(threading.Thread):
    """Watches a kernel: when it is ready, its peak memory, and the time limit."""

    def __init__(self, limit: float | None, mark: str) -> None:
        super().__init__(daemon=True)
        self.limit, self.mark, self.pid = limit, mark, 0
        self.began, self.ready = time.monotonic(), None
        self.memory, self.expired, self.stopped = 0, False, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(POLL):
            with suppress(psutil.Error):
                self.memory = max(self.memory, _resident(self.pid) if self.pid else 0)
            if self.limit and time.monotonic() - self.began > self.limit and self.pid:
                self.expired = True
                return kill_processes(MARK, self.mark)

    def note_ready(self, **_: object) -> None:
        self.ready = time.monotonic()


def _resident(pid: int) -> int:
    """Bytes of memory that a process and its children hold."""
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])


def _manager(
    watch: Watch, environment: Mapping[str, str], sockets: str
) -> type[AsyncKernelManager]:
    """The class that starts the kernel in this Python, whatever kernels are installed.

    The two talk through files in the folder `sockets`: jupyter_client frees a port before a kernel
    opens it, and another process may take it (papermill's issue 511). Long paths keep ports.
    """

    class Manager(AsyncKernelManager):
        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            command = [sys.executable, "-m", "ipykernel_launcher", QUIET, "-f"]
            return [*command, self.connection_file, *(extra_arguments or [])]

        async def start_kernel(self, **options: object) -> None:
            child = child_environment(environment)
            if child.get(TRIM) == EAGER:
                del child[TRIM]
            path = os.path.join(sockets, "k")
            self.connection_file = f"{path}.json"
            if sys.platform != "win32" and len(os.fsencode(f"{path}-1")) < SOCKET:
                self.transport, self.ip = "ipc", path
            await super().start_kernel(env=child, **options)
            watch.pid = self.provisioner.pid

    return Manager


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, object],
    *,
    folder: Path,
    environment: Mapping[str, str],
    limit: float | None = None,
) -> dict:
    """Execute a notebook through papermill, with `folder` as the working directory.

    Returns error (one line, "" on success), traceback, seconds, kernel_seconds (until the first
    cell) and memory_mb (peak of the kernel and its children). limit: seconds in total. All
    processes that the cells have started are ended, too.
    """
    mark, error, trace = str(output.parent), "", ""
    sockets = tempfile.mkdtemp(prefix="mmlib-")
    watch = Watch(limit, mark)
    watch.start()
    try:
        imported("papermill").execute_notebook(
            literal(notebook), literal(output), dict(parameters), kernel_name="python3",
            cwd=str(folder), progress_bar=False,
            kernel_manager_class=_manager(watch, {**environment, MARK: mark}, sockets),
            on_notebook_start=watch.note_ready,
        )  # fmt: skip
    except Exception as problem:  # a failed notebook must not stop the others
        error, trace = _reason(problem, watch, output.parent)
    finally:
        watch.stopped.set()
        kill_processes(MARK, mark)
        shutil.rmtree(sockets, ignore_errors=True)
    return {
        "error": error,
        "traceback": trace,
        "seconds": round(time.monotonic() - watch.began, 3),
        "kernel_seconds": round((watch.ready or watch.began) - watch.began, 3),
        "memory_mb": round(watch.memory / 2**20),
    }


def _reason(problem: Exception, watch: Watch, folder: Path) -> tuple[str, str]:
    """The reason why a notebook stopped, in one line, and the traceback."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError, strip_color

    if watch.expired:
        return f"timeout: more than {watch.limit:g} s", ""
    if isinstance(problem, PapermillExecutionError):
        trace = strip_color("\n".join(problem.traceback))
        said = next(filter(None, map(str.strip, problem.evalue.splitlines())), "")
        return f"{problem.ename}: {said or _failing_line(trace)}", trace
    if isinstance(problem, DeadKernelError):
        return "the kernel died (killed, or out of memory)", ""
    return described(problem, folder), ""


def _failing_line(trace: str) -> str:
    """`cell 5, line 3: assert gap < 1e-6`: the place in the cell, from an IPython traceback."""
    cell, line = (re.search(p, trace, re.M) for p in (r"In\[(\d+)\]", r"^-+> *(\d+) (.*)$"))
    if not line:
        return "without a message"
    return f"cell {cell[1] if cell else '?'}, line {line[1]}: {line[2].strip()}"


def described(problem: Exception, folder: Path) -> str:
    """An exception in one line; for a full disk, with the folder that needs space."""
    line = f"{type(problem).__name__}: {reason_of(problem)}"
    is_full = isinstance(problem, OSError) and problem.errno in FULL
    return f"make room for {folder}: {line}" if is_full else line
