"""Time per seed of DyFuLM on frozen states: a stack of 5 seeds against one member, in one run.

The states are random, of the shape of two MiniLMs (7 layers of 384), for 2,000 reviews. After each
epoch 500 validation reviews are read. A round measures both; compare their ratio only.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from mmlib.dyfulm.frozen import Settings, fit
from mmlib.dyfulm.losses import Targets
from mmlib.stack.vectors import Features, Scaler

ROWS = {"train": 2000, "valid": 500}
LAYERS, DIM, SEEDS, ROUNDS, EPOCHS = 7, 384, 5, 5, 2
SETTINGS = {
    "dyfulm": Settings(epochs=EPOCHS, patience=EPOCHS),
    "no layer fusion": Settings({"layer_fusion": "last"}, epochs=EPOCHS, patience=EPOCHS),
    "single_a": Settings({"gate": "a"}, epochs=EPOCHS, patience=EPOCHS),
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def random_states() -> tuple[Features, Targets]:
    rng, n = np.random.default_rng(0), sum(ROWS.values())
    a, b = (rng.standard_normal((n, LAYERS, DIM), dtype=np.float32) for _ in "ab")
    fine = rng.integers(0, 5, n)
    ids, split = tuple(map(str, range(n))), np.repeat(list(ROWS), list(ROWS.values()))
    targets = Targets(np.sign(fine - 2) + 1, fine, (fine / 4).astype(np.float32))
    x, present = {"a": a, "b": b}, np.ones((n, 2), bool)
    return Features("random", ids, ids, split, fine, x, present, Scaler({}, {})), targets


def seconds(run: Callable[[], object]) -> float:
    """Seconds of a call: on a CPU those of the process, which other programs disturb less."""
    clock = time.process_time if DEVICE == "cpu" else time.perf_counter
    start = clock()
    run()
    return clock() - start


def main() -> None:
    torch.set_num_threads(1)
    states, targets = random_states()
    reviews = EPOCHS * ROWS["train"]
    print(f"{DEVICE}, one thread; {ROUNDS} rounds; training reviews a second are for orientation")
    for name, settings in SETTINGS.items():
        fit(states, targets, settings, [0], DEVICE)
        times = [
            [seconds(lambda k=k, s=settings: fit(states, targets, s, range(k), DEVICE))
             for k in (1, SEEDS)]
            for _ in range(ROUNDS)
        ]  # fmt: skip
        one, stack = np.transpose(times)
        ratio = one / (stack / SEEDS)
        speed = SEEDS * reviews / np.median(stack)
        print(f"{name:16s} one member / a member of {SEEDS}: median {np.median(ratio):.2f},",
              f"best {ratio.max():.2f}; {speed:.0f} reviews/s")  # fmt: skip


if __name__ == "__main__":
    main()
