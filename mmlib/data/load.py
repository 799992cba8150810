"""`load`: read a data set by name into a checked `Corpus`; the tables below list the sources."""

import inspect
import os
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from mmlib.data.check import check
from mmlib.data.corpus import Corpus, DataError
from mmlib.data.readers.csd import read_csd
from mmlib.data.readers.iemocap import read_iemocap
from mmlib.data.readers.mmsa import read_mmmo, read_mmsa
from mmlib.data.readers.public import read_19lang, read_ar, read_mustardpp, read_zh
from mmlib.data.readers.recordings import TABLE, read_recordings
from mmlib.data.readers.reviews import read_reviews, read_sst5
from mmlib.data.readers.tables import read_meld, read_mosei, read_mosi, read_mosi_leak, read_sims
from mmlib.data.readers.texts import read_texts
from mmlib.files import data_root, expanded, plain_name, reason_of, refuse_unknown

# Files in ROOT/<name>/, in order of precedence. If a reader needs several, the first is listed.
_CMU = {"aligned_50.pkl": read_mmsa, "unaligned_50.pkl": read_mmsa, "*.csd": read_csd}
_TABLES = ("*.csv.gz", "*.csv", "*.tsv", "*.tsv.gz", "*.parquet")
READERS: dict[str, dict[str, Callable[..., Corpus]]] = {
    "mosi": {"mosi.csv.gz": read_mosi, **_CMU},
    "mosei": {"label.csv": read_mosei, **_CMU},
    "mmmo": {"train.npz": read_mmmo},
    "meld": {"train_sent_emo.csv": read_meld},
    "hotel": dict.fromkeys(_TABLES, read_reviews),
    "sst5": {"sst5.csv.gz": read_sst5},
    "sims": {"*aligned*.pkl": read_mmsa, "label.csv": read_sims},
    "iemocap": {"IEMOCAP_full_release": read_iemocap, "Session1": read_iemocap},
    "zh_hotel": {"ChnSentiCorp_htl_all.csv": read_zh},
    "zh_food": {"waimai_10k.csv": read_zh},
    "ar_restaurants": {"ar_RES1.csv": read_ar},
    "reviews_19lang": {"reviews_19lang_restaurants.csv.gz": read_19lang},
    "mustardpp": {"mustardpp_text.csv": read_mustardpp},
    "recordings": {TABLE: read_recordings},  # the user's own, see mmlib.recordings
    "mosi-leak": {"mosi.csv.gz": read_mosi_leak},
}
FOLDERS = {"mosi-leak": "mosi"}  # of a data set that lies in the folder of another
# Generated from a seed by the function of this name in mmlib.data.embedded.<name>, imported late
EMBEDDED = ("synthetic", "synthetic_reviews")
NAMES = (*EMBEDDED, *READERS)
OWN = (".csv", ".tsv", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".parquet", ".xlsx", ".xls")


def load(name: str, /, root: Path | str | None = None, **options: object) -> Corpus:
    """The data set `name` (one of NAMES), read from ROOT/<name>/ (or `FOLDERS`) and checked.

    `name` may also be the path of a folder that `mmlib.recordings` wrote (absolute, or "./hotel" if
    it is called like a data set), or of a table of texts with labels (`read_texts`):
    load("mine.csv", text="Comment", label="Stars", name="mine"). `root`: `data_root()` if None.
    Options: `file` selects one of several accepted files; the others are those of the reader
    (`read_mosi`, `read_mmsa`, `read_csd`, `read_reviews`) or of the function that generates an
    embedded corpus. Raises DataError, one line, with the choices or the remedy.
    """
    if name not in NAMES:
        own = expanded(str(name))
        is_made = own.name == TABLE and any((own.parent / "clips").rglob("*.safetensors"))
        own = own if is_made else own / TABLE
        if os.path.exists(own):  # Path.exists fails for long names
            _known(own.parent.name, read_recordings, options)
            return _checked(read_recordings, own)
        if is_table(name):
            return _texts(expanded(str(name)), options)
        if name and os.path.isdir(own.parent):
            raise DataError(
                f"{name} is a folder without {TABLE}: repeat the command of mmlib.recordings that "
                "made it, or name a table or data set"
            )
        refuse_unknown("data set", [name], NAMES, DataError)
    if name in EMBEDDED:
        make = getattr(import_module(f"mmlib.data.embedded.{name}"), name)
        _known(name, make, options)
        return _checked(make, **options)
    file = options.pop("file", None)
    folder = expanded(root or data_root()) / FOLDERS.get(name, name)
    path, pattern = choose(folder, list(READERS[name]), file)
    reader = READERS[name][pattern]
    _known(f"{name} from {path.name}", reader, options, "file")
    return _checked(reader, path, **options)


def is_table(name: object) -> bool:
    """Whether a name is the path of a table (existing or not), not the name of a data set."""
    return str(name).lower().endswith(OWN)


def columns(**given: str) -> dict[str, str]:
    """Options of `load` for one's own table: role -> column, and classes; "" leaves one out."""
    return {role: column for role, column in given.items() if column}


def _texts(path: Path, options: dict) -> Corpus:
    _known(path.name, read_texts, options)
    if not os.path.exists(path):
        raise DataError(f"missing file {path}; give the path of a table")
    corpus = _checked(read_texts, path, **options)
    try:
        plain_name("the name of a data set", corpus.name)
        taken = f"{corpus.name!r} is a data set of mmlib's" if corpus.name in NAMES else ""
    except ValueError as error:
        taken = str(error)
    if taken:  # result rows and tuned settings use the name as key
        raise DataError(f"{path.name}: {taken}; pass name= another")
    return corpus


def _checked(read: Callable[..., Corpus], *path: Path, **options: object) -> Corpus:
    """Read and check a corpus; an unexpected error becomes a DataError that names the file."""
    try:
        return check(read(*path, **options))
    except DataError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(
            f"{path[0].name if path else read.__name__}: cannot be read ({type(error).__name__} in "
            f"{place.name}, line {place.lineno} of {Path(place.filename).name}: "
            f"{reason_of(error)}); compare the file with what {read.__name__} documents"
        ) from error


def _known(what: str, reader: Callable, options: dict, *extra: str) -> None:
    own = [name for name in inspect.signature(reader).parameters if name != "path"]
    refuse_unknown("option", options, [*extra, *own], DataError, where=what)


def choose(folder: Path, patterns: Sequence[str], file: str | None = None) -> tuple[Path, str]:
    """The file to read in `folder` and the pattern that it matches; earlier patterns come first.

    If several files match, the choice is printed, and `file` selects another. DataError names the
    accepted files and their folder, or the files that are there.
    """
    accepted = ", ".join(patterns)
    found = [(p.name, pattern) for pattern in patterns for p in sorted(folder.glob(pattern))]
    pattern_of = {name: pattern for name, pattern in found if not name.startswith(".")}
    if not pattern_of:
        raise DataError(
            f"no data in {folder}: put one of {accepted} there, or set MMLIB_DATA to the folder "
            f"that holds {folder.name}/"
        )
    name = file or next(iter(pattern_of))
    if name not in pattern_of:
        raise DataError(
            f"no file {file!r} in {folder}; there: {', '.join(pattern_of)} (accepted: {accepted})"
        )
    if name.endswith(".csd"):  # one data set in several files, read as a folder
        pattern_of = {n: p for n, p in pattern_of.items() if n == name or p != pattern_of[name]}
    if file is None and len(pattern_of) > 1:
        others = ", ".join(other for other in pattern_of if other != name)
        print(f"{folder.name}: reading {name}; file= names another: {others}")
    return folder / name, pattern_of[name]
