"""The project holds together: pins, imports, notebook pairs, stored outputs, stored runs."""

import ast
import hashlib
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmlib.batch import grid
from mmlib.batch.parameters import declared, plan, point, read_parameters
from mmlib.files import NOTEBOOKS, ROOT, RUNS, data_root
from mmlib.finetune.config import read_config
from mmlib.scores import results

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETUP = re.search(r"--editable '\.\[(.*)\]'", (ROOT / "Makefile").read_text())[1].split(",")
EXTRAS = {name: PROJECT["optional-dependencies"][name] for name in SETUP}  # the others: if wanted
DECLARED = PROJECT["dependencies"] + [r for extra in EXTRAS.values() for r in extra]
LOCK = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines())
CUDA = ("nvidia", "triton", "cuda")
SOURCES = sorted(NOTEBOOKS.glob("[0-9]*.py"))
each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


# Pins


def test_conda_environment_is_the_projects():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *base, pip = environment["dependencies"]
    assert base == [f"python{PROJECT['requires-python']}", "pip"]
    options = {line for line in pip["pip"] if line.startswith("-")}
    assert options == {"--constraint requirements.lock", "--editable ."}
    assert sorted(set(pip["pip"]) - options) == sorted(DECLARED)


def test_lock_is_names_and_versions_and_leaves_cuda_to_pip():
    for name, version in LOCK.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name) and not name.lower().startswith(CUDA)
        assert re.fullmatch(r"[0-9][A-Za-z0-9.]*", version), f"{name}=={version}"


@pytest.mark.parametrize("requirement", list(map(Requirement, DECLARED)), ids=lambda r: r.name)
def test_lock_satisfies_what_is_declared(requirement):
    pinned = {canonicalize_name(name): version for name, version in LOCK.items()}
    assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_lock_pins_all_that_is_needed_here():
    def needs(name: str, extras: tuple[str, ...], found: set[str]) -> set[str]:
        for requirement in map(Requirement, distribution(name).requires or []):
            marker = requirement.marker
            wanted = not marker or any(marker.evaluate({"extra": e}) for e in ("", *extras))
            key = canonicalize_name(requirement.name)
            if wanted and key not in found and not key.startswith(CUDA):
                found.add(key)
                needs(key, tuple(requirement.extras), found)
        return found

    needed = needs("mmlib", tuple(EXTRAS), set())
    assert needed - {canonicalize_name(name) for name in LOCK} == set()


# Notebooks: the .py is the source, the .ipynb its run


def stored(source: Path):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def code_cells(source: Path):
    return [c for c in stored(source).cells if c.cell_type == "code" and c.source.strip()]


def test_notebooks_are_numbered_in_reading_order():
    numbers = [path.stem.partition("_")[0] for path in SOURCES]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d\d[a-z]?_[a-z_]+", path.stem) for path in SOURCES)
    assert {p.stem for p in NOTEBOOKS.glob("*.ipynb")} == {p.stem for p in SOURCES}


@each_notebook
def test_header_names_the_format_and_the_kernel(source):
    header = jupytext.read(source).metadata
    assert header["kernelspec"]["name"] == "python3"
    assert header["jupytext"]["text_representation"]["format_name"] == "percent"
    assert "jupytext_version:" not in source.read_text()


@each_notebook
def test_pair_agrees_cell_by_cell(source):
    def cells(notebook):
        return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in notebook.cells]

    assert cells(stored(source)) == cells(jupytext.read(source))


@each_notebook
def test_stored_run_is_whole_and_clean(source):
    cells = code_cells(source)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    for output in (output for cell in cells for output in cell.outputs):
        assert output.output_type != "error" and output.get("name") != "stderr", output


@each_notebook
def test_nearly_all_outputs_are_compared(source):
    shown = [c for c in code_cells(source) if c.outputs]
    ignored = [c for c in shown if "nbval-ignore-output" in c.metadata.get("tags", [])]
    assert len(ignored) <= 0.3 * len(shown)


@each_notebook
def test_papermill_sees_every_parameter(source):
    (cell,) = [c for c in stored(source).cells if "parameters" in c.metadata.get("tags", [])]
    lines = [node for node in ast.parse(cell.source).body if isinstance(node, ast.AnnAssign)]
    assert len(lines) == len(ast.parse(cell.source).body), "one `name: type = value` a line"
    seen = papermill.inspect_notebook(source.with_suffix(".ipynb"))
    assert set(seen) == {line.target.id for line in lines}
    for name, parameter in seen.items():
        assert parameter["inferred_type_name"] != "None" and parameter["help"], name
    for line in lines:
        default = ast.literal_eval(seen[line.target.id]["default"])
        assert default == ast.literal_eval(line.value), "papermill cut the default short"
    assert seen["run"]["default"] == '"interactive"'


# Stored runs


@pytest.mark.parametrize("path", sorted(RUNS.glob("params/*.yaml")), ids=lambda path: path.stem)
def test_parameter_files_fit_the_notebooks(path):
    assert plan(path.stem, None, read_parameters(path), [])


@pytest.mark.parametrize("path", sorted(RUNS.glob("grids/*.yaml")), ids=lambda path: path.stem)
def test_grids_fit_the_notebooks(path):
    points = [point.parameters for point in grid.read(path).points(path.stem)]
    assert points and all(point["run"] == path.stem for point in points)


@pytest.mark.parametrize("path", sorted(RUNS.glob("finetune/*.yaml")), ids=lambda path: path.stem)
def test_fine_tuning_configurations_can_be_read(path):
    assert read_config(path).encoders


@pytest.mark.real
@pytest.mark.parametrize("run", [r for r in results.runs() if r not in ("default", "interactive")])
def test_stored_runs_used_the_data_that_is_here(run):
    for notebook, origin in results.origins(run).items():
        for name, checksum in origin["data"].items():
            places = (data_root(), ROOT / "mmlib" / "data")  # some sentences come with the project
            path = next((p for place in places for p in place.rglob(Path(name).name)), None)
            if path is None:
                pytest.skip("no data")
            assert hashlib.sha256(path.read_bytes()).hexdigest() == checksum, f"{notebook}: {name}"


# Code of others


def test_no_model_may_bring_code():
    """Without the argument transformers asks on the terminal whether to run it."""
    folders = (ROOT / "mmlib", NOTEBOOKS, ROOT / "tests")
    calls = [
        (path, node)
        for path in (path for folder in folders for path in folder.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained"
    ]
    assert len(calls) > 10
    for path, node in calls:
        given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        assert given.get("trust_remote_code") is False, f"{path.name}, line {node.lineno}"


@pytest.mark.parametrize(
    "stem", ["02_daf", "05_dyfulm", "06_dyfulm_ablations", "07_dyfulm_interpretability"]
)
def test_a_table_of_one_s_own_is_taken_with_its_columns(stem, tmp_path):
    path = tmp_path / f"{stem}.ipynb"
    jupytext.write(jupytext.read(NOTEBOOKS / f"{stem}.py"), path)
    columns = {"text_column": "Comment", "label_column": "Stars", "group_column": "Hotel"}
    columns["classes"] = "bad, fair, good"
    assert point(path, declared(path), {"dataset": "mine.csv", **columns}).dataset == "mine.csv"
    with pytest.raises(ValueError, match="dataset"):
        point(path, declared(path), {"dataset": "mine", **columns})
    assert (
        "columns(text=text_column, label=label_column, group=group_column, classes=classes)"
        in (NOTEBOOKS / f"{stem}.py").read_text()
    )
