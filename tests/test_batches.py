"""Grids on a scheduler and two workers: what is kept, what is run again, what a failure leaves."""

import errno
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client
from rich.console import Console

from mmlib import files
from mmlib.batch import closure, engine, execute, kernel, verify
from mmlib.batch.__main__ import main
from mmlib.batch.execute import Outcome
from mmlib.batch.parameters import Point
from mmlib.batch.progress import Progress, duration
from mmlib.files import write_whole
from mmlib.scores import runs, store

PARAMETERS = 'x: int = 1  # a number\ntext: str = ""  # any\nrun: str = "interactive"\n'
SAVE = """
from mmlib import results
place = dict(notebook="02_a", dataset="synthetic", model="daf", variant="ta", split="test")
row = results.row([x + shift, x + 1.0 + shift, x + 1.5], (x, x + 2), metric="mae", **place)
results.save([row], run, "02_a")
"""


@pytest.fixture
def project(small):
    small.notebook("02_a", PARAMETERS, "print(1 / (x - 3), text, run)")
    small.grid("g", "notebooks: 02_a\ncross: {x: [1, 2], text: ['../{x}/a b']}")
    return small


def states(project, run: str = "g") -> dict[int, dict]:
    """Manifests by x."""
    found = (runs.manifest(project.runs / run / name) for name in project.folders(run))
    return {record["parameters"]["x"]: record for record in found}


def test_points_have_their_own_folders_and_are_kept_while_up_to_date(project, workers, capsys):
    assert main(["g", *workers]) == 0
    first = states(project)
    assert [record["state"] for record in first.values()] == ["done", "done"]
    assert project.printed("g", project.folders("g")[0]).endswith("../{x}/a b g\n")
    assert {"key", "commit", "diff", "versions", "device", "memory_mb"} <= set(first[1])
    assert first[1]["seconds"] > first[1]["kernel_seconds"] > 0

    project.grid("g", "notebooks: 02_a\ncross: {x: [1, 2, 4], text: ['../{x}/a b']}")
    assert main(["g", "--resume", *workers]) == 0
    assert "1 done, 2 were up to date, 0 failed" in capsys.readouterr().out
    assert {x: states(project)[x] for x in (1, 2)} == first
    assert main(["g", "--fresh", "--filter", "x=1", *workers]) == 0
    again = states(project)
    assert again[1]["session"] != first[1]["session"] and again[2] == first[2]


def test_kernels_do_not_give_freed_memory_back_at_once_as_dasks_workers_do(small):
    small.notebook("02_a", PARAMETERS, "import os; print(os.environ.get('MALLOC_TRIM_THRESHOLD_'))")
    small.grid("g", "notebooks: 02_a\ncross: {x: [1]}")
    assert main(["g", "--workers", "1"]) == 0
    assert small.printed("g", small.folders("g")[0]).strip() == "None"


@pytest.mark.skipif(sys.platform == "win32", reason="no sockets that are files")
@pytest.mark.parametrize("folder, transport", [("s", "ipc"), ("s" * 100, "tcp")])
def test_a_kernel_talks_through_files_if_paths_fit(small, tmp_path, monkeypatch, folder, transport):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / folder))  # in which sockets fit or not
    (tmp_path / folder).mkdir()
    asks = "import ipykernel.connect as c; print(c.get_connection_info(unpack=True)['transport'])"
    small.notebook("02_a", PARAMETERS, asks)
    job = execute.job(Point(files.NOTEBOOKS / "02_a.ipynb", {}, ""), small.runs / "r", own=False)
    assert not execute.attempt(job, execute.new_batch("", resume=True), 1).error
    assert small.printed("r", "02_a").strip() == transport
    assert not list((tmp_path / folder).iterdir())  # neither sockets nor the connection's file


