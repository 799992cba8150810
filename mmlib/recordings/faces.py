"""Face exports of three programs as one table of 35 FACET channels.

Evidence is FACET's unit: log10 of the odds that a human coder would see the expression, 0 if there
is nothing to say either way. What a program does not give becomes:

| channel        | FACET (iMotions)  | OpenFace 2                 | py-feat                        |
|----------------|-------------------|----------------------------|--------------------------------|
| AU k           | AUk Evidence      | AUk_r - 1 (intensity 0..5) | log10 odds of AUk, within +-2  |
| AU 28          | AU28 Evidence     | 2 AU28_c - 1               | as above                       |
| AU 43          | AU43 Evidence     | AU45_r - 1 (blinks)        | as above                       |
| AU 18, 24      | as above          | 0                          | AU18: 0                        |
| seven emotions | Joy Evidence ...  | mean of their AUs          | log10 odds; Contempt from AU14 |
| Confusion      | v6; v5: 0         | mean of AU 4, 7, 12        | mean of AU 4, 7, 12            |
| Frustration    | v6; v5: 0         | mean of AU 1, 2, 14        | mean of AU 1, 2, 14            |
| Neutral        | Neutral Evidence  | - largest of the seven     | log10 odds                     |
| Positive       | Positive Evidence | Joy                        | Joy                            |
| Negative       | Negative Evidence | largest of five            | largest of five                |
| head           | degrees           | pose_Ry, Rx, Rz in degrees | Yaw, Pitch, Roll in degrees    |

Positive and Negative are FACET's own rule (it holds in its exports to the last digit). AUs of the
emotions: EMFACS (Friesen and Ekman 1983); of confusion and frustration: Craig et al. 2008. The
formulas for OpenFace and py-feat are our reading: the programs measure other things. Signs of the
head's angles differ between programs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmlib.data import DataError
from mmlib.data.columns import FACET

LEAST = 0.7  # confidence under which a frame counts as lost
BEYOND = 1.0  # seconds that a face export may run past the clip
ODDS = 2.0  # log10 odds of a probability are kept within these
UNITS = tuple(int(name[2:]) for name in FACET if name.startswith("AU"))
SHOWN_BY = {  # emotion -> its action units
    "Joy": (6, 12),
    "Anger": (4, 5, 7, 23),
    "Surprise": (1, 2, 5, 26),
    "Fear": (1, 2, 4, 5, 7, 20, 26),
    "Contempt": (14,),
    "Disgust": (9, 15),
    "Sadness": (1, 4, 15),
    "Confusion": (4, 7, 12),
    "Frustration": (1, 2, 14),
}
SEVEN = tuple(SHOWN_BY)[:7]
NEGATIVE = ("Anger", "Fear", "Contempt", "Disgust", "Sadness")


@dataclass(frozen=True)
class Faces:
    """The face of the person seen most, frame by frame, where it was found."""

    program: str  # "FACET", "OpenFace 2", "py-feat"
    time: np.ndarray  # (f,) seconds, start of the frame
    step: float  # seconds between frames
    values: np.ndarray  # (f, 35) float32, columns FACET
    confidence: np.ndarray  # (f,) in [0, 1]
    counts: Mapping[str, int]  # frames, lost, with several faces
    absent: tuple[str, ...]  # channels the export lacks, all 0

    @property
    def intervals(self) -> np.ndarray:
        """Start and end of each frame in seconds, (f, 2)."""
        return self.time[:, None] + [0, self.step]


def read_faces(
    path: Path | str,
    seconds: float,
    frame_rate: float | None = None,
    stimulus: str | None = None,
) -> Faces:
    """The face export of a recording of `seconds`; which program wrote it shows in its columns.

    frame_rate: for py-feat, which counts frames. stimulus: of an iMotions export that holds
    several. A frame is lost without a face, with NaN in it, or under a confidence of LEAST; lost
    frames are left out and counted. Of several faces the one in most frames is kept (py-feat, which
    does not follow faces: the largest). DataError, one line, if nothing usable is left.
    """
    path = Path(path)
    try:
        export = read_export(path, stimulus, frame_rate)
        channels = CHANNELS[export.program](export.rows)  # (rows, up to 35)
    except KeyError as error:
        raise DataError(f"{path}: column {error} is missing; export all columns") from None
    good = np.isfinite(channels).all(axis=1).to_numpy() & np.isfinite(export.time)
    good &= export.confidence >= LEAST
    order = np.lexsort([-export.rank, export.time])
    order = order[good[order]]
    kept = order[np.unique(export.time[order], return_index=True)[1]]  # the first of each frame
    frames = np.unique(export.time)
    if not len(kept):
        raise DataError(f"{path}: no usable face in {len(frames)} frames; export it again")
    time = export.time[kept]
    if time[-1] > seconds + BEYOND:
        raise DataError(
            f"{path}: faces until {time[-1]:.1f} s, the clip lasts {seconds:.1f} s; "
            "is it the export of another clip?"
        )
    several = len(np.unique(export.time[export.faces > 1]))
    return Faces(
        program=export.program,
        time=time,
        step=float(np.median(np.diff(frames))) if len(frames) > 1 else 0.04,
        values=channels.reindex(columns=FACET, fill_value=0).to_numpy(np.float32)[kept],
        confidence=export.confidence[kept],
        counts={"frames": len(frames), "lost": len(frames) - len(kept), "several faces": several},
        absent=tuple(name for name in FACET if name not in channels),
    )


def _facet(rows: pd.DataFrame) -> pd.DataFrame:
    """FACET's own channels."""
    own = {name: f"{name} Evidence" for name in FACET}
    own |= {name: f"{name} Degrees" for name in ("Yaw", "Pitch", "Roll")}
    return pd.DataFrame({name: rows[source] for name, source in own.items() if source in rows})


