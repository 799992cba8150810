"""Tune the full DyFuLM with a small budget, without the test split; all trials are stored.

The full model is tuned once per data set and pair of encoders. Its ablations use the same settings,
so a difference between them comes from a module and not from a learning rate. Candidates are drawn
at random from `RANGES` and cross-validated over the groups of train + valid.
`python -m mmlib.dyfulm.tune --dataset hotel --encoders minilm mpnet` writes
`papermill_runs/settings.json`, which the notebooks read.
"""

import argparse

import numpy as np
import torch
from scipy.stats import loguniform, uniform

from mmlib.data import DataError, load
from mmlib.data.load import columns
from mmlib.data.targets import Targets, targets
from mmlib.dyfulm import frozen
from mmlib.dyfulm.frozen import Settings
from mmlib.stack import choices
from mmlib.stack.vectors import Features
from mmlib.text import made

BUDGET, FOLDS, SEEDS = 12, 2, (0,)  # candidates, each trained folds x seeds times
ROWS = 4000  # maximum number of reviews from the splits KNOWN
KNOWN = ("train", "valid")
RANGES = {
    "lr": loguniform(2e-4, 4e-3),
    "fusion_lr": [1.0, 3.0],
    "weight_decay": loguniform(1e-3, 1e-1),
    "feature_dropout": uniform(0.2, 0.5),  # .2 to .7
    "dropout": uniform(0.1, 0.6),  # .1 to .7
}
MODEL, VARIANT, ERROR = "dyfulm", "t", "cv_criterion"


def candidates() -> list[Settings]:
    """The candidate settings of the full model."""
    return [Settings(**values) for values in choices.draw(RANGES, BUDGET)]


def tune(data: Features, goal: Targets) -> dict:
    """The chosen settings and the cross-validated criterion of every candidate.

    The criterion is that of early stopping: the mean over the three tasks of the loss divided by
    the loss of the best constant; 1 is the constant.
    """
    drawn = candidates()
    _, errors = frozen.select(data, goal, drawn, FOLDS, SEEDS)
    return choices.entry(drawn, errors, tuple(RANGES), ERROR)


def settings(dataset: str, a: str, b: str) -> Settings:
    """The stored settings for a data set and a pair of encoders, else the default `Settings()`.

    If nothing is stored, a printed line names the tuning command.
    """
    if entry := choices.stored(key := choices.place(dataset, a, b)).get(VARIANT, {}).get(MODEL):
        return Settings(**entry["settings"])
    command = f"python -m mmlib.dyfulm.tune --dataset {dataset} --encoders {a} {b}"
    choices.missing(key, MODEL, "the defaults are used", command)
    return Settings()


def table(dataset: str, a: str, b: str) -> list[dict]:
    """At most one row, of `mmlib.stack.choices.table`; an empty list if nothing was tuned."""
    return choices.table(choices.place(dataset, a, b), tuple(RANGES), ERROR)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.dyfulm.tune", description=__doc__)
    parser.add_argument("--dataset", required=True)
    for role in ("text", "label", "group"):
        parser.add_argument(f"--{role}", default="", help="its column in a table of one's own")
    parser.add_argument("--classes", default="", help="words of its labels: 'bad, fair, good'")
    parser.add_argument("--encoders", nargs=2, default=["minilm", "small"], metavar=("A", "B"))
    parser.add_argument("--max-length", type=int, default=128, help="tokens")
    parser.add_argument("--dtype", default="float32", help="of the encoders")
    parser.add_argument("--rows", type=int, default=ROWS, help="reviews of train + valid, at most")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        _tune(given)
    except ValueError as problem:
        raise SystemExit(f"mmlib.dyfulm.tune: {problem}") from None


def _tune(given: argparse.Namespace) -> None:
    asked = columns(text=given.text, label=given.label, group=given.group, classes=given.classes)
    corpus = load(given.dataset, **asked)
    if corpus.text is None:
        raise DataError(f"{given.dataset} has no text; DyFuLM reads nothing else")
    if given.rows < 0:
        raise ValueError(f"--rows {given.rows}: give 0 (all) or more")
    texts = [corpus.text[i] for i in corpus.rows("train")]
    pair = [made.named(name, texts) for name in given.encoders]
    corpus = corpus.sample(given.rows, splits=KNOWN)
    corpus = corpus.take(np.flatnonzero(np.isin(corpus.split, KNOWN)))
    data = frozen.states(corpus, *pair, max_length=given.max_length, dtype=given.dtype)
    entry = tune(data, targets(corpus))
    key = choices.place(given.dataset, *given.encoders)
    choices.store(key, VARIANT, MODEL, entry)
    spread = np.ptp([candidate[ERROR] for candidate in entry["tried"]])
    print(f"{key}: criterion {entry[ERROR]:.4f}, candidates spread over {spread:.4f}")


if __name__ == "__main__":
    main()
