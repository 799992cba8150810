"""The same tuning budget for every fusion rule, spent without the test split; settings on file.

Every rule tries the same candidates, its own learning rate included. Each candidate is
cross-validated over the videos of train + valid: CMU-MOSI's own validation split has 10 videos,
too few to tell candidates apart. `python -m mmlib.daf.tune --dataset mosi --modalities text audio`
writes `papermill_runs/settings.json`, from which the notebooks read.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from mmlib.daf import features, fusion, train
from mmlib.daf.features import variant
from mmlib.daf.train import Settings
from mmlib.data import load
from mmlib.files import RUNS, write_whole
from mmlib.stack.vectors import Features

FILE = RUNS / "settings.json"
FOLDS = 3
RATES = (5e-4, 1.5e-3)
CANDIDATES = [  # the budget: 6 for every rule
    Settings(lr=lr, fusion_lr=fusion_lr, dropout=0.5)
    for lr, fusion_lr in product(RATES, (1.0, 3.0, 10.0))
]
WITHOUT_FUSION = [  # also 6: one modality, and the mean, have no parameters of a fusion
    Settings(lr=lr, dropout=dropout) for lr, dropout in product(RATES, (0.2, 0.5, 0.7))
]


def candidates(rule: str, modalities: Sequence[str]) -> list[Settings]:
    """The settings that a rule may choose from, equally many for all."""
    fuses = rule != "mean" and len(modalities) > 1
    return [replace(c, rule=rule) for c in (CANDIDATES if fuses else WITHOUT_FUSION)]


def tune(data: Features, rule: str, seeds: Sequence[int] = (0,)) -> dict:
    """The chosen settings of one rule and the cross-validated error of every candidate."""
    choice = candidates(rule, data.modalities)
    best, errors = train.select(data, choice, FOLDS, seeds)
    tried = [
        {"lr": c.lr, "fusion_lr": c.fusion_lr, "modality_dropout": c.modality_dropout,
         "dropout": c.dropout, "cv_mae": round(float(e), 4)}
        for c, e in zip(choice, errors, strict=True)
    ]  # fmt: skip
    return {"settings": asdict(best), "cv_mae": round(float(errors.min()), 4), "tried": tried}


def settings(dataset: str, modalities: Sequence[str], rule: str) -> Settings:
    """The stored settings of a rule on a data set, or the plain `Settings(rule)` if none are."""
    stored = _read(FILE).get(dataset, {}).get(variant(modalities), {}).get(rule)
    return Settings(**stored["settings"]) if stored else Settings(rule)


def table(dataset: str) -> list[dict]:
    """One row a tuned rule: variant, chosen rates, its error and the spread over candidates."""
    rows = []
    for name, rules in _read(FILE).get(dataset, {}).items():
        for rule, entry in rules.items():
            errors = [candidate["cv_mae"] for candidate in entry["tried"]]
            chosen = entry["settings"]
            rates = {k: chosen[k] for k in ("lr", "fusion_lr", "dropout", "modality_dropout")}
            rows.append(
                {"variant": name, "rule": rule, **rates, "cv_mae": min(errors),
                 "worst": max(errors), "candidates": len(errors)}
            )  # fmt: skip
    return rows


def store(dataset: str, modalities: Sequence[str], rule: str, entry: dict) -> None:
    """Add one choice to the file, atomically; two runs may write at once."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(FILE.with_suffix(".lock")):
        everything = _read(FILE)
        everything.setdefault(dataset, {}).setdefault(variant(modalities), {})[rule] = entry
        write_whole(FILE, json.dumps(everything, indent=1) + "\n")


def _read(file: Path) -> dict:
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ValueError(f"{file} is damaged; restore it, or delete it and tune again") from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.daf.tune", description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--modalities", nargs="+", help="default: all that the data set has")
    parser.add_argument("--utterances", type=int, help="only the first so many")
    parser.add_argument("--rules", nargs="+", choices=fusion.RULES, default=list(fusion.RULES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        _tune_all(given.dataset, given.modalities, given.utterances, given.rules)
    except ValueError as problem:
        raise SystemExit(f"mmlib.daf.tune: {problem}") from None


def _tune_all(dataset: str, modalities: Sequence[str], first: int | None, rules: list[str]) -> None:
    corpus = load(dataset)
    data = features.build(corpus.take(np.arange(len(corpus))[:first]), modalities)
    for rule in ["mean"] if len(data.modalities) == 1 else rules:
        entry = tune(data, rule)
        store(dataset, data.modalities, rule, entry)
        spread = np.ptp([candidate["cv_mae"] for candidate in entry["tried"]])
        print(f"{dataset} {variant(data.modalities)} {rule}: CV MAE {entry['cv_mae']:.4f},",
              f"candidates spread over {spread:.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
