"""MMSA pickles as people make them: lists, padding in front, texts and faces that are missing."""

import numpy as np
import pytest
from test_data import RNG, entry, mmsa_pickle, without

from mmlib.daf import interpret
from mmlib.daf.features import build
from mmlib.data import SPLITS, DataError, load


def each(change):
    """Change every split's content in place."""

    def changed(data):
        for split in SPLITS:
            change(data[split])
        return data

    return changed


def read(tmp_path, change, *, aligned=True, **options):
    name = "aligned_50.pkl" if aligned else "unaligned_50.pkl"
    mmsa_pickle(tmp_path, change, name, aligned=aligned)
    return load("mosi", tmp_path, **options)


def equal(found, expected):
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.lengths.tolist() == expected.lengths.tolist()


def as_lists(part):
    part["audio"] = list(part["audio"])


def as_nested(part):
    part["audio"] = part["audio"].tolist()


def as_ragged(part):
    part["audio"] = [row[:k] for row, k in zip(part["audio"], (2, 3, 4, 5), strict=True)]


def as_objects(part):
    rows = np.empty(4, object)
    rows[:] = [row[:k] for row, k in zip(part["audio"], (2, 3, 4, 5), strict=True)]
    part["audio"] = rows


@pytest.mark.parametrize("change", [as_lists, as_nested, as_ragged, as_objects])
def test_lists_are_taken_for_arrays(tmp_path, change):
    state = RNG.bit_generator.state
    expected = read(tmp_path, lambda data: data).sequences["audio"]
    RNG.bit_generator.state = state
    equal(read(tmp_path, each(change)).sequences["audio"], expected)


def test_padding_in_front_is_cut_in_front(tmp_path):
    def roll(part):
        for modality in ("audio", "vision"):
            rows = zip(part[modality], part[f"{modality}_lengths"], strict=True)
            part[modality] = np.stack([np.roll(row, -k, axis=0) for row, k in rows])

    state = RNG.bit_generator.state
    expected = read(tmp_path, lambda data: data, aligned=False)
    RNG.bit_generator.state = state
    found = read(tmp_path, each(roll), aligned=False)
    for modality in ("audio", "vision"):
        equal(found.sequences[modality], expected.sequences[modality])
    assert "audio: the padding stands in front of the frames" in found.notes
    assert not any("beyond" in note for note in found.notes)


def test_a_length_of_0_is_missing_and_one_above_t_is_cut(tmp_path):
    def change(data):
        data["test"]["vision_lengths"][0] = 0
        data["test"]["vision"][0] = 0
        data["train"]["audio_lengths"][3] = 9
        return data

    corpus = read(tmp_path, change, aligned=False)
    assert corpus.sequences["vision"].lengths[8] == 0
    assert corpus.sequences["audio"].lengths[3] == 5
    assert "audio: 1 lengths of train exceed its 6 frames: cut" in corpus.notes


@pytest.mark.parametrize("change", [without("vision"), each(lambda part: part["vision"].fill(0))])
def test_vision_can_be_left_out(tmp_path, change):
    corpus = read(tmp_path, change, modalities=("text", "audio"))
    assert corpus.modalities == ("text", "audio") and "FACET" not in corpus.variant
    with pytest.raises(DataError, match="vision"):
        load("mosi", tmp_path)


def bert_last(part):
    part["text_bert"] = part["text_bert"].transpose(0, 2, 1)


def bert_flat(part):
    part["text_bert"] = part["text_bert"].reshape(4, -1)


@pytest.mark.parametrize("change", [bert_last, bert_flat])
def test_the_mask_of_bert_is_found_on_either_axis(tmp_path, change):
    corpus = read(tmp_path, each(change), text_features=True)
    assert corpus.sequences["text"].lengths.tolist() == [2, 3, 4, 5] * 3


def test_frozen_states_of_the_file_are_taken_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr("mmlib.text.encoding.encode", lambda *_, **__: pytest.fail("encoded"))
    corpus = read(tmp_path, lambda data: data, text_features=True)
    data = build(corpus, ("text", "audio"))
    assert data.dims["text"] == 2 * 768 and corpus.text is not None
    assert data.origin["text"] == "token features of the file"


@pytest.mark.parametrize("text", ["", "  ", None])
def test_one_empty_text_is_masked(tmp_path, text, monkeypatch):
    def change(data):
        data["train"]["raw_text"] = [*data["train"]["raw_text"][:3], text]
        return data

    monkeypatch.setattr(
        "mmlib.text.encoding.encode", lambda texts, **_: np.ones((len(texts), 3), np.float32)
    )
    corpus = read(tmp_path, change)
    assert corpus.text[3] == "" and "text: missing for 1 utterances (empty)" in corpus.notes
    present = build(corpus, ("text", "audio")).present
    assert not present[3, 0] and present.sum() == 23


def test_emotions_behind_the_sentiment_become_annotations(tmp_path):
    def with_emotions(part):
        labels = part["regression_labels"]
        part["regression_labels"] = np.column_stack([labels, np.tile(range(6), (len(labels), 1))])

    corpus = read(tmp_path, each(with_emotions))
    assert {name: values[0] for name, values in corpus.annotations.items()} == {
        "happy": 0, "sad": 1, "anger": 2, "surprise": 3, "disgust": 4, "fear": 5,
    }  # fmt: skip
    assert read(tmp_path, lambda data: data).annotations == {}


