"""What fewer bits of `encode` cost: cosine to float32, speed, and accuracy of a linear model.

    OMP_NUM_THREADS=1 python tests/benchmarks/rounding.py --dataset sst5 --encoder minilm

All precisions encode the same texts in turn, so that their times come from the same minutes; a
ratio is the median over chunks, of CPU times. Logistic and ridge regressions are trained on each
precision's own features (last layer) and compared on the test split, as in `mmlib.scores.results`.
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch

from mmlib.data import SPLITS, load
from mmlib.data.targets import targets
from mmlib.dyfulm import linear
from mmlib.scores import results
from mmlib.text.encoding import encode

PRECISIONS = ("float32", "bfloat16", "int8")
CHUNK = 500  # texts encoded in turn


def encoded(texts: list[str], **options: object) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Features (n, d) by precision, and CPU seconds of each chunk and precision."""
    features, seconds = {name: [] for name in PRECISIONS}, []
    for at in range(0, len(texts), CHUNK):
        seconds.append({})
        for name in PRECISIONS:
            encode(texts[:1], dtype=name, cache=False, **options)  # loads it outside the clock
            start = time.process_time()
            features[name].append(
                encode(texts[at : at + CHUNK], dtype=name, cache=False, **options)
            )
            seconds[-1][name] = time.process_time() - start
    return {name: np.concatenate(x) for name, x in features.items()}, pd.DataFrame(seconds)


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / norms


def main(dataset: str, encoder: str, length: int, texts: int) -> None:
    """Print one line per precision, and paired tests of each against float32."""
    torch.set_num_threads(1)
    corpus = load(dataset)
    for split in SPLITS:
        corpus = corpus.sample(texts, splits=[split])
    x, seconds = encoded(list(corpus.text), encoder=encoder, max_length=length, progress=False)
    train, valid, test = (corpus.rows(split) for split in ("train", "valid", "test"))
    goal, answers = targets(corpus), {}
    for name, values in x.items():
        sd = values[train].std(axis=0) + 1e-6
        known = [goal.take(train), goal.take(valid)]
        parts = [values[train] / sd, values[valid] / sd]
        model = linear.choose(lambda v: v, parts, known, linear.STRENGTHS, "lsqr")
        answers[name] = model.predict(values[test] / sd)
    place = {"notebook": "rounding", "dataset": dataset, "split": "test", "variant": "full"}
    pairs = [(name, "float32") for name in PRECISIONS[1:]]
    groups = [corpus.groups[i] for i in test]
    tests = results.comparisons(answers, pairs, goal.take(test), groups, **place)
    for name, values in x.items():
        near, faster = cosine(x["float32"], values), seconds["float32"] / seconds[name]
        low, middle, high = np.quantile(faster, [0, 0.5, 1])
        print(f"{name}: {middle:.2f} times as fast as float32 ({low:.2f} to {high:.2f}), cosine "
              f"{near.mean():.5f}, lowest {near.min():.4f}, n={len(near)}")  # fmt: skip
    print(pd.DataFrame(tests)[["a", "metric", "diff", "ci_low", "ci_high", "p_holm"]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="synthetic_reviews")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--length", type=int, default=128, help="tokens")
    parser.add_argument("--texts", type=int, default=0, help="of each split, at most; 0: all")
    given = parser.parse_args()
    main(given.dataset, given.encoder, given.length, given.texts)
