"""Tables of texts with labels: one's own, the public ones, CH-SIMS and IEMOCAP; all made up."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmlib.daf import interpret
from mmlib.data import SPLITS, DataError, load
from mmlib.data.corpus import check_sides, few
from mmlib.data.readers import border
from mmlib.data.readers.iemocap import EMOTION_WORDS
from mmlib.data.targets import targets
from mmlib.dyfulm import frozen
from mmlib.scores.passport import passport

N = 60
CHINESE = "酒店很好，但是房间太小了，我们都不喜欢"
ARABIC = "المطعم جميل جدا والطعام لذيذ"


def rows(**columns):
    """60 comments on 20 places, each number of stars twelve times."""
    some = {
        "Comment": [f"The soup was number {i}." for i in range(N)],
        "Stars": [1 + i % 5 for i in range(N)],
        "Place": [f"p{i % 20}" for i in range(N)],
    }
    return pd.DataFrame({**some, **columns})


def written(folder, frame, file="mine.csv", saved="utf-8"):
    path = folder / file
    path.parent.mkdir(exist_ok=True, parents=True)
    if ".parquet" in file:
        frame.to_parquet(path)
        return path
    text = frame.to_csv(index=False, sep="\t" if ".tsv" in file else ",")
    if ".jsonl" in file:
        lines = frame.to_dict("records")
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    raw = text.encode(saved)
    path.write_bytes(gzip.compress(raw) if file.endswith(".gz") else raw)
    return path


def read(folder, frame=None, file="mine.csv", saved="utf-8", **options):
    path = written(folder, rows() if frame is None else frame, file, saved)
    return load(str(path), **{"text": "Comment", "label": "Stars", **options})


def refused(words, act, *arguments, **options):
    with pytest.raises(DataError, match=words) as error:
        act(*arguments, **options)
    assert "\n" not in str(error.value)


# One's own table


@pytest.mark.parametrize(
    "name", ["a.csv", "a.csv.gz", "a.tsv", "a.tsv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"]
)
def test_every_kind_of_file_is_the_same_corpus(tmp_path, name):
    corpus = read(tmp_path, file=name, group="Place")
    assert corpus.text == tuple(rows()["Comment"]) and corpus.name == "a"
    assert corpus.label.tolist() == [1.5 * (s - 3) for s in rows()["Stars"]]
    assert corpus.scale.origin == "1.5 (y - 3) of y in 1..5" and corpus.scale.name == "rating"
    assert not passport(corpus).crossing_groups and list(corpus.checksums) == [name]
    assert "split made here: 80/10/10 of whole groups, seed 0" in corpus.notes
    assert "labels are in 1..5; label_range= says otherwise" in corpus.notes


def test_one_quote_too_many_does_not_cut_the_other_texts(tmp_path):
    """They were read without quoting: half texts with whole labels."""
    lines = [f'"Nice stay {i}.\nThe room was clean",{i % 5}' for i in range(N)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["text,label", *lines, '"Great" hotel all in all,4']))
    refused("a quote inside a text, as in '\"Great\"'; double it", load, str(path))
    path.write_text("\n".join(["text,label", *lines, '"""Great"" hotel all in all",4']))
    assert load(str(path)).text[0] == "Nice stay 0.\nThe room was clean"
    alone = [f'"Nice" stay {i}.,{i % 5}' for i in range(N)]
    path.write_text("\n".join(["text,label", *alone]))
    assert load(str(path)).text[0] == '"Nice" stay 0.'


def test_words_of_another_encoding_are_noted_or_refused(tmp_path):
    umlauts = rows(Comment=[f"Frühstück war schön {i}" for i in range(N)])
    assert "words read as UTF-8 and Windows-1252" in read(tmp_path, umlauts, saved="cp1252").notes
    refused("neither UTF-8 nor Western", read, tmp_path, umlauts, saved="cp850")
    assert not [n for n in read(tmp_path, umlauts).notes if "words read" in n]


def test_the_middle_of_a_range_is_neutral(tmp_path):
    """It was 2e-7, so positive."""
    shares = read(tmp_path, rows(Stars=[round(0.2 + 0.2 * (i % 5), 1) for i in range(N)]))
    assert shares.label[:5].tolist() == [-3, -1.5, 0, 1.5, 3]


