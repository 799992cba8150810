"""Speed of `encode`, of sentence-transformers and of this machine's matrix products, in one run.

A round measures each of them once; the table has the median and the best round. Compare ratios
only. Work is counted for real tokens, so padding lowers the share.
"""

import os
import random
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoTokenizer

from mmlib.text.encoder import locate
from mmlib.text.encoding import encode

TEXTS, ROUNDS, MAX_LENGTH = 1000, 5, 128
NOUNS = ["film", "plot", "camera", "ending", "actor", "music", "dialogue", "first half", "villain"]
VERBS = ["was", "felt", "seemed", "looked", "stayed", "turned out"]
GRADES = ["superb", "rather dull", "not very convincing", "fine", "painfully slow", "a surprise"]
LINKS = ["and", "but", "although", "because", "which is odd since", "while"]


def sentences() -> list[str]:
    """English-like sentences of 4 to about 60 words, most of them short."""
    draw = random.Random(0)

    def clause() -> str:
        return f"the {draw.choice(NOUNS)} {draw.choice(VERBS)} {draw.choice(GRADES)}"

    def sentence() -> str:
        links = min(int(draw.expovariate(0.7)), 9)
        return clause() + "".join(f" {draw.choice(LINKS)} {clause()}" for _ in range(links))

    return [f"{sentence()}, take {i}" for i in range(TEXTS)]


def cost(run: Callable[[], object]) -> np.ndarray:
    """Seconds (2,): wall clock, and CPU time of all cores, which other programs disturb less."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def products(threads: int) -> np.ndarray:
    """Seconds (2,) of a TFLOP of float32 products of the encoder's shape, one core a thread."""
    left, right = torch.randn(2048, 384), torch.randn(384, 1536)
    times = 40

    def multiply(_):
        for _ in range(times):
            torch.mm(left, right)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        costs = [cost(lambda: list(pool.map(multiply, range(threads)))) for _ in range(3)]
    torch.set_num_threads(threads)
    return np.min(costs, axis=0) * 1e12 / (2 * left.numel() * right.shape[1] * times * threads)


def flops(lengths: np.ndarray) -> float:
    """Multiplications and additions in the encoder's matrix products, for real tokens only."""
    config = AutoConfig.from_pretrained(locate("minilm"), trust_remote_code=False)
    d, inner = config.hidden_size, config.intermediate_size
    dense = 2 * (4 * d * d + 2 * d * inner) * lengths
    attention = 4 * d * lengths**2
    return float(config.num_hidden_layers * (dense + attention).sum())


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(1) / norms


def peak() -> float:
    """Peak memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    texts = sentences()
    threads = torch.get_num_threads()
    tokenizer = AutoTokenizer.from_pretrained(locate("minilm"), trust_remote_code=False)
    ids = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    work = flops(np.array([len(row) for row in ids]))
    options = {"max_length": MAX_LENGTH, "device": "cpu", "cache": False, "progress": False}

    memory = {"before": peak()}
    ours = encode(texts, **options)
    memory["encode"] = peak()
    peer = SentenceTransformer(str(locate("minilm")), device="cpu")
    peer.max_seq_length = MAX_LENGTH
    theirs = peer.encode(texts, show_progress_bar=False)
    memory["both"] = peak()
    half = encode(texts, dtype="bfloat16", **options)

    rounds = []
    for _ in range(ROUNDS):
        product = products(threads) * work / 1e12  # the encoder's products alone
        encode(texts[:1], **options)  # loads the encoder outside the clock
        full = cost(lambda: encode(texts, **options))
        encode(texts[:1], dtype="bfloat16", **options)
        short = cost(lambda: encode(texts, dtype="bfloat16", **options))
        other = cost(lambda: peer.encode(texts, show_progress_bar=False))
        rounds.append(
            {
                "texts/s, encode": TEXTS / full[0],
                "texts/s, encode in bfloat16": TEXTS / short[0],
                "texts/s, sentence-transformers": TEXTS / other[0],
                "GFLOP/s, matrix products": work / product[0] / 1e9,
                "encode : sentence-transformers": (other / full)[0],
                "encode : matrix products": (product / full)[0],
                "encode : matrix products, by CPU time": (product / full)[1],
                "bfloat16 : float32": (full / short)[0],
            }
        )

    print(f"{threads} threads, torch {torch.__version__}, load average {os.getloadavg()[0]:.1f}")
    print(f"{TEXTS} texts, {ROUNDS} rounds")
    print(f"{'':40}{'median':>9}{'best':>9}")
    for name in rounds[0]:
        values = [one[name] for one in rounds]
        print(f"{name:40}{np.median(values):9.2f}{max(values):9.2f}")
    print(f"cosine, encode to sentence-transformers  {cosine(ours, theirs).min():.6f} at least")
    print(f"cosine, bfloat16 to float32              {cosine(ours, half).min():.6f} at least")
    print("peak memory, MiB: " + ", ".join(f"{name} {value:.0f}" for name, value in memory.items()))


if __name__ == "__main__":
    main()
