"""Review tables of every layout and every bad one, and the targets made from labels."""

import gzip
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmlib.data import SPLITS, DataError, Scale, load
from mmlib.data.readers import texts
from mmlib.data.readers.reviews import BALANCED, NATURAL, natural, natural_weights
from mmlib.data.readers.texts import plain
from mmlib.data.targets import PAPER_SD, Targets, constant, intensity_table, lexicon, targets
from mmlib.scores.passport import passport

N = 60


def reviews(**columns):
    """60 reviews of 20 hotels, each star twelve times; `columns` replace or add."""
    rows = {
        "review_id": [f"r{i}" for i in range(N)],
        "hotel_id": [f"h{i % 20}" for i in range(N)],
        "rating": [1 + i % 5 for i in range(N)],
        "text": [f"The room was number {i}." for i in range(N)],
    }
    return pd.DataFrame({**rows, **columns})


def changed(name, value, row=2):
    column = reviews()[name].astype(object)
    column[row] = value
    return reviews(**{name: column})


def written(root, rows, name="reviews.csv"):
    folder = root / "hotel"
    folder.mkdir(exist_ok=True)
    path = folder / name
    if name.endswith("parquet"):
        rows.to_parquet(path)
    else:
        rows.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    return path


def read(root, rows=None, name="reviews.csv", **options):
    written(root, reviews() if rows is None else rows, name)
    return load("hotel", root, **options)


# Layouts


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.tsv.gz", "a.parquet"])
def test_every_kind_of_file_is_the_same_corpus(tmp_path, name):
    corpus = read(tmp_path, name=name)
    assert corpus.ids == tuple(reviews()["review_id"]) and corpus.text == tuple(reviews()["text"])
    assert corpus.label.tolist() == reviews()["rating"].tolist()
    assert corpus.scale == Scale("stars", 1, 5) and list(corpus.checksums) == [name]


def tripadvisor():
    return pd.DataFrame({"Review": reviews()["text"], "Rating": reviews()["rating"]})


def datafiniti():
    rows = {"reviews.text": "text", "reviews.rating": "rating", "name": "hotel_id"}
    return pd.DataFrame({new: reviews()[old] for new, old in rows.items()}).assign(id="x", city="y")


def booking():
    rows = reviews()
    return pd.DataFrame(
        {
            "Hotel_Name": rows["hotel_id"],
            "Negative_Review": [" No Negative" if i % 3 else " Small room" for i in range(N)],
            "Positive_Review": ["No Positive" if i % 3 == 2 else " Kind staff " for i in range(N)],
            "Reviewer_Score": np.linspace(2.5, 10, N),
        }
    )


@pytest.mark.parametrize(
    ("rows", "hotels"), [(tripadvisor, None), (datafiniti, 20), (booking, 20), (reviews, 20)]
)
def test_known_layouts_are_recognised_by_their_columns(tmp_path, rows, hotels):
    corpus = read(tmp_path, rows())
    assert len(set(corpus.groups)) == (hotels or len(corpus)) and len(corpus) >= 40
    assert corpus.label.min() == 1 and 4.9 < corpus.label.max() <= 5
    unit = "hotels" if hotels else "reviews (no hotel is named)"
    assert f"split made here: 80/10/10 of whole {unit}, seed 0" in corpus.notes


def test_booking_joins_praise_and_complaint_and_maps_its_score(tmp_path):
    corpus = read(tmp_path, booking())
    assert corpus.text[:2] == ("Kind staff. Small room", "Kind staff")
    assert corpus.notes[0] == "20 rows without text left out"  # nothing said on either side
    assert corpus.scale.origin == "1 + 4 (score - 2.5) / 7.5 of a score in 2.5..10"
    assert corpus.label[1] == pytest.approx(1 + 4 / 59)
    again = read(tmp_path, booking().assign(positive_review="other", POSITIVE_REVIEW="other"))
    assert again.text == corpus.text  # the exact name counts


