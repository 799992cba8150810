"""Execute one notebook through papermill."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import papermill
from jupyter_client.kernelspec import KernelSpecManager

from mmlib import paths, results
from mmlib.runs.notebook import literal
from mmlib.runs.plan import Point


@dataclass(frozen=True)
class Outcome:
    """How the execution of one notebook ended."""

    point: Point
    output: Path
    seconds: float
    error: str  # one line, "" if all went well


def execute(point: Point, run: str) -> Outcome:
    """Execute one notebook into the run's folder; its file appears there when it is whole."""
    into = results.folder(run)
    into.mkdir(parents=True, exist_ok=True)
    stem, began, error = point.notebook.stem, time.monotonic(), ""
    part, done, failed = (into / f"{n}.ipynb" for n in (f".{stem}.part", stem, f"{stem}.failed"))
    failed.unlink(missing_ok=True)
    try:
        papermill.execute_notebook(
            literal(point.notebook),
            literal(part),
            dict(point.parameters),
            kernel_name="python3",
            cwd=str(paths.ROOT),
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],  # ipykernel warns of its own TCP sockets
        )
    except Exception as problem:  # whatever stops one notebook, the others are still run
        error = _one_line(problem)
    if part.exists():
        os.replace(part, failed if error else done)
    return Outcome(point, failed if error else done, time.monotonic() - began, error)


def _one_line(problem: Exception) -> str:
    name = getattr(problem, "ename", type(problem).__name__)
    return f"{name}: {getattr(problem, 'evalue', str(problem))}".split("\n")[0]


def check_kernel() -> None:
    """RuntimeError if the kernel `python3` would be another Python than this one."""
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    python = KernelSpecManager().get_kernel_spec("python3").argv[0]
    if Path(python).is_absolute() and not Path(python).samefile(sys.executable):
        raise RuntimeError(
            f"the kernel python3 is {python}, not {sys.executable}: "
            "run `python -m ipykernel install --sys-prefix` in this environment"
        )
