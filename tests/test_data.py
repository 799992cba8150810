"""Every accepted format, written small into a temporary folder, and every bad input."""

import codecs
import gzip
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from mmlib.data import SPLITS, Corpus, DataError, Sequences, load
from mmlib.data.check import check
from mmlib.data.columns import COVAREP
from mmlib.data.readers.frames import pack
from mmlib.data.readers.unpickle import load_pickle
from mmlib.scores.passport import passport

RNG = np.random.default_rng(0)


# ---- files of each format ------------------------------------------------------------------


def mosi_csv(root, change=lambda rows: rows):
    """Nine videos of two clips; video v0..v4 train, v5 and v6 dev, v7 and v8 test."""
    rows = pd.DataFrame({"video_id": [f"v{i // 2}" for i in range(18)], "clip": np.arange(18) % 2})
    rows.insert(0, "id", rows["video_id"] + "_" + rows["clip"].astype(str))
    rows["text"], rows["label"] = [f"some words {i}" for i in range(18)], np.linspace(-3, 3, 18)
    rows["standard_split"] = ["train"] * 10 + ["dev"] * 4 + ["test"] * 4
    rows["bclstm_split"] = ["train"] * 14 + ["test"] * 4
    names = [*COVAREP[:73], *(f"v{i:03d}" for i in range(100))]
    rows = rows.join(pd.DataFrame(RNG.normal(size=(18, 173)), columns=names))
    path = root / "mosi" / "mosi.csv.gz"
    path.parent.mkdir(exist_ok=True)
    change(rows).to_csv(path, index=False)
    return path


def mosei_csv(root, change=lambda rows: rows):
    rows = pd.DataFrame({"video_id": [f"v{i}" for i in range(9)], "clip_id": ["1_5"] * 9})
    rows["text"], rows["label"], rows["mode"] = (
        "None",
        0.5,
        np.repeat(["train", "valid", "test"], 3),
    )
    path = root / "mosei" / "label.csv"
    path.parent.mkdir()
    change(rows).to_csv(path, index=False)
    return path


def mmmo_npz(root, change=lambda split, part: part):
    folder = root / "mmmo"
    folder.mkdir()
    for split in SPLITS:
        audio, vision = RNG.normal(size=(3, 20, 74)), RNG.normal(size=(3, 20, 36))
        audio[:, :2], audio[:, 18:], vision[1, 7] = 0, 0, 0  # padding; a face lost
        part = {"audio": audio, "vision": vision, "label": np.array([1.0, 3.5, 5.0])}
        np.savez(folder / f"{split}.npz", **change(split, part))
    return folder / "train.npz"


def meld_csv(root, change=lambda split, rows: rows, encoding="utf-8"):
    folder = root / "meld"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        rows = pd.DataFrame(
            {
                "Utterance": ["You’re “it”", "None", "café"],
                "Sentiment": ["negative", "neutral", "positive"],
                "Dialogue_ID": [0, 0, 1],
                "Utterance_ID": [0, 1, 0],
            }
        )
        path = folder / f"{split}_sent_emo.csv"
        path.write_bytes(change(split, rows).to_csv(index=False).encode(encoding))
    return folder / "train_sent_emo.csv"


def mmsa_part(split, n=4, dims=(74, 35), t=6, aligned=True):
    """One split of an MMSA pickle; frames of row i end after i + 2."""
    part = {
        "raw_text": np.array([f"words {i}" for i in range(n)]),
        "id": [f"{split}{i // 2}$_${i}" for i in range(n)],
        "text": RNG.normal(size=(n, t, 768)).astype("f4"),
        "text_bert": np.zeros((n, 3, t), "f4"),
        "regression_labels": np.linspace(-3, 3, n),
    }
    lengths = np.minimum(np.arange(n) + 2, t)
    for modality, d in zip(("audio", "vision"), dims, strict=True):
        part[modality] = RNG.normal(size=(n, t, d))
        part[modality][np.arange(t) >= lengths[:, None]] = 0
        if not aligned:
            part[f"{modality}_lengths"] = lengths.tolist()
    part["text_bert"][:, 1] = np.arange(t) < lengths[:, None]
    return part


def mmsa_pickle(root, change=lambda data: data, name="aligned_50.pkl", protocol=4, **options):
    data = {split: mmsa_part(split, **options) for split in SPLITS}
    path = root / "mosi" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(change(data), protocol))
    return path


def csd(path, root_name, content):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for video, (features, intervals) in content.items():
            file[f"{root_name}/data/{video}/features"] = features
            file[f"{root_name}/data/{video}/intervals"] = np.asarray(intervals, float)
        file.create_group(f"{root_name}/metadata")
    return path


def csd_folder(root):
    """Six videos of two segments, [0, 2) and [2, 4) s; frames each half second."""
    folder, videos = root / "mosi", [f"v{i}" for i in range(6)]
    segments, words = [[0, 2], [2, 4]], [[0.1, 0.5], [0.5, 1], [1.2, 2.1], [2.5, 3]]
    tokens = np.array([[b"so"], [b"sp"], [b"good"], [b"yes"]], dtype="S32")
    frames = [[i / 2, (i + 1) / 2] for i in range(8)]
    levels = np.repeat(np.arange(1.0, 9.0)[:, None], 74, axis=1)
    csd(folder / "CMU_MOSI_Opinion_Labels.csd", "Opinion Segment Labels",
        {v: (np.array([[1.5], [-2.0]]), segments) for v in videos})  # fmt: skip
    csd(folder / "CMU_MOSI_TimestampedWords.csd", "words", {v: (tokens, words) for v in videos})
    csd(folder / "CMU_MOSI_COVAREP.csd", "COVAREP", {v: (levels, frames) for v in videos})
    csd(folder / "CMU_MOSI_Visual_Facet_42.csd", "FACET_4.2",
        {v: (RNG.normal(size=(8, 35)), frames) for v in videos[1:]})  # fmt: skip
    folds = {"train": videos[:2], "valid": videos[2:4], "test": videos[4:]}
    (folder / "folds.json").write_text(json.dumps(folds))
    return folder


