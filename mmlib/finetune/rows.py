"""Finished fine-tuning runs as stored rows: `python -m mmlib.finetune.rows RUN MODEL=FOLDER ...`.

    python -m mmlib.finetune.rows hotel dyfulm=runs/full dyfulm:none=runs/none single_a=runs/a

FOLDER is one that `mmlib.finetune.run` has finished; a model with several seeds is named once for
each. The first model is paired with every other one. A bag of words and the best constant, learnt
from the same reviews, stand beside them.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mmlib.data import Corpus, load
from mmlib.data.corpus import first
from mmlib.data.readers.reviews import natural
from mmlib.data.targets import Targets, constant, targets
from mmlib.dyfulm import bag_of_words, interpret
from mmlib.files import write_whole
from mmlib.finetune import checkpoint
from mmlib.finetune.config import ELSEWHERE, Config, read_config
from mmlib.scores import provenance, results
from mmlib.text.encoder import MINILM_PACKAGE

NOTEBOOK = "finetune"  # what the rows name as their origin
INSIDE = "inside.json"  # beside them: what gate and layers of each model did, see `inside`
COMMON, WORDS = 50, 12  # how often a word must occur to be told; how many of each end are
ALIKE = ("dataset", "utterances", "intensity")  # of models that are compared


def said(folders: Sequence[Path], ids: Sequence[str]) -> Targets:
    """What a model's seeds say of the test reviews `ids`, (s, n) each; ValueError if of others."""
    found = []
    for folder in folders:
        path = folder / "test.npz"
        if not path.exists():
            raise ValueError(f"{folder} holds no finished run; python -m mmlib.finetune ends it")
        with np.load(path) as arrays:
            if arrays["ids"].tolist() != list(ids):
                raise ValueError(f"{path} is of other reviews than the first run's; leave it out")
            found.append([arrays[name] for name in Targets._fields])
    return Targets(*(np.stack(of_all) for of_all in zip(*found, strict=True)))


def references(corpus: Corpus, known: Targets) -> tuple[dict[str, Targets], Targets]:
    """A bag of words and the best constant on the test split; the best under natural shares."""
    train, test = (corpus.take(corpus.rows(split)) for split in ("train", "test"))
    seen = known.take(corpus.rows("train"))
    plain, usual = (constant(seen, len(test), weights) for weights in (None, natural(train)))
    return {"tfidf": bag_of_words.learn(corpus, known).predict(test), "constant": plain}, usual


def store(run: str, folders: Mapping[str, Sequence[Path]]) -> Path:
    """Save rows and paired tests of those models, `model` or `model:variant` each, in a run."""
    configs = {name: [read_config(one / checkpoint.CONFIG) for one in some]
               for name, some in folders.items()}  # fmt: skip
    seeds = {name: distinct(name, some) for name, some in configs.items()}
    config = common({name: some[0] for name, some in configs.items()})
    corpus = first(load(config.dataset), config.utterances)
    goal, rows = targets(corpus, config.intensity), corpus.rows("test")
    known, groups = goal.take(rows), [corpus.groups[i] for i in rows]
    answers = {n: said(some, [corpus.ids[i] for i in rows]) for n, some in folders.items()}
    leading, *others = answers
    beside, usual = references(corpus, goal)
    answers, weights = answers | beside, natural(corpus.take(rows))
    place = {"notebook": NOTEBOOK, "dataset": config.dataset, "split": "test"}
    lines = []
    for name, one in answers.items():
        model, _, variant = name.partition(":")
        at = {**place, "model": model, "variant": variant or "full"}
        best = usual if name == "constant" else None
        lines += results.review_rows(one, known, groups, weights=weights, natural=best, **at)
    pairs = [(leading, other) for other in (*others, "tfidf")]
    tests = results.review_comparisons(
        answers, pairs, known, groups, weights=weights, seeds=seeds, variant="full", **place
    )
    trained = {name: [_trained(one) for one in some] for name, some in folders.items()}
    used = {
        name: {**_told(some[0]), "seed": seeds[name], "trained": trained[name]}
        for name, some in configs.items()
    }
    texts = [corpus.text[i] for i in rows]
    looked = {name: inside(some, texts) for name, some in folders.items()}
    path = results.save(lines, run, NOTEBOOK, comparisons=tests, parameters=used,
                        checksums=dict(corpus.checksums), trained=_together(trained))  # fmt: skip
    write_whole(path.with_name(INSIDE), json.dumps(looked, indent=1) + "\n")
    return path


