"""The real files, where they are: counts and statistics that are known."""

import numpy as np
import pytest

from mmlib.data import SPLITS, load
from mmlib.data.load import FOLDERS
from mmlib.data.readers.reviews import natural_weights
from mmlib.data.targets import intensity_table, targets
from mmlib.files import data_root
from mmlib.scores.passport import passport

SIZES = {
    "mosi": (1281, 229, 685),
    "mosi-leak": (1190, 254, 751),
    "mosei": (16274, 1861, 4653),
    "mmmo": (220, 40, 80),
    "meld": (9989, 1109, 2610),
    "hotel": (31053, 3416, 5531),
    "sst5": (8544, 1101, 2210),
    "zh_hotel": (6212, 776, 777),
    "zh_food": (9590, 1198, 1199),
    "ar_restaurants": (6683, 867, 814),
    "reviews_19lang": (8932, 863, 1215),
    "mustardpp": (962, 120, 120),
}


@pytest.fixture
def real():
    def read(name, **options):
        if not (data_root() / FOLDERS.get(name, name)).is_dir():
            pytest.skip("no data")
        return load(name, **options)

    return read


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_checksums(real, name):
    corpus = real(name)
    assert tuple(len(corpus.rows(s)) for s in SPLITS) == SIZES[name]
    listed = data_root() / "SHA256SUMS"
    if listed.exists():
        digests = {line.split()[-1]: line.split()[0] for line in listed.read_text().splitlines()}
        for file, digest in corpus.checksums.items():
            assert digest in digests.values(), file


def test_mosi(real):
    corpus = real("mosi")
    assert len(corpus) == 2195 and corpus.sequences["audio"].values.shape == (2195, 73)
    assert len(set(corpus.groups)) == 93 and set(corpus.sequences["audio"].lengths) == {1}
    assert corpus.sequences["audio"][0][0, 0] == pytest.approx(211.09)
    assert corpus.notes == ("4 rows without label, text or split left out",)


def test_mosi_bclstm_leak_is_told(real):
    corpus = real("mosi-leak")
    facts = passport(corpus)
    assert any(w.startswith("LEAK") for w in facts.warnings)
    assert "vision: 32 constant columns" in facts.warnings


def test_mosei(real):
    corpus = real("mosei")
    assert len(corpus) == 22788 and len(set(corpus.groups)) == 3217
    assert np.mean(corpus.label == 0) == pytest.approx(0.218, abs=5e-4)
    rates = passport(corpus).frames["base_rates"].loc[("test", "positive")]
    assert rates["acc2_non0"] == pytest.approx(0.629, abs=1.5e-3)
    assert rates["acc2_has0"] == pytest.approx(0.710, abs=1.5e-3)


def test_mmmo(real):
    corpus = real("mmmo")
    assert len(corpus.sequences["audio"].columns) == 74
    assert len(corpus.sequences["vision"].columns) == 36
    assert set(corpus.label * 4 % 3) == {0}  # halves of 1..5 become multiples of .75
    kept = {m: s.lengths.sum() / (340 * 20) for m, s in corpus.sequences.items()}
    assert kept["audio"] == pytest.approx(0.94, abs=0.01)
    assert kept["vision"] == pytest.approx(0.82, abs=0.01)
    assert any("clipped at +-255" in w for w in passport(corpus).warnings)


def test_meld(real):
    corpus = real("meld")
    classes = passport(corpus).frames["classes"]
    assert classes.loc["test", ["-1", "0", "+1"]].tolist() == [833, 1256, 521]
    assert not any(set(text) & set("‘’“”\x92") for text in corpus.text)


def test_hotel(real):
    corpus = real("hotel")
    assert np.bincount(corpus.label.astype(int))[1:].tolist() == [8000] * 5
    assert not passport(corpus).crossing_groups and len(set(corpus.groups)) == 229
    assert np.median([len(text.split()) for text in corpus.text]) == 108
    found = targets(corpus)
    assert np.bincount(found.coarse).tolist() == [16000, 8000, 16000]
    for weights, sd in ((None, 0.354), (natural_weights(corpus.label), 0.259)):
        assert intensity_table(corpus, weights, ["label"])["sd"].item() == pytest.approx(
            sd, abs=1e-3
        )


def test_sst5(real):
    corpus = real("sst5")
    assert np.bincount(targets(corpus).fine).tolist() == [1510, 3140, 2242, 3111, 1852]
    assert passport(corpus).duplicate_texts == {"train & valid": 1, "train & test": 2}


@pytest.mark.parametrize(
    ("name", "negative", "positive", "groups"),
    [
        ("zh_hotel", 2444 - 1, 5322, 7765),
        ("zh_food", 7987, 4000, 11987),
        ("ar_restaurants", 2418, 5946, 1639),
    ],
)
def test_reviews_of_two_classes(real, name, negative, positive, groups):
    corpus = real(name)
    shares = {-3: negative, 3: positive}
    values, counts = np.unique(corpus.label, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == shares
    assert len(set(corpus.groups)) == groups and not passport(corpus).crossing_groups


def test_19_languages(real):
    corpus = real("reviews_19lang")
    codes, counts = np.unique(corpus.annotations["language"], return_counts=True)
    assert len(codes) == 18 and (corpus.label < 0).sum() == 236 and len(set(corpus.groups)) == 203
    for code, count in zip(codes, counts, strict=True):
        assert len(real("reviews_19lang", language=str(code))) == count


def test_mustardpp(real):
    corpus = real("mustardpp")
    assert len(corpus) == 1202 and corpus.annotations["sarcasm"].sum() == 601
    assert len(set(corpus.groups)) == 788  # of 1202 scenes
    assert {corpus.label.min(), corpus.label.max()} == {-3, 2.25}  # of valence 1 and 8


@pytest.mark.parametrize(
    ("name", "file", "encoding"),
    [
        ("zh_hotel", "ChnSentiCorp_htl_all.csv", "gb18030"),
        ("zh_food", "waimai_10k.csv", "gb18030"),
        ("ar_restaurants", "ar_RES1.csv", "cp1256"),
    ],
)
def test_old_encodings_of_real_words_are_told(real, tmp_path, name, file, encoding):
    corpus = real(name)
    raw = (data_root() / name / file).read_text().encode(encoding, errors="replace")
    (tmp_path / name).mkdir()
    (tmp_path / name / file).write_bytes(raw)
    again = load(name, tmp_path)
    same = np.mean([old == new for old, new in zip(corpus.text, again.text, strict=True)])
    assert same > 0.9 and f"words read as {encoding.upper()}" in again.notes