# ---- each format ---------------------------------------------------------------------------


def test_mosi_csv_reads_columns_drops_rows_and_warns_of_the_leak(tmp_path):
    mosi_csv(tmp_path, lambda rows: rows.assign(label=rows["label"].mask(rows.index == 3)))
    corpus = load("mosi", tmp_path)
    assert corpus.modalities == ("text", "audio") and len(corpus) == 17
    assert "v1_1" not in corpus.ids and corpus.notes[0].startswith("1 rows without label")
    assert corpus.sequences["audio"].columns == COVAREP[:73]
    assert [len(corpus.rows(s)) for s in SPLITS] == [9, 4, 4]
    assert not passport(corpus).warnings
    leaky = load("mosi-leak", tmp_path)  # read from the folder of mosi
    assert leaky.name == "mosi-leak" and leaky.sequences["vision"].values.shape == (17, 100)
    assert any("LEAK" in w and "bclstm_split" in w for w in passport(leaky).warnings)


def test_mosi_bclstm_validation_is_whole_videos_out_of_train(tmp_path):
    mosi_csv(tmp_path)
    corpus = load("mosi", tmp_path, split="bclstm")
    assert {corpus.groups[i] for i in corpus.rows("valid")} == {"v5"}
    assert {corpus.groups[i] for i in corpus.rows("test")} == {"v7", "v8"}


def test_mosei_csv_keeps_the_word_none(tmp_path):
    mosei_csv(tmp_path)
    corpus = load("mosei", tmp_path)
    assert corpus.text == ("None",) * 9 and corpus.ids[0] == "v0$_$1_5"
    assert corpus.modalities == ("text",)


def test_mmmo_labels_enter_the_common_scale_and_zero_frames_go(tmp_path):
    mmmo_npz(tmp_path)
    corpus = load("mmmo", tmp_path)
    assert corpus.label.tolist() == [-3, 0.75, 3] * 3 and "1..5" in corpus.scale.origin
    assert set(corpus.sequences["audio"].lengths) == {16}
    assert corpus.sequences["vision"].lengths.tolist() == [20, 19, 20] * 3
    assert corpus.text is None and len(set(corpus.groups)) == 9


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_meld_classes_groups_and_quotes(tmp_path, encoding):
    meld_csv(tmp_path, encoding=encoding)
    corpus = load("meld", tmp_path)
    assert corpus.text[:3] == ('You\'re "it"', "None", "café")
    assert corpus.label[:3].tolist() == [-1, 0, 1]
    assert (corpus.scale.low, corpus.scale.high) == (-1, 1) and "class" in corpus.scale.name
    assert corpus.ids[3] == "valid_dia0_utt0" and corpus.groups[3] == "valid_dia0"


def test_meld_may_mix_encodings(tmp_path):
    path = meld_csv(tmp_path)
    for broken in ("’".encode("cp1252"), "\x92".encode()):  # a stray byte; the same as a control
        path.write_bytes(path.read_bytes().replace("’".encode(), broken))
        text = load("meld", tmp_path).text
        assert text[:3] == text[3:6] == ('You\'re "it"', "None", "café")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dims", [(74, 35), (5, 20)])
def test_mmsa_pickle_of_every_protocol_and_variant(tmp_path, protocol, dims):
    mmsa_pickle(tmp_path, protocol=protocol, dims=dims)
    corpus = load("mosi", tmp_path)
    assert corpus.ids[:2] == ("train0$_$0", "train0$_$1") and corpus.groups[0] == "train0"
    assert corpus.text[1] == "words 1" and corpus.label[3] == 3
    assert corpus.sequences["audio"].lengths.tolist() == [2, 3, 4, 5] * 3
    assert corpus.sequences["audio"].columns[0] == {74: "F0", 5: "VUV"}[dims[0]]
    assert f"COVAREP {dims[0]}" in corpus.variant and "text" not in corpus.sequences


def test_mmsa_unaligned_lengths_come_from_the_file_and_short_ones_are_noted(tmp_path):
    def change(data):
        data["train"]["audio_lengths"][3] = 1  # as MMSA counts when the second frame is all zero
        data["train"]["audio"][3, 1] = 0
        return data

    mmsa_pickle(tmp_path, change, "unaligned_50.pkl", aligned=False)
    by_file, by_zeros = (load("mosi", tmp_path, lengths=x) for x in ("file", "zeros"))
    assert by_file.sequences["audio"].lengths[3] == 1
    assert by_zeros.sequences["audio"].lengths[3] == 4
    assert any("audio: 1 utterances have frames beyond" in n for n in by_file.notes)
    assert not any("beyond" in n for n in by_zeros.notes)


def test_mmsa_token_features_are_cut_by_the_bert_mask(tmp_path):
    mmsa_pickle(tmp_path)
    text = load("mosi", tmp_path, text_features=True).sequences["text"]
    assert text.values.shape[1] == 768 and text.lengths.tolist() == [2, 3, 4, 5] * 3


