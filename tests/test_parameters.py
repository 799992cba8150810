"""Notebooks with other parameters than their defaults: no cell stops."""

import jupytext
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from mmlib.data import SPLITS
from mmlib.files import NOTEBOOKS


def execute(name: str, until: str = "", **given: object) -> dict[str, object]:
    """Execute a notebook's code cells, up to the one that holds `until`; returns its names."""
    names: dict[str, object] = {}
    for cell in jupytext.read(NOTEBOOKS / f"{name}.py").cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, name, "exec"), names)
            if "parameters" in cell.metadata.get("tags", ()):
                assert set(given) <= set(names), "no such parameter"
                names |= given
            if until and until in cell.source:
                break
    plt.close("all")
    return names


@pytest.fixture(autouse=True)
def point(tmp_path, monkeypatch):
    """What the notebooks store goes into a folder of the test, and their styles end with it."""
    monkeypatch.setenv("MMLIB_POINT", str(tmp_path))
    with plt.rc_context():
        yield
    pd.reset_option("display")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        pytest.param("02_daf", {"modalities": "text", "seeds": 1}, marks=pytest.mark.slow),
        ("03_daf_ablations", {"models": "audio daf", "utterances": 300, "seeds": 1}),
        ("04_daf_interpretability", {"modalities": "text audio", "seeds": 1}),
        ("06_dyfulm_ablations", {"utterances": 200, "seeds": 1}),
        ("08b_tables", {"metrics": "corr acc2_non0"}),
        pytest.param(
            "10_both_papers",
            {"modalities": "text audio", "utterances": 300, "seeds": 1},
            marks=pytest.mark.slow,
        ),
        ("11_transfer", {"targets": "", "utterances": 300, "utterances_beside": 300, "seeds": 1}),
        ("13_your_texts", {"texts": "The room was clean and quiet.\nTo be, or not to be."}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_notebook_takes_other_parameters(name, given):
    execute(name, **given)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("02_daf", {"modalities": "audio vision", "transfer": "mosi"}, "add text to modalities"),
        ("03_daf_ablations", {"modalities": "text", "noise": True}, "set noise to False"),
        ("10_both_papers", {"modalities": "text"}, "need voice or face"),
        ("11_transfer", {"targets": "made_up synthetic"}, "no data set in targets"),
        ("13_your_texts", {"texts": "Great hotel, thanks!"}, "no text can be read: too short"),
    ],
)
def test_what_a_notebook_cannot_do_is_said_before_anything_is_trained(
    monkeypatch, name, given, words
):
    monkeypatch.setattr("mmlib.stack.training.fit", lambda *_, **__: pytest.fail("it trains"))
    with pytest.raises(ValueError, match=words):
        execute(name, **given)


def test_some_of_a_sorted_table_has_every_split(monkeypatch, tmp_path):
    """03 on CMU-MOSEI, whose rows are sorted by split."""
    lines = [
        f"{split}{i // 9},{i},word,{i % 7 - 3},{split}" for split in SPLITS for i in range(1500)
    ]
    (tmp_path / "mosei").mkdir()
    table = "\n".join(["video_id,clip_id,text,label,mode", *lines])
    (tmp_path / "mosei" / "label.csv").write_text(table)
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path))
    corpus = execute("03_daf_ablations", "corpus.sample", dataset="mosei")["corpus"]
    assert len(corpus) == 2000 and {*corpus.split} == set(SPLITS)