def test_columns_can_be_named(tmp_path):
    rows = reviews().rename(columns={"text": "said", "rating": "mark", "hotel_id": "where"})
    corpus = read(tmp_path, rows, text="said", stars="Mark", hotel="where")
    assert len(corpus) == N and len(set(corpus.groups)) == 20


# Splits


def test_split_is_by_whole_hotels_seeded_and_near_its_shares(tmp_path):
    rows = pd.concat([reviews(review_id=[f"{k}-{i}" for i in range(N)]) for k in range(10)])
    rows["hotel_id"] = [f"h{i % 100}" for i in range(len(rows))]
    first, again, other = (read(tmp_path, rows, seed=seed) for seed in (0, 0, 1))
    assert (first.split == again.split).all() and (first.split != other.split).any()
    hotels = [{first.groups[i] for i in first.rows(s)} for s in SPLITS]
    assert sum(map(len, hotels)) == len(set(first.groups)) == 100
    shares = [len(first.rows(s)) / len(first) for s in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_valid_and_test_have_two_hotels_whatever_their_sizes(seed):
    sizes = np.random.default_rng(seed).permutation([200, 90, 40, 9, 8, 3, 2, 1, 1, 1])
    hotels = pd.Series(np.repeat(list("abcdefghij"), sizes))
    split = texts._split(Path("x.csv"), hotels, "hotels", seed)
    counts = hotels.groupby(split).nunique()
    assert counts["train"] >= 1 and counts["valid"] >= 2 and counts["test"] >= 2


def test_a_split_column_is_kept(tmp_path):
    split = np.repeat(["train", "dev", "test"], 20)
    rows = reviews(split=split, hotel_id=split)
    assert read(tmp_path, rows).split.tolist() == ["train"] * 20 + ["valid"] * 20 + ["test"] * 20


# What is cleaned, and what is refused


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Great<br />stay &amp; <b>kind</b> staff", "Great stay & kind staff"),
        ("one <!-- hidden --> two<script>x = '<p>';</script>", "one two"),
        ("&lt;p&gt;caf&#233;", "café"),
        ("i <3 it, 5 < 6 > 4, R&D & AT&T", "i <3 it, 5 < 6 > 4, R&D & AT&T"),
        ("<!DOCTYPE html><?xml v?>a<o:p>b</o:p> <![CDATA[c]]>", "a b c"),
        ("<STYLE>p {}</STYLE >kept", "kept"),
        (
            "<https://a.b/c> <non-smoking> <mailto:a@b>",
            "<https://a.b/c> <non-smoking> <mailto:a@b>",
        ),
        ("what <? or <!> is", "what <? or <!> is"),
        (
            "rooms <not clean> at all, <EUR 50> a night",
            "rooms <not clean> at all, <EUR 50> a night",
        ),
        ("<a href='x' target=_blank>here</a><img src=x / >", "here"),
        ("<!--" * 20_000, "<!--" * 20_000),
        ("<script" * 20_000, "<script" * 20_000),
        ("<a " + "=" * 100_000, "<a " + "=" * 100_000),
        ("write <me@hotel.example>  or", "write <me@hotel.example>  or"),
    ],
)
def test_html_goes_and_all_else_stays(text, want):
    assert plain(text) == want


def test_what_is_changed_or_left_out_is_noted(tmp_path):
    text = reviews()["text"].tolist()
    text[:4] = ["<p>Fine.</p>", "<br>", "  ", ""]
    stars = reviews()["rating"].astype(object).tolist()
    stars[5] = ""
    corpus = read(tmp_path, reviews(text=text, rating=stars))
    assert corpus.notes[:3] == (
        "HTML taken out of 2 texts",
        "3 rows without text left out",
        "1 rows without stars left out",
    )
    assert len(corpus) == N - 4 and corpus.text[0] == "Fine."


