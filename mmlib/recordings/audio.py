"""Acoustic features of an utterance's samples: COVAREP, or eGeMAPS where opensmile is installed.

Both give one row every 10 ms and share one interface, so later steps do not differ.
"""

from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmlib import covarep
from mmlib.data import DataError
from mmlib.files import refuse_unknown
from mmlib.recordings.decode import RATE

SETS = ("covarep", "egemaps")
SHORTEST = 0.82  # seconds, under which COVAREP has too few frames
NO_VOICE = "nothing voiced, or too little outside silence"
LONGEST = 30.0  # seconds; longer utterances are analysed in equal parts
HOP = 0.01  # seconds between rows


class Frames(NamedTuple):
    """Rows of features and the seconds that each covers."""

    values: np.ndarray  # (f, d) float32
    intervals: np.ndarray  # (f, 2) seconds from the first sample
    missing: str = ""  # why there are no rows


def columns(name: str) -> tuple[str, ...]:
    """Names of a set's features; DataError for an unknown set, or if opensmile is missing."""
    refuse_unknown("audio features", [name], SETS, DataError)
    return covarep.FEATURES if name == "covarep" else tuple(_smile().feature_names)


def frames(wave: np.ndarray, name: str = "covarep") -> Frames:
    """Features of an utterance (n,) at RATE; no rows under SHORTEST or without enough voice.

    covarep: the 74 of `mmlib.covarep.extract`. egemaps: the 25 low-level descriptors of eGeMAPSv02
    (Eyben et al. 2016). An utterance over LONGEST is analysed in parts, because COVAREP works on
    all of a wave and its memory grows with it (our reading); a part without speech has no rows.
    """
    values, middles = [np.zeros((0, len(columns(name))), np.float32)], [np.zeros(0)]
    if len(wave) < SHORTEST * RATE:
        return Frames(values[0], np.zeros((0, 2)), f"under {SHORTEST} s")
    parts = np.array_split(wave, int(np.ceil(len(wave) / RATE / LONGEST)))
    starts = np.cumsum([0, *map(len, parts[:-1])]) / RATE
    for part, start in zip(parts, starts, strict=True):
        with suppress(covarep.CovarepError):  # of a part, a pause perhaps, that has no features
            table = _table(part, name)
            values.append(table.to_numpy(dtype=np.float32))
            middles.append(table.index + start)
    intervals = np.concatenate(middles)[:, None] + [-HOP / 2, HOP / 2]
    return Frames(np.concatenate(values), intervals, "" if values[1:] else NO_VOICE)


def _table(wave: np.ndarray, name: str) -> pd.DataFrame:
    """Features every 10 ms; the index is the middle of each row in seconds."""
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
