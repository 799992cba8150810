"""Store finished fine-tuning runs as rows: `python -m mmlib.finetune.rows RUN MODEL=FOLDER ...`.

    python -m mmlib.finetune.rows hotel dyfulm=runs/full dyfulm:none=runs/none single_a=runs/a

FOLDER is a run that `mmlib.finetune.run` has finished; name a model once for each of its seeds. The
first model is compared with every other one. A bag of words and the best constant, learned from the
same reviews, are added.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
from mmlib.finetune.config import Config, defining, read_config
from mmlib.scores import results
from mmlib.text.encoder import MINILM_PACKAGE

NOTEBOOK = "finetune"  # origin named in the rows
GATE_FILE = "inside.json"  # written next to the rows: see `gate_and_layers`
COMMON, WORDS = 50, 12  # least occurrences of a listed word; number of words per encoder
TOLD = ("commit", "dirty", "device", "seconds", "versions")  # of the provenance of a run
ALIKE = ("dataset", "utterances", "intensity")  # settings in which compared models must agree


def predictions(folders: Sequence[Path], ids: Sequence[str], known: Targets) -> Targets:
    """Predictions of a model's seeds for the test reviews `ids`, (s, n) each.

    ValueError, one line, if a run is not finished, damaged, or of other reviews or labels.
    """
    members = []
    for folder in folders:
        path = folder / "test.npz"
        arrays = checkpoint.read_file(path, lambda p=path: dict(np.load(p)), checkpoint.END)
        if arrays["ids"].tolist() != list(ids) or (arrays["true_fine"] != known.fine).any():
            raise ValueError(f"{path} has other reviews or labels than the table; leave it out")
        members.append([arrays[name] for name in Targets._fields])
    return Targets(*map(np.stack, zip(*members, strict=True)))


def references(corpus: Corpus, known: Targets) -> tuple[dict[str, Targets], Targets]:
    """Bag of words and best constant on the test split; the best constant under natural shares."""
    train, test = (corpus.take(corpus.rows(split)) for split in ("train", "test"))
    seen = known.take(corpus.rows("train"))
    plain, weighted = (constant(seen, len(test), weights) for weights in (None, natural(train)))
    return {"tfidf": bag_of_words.learn(corpus, known).predict(test), "constant": plain}, weighted


def store(run: str, folders: Mapping[str, Sequence[Path]]) -> Path:
    """Save rows and paired tests of models (`model` or `model:variant`); returns the rows' file."""
    configs = {model: [read_config(folder / checkpoint.CONFIG) for folder in some]
               for model, some in folders.items()}  # fmt: skip
    seeds = {model: seeds_of(model, some) for model, some in configs.items()}
    config = common_config({model: some[0] for model, some in configs.items()})
    corpus = first(load(config.dataset), config.utterances)
    test = corpus.take(corpus.rows("test"))
    rows, tests = _scored(config, corpus, folders, seeds)
    origins = {model: [{key: checkpoint.load_origin(path)[key] for key in TOLD} for path in some]
               for model, some in folders.items()}  # fmt: skip
    parameters = {
        model: {**_portable(some[0]), "seed": seeds[model], "trained": origins[model]}
        for model, some in configs.items()
    }
    inside = {model: gate_and_layers(some, test.text) for model, some in folders.items()}
    together = _together([origin for some in origins.values() for origin in some])
    path = results.save(rows, run, NOTEBOOK, comparisons=tests, parameters=parameters,
                        checksums=dict(corpus.checksums), trained=together)  # fmt: skip
    write_whole(path.with_name(GATE_FILE), json.dumps(inside, indent=1) + "\n")
    return path


def _scored(
    config: Config,
    corpus: Corpus,
    folders: Mapping[str, Sequence[Path]],
    seeds: Mapping[str, Sequence[int]],
) -> tuple[list[dict], list[dict]]:
    """Rows of the models and the references on the test split, and the paired tests."""
    goal, test = targets(corpus, config.intensity), corpus.take(corpus.rows("test"))
    known, weights = goal.take(corpus.rows("test")), natural(test)
    answers = {model: predictions(some, test.ids, known) for model, some in folders.items()}
    leading, *others = answers
    beside, weighted_constant = references(corpus, goal)
    answers |= beside
    place = {"notebook": NOTEBOOK, "dataset": config.dataset, "split": "test"}
    rows = []
    for name, answer in answers.items():
        model, _, variant = name.partition(":")
        best = weighted_constant if name == "constant" else None
        at = {**place, "model": model, "variant": variant or "full"}
        rows += results.rows(answer, known, test.groups, weights=weights, natural=best, **at)
    pairs = [(leading, other) for other in (*others, "tfidf")]
    return rows, results.comparisons(
        answers, pairs, known, test.groups, weights=weights, seeds=seeds, variant="full", **place
    )


