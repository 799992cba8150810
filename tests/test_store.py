"""Results are read where they were written, and a file that was cut off counts as not done."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mmlib import files
from mmlib.batch.__main__ import main
from mmlib.scores import provenance, results, runs, store
from mmlib.scores.ledger import judged

PLACE = {"notebook": "02_a", "dataset": "mosi", "variant": "ta", "split": "test", "metric": "mae"}
PAIR = {**PLACE, "a": "daf", "b": "text", "diff": -0.1, "ci_low": -0.2, "ci_high": -0.1}
CUTS = (0.0, 0.3, 0.5, 0.9)  # how much of a file is left


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    store._warn.cache_clear()
    monkeypatch.setattr(files, "RUNS", tmp_path)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.delenv("MMLIB_POINT", raising=False)
    return tmp_path


def save(run: str, scores=(1.0, 2.0), notebook: str = "02_a") -> Path:
    place = {**PLACE, "model": "daf", "notebook": notebook}
    pair = {**PAIR, "notebook": notebook, "p": 0.01, "p_holm": 0.01}
    rows = [results.row(scores, (0, 9), **place)]
    return results.save(rows, run, notebook, comparisons=[pair], checksums={"f.csv": "ab"})


def point(run: str, name: str, scores=(1.0, 2.0), **record: object) -> Path:
    """A finished point of a grid, as a batch leaves it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMLIB_POINT", str(files.RUNS / run / name))
        path = save(run, scores).parent
    facts = {"commit": "c", "device": "d", "versions": {"python": "3"}, "key": "k", "session": "s"}
    told = {"notebook": "02_a", "parameters": {"x": name}, "state": "done", "finished": "2026"}
    (path / "manifest.json").write_text(json.dumps({**told, **facts, **record}))
    return path


def cut(path: Path, left: float) -> bytes:
    """Cut a file off, as a loss of power does; returns what is left of it."""
    kept = path.read_bytes()[: int(left * path.stat().st_size)]
    path.write_bytes(kept)
    return kept


# Files that a loss of power left empty or cut off


@pytest.mark.parametrize("left", CUTS)
@pytest.mark.parametrize("name", store.FILES)
def test_a_cut_file_of_a_run_stops_no_reader_of_another(folder, caplog, name, left):
    for run in ("mosi", "sst5"):
        save(run)
    cut(folder / "mosi" / name, left)
    for _ in range(2):
        assert results.runs() == ["sst5"]
    (line,) = [record.getMessage() for record in caplog.records]  # said once, in one line
    assert str(folder / "mosi" / name) in line and "counts as not done" in line
    assert "\n" not in line
    readers = (results.load, results.load_comparisons, results.origins)
    for each, read in zip(store.FILES, readers, strict=True):
        assert len(read("sst5"))
        if each == name:
            with pytest.raises(ValueError, match=rf"{name} is .* damaged; the command that") as at:
                read("mosi")
            assert "\n" not in str(at.value)
        else:
            assert len(read("mosi"))
    assert set(judged()["verdict"]) == {"not testable here"}  # no line rests on a half-read run


def test_a_run_of_which_a_file_is_missing_is_not_listed(folder, caplog):
    save("mosi")
    (folder / "mosi" / "comparisons.json").unlink()
    assert results.runs() == []
    assert "comparisons.json is missing" in caplog.text


@pytest.mark.parametrize("left", CUTS)
@pytest.mark.parametrize("name", store.FILES)
def test_saving_moves_a_cut_file_aside_and_loses_nothing(folder, caplog, name, left):
    save("mosi", notebook="02_a")
    save("mosi", notebook="03_b")
    kept = cut(folder / "mosi" / name, left)
    save("mosi", notebook="02_a")
    (aside,) = (folder / "mosi").glob("*.damaged-*")
    assert aside.name.startswith(name) and aside.read_bytes() == kept
    assert aside.name in caplog.text and "made anew" in caplog.text
    assert results.runs() == ["mosi"]
    save("mosi", notebook="03_b")
    assert set(results.load("mosi")["notebook"]) == {"02_a", "03_b"}
    assert set(results.origins("mosi")) == {"02_a", "03_b"}
    assert list((folder / "mosi").glob("*.damaged-*")) == [aside]


