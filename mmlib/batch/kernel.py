"""A kernel for each point, of this Python, which does not outlive the process that asked for it.

jupyter_client tells a kernel its parent, and ipykernel ends within a second of the parent's death.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from jupyter_client import AsyncKernelManager

from mmlib.batch.parameters import imported, literal
from mmlib.files import child_environment, reason_of

QUIET = "--log-level=CRITICAL"  # ipykernel warns of its own sockets, and of being shut down
POLL = 1.0  # seconds between two looks at a kernel's time and memory


class Watch(threading.Thread):
    """Looks after a kernel: when it is ready, its peak memory, and its end when time is up."""

    def __init__(self, limit: float | None) -> None:
        super().__init__(daemon=True)
        self.limit, self.pid = limit, 0
        self.began, self.ready = time.monotonic(), None
        self.memory, self.expired, self.stopped = 0, False, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(POLL):
            with suppress(psutil.Error):
                self.memory = max(self.memory, _resident(self.pid) if self.pid else 0)
            if self.limit and time.monotonic() - self.began > self.limit and self.pid:
                self.expired = True
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                return

    def note_ready(self, **_: object) -> None:
        self.ready = time.monotonic()


def _resident(pid: int) -> int:
    """Bytes of memory that a process and its children hold."""
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])


def _manager(watch: Watch, environment: Mapping[str, str]) -> type[AsyncKernelManager]:
    """What starts the kernel: in this Python, whatever kernels are installed."""

    class Manager(AsyncKernelManager):
        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            command = [sys.executable, "-m", "ipykernel_launcher", QUIET, "-f"]
            return [*command, self.connection_file, *(extra_arguments or [])]

        async def start_kernel(self, **options: object) -> None:
            await super().start_kernel(env=child_environment(environment), **options)
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

    Returns error (one line, "" if all went well), traceback, seconds, kernel_seconds (until the
    first cell) and memory_mb (peak of the kernel and its children). limit: seconds for all of it.
    """
    watch, error, trace = Watch(limit), "", ""
    watch.start()
    try:
        imported("papermill").execute_notebook(
            literal(notebook),
            literal(output),
            dict(parameters),
            kernel_name="python3",
            cwd=str(folder),
            progress_bar=False,
            kernel_manager_class=_manager(watch, environment),
            on_notebook_start=watch.note_ready,
        )
    except Exception as problem:  # whatever stops one notebook, the others are still run
        error, trace = _reason(problem, watch)
    finally:
        watch.stopped.set()
    return {
        "error": error,
        "traceback": trace,
        "seconds": round(time.monotonic() - watch.began, 3),
        "kernel_seconds": round((watch.ready or watch.began) - watch.began, 3),
        "memory_mb": round(watch.memory / 2**20),
    }


def _reason(problem: Exception, watch: Watch) -> tuple[str, str]:
    """One line about what stopped a notebook, and the traceback."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError, strip_color

    if watch.expired:
        return f"timeout: more than {watch.limit:g} s", ""
    if isinstance(problem, PapermillExecutionError):
        line = f"{problem.ename}: {problem.evalue}".split("\n")[0]
        return line, strip_color("\n".join(problem.traceback))
    if isinstance(problem, DeadKernelError):
        return "the kernel died (killed, or out of memory)", ""
    return f"{type(problem).__name__}: {reason_of(problem)}", ""
