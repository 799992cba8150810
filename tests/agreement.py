"""How far the features are from the original's output, beside how far that is from itself.

`python tests/agreement.py FOLDER` prints the table of notebooks/book/covarep.md for a folder of WAV
files, each with the original program's output beside it: name.csv, 74 columns.
"""

import sys
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.covarep.columns import FEATURES
from mmlib.covarep.conventions import CovarepError, wrap
from mmlib.covarep.recording import read_wav
from mmlib.covarep.stages import extract

EVERYWHERE = {"F0", "VUV", "peakSlope"}  # compared in all rows, like MCEP; others where voiced
ENDS = 15  # rows of HMPDD at each end that hang on rounding errors
HEADER = (
    "| feature | ours: median | p95 | r | again: median | r | one sample later: median | p95 | r |"
)

# The original run twice on seven recordings, unchanged and delayed by one sample: median and 95 %
# point of the differences in standard deviations, and the correlation; the worst of a group.
NOISE_FLOOR = pd.read_csv(
    StringIO("""
group,repeat_median,repeat_r,shift_median,shift_p95,shift_r
F0,0,1,0,0,1
NAQ,0,1,2.3e-3,2.1e-2,0.99899
QOQ,0,1,1.7e-3,1.8e-2,0.99837
H1H2,0,1,1.4e-3,2.1e-2,0.98894
PSP,0,1,1.9e-3,2.9e-2,0.99614
MDQ,0,1,2.9e-3,3.4e-2,0.99583
peakSlope,0,1,0,6.5e-3,0.99998
Rd,0,1,2.0e-3,3.8e-1,0.96530
Rd_conf,0,1,7.2e-3,1.1e-1,0.99678
MCEP_0,0,1,1.2e-3,1.1e-2,0.99999
MCEP_1..5,0,1,2.9e-3,1.3e-2,0.99998
MCEP_6..12,0,1,5.0e-3,2.0e-2,0.99995
MCEP_13..24,0,1,6.4e-3,2.5e-2,0.99993
HMPDM_5..8,0,1,4.6e-8,6.0e-3,0.99994
HMPDM_9..13,0,1,7.0e-3,7.8e-2,0.99620
HMPDM_14..23,0,1,1.6e-2,2.1e-1,0.99080
HMPDM_24,1.1e-2,0.99825,2.3e-2,1.7e-1,0.99619
HMPDD_0,1.6e-3,1,1.6e-2,7.9e-2,0.99908
HMPDD_1..4,6.1e-3,0.99994,3.2e-2,1.8e-1,0.99488
HMPDD_5..12,7.1e-3,0.99992,4.6e-2,2.3e-1,0.99427
"""),
    index_col="group",
)


def members(group: str) -> list[str]:
    """Columns of a group written as "MCEP_1..5"."""
    stem, _, span = group.rpartition("_")
    if ".." not in span:
        return [group]
    first, last = map(int, span.split(".."))
    return [f"{stem}_{i}" for i in range(first, last + 1)]


def trustworthy(reference: pd.DataFrame, near_silence: np.ndarray | None = None) -> pd.DataFrame:
    """Which cells (rows, 74) of a reference can be compared: True and False.

    Not: HMPDD within ENDS rows of the first and last analysed frame, values that are not finite,
    and, where `near_silence` (rows,) is set, the wavelet measures.
    """
    good = np.isfinite(reference)
    names = [name for name in reference.columns if name.startswith("HMPDD")]
    if names:
        rows = np.flatnonzero(reference[names].any(axis=1))
        good.loc[: good.index[min(rows[0] + ENDS, len(good)) - 1], names] = False
        good.loc[good.index[max(rows[-1] + 1 - ENDS, 0)] :, names] = False
    if near_silence is not None:
        for name in {"MDQ", "peakSlope"} & set(reference.columns):
            good[name] &= ~near_silence
    return good


def near_silence(wave: np.ndarray, positions: np.ndarray, rate: int) -> np.ndarray:
    """Whether each position (samples) is within 1000 samples of 25 ms of exact zeros."""
    run = int(0.025 * rate)
    quiet = np.convolve(wave == 0, np.ones(run), "same") > run - 0.5
    reach = np.ones(2 * (1000 + run) + 1)
    return (np.convolve(quiet, reach, "same") > 0.5)[positions]