def test_a_review_of_20000_words_is_read_whole(tmp_path):
    assert len(read(tmp_path, changed("text", "word " * 20_000)).text[2].split()) == 20_000


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed("rating", 6), r"stars '6' in row 3 are no number in 1..5 \(1 such rows\)"),
        (changed("rating", 0), "stars '0' in row 3"),
        (changed("rating", "five"), "stars 'five' in row 3"),
        (reviews(text=""), r"no review is left \(60 rows without text"),
        (reviews()[:0], "no review is left .no row"),
        (reviews().drop(columns="text"), "no column text or review or .* for text; pass text= one"),
        (reviews().drop(columns="rating"), "for stars; pass stars= .*hotel_id"),
        (reviews(review_id="r"), "id 'r' occurs 60 times"),
        (reviews(hotel_id="h"), "1 different hotels are too few for splits of whole ones"),
        (reviews(split=np.tile(["train", "valid", "test"], 20), hotel_id="h"), "group 'h' is in"),
        (reviews(split="all"), "unknown split 'all'"),
        (booking().assign(Reviewer_Score=11), r"Reviewer_Score 11 in row 1 is not in 2\.5\.\.10"),
        (reviews()[:9].drop(columns="hotel_id"), "9 different reviews .no hotel is named. are too"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, rows, words):
    with pytest.raises(DataError, match=words) as error:
        read(tmp_path, rows)
    assert "\n" not in str(error.value)


def test_bad_files_and_options_are_refused_in_one_line(tmp_path, monkeypatch):
    path = written(tmp_path, reviews(), "a.parquet")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"a\.parquet: not a readable parquet") as error:
        load("hotel", tmp_path)
    assert "\n" not in str(error.value)
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"pip install -e '\.\[parquet\]'"):
        load("hotel", tmp_path)
    written(tmp_path, reviews())
    with pytest.raises(DataError, match="no column Mark for stars"):
        load("hotel", tmp_path, file="reviews.csv", stars="Mark")


