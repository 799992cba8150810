"""Columns of three face programs as 35 FACET channels, times, and which person a face is.

Evidence is FACET's unit: log10 of the odds that a human coder would see the expression, and 0 if
both are as likely. Each channel is computed as follows:

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

Positive and Negative follow FACET's own rule, which holds in its exports to the last digit. AUs of
the emotions are those of EMFACS (Friesen and Ekman 1983); of confusion and frustration those of
Craig et al. 2008. The formulas for OpenFace and py-feat are our reading, because these programs
measure other quantities. Signs of head angles differ between programs. py-feat 2 gives radians and
reversed the sign of Roll (the subject's right is positive now); here Roll has the sign of py-feat
0.6. In both versions up is positive in Pitch, and the subject's right in Yaw.

OpenFace tracks people, and so does py-feat from 0.7 on. If an export shows several faces and does
not identify them, they are tracked by their places from frame to frame.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmlib.data import DataError
from mmlib.data.columns import FACET

LEAST = 0.7  # lowest confidence of a usable frame
ODDS = 2.0  # bound on the log10 odds of a probability
CERTAIN = 1.001  # highest value of a probability, with rounding
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


def _facet(path: Path, rows: pd.DataFrame, _: object, stimulus: str | None) -> pd.DataFrame:
    """FACET's own channels, without rows of other sensors (EventSource), which repeat a frame."""
    if "EventSource" in rows:
        rows = rows[rows["EventSource"].fillna("").str.contains("FACET")]
    if "FrameNo" in rows:
        rows = rows[rows["FrameNo"] >= 0]
    rows = _shown(path, rows, _column(rows, "StimulusName", np.nan), stimulus)
    faces = _column(rows, "NoOfFaces", 1).fillna(0).clip(lower=0)
    facts = {"time": rows["FrameTime"] / 1000, "confidence": faces.clip(upper=1), "faces": faces}
    return _channels("FACET", rows).assign(**facts, person=0, size=0)


def _shown(path: Path, rows: pd.DataFrame, names: pd.Series, stimulus: str | None) -> pd.DataFrame:
    """Rows of one recording if `names` (f,) holds several; DataError unless `stimulus` is one."""
    shown = sorted(set(names.dropna()))
    if len(shown) > 1 and stimulus not in shown:
        raise DataError(
            f"{path}: several stimuli ({', '.join(shown)}); name one, or name the clip like it"
        )
    return rows[names == stimulus] if len(shown) > 1 else rows


def _openface(path: Path, rows: pd.DataFrame, frame_rate: float | None, _: object) -> pd.DataFrame:
    """Rows of OpenFace 2. On images all its times are 0, and frames are numbered from 1."""
    table = _derived(_channels("OpenFace 2", rows))
    table["Neutral"] = -table[list(SEVEN)].max(axis=1)
    if "frame" not in rows and "timestamp" not in rows:
        raise DataError(
            f"{path}: neither column timestamp nor frame; run OpenFace's FeatureExtraction "
            "on the clip (FaceLandmarkImg gives no times)"
        )
    frame, time = _column(rows, "frame", 1), _column(rows, "timestamp", 0)
    if not time.any() and frame.nunique() > 1:
        time = _counted(path, frame - 1, frame_rate, "OpenFace gives images no times")
    known = rows.assign(time=time).reindex(columns=["time", "face_id"]).dropna()
    if len(twice := known[known.duplicated()]):
        raise DataError(
            f"{path}: face {twice['face_id'].iloc[0]:g} stands twice at {twice['time'].iloc[0]:g} "
            "s; give each clip an export of its own"
        )
    confidence = rows["confidence"].where(_column(rows, "success", 1) == 1, 0)
    facts = {"time": time, "confidence": confidence, "faces": time.map(time.value_counts())}
    return table.assign(**facts, person=_column(rows, "face_id", 0), size=0)


def _pyfeat(
    path: Path, rows: pd.DataFrame, frame_rate: float | None, stimulus: str | None
) -> pd.DataFrame:
    """Rows of py-feat; empty FaceScore: no face. Only several clips share frame numbers."""
    rows = rows.rename(columns=PYFEAT_2)
    if "input" in rows and (rows.groupby("frame")["input"].nunique() > 1).any():
        names = rows["input"].map(lambda name: Path(name).stem, "ignore")
        rows = _shown(path, rows, names, stimulus)
    known = [of for of, make in PROGRAMS["py-feat"].channels.values() if make is _odds]
    most = rows.reindex(columns=known).max()
    if most.max() > CERTAIN:
        raise DataError(
            f"{path}: {most.idxmax()} holds {most.max():g}, py-feat gives probabilities; export it "
            "again, or divide percent by 100"
        )
    table = _derived(_channels("py-feat", rows))
    angles = table[[name for name in HEAD if name in rows]]
    if "X" in rows or (angles.abs().quantile(0.95) < np.pi / 2).all():
        signs = {"Yaw": 1, "Pitch": 1, "Roll": -1}  # of version 2, see the top of this file
        table[list(angles)] = np.degrees(angles) * [signs[name] for name in angles]
    time = _counted(path, rows["frame"], frame_rate, "py-feat counts frames")
    x, y, width, height = (
        _column(rows, f"FaceRect{name}", np.nan) for name in ("X", "Y", "Width", "Height")
    )
    score, person = _column(rows, "FaceScore", 1).fillna(0), _column(rows, "Identity", "")
    faces, person = time.map(time.value_counts()), person.fillna("")
    centre = np.stack([x + width / 2, y + height / 2], axis=1)
    if person.nunique() == 1 and (faces > 1).any() and np.isfinite(centre).any():
        person = _followed(time.where(score >= LEAST).to_numpy(), centre, width.to_numpy())
    facts = {"time": time, "confidence": score, "faces": faces, "person": person}
    return table.assign(**facts, size=(width * height).fillna(0))


