"""Fault drills: workers and the driver are killed at random moments, and one point's disk is full.

After `--resume` every point is done exactly once or failed with its reason, and nobody ever read a
partial file as a whole one. `make drill` runs five large ones, `make test` a small one.
"""

import json
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest

from mmlib.scores import runs

CODE = """
import json, os, time
from pathlib import Path
from mmlib.cache import Store
import numpy as np

if x == full:
    Path("/dev/full").write_text("x")  # the kernel's own ENOSPC
Store({"drill": 1}, Path(shared)).put([str(x)], {"a": np.full((1, 1000), x)})
text = json.dumps([{"notebook": "02_a", "split": "valid", "x": x, "filler": "." * 10000}])
with open(Path(os.environ["MMLIB_POINT"]) / "metrics.json", "w") as file:
    for part in (text[:5000], text[5000:]):  # in two halves, far apart
        file.write(part)
        file.flush()
        time.sleep(0.3)
"""
DRIVER = """
import sys
from pathlib import Path
from mmlib import files
from mmlib.batch.__main__ import main
root = Path(sys.argv[1])
files.ROOT, files.NOTEBOOKS = root, root / "notebooks"
files.RUNS = root / "papermill_runs"
sys.exit(main(["g", "--resume", "--workers", "2"]))
"""


def drive(small) -> subprocess.Popen:
    command = [sys.executable, "-c", DRIVER, str(small.root)]
    with open(small.root / "driver.log", "a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def drill(small, points: int, kills: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = f"x: int = 0\nfull: int = {points // 2}\nshared: str = {str(small.root)!r}\n"
    small.notebook("02_a", parameters, CODE)
    small.grid("g", f"notebooks: 02_a\ncross: {{x: {list(range(points))}}}")
    moments = sorted(int(m) for m in rng.integers(0, points - 2, kills + 1))
    order = list(rng.permutation(["worker"] * kills + ["driver"]))
    driver, before = drive(small), {}
    for done, whom in zip(moments, order, strict=True):
        wait_for(small, driver, done, pause=rng.uniform(0, 1))
        if whom == "worker":
            kill_a_worker(small, rng)
        else:
            driver.kill()
            driver.wait()
            before = finished(small)
            driver = drive(small)
    while driver.poll() is None:
        finished(small)
        time.sleep(0.2)
    after = finished(small)
    assert driver.returncode == 1, (small.root / "driver.log").read_text()
    assert sorted(record["parameters"]["x"] for record in after.values()) == [
        x for x in range(points) if x != points // 2
    ]
    assert {folder: after[folder] for folder in before} == before  # none of them was repeated
    (failed,) = (small.runs / "g").glob("*.failed")
    assert runs.manifest(failed)["error"] == "OSError: [Errno 28] No space left on device"
    assert len(small.folders("g")) == points
    assert not list((small.runs / "g").glob(".*.part"))
    check_cache(small, points)


def finished(small) -> dict:
    """The done points' records, after reading all their rows as whole."""
    records = runs.manifests("g") if (small.runs / "g").exists() else {}
    for folder, record in records.items():
        (row,) = json.loads((folder / "metrics.json").read_text())
        assert row["x"] == record["parameters"]["x"]
    return records


def wait_for(small, driver: subprocess.Popen, done: int, pause: float) -> None:
    """Until so many points are done and another one runs; then a moment more."""
    end = time.monotonic() + 300
    while len(finished(small)) < done or not running(small):
        log = (small.root / "driver.log").read_text()
        assert driver.poll() is None and time.monotonic() < end, log
        time.sleep(0.05)
    time.sleep(pause)


def running(small) -> list[int]:
    """Process ids of workers that execute a point."""
    records = (runs.manifest(part) for part in (small.runs / "g").glob(".*.part"))
    pids = {record["pid"] for record in records if record.get("state") == "running"}
    return [pid for pid in pids if psutil.pid_exists(pid)]


def kill_a_worker(small, rng) -> None:
    """Kill one that is at work, and see its kernel die."""
    while not (pids := running(small)):
        time.sleep(0.05)
    with suppress(psutil.NoSuchProcess):
        worker = psutil.Process(int(rng.choice(pids)))
        kernels = [p for p in worker.children() if "ipykernel_launcher" in p.cmdline()]
        worker.kill()
        _, alive = psutil.wait_procs(kernels, timeout=10)
        assert not alive


def check_cache(small, points: int) -> None:
    from mmlib.text.cache import Store

    found = Store({"drill": 1}, small.root).get([str(x) for x in range(points)])
    assert {int(x): set(row["a"]) for x, row in found.items()} == {
        x: {x} for x in range(points) if x != points // 2
    }


def test_a_small_drill(small):
    drill(small, points=6, kills=1, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_drill(small, seed):
    drill(small, points=24, kills=2, seed=seed)