def inside(folders: Sequence[Path], texts: Sequence[str]) -> dict[str, Any]:
    """What gate and layers did on the test reviews, where a model has them, a line a seed.

    gate: the share of its values in each twentieth of (0, 1), over reviews, positions and units;
    alpha_a, alpha_b: the mean weight of each layer; largest_a, largest_b: the mean over reviews of
    the largest weight. to_a, to_b: `leaning` words.
    """
    found: dict[str, Any] = {}
    words, gates = [], []
    for folder in folders:
        with np.load(folder / "test.npz") as arrays:
            for name, values in _of_seed(arrays).items():
                found.setdefault(name, []).append(values.astype(float).round(5).tolist())
            if "position_gate" in arrays:
                parts = (arrays[n] for n in ("positions", "position_spans", "position_gate"))
                said, gate = interpret.in_context(texts, *parts)
                words += said
                gates.append(gate)
    return found | (leaning(words, np.concatenate(gates), len(gates)) if gates else {})


def _of_seed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    values = {}
    for name in ("alpha_a", "alpha_b"):
        if name in arrays:
            values[name] = arrays[name].mean(axis=0)
            values[name.replace("alpha", "largest")] = arrays[name].max(axis=-1).mean()
    if "gate_counts" in arrays:
        counts = arrays["gate_counts"].sum(axis=0)
        values["gate"] = counts / counts.sum()
    return values


def leaning(words: Sequence[str], gate: np.ndarray, seeds: int) -> dict[str, list]:
    """The common words of all seeds that lean most to either encoder: [word, mean gate, n] each."""
    table = interpret.by_word(words, gate, COMMON * seeds).round(4).reset_index()
    table["n"] //= seeds
    lines = table[["word", "gate", "n"]].to_numpy().tolist()
    half = min(WORDS, len(lines) // 2)
    return {"to_a": lines[:half], "to_b": lines[len(lines) - half :][::-1]}


def common(configs: Mapping[str, Config]) -> Config:
    """Any of the configurations; ValueError unless they are of the same reviews and targets."""
    for name in ALIKE:
        if len(values := {str(getattr(one, name)) for one in configs.values()}) > 1:
            raise ValueError(f"runs differ in {name}: {', '.join(sorted(values))}; leave some out")
    return next(iter(configs.values()))


def distinct(name: str, configs: Sequence[Config]) -> list[int]:
    """The seeds of a model's runs; ValueError where two are the same, or they differ in more."""
    seeds = [one.seed for one in configs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{name} has two runs of one seed ({seeds}); name each run once")
    shown = [{k: v for k, v in asdict(one).items() if k not in {"seed", *ELSEWHERE}}
             for one in configs]  # fmt: skip
    for one in shown[1:]:
        if different := [k for k in one if one[k] != shown[0][k]]:
            raise ValueError(f"runs of {name} differ in {', '.join(different)}; leave some out")
    return seeds


def _told(config: Config) -> dict[str, object]:
    """A configuration for the record, encoders by name: where they lay is this machine's."""
    paths = map(Path, config.encoders)
    named = ["minilm" if MINILM_PACKAGE in path.parts else path.name for path in paths]
    return {**asdict(config), "encoders": named}


def _trained(folder: Path) -> dict[str, object]:
    """Where a run's weights come from, as far as it noted that."""
    origin = checkpoint.load_origin(folder)
    return {name: origin[name] for name in ("commit", "dirty", "device", "seconds", "versions")}


def _together(trained: Mapping[str, Sequence[Mapping]]) -> dict[str, object]:
    """Devices and versions that all the runs were trained with, and the sum of their seconds."""
    runs = [one for some in trained.values() for one in some]
    packages = sorted({package for one in runs for package in one["versions"]})
    return {
        "device": _distinct(one["device"] for one in runs),
        "seconds": round(sum(one["seconds"] for one in runs), 1),
        "versions": {
            p: _distinct(one["versions"].get(p, "none") for one in runs) for p in packages
        },
    }


def _distinct(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(values)))


def named(given: Sequence[str]) -> dict[str, list[Path]]:
    """`MODEL=FOLDER` arguments by model; ValueError for anything else."""
    folders: dict[str, list[Path]] = {}
    for one in given:
        name, _, folder = one.partition("=")
        if not (name and folder):
            raise ValueError(f"{one!r}: write MODEL=FOLDER, e.g. dyfulm=data/finetuned/dyfulm")
        folders.setdefault(name, []).append(Path(folder))
    return folders


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.finetune.rows", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("run", help="folder under papermill_runs that receives the rows")
    parser.add_argument("models", nargs="+", metavar="MODEL=FOLDER")
    given = parser.parse_args()
    provenance.begin("mmlib.finetune.rows")
    try:
        print(store(given.run, named(given.models)))
    except ValueError as problem:
        raise SystemExit(f"mmlib.finetune.rows: {problem}") from None


if __name__ == "__main__":
    main()
