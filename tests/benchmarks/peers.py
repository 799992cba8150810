"""Scores and costs a seed of MMSA's models on our features of CMU-MOSI, beside our models.

MMSA 2.2.1 needs an environment of its own, outside this project, with the same torch:

    python3 -m venv ../mmsa
    ../mmsa/bin/pip install --constraint requirements.lock mmsa==2.2.1

    OMP_NUM_THREADS=1 python tests/benchmarks/peers.py ../mmsa/bin/python

It takes hours on one core. Finished seeds are kept in `data/peers`, so the same command continues
after a stop; delete that folder to start anew. Finished results are stored as the run `peers`.

- `vectors`: one vector an utterance. Text is the mean-pooled states of all MiniLM layers, audio the
  means of COVAREP, both standardised. Our models get the same numbers.
- `tokens`: states of MiniLM's last layer for the first 50 tokens, as many as in MMSA's own files.
- `last`: the mean of `tokens`, for our models.

Padding is in front of the tokens, because LSTMs read to the end. With padding behind them, LF_DNN's
validation error (seeds 0 and 1) was that of a constant. There is no vision: MMSA's models get one
column of zeros. `tests/peers_mmsa.py` describes their training. MISA fails, and the run records
that: its code requires a BERT of 768 values that it trains itself.
"""

import argparse
import os
import re
import subprocess
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mmlib.daf import features, train, tune
from mmlib.data import Corpus, Sequences, load
from mmlib.data.columns import numbered
from mmlib.data.export import mmsa_ids, write_mmsa
from mmlib.files import ROOT
from mmlib.scores import results
from mmlib.text.encoder import locate
from mmlib.text.loaded import ready

RUN = "peers"
SEEDS, LONGEST = range(5), 50
TEXTS = ("vectors", "tokens")
GROUPS = (("misa",), ("lf_dnn", "lmf", "ef_lstm"), ("tfn", "mult"))  # from cheap to expensive
THEIRS = [(f"mmsa_{m}", text) for group in GROUPS for text in TEXTS for m in group]
OURS = [(m, v) for m in ("text", "text_deep", "concat", "daf")
        for v in ("vectors", "vectors-tuned", "last")]  # fmt: skip
RIVALS = {"vectors": ("vectors-tuned", "vectors"), "tokens": ("vectors-tuned", "last")}  # of DAF
THEIR_PART = Path(__file__).parents[1] / "peers_mmsa.py"


def token_states(corpus: Corpus) -> list[np.ndarray]:
    """States (`LONGEST`, d) of MiniLM's last layer for each utterance, padded in front."""
    encoder = ready(locate("minilm"), "float32", "sdpa", torch.device("cpu"))
    rows = encoder.tokenizer(list(corpus.text), truncation=True, max_length=LONGEST)["input_ids"]
    with torch.inference_mode():
        states = (encoder.states(x, torch.ones_like(x), every=False)[0][0]
                  for x in map(torch.tensor, ([row] for row in rows)))  # fmt: skip
        return [np.pad(state, ((LONGEST - len(state), 0), (0, 0))) for state in states]


def write_pickles(corpus: Corpus, work: Path) -> None:
    """Write MMSA's pickles of both kinds of text, with the audio that our models get."""
    data = features.build(corpus)
    audio = Sequences(data.x["audio"], np.ones(len(corpus)), numbered("audio", data.dims["audio"]))
    same = replace(corpus, sequences={"audio": audio})
    for text in TEXTS:
        if not (path := work / f"{text}.pkl").exists():
            write_mmsa(path, same, data.x["text"] if text == "vectors" else token_states(corpus))


def missing(work: Path, name: str, variant: str) -> list[int]:
    return [seed for seed in SEEDS if not (work / f"{name}.{variant}.{seed}.npz").exists()]


def train_theirs(python: str, work: Path, name: str, text: str) -> None:
    """Train the missing seeds of one of MMSA's models in its own Python; record why it fails."""
    here = [work / f"{text}.pkl", name.removeprefix("mmsa_"), work / f"{name}.{text}"]
    command = [python, THEIR_PART, *here, *missing(work, name, text)]
    silent = {**os.environ, "TQDM_DISABLE": "1"}
    done = subprocess.run([*map(str, command)], stderr=subprocess.PIPE, text=True, env=silent)
    (failed := work / f"{name}.{text}.failed").unlink(missing_ok=True)
    if done.returncode:
        failed.write_text(done.stderr.strip().splitlines()[-1])


def peak() -> float:
    """Peak memory of this process in MiB; getrusage would include the process that started it."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def train_ours(work: Path, name: str, variant: str) -> None:
    """Train the missing seeds of our model one at a time, as MMSA does, and then all as a stack."""
    torch.set_num_threads(1)
    data = features.build(load("mosi"), layers="last" if variant == "last" else "all")
    rule, used = tune.models(data.modalities)[name]
    data, test = data.only(used), data.only(used).take(data.rows("test"))
    is_tuned = variant.endswith("tuned")
    settings = tune.settings("mosi", used, rule) if is_tuned else train.Settings(rule)
    for seed in missing(work, name, variant):
        start = time.process_time()
        fit = train.fit(data, settings, [seed])
        seconds = time.process_time() - start
        part = work / f"{name}.{variant}.part.npz"
        np.savez(part, ids=test.ids, score=fit.predict(test).score[0], seconds=seconds,
                 epochs=len(fit.curves["valid"]), valid=fit.valid_loss[0], torch=torch.__version__,
                 parameters=sum(p.numel() for p in fit.model.parameters()), mib=peak())  # fmt: skip
        part.replace(work / f"{name}.{variant}.{seed}.npz")
    start = time.process_time()
    train.fit(data, settings, SEEDS)
    each = (time.process_time() - start) / len(SEEDS)
    (work / f"{name}.{variant}.stack").write_text(f"{each:.3f}")


def train_all(python: str, work: Path) -> None:
    """Train all missing models: ours, then MMSA's."""
    for name, variant in OURS:
        if missing(work, name, variant) or not (work / f"{name}.{variant}.stack").exists():
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                pool.submit(train_ours, work, name, variant).result()
    for name, text in THEIRS:
        if missing(work, name, text):
            train_theirs(python, work, name, text)
            print(name, text, "missing:", missing(work, name, text), flush=True)


