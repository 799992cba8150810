"""New trainings of the pair, of five and two layers, and the kept model: tables of notebook 12.

    OMP_NUM_THREADS=1 python tests/benchmarks/repeated.py FOLDER   # with dyfulm0-1, ...

Each training takes an hour or more, and its weights are not kept. So this script adds what the
finished trainings in FOLDER predict of both splits to
`papermill_runs/compression-hotel/predictions.npz`, and makes rows and tests of all that is stored
there: a later seed joins the earlier ones, and FOLDER may lack these. What is trained nowhere is
left out. The kept model reads both splits once, which takes about ten minutes.

- `dyfulm0-S` is the pair at 384 tokens, seed S (`papermill_runs/finetune/hotel-dyfulm.yaml`).
- `compression-5-full-S` and `compression-5-full-taught-S` are five layers without and with such a
  pair as teacher; `compression-2-all-S` and `compression-2-all-taught-S` are two layers.

The kept model is one question (`compression-repeated`), five layers another (`compression-five`),
two layers a third (`compression-two`): each has a correction of its own for several tests.
"""

import argparse
import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from compression import AGAIN, LONG, NOTEBOOK, RUN, members, origin

from mmlib.data import Corpus, load
from mmlib.data.readers.reviews import natural
from mmlib.data.targets import Targets, targets
from mmlib.dyfulm import kept
from mmlib.files import RUNS, sha256
from mmlib.finetune import checkpoint
from mmlib.scores import results

STORED = RUNS / RUN / "predictions.npz"  # "training/split/head" -> (n,), "training/origin" -> JSON
COMMAND = "python tests/benchmarks/repeated.py FOLDER"
SPLITS = ("valid", "test")
PAIR = "dyfulm0"
QUESTIONS = {  # reader -> name of its trainings; of two the second has a teacher
    "repeated": {"single_a:5 layers, kept": "kept"},
    "five": {
        "single_a:5 layers again": AGAIN,
        "single_a:5 layers again distilled": f"{AGAIN}-taught",
    },
    "two": {
        "single_a:2 layers": "compression-2-all",
        "single_a:2 layers distilled": "compression-2-all-taught",
    },
}
TYPES = Targets(np.int8, np.int8, np.float16)  # as stored


def stored() -> dict[str, np.ndarray]:
    """All arrays that are stored; none before the first run of this script."""
    if not STORED.exists():
        return {}
    with np.load(STORED) as arrays:
        return dict(arrays)


def of_training(name: str, about: Mapping, splits: Mapping[str, Targets]) -> dict[str, np.ndarray]:
    """The arrays of one training. about: where it was trained."""
    arrays = {f"{name}/origin": np.array(json.dumps(about))}
    for split, answer in splits.items():
        for head, kind in TYPES._asdict().items():
            arrays[f"{name}/{split}/{head}"] = getattr(answer, head).astype(kind)
    return arrays


def added(folder: Path, parts: Mapping[str, Corpus]) -> dict[str, np.ndarray]:
    """The arrays of all finished trainings in a folder."""
    arrays = {}
    for of in [PAIR, *(of for readers in QUESTIONS.values() for of in readers.values())]:
        for run in sorted(folder.glob(f"{of}*")):
            if re.fullmatch(rf"{of}(-\d+)?", run.name) and (run / checkpoint.ORIGIN).exists():
                splits = {name: members([run], name, list(x.ids)) for name, x in parts.items()}
                splits = {name: Targets(*(x[0] for x in one)) for name, one in splits.items()}
                arrays |= of_training(run.name, origin(run), splits)
    return arrays


def read_kept(parts: Mapping[str, Corpus], before: Mapping[str, np.ndarray]) -> dict:
    """The arrays of the kept model, in float32; none if its weights were read before."""
    [weights] = kept.WEIGHTS.glob("*.safetensors")
    about = {"weights": sha256(weights)}
    if str(before.get("kept/origin")) == json.dumps(about):
        return {}
    model = kept.load()
    readings = {split: model.read(part.text) for split, part in parts.items()}
    splits = {split: Targets(r.coarse.argmax(1), r.fine.argmax(1), r.intensity)
              for split, r in readings.items()}  # fmt: skip
    return of_training("kept", about, splits)


def seeds_of(arrays: Mapping[str, np.ndarray], of: str) -> list[str]:
    """The names of all stored seeds of a training."""
    return sorted(key.split("/")[0] for key in arrays if re.fullmatch(rf"{of}(-\d+)?/origin", key))


def together(arrays: Mapping[str, np.ndarray], of: str, split: str) -> Targets:
    """Predictions of all seeds of a training: (s, n) each, or (n,) for one seed."""
    names, heads = seeds_of(arrays, of), []
    for head in Targets._fields:
        some = np.stack([arrays[f"{name}/{split}/{head}"] for name in names])  # (s, n)
        some = some.astype(np.float32 if head == "intensity" else np.int64)
        heads.append(some[0] if len(some) == 1 else some)
    return Targets(*heads)


def compare(
    question: str, readers: Mapping[str, str], arrays: Mapping, parts: Mapping[str, Corpus]
) -> None:
    """Store rows and tests of one question: readers against the pair, and against each other."""
    pairs = [(name, LONG) for name in readers] + [(b, a) for a, b in pairwise(readers)]
    of = {name: x for name, x in {**readers, LONG: PAIR}.items() if seeds_of(arrays, x)}
    pairs = [some for some in pairs if set(some) <= set(of)]
    rows, tests = [], []
    for split, part in parts.items():
        answers = {name: together(arrays, trainings, split) for name, trainings in of.items()}
        place = {"notebook": f"{NOTEBOOK}-{question}", "dataset": "hotel", "split": split}
        known, weights = targets(part), natural(part)
        for name, answer in answers.items():
            model, _, variant = name.partition(":")
            rows += results.rows(answer, known, part.groups, weights=weights, model=model,
                                 variant=variant, **place)  # fmt: skip
        tests += results.comparisons(answers, pairs, known, part.groups, weights=weights,
                                     variant="full", **place)  # fmt: skip
    trained = [name for trainings in of.values() for name in seeds_of(arrays, trainings)]
    trained = {name: json.loads(str(arrays[f"{name}/origin"])) for name in trained}
    checksums = next(iter(parts.values())).checksums
    results.save(rows, RUN, f"{NOTEBOOK}-{question}", comparisons=tests,
                 parameters={"seed": 0, "trained": trained}, checksums=dict(checksums),
                 trained={"command": COMMAND})  # fmt: skip
    print(pd.DataFrame(rows).drop(columns=["per_seed", "notebook", "dataset"]))
    print(pd.DataFrame(tests)[["split", "a", "b", "metric", "diff", "ci_low", "ci_high", "p_holm"]])


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    corpus, before = load("hotel"), stored()
    parts = {split: corpus.take(corpus.rows(split)) for split in SPLITS}
    arrays = before | added(folder, parts)
    arrays |= read_kept(parts, arrays)
    checkpoint.save_arrays(STORED, arrays)
    for question, readers in QUESTIONS.items():
        if any(seeds_of(arrays, of) for of in readers.values()):
            compare(question, readers, arrays, parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
