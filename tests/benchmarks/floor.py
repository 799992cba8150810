"""The arithmetic floor of each COVAREP stage: what its counted operations would cost alone.

    OMP_NUM_THREADS=1 python tests/benchmarks/floor.py

One run of `extract` counts the matrix products, Fourier transforms and element-wise operations of
each stage. Each is then timed bare: a product and a transform in its shape, an element-wise
operation on an array that fits the processor's cache. The sum is the stage's floor. Beyond it are
numpy's administration, copies, and what is not counted: filters, peaks, splines, sorting, einsum.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
from covarep import RATE, STAGES, speech, stage_costs
from scipy import fft

from mmlib import covarep as room
from mmlib.covarep import extract

SECONDS, ROUNDS = 4, 25
CACHED = 4096  # elements
KINDS = ("products", "transforms", "element-wise")
MADE = ("empty", "zeros", "ascontiguousarray", "where")  # numpy's functions that lose a subclass
counts: dict[str, Counter] = defaultdict(Counter)  # stage -> operation -> its calls or elements
running = [""]  # the stage


class Counted(np.ndarray):
    """An array whose operations are counted under the stage that runs."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        given = [plain(x) for x in inputs]
        if out:
            options["out"] = tuple(map(plain, out))
        result = getattr(ufunc, method)(*given, **options)
        types = tuple(np.asarray(x).dtype.char for x in given if x is not None)
        if ufunc is np.matmul:
            shapes = tuple(map(np.shape, given))
            counts[running[0]]["products", shapes, types] += 1
        else:
            size = max(np.size(x) for x in (*given, out[0] if out else result))
            counts[running[0]]["element-wise", ufunc, method, types] += size
        return (out if len(out) > 1 else out[0]) if out else counted(result)


def plain(x: object) -> object:
    return x.view(np.ndarray) if isinstance(x, Counted) else x


def counted(x: object) -> object:
    """An array, or each array of a tuple, as `Counted`; anything else as it is."""
    if isinstance(x, tuple):
        return type(x)(*map(counted, x)) if hasattr(x, "_fields") else tuple(map(counted, x))
    return x.view(Counted) if isinstance(x, np.ndarray) else x


def keeping(function: Callable, name: str = "") -> Callable:
    """A function of arrays whose result is `Counted`; with a name it is a stage."""

    def run(*args, **options):
        if name:
            running[0] = name
            args, options = counted(args), {key: counted(x) for key, x in options.items()}
        result = counted(function(*args, **options))
        running[0] = "" if name else running[0]
        return result

    return run


def transform(name: str) -> Callable:
    real = getattr(fft, name)

    def run(x, n=None, axis=-1, **options):
        x = np.asarray(plain(x))
        counts[running[0]]["transforms", name, x.shape, x.dtype.char, n, axis] += 1
        return counted(real(x, n, axis, **options))

    return run


class Numpy:
    """numpy for the modules that are counted: their new arrays are `Counted`."""

    def __getattr__(self, name: str) -> object:
        return keeping(getattr(np, name)) if name in MADE else getattr(np, name)


@contextmanager
def counting() -> Iterator[None]:
    """Count what `extract` does, by stage."""
    names = [path.stem for path in Path(room.__file__).parent.glob("[a-z]*.py")]
    modules = {name: import_module(f"mmlib.covarep.{name}") for name in names}
    places = [(modules[of], name, keeping(getattr(modules[of], name), name))
              for name, of in STAGES.items()]  # fmt: skip
    places += [(fft, name, transform(name)) for name in ("rfft", "irfft")]
    for module in modules.values():
        if hasattr(module, "windows"):
            places.append((module, "windows", keeping(module.windows)))
        if hasattr(module, "np"):
            places.append((module, "np", Numpy()))
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    for module, name, new in places:
        setattr(module, name, new)
    yield
    for module, name, old in before:
        setattr(module, name, old)


def least(run: Callable, times: int) -> float:
    """Processor seconds of a call: the least of ROUNDS means over `times` calls."""
    means = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(times):
            run()
        means.append((time.process_time() - start) / times)
    return min(means)


def filled(shape: tuple | int, kind: str) -> np.ndarray:
    values = np.random.default_rng(0).uniform(1, 2, shape)
    return (values > 1.5 if kind == "?" else values).astype(kind)


def cost(kind: str, *how: object) -> float:
    """Bare seconds of a product, of a transform, or of an element of an element-wise operation."""
    if kind == "products":
        a, b = map(filled, *how)
        return least(lambda: a @ b, 3)
    if kind == "transforms":
        name, shape, type_, n, axis = how
        x, run = filled(shape, type_), getattr(fft, name)
        return least(lambda: run(x, n, axis), 3)
    ufunc, method, types = how
    given = [filled(CACHED, x) for x in types]
    if method != "__call__":  # reduce, reduceat or accumulate
        run = ufunc.accumulate if method == "accumulate" else ufunc.reduce
        return least(lambda: run(given[0]), 50) / CACHED
    out = {} if ufunc.signature else {"out": ufunc(*given)}
    return least(lambda: ufunc(*given, **out), 50) / CACHED


def main() -> None:
    wave, scale = speech(SECONDS), 1e3 / SECONDS  # to ms for a second of speech
    extract(wave, RATE)
    with counting():
        extract(wave, RATE)
    spent = stage_costs([(wave, RATE)])
    bare = {operation: cost(*operation) for stage in spent for operation in counts[stage]}
    total, floors = spent.pop("total"), []
    print("stage, ms for a second of speech, its floor: " + ", ".join(KINDS))
    for stage, took in sorted(spent.items(), key=lambda item: -item[1]):
        floor = Counter(dict.fromkeys(KINDS, 0.0))
        for operation, times in counts[stage].items():
            floor[operation[0]] += scale * times * bare[operation]
        floors.append([floor[kind] for kind in KINDS])
        each = "  ".join(f"{floor[kind]:4.1f}" for kind in KINDS)
        print(f"{stage:20s} {scale * took:5.1f} {sum(floors[-1]):5.1f}:  {each}")
    each = "  ".join(f"{x:4.1f}" for x in np.sum(floors, axis=0))
    print(f"{'all':20s} {scale * total:5.1f} {np.sum(floors):5.1f}:  {each}")


if __name__ == "__main__":
    main()