def test_a_failure_keeps_its_notebook_and_the_others_go_on(project, workers, capsys):
    project.grid("g", "notebooks: 02_a\ncross: {x: [3, 2]}")
    assert main(["g", "--retry", "1", *workers]) == 1
    found = states(project)
    assert (found[2]["state"], found[3]["state"], found[3]["attempt"]) == ("done", "failed", 2)
    assert found[3]["error"] == "ZeroDivisionError: division by zero"
    assert "1 / (x - 3)" in found[3]["traceback"]
    (failed,) = (name for name in project.folders("g") if name.endswith(".failed"))
    assert list((project.runs / "g" / failed).glob("*.ipynb"))
    assert "1 done, 0 were up to date, 1 failed" in capsys.readouterr().out

    project.notebook("02_a", PARAMETERS, "print(x)")
    assert main(["g", *workers]) == 0


def test_a_point_that_takes_too_long_is_stopped(project, workers):
    project.notebook("02_a", PARAMETERS, "import time; time.sleep(600 * (x == 1))")
    assert main(["g", "--timeout", "6", *workers]) == 1
    assert states(project)[1]["error"] == "timeout: more than 6 s"
    assert states(project)[2]["state"] == "done"


def test_a_killed_worker_takes_its_kernel_along_and_the_point_runs_elsewhere(project, workers):
    code = "import os, pathlib, time\npathlib.Path(text, str(os.getpid())).touch()\n"
    wait = "for _ in range(600): time.sleep(0 if pathlib.Path(text, 'go').exists() else .1)"
    project.notebook("02_a", PARAMETERS, code + wait)
    marks = project.root / "marks"
    marks.mkdir()
    point = Point(files.NOTEBOOKS / "02_a.ipynb", {"text": str(marks)}, "")
    job = execute.job(point, project.runs / "g", own=True)
    batch = execute.new_batch("", resume=True)
    with Client(workers[1]) as client:
        future = client.submit(execute.attempt, job, batch, 1, pure=False)
        (first,) = until(lambda: list(marks.glob("[0-9]*")))
        (record,) = (runs.manifest(p) for p in (project.runs / "g").glob(".*.part"))
        psutil.Process(record["pid"]).kill()
        until(lambda: not psutil.pid_exists(int(first.name)))
        until(lambda: len(list(marks.glob("[0-9]*"))) == 2)
        execute.sweep(project.runs / "g")  # leaves a point alone that still runs
        (marks / "go").touch()
        assert future.result(timeout=60).state == "done"
    execute.sweep(project.runs / "g")
    assert project.folders("g") == [job.name]
    assert not list((project.runs / "g").glob(".*.part"))


