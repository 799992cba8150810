"""Tables of any length, read about a thousand rows at a time; cells are strings, as in `cells`.

A table is read twice. The first pass counts its rows and finds everything that cannot be read, so
no work is lost on a table that is damaged near its end.
"""

import errno
import gzip
import io
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pandas as pd

from mmlib.data.corpus import DataError
from mmlib.data.readers import cells
from mmlib.data.readers.border import check_size, most, readable
from mmlib.data.readers.encodings import decoded, is_utf8
from mmlib.files import expanded

ROWS = 1024  # per chunk
STDIN = "standard input"  # its name in messages
BLOCK = 2**22  # bytes decoded at a time
Reader = Callable[[], Iterator[pd.DataFrame]]


class Stream(NamedTuple):
    """A table that can be read repeatedly."""

    name: str
    columns: tuple[str, ...]
    rows: int
    read: Reader

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Yield the rows in order, `ROWS` at a time, with all columns; empty cells are ""."""
        for chunk in self.read():
            yield chunk.reindex(columns=self.columns, fill_value="")


@contextmanager
def opened(table: Path | str, encoding: str | None = None) -> Iterator[Stream]:
    """Open a csv, tsv, jsonl or txt (each also .gz), xlsx or parquet table; "-" is standard input.

    In txt and standard input each line is a text, in the column "text". An xlsx may have one sheet
    with cells. `encoding` is guessed from the bytes if None. While the table is open, a copy of its
    text is in the folder for temporary files. DataError, one line, if it cannot be read.
    """
    with TemporaryDirectory(prefix="mmlib-") as folder:
        path = Path(folder) / STDIN if table == "-" else expanded(table)
        if table == "-":
            _copy(path, path, iter(lambda: sys.stdin.buffer.read(BLOCK), b""))
        elif not path.is_file():
            kind = "is a folder" if path.is_dir() else "no such file"
            raise DataError(f"{table}: {kind}; give the path of a table")
        read = _reader(path, Path(folder) / "copy", encoding)
        columns: dict[str, None] = {}
        rows = 0
        with readable(path, "cannot be read", "mend it, or fetch it again"):
            for chunk in read():
                cells.check_names(chunk.columns)
                columns |= dict.fromkeys(chunk.columns)
                rows += len(chunk)
        if not rows:
            raise DataError(f"{path.name}: no row; name a table that has some")
        yield Stream(path.name, tuple(columns), rows, read)


def _reader(path: Path, copy: Path, encoding: str | None) -> Reader:
    suffix = ".txt" if path.name == STDIN else Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in (".xlsx", ".parquet"):
        return {".xlsx": _of_sheet, ".parquet": _of_parquet}[suffix](path)
    kinds = {".txt": _of_lines, ".jsonl": _of_json_lines}
    if suffix not in (".csv", ".tsv", *kinds):
        known = ".csv, .tsv, .jsonl, .txt, .xlsx or .parquet"
        raise DataError(f"{path.name}: not a table that is read here; save it as {known}")
    remedy = "name another by --encoding, or none" if encoding else "mend it, or fetch it again"
    with readable(path, "not readable as text", remedy):
        texts = _texts(path, (encoding or "").lower() or _encoding(path))
        _copy(path, copy, (text.encode() for text in texts))
    return kinds[suffix](path, copy) if suffix in kinds else _of_cells(path, copy, suffix)


# A copy of the words in UTF-8


def _copy(path: Path, copy: Path, blocks: Iterable[bytes]) -> None:
    try:
        with copy.open("wb") as file:
            file.writelines(blocks)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise DataError(
            f"{path.name}: no space for a copy in {copy.parent.parent}; free some, or set TMPDIR "
            "to another folder"
        ) from error


def _opened(path: Path) -> io.BufferedIOBase:
    return gzip.open(path) if cells.is_gzip(path) else path.open("rb")


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, decompressed, in blocks of whole lines."""
    total = 0
    with _opened(path) as file:
        while block := file.read(BLOCK):
            block += file.readline(most(path))
            total += len(block)
            check_size(path, total)
            yield block


def _encoding(path: Path) -> str:
    """The encoding that `cells.decoded` finds; all blocks other than plain UTF-8 must agree."""
    found, is_mixed = set(), False
    for block in _blocks(path):
        if block[:2] in (b"\xff\xfe", b"\xfe\xff"):  # a block may end within a letter
            return "UTF-16"
        encoding = decoded(path, block)[1]
        if not encoding.startswith("UTF-8"):
            found.add(encoding)
        elif not block.isascii():
            is_mixed = is_mixed or any(map(is_utf8, block.splitlines()))
    if len(found) > 1 or (found and is_mixed):
        names = ", ".join(sorted(found | ({"UTF-8"} if is_mixed else set())))
        raise DataError(f"{path.name}: its words are partly in {names}; save all as UTF-8")
    return next(iter(found), "UTF-8")


def _texts(path: Path, encoding: str) -> Iterator[str]:
    if encoding == "UTF-8":
        yield from (decoded(path, block)[0] for block in _blocks(path))
        return
    decoded(path, b"", encoding)  # refuses an unknown encoding
    with io.TextIOWrapper(_opened(path), encoding=encoding, newline="") as file:
        while text := file.read(BLOCK):
            yield text.replace("\0", "").replace("\ufeff", "")


