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
head's angles differ between programs. py-feat 2 gives radians and turned the sign of Roll against
0.6 (to the subject's right is positive now); here it has the sign of 0.6. In both, up is positive
in Pitch and the subject's right in Yaw.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmlib.data import DataError
from mmlib.data.columns import FACET
from mmlib.recordings.border import names_file

LEAST = 0.7  # confidence under which a frame counts as lost
BEYOND = 1.0  # seconds that a face export may run past the clip
ODDS = 2.0  # log10 odds of a probability are kept within these
UNITS = tuple(int(name[2:]) for name in FACET if name.startswith("AU"))
HEAD = ("Yaw", "Pitch", "Roll")
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
    until: float  # seconds, end of the last frame, with a face or without

    @property
    def intervals(self) -> np.ndarray:
        """Start and end of each frame in seconds, (f, 2)."""
        return self.time[:, None] + [0, self.step]


@names_file
def read_faces(
    path: Path | str,
    seconds: float,
    frame_rate: float | None = None,
    stimulus: str | None = None,
) -> Faces:
    """The face export of a recording of `seconds`; which program wrote it shows in its columns.

    Separators and decimal marks of any locale. frame_rate: for py-feat, which counts frames, and
    for OpenFace on images. stimulus: of an iMotions export that holds several. A frame is lost
    without the face of the person seen in most frames (py-feat before 0.7, which does not know
    people: without any; the largest is kept), with NaN in it, or under a confidence of LEAST; lost
    frames are left out and counted. DataError, one line, for another program's columns, several
    stimuli without a choice, no times, or if nothing usable is left.
    """
    path = Path(path)
    program, rows = _table(path)
    try:
        export = PROGRAMS[program](path, rows, frame_rate, stimulus)
    except KeyError as error:
        raise DataError(f"{path}: column {error} is missing; export all columns") from None
    kept, frames = _kept(export), np.unique(export.time[np.isfinite(export.time)])
    if not len(kept):
        raise DataError(f"{path}: no usable face in {len(frames)} frames; export it again")
    time = export.time[kept]
    if time[-1] > seconds + BEYOND:
        raise DataError(
            f"{path}: faces until {time[-1]:.1f} s, the clip lasts {seconds:.1f} s; is it the "
            "export of another clip, or one of variable frame rate (make it constant first)?"
        )
    several = len(np.unique(export.time[export.faces > 1]))
    step = float(np.median(np.diff(frames))) if len(frames) > 1 else 0.04
    values = export.channels.reindex(columns=FACET, fill_value=0).to_numpy(np.float32)
    return Faces(
        program, time, step, values[kept], export.confidence[kept],
        {"frames": len(frames), "lost": len(frames) - len(kept), "several faces": several},
        absent=tuple(name for name in FACET if name not in export.channels),
        until=float(frames[-1] + step),
    )  # fmt: skip


class Export(NamedTuple):
    """What each program's function gives: one row a frame and face."""

    channels: pd.DataFrame  # (f, up to 35)
    time: np.ndarray  # (f,) seconds
    confidence: np.ndarray  # (f,) in [0, 1]; 0: no face
    faces: np.ndarray  # (f,) how many faces the frame shows
    person: pd.Series  # (f,) who it is
    size: np.ndarray  # (f,) of the face


def _kept(export: Export) -> np.ndarray:
    """Usable rows of the person in most frames by ascending time, the largest face of each."""
    good = np.isfinite(export.channels).all(axis=1).to_numpy() & np.isfinite(export.time)
    good &= export.confidence >= LEAST
    good &= export.person.isin(export.person[good].mode()[:1]).to_numpy()
    order = np.lexsort([-export.size, export.time])
    order = order[good[order]]
    return order[np.unique(export.time[order], return_index=True)[1]]


def _facet(path: Path, rows: pd.DataFrame, _: object, stimulus: str | None) -> Export:
    """FACET's own channels. Rows of other sensors repeat the last frame: EventSource tells."""
    if "EventSource" in rows:
        rows = rows[rows["EventSource"].fillna("").str.contains("FACET")]
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
    sources = {name: f"{name} {'Degrees' if name in HEAD else 'Evidence'}" for name in FACET}
    channels = {name: rows[source] for name, source in sources.items() if source in rows}
    faces = _column(rows, "NoOfFaces", 1).fillna(0).clip(lower=0).to_numpy()
    return Export(
        pd.DataFrame(channels), rows["FrameTime"].to_numpy() / 1000, np.minimum(faces, 1), faces,
        _column(rows, "", 0), np.zeros(len(rows)),
    )  # fmt: skip


def _openface(path: Path, rows: pd.DataFrame, frame_rate: float | None, _: object) -> Export:
    """Channels from OpenFace's intensities AU01_r and presences AU28_c; it follows people."""
    units = {k: rows[f"AU{k:02d}_r"] - 1 for k in UNITS if f"AU{k:02d}_r" in rows}
    if "AU28_c" in rows:
        units[28] = 2 * rows["AU28_c"] - 1
    if "AU45_r" in rows:
        units[43] = rows["AU45_r"] - 1
    emotions = _from_units(units, SHOWN_BY)
    emotions["Neutral"] = -pd.DataFrame(emotions)[list(SEVEN)].max(axis=1)
    poses = zip(HEAD, ("pose_Ry", "pose_Rx", "pose_Rz"), strict=True)
    angles = {name: np.degrees(rows[pose]) for name, pose in poses if pose in rows}
    found = _column(rows, "success", 1) == 1
    time = _openface_time(path, rows, frame_rate)
    return Export(
        _channels(units, emotions, angles), time, np.where(found, rows["confidence"], 0),
        _per_frame(time), _column(rows, "face_id", 0), np.zeros(len(rows)),
    )  # fmt: skip


def _openface_time(path: Path, rows: pd.DataFrame, frame_rate: float | None) -> np.ndarray:
    """Seconds (f,); of images, whose times are all 0, by their numbers from 1."""
    if "frame" not in rows and "timestamp" not in rows:
        raise DataError(
            f"{path}: neither column timestamp nor frame; run OpenFace's FeatureExtraction "
            "on the clip (FaceLandmarkImg gives no times)"
        )
    frame, timestamp = _column(rows, "frame", 1), _column(rows, "timestamp", 0)
    if timestamp.any() or frame.nunique() < 2:
        return timestamp.to_numpy()
    return ((frame - 1) / _given(path, frame_rate, "OpenFace gives images no times")).to_numpy()


def _pyfeat(path: Path, rows: pd.DataFrame, frame_rate: float | None, _: object) -> Export:
    """Channels from py-feat's probabilities; an empty FaceScore says that no face was found."""
    rows = rows.rename(columns=PYFEAT_2)
    units = {k: _odds(rows[f"AU{k:02d}"]) for k in UNITS if f"AU{k:02d}" in rows}
    names = {"happiness" if name == "Joy" else name.lower(): name for name in (*SEVEN, "Neutral")}
    emotions = {name: _odds(rows[source]) for source, name in names.items() if source in rows}
    emotions |= _from_units(units, [name for name in SHOWN_BY if name not in emotions])
    angles = {name: rows[name] for name in HEAD if name in rows}
    if "X" in rows or all(angle.abs().quantile(0.95) < np.pi / 2 for angle in angles.values()):
        signs = {"Yaw": 1, "Pitch": 1, "Roll": -1}  # of version 2, see above
        angles = {name: signs[name] * np.degrees(angle) for name, angle in angles.items()}
    time = (rows["frame"] / _given(path, frame_rate, "py-feat counts frames")).to_numpy()
    size = _column(rows, "FaceRectWidth", 1).fillna(0) * _column(rows, "FaceRectHeight", 1).fillna(
        0
    )
    score = _column(rows, "FaceScore", 1).fillna(0)
    return Export(
        _channels(units, emotions, angles), time, score.to_numpy(), _per_frame(time),
        _column(rows, "Identity", "").fillna(""), size.to_numpy(),
    )  # fmt: skip


def _given(path: Path, frame_rate: float | None, why: str) -> float:
    if not frame_rate:
        raise DataError(f"{path}: {why}; give their rate, e.g. --fps 25 (--frame-rate in full)")
    return frame_rate


def _column(rows: pd.DataFrame, name: str, default: object) -> pd.Series:
    return rows.get(name, pd.Series(default, rows.index))


def _odds(probability: pd.Series) -> pd.Series:
    edge = 1 / (1 + 10**ODDS)
    p = probability.clip(edge, 1 - edge)
    return np.log10(p / (1 - p))


def _from_units(units: Mapping[int, pd.Series], emotions: Iterable[str]) -> dict[str, pd.Series]:
    """Means of the emotions' action units; an emotion none of whose units is there is left out."""
    there = {name: [units[k] for k in SHOWN_BY[name] if k in units] for name in emotions}
    return {name: sum(parts) / len(parts) for name, parts in there.items() if parts}


def _channels(units: Mapping, emotions: Mapping, angles: Mapping) -> pd.DataFrame:
    """All of them; Positive and Negative by FACET's rule."""
    table = pd.DataFrame({**{f"AU{k}": v for k, v in units.items()}, **emotions, **angles})
    table["Positive"] = table["Joy"]
    table["Negative"] = table[[name for name in NEGATIVE if name in table]].max(axis=1)
    return table


def _per_frame(time: np.ndarray) -> np.ndarray:
    """How many rows share each row's time, (f,)."""
    _, which, counts = np.unique(time, return_inverse=True, return_counts=True)
    return counts[which]


# The table of any program

PROGRAMS: dict[str, Callable[..., Export]] = {
    "FACET": _facet,
    "OpenFace 2": _openface,
    "py-feat": _pyfeat,
}
MARKS = {"FACET": "AU1 Evidence", "OpenFace 2": "AU01_r", "py-feat": "AU01"}  # columns
HEADER = 60  # lines among which the column names are looked for
PYFEAT_2 = {  # column of version 2 -> its name before
    **{name: name.lower() for name in (*SEVEN, "Neutral")},
    "Happy": "happiness",
    "Sad": "sadness",
}
WANTED = re.compile(
    r".* Evidence|(Yaw|Pitch|Roll)( Degrees)?|StimulusName|EventSource|FrameNo|FrameTime|NoOfFaces"
    r"|AU\d\d?(_r|_c)?|timestamp|frame|confidence|success|face_id|pose_R[xyz]"
    r"|FaceScore|FaceRectWidth|FaceRectHeight|X|Identity|"
    + "|".join((*PYFEAT_2, *PYFEAT_2.values()))
)
TEXT = {"StimulusName": str, "EventSource": str, "Identity": str}
NO_NUMBER = ["-nan(ind)", "nan(ind)"]  # as Windows prints NaN; in a decimal-comma column, too


def _table(path: Path) -> tuple[str, pd.DataFrame]:
    """The program and its columns that are needed, numbers as floats."""
    head = _head(path)
    at, separator, program = _header(path, head)
    comma = separator != "," and re.search(r"\d,\d", "".join(head[at + 1 :]))
    try:
        rows = pd.read_csv(
            path, sep=separator, skiprows=at, decimal="," if comma else ".", encoding="utf-8-sig",
            usecols=lambda name: WANTED.fullmatch(name.strip()), dtype=TEXT, index_col=False,
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
