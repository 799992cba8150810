"""Shares of the time of training both models: OMP_NUM_THREADS=1 python tests/benchmarks/shares.py

Twenty seeds of DAF learn on 2,000 utterances of the embedded corpus (three modalities, all layers
of MiniLM), in turn with one seed; five seeds of DyFuLM learn on the random states of `frozen.py`
(2,000 reviews). Times are `time.process_time`, which other programs disturb less.
Each operator of torch is timed where it is dispatched, forward and backward; NumPy's random bytes
are timed apart. The rest of an untimed run is Python, autograd and torch's administration. It is
below 0 if timing slowed the operators. `covarep.py` measures the stages of COVAREP.

Two cores are measured in wall time, so nothing else should run: 20 seeds on two threads, and ten
seeds on each of two threads of Python, against one seed on one thread.

The last line is about memory. Dask sets MALLOC_TRIM_THRESHOLD_ for its workers; `mmlib.batch` takes
it from its kernels. The stack learns in processes with and without it, in turn.
"""

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
import torch
from frozen import random_states
from torch.utils._python_dispatch import TorchDispatchMode

from mmlib.daf import features, train
from mmlib.data import load
from mmlib.dyfulm import frozen
from mmlib.stack.layers import Masks

N, SEEDS, ROUNDS = 2000, 20, 3
DYFULM_SEEDS = 5
SETTINGS = train.Settings(epochs=5, patience=5)  # every seed does the same work
DYFULM = frozen.Settings(epochs=5, patience=5)
KINDS = {"matrix products": ("mm", "bmm", "baddbmm", "addmm"),  # first letters of operators' names
    "AdamW's kernel": ("_fused_adamw",),
    "gathering rows": ("index", "gather")}  # fmt: skip
RANDOM, ELSE, REST = "random numbers", "element-wise, sums, copies", "Python, administration"
KEEP = Masks.keep


class Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        start = time.process_time()
        result = operator(*args, **(kwargs or {}))
        name = operator.overloadpacket.__name__
        kind = next((k for k, starts in KINDS.items() if name.startswith(starts)), ELSE)
        self.seconds[kind] += time.process_time() - start
        return result

    def keep(self, masks: Masks, shape: tuple) -> torch.Tensor:
        """`Masks.keep`, with its time outside operators counted as random numbers."""
        start = time.process_time() - sum(self.seconds.values())
        kept = KEEP(masks, shape)
        self.seconds[RANDOM] += time.process_time() - sum(self.seconds.values()) - start
        return kept


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def shares(run: Callable[[], object]) -> dict[str, float]:
    """Share of each kind of operation in the seconds of the same run without timing."""
    whole = seconds(run)
    with Watch() as watch:
        Masks.keep = lambda masks, shape: watch.keep(masks, shape)
        run()
    Masks.keep = KEEP
    found = {kind: spent / whole for kind, spent in watch.seconds.items()}
    return found | {REST: 1 - sum(found.values())}


def tell_shares(run: Callable[[], object], what: str) -> None:
    """Print each kind's share of a run: median, least and most of the rounds."""
    rounds = [shares(run) for _ in range(ROUNDS)]
    for kind in (RANDOM, *KINDS, ELSE, REST):
        found = sorted(all_[kind] for all_ in rounds)
        print(f"  {kind:28}{median(found):5.0%} of {what} ({found[0]:.0%} to {found[-1]:.0%})")


def wall(run: Callable[[], object], threads: int) -> float:
    """Seconds by the clock, on so many threads of torch."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    run()
    took = time.perf_counter() - start
    torch.set_num_threads(1)
    return took


def halves() -> None:
    """Half of the seeds in each of two threads of Python; torch computes outside their lock."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda k: train.fit(data, SETTINGS, k), np.array_split(range(SEEDS), 2)))


def in_a_process(trim: dict[str, str]) -> float:
    """Seconds of the stack in a process of its own, with these variables."""
    command, environment = [sys.executable, __file__, "stack"], {**os.environ, **trim}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


torch.set_num_threads(1)
data = features.build(load("synthetic", n=N))
one, stack = (lambda k=k: train.fit(data, SETTINGS, range(k)) for k in (1, SEEDS))
one()  # warms up
if sys.argv[1:] == ["stack"]:
    print(seconds(stack))
    sys.exit()
ratios = sorted(seconds(stack) / seconds(one) for _ in range(ROUNDS))
print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread")
print(f"{SEEDS} seeds : one, {median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})")
tell_shares(stack, f"{SEEDS} seeds of DAF")
states, goal = random_states()
tell_shares(
    lambda: frozen.fit(states, goal, DYFULM, range(DYFULM_SEEDS)), f"{DYFULM_SEEDS} of DyFuLM"
)
for what, run, threads in (("two threads", stack, 2), ("ten and ten", halves, 1)):
    found = sorted(wall(run, threads) / wall(one, 1) for _ in range(ROUNDS))
    print(f"{SEEDS} seeds, {what} : one, {median(found):.1f} ({found[0]:.1f} to {found[-1]:.1f})")
pairs = [
    (in_a_process({"MALLOC_TRIM_THRESHOLD_": "65536"}), in_a_process({})) for _ in range(ROUNDS)
]
costs = sorted(trimmed / kept for trimmed, kept in pairs)
print(f"as Dask's workers : as here, {median(costs):.2f} ({costs[0]:.2f} to {costs[-1]:.2f})")
