"""Acoustic features of an utterance's samples: COVAREP, or eGeMAPS where opensmile is installed.

Both give one row every 10 ms under the same interface, so all that follows is the same.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmlib import covarep
from mmlib.data import DataError
from mmlib.files import refuse_unknown
from mmlib.recordings.decode import RATE

SETS = ("covarep", "egemaps")
SHORTEST = 0.82  # seconds; under it COVAREP has too few frames
LONGEST = 30.0  # seconds; longer utterances are analysed in equal parts
HOP = 0.01  # seconds between rows


class Frames(NamedTuple):
    """Rows of features and the seconds they stand for."""

    values: np.ndarray  # (f, d) float32
    intervals: np.ndarray  # (f, 2) seconds from the first sample
    missing: str = ""  # why there are none


def columns(name: str) -> tuple[str, ...]:
    """Names of a set's features; DataError for an unknown set, or one that is not installed."""
    refuse_unknown("audio features", [name], SETS, DataError)
    return covarep.FEATURES if name == "covarep" else tuple(_smile().feature_names)


def frames(wave: np.ndarray, name: str = "covarep") -> Frames:
    """Features of an utterance (n,) at RATE; none where it is too short or has no voiced frame.

    covarep: the 74 of `mmlib.covarep.extract`. egemaps: the 25 low-level descriptors of
    eGeMAPSv02 (Eyben et al. 2016). Parts of a long utterance are analysed apart (our reading;
    COVAREP looks at a whole file, and its memory grows with it).
    """
    none = Frames(np.zeros((0, len(columns(name))), np.float32), np.zeros((0, 2)))
    if len(wave) < SHORTEST * RATE:
        return none._replace(missing=f"under {SHORTEST} s")
    parts = np.array_split(wave, int(np.ceil(len(wave) / RATE / LONGEST)))
    starts = np.cumsum([0, *map(len, parts[:-1])]) / RATE
    try:
        tables = [_table(part, name) for part in parts]
    except covarep.CovarepError:
        return none._replace(missing="nothing voiced")
    middle = np.concatenate([t.index + s for t, s in zip(tables, starts, strict=True)])
    values = np.concatenate([table.to_numpy(dtype=np.float32) for table in tables])
    return Frames(values, middle[:, None] + [-HOP / 2, HOP / 2])


def _table(wave: np.ndarray, name: str) -> pd.DataFrame:
    """Rows every 10 ms, index: middle of the row in seconds."""
    if name == "covarep":
        return covarep.extract(wave, RATE)
    table = _smile().process_signal(wave, RATE)
    start = table.index.get_level_values("start").total_seconds()
    return table.set_axis(start + HOP / 2).replace([np.inf, -np.inf], np.nan).fillna(0)


@lru_cache
def _smile():
    try:
        import opensmile
    except ImportError:
        raise DataError(
            "eGeMAPS needs opensmile: pip install opensmile (free for research only), "
            "or use --audio covarep"
        ) from None
    return opensmile.Smile(
        opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors
    )