def until(condition, seconds: float = 60):
    """The condition's value once it is true; the limit is for a test that hangs."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


def test_a_full_disk_is_a_failure_with_its_reason(project, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    point = Point(files.NOTEBOOKS / "02_a.ipynb", {"x": 1}, "")
    job = execute.job(point, project.runs / "g", own=True)
    monkeypatch.setattr(kernel, "execute", full)
    outcome = execute.attempt(job, execute.new_batch("", resume=True), 1)
    assert outcome.error.endswith("No space left on device")
    assert project.folders("g") == [f"{job.name}.failed"]
    monkeypatch.setattr(execute, "write_whole", full)
    assert execute.attempt(job, execute.new_batch("", resume=True), 1).error == outcome.error
    assert not list((project.runs / "g").glob(".*.part"))


def test_braces_in_a_path_are_no_parameters(small, monkeypatch):
    folder = small.root / "{x}"
    folder.mkdir()
    monkeypatch.setattr(files, "NOTEBOOKS", small.root / "notebooks")
    small.notebook("02_a", PARAMETERS, "print(x)")
    source = (small.root / "notebooks" / "02_a.ipynb").rename(folder / "02_a.ipynb")
    point = Point(source, {"x": 7}, "")
    job = execute.job(point, folder / "run", own=True)
    assert not execute.attempt(job, execute.new_batch("", resume=True), 1).error
    assert "7" in (job.done / "02_a.ipynb").read_text()


# What is refused


def refused(capsys, arguments: list[str], *said: str) -> None:
    assert main(arguments) == 64
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert all(text in error for text in said), error


def test_a_second_driver_is_told_of_the_first(project, capsys):
    with engine.only_driver(project.runs / "g"):
        refused(capsys, ["g"], f"pid {os.getpid()} on {os.uname().nodename}", "--run")
    assert project.folders("g") == []


def test_workers_that_cannot_be_used_are_refused(project, workers, capsys, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (1, silent.getsockname()[1]):
            address = f"tcp://127.0.0.1:{port}"
            refused(capsys, ["g", "--scheduler", address], f"no scheduler at {address}: no answer")
    monkeypatch.setattr(execute, "code_here", lambda: "Python 2.7, mmlib 0")
    refused(capsys, ["g", *workers], "worker tcp://", "has Python 3", "here: Python 2.7")


def test_a_folder_that_cannot_be_written_is_refused(project, capsys):
    (project.runs / "g").write_text("a file")
    refused(capsys, ["g"], f"cannot write to {project.runs / 'g'} (File exists)", "--run")
    refused(capsys, ["nosuch"], "no grid 'nosuch'", "one of g")


# Workers


def test_each_local_worker_has_its_share_of_threads_and_one_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with engine.connect(None, 2, 4, tmp_path) as client:
        seen = client.run(lambda: {n: os.environ[n] for n in ("CUDA_VISIBLE_DEVICES",)})
        assert sorted(e["CUDA_VISIBLE_DEVICES"] for e in seen.values()) == ["3", "5"]
        assert set(client.run(lambda: os.environ["OMP_NUM_THREADS"]).values()) == {"2"}
    assert engine.how_many(9, 1e-3) == 2 and engine.how_many(9, 1e6) == 1


def listening(process: psutil.Process) -> set[str]:
    """Addresses at which a process and its children listen."""
    sockets = [c for p in (process, *process.children(recursive=True)) for c in p.net_connections()]
    return {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}


def test_scheduler_and_workers_listen_on_loopback_alone(tmp_path):
    here = psutil.Process()
    with engine.connect(None, 2, 4, tmp_path) as client:
        pids = set(client.run(os.getpid).values())
        assert pids < {child.pid for child in here.children(recursive=True)}
        assert listening(here) == {"127.0.0.1"}
        assert all(listening(psutil.Process(pid)) == {"127.0.0.1"} for pid in pids)
    with engine.connect(None, 1, 4, tmp_path, "127.0.0.2") as client:
        (pid,) = client.run(os.getpid).values()
        assert listening(psutil.Process(pid)) == {"127.0.0.2"}


def test_notebooks_start_in_their_order_wherever_a_worker_is_free(small, tmp_path, monkeypatch):
    def attempt(job, batch, number):
        """The second one lasts until the last one is done, a minute at most."""
        late = time.monotonic() + 60
        while job.name == "02_c" and not (tmp_path / "07_h").exists() and time.monotonic() < late:
            time.sleep(0.05)
        (tmp_path / job.name).touch()
        return Outcome(job, "done", seconds=time.monotonic())

    monkeypatch.setattr(execute, "attempt", attempt)
    names = [f"{number:02}_{'abcdefgh'[number]}" for number in range(1, 8)]
    for name in names:
        small.notebook(name, "x: int = 1\n", "1")
    points = [Point(files.NOTEBOOKS / f"{name}.ipynb", {}, "") for name in names]
    jobs = [execute.job(point, small.runs / "g", own=False) for point in points]
    with engine.connect(None, 2, 4, tmp_path) as client:
        ends = engine.run(jobs, execute.new_batch("", resume=False), client)
    ends = [outcome.job.name for outcome in sorted(ends, key=lambda outcome: outcome.seconds)]
    assert ends == [*names[:1], *names[2:], names[1]]


def test_slurm_script_says_what_a_job_needs(project, capsys, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("MMLIB_DATA", "/data")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert main(["g", "--dry-run", "--scheduler", "slurm", "--memory", "6"]) == 0
    script = capsys.readouterr().out
    for line in ("#SBATCH --cpus-per-task=4", "#SBATCH --mem=6G", "export OMP_NUM_THREADS=4",
                 "export MMLIB_DATA=/data", f"{sys.executable} -m distributed.cli.dask_worker",
                 "--nthreads 1", "--dashboard-address 127.0.0.1:0"):  # fmt: skip
        assert line in script, script


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """What writes an `sbatch` of one's own, which comes first in the PATH."""
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(closure.PACKAGE.parent))

    def write(script: str) -> None:
        for name, text in (("sbatch", script), ("scancel", 'kill "$@"')):
            path = tmp_path / "bin" / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)

    with dask.config.set({"jobqueue.slurm.interface": "lo"}):
        yield write