def gathered(work: Path, corpus: Corpus) -> dict[str, dict[int, dict]]:
    """Results of each `model:variant` by seed, with its scores in the order of our test split."""
    test = corpus.take(corpus.rows("test"))
    found: dict[str, dict[int, dict]] = defaultdict(dict)
    for name, variant in (*OURS, *THEIRS):
        ids = mmsa_ids(test) if name.startswith("mmsa_") else test.ids
        for seed in set(SEEDS) - {*missing(work, name, variant)}:
            with np.load(work / f"{name}.{variant}.{seed}.npz") as arrays:
                scores = dict(zip(arrays["ids"].tolist(), arrays["score"], strict=True))
                rest = {key: arrays[key].item() for key in arrays if key not in ("ids", "score")}
            found[f"{name}:{variant}"][seed] = {**rest, "score": [scores.pop(i) for i in ids]}
            assert not scores, f"{name} {variant} {seed} is of other utterances"
    return {name: seeds for name, seeds in found.items() if len(seeds) > 1}


def costs(found: dict[str, dict[int, dict]], work: Path) -> pd.DataFrame:
    """Cost of a seed: CPU seconds of its training (median), and peak memory of its process."""
    table = []
    for name, seeds in found.items():
        of = pd.DataFrame(seeds.values()).drop(columns=["score", "torch"])
        line = {"model": name.partition(":")[0], "variant": name.partition(":")[2],
                "trained": "alone", "seeds": len(of), "cpu_seconds": of["seconds"].median(),
                "shortest": of["seconds"].min(), "longest": of["seconds"].max(),
                "epochs": of["epochs"].mean(), "mib": of["mib"].min(),
                "parameters": of["parameters"].max(), "valid_mae": of["valid"].mean()}  # fmt: skip
        table.append(line)
        if (stack := work / f"{name.replace(':', '.')}.stack").exists():
            each = dict.fromkeys(("cpu_seconds", "shortest", "longest"), float(stack.read_text()))
            table.append({**line, "trained": f"stack of {len(SEEDS)}", **each})
    frame = pd.DataFrame(table).round(4).astype(object)
    return frame.where(frame.notna(), None)


def store(work: Path) -> None:
    """Store rows, paired tests, costs and missing models as the run `peers`."""
    corpus = load("mosi")
    test, found = corpus.take(corpus.rows("test")), gathered(work, corpus)
    scores = {name: np.array([seed["score"] for seed in some.values()])
              for name, some in found.items()}  # fmt: skip
    place = {"notebook": RUN, "dataset": "mosi", "split": "test"}
    results.MODELS += tuple(name for name, _ in THEIRS)  # in this process only
    rows = []
    for name, score in scores.items():
        model, _, variant = name.partition(":")
        rows += results.rows(score, test.label, test.groups, model=model, variant=variant, **place)
    pairs = [(f"daf:{variant}", f"{name}:{text}") for name, text in THEIRS
             for variant in RIVALS[text] if f"{name}:{text}" in scores]  # fmt: skip
    seeds = {name: list(some) for name, some in found.items()}
    tests = results.comparisons(scores, pairs, test.label, test.groups, metrics=("mae", "corr"),
                                seeds=seeds, variant="ta", **place)  # fmt: skip
    cost = costs(found, work)
    lacking = []
    for name, text in THEIRS:
        if some := missing(work, name, text):
            failed = work / f"{name}.{text}.failed"
            reason = failed.read_text() if failed.exists() else "not trained yet"
            lacking.append({"model": name, "variant": text, "seeds": some, "reason": reason})
    versions = sorted({seed["torch"] for some in found.values() for seed in some.values()})
    os.environ["MMLIB_COMMAND"] = "python tests/benchmarks/peers.py ../mmsa/bin/python"
    given = {"mmsa": "2.2.1", "torch": versions, "missing": lacking}
    alone = cost[cost["trained"] == "alone"]
    results.save(rows, RUN, RUN, comparisons=tests, parameters=given, trained={
        "seconds": round(float((alone["cpu_seconds"] * alone["seeds"]).sum()), 1)},
        checksums=dict(corpus.checksums))  # fmt: skip
    results.save_table(cost, RUN, "cost")
    results.save_table(pd.DataFrame(lacking), RUN, "missing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("python", nargs="?", help="of MMSA's environment")
    parser.add_argument("--work", type=Path, default=ROOT / "data" / "peers")
    given = parser.parse_args()
    if given.python:
        given.work.mkdir(parents=True, exist_ok=True)
        write_pickles(load("mosi"), given.work)
        train_all(given.python, given.work)
        store(given.work)
    else:
        print("skipped: it takes hours, and the Python of MMSA's environment as its argument")


if __name__ == "__main__":
    main()
