"""A face export of FACET, OpenFace 2 or py-feat as 35 FACET channels (see `programs`)."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.data import DataError
from mmlib.data.columns import FACET
from mmlib.recordings.border import names_file, read_text
from mmlib.recordings.programs import LEAST, PROGRAMS, PYFEAT_2

BEYOND = 1.0  # seconds by which a face export may exceed the clip
HEADER = 60  # first lines that are searched for the column names
TEXT = {"StimulusName": str, "EventSource": str, "Identity": str, "input": str}
NUMBERS = {  # columns that are not channels
    *("FrameNo", "FrameTime", "NoOfFaces"),
    *("frame", "timestamp", "confidence", "success", "face_id"),
    *("FaceScore", "FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "X", *PYFEAT_2),
}
WANTED = {*TEXT, *NUMBERS}.union(
    *({column for column, _ in program.channels.values()} for program in PROGRAMS.values())
)
NO_NUMBER = ["-nan(ind)", "nan(ind)"]  # as Windows prints NaN, also with decimal commas


@dataclass(frozen=True)
class Faces:
    """The face of the person in most frames, one row for each frame that shows it."""

    program: str  # "FACET", "OpenFace 2", "py-feat"
    time: np.ndarray  # (f,) seconds, start of the frame
    step: float  # seconds between frames
    values: np.ndarray  # (f, 35) float32, columns FACET
    counts: Mapping[str, int]  # "frames", "lost" ones, and those with "several faces"
    absent: tuple[str, ...]  # channels that the export lacks, 0 in values
    until: float  # seconds, end of the last frame, also if it shows no face

    @property
    def intervals(self) -> np.ndarray:
        """Start and end of each frame in seconds, (f, 2)."""
        return self.time[:, None] + [0, self.step]


@names_file
def read_faces(
    path: Path | str, seconds: float, frame_rate: float | None = None, stimulus: str | None = None
) -> Faces:
    """The face export of a recording of `seconds`; its columns tell which program wrote it.

    Separators and decimal marks of any locale are read. frame_rate: of py-feat, which counts
    frames, and of OpenFace on images. stimulus: which one of an iMotions export of several. A frame
    is lost without the face of the person in most frames, with NaN in it or in its time, or with a
    confidence under LEAST; lost frames are left out and counted. DataError, one line, for another
    program's columns, several stimuli without a choice, no times or another clip's, no usable face.
    """
    path = Path(path)
    program, rows = _table(path)
    try:
        table = PROGRAMS[program].read(path, rows, frame_rate, stimulus)
    except KeyError as error:
        raise DataError(f"{path}: column {error} is missing; export all columns") from None
    usable, frames = _usable(table), np.unique(table["time"].dropna())
    total = len(frames) + int(table["time"].isna().sum())
    if usable.empty:
        raise DataError(f"{path}: no usable face in {total} frames; export it again")
    time = usable["time"].to_numpy()
    if time[-1] > seconds + BEYOND:
        raise DataError(
            f"{path}: faces until {time[-1]:.1f} s, the clip lasts {seconds:.1f} s; is it the "
            "export of another clip, or one of variable frame rate (make it constant first)?"
        )
    several = table["time"][table["faces"] > 1].nunique()
    step = float(np.median(np.diff(frames))) if len(frames) > 1 else 0.04
    return Faces(
        program, time, step, usable.reindex(columns=FACET, fill_value=0).to_numpy(np.float32),
        {"frames": total, "lost": total - len(usable), "several faces": several},
        absent=tuple(name for name in FACET if name not in table),
        until=float(frames[-1] + step),
    )  # fmt: skip


def _usable(table: pd.DataFrame) -> pd.DataFrame:
    """Usable rows of the person in most frames, sorted by time; the largest face of each frame."""
    finite = np.isfinite(table.drop(columns="person")).all(axis=1)
    usable = table[finite & (table["confidence"] >= LEAST)]
    usable = usable[usable["person"].isin(usable["person"].mode()[:1])]
    usable = usable.sort_values(["time", "size"], ascending=[True, False], kind="stable")
    return usable.drop_duplicates("time")


def _table(path: Path) -> tuple[str, pd.DataFrame]:
    """The program that wrote the export, and the columns used here, numbers as floats."""
    text = read_text(path, "face export")
    head = text.split("\n", HEADER)[:HEADER]
    at, separator, program = _header(path, head)
    comma = separator != "," and re.search(r"\d,\d", text)
    try:
        rows = pd.read_csv(
            io.StringIO(text), sep=separator, skiprows=at, decimal="," if comma else ".",
            usecols=lambda name: name.strip() in WANTED, dtype=TEXT, index_col=False,
            skipinitialspace=True, low_memory=False, na_values=NO_NUMBER,
        )  # fmt: skip
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a readable table ({error}); export it again") from None
    rows = rows.rename(columns=str.strip)
    numbers = [name for name in rows if name not in TEXT]
    rows[numbers] = rows[numbers].apply(pd.to_numeric, errors="coerce").astype(float)
    if rows.empty:
        raise DataError(f"{path}: column names but no rows; export it again")
    return program, rows


def is_export(path: Path) -> bool:
    """Whether one of a file's first lines names the columns of a known program."""
    try:
        return bool(_header(path, read_text(path, "face export").split("\n", HEADER)[:HEADER]))
    except DataError:
        return False


def _header(path: Path, lines: list[str]) -> tuple[int, str, str]:
    """Line number of the column names, the separator, and the program that has them."""
    for at, line in enumerate(lines):
        separator = max("\t;,", key=line.count)
        names = [name.strip().strip('"') for name in line.split(separator)]
        for program, facts in PROGRAMS.items():
            if facts.mark in names:
                return at, separator, program
    raise DataError(
        f"{path}: no column {' or '.join(facts.mark for facts in PROGRAMS.values())}; "
        "give an export of iMotions FACET, OpenFace 2 or py-feat"
    )