def test_a_table_of_one_s_own_may_be_called_as_that_of_recordings(tmp_path):
    (tmp_path / "clips").mkdir()
    assert len(read(tmp_path, file="utterances.csv")) == N


def test_a_class_given_twice_is_refused(tmp_path):
    words = rows(Stars=["bad", "good"] * (N // 2))
    refused(
        "labels are the words bad, good; give all", read, tmp_path, words, classes="bad,good,good"
    )


def test_a_cell_that_a_spreadsheet_spoilt_is_no_text(tmp_path):
    texts = [f"The soup was {i}." if i % 3 else "#NAME?" for i in range(N)]
    spoilt = read(tmp_path, rows(Comment=texts))
    assert len(spoilt) == 40 and "20 rows without text left out" in spoilt.notes


def test_blanks_around_a_group_make_no_other_group(tmp_path):
    places = [f"p{i % 20}" + " " * (i // 20) for i in range(N)]
    assert len(set(read(tmp_path, rows(Place=places), group="Place").groups)) == 20


@pytest.mark.parametrize("file", ["a.jsonl", "a.parquet"])
def test_names_that_differ_in_blanks_are_one_name(tmp_path, file):
    twice = rows().assign(**{"Comment ": "another"})
    refused("two columns are called Comment|two values .* Comment", read, tmp_path, twice, file)


def test_blank_lines_above_the_header_and_a_hidden_file(tmp_path):
    path = written(tmp_path, rows())
    path.write_text("\r\n\n" + path.read_text().replace(",", ";"))
    assert load(str(path), text="Comment", label="Stars").text == tuple(rows()["Comment"])
    hotel = rows().set_axis(["text", "stars", "hotel"], axis=1)
    written(tmp_path / "hotel", hotel, "reviews.csv")
    (tmp_path / "hotel" / "._reviews.csv").write_bytes(bytes(99))  # of a Mac
    assert len(load("hotel", tmp_path)) == N


def test_endings_in_capitals_are_the_same_kinds_of_file(tmp_path):
    rows().to_json(tmp_path / "A.JSONL", orient="records", lines=True)
    rows().to_parquet(tmp_path / "B.PARQUET")
    for name in ("A.JSONL", "B.PARQUET"):
        corpus = load(str(tmp_path / name), text="Comment", label="Stars")
        assert corpus.text == tuple(rows()["Comment"])


def test_of_two_columns_that_differ_in_case_the_named_one_is_read(tmp_path):
    table = rows().assign(comment=[f"another {i}" for i in range(len(rows()))])
    table.to_csv(tmp_path / "a.csv", index=False)
    for name in ("comment", "Comment"):
        corpus = load(str(tmp_path / "a.csv"), text=name, label="Stars")
        assert corpus.text == tuple(table[name])


def test_stars_serve_both_models_as_those_of_hotels_do(tmp_path):
    half = [1 + i % 9 / 2 for i in range(N)]
    frame = rows(Stars=half, Place=range(N))
    corpus = read(tmp_path, frame, file="any.csv")
    hotel = written(tmp_path / "hotel", frame.set_axis(["text", "stars", "hotel"], axis=1))
    assert hotel.exists()
    for mine, theirs in zip(targets(corpus), targets(load("hotel", tmp_path)), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert (corpus.label.min(), corpus.label.max()) == (-3, 3)


def test_other_numbers_are_mapped_evenly(tmp_path):
    corpus = read(tmp_path, rows(Stars=[f"{i % 11}".replace(".", ",") for i in range(N)]))
    assert corpus.label[:11].tolist() == pytest.approx([0.6 * (y - 5) for y in range(11)])
    assert targets(corpus).fine[:11].tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    wide = read(tmp_path, rows(Stars=[4 + i % 2 for i in range(N)]), label_range=(1, 5))
    assert wide.scale.name == "rating" and set(targets(wide).fine) == {3, 4}


def test_the_file_s_own_split_and_name_are_kept(tmp_path):
    split = ["Train", "dev", "test"] * 20
    corpus = read(tmp_path, rows(Fold=split), split="Fold", name="soups")
    assert corpus.split[:3].tolist() == ["train", "valid", "test"] and corpus.name == "soups"
    assert load(str(written(tmp_path, rows(split=split)))).split[1] == "valid"  # by usual names
    first, other = (read(tmp_path, seed=seed) for seed in (0, 1))
    assert (first.split != other.split).any() and set(first.split) == set(SPLITS)


@pytest.mark.parametrize(
    ("words", "classes", "values", "name"),
    [
        (["Negative", "neutral ", "POSITIVE"], None, [-3, 0, 3], "three classes"),
        (["neg", "pos"], None, [-3, 3], "two classes"),
        (["negative", "positive"], None, [-3, 3], "two classes"),
        (["bad", "fine", "good"], ("Bad", "fine", "good"), [-3, 0, 3], "three classes"),
        (["bad", "so so", "good"], "Bad, so so,good", [-3, 0, 3], "three classes"),
        ([*"abcde"], tuple("abcde"), [-3, -1.5, 0, 1.5, 3], "rating"),
        ([0, 1], None, [-3, 3], "two classes"),
        ([0, 1, 2], ("2", "1", "0"), [3, 0, -3], "three classes"),
        ([0, 1, 2], (2, 1, 0), [3, 0, -3], "three classes"),
    ],
)
def test_words_are_labels_in_their_order(tmp_path, words, classes, values, name):
    corpus = read(tmp_path, rows(Stars=[words[i % len(words)] for i in range(N)]), classes=classes)
    assert corpus.label[: len(words)].tolist() == values and corpus.scale.name == name
    if name == "rating":
        assert targets(corpus).fine[:5].tolist() == [*range(5)]
    else:
        words = f"mine: no targets for labels of scale '{name}'.*notebook 02 takes this table"
        refused(words, targets, corpus)
        refused(words, frozen.states, corpus, "no encoder of this name", "nor of this")


def column(name, value, row=6):
    cells = rows()[name].astype(object)
    cells[row] = value
    return rows(**{name: cells})


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (
            rows(Stars=["good", "bad"] * 30),
            {},
            r"words bad, good; .* by numbers in their place, or .*classes='bad, \.\.\., good'",
        ),
        (rows(Stars="great"), {"classes": ("bad", "good")}, "labels are the words great; give all"),
        (rows(Stars="great"), {"classes": ("great",)}, "labels are the words great; give all"),
        (column("Stars", "five"), {}, r"label 'five' in row 7 is no number in 1\.\.5 \(1 such row"),
        (column("Stars", "inf"), {}, "label 'inf' in row 7 is no number"),
        (
            column("Stars", 6),
            {"label_range": (1, 5)},
            r"label '6' in row 7 .* load the file by its path with label_range=",
        ),
        (rows(Stars=5), {}, r"all labels are 5; pass label_range=\(low, high\)"),
        (rows(), {"label_range": (5, 5)}, "label '1' in row 1 is no number in 5..5"),
        (rows(), {"text": "Words"}, "no column Words for text; pass text= one of Comment, Stars"),
        (rows(), {"label": None}, None),
        (rows().drop(columns="Stars"), {"label": None}, "no column label or stars .* pass label="),
        (rows(), {"group": "Town"}, "no column Town for group"),
        (rows(Place="p"), {"group": "Place"}, "1 different groups are too few"),
        (rows(), {"stars": "Stars"}, "unknown option 'stars'; choose one of text, label"),
        (rows(), {"name": "mosi"}, "mine.csv: .mosi. is a data set of mmlib's; pass name= another"),
        (
            rows(),
            {"name": "my table"},
            "mine.csv: the name of a data set 'my table': use .*; pass name=",
        ),
        (rows(), {"encoding": "utf-9"}, "no text in encoding 'utf-9'"),
        (rows(Comment=""), {}, "no review is left"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, frame, options, words):
    if words is None:
        assert len(read(tmp_path, frame, **options)) == N
    else:
        refused(words, read, tmp_path, frame, **options)


def test_a_table_that_one_may_not_read_asks_for_its_rights(tmp_path, monkeypatch):
    def forbidden(*a, **k):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "mine.csv").write_text("text,label\nFine,1\n")
    monkeypatch.setattr(border, "open", forbidden, raising=False)  # root may read everything
    refused("^mine.csv: you may not read it; correct its rights$", load, str(tmp_path / "mine.csv"))


def test_bad_files_are_refused_in_one_line(tmp_path):
    refused("missing file .*mine.csv", load, str(tmp_path / "mine.csv"))
    refused("missing file x{300}", load, "x" * 300 + ".csv")
    refused("unknown data set 'mine'", load, "mine")
    refused("unknown data set ''", load, "")
    refused("is a folder without utterances.csv: repeat the command", load, str(tmp_path))
    (tmp_path / "u.csv").write_bytes("text,label\nGood – fine,1\n".encode("utf-16-le"))
    refused("u.csv: UTF-16 without its mark", load, str(tmp_path / "u.csv"))
    path = tmp_path / "mine.xlsx"
    path.write_bytes(b"PK\x03\x04 and so on")
    refused("mine.xlsx: a spreadsheet or an archive; save its table as csv", load, str(path))
    for content in ('{"text": "a", "label": 1}\n{"text": \n', "[1]\n[2]\n", ""):
        (tmp_path / "b.jsonl").write_text(content)
        refused(r"b\.jsonl: (line \d is no JSON object|no column)", load, str(tmp_path / "b.jsonl"))


# Encodings


@pytest.mark.parametrize(("words", "encoding"), [(CHINESE, "gb18030"), (ARABIC, "cp1256")])
@pytest.mark.parametrize("kind", ["mine.csv", "mine.jsonl"])
def test_chinese_and_arabic_encodings_are_told_and_noted(tmp_path, words, encoding, kind):
    frame = rows(Comment=[f"{words} {i}" for i in range(N)])
    corpus = read(tmp_path, frame, kind, encoding)
    assert corpus.text == tuple(frame["Comment"])
    assert f"words read as {encoding.upper()}" in corpus.notes
    one = rows(Comment=[*frame["Comment"][:1], *rows()["Comment"][1:]])  # among English
    assert read(tmp_path, one, kind, encoding).text == tuple(one["Comment"])


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("이 호텔은 정말 좋았습니다 직원들이 친절하고 방이 깨끗했어요", "euc-kr"),
        ("とても良いホテルでした。部屋はきれいで、親切でした。", "euc-jp"),
        ("とても良いホテルでした。部屋はきれいで、親切でした。", "shift-jis"),
        ("這家酒店非常好，房間很乾淨，服務人員也很親切", "big5"),
        ("отель хороший, чистый номер", "koi8-r"),
        ("Отель хороший, чистый номер", "cp1251"),
        (ARABIC, "iso8859-6"),
        ("המלון היה טוב מאוד והחדר נקי", "cp1255"),
        ("โรงแรมดีมาก ห้องสะอาด", "tis-620"),
    ],
)
def test_others_are_refused_until_they_are_named(tmp_path, words, encoding):
    frame = rows(Comment=[f"{words} {i}" for i in range(N)])
    refused(
        "words are neither UTF-8 nor Western; save as", read, tmp_path, frame, "a.csv", encoding
    )
    corpus = load(str(tmp_path / "a.csv"), text="Comment", label="Stars", encoding=encoding)
    assert corpus.text == tuple(frame["Comment"])


def test_utf_8_with_a_control_character_stays_utf_8(tmp_path):
    texts = [f"It\u0092s a very long street, 大街上的酒店, number {i}" for i in range(N)]
    assert read(tmp_path, rows(Comment=texts)).text[0].startswith("It’s a very long street, 大街")


@pytest.mark.parametrize(("words", "encoding"), [(CHINESE, "gb18030"), (ARABIC, "cp1256")])
def test_two_encodings_in_one_file_are_refused(tmp_path, words, encoding):
    path = written(tmp_path, rows(Comment=words), saved=encoding)
    path.write_bytes(path.read_bytes() + f"{words},5,p\n".encode())
    refused(r"partly UTF-8 and partly not, as in line 2; save each part as UTF-8", load, str(path))
    path.write_text(f"Comment,Stars\n{CHINESE},1\n")
    refused("no text in encoding 'ascii'", load, str(path), encoding="ascii")


@pytest.mark.parametrize("file", ["a.csv", "a.tsv"])
def test_two_columns_of_one_name_are_refused(tmp_path, file):
    frame = rows().assign(again="1").rename(columns={"again": "Stars"})
    path = written(tmp_path, frame, file)
    refused(f"{file}: two columns are called Stars; rename one", load, str(path))


def test_a_line_of_json_with_two_values_of_one_name_is_refused(tmp_path):
    path = written(tmp_path, rows(), "a.jsonl")
    path.write_text(path.read_text().replace('"Stars"', '"Stars": 1, "Stars"', 1))
    refused(r"a\.jsonl: line 1: two columns are called Stars; rename one", load, str(path))


# Few labelled examples


def test_few_examples_are_drawn_or_refused(tmp_path):
    corpus = read(tmp_path)
    drawn = few(corpus, 20, seed=3)
    assert len(drawn) == 20 and set(drawn.split) == {"train"}
    assert few(corpus, 20, seed=3).ids == drawn.ids != few(corpus, 20, seed=4).ids
    refused("mine, split train: 1000 labelled asked for, 48 are there", few, corpus, 1000)
    glad = corpus.take(np.flatnonzero(corpus.label >= 0))
    refused("mine, split train: none of 9 labels is negative; ask for more", few, glad, 9)
    sad = corpus.take(np.flatnonzero(corpus.label <= 0))
    refused("none of 9 labels is positive", few, sad, 9)
    for n in (0, -5):
        refused(
            f"mine, split train: {n} labelled asked for, 48 are there; ask for one", few, corpus, n
        )


def test_a_training_set_of_one_side_is_refused(tmp_path):
    corpus = read(tmp_path)
    check_sides(corpus)
    glad = corpus.take(np.flatnonzero((corpus.label > 0) | (corpus.split == "test")))
    check_sides(glad, "test")
    refused("mine, split train: none of [0-9]+ labels is negative; use other", check_sides, glad)


# Public tables


def test_reviews_of_two_classes(tmp_path):
    frame = pd.DataFrame({"label": [i % 2 for i in range(N)], "review": CHINESE})
    frame["review"] += frame.index.astype(str)
    frame.loc[3, "review"] = ""
    for name, file in (("zh_hotel", "ChnSentiCorp_htl_all.csv"), ("zh_food", "waimai_10k.csv")):
        written(tmp_path / name, frame, file, "gb18030")
        corpus = load(name, tmp_path)
        assert corpus.name == name and len(corpus) == len(set(corpus.groups)) == N - 1
        assert corpus.label[:2].tolist() == [-3, 3] and corpus.ids[3] == "row 5"
        assert "1 rows without text left out" in corpus.notes
    frame = pd.DataFrame({"polarity": [1, -1] * 30, "text": ARABIC, "restaurant_id": range(N)})
    written(
        tmp_path / "ar_restaurants", frame.assign(restaurant_id=frame.index % 15), "ar_RES1.csv"
    )
    corpus = load("ar_restaurants", tmp_path, seed=2)
    assert corpus.label[:2].tolist() == [3, -3] and len(set(corpus.groups)) == 15
    assert "split made here: 80/10/10 of whole restaurants, seed 2" in corpus.notes


def test_a_language_can_be_chosen(tmp_path):
    frame = rows(lang=["de", "nl"] * 30, Stars=[1 + i % 9 / 2 for i in range(N)])
    frame = frame.set_axis(["text", "stars", "group", "lang"], axis=1).assign(text="Lekker gegeten")
    written(tmp_path / "reviews_19lang", frame, "reviews_19lang_restaurants.csv.gz")
    both, one = load("reviews_19lang", tmp_path), load("reviews_19lang", tmp_path, language="nl")
    assert both.notes[-1] == "60 of 60 rows: de 30, nl 30"
    assert both.annotations["language"][:2].tolist() == ["de", "nl"]
    assert one.ids[0] == "row 2" and len(one) == 30 and one.notes[-1].startswith("30 of 60 rows")
    assert one.label[0] == -2.25 and targets(one).fine[0] == 1  # one star and a half
    refused(
        "19lang_restaurants.csv.gz: unknown language 'xx'; choose one of de, nl",
        load, "reviews_19lang", tmp_path, language="xx",
    )  # fmt: skip


def test_english_under_another_language_is_left_out(tmp_path):
    languages = ["nl"] * 20 + ["en"] * 10 + ["hi"] * 30  # the last in English throughout
    texts = ["Lekker gegeten"] * 18 + ["The food was lovely"] * 42
    frame = pd.DataFrame(
        {"lang": languages, "stars": [1, 5] * 30, "text": texts, "group": range(N)}
    )
    frame.loc[40, "text"] = "Excellent!"
    written(tmp_path / "reviews_19lang", frame, "reviews_19lang_restaurants.csv.gz")
    corpus = load("reviews_19lang", tmp_path)
    assert corpus.annotations["language"].tolist() == ["nl"] * 18 + ["en"] * 10
    assert corpus.notes[-2:] == (
        "28 of 28 rows: en 10, nl 18", "English under other languages, left out: hi 30, nl 2",
    )  # fmt: skip
    refused("unknown language 'hi'", load, "reviews_19lang", tmp_path, language="hi")


PUBLIC = {  # data set -> its file, and a table that it may hold
    "zh_hotel": ("ChnSentiCorp_htl_all.csv", {"label": [0, 1] * 30, "review": CHINESE}),
    "zh_food": ("waimai_10k.csv", {"label": [0, 1] * 30, "review": CHINESE}),
    "ar_restaurants": ("ar_RES1.csv", {"polarity": [-1, 1] * 30, "text": ARABIC,
                                       "restaurant_id": range(N)}),
    "reviews_19lang": ("reviews_19lang_restaurants.csv.gz",
                       {"lang": "el", "stars": [1, 5] * 30, "text": "Καλό", "group": range(N)}),
}  # fmt: skip
LATIN = "Not a word of it."


@pytest.mark.parametrize(
    ("name", "column", "value", "words"),
    [
        ("zh_hotel", "label", [1, 5] * 30, r"label '5' in row 2 is neither 0 nor 1 \(30 such"),
        ("zh_food", "label", 0.5, "label '0.5' in row 1 is neither 0 nor 1"),
        ("ar_restaurants", "polarity", [0, 1] * 30, "label '0' in row 1 is neither -1 nor 1"),
        ("reviews_19lang", "stars", [1, 9] * 30, r"label '9' in row 2 is no number in 1\.\.5"),
        ("zh_hotel", "review", LATIN, "60 of 60 texts have no letter of language 'zh', the first"),
        ("zh_food", "review", ARABIC, "no letter of language 'zh'"),
        ("ar_restaurants", "text", [*[ARABIC] * 29, *[LATIN] * 31], "31 of 60 .* 'ar', .* row 30;"),
        ("reviews_19lang", "text", LATIN, "60 of 60 texts have no letter of language 'el'"),
        ("reviews_19lang", "lang", ["el", "greek"] * 30, "unknown language 'greek'; choose one of"),
    ],
)
def test_a_public_file_of_another_scale_or_script_is_refused(tmp_path, name, column, value, words):
    file, columns = PUBLIC[name]
    good = pd.DataFrame(columns)
    path = written(tmp_path / name, good, file)
    assert len(load(name, tmp_path)) == N
    written(tmp_path / name, good.assign(**{column: value}), file)
    refused(f"^{file}: .*{words}", load, name, tmp_path)
    if "label" in words:  # the remedy of that line
        own = {"text": "review", "label": "label"} if "zh" in name else {}
        assert len(load(str(path), label_range=(-9, 9), name="own", **own)) == N


def test_half_stars_may_be_written_as_a_fraction(tmp_path):
    stars = ["4½", "1 ½", "3", "3.5", "2,5", "½"] * 10
    corpus = read(tmp_path, rows(Stars=stars), label_range=(0, 6))
    assert (corpus.label[:6] + 3).tolist() == [4.5, 1.5, 3, 3.5, 2.5, 0.5]
    refused("'4¼' in row 1 is no number in 0..6", read, tmp_path, rows(Stars=["4¼", *stars[1:]]),
            label_range=(0, 6))  # fmt: skip


def scenes():
    """Scenes of 30 episodes in pairs: the context of the second is the target of the first."""
    for k in range(30):
        for scene, said in ((f"1_{100 + k}", "one"), (f"1_{500 + k}", "two")):
            yield scene, f"{scene}_c_00", f"How on earth is number {k}?", "", "", ""
            yield scene, f"{scene}_u", f"I say {said} of {k}.", k % 2, 1 + k % 9, 1 + k % 8
        yield f"1_S01E01_{k}", f"1_S01E01_{k}_u", f"Oh {k}.", 1, 9, 5


def test_mustardpp_keeps_linked_scenes_together(tmp_path):
    names = ["SCENE", "KEY", "SENTENCE", "Sarcasm", "Valence", "Arousal"]
    frame = pd.DataFrame(scenes(), columns=names)
    written(tmp_path / "mustardpp", frame, "mustardpp_text.csv")
    corpus = load("mustardpp", tmp_path)
    assert len(corpus) == 90 and len(set(corpus.groups)) == 31
    group = dict(zip(corpus.ids, corpus.groups, strict=True))
    assert group["1_103"] == group["1_503"] != group["1_104"]
    assert corpus.label[:3].tolist() == [-3, -3, 3] and corpus.scale.name == "valence"
    assert corpus.annotations["sarcasm"][:3].tolist() == [0, 0, 1]
    assert corpus.annotations["arousal"][2] == 5 and targets(corpus).coarse[:3].tolist() == [
        0,
        0,
        2,
    ]
    assert "60 rows of context left out" in corpus.notes
    frame.loc[6, "Arousal"] = "calm"
    written(tmp_path / "mustardpp", frame, "mustardpp_text.csv")
    refused(r"mustardpp_text.csv: 'calm' in column Arousal, row 7, is no number \(1 such",
            load, "mustardpp", tmp_path)  # fmt: skip


# CH-SIMS


def sims(**columns):
    some = {
        "video_id": [f"video_{i // 4:04d}" for i in range(12)],
        "clip_id": [f"{1 + i % 4:04d}" for i in range(12)],
        "text": [f"我说 {i}" for i in range(12)],
        "M": [-1, -0.2, 0, 0.6] * 3,
        "T": [1, 0, 0.2, -1] * 3,
        "A": 0.4,
        "V": -0.8,
        "annotation": "Neutral",
        "mode": np.repeat(SPLITS, 4),
    }
    return pd.DataFrame({**some, **columns})


@pytest.mark.parametrize("has_header", [True, False])
@pytest.mark.parametrize("kind", [int, float, None])  # of clip ids, as a spreadsheet has them
def test_sims_and_its_labels_of_one_modality(tmp_path, has_header, kind):
    path = written(tmp_path / "sims", sims(), "label.csv")
    is_excel = kind is not None
    content = sims(clip_id=[kind(1 + i % 4) for i in range(12)]) if is_excel else sims()
    encoding = "gb18030" if is_excel else "utf-8"  # of which two letters can be two in UTF-8
    path.write_text(content.to_csv(index=False, header=has_header), encoding)
    corpus = load("sims", tmp_path)
    assert corpus.text[1] == "我说 1"
    assert corpus.ids[1] == "video_0000$_$0002" and len(set(corpus.groups)) == 3
    assert corpus.label[:4].tolist() == pytest.approx([-3, -0.6, 0, 1.8])
    alone = {name: values[0] for name, values in corpus.annotations.items()}
    assert alone == pytest.approx({"text": 3, "audio": 1.2, "vision": -2.4})
    distance = interpret.distances(corpus, ("text", "audio", "vision"))  # |T - M|, |A - M|, |V - M|
    assert distance[0] == pytest.approx([6, 4.2, 0.6])
    assert any("12 clip ids got the zeros back" in note for note in corpus.notes) == is_excel
    assert any(note.startswith("not the public label.csv") for note in corpus.notes)


def test_sims_under_other_names_with_a_split_through_videos_and_bad(tmp_path):
    usual = {"M": "label", "T": "label_T", "A": "label_A", "V": "label_V"}
    crossing = sims(mode=[*SPLITS, "train"] * 3).rename(columns=usual)
    written(tmp_path / "sims", crossing, "label.csv")
    corpus = load("sims", tmp_path, file="label.csv")
    assert corpus.groups == corpus.ids and "cuts through 3 of 3 videos" in corpus.notes[-1]
    assert any("cuts through" in warning for warning in passport(corpus).warnings)
    for bad, words in (
        (sims(A=2), r"label.csv: A '2' in row 1 is no number in -1\.\.1 \(12 such labels\)"),
        (sims(V=""), "label.csv: V '' in row 1 is no number"),
        (sims().drop(columns="V"), "label.csv: unknown column 'V'"),
    ):
        written(tmp_path / "sims", bad, "label.csv")
        refused(words, load, "sims", tmp_path)
    (tmp_path / "sims" / "label.csv").write_text("a,b\nc,d\n")
    refused("label.csv: 2 cells in line 1; expected video_id, clip_id", load, "sims", tmp_path)


# IEMOCAP


def iemocap(root, change=None):
    """Two dialogues of two turns in each of five sessions; change: (file, old, new)."""
    for session in range(1, 6):
        for dialogue in ("F_impro01", "M_script01_1"):
            name = f"Ses{session:02d}{dialogue}"
            evaluated = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
            spoken = "M: nobody evaluated this\n"
            for turn, emotion, v in (("F000", "neu", "2.5000"), ("M000", "xxx", "5.0000")):
                evaluated += f"[6.29 - 8.23]\t{name}_{turn}\t{emotion}\t[{v}, 3.5000, 1.0000]\n"
                evaluated += "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
                spoken += f"{name}_{turn} [006.2900-008.2300]: Well, that is {turn}.\n"
            dialog = root / "iemocap" / "IEMOCAP_full_release" / f"Session{session}" / "dialog"
            for folder, text in (("EmoEvaluation", evaluated), ("transcriptions", spoken)):
                (dialog / folder).mkdir(parents=True, exist_ok=True)
                file = f"{folder}/{name}.txt"
                if change and change[0] == file:
                    text = text.replace(*change[1:])
                (dialog / file).write_text(text)
    return root


def test_iemocap_is_read_by_sessions(tmp_path):
    corpus = load("iemocap", iemocap(tmp_path))
    assert [len(corpus.rows(split)) for split in SPLITS] == [12, 4, 4]
    assert corpus.ids[0] == "Ses01F_impro01_F000" and corpus.text[0] == "Well, that is F000."
    assert corpus.groups[0] == "Ses01F_impro01" and len(set(corpus.groups)) == 10
    assert corpus.label[:2].tolist() == [-0.75, 3] and corpus.scale.name == "valence"
    assert corpus.scale.origin == "1.5 (y - 3) of y in 1..5" and len(corpus.checksums) == 1
    facts = {name: values[:2].tolist() for name, values in corpus.annotations.items()}
    assert facts == {"activation": [3.5, 3.5], "dominance": [1, 1], "emotion": [0, 10]}
    assert EMOTION_WORDS[10] == "xxx" and targets(corpus).coarse[1] == 2
    moved = tmp_path / "flat" / "iemocap"
    moved.parent.mkdir()
    (tmp_path / "iemocap" / "IEMOCAP_full_release").rename(moved)
    assert load("iemocap", tmp_path / "flat").checksums == corpus.checksums


EVALUATION, TRANSCRIPT = (
    f"{kind}/Ses02F_impro01.txt" for kind in ("EmoEvaluation", "transcriptions")
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((EVALUATION, "[2.5000,", "[2.5000"), rf"{EVALUATION}, line 3: expected \[start - end\]"),
        ((EVALUATION, "2.5000", "5.6"), f"{EVALUATION}, line 3: Ses02F_impro01_F000 is not within"),
        ((EVALUATION, "2.5000", "2.5.0"), f"{EVALUATION}, line 3: expected"),
        ((EVALUATION, "neu", "meh"), f"{EVALUATION}, line 3: unknown emotion 'meh'"),
        ((TRANSCRIPT, "F000", "F001"), f"{EVALUATION}, line 3: Ses02F_impro01_F000 has no words"),
        ((TRANSCRIPT, "]: Well", "] Well"), rf"{TRANSCRIPT}, line 2: expected turn"),
    ],
)  # fmt: skip
def test_damaged_dialogues_are_refused_with_file_and_line(tmp_path, change, words):
    refused(words, load, "iemocap", iemocap(tmp_path, change))


def test_a_mean_half_a_step_beyond_is_cut_and_noted(tmp_path):
    corpus = load("iemocap", iemocap(tmp_path, (EVALUATION, "2.5000", "5.5000")))
    assert corpus.label.max() == 3 and corpus.notes[-1].startswith("1 valences half a step beyond")


def test_missing_parts_of_iemocap_are_named(tmp_path):
    folder = iemocap(tmp_path) / "iemocap" / "IEMOCAP_full_release" / "Session3" / "dialog"
    (folder / "transcriptions" / "Ses03F_impro01.txt").unlink()
    refused("missing file .*transcriptions/Ses03F_impro01.txt", load, "iemocap", tmp_path)
    for file in Path(folder / "EmoEvaluation").glob("*"):
        file.unlink()
    refused(r"no Ses\*.txt in .*Session3.dialog.EmoEvaluation; put", load, "iemocap", tmp_path)