def test_older_pickles_with_labels_and_triple_ids(tmp_path):
    def change(data):
        for split, part in data.items():
            labels = part.pop("regression_labels")
            part["labels"] = np.stack([labels, np.zeros(4)], axis=1)[:, None]  # emotions follow
            part["id"] = np.array([[f"{split}0".encode(), b"%d" % i, b"9"] for i in range(4)])
            del part["raw_text"], part["text_bert"]
        return data

    mmsa_pickle(tmp_path, change, protocol=2)
    corpus = load("mosi", tmp_path)
    assert corpus.label.shape == (12,) and corpus.label[3] == 3
    assert corpus.text is None and corpus.ids[1] == "train0$_$1" and corpus.groups[1] == "train0"


def test_not_finite_values_become_zero_and_are_counted_per_column(tmp_path):
    def change(data):
        data["train"]["audio"][0, 0, 3] = -np.inf
        data["train"]["audio"][1, :2, 4] = np.nan
        data["test"]["audio"][1, 0, 5] = 1e300  # finite, but not in float32
        data["test"]["vision"][2] = np.nan
        return data

    mmsa_pickle(tmp_path, change)
    corpus = load("mosi", tmp_path)
    audio, vision = corpus.sequences["audio"], corpus.sequences["vision"]
    assert audio[0][0, 3] == 0 and (audio[1][:2, 4] == 0).all() and np.isfinite(audio.values).all()
    assert vision.lengths[10] == 0
    facts = passport(corpus)
    columns = facts.frames["columns"]
    assert columns.loc[("audio", COVAREP[3]), "inf"] == 1
    assert columns.loc[("audio", COVAREP[4]), "nan"] == 2
    assert columns.loc[("audio", COVAREP[5]), "inf"] == 1
    assert facts.without_features == {"vision": ["test1$_$2"]}


def test_csd_is_cut_to_label_intervals(tmp_path):
    csd_folder(tmp_path)
    corpus = load("mosi", tmp_path)
    assert corpus.ids[:2] == ("v0[0]", "v0[1]") and corpus.text[:2] == ("so good", "yes")
    assert corpus.label[:2].tolist() == [1.5, -2]
    audio = corpus.sequences["audio"]
    assert audio.columns == COVAREP
    assert audio[0][:, 0].tolist() == [1, 2, 3, 4] and audio[1][:, 0].tolist() == [5, 6, 7, 8]
    assert corpus.sequences["vision"].lengths[:3].tolist() == [0, 0, 4]  # v0 has no FACET
    assert [len(corpus.rows(s)) for s in SPLITS] == [4, 4, 4]
    assert "CMU_MOSI_COVAREP.csd" in corpus.checksums


def test_emotions_behind_the_sentiment_become_annotations(tmp_path):
    folder = csd_folder(tmp_path)
    labels = np.array([[1.5, *range(6)], [-2.0, *[0] * 6]])
    segments = {f"v{i}": (labels, [[0, 2], [2, 4]]) for i in range(6)}
    csd(folder / "CMU_MOSI_Opinion_Labels.csd", "labels", segments)
    corpus = load("mosi", tmp_path)
    assert corpus.label.tolist() == [1.5, -2.0] * 6
    assert {name: values[0] for name, values in corpus.annotations.items()} == {
        "happy": 0, "sad": 1, "anger": 2, "surprise": 3, "disgust": 4, "fear": 5,
    }  # fmt: skip
    assert corpus.take(np.array([1])).annotations["fear"].tolist() == [0]
    segments["v0"] = (labels[:, :3], segments["v0"][1])  # in no known order
    csd(folder / "CMU_MOSI_Opinion_Labels.csd", "labels", segments)
    assert load("mosi", tmp_path).annotations == {}


def test_words_and_frames_are_put_in_the_order_of_their_times(tmp_path):
    folder = csd_folder(tmp_path)
    expected = load("mosi", tmp_path)
    for name in ("CMU_MOSI_TimestampedWords.csd", "CMU_MOSI_COVAREP.csd"):
        with h5py.File(folder / name, "r+") as file:
            for video in file[next(iter(file))]["data"].values():
                for part in video.values():
                    part[:] = part[:][::-1]
    found = load("mosi", tmp_path)
    assert found.text == expected.text
    assert (found.sequences["audio"].values == expected.sequences["audio"].values).all()


def test_csd_folds_from_the_table_and_modalities_left_out(tmp_path):
    folder = csd_folder(tmp_path)
    (folder / "folds.json").unlink()
    mosi_csv(tmp_path, lambda rows: rows.assign(standard_split=["train", "dev", "test"] * 6,
             video_id=[f"v{i % 3}" for i in range(18)]))  # fmt: skip
    corpus = load("mosi", tmp_path, file="CMU_MOSI_COVAREP.csd", vision=None)
    assert set(corpus.groups) == {"v0", "v1", "v2"} and corpus.modalities == ("text", "audio")
    assert "3 videos in no fold left out" in corpus.notes


# ---- choosing a file -----------------------------------------------------------------------


def test_several_files_the_choice_is_printed_and_file_names_another(tmp_path, capsys):
    mosi_csv(tmp_path), mmsa_pickle(tmp_path)
    assert "mosi.csv.gz" in load("mosi", tmp_path).variant
    assert (
        capsys.readouterr()
        .out.strip()
        .endswith("reading mosi.csv.gz; file= names another: aligned_50.pkl")
    )
    assert "COVAREP 74" in load("mosi", tmp_path, file="aligned_50.pkl").variant
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [1, None, "a" * 300, "a\0b", "a\nb"])
def test_a_name_that_nothing_can_have(name):
    with pytest.raises(DataError, match=r"\Aunknown data set .*; choose one of synthetic[^\n]*\Z"):
        load(name)