def test_no_text_at_all_is_a_corpus_without_text(tmp_path):
    assert read(tmp_path, each(lambda part: part.update(raw_text=None))).text is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((float("nan"), ""), (["so", "good"], "so good"), ([b"so good"], "so good")),
        *((b"good", "good"), (b"caf\xe9", "café"), ("café", "café"), ("don’t", "don’t")),
        ("don’t".encode().decode("latin-1"), "don’t"),  # as Python 2 pickled it
    ],
)
def test_texts_of_other_kinds(tmp_path, text, expected):
    corpus = read(tmp_path, each(lambda part: part.update(raw_text=[text, "a", "b", "c"])))
    assert corpus.text[:2] == (expected, "a")


def test_names_in_bytes_and_other_names_of_valid(tmp_path):
    def change(data):
        data["VAL"] = data.pop("valid")
        return {s.encode(): {k.encode(): v for k, v in p.items()} for s, p in data.items()}

    assert len(read(tmp_path, change)) == 12


def test_token_features_without_a_mask_are_cut_at_their_lengths(tmp_path):
    def change(part):
        del part["text_bert"]
        part["text_lengths"] = np.array([[1], [2], [3], [4]])

    corpus = read(tmp_path, each(change), text_features=True)
    assert corpus.sequences["text"].lengths[:4].tolist() == [1, 2, 3, 4]


def test_segments_with_one_start_keep_their_end(tmp_path):
    def change(data):
        for split, part in data.items():
            part["id"] = [(split, 1.5, 2 + i) for i in range(4)]
        return data

    assert read(tmp_path, change).ids[:2] == ("train$_$1.5$_$2", "train$_$1.5$_$3")


def test_bare_numbers_count_anew_in_each_split(tmp_path):
    corpus = read(tmp_path, each(lambda part: part.update(id=np.arange(4))))
    assert corpus.ids[3:5] == ("train-3", "valid-0")


def test_labels_of_sims_enter_the_common_scale(tmp_path):
    def change(part):
        part["regression_labels"] = np.array([-1, -0.2, 0, 0.6])

    corpus = read(tmp_path, each(change), dims=(74, 35))
    assert corpus.label[:4].tolist() == pytest.approx([-3, -0.6, 0, 1.8])
    assert corpus.scale.origin.startswith("3 (y - 0) of y in -1..1")
    kept = load("mosi", tmp_path, dims=(74, 35), label_range=(-3, 3))
    assert kept.label[0] == -1 and not kept.scale.origin
    (tmp_path / "mosi").rename(tmp_path / "sims")  # of which the labels of one modality were lost
    assert load("sims", tmp_path).label[:4].tolist() == pytest.approx([-3, -0.6, 0, 1.8])


def test_sims_and_its_labels_of_one_modality(tmp_path):
    def change(part):
        part["regression_labels"] = np.array([-1, -0.2, 0, 0.6])
        for modality, value in {"T": 1, "A": 0.4, "V": -0.8}.items():
            part[f"regression_labels_{modality}"] = np.full(4, value)
        part["id"] = [f"video_0001$_$000{i}" for i in range(4)]

    def number(data):
        for split in ("valid", "test"):
            data[split]["id"] = [f"{name}{split}" for name in data[split]["id"]]
        return data

    mmsa_pickle(tmp_path, lambda data: number(each(change)(data)), "a.pkl", dims=(33, 709))
    (tmp_path / "mosi").rename(tmp_path / "sims")
    (tmp_path / "sims" / "a.pkl").rename(tmp_path / "sims" / "unaligned_39.pkl")
    corpus = load("sims", tmp_path)
    assert corpus.label[:4].tolist() == pytest.approx([-3, -0.6, 0, 1.8])
    alone = {name: values[0] for name, values in corpus.annotations.items()}
    assert alone == pytest.approx({"text": 3, "audio": 1.2, "vision": -2.4})
    distance = interpret.distances(corpus, ("text", "audio", "vision"))  # |T - M|, |A - M|, |V - M|
    assert distance[0] == pytest.approx([6, 4.2, 0.6])
    assert "OpenFace 709" in corpus.variant and corpus.groups == corpus.ids
    assert "cuts through 1 of 1 videos" in corpus.notes[-1]


REFUSED = {
    "labels of one modality beyond": (
        each(lambda part: part.update({f"regression_labels_{m}": np.full(4, 2) for m in "TAV"})),
        "train regression_labels_T must hold one number in -1..1 an utterance",
    ),
    "id is one": (entry("test", "id", lambda _: 5), "test id must hold one id"),
    "text is a number": (entry("test", "raw_text", lambda _: 5), "raw_text must hold one text"),
    "label is one": (entry("test", "regression_labels", lambda _: 5), "one number an utterance"),
    "labels are a dict": (entry("test", "regression_labels", lambda _: {}), "one number an utter"),
    "labels are words": (entry("test", "regression_labels", lambda _: ["a"] * 4), "one number an"),
    "audio is words": (entry("test", "audio", lambda a: np.full(a.shape, "x")), "of numbers"),
    "audio is flat": (entry("test", "audio", lambda a: a[0].tolist()), "test audio must be"),
    "no vision": (each(lambda part: part.update(vision=[[]] * 4)), r"vision has shape \(4, 0, 0\)"),
    "too few rows": (entry("test", "vision", lambda v: v[:3]), r"test vision has shape \(3, 6, 35"),
    "a German's ids": (entry("test", "id", lambda _: [*"abc", "#WERT!"]), "spreadsheet"),
    "a spreadsheet's ids": (entry("test", "id", lambda _: [*"abc", "#NAME?"]), "spreadsheet"),
    "MAG-BERT": (lambda data: {s: [(("a", 1, 2), 1.0, "v[0]")] for s in data}, "MAG-BERT"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, case):
    change, words = REFUSED[case]
    with pytest.raises(DataError, match=words) as error:
        read(tmp_path, change)
    assert "\n" not in str(error.value)
