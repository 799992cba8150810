"""Soft targets from a frozen or fine-tuned pair: `python -m mmlib.finetune.teacher DATASET FILE`.

    python -m mmlib.finetune.teacher sst5 data/finetuned/sst5-teacher.npz --encoders minilm mpnet
    python -m mmlib.finetune.teacher hotel data/finetuned/teacher.npz --run data/finetuned/dyfulm0

A model knows the labels of its own training utterances, so its predictions for them are
overconfident and little more than the labels. So for a frozen pair the training split is divided
into folds, by group, and each fold is predicted by models that were trained on the other folds.
To fine-tune a pair for every fold costs hours. `--run` takes one finished run for all folds: train
it for one epoch, so that it has seen each label once.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupKFold

from mmlib.data import Corpus, load
from mmlib.data.corpus import first
from mmlib.data.targets import Targets, targets
from mmlib.dyfulm import frozen
from mmlib.dyfulm.tune import settings
from mmlib.finetune import checkpoint, evaluation, machine, pair, step
from mmlib.finetune.distillation import SoftTargets, digests
from mmlib.finetune.tokens import tokenize
from mmlib.stack.vectors import Features
from mmlib.text import made

FOLDS, SEEDS = 5, 3
FIELDS = ("p_coarse", "p_fine", "intensity")  # of a prediction, in the order of SoftTargets


def out_of_fold(
    states: Features, goal: Targets, chosen: frozen.Settings, folds: int = FOLDS, seeds: int = SEEDS
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
        for into, name in zip(parts, FIELDS, strict=True):
            into[held] = getattr(prediction, name).mean(axis=0)
    soft = {name: x[train] for name, x in zip(SoftTargets._fields, parts, strict=True)}
    return soft | {"ids": np.array(states.ids)[train]}


def of_run(run: Path, corpus: Corpus) -> dict[str, np.ndarray]:
    """Soft targets of the training split from a finished run's best weights; their ids and texts.

    The run has learned from these labels (see above). ValueError, one line, if it is not finished.
    """
    config = checkpoint.finished(run, processes=1)  # however many have trained it
    accelerator = machine.accelerator(config)
    short = machine.uses_bfloat16(config.precision, accelerator.device)
    model, tokenizers = pair.build(config)
    learner = step.learner(config, model, accelerator, short)
    learner.weights.load_state_dict(checkpoint.load_weights(run, model))
    train = corpus.take(corpus.rows("train"))
    tokens = tokenize(train.text, tokenizers, config.max_length, config.truncation)
    budget = machine.budget(config.budget, accelerator.device)
    said = evaluation.predict(model, tokens, np.arange(len(train)), budget)
    soft = {n: said[of].cpu().numpy() for n, of in zip(SoftTargets._fields, FIELDS, strict=True)}
    return soft | {"ids": np.array(train.ids), "texts": digests(train.text)}


def of_frozen(corpus: Corpus, dataset: str, encoders: list[str], max_length: int) -> dict:
    """Soft targets from a frozen pair with its stored settings, out of fold, as in `of_run`."""
    words = [corpus.text[i] for i in corpus.rows("train")]
    states = frozen.states(corpus, *(made.named(n, words) for n in encoders), max_length=max_length)
    soft = out_of_fold(states, targets(corpus), settings(dataset, *encoders))
    return soft | {"texts": digests(words)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.finetune.teacher", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("dataset")
    parser.add_argument("file", type=Path, help="the .npz that receives the soft targets")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--encoders", nargs=2, default=["minilm", "small"], metavar=("A", "B"))
    whose.add_argument("--run", type=Path, help="a finished run, in place of a frozen pair")
    parser.add_argument("--max-length", type=int, default=64, help="tokens of a frozen pair (64)")
    parser.add_argument("--utterances", type=int, default=0, help="first ones of a split; 0: all")
    given = parser.parse_args()
    try:
        if given.utterances < 0:
            raise ValueError(f"--utterances {given.utterances}: give 0 or more")
        if given.file.is_dir() or given.file.suffix != ".npz":
            raise ValueError(f"{given.file} is no .npz file; name one, say teacher.npz")
        corpus = first(load(given.dataset), given.utterances)
        if corpus.text is None:
            raise ValueError(f"{given.dataset} has no text, and a teacher reads nothing else")
        known = targets(corpus).fine[corpus.rows("train")]
        frozen_pair = given.dataset, given.encoders, given.max_length
        soft = of_run(given.run, corpus) if given.run else of_frozen(corpus, *frozen_pair)
        checkpoint.save_arrays(given.file, soft)
    except (ValueError, OSError) as problem:
        raise SystemExit(f"mmlib.finetune.teacher: {problem}") from None
    right = np.mean(soft["fine"].argmax(axis=1) == known)
    of = "on its own training texts" if given.run else "out of fold"
    print(f"{given.file}: {len(soft['ids'])} utterances, fine accuracy {of} {right:.3f}")


if __name__ == "__main__":
    main()
