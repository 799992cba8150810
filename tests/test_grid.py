"""A grid file: which points it makes, what is refused on which line, when a point is up to date."""

import re

import pytest

from mmlib import files
from mmlib.batch import closure, execute, grid, sources
from mmlib.batch.__main__ import main
from mmlib.batch.parameters import Point

CORPUS = 'dataset: str = "synthetic"  # synthetic | mosi | mmmo: which corpus\n'
REST = 'seeds: int = 2\nlr: float = 0.1\nfast: bool = False\nrun: str = "interactive"\n'


@pytest.fixture
def project(small):
    small.notebook("02_a", CORPUS + REST, "from mmlib.daf import tune")
    small.notebook("03_b", CORPUS + REST, "import mmlib.daf.fusion")
    return small


def made(project, text: str) -> list[dict]:
    project.grid("g", text)
    return [dict(point.parameters) for point in grid.read(grid.find("g")).points("r")]


def test_points_are_the_product_of_all_axes_less_the_excludes(project):
    points = made(
        project,
        """
        notebooks: [02_a, 03_b]
        fixed: {seeds: 20}
        cross: {lr: [0.1, 1]}
        zip: {dataset: [mosi, mmmo, synthetic], fast: [true, false, false]}
        exclude:
          - {dataset: [mmmo, synthetic], lr: 1}
          - {dataset: synthetic}
        """,
    )
    assert points == 2 * [
        {"seeds": 20, "lr": 0.1, "dataset": "mosi", "fast": True, "run": "r"},
        {"seeds": 20, "lr": 0.1, "dataset": "mmmo", "fast": False, "run": "r"},
        {"seeds": 20, "lr": 1, "dataset": "mosi", "fast": True, "run": "r"},
    ]


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (2, "notebooks: 02_a\nfixed: {sedes: 3}", "02_a: unknown parameter 'sedes'; choose one of"),
        (3, "notebooks: 02_a\ncross:\n  lr: [0.1, 1e-3]", "lr takes float, not '1e-3' .YAML reads"),
        (3, "notebooks: 02_a\ncross:\n  dataset: [imdb]", "unknown dataset 'imdb'; choose one of"),
        (5, "notebooks: 02_a\ncross:\n  lr:\n  - 1\n  - 1.0\n", "duplicate point: {'lr': 1.0}"),
        (4, "notebooks: 02_a\nzip:\n  lr: [1, 2]\n  seeds: [1]", "different lengths"),
        (3, "notebooks: 02_a\nfixed: {lr: 1}\ncross: {lr: [2]}", "lr is given twice"),
        (3, "notebooks: 02_a\nfixed:\n  {lr: 1, lr: 2}", "lr is given twice"),
        (2, "notebooks: 02_a\ncross: {lr: 1}", "needs a list"),
        (2, "notebooks: 02_a\nfixed: [lr]", "needs `name: value` lines"),
        (2, "notebooks: 02_a\nfixed: {run: x}", "give it by --run"),
        (3, "notebooks: 02_a\nfixed: {lr: 1}\nexclude: {lr: 2}", "which no point has"),
        (1, "notebooks: [02_a, 7]", "no notebook '7' in .*; there are 02_a, 03_b"),
        (1, "notebooks: [02_a, 02_a]", "02_a is listed twice"),
        (2, "notebooks: 02_a\nfixt: {lr: 1}", "unknown section 'fixt'"),
        (1, "fixed: {lr: 1}", "no `notebooks:`"),
        (4, "notebooks: 02_a\nfixed:\n  lr: [1\ncross: {}", "','"),
        (2, "notebooks: 02_a\n\tfixed: {lr: 1}", "tab|start any token"),
        (2, "notebooks: 02_a\nfixed: {lr: *other}", "undefined alias"),
        (2, "notebooks: 02_a\nfixed: {seeds: two}", "seeds takes int, not 'two'$"),
        (2, "notebooks: 02_a\nfixed: {lr: !!python/name:os.system x}", "could not determine"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(project, line, text, message):
    with pytest.raises(ValueError, match=rf"g\.yaml:{line}: .*{message}") as error:
        made(project, text)
    assert "\n" not in str(error.value)


def test_two_tables_of_one_name_are_refused(project, small):
    small.notebook(
        "04_c", 'dataset: str = "synthetic"  # synthetic: data\ntext_column: str = ""', ""
    )
    for a, b in (("a/x.csv", "b/x.csv"), ("a/x.1.csv", "b/x.csv.gz")):
        said = f"{a} and {b} have one name before the dot; rename one"
        with pytest.raises(ValueError, match=re.escape(said)):
            made(project, f"notebooks: 04_c\ncross: {{dataset: [{a}, {b}]}}")


def test_a_file_that_is_not_utf_8_is_refused_with_a_remedy(project, capsys):
    (path := project.root / "g.yaml").write_bytes("notebooks: café".encode("cp1252"))
    assert main([str(path)]) == 64
    assert capsys.readouterr().err.endswith("g.yaml: not UTF-8 (byte 14); save it as UTF-8\n")


@pytest.mark.parametrize("text", ["", "[]", "3", "notebooks: [", "a: b: c", "notebooks: []"])
def test_no_grid_at_all(project, capsys, text):
    project.grid("g", text)
    assert main(["g"]) == 64
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "g.yaml" in error and error.count("\n") == 1


def test_many_points_ask_first_and_a_filter_chooses(project, capsys):
    many = ", ".join(map(str, range(1, 1001)))
    project.grid("g", f"notebooks: 02_a\ncross: {{lr: [{many}], seeds: [{many}]}}")
    assert main(["g"]) == 64
    assert "1000000 points, about" in (said := capsys.readouterr().err) and "--yes" in said
    project.grid("h", f"notebooks: [02_a, 03_b]\ncross: {{lr: [{many}], fast: [true, false]}}")
    arguments = ["--filter", "fast=true", "--filter", "lr=7", "--filter", "notebook=03_b"]
    assert main(["h", "--dry-run", *arguments]) == 0
    assert "1 of 1 points to run" in capsys.readouterr().out
    arguments = ["--filter", "fast=true", "--filter", "lr=7", "--filter", "lr=8"]  # either
    assert main(["h", "--dry-run", *arguments]) == 0
    assert "4 of 4 points to run" in capsys.readouterr().out
    for wrong, said in (
        ("lr=0", "no point is left"),
        ("rate=1", "--filter: unknown parameter 'rate'; choose one of dataset"),
        ("lr", "write KEY=VALUE"),
        ("lr=[", "write KEY=VALUE"),
    ):
        assert main(["h", "--filter", wrong]) == 64 and said in capsys.readouterr().err
    assert not (project.runs / "h").exists()


def test_key_follows_code_parameters_and_data_but_not_the_text(project, monkeypatch):
    monkeypatch.setenv("MMLIB_DATA", str(project.root / "data"))
    (project.root / "data" / "mosi").mkdir(parents=True)

    def key(code: str = "1", **parameters) -> str:
        project.notebook("02_a", CORPUS + REST, code)
        point = Point(files.NOTEBOOKS / "02_a.ipynb", parameters, "")
        closure._code.cache_clear()
        return execute.job(point, project.runs, own=True).key

    first = key(dataset="mosi", run="one")
    assert key(dataset="mosi", run="other") == first
    keys = {
        first,
        key("2", dataset="mosi"),
        key(dataset="mosi", lr=0.2),
        key("import mmlib.daf.fusion"),
    }
    (project.root / "data" / "mosi" / "mosi.csv.gz").write_text("x")
    keys.add(key(dataset="mosi"))
    leak = sources.inputs(files.NOTEBOOKS / "02_a.ipynb", {"dataset": "mosi-leak"})
    assert [*leak["data"]] == ["mosi/mosi.csv.gz"]  # it lies in the folder of mosi
    (project.root / "clip.wav").write_text("x")
    project.notebook("02_a", 'clip: str = "clip.wav"\n', "1")
    point = Point(files.NOTEBOOKS / "02_a.ipynb", {}, "")
    assert len(keys) == 5 and list(sources.inputs(point.notebook, {})["data"]) == [
        f"{project.root.name}/clip.wav"
    ]


def test_code_behind_a_notebook_is_followed_through_imports_and_magics(project):
    code = "%matplotlib inline\nfrom mmlib.data import load\nfrom mmlib.daf import tune"
    project.notebook("02_a", CORPUS, code)
    found = sources.inputs(files.NOTEBOOKS / "02_a.ipynb", {})["code"]
    assert {
        "notebook",
        "mmlib/daf/tune.py",
        "mmlib/daf/train.py",
        "mmlib/daf/fusion.py",
        "settings.json",
    } <= {*found}
    assert {"mmlib/__init__.py", "mmlib/data/__init__.py", "mmlib/data/load.py"} <= {*found}
    columns = {"mmlib/covarep/__init__.py", "mmlib/covarep/columns.py"}  # their names alone
    assert not any("covarep" in name or "runs" in name for name in {*found} - columns)


def test_a_choice_of_another_data_set_leaves_a_point_up_to_date(project, tmp_path, monkeypatch):
    monkeypatch.setattr(sources.choices, "FILE", tmp_path / "settings.json")
    project.notebook("02_a", CORPUS + 'encoder: str = "minilm"\n', "from mmlib.daf import tune")
    notebook = files.NOTEBOOKS / "02_a.ipynb"

    def known(**parameters):
        return sources.inputs(notebook, parameters)["code"]["settings.json"]

    def change(place, **parameters):
        before = known(**parameters)
        sources.choices.store(place, "ta", "daf", {"settings": {}})
        return known(**parameters) != before

    assert not change("mmmo", dataset="mosi") and not change("mosi-mpnet", dataset="mosi")
    assert change("mosi", dataset="mosi") and not change("mosi", dataset="mosi-leak")
    assert change("mosi-leak", dataset="mosi-leak")
    assert change("data/mine.csv", dataset="data/mine.csv")
    assert not change("mosi-leak-mpnet", dataset="mosi", encoder="mpnet")
    assert change("mosi-leak-minilm", dataset="mosi-leak", encoder="minilm")
    assert change("mosei-mpnet", dataset="mosei", encoder="mpnet")
    assert change("mosei-minilm+mpnet", dataset="mosei", encoder="minilm", other="mpnet")
    assert not change("mosei-minilm+small", dataset="mosei", encoder="mpnet")
