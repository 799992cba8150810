"""A kernel for each point, of this Python, which cannot outlive the process that asked for it.

The kernel is started apart from papermill, so that a warm worker can have the next one started
while a point still runs. It learns its point's environment when it is given the point.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import papermill
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.exceptions import PapermillExecutionError, strip_color

from mmlib.batch.parameters import literal

QUIET = ["--log-level=CRITICAL"]  # ipykernel warns of its own sockets, and of being shut down
POLL = 1.0  # seconds between two looks at a kernel's time and memory


class Kernel(AsyncKernelManager):
    """Starts `mmlib.batch.kernel` in this Python, whatever kernels are installed."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        child = [sys.executable, "-m", "mmlib.batch.kernel", str(os.getpid())]
        return [*child, "-f", self.connection_file, *(extra_arguments or [])]


class _Client(PapermillNotebookClient):
    """Tells the kernel its environment before the first cell, and notes when that was."""

    environment: Mapping[str, str]

    def papermill_execute_cells(self) -> None:
        code = f"__import__('os').environ.update({dict(self.environment)!r})"
        self.wait_for_reply(self.kc.execute(code, silent=True, store_history=False))
        self.ready = time.monotonic()
        super().papermill_execute_cells()


class _Engine(Engine):
    """papermill's way of running a notebook, in a kernel that already runs."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, *, watch, environment, **_):
        client = _Client(nb_man, km=watch.kernel)
        client.environment = environment
        try:
            client.execute(cleanup_kc=True)
        finally:
            watch.ready = getattr(client, "ready", None)


papermill_engines.register("mmlib", _Engine)


class Watch(threading.Thread):
    """Looks after a running kernel: its peak memory, and its end when time is up."""

    def __init__(self, kernel: Kernel, limit: float | None) -> None:
        super().__init__(daemon=True)
        self.kernel, self.limit, self.pid = kernel, limit, kernel.provisioner.pid
        self.began, self.ready = time.monotonic(), None
        self.memory, self.expired, self.stopped = 0, False, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(POLL):
            with suppress(psutil.Error):
                self.memory = max(self.memory, _resident(self.pid))
            if self.limit and time.monotonic() - self.began > self.limit:
                self.expired = True
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                return


def _resident(pid: int) -> int:
    """Bytes of memory that a process and its children hold."""
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])


_spare: dict[str, Kernel] = {}  # at most one started kernel, by its working directory


def take(folder: str, warm: bool) -> Kernel:
    """A started kernel; with `warm` the next one begins to start as well."""
    kernel = _spare.pop(folder, None)
    if kernel is None or not run_sync(kernel.is_alive)():
        kernel = _start(folder)
    if warm:
        _spare[folder] = _start(folder)
    return kernel


def _start(folder: str) -> Kernel:
    kernel = Kernel(kernel_name="python3")
    run_sync(kernel.start_kernel)(cwd=folder, extra_arguments=QUIET)
    return kernel


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, object],
    *,
    folder: Path,
    environment: Mapping[str, str],
    limit: float | None = None,
    warm: bool = False,
) -> dict:
    """Execute a notebook through papermill, with `folder` as the working directory.

    Returns error (one line, "" if all went well), traceback, seconds, kernel_seconds (until the
    first cell) and memory_mb (peak of the kernel and its children). limit: seconds for all of it.
    """
    began = time.monotonic()
    watch = Watch(take(str(folder), warm), limit)
    watch.start()
    error, trace = "", ""
    try:
        papermill.execute_notebook(
            literal(notebook),
            literal(output),
            dict(parameters),
            engine_name="mmlib",
            kernel_name="python3",
            cwd=str(folder),
            progress_bar=False,
            watch=watch,
            environment=environment,
        )
    except Exception as problem:  # whatever stops one notebook, the others are still run
        error, trace = _told(problem, watch)
    finally:
        watch.stopped.set()
        if run_sync(watch.kernel.is_alive)():  # papermill stopped before it had taken it
            run_sync(watch.kernel.shutdown_kernel)(now=True)
    return {
        "error": error,
        "traceback": trace,
        "seconds": round(time.monotonic() - began, 3),
        "kernel_seconds": round((watch.ready or began) - began, 3),
        "memory_mb": round(watch.memory / 2**20),
    }


def _told(problem: Exception, watch: Watch) -> tuple[str, str]:
    """One line about what stopped a notebook, and the traceback."""
    if watch.expired:
        return f"timeout: more than {watch.limit:g} s", ""
    if isinstance(problem, PapermillExecutionError):
        line = f"{problem.ename}: {problem.evalue}".split("\n")[0]
        return line, strip_color("\n".join(problem.traceback))
    if isinstance(problem, DeadKernelError):
        return "the kernel died (killed, or out of memory)", ""
    return f"{type(problem).__name__}: {problem}".split("\n")[0], ""


PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent = int(sys.argv.pop(1))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


if __name__ == "__main__":
    main()