def _followed(time: np.ndarray, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    """A person's number for each face (f,): the person last seen nearest, within a face's width.

    If nobody is near the largest face of a frame, it is the person in most frames so far who is
    missing here (a cut, a quick movement). Others are new. centre (f, 2). -1: no face or time.
    """
    person = np.full(len(time), -1)
    seen, last = np.zeros(0, int), np.zeros((0, 2))  # by person: number of frames, last place
    order = np.lexsort([-width, time])
    order = order[np.isfinite(centre[order]).all(axis=1) & np.isfinite(time[order])]
    frames = np.split(order, np.flatnonzero(np.diff(time[order])) + 1) if len(order) else ()
    for faces in frames:
        far = np.linalg.norm(centre[faces, None] - last, axis=2)  # (faces, people)
        far[far > width[faces, None]] = np.inf
        while np.isfinite(far).any():
            i, k = np.unravel_index(far.argmin(), far.shape)
            person[faces[i]], far[i], far[:, k] = k, np.inf, np.inf
        missing = np.setdiff1d(np.arange(len(seen)), person[faces])
        if person[faces[0]] < 0 and len(missing):
            person[faces[0]] = missing[seen[missing].argmax()]
        new = faces[person[faces] < 0]
        person[new] = len(seen) + np.arange(len(new))
        seen, last = np.append(seen, 0 * new), np.concatenate([last, centre[new]])
        seen[person[faces]] += 1
        last[person[faces]] = centre[faces]
    return person


def _counted(path: Path, frame: pd.Series, frame_rate: float | None, why: str) -> pd.Series:
    """Seconds (f,) of numbered frames; DataError, with `why`, without a frame rate."""
    if not frame_rate:
        raise DataError(f"{path}: {why}; give their rate, e.g. --fps 25 (--frame-rate in full)")
    return frame / frame_rate


def _column(rows: pd.DataFrame, name: str, default: object) -> pd.Series:
    return rows.get(name, pd.Series(default, rows.index))


# Channels


def _odds(probability: pd.Series) -> pd.Series:
    edge = 1 / (1 + 10**ODDS)
    p = probability.clip(edge, 1 - edge)
    return np.log10(p / (1 - p))


def _channels(program: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The channels that the program itself measures, as evidence."""
    sources = PROGRAMS[program].channels.items()
    return pd.DataFrame({name: make(rows[of]) for name, (of, make) in sources if of in rows})


def _derived(channels: pd.DataFrame) -> pd.DataFrame:
    """Channels with missing emotions added, means of their action units; and Positive, Negative.

    An emotion without any of its units is left out. Positive and Negative follow FACET's rule.
    """
    for emotion, units in SHOWN_BY.items():
        there = [channels[f"AU{k}"] for k in units if f"AU{k}" in channels]
        if emotion not in channels and there:
            channels[emotion] = sum(there) / len(there)
    channels["Positive"] = channels["Joy"]
    channels["Negative"] = channels.reindex(columns=NEGATIVE).max(axis=1)
    return channels


class Program(NamedTuple):
    """How to recognise and read the tables of a program."""

    mark: str  # a column that no other program has
    # Gives one row per face and frame: channels, time (s), confidence (0 to 1; 0: no face), faces
    # (number of faces in the frame), person (an identity) and size.
    read: Callable[..., pd.DataFrame]
    channels: Mapping[str, tuple[str, Callable]]  # channel -> its column, function to evidence


PYFEAT_2 = {  # column of version 2 -> its name before
    **{name: name.lower() for name in (*SEVEN, "Neutral")},
    "Happy": "happiness",
    "Sad": "sadness",
}
PROGRAMS = {
    "FACET": Program(
        "AU1 Evidence",
        _facet,
        {name: (f"{name} Evidence", pd.Series) for name in FACET}
        | {name: (f"{name} Degrees", pd.Series) for name in HEAD},
    ),
    "OpenFace 2": Program(
        "AU01_r",
        _openface,
        {f"AU{k}": (f"AU{k:02d}_r", lambda intensity: intensity - 1) for k in UNITS}
        | {"AU28": ("AU28_c", lambda presence: 2 * presence - 1)}
        | {"AU43": ("AU45_r", lambda blink: blink - 1)}
        | {name: (f"pose_R{axis}", np.degrees) for name, axis in zip(HEAD, "yxz", strict=True)},
    ),
    "py-feat": Program(
        "AU01",
        _pyfeat,
        {f"AU{k}": (f"AU{k:02d}", _odds) for k in UNITS}
        | {name: (name.lower(), _odds) for name in (*SEVEN, "Neutral")}
        | {"Joy": ("happiness", _odds)}
        | {name: (name, pd.Series) for name in HEAD},
    ),
}
