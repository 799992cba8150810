"""python -m mmlib.dyfulm TABLE --text COLUMN --out scored.csv: predict the sentiment of your texts.

TABLE: .csv, .tsv, .jsonl, .txt (one text per line; each also .gz), .xlsx, .parquet, or - for
standard input, one text per line. All columns are kept. Repeat a stopped command to continue it.
"""

import argparse
import os
import sys
from pathlib import Path

from filelock import Timeout

from mmlib.covarep.work import end_stopped
from mmlib.data import DataError
from mmlib.data.readers import stream
from mmlib.dyfulm import score
from mmlib.files import expanded, sha256

REMEDY = {
    score.EMPTY: "no prediction",
    score.SHORT: f"no prediction under {score.FEWEST} words",
    score.SCRIPT: "no prediction; translate them",
    score.UNKNOWN: "no prediction; translate them",
    score.HTML: "the words between were read",
    "cut": "longer than what is read: split them",
}


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    flags = argparse.ArgumentParser(prog="python -m mmlib.dyfulm", description=__doc__)
    flags.add_argument("table", help="your texts; - is standard input")
    flags.add_argument("--text", metavar="COLUMN", help="column of texts, if not called text or so")
    flags.add_argument("--out", type=expanded, required=True, help=".csv or .tsv to write")
    flags.add_argument("--encoding", help="of the words, if not told from the bytes: cp1251, say")
    flags.add_argument("--weights", type=Path, help="folder of a kept model, if not ours")
    flags.add_argument("--precision", default="float32", help="float32 (default), bfloat16, int8")
    flags.add_argument("--force", action="store_true", help="replace --out if it exists")
    return flags


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: the table is written; 2: it is not, and one printed line says why."""
    given = parser().parse_args(arguments)
    given.out = given.out.resolve() if given.out.is_symlink() else given.out
    try:
        _write(given)
    except Timeout:
        print(f"{given.out}: another process writes it; wait for that one", file=sys.stderr)
    except (ValueError, OSError) as error:  # DataError among them, and a full disk
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        done = stream.ROWS * len([*score.unfinished(given.out).glob("*.csv")])
        end_stopped(f"stopped, about {done} texts are done; the same command goes on from here")
    else:
        return 0
    return 2


def _write(given: argparse.Namespace) -> None:
    out = given.out
    into = next(folder for folder in out.absolute().parents if folder.exists())
    if out.suffix.lower() not in (".csv", ".tsv") or out.is_dir() or not into.is_dir():
        raise DataError(f"{out}: cannot be written; name a file .csv or .tsv with --out")
    if not os.access(into, os.W_OK) or len(os.fsencode(out.name)) > 200:
        raise DataError(f"{out}: no right to write there, or name too long; give another --out")
    if out.resolve() == expanded(given.table).resolve():
        raise DataError(f"{out}: is the table itself; name another file with --out")
    if out.exists() and not given.force:
        raise DataError(f"{out}: exists; name another file with --out, or use --force")
    with stream.opened(given.table, given.encoding) as table:
        column = score.text_column(table, given.text)
        from mmlib.dyfulm import kept  # torch: seconds, for those whose table can be read

        folder = expanded(given.weights or kept.WEIGHTS)
        model = kept.load(folder).in_precision(given.precision)
        weights = [sha256(folder / name) for name in (kept.CARD, kept.NUMBERS, kept.WORDS)]
        about = {"table": table.name, "columns": table.columns, "text": column, "weights": weights}
        about |= {"out": out.suffix.lower(), "precision": given.precision}
        about |= {"rules": [score.FEWEST, score.MOST_UNKNOWN, stream.ROWS]}
        notes = score.run(table, column, model, out, about, given.force)
        print(f"{table.rows} texts of column {column} in {out}")
    for note, texts, row in notes.itertuples(index=False):
        print(f"  {texts} {note}, first in row {row}: {REMEDY[note]}")


if __name__ == "__main__":
    sys.exit(main())
