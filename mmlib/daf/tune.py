"""The same tuning budget for every model, spent without the test split; every trial on file.

Every model tries the same candidates, drawn at random from `RANGES`. Each candidate is
cross-validated over the videos of train + valid, with several seeds: CMU-MOSI's own validation
split has 10 videos, too few to tell candidates apart. `python -m mmlib.daf.tune --dataset mosi
--modalities text audio` writes `papermill_runs/settings.json`, from which the notebooks read.

The budget is frozen: it was fixed before the stored runs that use it were trained. Earlier stored
runs had budgets of 12, 6, 8 and 6 candidates, changed after test rows had been seen.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from scipy.stats import loguniform, uniform
from sklearn.model_selection import ParameterSampler

from mmlib.daf import features, train
from mmlib.daf.features import CONSTANT, variant
from mmlib.daf.fusion import RULES
from mmlib.daf.train import Settings
from mmlib.data import load
from mmlib.files import RUNS, refuse_unknown, write_whole
from mmlib.stack.vectors import Features

FILE = RUNS / "settings.json"
BUDGET, FOLDS, SEEDS = 20, 3, range(3)  # candidates of a model, each trained folds x seeds times
RANGES = {
    "lr": loguniform(2e-4, 4e-3),
    "fusion_lr": [1.0, 3.0, 10.0],  # without effect where there is nothing to fuse
    "weight_decay": loguniform(1e-3, 1e-1),
    "feature_dropout": uniform(0.2, 0.5),  # .2 to .7
    "dropout": uniform(0.1, 0.6),  # .1 to .7
    "modality_dropout": [0.0, 0.2],  # without effect on one modality
}
MINILM = "minilm"  # the text encoder, unless another is named
NEAR = 0.005  # a candidate whose error exceeds the best one's by less is as good


def models(modalities: Sequence[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every model of a comparison: name -> (fusion rule, modalities that it sees).

    Each modality alone has three depths: `text` is one layer; `text_deep` a second one, the rule
    "concat" without anything to concatenate; `text_gated` has DAF's scorer, beside a modality that
    is 1 for every utterance (`mmlib.daf.features.with_constant`). So a gain over one modality can
    be told from a gain by depth.
    """
    found: dict[str, tuple[str, tuple[str, ...]]] = {m: ("mean", (m,)) for m in modalities}
    found |= {f"{m}_deep": ("concat", (m,)) for m in modalities}
    found |= {f"{m}_gated": ("daf", (m, CONSTANT)) for m in modalities}
    if len(modalities) > 1:
        found |= {rule: (rule, tuple(modalities)) for rule in RULES}
    return found


def candidates(rule: str) -> list[Settings]:
    """What a rule may choose from: the same draws for all."""
    draws = ParameterSampler(RANGES, BUDGET, random_state=0)
    return [Settings(rule, **{name: round(float(x), 5) for name, x in d.items()}) for d in draws]


def tune(data: Features, rule: str) -> dict:
    """The chosen settings of one rule and the cross-validated error of every candidate."""
    choice = candidates(rule)
    best, errors = train.select(data, choice, FOLDS, SEEDS)
    tried = [
        {**{name: getattr(candidate, name) for name in RANGES}, "cv_mae": round(float(error), 4)}
        for candidate, error in zip(choice, errors, strict=True)
    ]
    return {"settings": asdict(best), "cv_mae": round(float(errors.min()), 4), "tried": tried}


def settings(
    dataset: str, modalities: Sequence[str], rule: str, encoder: str | Path = MINILM
) -> Settings:
    """The stored settings of a rule on a data set and a text encoder.

    Those of MiniLM where the encoder was not tuned for; the plain `Settings(rule)` where nothing is
    stored.
    """
    stored = _read(FILE)
    for key in (place(dataset, encoder), dataset):
        if entry := stored.get(key, {}).get(variant(modalities), {}).get(rule):
            return Settings(**entry["settings"])
    return Settings(rule)


def place(dataset: str, encoder: str | Path) -> str:
    """The name under which a data set's choices stand: its own, with the encoder if not MiniLM."""
    return dataset if encoder == MINILM else f"{dataset}-{Path(encoder).name}"


def table(dataset: str) -> list[dict]:
    """One row a tuned rule: variant, chosen values, its error, the candidates' spread.

    near: how many of the candidates are within `NEAR` of the best one, itself counted.
    """
    rows = []
    for name, rules in _read(FILE).get(dataset, {}).items():
        for rule, entry in rules.items():
            errors = np.array([candidate["cv_mae"] for candidate in entry["tried"]])
            chosen = {key: entry["settings"][key] for key in RANGES}
            spread = {"cv_mae": errors.min(), "worst": errors.max(), "candidates": len(errors)}
            near = int((errors < errors.min() + NEAR).sum())
            rows.append({"variant": name, "rule": rule, **chosen, **spread, "near": near})
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
    parser.add_argument("--encoder", default=MINILM, help="of the text: minilm, mpnet, a folder")
    parser.add_argument("--models", nargs="+", help="default: every one of `models`")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        _tune_all(given)
    except ValueError as problem:
        raise SystemExit(f"mmlib.daf.tune: {problem}") from None


def _tune_all(given: argparse.Namespace) -> None:
    corpus, key = load(given.dataset), place(given.dataset, given.encoder)
    corpus = corpus.take(np.arange(len(corpus))[: given.utterances])
    data = features.build(corpus, given.modalities, encoder=given.encoder)
    known = models(data.modalities)
    refuse_unknown("model", given.models or (), known)
    data = features.with_constant(data)
    for name in given.models or known:
        rule, used = known[name]
        entry = tune(data.only(used), rule)
        store(key, used, rule, entry)
        spread = np.ptp([candidate["cv_mae"] for candidate in entry["tried"]])
        print(f"{key} {variant(used)} {rule}: CV MAE {entry['cv_mae']:.4f},",
              f"candidates spread over {spread:.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
