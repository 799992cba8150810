"""Stored results of hyperparameter tuning: every candidate, its error, and the best candidate.

`papermill_runs/settings.json` holds one entry per data set (with its encoders, if these are not the
default), variant and model. `mmlib.daf.tune` and `mmlib.dyfulm.tune` write the entries of their
paper; the notebooks read the chosen settings.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmlib.files import RUNS, locked, write_whole

FILE = RUNS / "settings.json"
NEAR = 0.005  # candidates whose error exceeds the lowest error by less than this count as equal


def draw(ranges: Mapping[str, object], n: int) -> list[dict[str, float]]:
    """Draw n candidates with a fixed seed, as floats of 5 decimals; fewer if lists hold fewer."""
    from sklearn.model_selection import ParameterSampler  # imported late: slow to load

    draws = ParameterSampler(ranges, n, random_state=0)
    return [{name: round(float(value), 5) for name, value in one.items()} for one in draws]


def entry(
    candidates: Sequence[Any], errors: np.ndarray, names: Sequence[str], error: str = "cv_mae"
) -> dict:
    """One file entry: the best candidate, and all candidates with their errors (c,).

    names: the fields in which the candidates differ. error: the key for the errors.
    """
    tried = [
        {**{name: getattr(candidate, name) for name in names}, error: round(float(value), 4)}
        for candidate, value in zip(candidates, errors, strict=True)
    ]
    best = asdict(candidates[int(np.argmin(errors))])
    return {"settings": best, error: round(float(errors.min()), 4), "tried": tried}


def place(dataset: str, *encoders: str | Path, default: Sequence[str | Path] = ()) -> str:
    """Key of a data set's entries: its name, followed by the encoders unless they are default."""
    if not encoders or encoders == tuple(default):
        return dataset
    return f"{dataset}-{'+'.join(Path(encoder).name for encoder in encoders)}"


def stored(dataset: str) -> dict[str, dict[str, dict]]:
    """The entries of a data set, by variant and model; empty if nothing was tuned."""
    return everything().get(dataset, {})


@lru_cache
def missing(dataset: str, what: str, used: str, command: str) -> None:
    """Print in one line that nothing was tuned and which command tunes; once per process."""
    print(f"{dataset}: {what} is not tuned, {used}; to tune: {command}")


def store(dataset: str, variant: str, model: str, entry: dict) -> None:
    """Add one entry to the file, atomically and under a lock: several runs may write at once."""
    with locked(FILE.with_suffix(".lock")):
        entries = everything()
        entries.setdefault(dataset, {}).setdefault(variant, {})[model] = entry
        write_whole(FILE, json.dumps(entries, indent=1) + "\n")


def table(dataset: str, names: Sequence[str], error: str = "cv_mae") -> list[dict]:
    """One row per tuned model: variant, rule, chosen values, lowest and highest error.

    near: number of candidates whose error is within `NEAR` of the lowest, the best one included.
    """
    rows = []
    for variant, models in stored(dataset).items():
        for model, one in models.items():
            errors = np.array([candidate[error] for candidate in one["tried"]])
            chosen = {name: one["settings"][name] for name in names}
            spread = {error: errors.min(), "worst": errors.max(), "candidates": len(errors)}
            near = int((errors < errors.min() + NEAR).sum())
            rows.append({"variant": variant, "rule": model, **chosen, **spread, "near": near})
    return rows


def everything() -> dict[str, dict[str, dict[str, dict]]]:
    """All entries, by data set, variant and model; ValueError if the file is damaged."""
    try:
        return json.loads(FILE.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ValueError(f"{FILE} is damaged; restore it, or delete it and tune again") from None
