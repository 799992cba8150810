"""Cost of the COVAREP features: share of each stage, speed beside eGeMAPS, memory, and growth.

Run it with one thread: OMP_NUM_THREADS=1 python tests/benchmarks/covarep.py [WAV ...]. Without
files it measures a synthetic voice. Times are processor seconds, the best of several rounds. The
speed of the processor is printed beside them, because machines are shared. Where opensmile is
installed, both sets of features are also computed in turn, and their times compared.
"""

import resource
import sys
import time
import tracemalloc
from collections import defaultdict
from importlib import import_module

import numpy as np
from scipy import fft

from mmlib.covarep import extract, read_wav
from mmlib.covarep.voice import synthesise
from mmlib.data import DataError
from mmlib.recordings.audio import SETS, columns, frames

ROUNDS = 9
RATE = 16000
STAGES = {  # function -> the module that calls it
    "speech_residual": "stages",
    "polarity": "stages",
    "srh": "stages",
    "closure_instants": "stages",
    "glottal_flow": "stages",
    "glottal_parameters": "stages",
    "mdq": "stages",
    "peak_slope": "stages",
    "harmonic_analysis": "stages",
    "estimate_rd": "stages",
    "mel_cepstra": "stages",
    "phase_distortion": "phase",
    "window_statistics": "phase",
    "to_grid": "phase",
}


def speech(seconds: float) -> np.ndarray:
    """A voice (n,) whose pitch rises and falls, with a pause in each second."""
    time_ = np.arange(int(seconds * RATE)) / RATE
    f0 = np.where(time_ % 1 < 0.75, 140 + 50 * np.sin(2 * np.pi * 0.7 * time_), 0)
    return synthesise(f0, 1 + 0.5 * np.sin(time_), noise=0.02).wave


def timed(spent: dict[str, float], name: str, function):
    def run(*args, **options):
        start = time.process_time()
        result = function(*args, **options)
        spent[name] += time.process_time() - start
        return result

    return run


def stage_costs(waves: list[tuple[np.ndarray, int]]) -> dict[str, float]:
    """Processor seconds of each stage for all waves, the best round of each."""
    modules = {name: import_module(f"mmlib.covarep.{module}") for name, module in STAGES.items()}
    originals = {name: getattr(module, name) for name, module in modules.items()}
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        spent: dict[str, float] = defaultdict(float)
        for name, function in originals.items():
            setattr(modules[name], name, timed(spent, name, function))
        timed(spent, "total", lambda: [extract(*wave) for wave in waves])()
        best = {name: min(cost, best.get(name, cost)) for name, cost in spent.items()}
    for name, function in originals.items():
        setattr(modules[name], name, function)
    return best


def against_egemaps(wave: np.ndarray) -> np.ndarray | None:
    """Processor time of COVAREP's 74 features over that of openSMILE's 25, (rounds,), ascending."""
    try:
        columns("egemaps")
    except DataError:
        return None
    ratios = []
    for _ in range(ROUNDS):
        spent: dict[str, float] = defaultdict(float)
        for name in SETS:
            timed(spent, name, frames)(wave, name)
        ratios.append(spent["covarep"] / spent["egemaps"])
    return np.sort(ratios)


def machine() -> str:
    """Speed of this machine in two operations that the features consist of."""
    random = np.random.default_rng(0)
    left, rows = random.normal(size=(1000, 1000)), random.normal(size=(100, 4096))
    costs = [np.inf, np.inf]
    for _ in range(ROUNDS):
        for i, run in enumerate((lambda: left @ left, lambda: fft.rfft(rows, axis=1))):
            start = time.process_time()
            run()
            costs[i] = min(costs[i], time.process_time() - start)
    return f"{2 / costs[0]:.0f} GFLOP/s in products, {1e4 * costs[1]:.0f} us a real FFT of 4096"


def memory(seconds: int) -> tuple[float, float, float]:
    """Peak MiB beyond wave and table, processor seconds, and peak MiB of the process."""
    wave = np.tile(speech(10), seconds // 10)
    tracemalloc.start()
    table = extract(wave, RATE)
    peak = tracemalloc.get_traced_memory()[1] - table.to_numpy().nbytes
    tracemalloc.stop()
    costs: dict[str, float] = defaultdict(float)
    best = np.inf
    for _ in range(3):
        costs.clear()
        timed(costs, "all", extract)(wave, RATE)
        best = min(best, costs["all"])
    return peak / 2**20, best, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    first = time.process_time()
    extract(speech(1), RATE)
    print(f"first second of speech, tables included: {time.process_time() - first:.2f} s")
    waves = [read_wav(path) for path in sys.argv[1:]] or [(speech(4), RATE)]
    seconds = sum(len(wave) / rate for wave, rate in waves)
    costs = stage_costs(waves)
    total = costs.pop("total")
    for name, cost in sorted(costs.items(), key=lambda item: -item[1]):
        print(f"{name:20s} {1e3 * cost / seconds:6.1f} ms per second {cost / total:6.1%}")
    print(f"{'total':20s} {1e3 * total / seconds:6.1f} ms of one core per second of speech,")
    print(f"best of {ROUNDS} on {seconds:.1f} s at {waves[0][1]} Hz; this machine: {machine()}")
    for length in (4, 20):
        if (ratios := against_egemaps(speech(length))) is not None:
            ends = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            print(f"{length:4d} s: {np.median(ratios):.2f} ({ends}) times the time of eGeMAPS")
    for length in (10, 40, 160):
        peak, spent, largest = memory(length)
        print(f"{length:4d} s: {1e3 * spent / length:5.0f} ms per second", end=", ")
        print(f"{peak:4.0f} MiB beyond wave and table ({largest:.0f} MiB in all)")


if __name__ == "__main__":
    main()