def test_slurm_jobs_are_workers(project, sbatch, capsys):
    sbatch('[ "$1" = --test-only ] && exit; sh "$1" >/dev/null 2>&1 & echo Submitted batch job $!')
    assert main(["g", "--scheduler", "slurm"]) == 0
    assert [record["state"] for record in states(project).values()] == ["done", "done"]


def test_slurm_that_takes_no_job_is_refused(project, sbatch, capsys, monkeypatch):
    sbatch("echo one >&2; echo sbatch: error: Invalid account >&2; exit 1")
    refused(capsys, ["g", "--scheduler", "slurm"], "does not take the job: sbatch: error: Invalid")
    (project.root / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(project.root))
    refused(capsys, ["g", "--scheduler", "slurm"], "no sbatch here")
    with dask.config.set({"jobqueue.slurm.interface": None}):
        refused(capsys, ["g", "--scheduler", "slurm"], "have to reach this process", "--host")


# Tables


def test_collect_compare_and_verify(small, workers, capsys):
    parameters = 'x: int = 1  # a\nshift: float = 0.0  # b\nrun: str = "interactive"\n'
    small.notebook("02_a", parameters, SAVE)
    small.grid("a", "notebooks: 02_a\nfixed: {shift: 0}\ncross: {x: [1, 2]}")
    small.grid("b", "notebooks: 02_a\nfixed: {shift: 0.25}\ncross: {x: [1, 2]}")
    env = os.environ.copy()
    assert main(["a", *workers]) == main(["b", *workers]) == 0
    os.environ.update(env)
    found = runs.collect("a")
    assert found[["x", "shift", "mean"]].values.tolist() == [
        ["1", "0", 1.833333],
        ["2", "0", 2.833333],
    ]
    assert runs.varied(found) == ["x"]
    assert runs.scores(found)[["x", "mae"]].values.tolist() == [
        ["1", "1.833 [1.000, 3.000]"],
        ["2", "2.833 [2.000, 4.000]"],
    ]
    constant = runs.scores(found.assign(model="constant", mean=1.0))
    assert list(constant["x"]) == ["1"]  # the same one in every point counts once
    with pytest.raises(ValueError, match="no finished point"):
        runs.collect("c")
    assert main(["collect", "a"]) == 0 and (small.runs / "a" / "table.csv").exists()
    assert set(runs.compare_runs("a", "a")["verdict"]) == {"equal"}
    assert runs.differences("a", "a").empty
    assert main(["verify", "a", "--points", "1", "--workers", "1"]) == 0
    assert "bit-equal" in capsys.readouterr().out


def test_verify_of_a_notebook_that_stores_nothing_any_more_differs(small, capsys):
    record = received(small, corpus="")
    small.notebook("02_a", RECEIVED, "")
    assert record["state"] == "done" and main(["verify", "r", "--workers", "1"]) == 1
    assert "differs" in capsys.readouterr().out


def received(small, **parameters) -> dict:
    """A manifest from elsewhere, of a notebook that writes where `corpus` says."""
    small.notebook("02_a", RECEIVED, SAVE + WRITES)
    stored(small.runs / "r", [1, 2])
    folder = small.runs / "r" / "02_a"
    folder.mkdir()
    record = {"notebook": "02_a", "parameters": parameters, "state": "done", "finished": "2025"}
    (folder / "manifest.json").write_text(json.dumps(record))
    return record


RECEIVED = 'x: int = 1\nshift: int = 0\ncorpus: str = ""\nmodel: str = ""\nrun: str = "r"\n'
WRITES = """
from pathlib import Path
Path(corpus).mkdir(parents=True, exist_ok=True)
(Path(corpus) / "victim").write_text("overwritten")
"""