def test_the_ledger_says_unknown_where_an_origin_was_lost(folder):
    for notebook in ("02_daf", "03_b"):
        row = results.row([0.7, 0.8], (0, 9), **{**PLACE, "model": "lmf", "notebook": notebook})
        results.save([row], "mosi", notebook)
    cut(folder / "mosi" / "provenance.json", 0.5)
    results.save([], "mosi", "03_b")
    line = judged().query("system == 'LMF' and dataset == 'mosi' and metric == 'mae'").iloc[0]
    assert (line["verdict"], line["command"], line["hardware"]) == ("inside", *["unknown"] * 2)


@pytest.mark.parametrize("left", CUTS)
@pytest.mark.parametrize("name", ["manifest.json", *store.FILES])
def test_a_point_with_a_cut_file_is_not_done(folder, caplog, name, left):
    good, bad = point("g", "a"), point("g", "b", (5.0, 6.0))
    assert len(runs.collect("g")) == 2
    cut(bad / name, left)
    assert runs.manifest(bad) == {} and runs.manifest(good)["state"] == "done"
    assert set(runs.manifests("g")) == {good}
    assert runs.collect("g")["mean"].tolist() == [1.5]
    assert str(bad / name) in caplog.text


@pytest.mark.parametrize("left", CUTS)
def test_commands_on_other_runs_go_on(folder, capsys, left):
    for run in ("a", "b", "c"):
        point(run, "x"), save(run)
    for name in store.FILES:
        cut(folder / "c" / name, left)
        cut(folder / "c" / "x" / name, left)
    cut(folder / "c" / "x" / "manifest.json", left)
    assert main(["collect", "a"]) == main(["compare", "a", "b"]) == 0
    assert "rows: equal" in capsys.readouterr().out
    assert main(["collect", "c"]) != 0  # it has nothing left
    assert "no finished point and no rows" in capsys.readouterr().err


def test_tables_beside_the_rows_are_read_as_empty_when_cut(folder, caplog):
    path = results.save_table(pd.DataFrame({"a": [1, 2]}), "mosi", "diagnosis")
    cut(path, 0.5)
    assert results.load_table("mosi", "diagnosis").empty and str(path) in caplog.text


# The point that this process executes


def test_a_point_reads_back_what_it_wrote_and_sees_the_other_runs(folder, monkeypatch):
    save("mosi", (3.0, 4.0)), save("grid", (7.0, 8.0))
    table = pd.DataFrame({"a": [1]})
    results.save_table(table, "mosi", "diagnosis")
    monkeypatch.setenv("MMLIB_POINT", str(folder / "grid" / ".x.part"))
    assert results.load("grid")["mean"].tolist() == [7.5]  # it has written nothing yet
    path = save("grid", (1.0, 2.0))
    assert path == folder / "grid" / ".x.part" / "metrics.json"
    assert results.load("grid")["mean"].tolist() == [1.5]
    assert results.load_comparisons("grid")["diff"].tolist() == [-0.1]
    assert set(results.origins("grid")) == {"02_a"}
    assert runs.collect("grid")["mean"].tolist() == [1.5]
    assert results.load("mosi")["mean"].tolist() == [3.5]
    assert results.load_table("grid", "diagnosis").empty
    results.save_table(table.assign(a=2), "grid", "diagnosis")
    assert results.load_table("grid", "diagnosis")["a"].tolist() == [2]
    assert results.load_table("mosi", "diagnosis")["a"].tolist() == [1]
    monkeypatch.delenv("MMLIB_POINT")
    assert results.load("grid")["mean"].tolist() == [7.5]  # the run's own file is untouched