def test_root_defaults_to_mmlib_data(tmp_path, monkeypatch):
    mosei_csv(tmp_path)
    monkeypatch.setenv("MMLIB_DATA", str(tmp_path))
    assert len(load("mosei")) == 9


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mosy", {}, "unknown data set 'mosy'.*synthetic, .*mosi, mosei, mmmo, meld, hotel, sst5"),
        ("mosei", {}, "label.csv, aligned_50.pkl, unaligned_50.pkl, .*MMLIB_DATA"),
        ("mosi", {"file": "mosi.xlsx"}, "no file 'mosi.xlsx'.*there: mosi.csv.gz"),
        ("mosi", {"splitt": "bclstm"}, "unknown option 'splitt'.*file, split, modalities"),
        ("mosi", {"split": "random"}, "unknown split 'random'; choose one of standard, bclstm"),
        ("mosi", {"modalities": ("smell",)}, "unknown modality 'smell'.*text, audio, vision"),
    ],
)
def test_unknown_names_are_told_the_choices(tmp_path, name, options, words):
    mosi_csv(tmp_path)
    with pytest.raises(DataError, match=words):
        load(name, tmp_path, **options)


# ---- bad input -----------------------------------------------------------------------------


def column(name, value, row=0):
    return lambda rows: rows.assign(
        **{name: rows[name].astype(object).mask(rows.index == row, value)}
    )


def entry(split, key, value):
    def change(data):
        data[split][key] = value(data[split][key])
        return data

    return change


def without(key):
    return lambda data: {s: {k: v for k, v in p.items() if k != key} for s, p in data.items()}


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "missing column": (mosi_csv, lambda r: r.drop(columns="NAQ"), "missing column.*NAQ"),
    "label out of range": (mosi_csv, column("label", 3.4), "label 3.4 of 'v0_0'.*-3, 3"),
    "label no number": (mosi_csv, column("label", "good"), "mosi.csv.gz: .*good.*label"),
    "unknown split value": (mosi_csv, column("standard_split", "dve"), "unknown split.*'dve'"),
    "empty text": (mosi_csv, column("text", "  "), "empty text of 'v0_0'"),
    "same id": (mosi_csv, column("id", "v0_0", 1), "id 'v0_0' occurs 2 times"),
    "group in two splits": (mosi_csv, column("video_id", "v0", 17), "'v0' is in train and test"),
    "one-utterance split": (mosi_csv, lambda r: r[:15], "split test has 1 utterance"),
    "all-NaN modality": (mosi_csv, lambda r: r.assign(**dict.fromkeys(COVAREP[:73], "nan")),
                         "audio: no finite value"),
    "declared width": (mmsa_pickle, entry("train", "audio", lambda a: a[..., :70]), "dims="),
    "no split": (mmsa_pickle, lambda d: {"train": d["train"]}, "no dict for split 'valid'"),
    "no labels": (mmsa_pickle, without("regression_labels"), "neither regression_labels nor"),
    "no vision": (mmsa_pickle, without("vision"), "vision must be an array"),
    "not a dict": (mmsa_pickle, lambda d: [1, 2], "holds a list"),
    "texts too few": (mmsa_pickle, entry("test", "raw_text", lambda t: t[:2]),
                      "test raw_text must hold one text an utterance"),
    "ids too few": (mmsa_pickle, lambda d: entry("valid", "id", lambda i: [*i, "v9$_$1"])(
        entry("train", "id", lambda i: i[:-1])(d)), "train id must hold one id an utterance"),
    "one split twice": (mmsa_pickle, lambda d: d | {"dev": d["valid"]}, "one split twice in train"),
    "classes": (mmsa_pickle, entry("test", "regression_labels", lambda y: np.ones((len(y), 4, 2))),
                "test regression_labels must hold one number"),
    "emotions not finite": (mmsa_pickle, lambda d: {s: {**p, "regression_labels": np.tile(
        [1.0, *[np.nan] * 6], (4, 1))} for s, p in d.items()}, "happy holds values that are not"),
    "no frames": (mmsa_pickle, lambda d: {s: {**p, "audio": p["audio"] * 0} for s, p in d.items()},
                  "audio has no frame"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_content_is_one_line_that_names_it(tmp_path, case):
    write, change, words = BAD[case]
    write(tmp_path, change)
    with pytest.raises(DataError, match=words) as error:
        load("mosi", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [-1, 2.5, np.nan, "ab"])
def test_stated_lengths_must_be_possible(tmp_path, length):
    change = entry("test", "audio_lengths", lambda k: [length, *k[1:]])
    mmsa_pickle(tmp_path, change, aligned=False)
    with pytest.raises(DataError, match="audio_lengths must hold 4 lengths from 0 to 6"):
        load("mosi", tmp_path)


def test_utterance_without_any_frame(tmp_path):
    def change(split, part):
        part["audio"][2], part["vision"][2] = 0, 0
        return part

    mmmo_npz(tmp_path, change)
    with pytest.raises(DataError, match="zero-length sequence: 'train-002'"):
        load("mmmo", tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, p: {**p, "vision": p["vision"][..., 1:]}, r"vision has shape \(3, 20, 35\)"),
        (lambda s, p: {**p, "audio": p["audio"][:2]}, r"audio has shape \(2, 20, 74\)"),
        (lambda s, p: {k: v for k, v in p.items() if k != "label"}, "label"),
        (lambda s, p: {**p, "label": p["label"] * 2}, "label 6 of 'train-001' .*1..5"),
    ],
)
def test_mmmo_shapes_and_labels(tmp_path, change, words):
    mmmo_npz(tmp_path, change)
    with pytest.raises(DataError, match=words):
        load("mmmo", tmp_path)


def test_meld_unknown_sentiment_and_missing_file(tmp_path):
    path = meld_csv(tmp_path, lambda s, rows: rows.replace("neutral", "meh"))
    with pytest.raises(DataError, match="unknown Sentiment 'meh'"):
        load("meld", tmp_path)
    path.with_name("dev_sent_emo.csv").unlink()
    with pytest.raises(DataError, match=r"missing file .*dev_sent_emo\.csv"):
        load("meld", tmp_path)


