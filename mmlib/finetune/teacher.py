"""Soft targets from a frozen pair: `python -m mmlib.finetune.teacher DATASET FILE.npz`.

    python -m mmlib.finetune.teacher sst5 data/finetuned/sst5-teacher.npz --encoders minilm mpnet

A model knows the labels of its own training utterances, so its predictions for them are
overconfident and little more than the labels. So the training split is divided into folds, by
group, and each fold is predicted by models that were trained on the other folds.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from mmlib.data import load
from mmlib.data.targets import Targets, targets
from mmlib.dyfulm import frozen
from mmlib.dyfulm.tune import settings
from mmlib.finetune import checkpoint
from mmlib.finetune.distillation import SoftTargets
from mmlib.stack.vectors import Features
from mmlib.text import made

FOLDS, SEEDS = 5, 3


def out_of_fold(
    states: Features,
    goal: Targets,
    chosen: frozen.Settings,
    folds: int = FOLDS,
    seeds: int = SEEDS,
) -> dict[str, np.ndarray]:
    """Soft targets of the training split, the mean over seeds, and their ids.

    The models for a fold train on the other folds and stop on the split "valid", so they have seen
    no label of the fold; the test split is not read.
    """
    train = states.rows("train")
    groups = np.array(states.groups)[train]
    parts = [np.zeros((len(states), 3)), np.zeros((len(states), 5)), np.zeros(len(states))]
    for _, fold in GroupKFold(folds).split(train, groups=groups):
        held = train[fold]
        split = states.split.copy()
        split[held] = "test"
        part = replace(states, split=split)
        prediction = frozen.fit(part, goal, chosen, range(seeds)).predict(states.take(held))
        for into, name in zip(parts, ("p_coarse", "p_fine", "intensity"), strict=True):
            into[held] = getattr(prediction, name).mean(axis=0)
    soft = {name: x[train] for name, x in zip(SoftTargets._fields, parts, strict=True)}
    return soft | {"ids": np.array(states.ids)[train]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.finetune.teacher", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("dataset")
    parser.add_argument("file", type=Path, help="the .npz that receives the soft targets")
    parser.add_argument("--encoders", nargs=2, default=["minilm", "small"], metavar=("A", "B"))
    parser.add_argument("--max-length", type=int, default=64, help="tokens (%(default)s)")
    given = parser.parse_args()
    try:
        corpus = load(given.dataset)
        words = [corpus.text[i] for i in corpus.rows("train")]
        named = [made.named(name, words) for name in given.encoders]
        states = frozen.states(corpus, *named, max_length=given.max_length)
        goal = targets(corpus)
        soft = out_of_fold(states, goal, settings(given.dataset, *given.encoders))
        checkpoint.save_arrays(given.file, soft)
    except (ValueError, OSError) as problem:
        raise SystemExit(f"mmlib.finetune.teacher: {problem}") from None
    right = np.mean(soft["fine"].argmax(axis=1) == goal.fine[corpus.rows("train")])
    print(f"{given.file}: {len(soft['ids'])} utterances, fine accuracy out of fold {right:.3f}")


if __name__ == "__main__":
    main()
