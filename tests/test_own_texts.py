"""A kept DyFuLM on texts of one's own: the command, its notes, and the words that moved a score."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from own_model import Model

from mmlib import files
from mmlib.data import DataError
from mmlib.data.readers import cells, stream
from mmlib.dyfulm import kept, score, words
from mmlib.dyfulm.__main__ import main

LONG = ["the room was clean and very good", "a noisy room, and the staff was rude"]
SCRIPT = Path(__file__).with_name("own_model.py")


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The stand-in in the place of the kept model, whose folder has its three files."""
    (tmp_path / "weights").mkdir()
    for name in (kept.CARD, kept.NUMBERS, kept.WORDS):
        (tmp_path / "weights" / name).write_bytes(name.encode())
    model = Model()
    monkeypatch.setattr(kept, "load", lambda folder: model)
    monkeypatch.chdir(tmp_path)
    return model


def rows(path="scored.csv", **options) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False, **options)


def run(*arguments: str) -> int:
    return main([*arguments, "--out", "scored.csv", "--weights", "weights"])


def refused(capsys, words: str, *arguments: str) -> None:
    assert run(*arguments) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said, said


def many(n: int) -> pd.DataFrame:
    texts = [f"{LONG[i % 2]} number {i}" for i in range(n)]
    return pd.DataFrame({"id": range(n), "Review": texts, "town": "Köln"})


# Rows, columns, notes


def test_order_and_columns_are_kept_and_ours_follow(model):
    table = many(3000)
    table.to_csv("mine.csv", index=False)
    assert run("mine.csv") == 0
    scored = rows()
    assert list(scored) == ["id", "Review", "town", *score.COLUMNS]
    assert scored[["id", "Review", "town"]].equals(table.astype(str))
    assert set(scored["coarse"][::2]) == {"positive"} and set(scored["fine"][1::2]) == {"1"}
    sums = scored[["p_negative", "p_neutral", "p_positive"]].astype(float).sum(axis=1)
    assert abs(sums - 1).max() < 2e-4
    assert len(model.asked) == 3000 and sorted(os.listdir()) == [
        "mine.csv",
        "scored.csv",
        "weights",
    ]


def test_what_cannot_be_read_gets_a_note_and_no_guess(model, capsys):
    texts = {
        LONG[0]: "",
        "": score.EMPTY,
        "  \t": score.EMPTY,
        "<br><br/>": f"{score.EMPTY}; {score.HTML}",
        "room very good": score.SHORT,
        "10/10 !!! 5 * 5": score.SHORT,
        "房间很干净，工作人员非常友好，我们还会再来": score.SCRIPT,
        "Номер был чистым, персонал очень приветлив": score.SCRIPT,
        "Das Zimmer war sauber und das Personal sehr freundlich": score.UNKNOWN,
        "<p>the room was <b>clean</b> &amp; very good</p>": score.HTML,
        "the room was bad < the staff was good": "",
        "the room was good &amp; clean < the bed": "",
        "the room was bad &lt;br&gt; the staff was rude": score.HTML,
        "the hotel was good; " * 5000: "",
    }
    pd.DataFrame({"text": list(texts)}).to_csv("mine.csv", index=False)
    assert run("mine.csv", "--text", "text") == 0
    scored = rows()
    assert scored["note"].tolist() == list(texts.values())
    silent = scored[~scored["note"].isin(["", score.HTML])]
    assert (silent[list(score.COLUMNS[:-1])] == "").all(axis=None) and len(silent) == 8
    assert scored["cut"].iloc[-1] == "True" and len(scored["text"].iloc[-1]) == 100_000
    assert "the room was clean & very good" in model.asked
    said = capsys.readouterr().out
    assert "1 cut, first in row 14: longer than what is read" in said
    assert "3 empty, first in row 2: no prediction" in said


def test_a_table_that_has_our_columns_keeps_its_own(model):
    pd.DataFrame({"text": LONG, "note": ["mine", "too"]}).to_csv("mine.csv", index=False)
    assert run("mine.csv") == 0
    assert rows()["note"].tolist() == ["mine", "too"]
    assert rows()["dyfulm_coarse"].tolist() == ["positive", "negative"]


# Formats