# Chunks, by file type


def _of_cells(path: Path, copy: Path, suffix: str) -> Reader:
    with copy.open("rb") as file:
        head = file.read(BLOCK).decode(errors="ignore")
    separator, columns, rest = cells.header_of(head, "\t" if suffix == ".tsv" else ",")
    how = {"sep": separator, "dtype": str, "keep_default_na": False}
    if head:
        with copy.open("rb") as file, closing(mmap(file.fileno(), 0, access=ACCESS_READ)) as whole:
            how |= cells.quoting(whole, separator)

    def read() -> Iterator[pd.DataFrame]:
        if not rest:
            return
        names = pd.read_csv(io.StringIO(rest), header=None, nrows=1, **how).iloc[0]
        cells.check_names(names)
        with copy.open("rb") as file:
            file.seek(len(head.encode()) - len(rest.encode()))
            for rows in pd.read_csv(file, skip_blank_lines=columns > 1, chunksize=ROWS, **how):
                rows = cells.unshifted(path, rows).fillna("").rename(columns=cells.on_one_line)
                yield rows.reset_index(drop=True)

    return read


def _of_lines(path: Path, copy: Path) -> Reader:
    def read() -> Iterator[pd.DataFrame]:
        with copy.open(encoding="utf-8") as file:
            yield from _frames(["text"], ([line.rstrip("\n")] for line in file))

    return read


def _of_json_lines(path: Path, copy: Path) -> Reader:
    def read() -> Iterator[pd.DataFrame]:
        with copy.open(encoding="utf-8") as file:
            for rows in _batches(cells.objects(path, file)):
                names = dict.fromkeys(name for row in rows for name in row)
                yield pd.DataFrame(rows, columns=list(names), dtype=object).fillna("")

    return read


def _of_sheet(path: Path) -> Reader:
    openpyxl = cells.needed(path, "openpyxl", "excel")

    def read() -> Iterator[pd.DataFrame]:
        with readable(path, "not a readable xlsx", "save it again, or as csv"):
            with zipfile.ZipFile(path) as archive:
                check_size(path, sum(part.file_size for part in archive.infolist()))
            kinds = (True, False)  # with the results of formulas, with the formulas
            books = [openpyxl.load_workbook(path, read_only=True, data_only=d) for d in kinds]
            with closing(books[0]), closing(books[1]):
                filled = filter(any, _sheet(*(book.worksheets for book in books)))
                names = [
                    cells.on_one_line(c) or f"column {i}" for i, c in enumerate(next(filled, ()), 1)
                ]
                cells.check_names(names, named=True)
                yield from _frames(names, filled)

    return read


def _sheet(sheets: Sequence, formulas: Sequence) -> Iterator[list[str]]:
    """The rows of the only sheet that holds any; DataError for a formula that was not computed."""
    for sheet in (*sheets, *formulas):
        sheet.reset_dimensions()  # some programs write a wrong size into the file
    widths = [max((len(r) for r in s.values if any(map(cells.cell, r))), default=0) for s in sheets]
    full = [i for i, width in enumerate(widths) if width]
    if len(full) > 1:
        titles = ", ".join(sheets[i].title for i in full)
        raise DataError(f"{len(full)} sheets hold cells ({titles}); save one as a file of its own")
    for i in full:
        for n, rows in enumerate(zip(sheets[i].rows, formulas[i].rows, strict=True), 1):
            pairs = zip(*rows, strict=True)  # a result "" has the type str
            if any(a.value is None is not b.value and a.data_type == "n" for a, b in pairs):
                raise DataError(f"row {n} has a formula without a result; open and save it again")
            words = [cells.cell(a.value).replace("_x000D_", "") for a in rows[0][: widths[i]]]
            yield words + [""] * (widths[i] - len(words))


def _of_parquet(path: Path) -> Reader:
    parquet = cells.needed(path, "pyarrow.parquet", "parquet")

    def read() -> Iterator[pd.DataFrame]:
        with readable(path, "not a readable parquet"), parquet.ParquetFile(path) as file:
            flat = [column.path for column in cells.flat_columns(file)]
            names = [n for n in file.schema_arrow.names if not n.startswith("__index_level_")]
            cells.check_names(names, named=True)
            for batch in file.iter_batches(ROWS, columns=names):
                rows = batch.select(flat).to_pandas(ignore_metadata=True, integer_object_nulls=True)
                for name in set(names) - set(flat):  # lists and the like, as in JSON
                    rows[name] = [cells.cell(value) for value in batch.column(name).to_pylist()]
                yield cells.as_words(rows[names].rename(columns=cells.on_one_line))

    return read


def _frames(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[pd.DataFrame]:
    for batch in _batches(rows):
        yield pd.DataFrame(batch, columns=list(names), dtype=object).fillna("")


def _batches(rows: Iterable) -> Iterator[list]:
    rows = iter(rows)
    while batch := list(islice(rows, ROWS)):
        yield batch