def test_a_point_lists_the_run_that_it_has_written(folder, monkeypatch):
    save("mosi")
    monkeypatch.setenv("MMLIB_POINT", str(folder / ".verify" / "x"))
    save("mine")
    assert results.runs() == ["mine", "mosi"]
    assert results.load("mine")["mean"].tolist() == [1.5]
    monkeypatch.setenv("MMLIB_POINT", str(folder / ".verify" / "y"))  # another point
    assert results.runs() == ["mosi"]


# What results were made from


def test_differences_name_the_encoder_that_is_another_one(folder):
    files_of = {"minilm": {"model.safetensors": "1", "tokenizer.json": "t"}, "other": {"m": "9"}}
    point("a", "x", encoders=files_of, notes="not compared")
    point("b", "x", encoders={**files_of, "minilm": {"model.safetensors": "2"}}, notes="at all")
    point("c", "x", encoders={"minilm/model.safetensors": "3"})
    (line,) = runs.differences("a", "b").to_dict("records")
    assert line == {
        "notebook": "02_a", "what": "encoders minilm model.safetensors", "a": "1", "b": "2"
    }  # fmt: skip
    assert runs.made_by("c")["02_a"]["encoders minilm/model.safetensors"] == "3"


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


def test_a_repository_is_clean_changed_or_unknown(folder, monkeypatch, caplog):
    monkeypatch.setattr(provenance, "ROOT", folder)
    git(folder, "init")
    (folder / "code.py").write_text("1")
    git(folder, "add", "code.py")
    git(folder, "commit", "-m", "x")
    here = provenance.here({}, {})
    assert (len(here["commit"]), here["dirty"], provenance.diff()) == (40, False, "")
    (folder / "code.py").write_bytes("é".encode("latin1"))  # any file may be in a diff
    assert provenance.here({}, {})["dirty"] is True and len(provenance.diff()) == 64
    assert not caplog.records
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as of a container's other user
    for _ in range(2):
        here = provenance.here({}, {})
        assert (here["commit"], here["dirty"], provenance.diff()) == ("unknown",) * 3
    (line,) = [record.getMessage() for record in caplog.records]
    assert "ownership" in line and "unknown" in line and "\n" not in line


def test_without_git_the_commit_is_unknown(folder, monkeypatch, caplog):
    monkeypatch.setattr(provenance, "ROOT", folder)
    monkeypatch.setenv("PATH", str(folder))
    here = provenance.here({}, {})
    assert (here["commit"], here["dirty"], provenance.diff()) == ("unknown",) * 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_the_command_is_the_batch_s_or_this_process_own(folder, monkeypatch):
    monkeypatch.delenv("MMLIB_COMMAND", raising=False)
    assert provenance.here({}, {})["command"] == "by hand"
    main_module = sys.modules["__main__"]
    spec = type("Spec", (), {"name": "mmlib.finetune.__main__"})
    monkeypatch.setattr(main_module, "__spec__", spec, raising=False)
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py", "a b.yaml", "--seed", "1"])
    command = "python -m mmlib.finetune 'a b.yaml' --seed 1"
    assert provenance.here({}, {})["command"] == command
    monkeypatch.setenv("MMLIB_COMMAND", "python -m mmlib.batch g")
    assert provenance.here({}, {})["command"] == "python -m mmlib.batch g"


def test_scores_and_figures_load_neither_torch_nor_papermill():
    names = [
        ".".join(path.relative_to(Path(files.__file__).parents[1]).with_suffix("").parts)
        for room in ("scores", "figures")
        for path in Path(files.__file__).with_name(room).glob("*.py")
        if path.name not in ("__init__.py", "stepper.py")  # a notebook's slider needs IPython
    ]
    code = f"import sys, {', '.join(names)}; print({{'torch', 'papermill'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(names) > 8 and done.stdout.strip() == "set()"