def _openface(rows: pd.DataFrame) -> pd.DataFrame:
    """Channels from OpenFace's intensities AU01_r and presences AU28_c."""
    units = {k: rows[f"AU{k:02d}_r"] - 1 for k in UNITS if f"AU{k:02d}_r" in rows}
    if "AU28_c" in rows:
        units[28] = 2 * rows["AU28_c"] - 1
    if "AU45_r" in rows:
        units[43] = rows["AU45_r"] - 1
    head = {"Yaw": "pose_Ry", "Pitch": "pose_Rx", "Roll": "pose_Rz"}
    angles = {name: np.degrees(rows[source]) for name, source in head.items() if source in rows}
    emotions = _from_units(units, SHOWN_BY)
    emotions["Neutral"] = -pd.DataFrame(emotions)[list(SEVEN)].max(axis=1)
    return _table(units, emotions, angles)


def _pyfeat(rows: pd.DataFrame) -> pd.DataFrame:
    """Channels from py-feat's probabilities; "happiness" is Joy."""
    units = {k: _odds(rows[f"AU{k:02d}"]) for k in UNITS if f"AU{k:02d}" in rows}
    names = {"happiness" if name == "Joy" else name.lower(): name for name in (*SEVEN, "Neutral")}
    emotions = {name: _odds(rows[source]) for source, name in names.items() if source in rows}
    emotions |= _from_units(units, [name for name in SHOWN_BY if name not in emotions])
    angles = {name: rows[name] for name in ("Yaw", "Pitch", "Roll") if name in rows}
    if all(angle.abs().quantile(0.95) < np.pi / 2 for angle in angles.values()):
        angles = {name: np.degrees(angle) for name, angle in angles.items()}  # version 2: radians
    return _table(units, emotions, angles)


def _odds(probability: pd.Series) -> pd.Series:
    edge = 1 / (1 + 10**ODDS)
    p = probability.clip(edge, 1 - edge)
    return np.log10(p / (1 - p))


def _from_units(units: Mapping[int, pd.Series], emotions) -> dict[str, pd.Series]:
    """Means of the emotions' action units; an emotion none of whose units is there is left out."""
    there = {name: [units[k] for k in SHOWN_BY[name] if k in units] for name in emotions}
    return {name: sum(parts) / len(parts) for name, parts in there.items() if parts}


def _table(units: Mapping, emotions: dict, angles: Mapping) -> pd.DataFrame:
    """The channels; Positive and Negative by FACET's rule."""
    table = pd.DataFrame({**{f"AU{k}": v for k, v in units.items()}, **emotions, **angles})
    table["Positive"] = table["Joy"]
    table["Negative"] = table[[name for name in NEGATIVE if name in table]].max(axis=1)
    return table


CHANNELS = {"FACET": _facet, "OpenFace 2": _openface, "py-feat": _pyfeat}


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
    """The export in `path`; `stimulus` and `frame_rate` as for `mmlib.recordings.faces.read_faces`.

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