def expected() -> pd.DataFrame:
    return pd.DataFrame({"text": [*LONG, ""], "n": ["1,5", "2", "é"]})


def as_bytes(kind: str) -> bytes:
    table, buffer = expected(), io.BytesIO()
    if kind == "parquet":
        table.to_parquet(buffer)
    elif kind == "xlsx":
        pytest.importorskip("openpyxl")
        table.to_excel(buffer, index=False)
    elif kind == "jsonl":
        lines = table.astype(object).where(table != "", None).to_dict("records")
        buffer.write("\n".join(json.dumps(line) for line in lines).encode())
    else:
        separator, encoding = {"european": (";", "cp1252"), "utf16": ("\t", "utf-16")}.get(
            kind, (",", "utf-8-sig")
        )
        buffer.write(table.to_csv(index=False, sep=separator).encode(encoding))
    return gzip.compress(buffer.getvalue()) if kind == "gz" else buffer.getvalue()


@pytest.mark.parametrize(
    "name, kind",
    [("a.csv", "plain"), ("a.csv", "european"), ("a.tsv", "utf16"), ("a.csv.gz", "gz"),
     ("a.jsonl", "jsonl"), ("a.parquet", "parquet"), ("a.xlsx", "xlsx")],
)  # fmt: skip
def test_every_format_gives_the_same_rows(model, name, kind):
    Path(name).write_bytes(as_bytes(kind))
    assert run(name) == 0
    assert rows()[["text", "n"]].equals(expected())


@pytest.mark.parametrize("index", [None, "id"])
def test_a_parquet_keeps_its_order_whatever_its_index(model, index):
    """pandas stores the index of a shuffled or filtered table, and aligned ours by it."""
    table = many(9).drop(columns="id")
    table.index = pd.Index([9, 0, 7, 2, 5, 4, 3, 6, 1], name=index)
    table.to_parquet("a.parquet")
    assert run("a.parquet") == 0
    scored = rows()
    assert set(scored) - {*score.COLUMNS} == {"Review", "town", *([index] if index else [])}
    assert scored["Review"].tolist() == table["Review"].tolist()
    assert scored["coarse"].tolist() == ["positive", "negative"] * 4 + ["positive"]
    if index:
        assert scored[index].astype(int).tolist() == table.index.tolist()


def test_chinese_of_a_spreadsheet_and_a_named_encoding(model):
    chinese = "房间很干净，我们都很喜欢这个地方，服务人员也非常好"
    Path("a.csv").write_bytes(f"text,n\n{chinese},1\n{LONG[0]},2\n".encode("gb18030"))
    assert run("a.csv") == 0
    assert rows()["text"].tolist() == [chinese, LONG[0]]
    Path("b.csv").write_bytes(
        f"text,n\nчистый номер и хороший вид,1\n{LONG[0]},2\n".encode("cp1251")
    )
    assert run("b.csv", "--force", "--encoding", "cp1251") == 0
    assert rows()["text"][0] == "чистый номер и хороший вид"


def test_quotes_line_ends_and_ragged_rows_as_in_other_tables(model):
    Path("a.csv").write_text('text,n\n"the room, it was good\nand clean",1\n"""good"" room",2\nx\n')
    assert run("a.csv") == 0
    assert rows()["text"].tolist() == ["the room, it was good\nand clean", '"good" room', "x"]
    Path("b.tsv").write_text('text\tn\n"good" was the room\t1\n"bad was the bed\t2\nx\t3\n')
    assert run("b.tsv", "--force") == 0
    assert rows()["text"].tolist() == ['"good" was the room', '"bad was the bed', "x"]


def test_a_lone_carriage_return_in_a_cell_breaks_no_row(model):
    lines = [{"text": f"{text}\rand {i}"} for i, text in enumerate(LONG)]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run("a.jsonl") == 0
    assert rows()["text"].tolist() == [f"{text}\nand {i}" for i, text in enumerate(LONG)]


def test_half_an_emoji_is_one_unknown_character(model):
    """Programs that cut texts at a number of UTF-16 units leave one half of an emoji."""
    Path("a.jsonl").write_text(json.dumps({"text": f"{LONG[0]} \ud83d"}) + "\n")
    assert run("a.jsonl") == 0
    assert rows()["text"].tolist() == [f"{LONG[0]} \ufffd"]