def pair(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Ours, the reference, and which cells of it can be compared, of one WAV file."""
    wave, rate = read_wav(path)
    ours, reference = extract(wave, rate), pd.read_csv(path.with_suffix(".csv"))
    if list(ours) != list(reference) or len(ours) != len(reference):
        raise CovarepError(f"{path.with_suffix('.csv')}: not the 74 columns and rows of {path}")
    reference.index = ours.index
    positions = np.rint(ours.index * rate).astype(int) - 1
    return ours, reference, trustworthy(reference, near_silence(wave, positions, rate))


def pairs(folder: str | Path) -> list[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """`pair` of each WAV file of a folder that has its .csv; CovarepError if there is none."""
    waves = sorted(Path(folder).glob("*.wav"))
    paths = [path for path in waves if path.with_suffix(".csv").exists()]
    if not paths:
        raise CovarepError(f"{folder}: no name.wav with the original's name.csv beside it")
    return [pair(path) for path in paths]


def compare(
    recordings: Iterable[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]],
) -> pd.DataFrame:
    """Agreement of each feature, pooled over (ours, reference, trustworthy cells) of recordings.

    Rows are features. sd: standard deviation of the reference. median, p95 and worst: of the
    absolute differences, in feature units (HMPDM wrapped). r: correlation. cosine: mean cosine of
    the differences of HMPDM. close: share of rows that differ by at most 0.5 (F0), 0.02 (others).
    """
    recordings = list(recordings)
    voiced = [
        (ours["VUV"] == 1) & (theirs["VUV"].to_numpy() == 1) for ours, theirs, _ in recordings
    ]
    table = {}
    for name in FEATURES:
        everywhere = name in EVERYWHERE or name.startswith("MCEP")
        kept = [
            good[name].to_numpy() & (everywhere | both.to_numpy())
            for (_, _, good), both in zip(recordings, voiced, strict=True)
        ]
        a, b = (
            np.concatenate(
                [tables[i][name].to_numpy()[k] for tables, k in zip(recordings, kept, strict=True)]
            )
            for i in (0, 1)
        )
        a = b + wrap(a - b) if name.startswith("HMPDM") else a
        apart = np.abs(a - b)
        constant = b.std() < 1e-6
        table[name] = {
            "n": len(b),
            "sd": b.std(ddof=1),
            "median": np.median(apart),
            "p95": np.quantile(apart, 0.95),
            "worst": apart.max(),
            "r": np.nan if constant or a.std() == 0 else np.corrcoef(a, b)[0, 1],
            "cosine": np.cos(apart).mean(),
            "close": (apart <= (0.5 if name == "F0" else 0.02)).mean(),
        }
    return pd.DataFrame(table).T


def table(compared: pd.DataFrame) -> pd.DataFrame:
    """The agreement by groups of features (the worst of each) beside the original's noise floor.

    median and p95 are in standard deviations of the reference.
    """
    rows = {}
    for group in NOISE_FLOOR.index:
        part = compared.loc[members(group)]
        rows[group] = {
            "median": (part["median"] / part["sd"]).max(),
            "p95": (part["p95"] / part["sd"]).max(),
            "r": part["r"].min(),
        }
    return pd.DataFrame(rows).T.join(NOISE_FLOOR)


def markdown(agreement: pd.DataFrame) -> str:
    """The `table` as it stands in notebooks/book/covarep.md."""
    names = ("median", "p95", "r")
    columns = [*names, "repeat_median", "repeat_r", *(f"shift_{name}" for name in names)]
    lines = [HEADER, "|---" * (len(columns) + 1) + "|"]
    for group, row in agreement[columns].iterrows():
        cells = [
            f"{v:.5f}" if name.endswith("r") else f"{v:.0e}".replace("e-0", "e-") if v else "0"
            for name, v in row.items()
        ]
        lines.append(f"| {' | '.join([str(group), *cells])} |")
    return "\n".join(lines)


def main(folder: str) -> int:
    try:
        print(markdown(table(compare(pairs(folder)))))
    except CovarepError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
