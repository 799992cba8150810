"""What a batch leaves behind when it is stopped or its disk is full, and what it must not erase."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell

from mmlib import files
from mmlib.batch import execute, kernel, pairs
from mmlib.batch.__main__ import main
from mmlib.batch.parameters import Point
from mmlib.scores import runs

PARAMETERS = 'x: int = 1\ntext: str = ""\nrun: str = "interactive"\n'


def until(condition, seconds: float = 120):
    """The condition's value once it is true; the limit is for a test that hangs."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def attempt(small, code: str, **options) -> execute.Outcome:
    """One point in this process: no workers."""
    small.notebook("02_a", PARAMETERS, code)
    point = Point(files.NOTEBOOKS / "02_a.ipynb", {"text": str(small.root)}, "")
    job = execute.job(point, small.runs / "g", own=True)
    return execute.attempt(job, execute.new_batch("", resume=False, **options), 1)


def here(small) -> str:
    """For a notebook that saves into a run: its kernel knows the real project alone."""
    folder = f"Path({str(small.runs)!r})"
    imports = (
        "from pathlib import Path\nfrom mmlib import files\nfrom mmlib.scores import results\n"
    )
    return f"{imports}files.RUNS = {folder}\n"


# Errors without a message


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("y = 2\n\nassert x == y\n", "AssertionError: cell 3, line 3: assert x == y"),
        ("def f():\n    assert x == 2\n\nf()", "AssertionError: cell 3, line 4: f()"),
        ("raise StopIteration", "StopIteration: cell 3, line 1: raise StopIteration"),
        ("raise ValueError('\\n\\nlate')", "ValueError: late"),
        ("assert x == 2, 'x is not two'", "AssertionError: x is not two"),
    ],
)
def test_an_error_without_a_message_names_the_line_of_its_cell(small, code, line):
    assert attempt(small, code).error == line


# Processes

ORPHANS = """
import os, pathlib, subprocess, sys, time
for kind, new in (("same", False), ("own", True)):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                             start_new_session=new)
    pathlib.Path(text, f"pid-{kind}").write_text(str(child.pid))
"""


def orphans(small) -> list[int]:
    paths = sorted(small.root.glob("pid-*"))
    return [int(path.read_text() or 0) for path in paths] if len(paths) == 2 else []


def alive(pids: list[int]) -> list[int]:
    there = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [process.pid for process in there if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("rest", "limit"), [("time.sleep(600)", 5), ("os.kill(os.getpid(), 9)", None), ("", None)]
)
def test_what_a_cell_has_started_ends_with_its_kernel(small, rest, limit):
    outcome = attempt(small, ORPHANS + rest, timeout=limit)
    assert outcome.state == ("failed" if rest else "done")
    assert len(orphans(small)) == 2 and not alive(orphans(small))


DRIVER = """
import sys
from pathlib import Path
from mmlib import files
from mmlib.batch.__main__ import main
root = Path(sys.argv[1])
files.ROOT, files.NOTEBOOKS, files.RUNS = root, root / "notebooks", root / "papermill_runs"
sys.exit(main(["g", "--workers", "1"]))
"""


def test_an_interrupted_batch_leaves_no_process_and_no_half_written_file(small):
    code = f"{ORPHANS}\ntime.sleep(600)"
    small.notebook("02_a", PARAMETERS, code)
    small.grid("g", f"notebooks: 02_a\nfixed: {{text: {small.root}}}\ncross: {{x: [1, 2]}}")
    log = small.root / "log"
    with open(log, "w") as out:
        command = [sys.executable, "-c", DRIVER, str(small.root)]
        driver = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    pids = until(lambda: (p := orphans(small)) and all(p) and p)
    assert len(alive(pids)) == 2
    os.killpg(driver.pid, signal.SIGINT)  # as Ctrl-C does
    assert driver.wait(120) == 130, log.read_text()
    assert not alive(pids)
    assert "stopped" in log.read_text() and "Traceback" not in log.read_text()
    assert list((small.runs / "g").iterdir()) == []


def test_a_killed_driver_s_leftovers_go_with_the_next_batch(small, workers):
    small.notebook("02_a", PARAMETERS, "print(x)")
    small.grid("g", "notebooks: 02_a")
    run, figures = small.runs / "g", files.FIGURES / "g"
    for folder in (run, figures):
        folder.mkdir(parents=True)
    part = run / ".02_a-0.00.part"
    part.mkdir()
    halves = [run / ".metrics.json.ab12cd34.part", figures / ".gate.png.ab12cd34.part"]
    for half in halves:
        half.write_text("[")
    mark = {**os.environ, kernel.MARK: str(part)}
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=mark)
    assert main(["g", *workers]) == 0
    assert left.wait(60) == -signal.SIGKILL
    assert not part.exists() and not any(half.exists() for half in halves)


# Locks


def test_no_lock_is_left(small, workers):
    small.notebook("02_a", PARAMETERS, f"{here(small)}results.save([], run, '02_a')\n")
    small.grid("g", "notebooks: 02_a\ncross: {x: [1, 2]}")
    assert main(["g", *workers]) == main(["--run", "r", *workers]) == 0
    left = [path for path in small.root.rglob("*") if "lock" in path.name or "driver" in path.name]
    assert left == []


def test_a_lock_whose_file_goes_still_excludes_everybody(tmp_path):
    inside, most = [], []

    def enter(_) -> None:
        for _ in range(50):
            with files.locked(tmp_path / "x.lock"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(8)))
    assert most == [1] * 400 and list(tmp_path.iterdir()) == []


