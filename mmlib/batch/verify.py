"""Do stored results come out again? Some points, chosen at random, are executed anew."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib import files
from mmlib.batch import execute
from mmlib.batch.execute import Batch, Job
from mmlib.batch.parameters import declared, point, select
from mmlib.scores import results
from mmlib.scores.results import PLACE
from mmlib.scores.runs import manifest, manifests
from mmlib.scores.store import read

VERDICTS = ("bit-equal", "equal as printed", "within 1e-3", "differs")


def choose(run: str, k: int, seed: int) -> dict[Path, dict]:
    """k finished points of a run, at random; ValueError if it has none with rows."""
    known = {f: r for f, r in manifests(run).items() if stored(run, f, r["notebook"])}
    if not known:
        raise ValueError(f"run {run!r} has no finished point with a manifest and rows")
    order = np.random.default_rng(seed).permutation(len(known))[:k]
    return {folder: known[folder] for folder in (list(known)[i] for i in sorted(order))}


def stored(run: str, folder: Path, notebook: str) -> list[dict]:
    """The rows of a point, from its own folder or from the run's."""
    path = folder / "metrics.json"
    path = path if path.exists() else results.folder(run) / "metrics.json"
    return [row for row in read(path, []) if row["notebook"] == notebook]


def again(record: dict, folder: Path) -> Job:
    """The job that a manifest describes, with the notebook and the code of now."""
    (notebook,) = select([record["notebook"]])
    return execute.job(point(notebook, declared(notebook), record["parameters"]), folder, own=True)


def scratch() -> tempfile.TemporaryDirectory:
    """A folder that every worker sees and that is removed afterwards."""
    return tempfile.TemporaryDirectory(prefix=".verify-", dir=files.RUNS)


def judge(old: list[dict], new: list[dict]) -> pd.DataFrame:
    """For each metric the worst verdict over its rows, and the largest difference of a mean.

    Stored values have six decimals: those are the bits. Printed are three.
    """
    rows = {tuple(row[k] for k in PLACE): row for row in new}
    lines = []
    for row in old:
        found = rows.get(tuple(row[k] for k in PLACE))
        gap = abs(row["mean"] - found["mean"]) if found else np.inf
        lines.append((row["metric"], _verdict(row, found, gap), gap))
    table = pd.DataFrame(lines, columns=["metric", "verdict", "largest"])
    table["verdict"] = pd.Categorical(table["verdict"], VERDICTS, ordered=True)
    return table.groupby("metric", observed=True).max().reset_index()


def _verdict(row: dict, found: dict | None, gap: float) -> str:
    if found and row["per_seed"] == found["per_seed"]:
        return VERDICTS[0]
    if found and f"{row['mean']:.3f}" == f"{found['mean']:.3f}":
        return VERDICTS[1]
    return VERDICTS[2] if gap <= 1e-3 else VERDICTS[3]


def report(run: str, chosen: dict[Path, dict], jobs: list[Job], outcomes) -> pd.DataFrame:
    """The verdicts of all re-executed points, worst first; one that failed differs in all."""
    ended = {outcome.job.name: outcome for outcome in outcomes}
    frames = []
    for (folder, record), job in zip(chosen.items(), jobs, strict=True):
        new = [] if ended[job.name].error else stored(run, job.done, record["notebook"])
        changed = "" if manifest(folder)["key"] == job.key else "changed since"
        lines = judge(stored(run, folder, record["notebook"]), new)
        error = ended[job.name].error
        frames.append(lines.assign(point=folder.name, inputs=changed, error=error))
    found = pd.concat(frames).sort_values("verdict", ascending=False, kind="stable")
    return found[["point", "metric", "verdict", "largest", "inputs", "error"]]


def start(run: str) -> Batch:
    """A batch that takes no earlier result for a new one."""
    return execute.batch(f"python -m mmlib.batch verify {run}", resume=False)