@pytest.mark.parametrize("corpus", ["../elsewhere", "/tmp/elsewhere", "notebooks"])
def test_verify_writes_into_its_own_folder_alone(small, monkeypatch, corpus):
    victim = small.root / "notebooks" / "victim"
    record = received(small, corpus=corpus, run="../elsewhere")
    victim.write_text("kept")
    before = {path for path in small.root.parent.rglob("*") if ".locks" not in path.parts}
    with verify.scratch() as folder:
        job = verify.again("r", record, Path(folder))
        outcome = execute.attempt(job, execute.new_batch("", resume=False), 1)
        assert outcome.state == "done", outcome.error
        assert (Path(folder) / "corpus" / "victim").exists()
        assert (job.done / "metrics.json").exists()
    after = {path for path in small.root.parent.rglob("*") if ".locks" not in path.parts}
    assert after == before and victim.read_text() == "kept"
    assert not Path("/tmp/elsewhere").exists()


@pytest.mark.parametrize("model", ["../x", "/nowhere/x", "~/nowhere", "a/../../x"])
def test_verify_follows_no_path_out_of_the_project(small, capsys, model):
    received(small, model=model)
    refused(capsys, ["verify", "r"], "a path outside the project", repr(model))
    assert small.folders("r") == ["02_a", "comparisons.json", "metrics.json", "provenance.json"]


def test_verify_reads_files_that_are_there_and_refuses_what_is_unknown(small, tmp_path_factory):
    model = tmp_path_factory.mktemp("models") / "model.safetensors"
    model.write_text("weights")
    record = received(small, model=str(model), x=2)
    assert verify.again("r", record, small.runs / "s").point.parameters["model"] == str(model)
    with pytest.raises(ValueError, match="unknown parameter 'y'; choose one of corpus"):
        verify.again("r", {**record, "parameters": {"y": 1}}, small.runs / "s")
    with pytest.raises(ValueError, match="'02', which is not here"):
        verify.again("r", {**record, "notebook": "02"}, small.runs / "s")


@pytest.mark.parametrize(
    ("a", "b", "verdict", "diff"),
    [
        ([1, 2, 3], [1, 2, 3, 9], "equal", 0),
        ([1, 2, 3], [3, 2, 1], "not told apart", 0),
        ([1, 2, 3], [2, 3, 4], "differs", 1),
        ([1.0, 2.0, 3.0, 4.0], [2.01, 3.0, 3.99, 5.02], "differs", 1.005),
        ([1, 2, 3], [3, 1, 3.5], "not told apart", 0.5),
        ([1], [2], "one seed", 1),
    ],
)
def test_scores_are_compared_over_common_seeds(small, a, b, verdict, diff):
    for run, scores in (("a", a), ("b", b)):
        stored(small.runs / run, scores)
        point = small.runs / run / f"02_a-{len(scores)}"  # of a grid, with the parameter seeds
        shutil.copytree(small.runs / run, point)
        record = {"state": "done", "notebook": "02_a", "finished": "", "code": {}, "data": {}}
        write_whole(point / "manifest.json",
                    json.dumps({**record, "parameters": {"seeds": len(scores)}}))  # fmt: skip
        for file in store.FILES:
            (small.runs / run / file).unlink()
    (line,) = runs.compare_runs("a", "b").to_dict("records")
    assert (line["verdict"], line["diff"]) == (verdict, pytest.approx(diff))
    assert line["seeds"] == min(len(a), len(b))


def stored(folder: Path, scores: list) -> None:
    from mmlib.scores import results

    place = dict(notebook="02_a", dataset="mosi", model="daf", variant="ta", split="test")
    row = results.row(scores, (0, 9), metric="mae", **place)
    results.save([row], folder.name, "02_a", checksums={"mosi.csv.gz": folder.name})


def test_compare_names_what_the_runs_were_made_from(small, capsys):
    for run in ("a", "b"):
        stored(small.runs / run, [1, 2])
    (line,) = runs.differences("a", "b").to_dict("records")
    assert line == {"notebook": "02_a", "what": "data mosi.csv.gz", "a": "a", "b": "b"}
    path = small.runs / "b" / store.ORIGINS_FILE
    path.write_text(path.read_text().replace("mosi.csv.gz", "folder/other.csv"))
    lines = runs.differences("a", "b")
    assert lines["what"].tolist() == ["data mosi.csv.gz", "data other.csv"]
    assert lines["b"].tolist() == ["", "b"]
    assert main(["compare", "a", "b"]) == 0
    assert "rows: equal" in capsys.readouterr().out
    path.write_text(path.read_text().replace('"02_a"', '"05_e"'))  # nothing in common
    assert set(runs.differences("a", "b")["notebook"]) == {"02_a", "05_e"}


