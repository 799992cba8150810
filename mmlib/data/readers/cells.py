"""Tables as they stand in their file: every cell a string, "" where it is empty."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.data.corpus import Corpus, DataError
from mmlib.files import sha256


def table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The named columns (all if None) of a csv, tsv (either also .gz) or parquet file.

    Each cell is as it stands ("None" is a word). DataError, one line, if the file is missing, not
    readable or lacks a column.
    """
    if not path.exists():
        raise DataError(f"missing file {path}; put it beside the others")
    rows = _parquet(path) if path.suffix == ".parquet" else _separated(path)
    columns = list(rows.columns) if columns is None else list(columns)
    if missing := [c for c in columns if c not in rows.columns]:
        raise DataError(f"{path.name}: missing column(s) {', '.join(missing[:5])}; fetch it again")
    return rows[columns]


def numbers(path: Path, rows: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """The columns as float32 (n, d); an empty cell is NaN, a comma may mark decimals."""
    cells = rows[list(columns)].replace("", "nan")
    try:
        if any(cells[column].str.contains(",", regex=False).any() for column in cells):
            cells = cells.apply(with_points)
        return cells.to_numpy(dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{path.name}: {error} in {columns[0]}..{columns[-1]}") from None


def with_points(cells: pd.Series) -> pd.Series:
    """Cells whose decimals follow a comma, as European spreadsheets write them, with a point."""
    return cells.str.replace(r"^\s*([-+]?\d*),(\d+)\s*$", r"\1.\2", regex=True)


def corpus_of(files: Sequence[Path], rows: pd.DataFrame, **rest: object) -> Corpus:
    """A corpus of one row an utterance: id, split, label and, where they are known, group and text.

    Without groups each utterance is its own. "dev" and "validation" are other names of "valid".
    files: what was read, for the checksums. rest: the other parts of a `Corpus`.
    """
    return Corpus(
        ids=tuple(rows["id"]),
        groups=tuple(rows.get("group", rows["id"])),
        split=rows["split"].replace({"dev": "valid", "validation": "valid"}),
        label=rows["label"],
        text=tuple(rows["text"]) if "text" in rows else None,
        checksums={file.name: sha256(file) for file in files},
        **rest,
    )


def _separated(path: Path) -> pd.DataFrame:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        separator, text = _separator(_decode(raw), "\t" if ".tsv" in path.suffixes else ",")
        rows = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (OSError, EOFError, UnicodeError, zlib.error, pd.errors.ParserError,
            pd.errors.EmptyDataError) as error:  # fmt: skip
        words = " ".join(str(error).split())
        raise DataError(
            f"{path.name}: not a readable csv ({words}); mend it, or fetch it again"
        ) from None
    if not isinstance(rows.index, pd.RangeIndex):  # pandas takes what is too much for names of rows
        raise DataError(
            f"{path.name}: the rows have more cells than the header names columns; put texts "
            "that hold a separator in quotes, and name every column"
        )
    return rows


def _parquet(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_parquet(path)
    except ImportError:
        raise DataError(
            f"{path.name}: reading parquet needs pyarrow; pip install 'mmlib[parquet]', or save "
            "the table as csv"
        ) from None
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{path.name}: not a readable parquet ({words}); fetch it again") from None
    return rows.astype(object).where(rows.notna(), "").astype(str)


def _separator(text: str, usual: str) -> tuple[str, str]:
    """The separator of a table and the table without Excel's line `sep=;`.

    The usual one, unless another cuts the header into more columns.
    """
    if named := re.match(r'"?sep=(.)"?\r?\n', text):
        return named[1], text[named.end() :]
    header = text.partition("\n")[0].rstrip("\r")
    counts = {s: len(next(csv.reader([header], delimiter=s), ())) for s in (usual, *",;\t|")}
    return max(counts, key=counts.get), text


def _decode(raw: bytes) -> str:
    """UTF-8, with Windows-1252 for each byte that is none, or that was taken for a control.

    UTF-16 where a mark at the start says so. A NUL is left out: no parser reads past it.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16").replace("\0", "")
    text = raw.decode("utf-8-sig", errors="surrogateescape").replace("\0", "")
    return _BROKEN.sub(lambda char: _REPAIRED[ord(char[0])], text)  # translate is 20x slower


_CP1252 = {byte: bytes([byte]).decode("cp1252", errors="ignore") for byte in range(0x80, 0x100)}
_REPAIRED = {0xDC00 + byte: char for byte, char in _CP1252.items()} | {
    byte: char for byte, char in _CP1252.items() if byte < 0xA0
}
_BROKEN = re.compile("[\x80-\x9f\udc80-\udcff]")
