"""Fault drills: workers and the driver are killed at random moments, and one point's disk is full.

After `--resume` every point is done exactly once or failed with its reason, and nobody ever read a
partial file as a whole one. The same for results and figures that a process writes while it is
killed or its disk is full, and for two drivers on one folder. `make drill` runs large ones, `make
test` small ones.
"""

import json
import resource
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest
from matplotlib import pyplot as plt

from mmlib import files
from mmlib.batch import execute
from mmlib.batch.engine import only_driver
from mmlib.batch.parameters import Point
from mmlib.figures import plots
from mmlib.scores import results, runs
from mmlib.scores.store import FILES

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
    moments = sorted(int(m) for m in rng.integers(0, points * 2 // 3, kills + 1))
    order = list(rng.permutation(["worker"] * kills + ["driver"]))
    driver, before = drive(small), {}
    for done, whom in zip(moments, order, strict=True):
        wait_for(small, driver, done, pause=rng.uniform(0, 1))
        if whom == "worker":
            kill_a_worker(small, driver, rng)
        else:
            driver.kill()
            driver.wait()
            before = finished(small)
            driver = drive(small)
    end = time.monotonic() + 300
    while driver.poll() is None and time.monotonic() < end:
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
    """Until so many points are done and another one runs, or all are done; then a moment more."""
    end = time.monotonic() + 300
    while driver.poll() is None and (len(finished(small)) < done or not running(small)):
        assert time.monotonic() < end, (small.root / "driver.log").read_text()
        time.sleep(0.05)
    time.sleep(pause)


def running(small) -> list[int]:
    """Process ids of workers that execute a point."""
    records = (runs.manifest(part) for part in (small.runs / "g").glob(".*.part"))
    pids = {record["pid"] for record in records if record.get("state") == "running"}
    return [pid for pid in pids if psutil.pid_exists(pid)]


def kill_a_worker(small, driver: subprocess.Popen, rng) -> None:
    """Kill one that is at work, and see its kernel die; none, if all points were done first."""
    while not (pids := running(small)):
        if driver.poll() is not None:
            return
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


# Two drivers on one folder


def test_a_second_driver_leaves_the_first_alone(small):
    parameters = f"x: int = 0\nfull: int = -1\nshared: str = {str(small.root)!r}\n"
    wait = "\nwhile x and not Path(shared, 'go').exists():\n    time.sleep(0.1)\n"
    small.notebook("02_a", parameters, CODE + wait)
    small.grid("g", "notebooks: 02_a\ncross: {x: [0, 1, 2, 3]}")
    first = drive(small)
    wait_for(small, first, 1, pause=0)
    assert first.poll() is None, (small.root / "driver.log").read_text()
    before = finished(small)
    command = [sys.executable, "-c", DRIVER, str(small.root)]
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 64 and second.stderr.count("\n") == 1
    assert (
        f"g is being written by pid {first.pid} on " in second.stderr and "--run" in second.stderr
    )
    (small.root / "go").touch()
    assert first.wait(300) == 0, (small.root / "driver.log").read_text()
    after = finished(small)
    assert len(after) == 4 and {folder: after[folder] for folder in before} == before
    assert len({record["session"] for record in after.values()}) == 1
    assert small.folders("g") == sorted(folder.name for folder in after)
    assert not list((small.runs / "g").glob(".*"))


# Results and figures, while a process that writes them is killed

WRITER = """
import sys
from itertools import count
from pathlib import Path
import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot
from mmlib import files
from mmlib.figures import plots
from mmlib.scores import results
root = Path(sys.argv[1])
files.RUNS, files.FIGURES = root / "papermill_runs", root / "figures"
figure, axes = pyplot.subplots(figsize=(2, 2))
def place(notebook):
    return dict(notebook=notebook, dataset="mosi", model="daf", variant="ta", split="test")
for i in count(int(sys.argv[2])):
    notebook = f"0{i % 3 + 1}_a"
    rows = [results.row([i, i], (i, i), metric=m, **place(notebook)) for m in ("mae", "corr")]
    axes.plot([0, 1], [i, 1])
    plots.save(figure, "curve", "r")
    results.save(rows, "r", notebook, parameters={"filler": "." * 20000})
    print(i, flush=True)
"""


def kill_a_writer(small, rng, start: int) -> int:
    """Start it, kill it at a random moment; the last number that it said was stored."""
    command = [sys.executable, "-c", WRITER, str(small.root), str(start)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    last = [int(writer.stdout.readline()) for _ in range(3)][-1]
    time.sleep(rng.uniform(0, 0.3))
    writer.kill()
    return max([last, *map(int, writer.communicate()[0].split())])


def check_stored(small, last: int) -> None:
    """All files can be read, and what was said to be stored is there, or what came after it."""
    rows, pairs, origins = (json.loads((small.runs / "r" / n).read_text()) for n in FILES)
    newest = {row["notebook"]: row["mean"] for row in rows}
    assert set(newest) == set(origins) == {"01_a", "02_a", "03_a"} and pairs == []
    assert [row["metric"] for row in rows] == ["mae", "corr"] * 3
    assert set(newest.values()) in ({last - 2, last - 1, last}, {last - 1, last, last + 1})
    assert results.runs() == ["r"]
    assert len(plt.imread(small.root / "figures" / "r" / "curve.png"))


def killed_writers(small, kills: int, seed: int) -> None:
    rng, last = np.random.default_rng(seed), -1
    for _ in range(kills):
        last = kill_a_writer(small, rng, last + 1)
        check_stored(small, last)
    with only_driver(small.runs / "r"):  # the next batch clears what they left
        pass
    left = [path.name for path in small.root.rglob("*") if path.is_file()]
    assert sorted(left) == sorted([*FILES, "curve.png"])


def test_killed_writers_lose_nothing(small):
    killed_writers(small, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_many_killed_writers_lose_nothing(small, seed):
    killed_writers(small, kills=12, seed=seed)


# A full disk: no file may grow beyond so many bytes


@contextmanager
def full_disk(size: int):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save(value: float, notebook: str = "02_a") -> None:
    place = dict(notebook=notebook, dataset="mosi", model="daf", variant="ta", split="test")
    row = results.row([value, value], (value, value), metric="mae", **place)
    results.save([row], "r", notebook, parameters={"filler": "." * 5000})


@pytest.mark.parametrize("size", [0, 100, 1000])
def test_a_full_disk_keeps_results_and_figures_and_names_the_path(small, size):
    figure, axes = plt.subplots(figsize=(2, 2))
    save(1.0)
    path = plots.save(figure, "curve", "r")
    before = {p: p.read_bytes() for p in small.root.rglob("*") if p.is_file()}
    axes.plot([0, 1])
    with full_disk(size):
        for write in (lambda: save(2.0), lambda: plots.save(figure, "curve", "r")):
            with pytest.raises(OSError, match=r"\Acannot write /.*kept: free space.*\Z") as error:
                write()
            assert str(small.root) in str(error.value)
    after = {p: p.read_bytes() for p in small.root.rglob("*") if p.is_file()}
    assert set(after) == set(before) and after[path] == before[path]
    assert (
        after[small.runs / "r" / "provenance.json"] == before[small.runs / "r" / "provenance.json"]
    )
    assert results.load("r")["mean"].tolist() in ([1.0], [2.0])  # whole, old or new
    save(3.0)
    assert results.load("r")["mean"].tolist() == [3.0]
    plt.close(figure)


def test_a_point_whose_disk_is_full_fails_and_the_next_batch_finishes_it(small):
    small.notebook("02_a", "x: int = 0\n", "print('.' * 100000)")
    point = Point(files.NOTEBOOKS / "02_a.ipynb", {}, "")
    job = execute.job(point, small.runs / "g", own=True)
    with full_disk(50000):
        outcome = execute.attempt(job, execute.new_batch("", resume=True), 1)
    assert outcome.state == "failed" and "\n" not in outcome.error
    assert str(small.runs / "g") in outcome.error and "File too large" in outcome.error
    assert small.folders("g") == [f"{job.name}.failed"]
    assert execute.attempt(job, execute.new_batch("", resume=True), 1).state == "done"
    assert small.folders("g") == [job.name] and not list((small.runs / "g").glob(".*"))