def test_utf_16_is_read_in_blocks_that_may_end_within_a_letter(model, monkeypatch):
    monkeypatch.setattr(stream, "BLOCK", 2**8)
    table = pd.DataFrame({"text": [f"{LONG[i % 2]} {i}" for i in range(50)]})
    Path("a.csv").write_bytes(table.to_csv(index=False).encode("utf-16"))
    assert run("a.csv") == 0 and rows()["text"].equals(table["text"])


def test_a_byte_order_mark_is_no_letter_though_the_encoding_is_named(model):
    Path("a.txt").write_bytes(f"{LONG[0]}\n{LONG[1]}\n".encode("utf-8-sig"))
    assert run("a.txt", "--encoding", "utf-8") == 0
    assert rows()["text"].tolist() == LONG


def test_standard_input_is_a_text_a_line(model, monkeypatch):
    raw = io.TextIOWrapper(io.BytesIO(f'{LONG[0]}\n\n"{LONG[1]}\r\n'.encode()))
    monkeypatch.setattr(sys, "stdin", raw)
    assert run("-") == 0
    assert rows()["text"].tolist() == [LONG[0], "", f'"{LONG[1]}']


def test_lines_of_json_may_lack_names(model):
    lines = [{"text": LONG[0], "id": 7}, {"text": LONG[1], "tags": ["a", "b"], "ok": True}]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run("a.jsonl") == 0
    assert rows()[["id", "tags", "ok"]].to_numpy().tolist() == [
        ["7", "", ""],
        ["", '["a", "b"]', "true"],
    ]


# Bounded memory, kill and resume


class Forgetful(list):
    def __iadd__(self, texts):
        return self


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_memory_does_not_grow_with_the_table(model, monkeypatch, suffix):
    model.asked = Forgetful()
    monkeypatch.setattr(stream, "ROWS", 100)
    monkeypatch.setattr(stream, "BLOCK", 2**14)
    peaks = []
    for n in (1000, 5000):
        table = pd.DataFrame({"text": [f"{LONG[i % 2]} {i} " + "good " * 100 for i in range(n)]})
        if suffix == "csv":
            table.to_csv("mine.csv", index=False)
        else:
            table.to_json("mine.jsonl", orient="records", lines=True)
        del table
        model.asked.clear()
        tracemalloc.start()
        assert run(f"mine.{suffix}", "--force") == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(rows()) == n
    assert peaks[1] < 1.5 * peaks[0], peaks  # five times the rows


