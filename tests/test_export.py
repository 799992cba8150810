"""MMSA's pickle made from a corpus of ours, and read back by the reader of such pickles."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from test_data import csd_folder, mmsa_pickle, mosi_csv

from mmlib.data import SPLITS, Corpus, DataError, Sequences, load
from mmlib.data.corpus import Scale
from mmlib.data.export import mmsa_ids, write_mmsa, write_mosi
from mmlib.data.readers.mmsa import read_mmsa
from mmlib.data.readers.unpickle import load_pickle
from mmlib.files import NOTEBOOKS


def sequences(lengths, d, m="audio"):
    values = np.random.default_rng(0).normal(size=(sum(lengths), d))
    return Sequences(values, np.array(lengths), tuple(f"{m}_{i}" for i in range(d)))


@pytest.fixture
def corpus():
    """Rows out of the order of their splits, one without voice, one without words."""
    return Corpus(
        name="own",
        variant="made here",
        ids=("a_1", "b_1", "a_2", "c$_$1", "b_2", "c_1"),
        groups=("a", "b", "a", "c", "b", "c"),
        split=np.array(["train", "test", "train", "valid", "test", "valid"]),
        label=np.array([-3, 0, 1.5, 0.25, 3, -0.5]),
        text=("so bad", "well", "good", "", "great", "meh"),
        sequences={
            "audio": sequences([2, 1, 0, 3, 1, 4], 3),
            "vision": sequences([1] * 6, 2, "vision"),
        },
    )


def same(a: Sequences, b: Sequences):
    np.testing.assert_array_equal(a.values, b.values)
    assert a.lengths.tolist() == b.lengths.tolist()


def order(corpus):
    return corpus.take(np.concatenate([corpus.rows(split) for split in SPLITS]))


def test_a_round_trip_keeps_everything(corpus, tmp_path):
    corpus = replace(corpus, ids=("a_1", "b_1", "a_2", "c$_$1", "b_2", "c$_$c_7"))
    tokens = [np.full((k, 4), k + 1.0) for k in (3, 1, 2, 5, 1, 2)]
    path = write_mmsa(f"{tmp_path}/own.pkl", corpus, tokens)
    back, expected = read_mmsa(path, text_features=True, dims=(3, 2)), order(corpus)
    assert back.ids == ("a$_$1", "a$_$2", "c$_$1", "c$_$c_7", "b$_$1", "b$_$2")
    assert back.ids == mmsa_ids(expected) == mmsa_ids(back)
    assert back.groups == expected.groups and back.text == expected.text
    assert back.split.tolist() == expected.split.tolist()
    np.testing.assert_array_equal(back.label, expected.label)
    for m in ("audio", "vision"):
        same(back.sequences[m], expected.sequences[m])
    assert [row.tolist() for row in map(back.sequences["text"].__getitem__, range(6))] == [
        tokens[i].tolist() for i in (0, 2, 3, 5, 1, 4)
    ]
    again = write_mmsa(tmp_path / "again.pkl", replace(back, name="own"))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("low, high", [(1, 5), (-1, 1)])
def test_labels_of_any_scale_become_mmsa_s(corpus, tmp_path, low, high):
    corpus = replace(corpus, ids=tuple("abcdef"))
    stars = corpus.label / 6 * (high - low) + (low + high) / 2
    mine = replace(corpus, label=stars, scale=Scale("stars", low, high))
    plain, back = (
        read_mmsa(write_mmsa(tmp_path / "a.pkl", c), dims=(3, 2)) for c in (corpus, mine)
    )
    np.testing.assert_allclose(back.label, plain.label, atol=1e-6)
    content = load_pickle(tmp_path / "a.pkl")["test"]
    assert content["annotations"] == ["Neutral", "Positive"]


def test_a_pickle_of_their_users_comes_back_as_it_was(tmp_path):
    mmsa_pickle(tmp_path, name="unaligned_50.pkl", aligned=False)
    corpus = load("mosi", tmp_path, text_features=True)
    write_mmsa(tmp_path / "new" / "unaligned_50.pkl", corpus)  # makes the folder
    back = read_mmsa(tmp_path / "new" / "unaligned_50.pkl", text_features=True)
    assert (back.ids, back.groups, back.text) == (corpus.ids, corpus.groups, corpus.text)
    np.testing.assert_array_equal(back.label, corpus.label)
    for m in ("text", "audio", "vision"):
        same(back.sequences[m], corpus.sequences[m])


def test_the_file_has_the_keys_and_shapes_of_mmsa(corpus, tmp_path):
    corpus = replace(corpus, ids=tuple("abcdef"))
    path = write_mmsa(tmp_path / "own.pkl", corpus, [np.ones(4)] * 6)  # a vector each
    content = load_pickle(path)
    assert tuple(content) == SPLITS
    train = content["train"]
    assert train["id"] == ["a$_$a", "a$_$c"] and train["raw_text"] == ["so bad", "good"]
    assert train["audio"].shape == (2, 4, 3) and train["text"].shape == (2, 1, 4)
    assert train["audio_lengths"] == [2, 1] and not train["audio"][1].any()  # 0 cannot be packed
    assert train["regression_labels"].dtype == train["text"].dtype == np.float32
    assert content["test"]["classification_labels"].tolist() == [1, 2]
    assert content["test"]["annotations"] == ["Neutral", "Positive"]
    assert pickle.loads(path.read_bytes()).keys() == content.keys()  # as MMSA opens it


def test_a_modality_that_is_not_there_is_one_column_of_zeros(tmp_path):
    mosi_csv(tmp_path)
    corpus = load("mosi", tmp_path, modalities=("text",))
    path = write_mmsa(tmp_path / "own.pkl", corpus)
    test = load_pickle(path)["test"]
    n = len(corpus.rows("test"))
    assert test["audio"].shape == test["vision"].shape == (n, 1, 1) and "text" not in test
    assert not test["vision"].any() and test["vision_lengths"] == [1] * n
    back = read_mmsa(path, modalities=("text",), dims=(1, 1))
    assert back.ids == mmsa_ids(order(corpus)) and back.modalities == ("text",)
    assert set(back.groups) == set(corpus.groups)


REFUSED = {
    "no label": (lambda c: replace(c, split=["test"] * 6, label=[np.nan] * 6), "has no labels"),
    "no test": (lambda c: c.take(np.array([0, 2, 3])), "has no utterance in split test"),
    "separator": (lambda c: replace(c, groups=("a[1]", *c.groups[1:])), r"group 'a\[1\]'"),
    "one id": (lambda c: c, r"two utterances have the id 'c\$_\$1'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_mmsa_cannot_hold_is_refused_in_one_line(corpus, tmp_path, case):
    change, words = REFUSED[case]
    with pytest.raises(DataError, match=words) as error:
        write_mmsa(tmp_path / "own.pkl", change(corpus))
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", [[np.ones(4)] * 5, [np.ones(4)] * 5 + [np.ones(3)], [np.ones((1, 2, 4))] * 6]
)
def test_texts_that_do_not_fit_are_refused(corpus, tmp_path, text):
    corpus = replace(corpus, ids=tuple("abcdef"))
    with pytest.raises(DataError, match=r"text has \d entries for 6 utterances"):
        write_mmsa(tmp_path / "own.pkl", corpus, text)


def test_mosi_as_one_table_from_cmus_files(tmp_path):
    csd_folder(tmp_path)
    corpus = load("mosi", tmp_path, vision=None)
    path = write_mosi(f"{tmp_path}/mosi/mosi.csv.gz", corpus)  # text, as on the page of data
    back = load("mosi", tmp_path)  # the table comes before the .csd files
    assert back.checksums.keys() == {"mosi.csv.gz"}
    assert (back.text, back.groups) == (corpus.text, corpus.groups)
    assert back.ids == tuple(i.replace("[", "_").removesuffix("]") for i in corpus.ids)
    assert back.split.tolist() == corpus.split.tolist()
    np.testing.assert_array_equal(back.label, corpus.label)
    audio = corpus.sequences["audio"].only(back.sequences["audio"].columns)
    heard = np.flatnonzero(audio.lengths)
    means = [audio[i].mean(axis=0) for i in heard]
    np.testing.assert_allclose(back.sequences["audio"].values, means, rtol=1e-6)
    assert back.sequences["audio"].lengths.tolist() == (audio.lengths > 0).tolist()
    before = path.read_bytes()
    assert write_mosi(path, corpus).read_bytes() == before


def test_mosi_as_one_table_needs_covarep_words_and_labels(corpus, tmp_path):
    path = tmp_path / "mosi.csv.gz"
    with pytest.raises(DataError, match="there are 3 columns; read CMU's"):
        write_mosi(path, corpus)
    csd_folder(tmp_path)
    silent = replace(load("mosi", tmp_path, vision=None), text=None)
    with pytest.raises(DataError, match="needs words and labels"):
        write_mosi(path, silent)
    assert not path.exists()


def test_the_page_on_data_makes_sst5_of_trees(tmp_path, monkeypatch):
    """The snippet of the page, on two sentences made up here."""
    page = (NOTEBOOKS / "book" / "data.md").read_text()
    (snippet,) = [
        code for code in re.findall(r"```python\n(.*?)```", page, re.S) if "trees/" in code
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trees").mkdir()
    for split in ("train", "dev", "test"):
        trees = "(4 (2 A) (4 (3 warm) (2 film)))\n(0 (2 It) (1 (1 drags) (2 .)))\n"
        (tmp_path / "trees" / f"{split}.txt").write_text(trees)
    exec(snippet, {})
    corpus = load("sst5", tmp_path / "data")
    assert corpus.text[:2] == ("A warm film", "It drags .")
    assert corpus.label.tolist() == [4, 0] * 3 and [len(corpus.rows(s)) for s in SPLITS] == [2] * 3
