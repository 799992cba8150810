"""Many grid points in one tidy table; comparison of two runs: which scores differ, and why.

Outdated points (same parameters, older code) are stored beside the newer ones; the newest counts.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy

from mmlib import files
from mmlib.scores import results, stats
from mmlib.scores.results import PLACE, ROW
from mmlib.scores.store import FILES, ORIGINS_FILE, ROWS_FILE, Store, folder, read

FULL = ["dataset", "model", "variant", "metric"]  # columns that identify a line of a score table
SCRIPTS = ("compression-hotel", "compression-sst5", "peers")  # runs of tests/benchmarks
RECORDS = ("versions", "data", "code", "encoders")  # of a manifest: inputs of a result


def kept() -> list[str]:
    """Names of the runs that come with the project: made by its parameter files or scripts."""
    made = {path.stem for path in files.RUNS.glob("params/*.yaml")} | set(SCRIPTS)
    made |= {path.stem.partition("-")[0] for path in files.RUNS.glob("finetune/*.yaml")}
    return [name for name in results.runs() if name in made]


def fullest(table: pd.DataFrame) -> pd.DataFrame:
    """Test rows, one per data set, model, variant and metric: the one with the most seeds."""
    test = table[table["split"] == "test"]
    return test.sort_values("n_seeds", ascending=False, kind="stable").drop_duplicates(FULL)


def tested(names: Iterable[str]) -> pd.DataFrame:
    """The paired tests of several runs, with the columns `run` and `verdict`.

    verdict: e.g. "daf better", or "not told apart", by `mmlib.scores.results.better`.
    """
    empty = pd.DataFrame(columns=[*results.COMPARISON, "run"])
    pairs = [results.load_comparisons(name).assign(run=name) for name in names]
    pairs = pd.concat([pair for pair in pairs if len(pair)] or [empty], ignore_index=True)
    winners = [results.better(pair) for _, pair in pairs.iterrows()]
    return pairs.assign(verdict=[f"{w} better" if w else "not told apart" for w in winners])


def manifests(run: str) -> dict[Path, dict]:
    """Point folder -> manifest of a run's finished points, newest per notebook and parameters."""
    newest: dict[str, tuple[str, Path, dict]] = {}
    for path in folder(run).glob("*/manifest.json"):
        point = path.parent
        record = {} if point.name.startswith(".") else manifest(point)
        if record.get("state") == "done":
            place = json.dumps([record["notebook"], record["parameters"]], sort_keys=True)
            at = record.get("current", record["finished"])
            newest[place] = max(newest.get(place, ("",)), (at, point, record))
    return {point: record for _, (_, point, record) in sorted(newest.items())}


def collect(run: str) -> pd.DataFrame:
    """All rows of a run and of its grid points, with the points' parameters as columns.

    ValueError if there are none. Only finished points are read.
    """
    stored = [(Store(run).read(ROWS_FILE, None), {})]
    points = manifests(run).items()
    stored += [(read(point / ROWS_FILE, None), record["parameters"]) for point, record in points]
    frames = []
    for rows, parameters in stored:
        if rows is not None:
            given = {k: str(v) for k, v in parameters.items() if k not in (*ROW, "run")}
            frames.append(pd.DataFrame(rows, columns=list(ROW)).assign(**given))
    if not frames:
        raise ValueError(f"run {run!r} has no finished point and no rows")
    table = pd.concat(frames, ignore_index=True)
    return table[[*PLACE, *table.columns.drop(list(ROW)), *ROW[len(PLACE) :]]]


def varied(table: pd.DataFrame) -> list[str]:
    """The parameter columns of a collected table that have more than one value."""
    given = [column for column in table if column not in ROW]
    return [column for column in given if table[column].nunique(dropna=False) > 1]


def scores(table: pd.DataFrame, metrics=("mae", "corr", "f1_non0")) -> pd.DataFrame:
    """Test scores of a collected table as text, a row per point and model; equal constants once."""
    again = table.duplicated([*PLACE, "mean"]) & table["model"].isin(results.REFERENCE)
    shown = table[~again]
    line = ["notebook", "dataset", "model", "variant", *varied(table), "n_seeds"]
    return results.table(shown.fillna(dict.fromkeys(line, "")), metrics, line).reset_index()


