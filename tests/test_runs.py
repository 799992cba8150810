"""Small notebooks through the real papermill: what runs, with what, and what a failure leaves."""

import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mmlib import paths, results
from mmlib.runs.__main__ import main
from mmlib.runs.execute import check_kernel
from mmlib.runs.plan import plan

CORPUS = 'dataset: str = "synthetic"  # synthetic | mosi: which corpus\n'


def write(folder, name: str, parameters: str, code: str) -> None:
    cell = new_code_cell(parameters)
    cell.metadata["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = new_notebook(cells=[cell, new_code_cell(code)], metadata=kernel)
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    run = 'run: str = "interactive"  # results folder\n'
    write(folder, "01_a", CORPUS + run + "lr: float = 0.1  # step\n", "print(dataset, run, lr)")
    write(folder, "02_b", run + "seeds: int = 2\nfast = False\n", "print(seeds / (seeds - 3))")
    write(
        folder, "03_c", 'dataset: str = "synthetic"  # synthetic', "import sys; print(sys.prefix)"
    )
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(results, "RUNS", tmp_path / "papermill_runs")
    return tmp_path


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("r", "imdb", {}, []), "no notebook takes data set 'imdb'; they take mosi, synthetic"),
        (("r", None, {"sedes": 3}, []), "any notebook: unknown parameter 'sedes'; there are data"),
        (("r", None, {"02_b": {"lr": 0.1}}, []), "02_b: unknown parameter 'lr'"),
        (("r", None, {"lr": "1e-3"}, []), "01_a: lr takes float, not '1e-3' .YAML reads"),
        (("r", None, {"seeds": 2.5}, []), "02_b: seeds takes int, not 2.5"),
        (("r", None, {"seeds": True}, []), "02_b: seeds takes int, not True"),
        (("r", None, {"fast": 1}, []), "02_b: fast takes bool, not 1"),
        (("r", None, {"03_c": {"dataset": "mosi"}}, []), "03_c: dataset 'mosi' is none of"),
        (("r", None, {}, ["7"]), "no notebook '7' in .*; there are 01_a, 02_b, 03_c"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(project, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        plan(*arguments)
    assert "\n" not in str(error.value)


def test_command_line_refuses_in_one_line(project, capsys):
    bad = project / "bad.yaml"
    bad.write_text("seeds: [1\n")
    for arguments in (["--params", str(bad)], ["--params", "none.yaml"], ["--run", "../up"]):
        assert main(arguments) == 64
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    assert not (project / "papermill_runs").exists()


def test_a_failure_is_counted_and_the_others_still_run(project, capsys):
    params = project / "p.yaml"
    params.write_text("seeds: 3\n")
    assert main(["--run", "r", "--dataset", "mosi", "--params", str(params)]) == 1
    there = {p.name for p in (project / "papermill_runs" / "r").iterdir()}
    assert there == {"01_a.ipynb", "02_b.failed.ipynb", "03_c.ipynb"}
    assert outputs(project, "01_a") == "mosi r 0.1\n"
    printed = capsys.readouterr().out
    assert "ZeroDivisionError: division by zero" in printed and "Where to look next" in printed

    params.write_text("seeds: 4\n")
    assert main(["--run", "r", "--only", "02", "--params", str(params)]) == 0
    there = {p.name for p in (project / "papermill_runs" / "r").iterdir()}
    assert there == {"01_a.ipynb", "02_b.ipynb", "03_c.ipynb"}


def outputs(project, name: str) -> str:
    path = project / "papermill_runs" / "r" / f"{name}.ipynb"
    return nbformat.read(path, as_version=4).cells[-1].outputs[0].text


def test_notebooks_run_in_this_python(project):
    assert main(["--run", "r", "--only", "03"]) == 0
    assert outputs(project, "03_c").strip() == sys.prefix


def test_another_python_behind_the_kernel_is_refused(tmp_path, monkeypatch):
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["/bin/sh"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="ipykernel install --sys-prefix"):
        check_kernel()
