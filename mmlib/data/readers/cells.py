"""Tables as written in the file: every cell is a string, "" if empty."""

import csv
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from mmap import mmap
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from mmlib.data.corpus import Corpus, DataError
from mmlib.data.readers.border import check_size, most, readable
from mmlib.data.readers.encodings import decoded
from mmlib.files import sha256

CELL = 8  # bytes that pandas needs per cell, besides its text
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx (or any zip) and .xls
VALID = ("dev", "val", "validation")  # other names of the split "valid"
_ENDS = ",;\t|"  # separators that a header may have


def table(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    encoding: str | None = None,
    header: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The named columns (all if None) of a csv, tsv, jsonl (each also .gz) or parquet file.

    Each cell is kept as written ("None" is a word). `encoding`: guessed from the bytes if None; the
    one used is in `.attrs`. `header`: the column names, for a file without a header line.
    DataError, one line, if the file is missing, cannot be read or lacks a column.
    """
    kinds = [suffix.lower() for suffix in path.suffixes]
    if kinds[-1:] == [".parquet"]:
        rows = _parquet(path)
    elif ".jsonl" in kinds:
        rows = _json_lines(path, encoding)
    else:
        rows = _separated(path, encoding, header)
    check_names(rows.columns)
    rows = rows.rename(columns=on_one_line)
    columns = list(rows.columns) if columns is None else list(columns)
    if missing := [c for c in columns if c not in rows.columns]:
        words = f"missing column(s) {', '.join(missing[:5])}"
        raise DataError(f"{path.name}: {words}; fetch or make it again")
    return rows[columns]


def on_one_line(name: object) -> str:
    """A column's name without blanks around it and without line breaks."""
    return re.sub(r"\s*[\r\n]\s*", " ", str(name).strip())


def check_names(names: Iterable[str], named: bool = False) -> None:
    """DataError if two columns have one name: pandas would give the second another.

    Numbers are no names, but cells of a file without a header, unless the columns are `named`.
    """
    counts = Counter(on_one_line(name) for name in names if name == name)
    if twice := [x for x, n in counts.items() if n > 1 and (named or re.search(r"[^\W\d]", x))]:
        raise DataError(f"two columns are called {twice[0]}; rename one")


def numbers(path: Path, rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """The columns as float32 (n, d); an empty cell is NaN; a comma is a decimal one: 1,000 is 1.

    DataError, one line, with column, row and content of a cell that is not a number.
    """
    cells = rows[list(columns)].replace("", "nan")
    with suppress(ValueError):
        return cells.to_numpy(dtype=np.float32)
    cells = cells.apply(with_points)
    for name in columns:
        is_no_number = pd.to_numeric(cells[name], errors="coerce").isna()
        bad = rows[name][is_no_number & (cells[name].str.lower() != "nan")]
        for at, word in bad[:1].items():
            row = at if isinstance(at, str) else f"row {at + 1}"
            raise DataError(
                f"{path.name}: {word!r} in column {name}, {row}, is no number ({len(bad)} such "
                "rows); correct it"
            )
    return cells.to_numpy(dtype=np.float32)


def with_points(cells: pd.Series) -> pd.Series:
    """Normalise numbers of European spreadsheets: decimal comma, minus sign, one half."""
    cells = cells.str.strip().str.replace("\N{MINUS SIGN}", "-")
    cells = cells.str.replace(r"\s*½$", ".5", regex=True)
    return cells.str.replace(r"^([-+]?\d*),(\d+)$", r"\1.\2", regex=True)


def as_text(value: object) -> str:
    """A word or id as str; a file may hold it as bytes, or as a latin-1 str from Python 2."""
    with suppress(UnicodeError):
        return (value if isinstance(value, bytes) else str(value).encode("latin-1")).decode()
    return value.decode("cp1252", "replace") if isinstance(value, bytes) else str(value)


def corpus_of(files: Sequence[Path], rows: pd.DataFrame, **rest: object) -> Corpus:
    """A corpus with one row per utterance: id, split, label and, if known, group and text.

    Without groups each utterance is its own group. The split "valid" may have a name of VALID.
    files: those read, for the checksums. rest: the other fields of a `Corpus`.
    """
    return Corpus(
        ids=tuple(rows["id"]),
        groups=tuple(rows.get("group", rows["id"])),
        split=rows["split"].str.strip().str.lower().replace(dict.fromkeys(VALID, "valid")),
        label=rows["label"],
        text=tuple(rows["text"]) if "text" in rows else None,
        checksums={str(file.relative_to(files[0].parent)): sha256(file) for file in files},
        **rest,
    )


def _separated(
    path: Path, encoding: str | None = None, header: Sequence[str] | None = None
) -> pd.DataFrame:
    with readable(path, "not a readable csv", "mend it, or fetch it again"):
        text, encoding = decoded(path, _unpacked(path), encoding)
        separator, columns, text = header_of(text, "\t" if ".tsv" in path.name.lower() else ",")
        check_size(path, CELL * columns * max(text.count("\n"), text.count("\r")))
        if header and columns != len(header):
            raise DataError(f"{columns} cells in line 1; expected {', '.join(header)}")
        how = {"sep": separator, "dtype": str, "keep_default_na": False, **quoting(text, separator)}
        names = {"names": list(header), "header": None} if header else {}
        if not header:
            check_names(pd.read_csv(io.StringIO(text), header=None, nrows=1, **how).iloc[0])
        rows = pd.read_csv(io.StringIO(text), **names, **how)
        rows.attrs["encoding"] = encoding
    return unshifted(path, rows)


def unshifted(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are; DataError if pandas took their first cells for names of the rows."""
    if isinstance(rows.index, pd.RangeIndex):
        return rows
    raise DataError(
        f"{path.name}: the rows have more cells than the header names columns; put texts that hold "
        "a separator in quotes, without a blank before the quote, and name every column"
    )


def _json_lines(path: Path, encoding: str | None) -> pd.DataFrame:
    with readable(path, "not readable as JSON lines", "mend it, or fetch it again"):
        text, encoding = decoded(path, _unpacked(path), encoding)
        rows = pd.DataFrame(list(objects(path, text.split("\n"))), dtype=object).fillna("")
        rows.attrs["encoding"] = encoding
    return rows


def objects(path: Path, lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """The cells of each line, which is a JSON object, by name; DataError for another."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = dict(json.loads(line, object_pairs_hook=_with_one_name_each).items())
            except DataError as error:
                raise DataError(f"{path.name}: line {number}: {error}") from None
            except (ValueError, AttributeError, RecursionError):
                words = f"{path.name}: line {number} is no JSON object; mend it, or fetch it again"
                raise DataError(words) from None
            yield {name: cell(value) for name, value in row.items()}


def _with_one_name_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(row := {on_one_line(name): value for name, value in pairs}) < len(pairs):
        check_names(name for name, _ in pairs)
    return row


def cell(value: object) -> str:
    """What JSON or a spreadsheet holds as text; "" for nothing or NaN; half an emoji is U+FFFD."""
    word = "" if value is None or value != value else str(value)
    if isinstance(value, bool | list | dict):
        word = json.dumps(value, ensure_ascii=False, default=as_text)
    return word.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip, whatever its name; DataError for a spreadsheet or an archive."""
    with open(path, "rb") as file:
        mark = file.read(4)
    if mark in SPREADSHEETS:
        raise DataError(f"{path.name}: a spreadsheet or an archive; save its table as csv")
    return mark.startswith(b"\x1f\x8b")


def _unpacked(path: Path) -> bytes:
    """The bytes of a file, decompressed if it is gzip."""
    if not is_gzip(path):
        return path.read_bytes()
    with gzip.open(path) as file:
        content = file.read(most(path) + 1)
    check_size(path, len(content))
    return content


def needed(path: Path, module: str, extra: str) -> ModuleType:
    """Import a module of one of the project's extras; DataError with its name if it is missing."""
    try:
        return import_module(module)
    except ImportError:
        kind, package = path.suffix[1:], module.partition(".")[0]
        raise DataError(
            f"{path.name}: reading {kind} needs {package}; pip install -e '.[{extra}]', or save "
            "the table as csv"
        ) from None


def _parquet(path: Path) -> pd.DataFrame:
    parquet = needed(path, "pyarrow.parquet", "parquet")
    with readable(path, "not a readable parquet"), parquet.ParquetFile(path) as file:
        about, flat = file.metadata, flat_columns(file)
        words = [column.path for column in flat if column.physical_type == "BYTE_ARRAY"]
        packed = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        check_size(path, packed + CELL * about.num_rows * len(flat))
        # dictionary encoding stores each word once, until the expanded size has been checked
        names = [column.path for column in flat]
        rows = parquet.read_table(path, columns=names, read_dictionary=words)
        rows = rows.to_pandas(ignore_metadata=True, integer_object_nulls=True)
        counts = (item for name in words for item in rows[name].value_counts().items())
        check_size(path, sum(len(str(word)) * n for word, n in counts))
    return as_words(rows)


def flat_columns(file: Any) -> list[Any]:
    """The columns of a parquet with one value per row, without an unnamed index of pandas."""
    columns = [file.schema.column(i) for i in range(len(file.schema))]
    return [c for c in columns if c.path == c.name and not c.name.startswith("__index_level_")]


def as_words(rows: pd.DataFrame) -> pd.DataFrame:
    """Every cell as a string, "" for nothing."""
    rows = rows.astype(object).where(rows.notna(), "")
    return rows.map(lambda x: as_text(x) if isinstance(x, bytes) else str(x)).astype(str)


def header_of(text: str, usual: str) -> tuple[str, int, str]:
    """The separator of a table, its number of columns, and the text from the header on.

    Excel's line `sep=;` names the separator; else it is the usual one, unless another splits the
    header into more columns.
    """
    named = re.match(r'[\r\n]*(?:"?sep=(.)"?[\r\n]+)?', text)
    text = text[named.end() :]
    header = re.match(rf'(?:(?<![^{_ENDS}])"(?:[^"]|"")*+"(?=[{_ENDS}\r\n]|$)|[^\r\n])*', text)[0]
    header = re.sub(r'"[^"]*"', "", header)
    separator = named[1] or max((usual, *_ENDS), key=header.count)
    return separator, header.count(separator) + 1, text


def quoting(text: str | mmap, separator: str) -> dict[str, object]:
    """pandas options for the quotes of a table (a str, or a file in UTF-8).

    If a quote is closed inside a cell, then either quotes in texts are escaped by a backslash, or
    quotes are ordinary characters; otherwise an unclosed quote would swallow the following rows.
    DataError if quotes of other cells enclose a separator or a line's end, so that both are meant.
    """
    edge = rf"[{re.escape(separator)}\r\n]"
    patterns = (rf'(?:(?<={edge})|^)"(?:[^"]|"")*+"', rf" *(?:{edge}|$)", r'\\"', edge)
    if not isinstance(text, str):
        patterns = [pattern.encode() for pattern in patterns]
    cell, end, escaped, inner = map(re.compile, patterns)

    def is_closed(found: re.Match) -> bool:
        return bool(end.match(text[found.end() : found.end() + 9]))

    if (bad := next((f for f in cell.finditer(text) if not is_closed(f)), None)) is None:
        return {}
    if escaped.search(text):
        return {"escapechar": "\\"}
    if any(is_closed(found) and inner.search(found[0]) for found in cell.finditer(text)):
        word = bad[0] if isinstance(text, str) else bad[0].decode(errors="replace")
        raise DataError(f"a quote inside a text, as in {word[-40:]!r}; double it, or take it out")
    return {"quoting": csv.QUOTE_NONE}