@pytest.mark.parametrize("write", [mosi_csv, mmmo_npz, mmsa_pickle])
def test_truncated_files(tmp_path, write):
    path = write(tmp_path)
    truncated(path)
    with pytest.raises(DataError, match=f"{path.name}: not a readable") as error:
        load(path.parent.name, tmp_path)
    assert "\n" not in str(error.value)


def test_empty_csv(tmp_path):
    mosi_csv(tmp_path).write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"mosi\.csv\.gz: not a readable csv"):
        load("mosi", tmp_path)


@pytest.mark.parametrize("name", ["Opinion_Labels", "TimestampedWords", "COVAREP"])
def test_truncated_hdf5(tmp_path, name):
    path = csd_folder(tmp_path) / f"CMU_MOSI_{name}.csd"
    truncated(path)
    with pytest.raises(DataError, match=f"{path.name}: truncated") as error:
        load("mosi", tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("folds.json", None, "no folds.*folds.json"),
        ("folds.json", '{"train": ["v0"]}', "folds.json: 'valid'"),
        ("folds.json", "{", "folds.json: .*expected lists"),
        ("folds.json", '{"train": ["v0"], "valid": ["v0"], "test": []}', "listed twice"),
        ("CMU_MOSI_Opinion_Labels.csd", None, r"no \*Label\*.csd"),
        ("CMU_MOSI_Visual_Facet_42.csd", None, r"no \*FACET\*.csd.*vision="),
    ],
)
def test_csd_companions(tmp_path, file, content, words):
    path = csd_folder(tmp_path) / file
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=words):
        load("mosi", tmp_path)


@pytest.mark.parametrize(
    ("features", "intervals", "words"),
    [
        (np.ones((8, 70)), np.ones((8, 2)), r"\[70\] columns, declared \[74\]"),
        (np.ones((8, 74)), np.ones((7, 2)), "v0 has features .*expected"),
        (np.ones(8), np.ones((8, 2)), "v0 has features .*expected"),
        (np.ones((8, 74)), np.full((8, 2), np.nan), "v0 has times that are not finite"),
    ],
)
def test_csd_shapes(tmp_path, features, intervals, words):
    folder = csd_folder(tmp_path)
    intervals = intervals * [0, 4]
    csd(folder / "CMU_MOSI_COVAREP.csd", "COVAREP", {"v0": (features, intervals)})
    with pytest.raises(DataError, match=words):
        load("mosi", tmp_path)


@pytest.mark.parametrize("name", ["Opinion_Labels", "COVAREP"])
def test_csd_times_in_milliseconds_are_refused(tmp_path, name):
    path = csd_folder(tmp_path) / f"CMU_MOSI_{name}.csd"
    with h5py.File(path, "r+") as file:
        for video in file[next(iter(file))]["data"].values():
            video["intervals"][...] *= 1000
    with pytest.raises(DataError, match=r"COVAREP\.csd: its times reach .* write both in seconds"):
        load("mosi", tmp_path)


def test_milliseconds_of_long_segments_are_refused(tmp_path):
    """A frame each 10 ms: in "seconds" two of them lie in each segment of 15 s."""
    folder, times = csd_folder(tmp_path), np.arange(3000) * 10.0
    frames = np.ones((3000, 74)), np.stack([times, times + 10], 1)
    csd(folder / "CMU_MOSI_COVAREP.csd", "COVAREP", {f"v{i}": frames for i in range(6)})
    labels = {f"v{i}": (np.ones((2, 1)), [[0, 15], [15, 30]]) for i in range(6)}
    csd(folder / "CMU_MOSI_Opinion_Labels.csd", "labels", labels)
    words = {f"v{i}": (np.array([[b"good"], [b"day"]]), [[0, 1], [16, 17]]) for i in range(6)}
    csd(folder / "CMU_MOSI_TimestampedWords.csd", "words", words)
    with pytest.raises(DataError, match=r"COVAREP\.csd: its times reach .* write both in seconds"):
        load("mosi", tmp_path, vision=None)


def test_emotions_without_the_sentiment_are_refused(tmp_path):
    labels = {f"v{i}": (np.ones((2, 6)), [[0, 2], [2, 4]]) for i in range(6)}
    csd(csd_folder(tmp_path) / "CMU_MOSI_Opinion_Labels.csd", "labels", labels)
    with pytest.raises(DataError, match=r"Labels\.csd: six columns, as of emotions without the"):
        load("mosi", tmp_path)


@pytest.mark.parametrize("given", [(1, -1), (1, 1), (-1, np.inf), (np.nan, 1)])
def test_a_range_of_labels_ascends(tmp_path, given):
    """(1, -1) turned every label round."""
    mmsa_pickle(tmp_path)
    with pytest.raises(DataError, match="give two numbers, the lower one first"):
        load("mosi", tmp_path, label_range=given)


def test_an_unknown_split_is_no_empty_one(tmp_path):
    mmsa_pickle(tmp_path)
    with pytest.raises(DataError, match="unknown split 'Train'"):
        load("mosi", tmp_path).sample(2, splits=("Train",))


# ---- hostile pickles -----------------------------------------------------------------------