def compare_runs(a: str, b: str) -> pd.DataFrame:
    """Scores of run b minus those of run a, row by row, with a paired test over their common seeds.

    Seeds are numbered from 0 in every run, so the first n seeds of both are the same. p is from a
    paired t test; p_holm is adjusted for all rows. verdict: `equal` (these seeds, in every stored
    digit), `differs` (p_holm below .05), `not told apart`, `one seed` (no test), or `only in` one.
    """
    tables = [collect(run).rename(columns={"seeds": "given seeds"}) for run in (a, b)]
    own = {"given seeds"}.difference(*map(varied, tables))  # one number in each run: paired below
    shared = [n for n in tables[0] if n in tables[1] and n not in (*ROW[len(PLACE) :], *own)]
    left, right = map(_told_apart, (a, b), tables, (shared, shared))
    both = left.merge(right, on=shared, how="outer", suffixes=("_a", "_b"), indicator=True)
    tested = [_paired(*pair) for pair in zip(both["per_seed_a"], both["per_seed_b"], strict=True)]
    both[["diff", "seeds", "p"]] = pd.DataFrame(tested, index=both.index)
    known = both["p"].notna()
    both.loc[known, "p_holm"] = stats.holm(both.loc[known, "p"]) if known.any() else []
    only = {"left_only": f"only in {a}", "right_only": f"only in {b}"}
    both["verdict"] = [only.get(row["_merge"]) or _verdict(row) for _, row in both.iterrows()]
    return both[[*shared, "mean_a", "mean_b", "diff", "seeds", "p", "p_holm", "verdict"]]


def _told_apart(run: str, table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Unique rows; equal rows (e.g. a constant's, stored by every point) are counted once."""
    table = table.assign(seen=table["per_seed"].map(str)).drop_duplicates([*by, "seen"])
    if table.duplicated(by).any():
        extra = ", ".join(set(varied(table)) - {*by, "seen"})
        raise ValueError(f"rows of {run} differ in {extra}, which the other run does not give")
    return table


def _paired(a: list | float, b: list | float) -> tuple[float, float, float]:
    """Mean of b - a, number of seeds, and p value (NaN if there is no test)."""
    if not isinstance(a, list) or not isinstance(b, list):
        return np.nan, 0, np.nan
    n = min(len(a), len(b))
    gap = np.subtract(b[:n], a[:n])
    if n < 2 or np.ptp(gap) == 0:
        p = 1.0 if not gap.any() else np.nan if n < 2 else 0.0
        return float(gap.mean()), n, p
    return float(gap.mean()), n, float(scipy.stats.ttest_1samp(gap, 0).pvalue)


def _verdict(row: pd.Series) -> str:
    if (n := row["seeds"]) and row["per_seed_a"][:n] == row["per_seed_b"][:n]:
        return "equal"
    if np.isnan(row["p"]):
        return "one seed"
    return "differs" if row["p_holm"] < 0.05 else "not told apart"


def made_by(run: str) -> dict[str, dict[str, str]]:
    """The inputs of a run's results, by notebook: commit, versions, data, code files."""
    made: dict[str, dict[str, str]] = {}
    records = [(record["notebook"], record) for record in manifests(run).values()]
    for notebook, record in (*records, *Store(run).read(ORIGINS_FILE, {}).items()):
        known = made.setdefault(notebook, {})
        told = {key: record.get(key) for key in ("commit", "device", *RECORDS)}
        told["data"] = {Path(name).name: sha for name, sha in (told["data"] or {}).items()}
        for name, value in ((" ".join(names), value) for names, value in facts(told).items()):
            seen = known.get(name, value).split(" / ")
            known[name] = " / ".join(sorted({*seen, *value.split(" / ")}))
    return made


def facts(record: Mapping[str, Any], within: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Flatten a nested record: (section names..., name) -> value as text."""
    flat = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat |= facts(value, (*within, name))
        elif value is not None:
            flat[(*within, name)] = str(value)
    return flat


def differences(a: str, b: str) -> pd.DataFrame:
    """Differences in code, versions, data or devices between two runs' results, a line each.

    Of what only one of them has, commits and data files alone have a line.
    """
    left, right = made_by(a), made_by(b)
    lines = []
    for notebook in sorted(set(left) | set(right)):
        one, other = left.get(notebook, {}), right.get(notebook, {})
        either = {what for what in {*one, *other} if what.startswith(("data ", "commit"))}
        for what in sorted(either | (one.keys() & other.keys())):
            if (pair := (one.get(what, ""), other.get(what, "")))[0] != pair[1]:
                lines.append((notebook, what, *(value[:40] for value in pair)))
    return pd.DataFrame(lines, columns=["notebook", "what", a, b if b != a else f"{b} again"])


def rows_of(folder: Path, notebook: str) -> list[dict]:
    """The rows of a notebook in a folder; empty if there are none or the file is damaged."""
    return [row for row in read(folder / ROWS_FILE, []) if row["notebook"] == notebook]


def stored(folder: Path, notebook: str) -> dict[str, int]:
    """Number of entries of a notebook in each of `FILES` in a folder; 0 if the file is damaged."""
    contents = {name: read(folder / name, []) for name in FILES}
    made = {n: [e if isinstance(e, str) else e["notebook"] for e in c] for n, c in contents.items()}
    return {name: notebooks.count(notebook) for name, notebooks in made.items()}


def manifest(folder: Path) -> dict:
    """A point's manifest; {} if there is none, or if a file of a finished point is damaged."""
    record = read(folder / "manifest.json", {})
    stored = (folder / name for name in FILES) if record.get("state") == "done" else ()
    is_damaged = any(path.exists() and read(path, None) is None for path in stored)
    return {} if is_damaged else record