def gate_and_layers(folders: Sequence[Path], texts: Sequence[str]) -> dict[str, Any]:
    """Gate and layer weights on the test reviews, if a model has them, one entry per seed.

    gate: share of its values in each twentieth of (0, 1), over reviews, positions and units;
    alpha_a, alpha_b: mean weight of each layer; largest_a, largest_b: mean over reviews of the
    largest weight. to_a, to_b: words of `leaning`.
    """
    lines: dict[str, Any] = {}
    words, gates = [], []
    for folder in folders:
        with np.load(folder / "test.npz") as arrays:
            for name, values in _of_seed(arrays).items():
                lines.setdefault(name, []).append(values.astype(float).round(5).tolist())
            if "position_gate" in arrays:
                parts = (arrays[n] for n in ("positions", "position_spans", "position_gate"))
                words_of_seed, gate = interpret.in_context(texts, *parts)
                words += words_of_seed
                gates.append(gate)
    return lines | (leaning(words, np.concatenate(gates), len(gates)) if gates else {})


def _of_seed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    values = {}
    for side in "ab":
        if (alpha := f"alpha_{side}") in arrays:
            values[alpha] = arrays[alpha].mean(axis=0)
            values[f"largest_{side}"] = arrays[alpha].max(axis=-1).mean()
    if "gate_counts" in arrays:
        counts = arrays["gate_counts"].sum(axis=0)
        values["gate"] = counts / counts.sum()
    return values


def leaning(words: Sequence[str], gate: np.ndarray, seeds: int) -> dict[str, list]:
    """The common words with the highest and lowest mean gate: [word, mean gate, n] each."""
    table = interpret.by_word(words, gate, COMMON * seeds).round(4).reset_index()
    table["n"] //= seeds
    lines = table[["word", "gate", "n"]].to_numpy().tolist()
    half = min(WORDS, len(lines) // 2)
    return {"to_a": lines[:half], "to_b": lines[len(lines) - half :][::-1]}


def common_config(configs: Mapping[str, Config]) -> Config:
    """One of the configurations; ValueError unless all have the same reviews and targets."""
    for name in ALIKE:
        if len(values := {str(getattr(config, name)) for config in configs.values()}) > 1:
            raise ValueError(f"runs differ in {name}: {', '.join(sorted(values))}; leave some out")
    return next(iter(configs.values()))


def seeds_of(model: str, configs: Sequence[Config]) -> list[int]:
    """The seeds of a model's runs; ValueError if two are equal, or if other settings differ."""
    seeds = [config.seed for config in configs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{model} has two runs of one seed ({seeds}); name each run once")
    settings, *others = [defining(replace(config, seed=0)) for config in configs]
    for other in others:
        if different := [name for name in settings if other[name] != settings[name]]:
            raise ValueError(f"runs of {model} differ in {', '.join(different)}; leave some out")
    return seeds


def _portable(config: Config) -> dict[str, object]:
    """A configuration with encoders and teacher by name only: paths depend on the machine."""
    paths = map(Path, config.encoders)
    names = ["minilm" if MINILM_PACKAGE in path.parts else path.name for path in paths]
    return {**asdict(config), "encoders": names, "teacher": Path(config.teacher).name}


def _together(origins: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """Devices and versions with which the runs were trained, and the sum of their seconds."""
    versions: dict[str, set[str]] = {}
    for package in sorted({package for origin in origins for package in origin["versions"]}):
        versions[package] = {origin["versions"].get(package, "none") for origin in origins}
    return {
        "device": ", ".join(sorted({origin["device"] for origin in origins})),
        "seconds": round(sum(origin["seconds"] for origin in origins), 1),
        "versions": {package: ", ".join(sorted(some)) for package, some in versions.items()},
    }


def folders_of(arguments: Sequence[str]) -> dict[str, list[Path]]:
    """`MODEL=FOLDER` arguments by model; ValueError for anything else."""
    folders: dict[str, list[Path]] = {}
    for argument in arguments:
        model, _, folder = argument.partition("=")
        if not (model and folder):
            raise ValueError(f"{argument!r}: write MODEL=FOLDER, e.g. dyfulm=data/finetuned/dyfulm")
        folders.setdefault(model, []).append(Path(folder))
    return folders


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.finetune.rows", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("run", help="folder under papermill_runs that receives the rows")
    parser.add_argument("models", nargs="+", metavar="MODEL=FOLDER")
    given = parser.parse_args()
    try:
        print(store(given.run, folders_of(given.models)))
    except ValueError as problem:
        raise SystemExit(f"mmlib.finetune.rows: {problem}") from None


if __name__ == "__main__":
    main()