class Calls:
    """Pickles into a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (lambda mark: Calls(os.system, f"touch {mark}"), "system"),
        (lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"), "eval"),
        (lambda mark: Calls(np.save, mark, 1), "numpy.save"),
        (lambda mark: Calls(np.frompyfunc, len, 1, 1), "numpy.frompyfunc"),
        (lambda mark: Calls(getattr, "a", "upper"), "getattr"),
        (lambda mark: Calls(codecs.encode, "a", "rot13"), "_codecs.encode to rot13"),
        (lambda mark: np.zeros(2, dtype=[("a", "f4")]), "numpy.dtype"),
        (lambda mark: np.random.default_rng(0), "numpy.random"),
        (lambda mark: {"train": np.array([Calls(os.mkdir, str(mark))], dtype=object)}, "mkdir"),
    ],
)
def test_hostile_pickles_are_refused_by_name_before_they_run(tmp_path, payload, name, protocol):
    mark = tmp_path / "ran.npy"
    path = tmp_path / "aligned_50.pkl"
    path.write_bytes(pickle.dumps(payload(mark), protocol))
    with pytest.raises(DataError, match=f"refused, the pickle asks for .*{name}"):
        load_pickle(path)
    assert not mark.exists()


def test_a_forged_array_state_is_not_trusted(tmp_path):
    """An object dtype whose flags hide the pointers would make numpy read wild addresses."""
    honest = pickle.dumps(np.array(["a", "b"], dtype=object), 2)
    pointers = pickle.dumps(np.zeros(2), 2).replace(b"f8", b"O8")
    short = honest.replace(b"K\x02\x85", b"K\x09\x85")
    negative = honest.replace(b"K\x02\x85", b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86")
    path = tmp_path / "a.pkl"
    for forged in (pointers, short, negative):
        assert forged != honest
        path.write_bytes(forged)
        with pytest.raises(DataError, match="not a readable pickle"):
            load_pickle(path)
    path.write_bytes(honest)
    assert load_pickle(path).tolist() == ["a", "b"]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_content_comes_back_as_it_was(tmp_path, protocol):
    plain = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "moved": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
        "big": np.arange(3, dtype=">i4"),
        "words": np.array(["a", "longer"]),
        "bytes": np.array([b"x", b"yz"]),
        "objects": np.array([["a", 1], [None, 2.5]], dtype=object),
        "none": np.zeros((0, 5)),
        "scalar": np.float32(1.5),
        "str": np.str_("q"),
        "list": [1, 2.5, True, None, b"", b"\xff", "é", (1, 2)],
    }
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(plain, protocol))
    found = load_pickle(path)
    assert found["list"] == plain["list"] and found.keys() == plain.keys()
    for key in set(plain) - {"list"}:
        assert np.array_equal(np.asarray(found[key]), np.asarray(plain[key])), key


def test_python_2_pickles_read_as_latin_1(tmp_path):
    """A Python 2 pickle of {"a": array([1., 2.])}: its bytes are an old-style string."""
    parts = [
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R",
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R",
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
        b"\x89U\x10" + np.array([1.0, 2.0]).tobytes() + b"tbs.",
    ]
    path = tmp_path / "a.pkl"
    path.write_bytes(b"".join(parts))
    assert load_pickle(path)["a"].tolist() == [1, 2]


# ---- frames, check, passport ---------------------------------------------------------------


def test_pack_keeps_order_and_leaves_the_input_alone():
    values = np.array([[1.0, np.nan], [0, 0], [2, 3], [np.inf, 0]])
    before = values.copy()
    notes = []
    sequences = pack("audio", values, np.array([0, 0, 2, 2]), 3, ("a", "b"), notes)
    assert np.array_equal(values, before, equal_nan=True)
    assert sequences.lengths.tolist() == [1, 0, 1] and sequences[2].tolist() == [[2, 3]]
    assert sequences.filled.tolist() == [[0, 1], [1, 0]]
    assert notes == [
        "audio: 1 NaN and 1 infinite values in 2 columns set to 0",
        "audio: 2 all-zero frames left out (padding, no face found)",
        "audio: missing for 1 utterances (length 0)",
    ]


def tiny(**changes):
    """Three utterances a split, text and audio, each its own video."""
    n = 9
    audio = Sequences(np.arange(1.0, 2 * n + 1).reshape(n, 2), np.ones(n, int), ("a", "b"))
    parts = {
        "name": "tiny",
        "variant": "made",
        "ids": tuple(map(str, range(n))),
        "groups": tuple(map(str, range(n))),
        "split": np.repeat(SPLITS, 3),
        "label": np.array([-1, 0, 2.6, 0.5, 1, -2, 3, 0, -0.4]),
        "text": tuple(f"t{i}" for i in range(n)),
        "sequences": {"audio": audio},
    }
    return Corpus(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"groups": ("0",)}, "9 ids, but groups has 1"),
        ({"text": None, "sequences": {}}, "no modality"),
        ({"label": np.full(9, np.nan)}, "label nan of '0'"),
        ({"split": np.repeat(["train", "valid", "dev"], 3)}, "unknown split 'dev'"),
        ({"truth": {"oracle": np.zeros(2)}}, "oracle has 2 entries"),
    ],
)
def test_check(changes, words):
    corpus = tiny(**changes)
    if words is None:
        assert check(corpus) is corpus
    else:
        with pytest.raises(DataError, match=rf"tiny \(made\): .*{words}"):
            check(corpus)


def test_check_finds_nan_that_a_generator_left():
    bad = Sequences(np.full((9, 1), np.nan), np.ones(9, int), ("a",))
    with pytest.raises(DataError, match="audio holds values that are not finite"):
        check(tiny(sequences={"audio": bad}))


def test_passport_counts_and_base_rates():
    facts = passport(tiny(text=("Same ", *"bcdef", "same", "h", "i")))
    table = facts.table()
    assert table.loc["train", ["n", "negative", "zero", "positive"]].tolist() == [3, 1, 1, 1]
    assert table.loc["train", ["-1", "0", "+3"]].tolist() == [1, 1, 1]
    rates = facts.frames["base_rates"].loc["test"]
    assert rates.loc["train median", "mae"] == pytest.approx(3.4 / 3)
    assert rates.loc["positive", ["acc2_non0", "acc2_has0"]].tolist() == pytest.approx(
        [1 / 2, 2 / 3]
    )
    assert rates.loc["positive", "f1_non0"] == pytest.approx(1 / 3)  # half of F1 2/3, half of 0
    assert rates.loc["train median", "acc7"] == pytest.approx(2 / 3)
    assert facts.duplicate_texts == {"train & test": 1}
    assert passport(tiny(text=("", *"bcdef", " ", "h", "i"))).duplicate_texts == {}


def test_passport_of_a_modality_that_nobody_has():
    none = Sequences(np.zeros((0, 1)), np.zeros(9, int), ("a",))
    facts = passport(tiny(sequences={"audio": none}))
    assert facts.frames["arrays"].loc["audio", ["utterances", "longest"]].tolist() == [0, 0]
    assert len(facts.without_features["audio"]) == 9


def test_passport_names_clipped_constant_and_crossing(tmp_path):
    values = np.stack([np.full(9, 2.0), np.linspace(-9, 9, 9)], axis=1)
    values[[0, 1, 8], 1] = 255, -255, 255
    audio = Sequences(values, np.ones(9, int), ("flat", "clipped"))
    facts = passport(tiny(sequences={"audio": audio}, groups=("0",) * 2 + ("2",) * 5 + ("7", "8")))
    columns = facts.frames["columns"]
    assert columns.loc[("audio", "clipped"), "at_limit"] == 3
    assert columns.loc[("audio", "flat"), "constant"]
    assert facts.warnings == ("audio: 1 constant columns", "audio: 3 values clipped at +-255")
    assert facts.crossing_groups == {"2": ("train", "valid", "test")}
    assert "values clipped at +-255" in str(facts)


def test_passport_is_saved_whole_and_without_text(tmp_path):
    corpus = replace(tiny(text=("secret words",) * 9), checksums={"f.csv": "abc"}, notes=("n",))
    path = passport(corpus).save(tmp_path / "passport.json")
    saved = json.loads(path.read_text())
    assert saved["checksums"] == {"f.csv": "abc"} and saved["notes"] == ["n"]
    assert saved["frames"]["splits"][0]["n"] == 3
    assert "secret" not in path.read_text() and "secret" not in str(passport(corpus))
    assert [p.name for p in tmp_path.iterdir()] == ["passport.json"]


def test_checksum_is_the_file_s_and_follows_its_change(tmp_path):
    import hashlib

    path = mosei_csv(tmp_path)
    for _ in range(2):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert load("mosei", tmp_path).checksums == {"label.csv": digest}
        path.write_text(path.read_text().replace("None", "Something"))


def test_data_is_imported_without_torch():
    code = "import sys, mmlib.data; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


def test_a_sample_keeps_the_order_and_never_asks_for_more_than_there_is():
    corpus = load("synthetic_reviews")
    some = corpus.sample(300)
    assert len(some) == 300 and list(some.ids) == sorted(some.ids) and some.ids != corpus.ids[:300]
    assert some.ids == corpus.sample(300).ids != corpus.sample(300, seed=1).ids
    assert corpus.sample(0).ids == corpus.sample(10**6).ids == corpus.ids


def test_decimal_commas_in_labels_are_read(tmp_path):
    path = mosei_csv(tmp_path, lambda rows: rows.assign(label=["-1,5", *["0,25"] * 8]))
    assert load("mosei", tmp_path).label[:2].tolist() == [-1.5, 0.25]
    path.write_text(path.read_text().replace("-1,5", "1,5,2"))
    with pytest.raises(DataError, match=r"label\.csv: .*1,5,2"):
        load("mosei", tmp_path)


def test_what_no_reader_foresaw_names_file_and_place(tmp_path, monkeypatch):
    path = mosei_csv(tmp_path)
    monkeypatch.setattr("mmlib.data.readers.tables.numbers", lambda *_: [][3])
    with pytest.raises(DataError, match=rf"{path.name}: .*IndexError.*tables|test_data") as error:
        load("mosei", tmp_path)
    assert "\n" not in str(error.value) and isinstance(error.value.__cause__, IndexError)


def kept_clip(folder, name, *texts):
    """A clip of a corpus folder with one utterance a text."""
    from mmlib.data.readers.recordings import Clip, save_clip

    n = len(texts)
    audio, starts = (
        Sequences(np.ones((n, 2)), np.ones(n, int), ("a", "b")),
        tuple(map(float, range(n))),
    )
    save_clip(Clip(name, 9.0, starts, starts, texts, ("",) * n, {"audio": audio}), folder)


def test_filled_in_rows_wait_while_their_clip_is_gone(tmp_path, caplog):
    from mmlib.data.readers.recordings import write_table

    kept_clip(tmp_path, "a", "one")
    kept_clip(tmp_path, "b", "two", "three")
    write_table(tmp_path).assign(label="1", split="test").to_csv(
        tmp_path / "utterances.csv", index=False
    )
    (tmp_path / "clips" / "b.safetensors").unlink()
    assert write_table(tmp_path)["id"].tolist() == ["a[0]"] and "2 filled-in rows" in caplog.text
    assert write_table(tmp_path)["label"].tolist() == ["1"]  # they wait through other runs
    assert pd.read_csv(tmp_path / "set_aside.csv")["id"].tolist() == ["b[0]", "b[1]"]
    kept_clip(tmp_path, "b", "two", "three")
    assert write_table(tmp_path)["label"].tolist() == ["1"] * 3
    assert not (tmp_path / "set_aside.csv").exists()


def test_corrected_words_wait_and_uncorrected_ones_do_not(tmp_path):
    from mmlib.data.readers.recordings import write_table

    kept_clip(tmp_path, "a", "one")
    kept_clip(tmp_path, "b", "two", "three")
    rows = write_table(tmp_path)
    rows.loc[1, "text"] = "TWO"
    rows.loc[2, "label"] = "1"
    rows.to_csv(tmp_path / "utterances.csv", index=False)
    (tmp_path / "clips" / "b.safetensors").unlink()
    for _ in range(3):
        assert write_table(tmp_path)["id"].tolist() == ["a[0]"]
    kept_clip(tmp_path, "b", "new two", "new three")
    for _ in range(2):
        assert write_table(tmp_path)["text"].tolist() == ["one", "TWO", "new three"]
    assert write_table(tmp_path)["label"].tolist() == ["", "", "1"]


def test_a_set_aside_label_outlives_an_older_table(tmp_path):
    from mmlib.data.readers.recordings import write_table

    kept_clip(tmp_path, "a", "one")
    kept_clip(tmp_path, "b", "two")
    older = write_table(tmp_path)
    older.assign(label="1", split="test").to_csv(tmp_path / "utterances.csv", index=False)
    (tmp_path / "clips" / "b.safetensors").unlink()
    write_table(tmp_path)
    older.to_csv(tmp_path / "utterances.csv", index=False)
    write_table(tmp_path)
    kept_clip(tmp_path, "b", "two")
    assert write_table(tmp_path)["label"].tolist() == ["", "1"]


@pytest.mark.parametrize("start, saved", [(600.1234, "600.12"), (9.039499999999999, "9.0395")])
def test_a_start_that_a_spreadsheet_rounded_is_the_same(tmp_path, start, saved):
    from mmlib.data.readers.recordings import Clip, save_clip, write_table

    audio = Sequences(np.ones((1, 2)), np.ones(1, int), ("a", "b"))
    save_clip(Clip("a", 999.0, (start,), (start + 1,), ("w",), ("",), {"audio": audio}), tmp_path)
    rows = write_table(tmp_path).assign(label="1", split="test", start=saved)
    rows.to_csv(tmp_path / "utterances.csv", index=False)
    for _ in range(2):
        assert write_table(tmp_path)["label"].tolist() == ["1"]


def test_a_row_that_stands_twice_loses_no_label(tmp_path):
    from mmlib.data.readers.recordings import write_table

    kept_clip(tmp_path, "a", "I hate it.", "so so")
    rows = write_table(tmp_path)
    twice = pd.concat([rows.assign(label="-3"), rows[:1].assign(label="1")])
    twice.to_csv(tmp_path / "utterances.csv", index=False)
    with pytest.raises(DataError, match=r"utterances\.csv: 'a\[0\]' is there twice; leave one"):
        write_table(tmp_path)
    assert len(pd.read_csv(tmp_path / "utterances.csv")) == len(twice)


def test_a_new_transcript_replaces_words_that_were_not_corrected(tmp_path):
    from mmlib.data.readers.recordings import write_table

    kept_clip(tmp_path, "a", "I hate it.", "so so")
    rows = write_table(tmp_path).assign(label="1", split="test")
    rows.loc[1, "text"] = "corrected"
    rows.to_csv(tmp_path / "utterances.csv", index=False)
    kept_clip(tmp_path, "a", "I love it.", "so and so")
    for _ in range(2):
        assert write_table(tmp_path)["text"].tolist() == ["I love it.", "corrected"]
    kept_clip(tmp_path, "a", "I like it.", "so and so")
    assert write_table(tmp_path)[["text", "label"]].iloc[0].tolist() == ["I like it.", "1"]


def test_own_labels_survive_a_european_spreadsheet(tmp_path):
    from mmlib.data.readers.recordings import Clip, save_clip, write_table

    audio = Sequences(np.ones((6, 2)), np.full(6, 1), ("a", "b"))
    starts = (0.1 + 0.2, 1.0, 2.0, 3.0, 4.0, 5.5)  # of which a spreadsheet keeps 15 digits
    for name in "abc":
        save_clip(
            Clip(name, 9.0, starts, starts, ("w",) * 6, ("",) * 6, {"audio": audio}), tmp_path
        )
    rows = write_table(tmp_path).assign(label="-1,5", split=np.repeat(["train", "DEV", "test"], 6))
    rows["start"] = [f"{x:.15g}".replace(".", ",") for x in rows["start"]]
    rows.to_csv(tmp_path / "utterances.csv", sep=";", index=False, encoding="utf-16")
    corpus = load(str(tmp_path))
    assert corpus.label.tolist() == [-1.5] * 18 and len(corpus.rows("valid")) == 6
    assert write_table(tmp_path)["label"].tolist() == ["-1,5"] * 18
    mine = pd.read_csv(tmp_path / "utterances.csv", dtype=str).assign(my_notes="loud")
    mine.to_csv(tmp_path / "utterances.csv", index=False)
    save_clip(Clip("d", 9.0, (0.5,), (1.0,), ("w",), ("",), {"audio": audio.take([0])}), tmp_path)
    again = write_table(tmp_path)
    assert again["my_notes"].tolist() == ["loud"] * 18 + [""]
    (tmp_path / "clips" / "d.safetensors").unlink()
    with pytest.raises(DataError, match="unknown option 'typo'"):
        load(str(tmp_path), typo=1)
    rows["label"] = ["1½", "\N{MINUS SIGN}2"] * 9
    rows.to_csv(tmp_path / "utterances.csv", index=False)
    assert load(str(tmp_path)).label.tolist() == [1.5, -2] * 9
