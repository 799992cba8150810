"""Files as public reports describe them, each with its right answer; without the folder, none."""

import numpy as np
import pytest

from mmlib.data import DataError, load
from mmlib.files import ROOT

CASES = ROOT.parent / "shared" / "cases" / "data"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="no cases")

SELF_MM, FET = {"dims": (33, 35)}, {"dims": (25, 35)}
LISTS = {"name": "mosi", "file": "unaligned_50.pkl"}
READ = [  # folder, data set and options, utterances, what else
    ("00_reference_csd", {}, 24, {}),
    ("01_sdk_aligned_csd", {}, 18, {}),
    ("03_negative_overlapping_labels_csd", {"name": "mosei"}, 40, {"vid00AbC_-0[1]": 28}),
    ("06_selfmm_datapre", {**SELF_MM, "file": "unaligned_50.pkl"}, 16, {"longest": 26}),
    ("06_selfmm_datapre", {**SELF_MM, "file": "aligned_50.pkl"}, 16, {}),
    ("07_fet_audio_text_only", {**FET, "modalities": ("text", "audio")}, 16, {"audio": 190}),
    ("07_fet_no_face", FET, 16, {"audio": 190, "first": [10, 11, 12, 13, 14]}),
    ("07_fet_padding_start", FET, 16, {"audio": 190, "first": [10, 11, 12, 13, 14]}),
    ("08_mosei_overflow_inf_nan", {"name": "mosei"}, 16, {"filled": [3, 6]}),
    ("10_label_csv_semicolons", {"name": "mosei"}, 22, {}),
    *((f"11_reviews_excel_{kind}", {"name": "hotel"}, 36, {"hotels": 12})
      for kind in ("bom_crlf", "semicolon", "sepline", "utf16", "utf16_tsv")),
    ("18_datafiniti_no_zero", {"name": "hotel"}, 35, {}),
    ("18_datafiniti_nul", {"name": "hotel"}, 35, {}),
    *((f"22_pickle_kinds/{kind}", {}, 16, {})
      for kind in ("default", "numpy1", "object", "ordered", "strings")),
    ("24_lists_equal_arrays", LISTS, 16, {"audio": 96}),
    ("24_lists_nested", LISTS, 16, {"audio": 64}),
    ("24_lists_ragged", LISTS, 16, {"first": [4, 5, 6, 4, 5]}),
    ("24_text_bert_flat", {**LISTS, "text_features": True}, 16, {"audio": 96}),
]  # fmt: skip
REFUSED = [
    ("02_covarep_43_and_74_csd", "mosi", "43 in vid02AbC_-2, vid03AbC_-3"),
    ("05_magbert_list_of_tuples", "mosi", "MAG-BERT"),
    ("09_labels_beyond_3", "mosei", "label 3.33333"),
    ("10_label_csv_from_excel", "mosei", "spreadsheet"),
    ("17_html_page_as_pkl", "mosei", "web page"),
    ("17_text_mode_pickle", "mosei", "binary"),
    ("18_datafiniti", "hotel", "stars '0'"),
    ("22_pickle_kinds/pandas", "mosi", "pandas"),
    ("22_pickle_kinds/torch", "mosi", "torch"),
]


@pytest.mark.parametrize(("folder", "options", "n", "facts"), READ)
def test_read(folder, options, n, facts):
    options = {"name": "mosi", **options}
    corpus = load(options.pop("name"), CASES / folder, **options)
    assert len(corpus) == n
    audio = corpus.sequences.get("audio")
    found = {
        "hotels": lambda: len(set(corpus.groups)),
        "audio": lambda: audio.lengths.sum(),
        "first": lambda: audio.lengths[:5].tolist(),
        "longest": lambda: audio.lengths.max(),
        "filled": lambda: audio.filled.sum(axis=1).tolist(),
    }
    for fact, value in facts.items():
        if fact in corpus.ids:
            assert audio.lengths[corpus.ids.index(fact)] == value
        else:
            assert found[fact]() == value


@pytest.mark.parametrize("file", ["aligned_50.pkl", "unaligned_50.pkl"])
def test_text_lengths_of_self_mm(file):
    folder = CASES / "06_selfmm_datapre"
    text = load("mosi", folder, file=file, text_features=True, **SELF_MM).sequences["text"]
    np.testing.assert_array_equal(text.lengths[:8], [6, 7, 6, 6, 7, 7, 6, 7])


@pytest.mark.parametrize(("folder", "name", "words"), REFUSED)
def test_refused(folder, name, words):
    with pytest.raises(DataError, match=words) as error:
        load(name, CASES / folder)
    assert "\n" not in str(error.value)