def test_a_comma_outside_quotes_is_refused(tmp_path):
    (tmp_path / "hotel").mkdir()
    lines = ["Review,Rating", *(f"room {i}, nice,5" for i in range(20))]
    (tmp_path / "hotel" / "a.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="more cells than the header names columns; put texts"):
        load("hotel", tmp_path)


def test_a_name_is_a_hotel_s_in_datafiniti_s_tables_only(tmp_path):
    guests = reviews().drop(columns="hotel_id").assign(name=[f"guest {i % 7}" for i in range(N)])
    assert len(set(read(tmp_path, guests).groups)) == N


def test_booking_s_columns_in_any_case(tmp_path):
    lower = booking().rename(columns=str.lower)
    assert read(tmp_path, lower).text == read(tmp_path, booking(), "b.csv").text


def test_of_several_tables_the_choice_is_printed(tmp_path, capsys):
    written(tmp_path, reviews(), "b.csv")
    read(tmp_path, name="a.csv")
    assert capsys.readouterr().out == "hotel: reading a.csv; file= names another: b.csv\n"


def test_passport_counts_stars_and_holds_no_text(tmp_path):
    facts = passport(read(tmp_path))
    assert facts.table().loc[:, "1":"5"].to_numpy().sum() == N
    assert set(facts.frames["base_rates"]) == {"value", "mae", "acc5"}
    assert "number" not in str(facts) and "scale: stars [1, 5]" in str(facts)


# SST-5


def sst5(root, rows):
    (root / "sst5").mkdir()
    text = pd.DataFrame(rows, columns=["split", "label5", "text"]).to_csv(index=False)
    (root / "sst5" / "sst5.csv.gz").write_bytes(gzip.compress(text.encode()))
    return load("sst5", root)


def test_sst5_is_read_and_its_duplicates_are_counted(tmp_path):
    rows = [(s, k, f"{s} {k}") for s in ("train", "dev", "test") for k in range(5)]
    corpus = sst5(tmp_path, [*rows, ("train", 3, "twice"), ("test", 3, "Twice")])
    assert [len(corpus.rows(s)) for s in SPLITS] == [6, 5, 6]
    assert passport(corpus).duplicate_texts == {"train & test": 1}
    with pytest.raises(DataError, match=r"label 5 of 'sst5-00000' is not in \[0, 4\]"):
        sst5(tmp_path / "sst5", [("train", 5, "x"), *rows])


# Natural shares


def test_weights_restore_the_natural_shares():
    stars = np.random.default_rng(0).integers(1, 6, 500)
    weights = natural_weights(stars)
    shares = np.bincount(stars, weights)[1:] / len(stars)
    assert shares == pytest.approx(NATURAL / NATURAL.sum()) and weights.mean() == pytest.approx(1)
    with pytest.raises(DataError, match="no review of 4 stars"):
        natural_weights(stars[stars != 4])


def test_only_the_balanced_file_has_other_natural_shares_than_its_own():
    corpus = corpus_of([1, 2, 3, 4, 5, 5], Scale("stars", 1, 5))
    assert natural(corpus) is None
    balanced = replace(corpus, checksums={f"{BALANCED}.parquet": "0"})
    assert natural(balanced) == pytest.approx(natural_weights(corpus.label))
    assert natural(balanced.take(np.arange(4))) is None  # no weight makes up for a missing star


# Targets


def corpus_of(labels, scale, texts=None):
    """The labels as a corpus' training split, in their order."""
    from mmlib.data import Corpus

    ids = tuple(map(str, range(len(labels))))
    split = np.repeat("train", len(labels))
    return Corpus("made", "made", ids, ids, split, np.array(labels), texts, scale=scale)


@pytest.mark.parametrize(
    ("scale", "label", "coarse", "fine", "intensity"),
    [
        (Scale("stars", 1, 5), [1, 2, 3, 4, 5], [0, 0, 1, 2, 2], range(5), [0, 0.25, 0.5, 0.75, 1]),
        (Scale("stars", 1, 5), [2.5, 3.5, 4.4], [0, 2, 2], [1, 3, 3], [0.375, 0.625, 0.85]),
        (Scale("five classes", 0, 4), range(5), [0, 0, 1, 2, 2], range(5), np.arange(5) / 4),
        (
            Scale("sentiment", -3, 3),
            [-3, -1.5, -0.4, 0, 0.5, 0.6, 2.9],
            [0, 0, 0, 1, 2, 2, 2],
            [0, 0, 2, 2, 2, 3, 4],
            [0, 0.25, 2.6 / 6, 0.5, 3.5 / 6, 0.6, 5.9 / 6],
        ),
    ],
)
def test_targets_are_the_rules_of_the_table(scale, label, coarse, fine, intensity):
    found = targets(corpus_of(label, scale))
    assert found.coarse.tolist() == list(coarse) and found.fine.tolist() == list(fine)
    assert found.intensity == pytest.approx(np.array(intensity), abs=1e-6)
    assert [part.dtype for part in found] == [np.int64, np.int64, np.float32]


def test_targets_can_be_taken():
    found = targets(corpus_of([1, 3, 5], Scale("stars", 1, 5))).take(np.array([2, 0]))
    assert isinstance(found, Targets) and found.fine.tolist() == [4, 0]


TEXTS = ("Wonderful stay. The staff was great!", "A terrible, dirty room.", "There is a door.")


def test_a_lexicon_reads_the_words_alone():
    corpus = corpus_of([1, 5, 3], Scale("stars", 1, 5), TEXTS)
    plain, worded = targets(corpus), targets(corpus, "lexicon")
    assert (worded.fine == plain.fine).all() and (worded.coarse == plain.coarse).all()
    good, bad, none = worded.intensity
    assert 0 <= bad < 0.3 < none == 0.5 < 0.7 < good <= 1
    apart = lexicon(["Wonderful stay.", "The staff was great!"])
    assert lexicon(TEXTS[:1], by_sentence=True) == pytest.approx(apart.mean())


def test_the_paper_s_target_is_narrower_than_stars():
    label = np.repeat([1.0, 2, 3, 4, 5], 20)
    corpus = corpus_of(label, Scale("stars", 1, 5))
    weights = natural_weights(label)
    balanced, natural = (intensity_table(corpus, w, ["label"]).iloc[0] for w in (None, weights))
    assert balanced["sd"] == pytest.approx(0.125**0.5) and balanced["mae"] == pytest.approx(0.3)
    assert natural["mean"] == pytest.approx(np.average((label - 1) / 4, weights=weights))
    assert natural["mae"] == pytest.approx(1 - natural["mean"])  # the median is five stars
    assert 0.162 < PAPER_SD < 0.164 and balanced["sd_to_paper"] > natural["sd_to_paper"] > 1.5


def test_the_best_constant_depends_on_the_shares():
    label = np.repeat([1.0, 2, 3, 4, 5], [30, 20, 20, 20, 20])
    known = targets(corpus_of(label, Scale("stars", 1, 5)))
    plain, natural = (constant(known, 3, w) for w in (None, natural_weights(label)))
    assert [part.tolist() for part in plain] == [[0] * 3, [0] * 3, [0.5] * 3]
    assert [part.tolist() for part in natural] == [[2] * 3, [4] * 3, [1] * 3]


@pytest.mark.parametrize(
    ("scale", "options", "words"),
    [
        (Scale("stars", 1, 5), {"intensity": "stars"}, "unknown intensity 'stars'; choose one of"),
        (Scale("stars", 1, 5), {"intensity": "lexicon"}, "made has no text for a lexicon"),
        (Scale("mood", 1, 5), {}, "no targets for labels of scale 'mood'; .* stars, five classes"),
    ],
)
def test_impossible_targets_are_refused_in_one_line(scale, options, words):
    with pytest.raises(DataError, match=words):
        targets(corpus_of([1, 5], scale), **options)


def test_a_missing_lexicon_names_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(DataError, match=r"pip install -e '\.\[lexicon\]'"):
        lexicon(TEXTS)


# As spreadsheets save tables


def excel(root, text, encoding):
    folder = root / "hotel"
    folder.mkdir(exist_ok=True)
    (folder / "reviews.csv").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    return load("hotel", root)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize(("separator", "first"), [(";", ""), (";", "sep=;\n"), ("\t", "")])
def test_a_european_spreadsheet_is_the_same_corpus(tmp_path, separator, first, encoding):
    rows = reviews(
        text=[f"Café {i}, nice" for i in range(N)], rating=[1.5 + i % 4 for i in range(N)]
    )
    table = rows.to_csv(index=False, sep=separator, decimal=",")
    corpus = excel(tmp_path, first + table, encoding)
    assert corpus.text == tuple(rows["text"]) and corpus.label.tolist() == rows["rating"].tolist()
    assert len(set(corpus.groups)) == 20


def test_a_nul_and_a_comma_in_the_header_do_no_harm(tmp_path):
    table = reviews().rename(columns={"hotel_id": "hotel"}).to_csv(index=False, sep=";")
    corpus = excel(
        tmp_path, table.replace("room", "ro\0om").replace("review_id", "id, of us"), "utf8"
    )
    assert corpus.text[0] == "The room was number 0." and len(corpus) == N


# As other programs save them


def lines(separator=",", text="Room {} was fine", quoted=str, head=("hotel", "text", "rating")):
    """40 reviews of 20 hotels, a text for each number."""
    rows = [[f"h{i // 2}", quoted(text.format(i)), f"{1 + i % 5}"] for i in range(40)]
    return "".join(separator.join(row) + "\n" for row in [head, *rows])


def in_quotes(text):
    return '"' + text.replace('"', '""') + '"'


def with_backslashes(text):
    return '"' + text.replace('"', '\\"') + '"'


OTHERS = {
    "lines of an old Mac": (lines().replace("\n", "\r"), "Room 3 was fine"),
    "and a separator": ("sep=;\r" + lines(";").replace("\n", "\r"), "Room 3 was fine"),
    "a separator in the header": (
        lines(";", head=('"hotel, name"', '"text"', '"rating"')), "Room 3 was fine"
    ),
    "spaces in the header": (lines(head=("hotel", " text ", " rating")), "Room 3 was fine"),
    "lines in a text": (lines(text="a\nb, c, d\n{}", quoted=in_quotes), "a\nb, c, d\n3"),
    "quotes with backslashes": (
        lines(text='it was "ok, fine" {}', quoted=with_backslashes), 'it was "ok, fine" 3'
    ),
    "quotes that nobody closes": (
        lines("\t").replace("Room 3", '"Room 3').replace("Room 9", '"Room 9'), '"Room 3 was fine'
    ),
    "quotes inside": (lines("\t", text='The "best" {}'), 'The "best" 3'),
    "spaces that do not break": (lines().replace(",5\n", ",\xa05\n"), "Room 3 was fine"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
@pytest.mark.parametrize("packed", [False, True])
def test_tables_of_other_programs_are_read(tmp_path, case, packed):
    content, text = OTHERS[case]
    written(tmp_path, reviews()).write_bytes(
        gzip.compress(content.encode()) if packed else content.encode()  # whatever its name says
    )
    corpus = load("hotel", tmp_path)
    assert corpus.text[3] == text and len(corpus) == 40
    assert corpus.label.tolist() == [1 + i % 5 for i in range(40)]


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("Отель хороший, чистый номер", "cp1251"),
        ("ホテルは、良い部屋", "shift-jis"),
        ("Το ξενοδοχείο ήταν καλό", "cp1253"),
    ],
)
def test_words_of_another_encoding_are_not_taken_for_western(tmp_path, words, encoding):
    path = written(tmp_path, reviews())
    content = lines(text=words + " {}", quoted=in_quotes)
    path.write_bytes(content.encode(encoding))
    with pytest.raises(DataError, match=r"reviews\.csv: its words .*; save as UTF-8"):
        load("hotel", tmp_path)
    path.write_text(content)
    assert load("hotel", tmp_path).text[3] == f"{words} 3"


@pytest.mark.parametrize(
    ("words", "encoding"), [("酒店很好，房间干净", "gbk"), ("الفندق جميل جدا", "cp1256")]
)
def test_chinese_and_arabic_are_told_from_their_letters(tmp_path, words, encoding):
    path = written(tmp_path, reviews())
    path.write_bytes(lines(text=words + " {}", quoted=in_quotes).encode(encoding))
    assert load("hotel", tmp_path).text[3] == f"{words} 3"


def test_western_words_in_their_old_encoding_are_read(tmp_path):
    text = "Déjà vu à l'hôtel, “très” naïf … ¡¡¡¡qué día!!!! ———— ÄÄÄÄÄH, but worth every cent {}"
    path = written(tmp_path, reviews())
    path.write_bytes(lines(text=text, quoted=in_quotes).encode("cp1252"))
    assert load("hotel", tmp_path).text[3] == text.format(3)


def test_half_stars_of_any_spreadsheet(tmp_path):
    half = [1 + i % 9 / 2 for i in range(N)]
    for stars in (half, [f"{x:.2f}".replace(".", ",") for x in half], [f" {x} " for x in half]):
        assert read(tmp_path, reviews(rating=stars)).label.tolist() == half


def test_names_of_splits_in_any_case(tmp_path):
    rows = reviews(split=["Train ", "VAL", "test"] * 20, review_id=range(N)).drop(
        columns="hotel_id"
    )
    assert read(tmp_path, rows).split[:3].tolist() == ["train", "valid", "test"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + bytes(range(256)), "a spreadsheet or an archive; save its table as csv"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), "a spreadsheet or an archive; save its table as csv"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>Sign in</html>", "a web page; follow the link"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, content, words):
    written(tmp_path, reviews()).write_bytes(content)
    with pytest.raises(DataError, match=rf"\Areviews\.csv: {words}"):
        load("hotel", tmp_path)
