"""Reproducibility check: random stored points are executed again and compared."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib import files
from mmlib.batch import execute, sources
from mmlib.batch.execute import Job, Outcome
from mmlib.batch.parameters import declared, point, select
from mmlib.scores import results
from mmlib.scores.results import PLACE
from mmlib.scores.runs import manifests, rows_of
from mmlib.scores.store import ROWS_FILE

VERDICTS = ("bit-equal", "equal as printed", "within 1e-3", "differs")
WRITTEN = ("corpus",)  # parameters that name a folder to write to


def choose(run: str, k: int, seed: int) -> dict[Path, dict]:
    """k random finished points of a run; ValueError if no point has rows."""
    known = {f: r for f, r in manifests(run).items() if stored(run, f, r["notebook"])}
    if not known:
        raise ValueError(f"run {run!r} has no finished point with a manifest and rows")
    order = np.random.default_rng(seed).permutation(len(known))[:k]
    return {folder: known[folder] for folder in (list(known)[i] for i in sorted(order))}


def stored(run: str, folder: Path, notebook: str) -> list[dict]:
    """The rows of a point, from its own folder or from the run's."""
    is_own = (folder / ROWS_FILE).exists()
    return rows_of(folder if is_own else results.folder(run), notebook)


def again(run: str, record: dict, folder: Path) -> Job:
    """The job that a manifest describes, with the current notebook and code.

    A manifest may come from anywhere, so the job writes only into `folder`: parameters that name an
    output are redirected there. ValueError if a parameter names a path outside the project, unless
    it is an existing file or encoder to read.
    """
    notebook = next((p for p in select([]) if p.stem == record["notebook"]), None)
    if notebook is None:
        raise ValueError(f"a point of {run} executed {record['notebook']!r}, which is not here")
    values = dict(record["parameters"])
    for name, value in values.items():
        if name == "run":
            values[name] = run
        elif name in WRITTEN and value:
            values[name] = str(folder / name)
        else:
            _refuse_elsewhere(name, value)
    return execute.job(point(notebook, declared(notebook), values), folder, own=True)


def _refuse_elsewhere(name: str, value: object) -> None:
    if isinstance(value, dict | list):
        for part in (*value, *(value.values() if isinstance(value, dict) else ())):
            _refuse_elsewhere(name, part)
    elif isinstance(value, str):
        path = Path(os.path.expanduser(value))
        read = os.path.isfile(files.ROOT / path) or sources.is_encoder(value)
        if (path.is_absolute() or ".." in path.parts) and not read:
            raise ValueError(f"{name} = {value!r} is a path outside the project; name one inside")


def scratch() -> tempfile.TemporaryDirectory:
    """A temporary folder that every worker sees."""
    return tempfile.TemporaryDirectory(prefix=".verify-", dir=files.RUNS)


def judge(old: list[dict], new: list[dict]) -> pd.DataFrame:
    """For each metric the worst verdict over its rows, and the largest difference of a mean.

    "bit-equal": every seed's score, in all six stored decimals; "equal as printed": mean, in three.
    """
    anew = {tuple(row[k] for k in PLACE): row for row in new}
    lines = []
    for row in old:
        again = anew.get(tuple(row[k] for k in PLACE))
        gap = abs(row["mean"] - again["mean"]) if again else np.inf
        lines.append((row["metric"], _verdict(row, again, gap), gap))
    table = pd.DataFrame(lines, columns=["metric", "verdict", "largest"])
    table["verdict"] = pd.Categorical(table["verdict"], VERDICTS, ordered=True)
    return table.groupby("metric", observed=True).max().reset_index()


def _verdict(row: dict, again: dict | None, gap: float) -> str:
    if again and row["per_seed"] == again["per_seed"]:
        return VERDICTS[0]
    if again and f"{row['mean']:.3f}" == f"{again['mean']:.3f}":
        return VERDICTS[1]
    return VERDICTS[2] if gap <= 1e-3 else VERDICTS[3]


def verdicts(
    run: str, chosen: dict[Path, dict], jobs: Sequence[Job], outcomes: Sequence[Outcome]
) -> pd.DataFrame:
    """The verdicts of all re-executed points, worst first; one that failed differs in all.

    inputs: what has changed since, by name.
    """
    ended = {outcome.job.name: outcome for outcome in outcomes}
    tables = []
    for (folder, record), job in zip(chosen.items(), jobs, strict=True):
        error = ended[job.name].error
        new = [] if error else rows_of(job.done, record["notebook"])
        changed = ", ".join(sources.changed(record, job.inputs))
        lines = judge(stored(run, folder, record["notebook"]), new)
        tables.append(lines.assign(point=folder.name, inputs=changed, error=error))
    table = pd.concat(tables).sort_values("verdict", ascending=False, kind="stable")
    return table[["point", "metric", "verdict", "largest", "inputs", "error"]]
