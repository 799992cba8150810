"""Overhead of a grid on top of its notebooks, measured by small points on two workers.

papermill's time of a point is from the request of a kernel to the kernel's end. The overhead is all
else that a worker does between two points: its record, the folder's name, the scheduler, the
driver. It is workers x elapsed time minus papermill's time, divided by the points. The start of the
workers is printed apart.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from mmlib.batch import engine, execute
from mmlib.batch.parameters import Point
from mmlib.scores import runs

WORKERS = 2


def notebook(folder: Path) -> Path:
    cell = new_code_cell("x: int = 0  # a number")
    cell.metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "01_small.ipynb"
    cells = [cell, new_code_cell("print(x)")]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def measure(folder: Path, points: int) -> None:
    source = notebook(folder)
    run = folder / "run"
    run.mkdir()
    jobs = [execute.job(Point(source, {"x": x}, ""), run, own=True) for x in range(points)]
    batch = execute.new_batch("benchmark", resume=False)
    began = time.monotonic()
    with engine.connect(None, WORKERS, 1, run) as client:
        engine.run(jobs[:WORKERS], batch, client)  # workers load their modules
        ready = time.monotonic()
        engine.run(jobs[WORKERS:], batch, client)
        elapsed = time.monotonic() - ready
    records = [runs.manifest(job.done) for job in jobs[WORKERS:]]
    own = [record["seconds"] for record in records]
    start = median(record["kernel_seconds"] for record in records)
    overhead = (WORKERS * elapsed - sum(own)) / len(own)
    print(f"{len(own)} points in {elapsed:.0f} s, workers ready after {ready - began:.0f} s")
    print(f"  papermill {median(own):.2f} s a point, of it {start:.2f} until the first cell")
    print(f"  overhead {overhead:.2f} s a point")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=200)
    points = parser.parse_args().points
    print(f"{WORKERS} workers, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), points)


if __name__ == "__main__":
    main()
