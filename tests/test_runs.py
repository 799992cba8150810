"""Small notebooks through the real papermill: what runs, with what, and what a failure leaves."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import jupytext
import nbformat
import pytest
from rich.console import Console

from mmlib import files
from mmlib.batch import engine, execute
from mmlib.batch.__main__ import _tell_replaced, _tell_scores, main
from mmlib.batch.execute import Outcome
from mmlib.batch.parameters import Point, plan

CORPUS = 'dataset: str = "synthetic"  # synthetic | mosi: which corpus\n'
RUN = 'run: str = "interactive"  # results folder\n'


@pytest.fixture
def project(small):
    small.notebook("01_a", CORPUS + RUN + "lr: float = 0.1  # step\n", "print(dataset, run, lr)")
    small.notebook("02_b", RUN + "seeds: int = 2\nfast = False\n", "print(seeds / (seeds - 3))")
    small.notebook(
        "03_c", 'dataset: str = "synthetic"  # synthetic', "import sys; print(sys.prefix)"
    )
    return small


def test_a_notebook_follows_the_data_set_only_if_it_lists_it(project):
    points = plan("r", "mosi", {}, [])
    assert [(p.notebook.stem, p.dataset) for p in points] == [
        ("01_a", "mosi"),
        ("02_b", ""),
        ("03_c", "synthetic"),
    ]
    assert points[0].parameters == {"dataset": "mosi", "run": "r"}
    assert points[1].parameters == {"run": "r"}


def test_parameters_go_to_every_notebook_that_has_them_or_to_one(project):
    given = {"lr": 1, "dataset": "mosi", "02_b": {"seeds": 20, "fast": True}}
    one, two = plan("r", None, given, ["01", "02_b"])
    assert one.parameters == {"lr": 1, "run": "r", "dataset": "mosi"}
    assert two.parameters == {"seeds": 20, "fast": True, "run": "r"}
    assert plan("r", "synthetic", given, ["01"])[0].dataset == "synthetic"
    given = {"dataset": "mosi", "01_a": {"dataset": "synthetic"}}
    assert [p.dataset for p in plan("r", None, given, ["01", "02_b"])] == ["synthetic", ""]


def test_the_data_set_of_the_command_line_stands_for_that_of_the_file(small):
    for name, sets in (("01_a", "mosi | synthetic"), ("02_b", "mosi | mmmo")):
        small.notebook(name, f'dataset: str = "mosi"  # {sets}\n' + RUN, "1")
    for asked, in_file in (("synthetic", "mmmo"), ("synthetic", "synthetic")):
        points = plan("r", asked, {"dataset": in_file}, [])
        assert [p.dataset for p in points] == ["synthetic", "mosi"]  # 02_b keeps its default


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("r", None, {"dataset": False}, []), "no notebook takes data set False"),
        (("r", "imdb", {}, []), "no notebook takes data set 'imdb'; they take mosi, synthetic"),
        (
            ("r", None, {"sedes": 3}, []),
            "any notebook: unknown parameter 'sedes'; choose one of data",
        ),
        (("r", None, {"02_b": {"lr": 0.1}}, []), "02_b: unknown parameter 'lr'"),
        (("r", None, {"lr": "1e-3"}, []), "01_a: lr takes float, not '1e-3' .YAML reads"),
        (("r", None, {"run": "x"}, []), "`run` is the folder of the results: give it by --run"),
        (("r", None, {"02_b": {"run": "x"}}, []), "`run` is the folder of the results"),
        (("r", "mosi", {}, ["02"]), "no notebook takes data set 'mosi'; they take none"),
        (("r", None, {"seeds": 2.5}, []), "02_b: seeds takes int, not 2.5"),
        (("r", None, {"seeds": True}, []), "02_b: seeds takes int, not True"),
        (("r", None, {"fast": 1}, []), "02_b: fast takes bool, not 1"),
        (
            ("r", None, {"03_c": {"dataset": "mosi"}}, []),
            "03_c: unknown dataset 'mosi'; choose one of",
        ),
        (("r", None, {}, ["7"]), "no notebook '7' in .*; there are 01_a, 02_b, 03_c"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(project, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        plan(*arguments)
    assert "\n" not in str(error.value)


def test_command_line_refuses_in_one_line(project, capsys):
    bad = project.root / "bad.yaml"
    bad.write_text("seeds: [1\n")
    for arguments in (["--params", str(bad)], ["--params", "none.yaml"], ["--run", "../up"]):
        assert main(arguments) == 64
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    assert not (project.runs / "default").exists()


@pytest.mark.parametrize("name", ["mmlib.batch", "mmlib.runs"])
def test_command_is_found_by_its_name_and_by_the_one_before(name):
    for arguments, text in ([], "collect RUN"), (["verify"], "--points"):
        command = [sys.executable, "-m", name, *arguments, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "usage: python -m mmlib.batch" in done.stdout and text in done.stdout


def test_a_source_with_other_cells_is_told(project, capsys):
    source = project.root / "notebooks" / "01_a.py"
    jupytext.write(nbformat.read(source.with_suffix(".ipynb"), 4), source, fmt="py:percent")
    assert main(["--only", "01", "--dry-run"]) == 0
    assert "other cells" not in capsys.readouterr().out
    source.write_text(source.read_text().replace("print(", "print(1, "))
    assert main(["--only", "01", "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "01_a: its .py has other cells than the .ipynb, which is what runs" in said


def test_a_failure_is_counted_and_the_others_still_run(project, workers, capsys):
    params = project.root / "p.yaml"
    params.write_text("seeds: 3\n")
    assert main(["--run", "r", "--dataset", "mosi", "--params", str(params), *workers]) == 1
    assert project.folders("r") == ["01_a", "02_b.failed", "03_c"]
    assert project.printed("r", "01_a") == "mosi r 0.1\n"
    printed = capsys.readouterr().out
    assert "ZeroDivisionError: division by zero" in printed and "Where to look next" in printed
    assert "NAME is one of\n    01_a 03_c\n" in printed  # a failed one may have an older folder

    params.write_text("seeds: 4\n")
    assert main(["--run", "r", "--only", "02", "--params", str(params), *workers]) == 0
    assert project.folders("r") == ["01_a", "02_b", "03_c"]


def test_rows_in_git_are_not_replaced_without_a_word(project, capsys):
    (rows := project.runs / "kept" / "metrics.json").parent.mkdir()
    rows.write_text("[]")  # a notebook may store tables alone
    rows.with_name("provenance.json").write_text('{"01_a": {}, "05_e": {}}')
    jobs = [execute.job(point, rows.parent, own=False) for point in plan("kept", None, {}, [])]
    console = Console(markup=False, highlight=False, width=200)

    def told() -> str:
        _tell_replaced(jobs, "kept", console)
        return capsys.readouterr().out

    assert not told()  # no git at all
    git = ["git", "-C", str(project.root)]
    subprocess.run([*git, "init", "-q"], check=True)
    assert not told()
    subprocess.run([*git, "add", str(rows)], check=True)
    said = told()
    assert "papermill_runs/kept is in git: its results of 01_a will be replaced" in said
    assert "`git checkout papermill_runs/kept`" in said
    (figure := files.FIGURES / "kept" / "a.png").parent.mkdir(parents=True)
    figure.write_bytes(b"")
    subprocess.run([*git, "add", str(figure)], check=True)
    assert "`git checkout papermill_runs/kept figures/kept`" in told()


def test_a_batch_costs_what_its_notebooks_cost_before(project, capsys):
    for name, seconds in (("01_a", 20), ("01_a", 30), ("01_a", 40), ("02_b", 3000)):
        point = project.runs / "before" / f"{name}-{seconds}"
        point.mkdir(parents=True)
        record = {"state": "done", "notebook": name, "seconds": seconds, "parameters": {}}
        (point / "manifest.json").write_text(json.dumps(record))
    assert main(["--only", "01", "--dry-run"]) == 0
    assert "about 30 s on 1 workers" in capsys.readouterr().out
    assert main(["--only", "01", "02", "--dry-run", "--workers", "1"]) == 0
    assert "about 50 min on 1 workers" in capsys.readouterr().out  # not twice a median of all four


def test_the_end_of_a_run_of_all_notebooks_is_short(small):
    names = sorted(path.stem for path in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
    outcomes = []
    for name in names:
        small.notebook(name, "x: int = 1\n", "1")
        point = Point(files.NOTEBOOKS / f"{name}.ipynb", {}, "")
        job = execute.job(point, small.runs / "default", own=False)
        job.done.mkdir(parents=True)
        (job.done / f"{name}.ipynb").write_text("{}")
        outcomes.append(Outcome(job, "done"))
    console = Console(markup=False, highlight=False, width=120, file=StringIO())
    _tell_scores(outcomes, "default", console)
    lines = console.file.getvalue().splitlines()
    assert len(names) >= 18 and len(lines) <= 9  # `make run` finds about as many scores again
    assert max(map(len, lines)) <= 100 and set(names) <= set(" ".join(lines).split())


def test_kernels_are_this_python_whatever_is_installed(project, workers, monkeypatch):
    kernel = project.root / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["/bin/false"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(project.root))
    assert main(["--run", "r", "--only", "03", *workers]) == 0
    assert project.printed("r", "03_c").strip() == sys.prefix


def test_a_notebook_that_reads_results_comes_last(small, workers):
    trace = "from pathlib import Path\nimport time\n"
    path = 'path: str = ""  # of a file\n'
    small.notebook("01_r", path, trace + "print(Path(path).exists())", "reads-results")
    small.notebook("02_a", path, trace + "time.sleep(1); Path(path).touch()")
    params = small.root / "p.yaml"
    params.write_text(f"path: {small.root / 'there'}\n")
    assert main(["--run", "r", "--params", str(params), *workers]) == 0
    assert small.printed("r", "01_r") == "True\n"


def test_a_long_notebook_begins_first(small, monkeypatch):
    for name, tags in (("01_a", ()), ("02_b", ("long",)), ("03_c", ("reads-results",))):
        small.notebook(name, "x: int = 1", "", *tags)
    begun = []
    monkeypatch.setattr(engine, "run", lambda jobs, *_, **__: begun.extend(jobs) or [])
    assert main(["--run", "r"]) == 0
    assert [job.name for job in begun] == ["02_b", "01_a", "03_c"]