def start(pause: float, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(pause), *arguments, "--weights", "weights"]
    here = {"PYTHONPATH": os.pathsep.join([str(files.ROOT), *sys.path])}
    return subprocess.Popen(
        command, stdout=-1, stderr=-1, text=True, env=files.child_environment(here)
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_where_it_was(model, how):
    many(6000).to_csv("mine.csv", index=False)
    assert run("mine.csv", "--force") == 0
    whole = Path("scored.csv").read_bytes()
    Path("scored.csv").unlink()
    first = start(0.7, "mine.csv", "--out", "scored.csv")
    while not list(Path().glob("scored.csv.part/*.csv")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    first.send_signal(how)
    said = first.communicate()[1]
    assert first.returncode == -how and not Path("scored.csv").exists()
    assert how == signal.SIGKILL or said.strip().endswith("the same command goes on from here")
    second = start(0, "mine.csv", "--out", "scored.csv")
    said = second.communicate()
    assert second.returncode == 0, said
    asked = int(said[0].split()[-1])
    assert 0 < asked < 6000 and asked % stream.ROWS == 6000 % stream.ROWS
    assert Path("scored.csv").read_bytes() == whole and not Path("scored.csv.part").exists()


def test_a_changed_table_is_read_anew_where_it_changed(model, monkeypatch):
    monkeypatch.setattr(stream, "ROWS", 10)
    table = many(40)
    table.to_csv("mine.csv", index=False)
    real, calls = files.write_whole, []

    def full(path, content):
        calls.append(path.name)
        if path.name == "scored.csv":
            raise files.NotWrittenError(f"cannot write {path} (no space); free space")
        real(path, content)

    monkeypatch.setattr(score, "write_whole", full)
    assert run("mine.csv") == 2 and len(model.asked) == 40
    table.loc[25, "Review"] = "the hotel was bad for us"
    table.to_csv("mine.csv", index=False)
    monkeypatch.setattr(score, "write_whole", real)
    assert run("mine.csv") == 0 and len(model.asked) == 50
    assert rows()["Review"].equals(table["Review"]) and rows()["coarse"][25] == "negative"


# Bad input


def test_a_column_that_is_missing_or_not_the_only_one(model, capsys):
    Path("a.csv").write_text(f"id,body,stars\n1,{LONG[0]},5\n")
    refused(capsys, "a.csv: no columns are called text or review or", "a.csv")
    refused(capsys, "--text, one of id, body, stars", "a.csv", "--text", "Bodi")
    Path("b.csv").write_text(f'text,Review\n{LONG[0]},"{LONG[1]}"\n')
    refused(capsys, "name the texts' column by --text, one of text, Review", "b.csv")
    assert run("b.csv", "--text", "review") == 0
    assert rows()["coarse"].tolist() == ["negative"]


def test_a_first_text_is_not_taken_for_a_name(model, capsys):
    Path("a.csv").write_text("\n".join(line.replace(",", "") for line in LONG))
    refused(capsys, "a.csv: line 1 seems a text; put `text` above, or use --text", "a.csv")
    Path("d.csv").write_text("\n".join(f'{i},"{text}"' for i, text in enumerate(LONG)))
    refused(
        capsys, "(or line 1 is a text: put a line of names above); name the texts' col", "d.csv"
    )
    Path("e.csv").write_text("id,nights that you stayed here,feedback\n1,2,fine\n")
    refused(capsys, "--text, one of id, nights that you stayed here, feedback", "e.csv")
    assert run("a.csv", "--text", LONG[0]) == 0
    Path("b.csv").write_text(f"What guests said\n{LONG[0]}\n")
    assert run("b.csv", "--force") == 0
    Path("c.jsonl").write_text(json.dumps({"How was your stay here?": LONG[0]}))
    assert run("c.jsonl", "--force") == 0


@pytest.mark.parametrize("quoted", ['"Review\ntext"', '"Review\r\n text"'])
def test_a_name_over_two_lines_is_one_name(model, quoted):
    Path("a.csv").write_text(f'{quoted};stars\n{LONG[0]};5\n"{LONG[1]}; ""loud"" one";1\n')
    assert run("a.csv", "--text", "Review text") == 0
    scored = rows()
    assert list(scored)[:2] == ["Review text", "stars"] and scored["stars"].tolist() == ["5", "1"]
    assert scored["coarse"].tolist() == ["positive", "negative"]


def test_a_parquet_keeps_lists_bytes_and_records(model):
    columns = {
        "text": LONG, "tags": [["a", "b"], None], "of": [{"n": 1}, {"n": 2}],
        "raw": [b"\xff\x00", "Köln".encode()],
        "time": pd.to_timedelta(["1 days", "2 days"]), "raws": [["Köln".encode()], []],
    }  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.table(columns), "a.parquet")
    assert run("a.parquet") == 0
    scored = rows()
    assert list(scored)[: len(columns)] == list(columns)
    assert scored["tags"].tolist() == ['["a", "b"]', ""] and scored["of"][0] == '{"n": 1}'
    assert scored["raw"][1] == "Köln" and scored["raws"][0] == '["Köln"]'
    assert scored["time"][0] == "1 days 00:00:00"


def test_two_names_that_differ_in_a_line_break_are_one(model, capsys):
    Path("a.csv").write_text(f'"a\nb",a b,text\n1,2,{LONG[0]}\n')
    refused(capsys, "two columns are called a b", "a.csv")


def test_two_columns_that_are_one_number(model, capsys):
    table = pyarrow.Table.from_arrays([pyarrow.array(LONG)] * 3, names=["text", "2020", "2020"])
    pyarrow.parquet.write_table(table, "a.parquet")
    refused(capsys, "a.parquet: two columns are called 2020; rename one", "a.parquet")


def test_a_column_of_numbers_or_dates_is_not_scored(model, capsys):
    table = pd.DataFrame({"stars": [5, 1], "day": ["2024-01-02", ""], "Review": LONG})
    table.to_csv("mine.csv", index=False)
    for column, word in (("stars", "5"), ("day", "2024-01-02")):
        words = f"column {column} holds no words, e.g. '{word}'; name the texts' column by --text"
        assert run("mine.csv", "--text", column) == 2
        line = capsys.readouterr().err
        assert (
            words in line and line.endswith(", one of Review\n") and not Path("scored.csv").exists()
        )
    mixed = pd.DataFrame({"text": ["5", "2024", LONG[0]]})
    mixed.to_csv("mixed.csv", index=False)
    assert run("mixed.csv") == 0


def test_output_that_exists_or_cannot_be(model, capsys):
    Path("a.csv").write_text(f"text\n{LONG[0]}\n")
    Path("scored.csv").write_text("mine")
    refused(capsys, "scored.csv: exists; name another file with --out, or use --force", "a.csv")
    assert Path("scored.csv").read_text() == "mine"
    assert run("a.csv", "--force") == 0 and len(rows()) == 1
    assert main(["a.csv", "--out", "a.csv", "--weights", "weights", "--force"]) == 2
    assert "a.csv: is the table itself" in capsys.readouterr().err
    assert main(["a.csv", "--out", "scored.xlsx", "--weights", "weights"]) == 2
    assert "name a file .csv or .tsv with --out" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_told_before_the_table_is_read(model, capsys):
    Path("a.csv").write_text(f"text\n{LONG[0]}\n")
    for out, said in (("a.csv/x.csv", "cannot be written"), ("n" * 220 + ".csv", "too long")):
        assert main(["gone.csv", "--out", out, "--weights", "weights"]) == 2
        assert said in capsys.readouterr().err


def test_an_output_that_another_process_wrote_meanwhile_stays(model, capsys, monkeypatch):
    Path("a.csv").write_text(f"text\n{LONG[0]}\n")
    slow = score.text_column
    monkeypatch.setattr(score, "text_column", lambda *given: Path("scored.csv").write_text("its")
                        and slow(*given))  # fmt: skip
    refused(capsys, "scored.csv: exists", "a.csv")
    assert Path("scored.csv").read_text() == "its"


def test_a_link_keeps_its_place_and_its_target_gets_the_rows(model, monkeypatch):
    Path("a.csv").write_text(f"text\n{LONG[0]}\n")
    Path("target.csv").write_text("old")
    Path("scored.csv").symlink_to("target.csv")
    assert run("a.csv", "--force") == 0 and Path("scored.csv").is_symlink()
    assert len(rows("target.csv")) == 1
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert main(["~/a.csv", "--out", "~/a.csv", "--weights", "weights", "--force"]) == 2


def test_another_file_beside_the_weights_does_not_stop_a_run_from_going_on(model, monkeypatch):
    many(30).to_csv("a.csv", index=False)
    with monkeypatch.context() as broken:
        broken.setattr(score, "_join", lambda *given: (_ for _ in ()).throw(OSError("stopped")))
        assert run("a.csv") == 2
    Path("weights/.DS_Store").write_bytes(b"of a file manager")
    asked = len(model.asked)
    assert run("a.csv") == 0 and len(model.asked) == asked and len(rows()) == 30


def test_a_table_of_numbers_or_a_folder_or_an_unknown_encoding(model, capsys):
    Path("a.csv").write_text("id,text\n1,5\n2,4\n")
    refused(capsys, "holds no words, e.g. '5'; nor does another; name a table that has", "a.csv")
    Path("b.csv").mkdir()
    refused(capsys, "b.csv: is a folder; give the path of a table", "b.csv")
    many(3).to_csv("c.csv", index=False)
    refused(capsys, "no text in encoding 'foo' (unknown encoding: foo); name another",
            "c.csv", "--encoding", "foo")  # fmt: skip
    Path("d.csv").write_text("text\nKöln was fine and clean\n", encoding="cp1252")
    refused(capsys, "name another by --encoding, or none", "d.csv", "--encoding", "utf-8")


def test_lines_are_texts_only_in_txt_and_standard_input(model, capsys):
    """A csv without a suffix was scored line by line, its header too."""
    many(3).to_csv("mine", index=False)
    refused(capsys, "mine: not a table that is read here; save it as .csv", "mine")


def test_a_csv_at_standard_input_is_told(model, capsys, monkeypatch):
    """Its header and lines were scored as texts."""
    stdin = io.TextIOWrapper(io.BytesIO(b"id,Review\n1,The room was clean and good\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    refused(capsys, "standard input seems a csv; save it (as .txt if not), and name", "-")
    stdin = io.TextIOWrapper(io.BytesIO(b"A clean room, a good review and a quiet text\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("-") == 0


def test_a_text_with_separators_outside_quotes_is_told(model, capsys):
    Path("a.csv").write_text("id,text\n1,fine\n2,good, clean, quiet\n")
    refused(capsys, "line 3, saw 4); put texts that hold a separator in quotes", "a.csv")


def test_suffixes_in_capitals(model):
    many(3).to_csv("a.csv", index=False)
    assert main(["a.csv", "--out", "SCORED.TSV", "--weights", "weights"]) == 0
    assert len(rows("SCORED.TSV", sep="\t")) == 3


@pytest.mark.parametrize("flags", [[], ["--force"]])
def test_a_folder_of_ones_own_with_the_name_of_the_chunks(model, capsys, flags):
    Path("scored.csv.part").mkdir()
    Path("scored.csv.part/thesis.csv").write_text("mine")
    many(3).to_csv("a.csv", index=False)
    refused(capsys, "scored.csv.part: holds files of your own; name another", "a.csv", *flags)
    assert Path("scored.csv.part/thesis.csv").read_text() == "mine"
    assert not Path("scored.csv").exists()


def test_what_a_kill_left_before_the_first_note_is_no_file_of_ones_own(model):
    Path("scored.csv.part").mkdir()
    Path("scored.csv.part/.run.json.0123abcd.part").write_text("{")  # of `files.write_whole`
    many(3).to_csv("a.csv", index=False)
    assert run("a.csv") == 0 and len(rows()) == 3


def test_the_unfinished_output_of_another_run(model, capsys):
    Path("a.csv").write_text(f'text,review\n{LONG[0]},"{LONG[1]}"\n')
    Path("scored.csv.part").mkdir()
    Path("scored.csv.part/run.json").write_text("{}")
    refused(capsys, "scored.csv.part: left by a run of other options (columns, out, precision, ru",
            "a.csv", "--text", "text")  # fmt: skip
    Path("scored.csv.part/run.json").write_text("cut o")
    refused(capsys, "scored.csv.part: left by a run of other options", "a.csv", "--text", "text")
    assert run("a.csv", "--text", "text", "--force") == 0 and len(rows()) == 1


def test_parts_of_two_precisions_are_not_mixed(model, capsys, monkeypatch):
    many(30).to_csv("a.csv", index=False)
    real = files.write_whole

    def full(path, content):
        if path.name == "scored.csv":
            raise files.NotWrittenError(f"cannot write {path} (no space); free space")
        real(path, content)

    monkeypatch.setattr(score, "write_whole", full)
    refused(capsys, "no space", "a.csv", "--precision", "bfloat16")
    assert model.precision == "bfloat16" and len(model.asked) == 30
    monkeypatch.setattr(score, "write_whole", real)
    refused(capsys, "scored.csv.part: left by a run of other options (precision); finish", "a.csv")
    assert run("a.csv", "--precision", "bfloat16") == 0 and len(model.asked) == 30


def test_an_unknown_precision_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    many(3).to_csv("a.csv", index=False)
    assert main(["a.csv", "--out", "scored.csv", "--precision", "int4"]) == 2
    assert "unknown precision 'int4'; choose one of float32" in capsys.readouterr().err
    assert os.listdir() == ["a.csv"]


def test_a_full_disk_loses_nothing(model, capsys, monkeypatch):
    many(30).to_csv("a.csv", index=False)
    monkeypatch.setattr(stream, "ROWS", 10)
    part = Path("scored.csv.part")
    replace = os.replace

    def full(source, target):
        if len(list(part.glob("*.csv"))) == 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    refused(capsys, "free space or choose another folder", "a.csv")
    assert len(list(part.iterdir())) == 3 and not Path("scored.csv").exists()
    monkeypatch.setattr(os, "replace", replace)
    model.asked.clear()
    assert run("a.csv") == 0 and len(model.asked) == 10 and len(rows()) == 30


def test_no_space_for_the_copy(model, capsys, monkeypatch):
    many(3).to_csv("a.csv", index=False)
    monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(DataError, match=r"no space for a copy in .*; free some, or set TMPDIR"):
        stream._copy(Path("a.csv"), Path("b"), [b""])


def test_two_processes_do_not_write_one_output(model, capsys):
    Path("a.csv").write_text(f"text\n{LONG[0]}\n")
    files.write_whole(Path("scored.csv.part/run.json"), "{}")
    files.write_whole(Path("scored.csv.part/000000-ab.csv"), "its rows")
    with files.locked(Path("scored.csv.part/lock")):
        refused(capsys, "scored.csv: another process writes it", "a.csv")
        refused(capsys, "scored.csv: another process writes it", "a.csv", "--force")
        assert len(os.listdir("scored.csv.part")) == 3  # with the lock: nothing of its is touched
    assert run("a.csv", "--force") == 0 and not Path("scored.csv.part").exists()


CUT = gzip.compress(b"text\nx\n" * 99, mtime=0)[:-9]  # by the clock, two workers collect two names


@pytest.mark.parametrize(
    "name, raw, words",
    [
        ("a.csv", b"", "a.csv: no row; name a table that has some"),
        ("a.csv", b"\n\n", "a.csv: no row; name a table that has some"),
        ("a.csv", b"text,n\n", "a.csv: no row"),
        ("a.csv", b"PK\x03\x04" + bytes(99), "a spreadsheet or an archive; save its table as csv"),
        ("a.csv", b"<!doctype html><p>x", "a web page"),
        ("a.csv", b"text,n\na,b\na,b,c\n", "line 3"),
        ("a.csv", b"text,n\na,b,c\na,b,c\n", "more cells than the header names columns"),
        ("a.csv.gz", CUT, "a.csv.gz: not readable as text"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "a.jsonl: line 2 is no JSON object"),
        ("a.xlsx", b"PK\x03\x04" + bytes(99), "a.xlsx: not a readable xlsx"),
        ("a.xlsx", b"text\nx\n", "a.xlsx: not a readable xlsx"),
        ("a.parquet", b"PAR1" + bytes(99), "a.parquet: not a readable parquet"),
        ("a.docx", b"PK\x03\x04", "not a table that is read here; save it as .csv"),
        ("a.csv", "text,n\nчистый номер и вид\n".encode("cp1251"), "--encoding"),
        ("a.csv", "text,n\n这是一个很好的地方\n".encode() + b"\n" * 40 +
         "我们都很喜欢这里的服务\n".encode("gb18030"), "UTF-8"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(model, capsys, monkeypatch, name, raw, words):
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    monkeypatch.setattr(stream, "BLOCK", 2**6)
    Path(name).write_bytes(raw)
    refused(capsys, words, name)
    refused(capsys, "missing.csv", "missing.csv")
    assert not Path("scored.csv").exists() and not Path("scored.csv.part").exists()


@pytest.mark.parametrize(
    ("sheets", "words"),
    [
        (
            {"Cover": [["Report"]], "Data": [["text"], [LONG[0]]]},
            "2 sheets hold cells (Cover, Data)",
        ),
        ({"Data": [["text"], ["=1+1"]], "Empty": []}, "row 2 has a formula without a result"),
    ],
)
def test_sheets_that_could_be_misread_are_refused(model, capsys, sheets, words):
    book = pytest.importorskip("openpyxl").Workbook()
    book.remove(book.active)
    for title, lines in sheets.items():
        sheet = book.create_sheet(title)
        for line in lines:
            sheet.append(line)
    book.save("a.xlsx")
    refused(capsys, f"a.xlsx: {words}", "a.xlsx")


def test_a_sheet_is_read_whole_whatever_size_it_claims(model):
    """Some programs write a wrong size; a formula may give the empty text."""
    book = pytest.importorskip("openpyxl").Workbook()
    for line in (["text", "n", "why"], [LONG[0], 1, '=IF(B2=1,"","x")'], [LONG[1], 2, "x"]):
        book.active.append(line)
    book.save("made.xlsx")
    with zipfile.ZipFile("made.xlsx") as made, zipfile.ZipFile("a.xlsx", "w") as out:
        for name in made.namelist():
            content = made.read(name)
            if name.endswith("sheet1.xml"):
                content = content.replace(b'ref="A1:C3"', b'ref="A1:B2"')
                content = content.replace(b'<c r="C2">', b'<c r="C2" t="str">')
            out.writestr(name, content)
    assert run("a.xlsx") == 0
    assert rows()[["text", "n", "why"]].values.tolist() == [[LONG[0], "1", ""], [LONG[1], "2", "x"]]


def test_an_encoding_that_is_named_is_not_guessed(model, capsys):
    Path("a.csv").write_bytes("text\nein schöner Tag\n".encode("cp1252"))
    refused(capsys, "utf-8", "a.csv", "--encoding", "UTF-8")


def test_a_table_damaged_at_its_end_is_refused_before_anything_is_read(model, capsys):
    many(5000).to_csv("a.csv", index=False)
    with open("a.csv", "a") as file:
        file.write("1,2,3,4,5\n")
    refused(capsys, "line 5002", "a.csv")
    assert model.asked == []


def test_a_table_that_is_not_there(model, capsys):
    refused(capsys, "nope.csv: no such file; give the path of a table", "nope.csv")


@pytest.mark.parametrize("second", ["n", "n "])
def test_two_columns_of_one_name(model, capsys, second):
    Path("a.csv").write_text(f"text,n,{second},,\n{LONG[0]},1,2,,\n")
    refused(capsys, "a.csv: two columns are called n; rename one", "a.csv")


def test_numbers_beside_empty_cells_stay_as_they_are(model):
    numbers = [None, 2**53 + 1, 7]
    texts = [*LONG, LONG[0]]
    content = pyarrow.table({"text": texts, "n": pyarrow.array(numbers, pyarrow.int64())})
    pyarrow.parquet.write_table(content, "a.parquet")
    lines = [{"text": text, "n": n} for text, n in zip(texts, numbers, strict=True)]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, [*lines, {"text": float("nan")}])))
    for name in ("a.parquet", "a.jsonl"):
        with stream.opened(name) as table:
            (chunk,) = table.chunks()
        assert chunk["n"][:3].tolist() == ["", str(2**53 + 1), "7"]
        assert cells.table(Path(name), ["n"])["n"][:3].tolist() == ["", str(2**53 + 1), "7"]
    assert chunk["text"][3] == "" == cells.table(Path("a.jsonl"))["text"][3]


# Words


def test_a_word_s_effect_is_what_its_absence_takes_away(model):
    text = "the clean room was noisy and the staff was friendly"
    said, effect = words.occlusion(model, text)
    assert said == text.split()
    by_word = dict(zip(said, effect, strict=True))
    assert by_word["clean"] == by_word["friendly"] > 0.1 and by_word["noisy"] < -0.1
    assert all(by_word[word] == 0 for word in ("the", "room", "was", "and", "staff"))
    without = words.stars(model, ["the room was noisy and the staff was friendly"])
    assert by_word["clean"] == words.stars(model, [text])[0] - without[0]
    with pytest.raises(ValueError, match="one word cannot be left out"):
        words.occlusion(model, "good")


def test_deleting_by_effect_moves_the_score_faster_than_at_random(model):
    said, effect = words.occlusion(model, "the clean room and a lovely bed for our friendly hotel")
    shares = [0, 0.1, 0.2, 0.3]
    by_effect = words.deletion(model, said, np.argsort(-effect), shares)
    rng = np.random.default_rng(0)
    random = [words.deletion(model, said, rng.permutation(len(said)), shares) for _ in range(20)]
    assert by_effect[0] == np.mean(random, axis=0)[0] and (np.diff(by_effect) < 0).all()
    assert by_effect[-1] < np.min(random, axis=0)[-1] + 1e-9
    assert abs(by_effect[-1] - 3) < 1e-9  # no word of opinion is left
