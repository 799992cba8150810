"""A tuning budget and what it chose, on file: every candidate, its error, and the best one.

`papermill_runs/settings.json` holds one entry a data set (with its encoders, if these are not the
default), variant and model. `mmlib.daf.tune` and `mmlib.dyfulm.tune` spend the budget of their
paper; the notebooks read what was chosen.
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
NEAR = 0.005  # a candidate whose error exceeds the best one's by less is as good


def draw(ranges: Mapping[str, object], n: int) -> list[dict[str, float]]:
    """n candidates at random from the ranges, the same in every call."""
    from sklearn.model_selection import ParameterSampler  # half of a worker's start

    draws = ParameterSampler(ranges, n, random_state=0)
    return [{name: round(float(value), 5) for name, value in one.items()} for one in draws]


def entry(
    candidates: Sequence[Any], errors: np.ndarray, names: Sequence[str], error: str = "cv_mae"
) -> dict:
    """The best of the candidates and all of them, with their errors (c,) under the name `error`.

    names: the fields that the candidates differ in.
    """
    tried = [
        {**{name: getattr(candidate, name) for name in names}, error: round(float(value), 4)}
        for candidate, value in zip(candidates, errors, strict=True)
    ]
    best = asdict(candidates[int(np.argmin(errors))])
    return {"settings": best, error: round(float(errors.min()), 4), "tried": tried}


def place(dataset: str, *encoders: str | Path, default: Sequence[str | Path] = ()) -> str:
    """The name under which a data set's choices stand: its own, with encoders not the default."""
    if not encoders or encoders == tuple(default):
        return dataset
    return f"{dataset}-{'+'.join(Path(encoder).name for encoder in encoders)}"


def stored(dataset: str) -> dict[str, dict[str, dict]]:
    """The entries of a data set, by variant and model; none if nothing was tuned."""
    return everything().get(dataset, {})


@lru_cache
def missing(dataset: str, what: str, used: str, command: str) -> None:
    """Print in one line that nothing was tuned, and what would tune it; once in a process."""
    print(f"{dataset}: {what} is not tuned, {used}; to tune: {command}")


def store(dataset: str, variant: str, model: str, entry: dict) -> None:
    """Add one choice to the file, atomically; two runs may write at once."""
    with locked(FILE.with_suffix(".lock")):
        entries = everything()
        entries.setdefault(dataset, {}).setdefault(variant, {})[model] = entry
        write_whole(FILE, json.dumps(entries, indent=1) + "\n")


def table(dataset: str, names: Sequence[str], error: str = "cv_mae") -> list[dict]:
    """One row a tuned model: variant, rule, chosen values, its error, the candidates' spread.

    near: how many of the candidates are within `NEAR` of the best one, itself counted.
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
    """All that was tuned, by data set, variant and model; ValueError where the file is damaged."""
    try:
        return json.loads(FILE.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ValueError(f"{FILE} is damaged; restore it, or delete it and tune again") from None