def test_code_that_goes_back_shows_its_own_results(small, workers):
    parameters = 'x: int = 1  # a\nrun: str = "interactive"\n'
    small.grid("a", "notebooks: 02_a\ncross: {x: [1]}")
    means = []
    for shift in (0, 1, 0):
        small.notebook("02_a", parameters, f"shift = {shift}\n{SAVE}")
        assert main(["a", *workers]) == 0
        means.append(runs.collect("a")["mean"].item())
        time.sleep(1.1)  # manifests count seconds
    assert means == [1.833333, 2.5, 1.833333]


def test_rows_that_are_newer_than_their_manifest_are_not_current(small):
    """Those of an execution that failed later, or of one by hand."""
    small.notebook("02_a", PARAMETERS, "print(1)")
    point = Point(files.NOTEBOOKS / "02_a.ipynb", {"run": "r"}, "")
    job = execute.job(point, small.runs / "r", own=False)
    stored(small.runs / "r", [1, 2])
    for year, is_current in (("2999", True), ("2000", False)):
        record = {"state": "done", "key": job.key, "finished": f"{year}-01-01T00:00:00+00:00"}
        write_whole(job.done / "manifest.json", json.dumps(record))
        assert execute.up_to_date(job) == is_current


def test_a_point_whose_code_changed_while_it_ran_is_no_result(small, workers, capsys):
    small.grid("a", "notebooks: 02_a\ncross: {x: [1]}")
    path = files.NOTEBOOKS / "02_a.ipynb"
    small.notebook(
        "02_a",
        PARAMETERS,
        f"""
from pathlib import Path
path = Path({str(path)!r})
path.write_text(path.read_text().replace("x = 0", "x = 1"))
x = 0""",
    )
    assert main(["a", *workers]) == 1
    assert "its code changed meanwhile: run it again" in capsys.readouterr().out


# Progress


def test_progress_is_a_table_in_a_terminal_and_lines_elsewhere(project):
    points = [Point(files.NOTEBOOKS / "02_a.ipynb", {"x": x, "run": "g"}, "") for x in (1, 2, 4)]
    jobs = [execute.job(point, project.runs / "g", own=True) for point in points]
    jobs[0].done.mkdir(parents=True)
    row = {"notebook": "02_a", "split": "test", "model": "daf", "variant": "ta", "metric": "mae"}
    rows = [{**row, "dataset": "mosi", "mean": 0.8}, {**row, "model": "oracle", "mean": 0.1}]
    (jobs[0].done / "metrics.json").write_text(json.dumps(rows))
    part = project.runs / "g" / f".{jobs[1].name}.00.part"
    part.mkdir()
    (part / "manifest.json").write_text('{"started": "2020-01-01T00:00:00+00:00"}')

    console = Console(record=True, width=120, force_terminal=False, file=StringIO())
    with Progress(jobs, 1, console) as progress:
        progress.tell(Outcome(jobs[0], "done", seconds=60))
        progress.tell(Outcome(jobs[2], "failed", "ValueError: x", 60))
        console.print(progress.table())
    text = console.export_text()
    assert "02_a x=1: done, 60 s; 1 of 3; about 2 min left; best mae 0.800: daf ta mosi" in text
    assert "02_a x=4: ValueError: x; 2 of 3, 1 failed; about 60 s left" in text
    lines = [line.split() for line in text.splitlines() if line.strip().startswith("02_a x=")]
    assert [line[:3] for line in lines] == [
        ["02_a", "x=2", "running"], ["02_a", "x=4", "ValueError:"], ["02_a", "x=1", "done"]
    ]  # fmt: skip
    assert [duration(s) for s in (40, 700, 9000, 1e6)] == ["40 s", "12 min", "2.5 h", "12 days"]