# A full disk


def test_a_full_disk_names_the_folder_that_needs_room(small, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", full)
    outcome = attempt(small, "print(x)")
    monkeypatch.setattr(Path, "write_bytes", real)
    assert str(small.runs / "g") in outcome.error and "No space left" in outcome.error
    assert "free space" in outcome.error and "\n" not in outcome.error
    assert not list((small.runs / "g").glob(".*"))
    small.notebook("02_a", PARAMETERS, "print(x)")
    monkeypatch.setattr("papermill.iorw.LocalHandler.write", full)
    outcome = attempt(small, "print(x)")
    assert outcome.error.startswith(f"make room for {small.runs / 'g'}")
    assert outcome.error.endswith("No space left on device")


# A run whose own file is cut

SAVE = """
place = dict(notebook=name, dataset="synthetic", model="daf", variant="ta", split="test")
results.save([results.row([x, x + 1.0], (x, x + 2), metric="mae", **place)], run, name)
print(run)
"""


@pytest.mark.parametrize("name", ["metrics.json", "comparisons.json", "provenance.json"])
def test_a_cut_file_of_a_run_makes_its_notebooks_stale(small, workers, capsys, name):
    for notebook in ("02_a", "03_b"):
        small.notebook(notebook, PARAMETERS + f'name: str = "{notebook}"\n', here(small) + SAVE)
    small.notebook("04_c", PARAMETERS, "print(x)")
    arguments = ["--run", "r", "--resume", *workers]
    assert main(arguments) == 0
    first = {n: runs.manifest(small.runs / "r" / n)["session"] for n in ("02_a", "03_b", "04_c")}
    before = (small.runs / "r" / "metrics.json").read_text()
    path = small.runs / "r" / name
    assert main(["--run", "r", "--resume", "--dry-run"]) == 0
    assert "0 of 3 points to run" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main(["--run", "r", "--resume", "--only", "02_a", *workers]) == 0
    assert main(["--run", "r", "--resume", "--dry-run"]) == 0
    assert "04_c" not in (shown := capsys.readouterr().out) or "up to date" in shown
    assert main(arguments) == 0
    again = {n: runs.manifest(small.runs / "r" / n)["session"] for n in first}
    stale = {n for n in first if first[n] != again[n]}
    assert stale == {"02_a", "03_b"} if name != "comparisons.json" else stale <= {"02_a", "03_b"}
    assert (small.runs / "r" / "metrics.json").read_text() == before


# Edits in a notebook


@pytest.fixture
def pair(small):
    """A notebook and its `.py`, which hold the same cells, the notebook the newer one."""
    small.notebook("02_a", PARAMETERS, "print(x)")
    source = small.root / "notebooks" / "02_a.py"
    notebook = source.with_suffix(".ipynb")
    jupytext.write(nbformat.read(notebook, 4), source, fmt="py:percent")
    os.utime(source, (1, 1))
    return source, notebook


def add_cell(notebook: Path, text: str) -> None:
    content = nbformat.read(notebook, 4)
    content.cells.append(new_code_cell(text))
    nbformat.write(content, notebook)


def make_notebooks(small) -> subprocess.CompletedProcess:
    """`make notebooks` in the small project: the Makefile's own lines, kernels left out."""
    folder = small.root / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder.parent / ".installed").touch()
    for tool in ("python", "jupytext"):
        path = folder / tool
        path.write_text(
            f'#!/bin/sh\nexec {shutil.which(tool, path=Path(sys.executable).parent)} "$@"\n'
        )
    for tool in ("jupyter", "nbstripout", "pip"):
        (folder / tool).write_text("#!/bin/sh\nexit 0\n")
    for path in folder.iterdir():
        path.chmod(0o755)
    project = Path(files.__file__).parents[1]
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(project / name, small.root)
        os.utime(small.root / name, (1, 1))
    (small.root / "notebooks" / "conftest.py").write_text("")
    env = {**os.environ, "PYTHONPATH": str(project)}
    command = ["make", "notebooks", "ONLY=02_a"]
    return subprocess.run(command, cwd=small.root, env=env, capture_output=True, text=True)


def test_make_notebooks_keeps_a_cell_that_was_added_to_the_notebook(small, pair):
    source, notebook = pair
    add_cell(notebook, "print('mine')")
    done = make_notebooks(small)
    assert done.returncode != 0 and "print('mine')" in notebook.read_text()
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "02_a: its .ipynb is newer" in line
    command = line.partition("jupytext ")[2].partition(" takes")[0]
    assert command == "--to py:percent notebooks/02_a.ipynb"
    tool = Path(sys.executable).with_name("jupytext")
    subprocess.run([tool, *command.split()], cwd=small.root, check=True, capture_output=True)
    assert "print('mine')" in source.read_text()
    assert pairs.advice(notebook) == ("", False)


def test_make_notebooks_takes_over_what_was_written_in_the_source(small, pair):
    source, notebook = pair
    source.write_text(source.read_text().replace("print(x)", "print(x, x)"))
    os.utime(notebook, (1, 1))
    done = make_notebooks(small)
    assert done.returncode == 0, done.stderr
    assert "print(x, x)" in notebook.read_text()


def test_the_batch_names_the_same_remedy(small, pair, capsys, monkeypatch):
    _, notebook = pair
    monkeypatch.chdir(small.root)
    assert pairs.advice(notebook) == ("", False)
    add_cell(notebook, "print('mine')")
    assert main(["--dry-run"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "jupytext --to py:percent notebooks/02_a.ipynb takes them over" in text
    assert "make notebooks" not in text
