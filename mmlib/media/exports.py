"""Face exports as their programs write them: FACET (iMotions 5 and 6), OpenFace 2, py-feat.

Only the columns that are needed are read: OpenFace writes 700 of them.
"""

import re
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmlib.data import DataError

MARKS = {"FACET": "AU1 Evidence", "OpenFace 2": "AU01_r", "py-feat": "AU01"}  # columns
HEADER = 60  # lines among which the column names are looked for
ACTION_UNIT = re.compile(r"AU\d\d?( Evidence|_r|_c)?")
WANTED = {
    *("StimulusName", "EventSource", "FrameNo", "FrameTime", "NoOfFaces"),
    *("Yaw Degrees", "Pitch Degrees", "Roll Degrees"),
    *("timestamp", "confidence", "success", "face_id", "pose_Rx", "pose_Ry", "pose_Rz"),
    *("frame", "FaceScore", "FaceRectWidth", "FaceRectHeight", "Yaw", "Pitch", "Roll"),
    *("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt"),
}
TEXT = {"StimulusName": str, "EventSource": str}


class Export(NamedTuple):
    """One row a frame and face."""

    program: str  # a key of MARKS
    rows: pd.DataFrame  # the program's own columns, numbers as floats
    time: np.ndarray  # (f,) seconds
    confidence: np.ndarray  # (f,) in [0, 1]; 0: no face
    faces: np.ndarray  # (f,) how many faces the frame shows
    rank: np.ndarray  # (f,) which of them to keep: the largest


def read_export(path: Path, stimulus: str | None = None, frame_rate: float | None = None) -> Export:
    """The export in `path`; `stimulus` and `frame_rate` as for `mmlib.media.faces.read_faces`.

    Separators and decimal marks of any locale. DataError, one line, for another program's columns,
    several stimuli without a choice, py-feat without a frame rate.
    """
    program, rows = _read(path)
    if program == "FACET":
        return _facet(path, rows, stimulus)
    if program == "OpenFace 2":
        return _openface(rows)
    return _pyfeat(path, rows, frame_rate)


def _read(path: Path) -> tuple[str, pd.DataFrame]:
    """The program and the needed columns, numbers as floats."""
    head = _head(path)
    at, separator, program = _header(path, head)
    comma = separator != "," and re.search(r"\d,\d", "".join(head[at + 1 :]))
    try:
        rows = pd.read_csv(
            path, sep=separator, skiprows=at, decimal="," if comma else ".", encoding="utf-8-sig",
            usecols=lambda name: _wanted(name.strip()), dtype=TEXT, index_col=False,
            skipinitialspace=True, low_memory=False,
        )  # fmt: skip
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a readable table ({error}); export it again") from None
    rows = rows.rename(columns=str.strip)
    numbers = [name for name in rows if name not in TEXT]
    rows[numbers] = rows[numbers].apply(pd.to_numeric, errors="coerce").astype(float)
    if rows.empty:
        raise DataError(f"{path}: column names but no rows; export it again")
    return program, rows


def _head(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return list(islice(file, HEADER))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give the face export of the clip") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: wrong encoding, not UTF-8; save it as UTF-8") from None


def _header(path: Path, lines: list[str]) -> tuple[int, str, str]:
    """Line number of the column names, the separator, and the program they tell of."""
    for at, line in enumerate(lines):
        separator = max("\t;,", key=line.count)
        names = [name.strip().strip('"') for name in line.split(separator)]
        for program, mark in MARKS.items():
            if mark in names:
                return at, separator, program
    raise DataError(
        f"{path}: no column {' or '.join(MARKS.values())}; "
        "give an export of iMotions FACET, OpenFace 2 or py-feat"
    )


def _wanted(name: str) -> bool:
    return name in WANTED or name.endswith(" Evidence") or bool(ACTION_UNIT.fullmatch(name))


def _facet(path: Path, rows: pd.DataFrame, stimulus: str | None) -> Export:
    """Rows of other sensors repeat the last frame; FACET's own say so in EventSource."""
    if "EventSource" in rows:
        rows = rows[rows["EventSource"].fillna("").str.contains("FACET")]
    if "FrameTime" not in rows:
        raise DataError(f"{path}: no column FrameTime; export it with frame times")
    if "FrameNo" in rows:
        rows = rows[rows["FrameNo"] >= 0]
    shown = sorted(set(rows["StimulusName"].dropna())) if "StimulusName" in rows else []
    if len(shown) > 1:
        if stimulus not in shown:
            raise DataError(
                f"{path}: several stimuli ({', '.join(shown)}); name one, or name the clip like it"
            )
        rows = rows[rows["StimulusName"] == stimulus]
    rows = rows.reset_index(drop=True)
    faces = rows.get("NoOfFaces", pd.Series(1, rows.index)).fillna(0).clip(lower=0).to_numpy()
    rank = np.zeros(len(rows))
    return Export(
        "FACET", rows, rows["FrameTime"].to_numpy() / 1000, np.minimum(faces, 1), faces, rank
    )


def _openface(rows: pd.DataFrame) -> Export:
    """Faces are followed: the one in most frames is kept."""
    time = rows["timestamp"].to_numpy()
    success = rows.get("success", pd.Series(1, rows.index)).to_numpy()
    who = rows.get("face_id", pd.Series(0, rows.index))
    often = who.map(who[success == 1].value_counts()).fillna(0).to_numpy()
    confidence = np.where(success == 1, rows["confidence"].to_numpy(), 0)
    return Export("OpenFace 2", rows, time, confidence, _per_frame(time), often)


def _pyfeat(path: Path, rows: pd.DataFrame, frame_rate: float | None) -> Export:
    """Frames are counted, and an empty FaceScore says that none was found."""
    if not frame_rate:
        raise DataError(f"{path}: py-feat counts frames; give their rate, e.g. --fps 25")
    time = rows["frame"].to_numpy() / frame_rate
    confidence = rows.get("FaceScore", pd.Series(1.0, rows.index)).fillna(0).to_numpy()
    size = rows.get("FaceRectWidth", pd.Series(1.0, rows.index)).fillna(0)
    size = size * rows.get("FaceRectHeight", pd.Series(1.0, rows.index)).fillna(0)
    return Export("py-feat", rows, time, confidence, _per_frame(time), size.to_numpy())


def _per_frame(time: np.ndarray) -> np.ndarray:
    """How many rows share each row's time, (f,)."""
    _, which, counts = np.unique(time, return_inverse=True, return_counts=True)
    return counts[which]
