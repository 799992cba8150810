"""Stored results: rows of scores, paired comparisons, where they came from.

A run is a folder `papermill_runs/<run>/` with `metrics.json` (rows), `comparisons.json` (paired
tests) and `provenance.json` (by notebook). Every notebook that computes scores saves its own rows;
the results notebook only reads. `ci_low` and `ci_high` of a row are the 95 % interval of the mean
over seeds, with videos and seeds both resampled; `sd` is over seeds alone.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from mmlib.files import RUNS, point_folder, refuse_unknown, write_whole
from mmlib.scores import provenance, stats
from mmlib.scores.metrics import (
    METRICS,
    NATURAL,
    Answers,
    asked,
    checked,
    named,
    review_scores,
    sentiment_scores,
)

UNIMODAL = ("text", "audio", "vision")
FUSION = ("mean", "static", "concat", "gmu", "lmf", "tfn", "crossmodal", "daf")
DYFULM = ("dyfulm", "single_a", "single_b")  # both encoders, one alone
REFERENCE = ("constant", "oracle", "tfidf")  # the best constant and the best possible; word counts
MODELS = UNIMODAL + FUSION + DYFULM + REFERENCE
SPLITS = ("test", "valid")

PLACE = ("notebook", "dataset", "model", "variant", "split", "metric")
ROW = (*PLACE, "mean", "sd", "ci_low", "ci_high", "n_seeds", "per_seed")
PAIR = ("notebook", "dataset", "a", "b", "variant", "split", "metric")
COMPARISON = (*PAIR, "diff", "ci_low", "ci_high", "p", "p_holm")


# Rows


def row(per_seed, interval: tuple[float, float], **place: str) -> dict:
    """One row from the scores of all seeds, (s,), and the interval of their mean.

    place: notebook, dataset, model, variant, split, metric.
    """
    summary = stats.over_seeds(per_seed)
    low, high = (round(float(x), 6) for x in interval)
    return {
        **{key: place[key] for key in PLACE},
        "mean": round(summary.mean, 6),
        "sd": round(summary.sd, 6),
        "ci_low": low,
        "ci_high": high,
        "n_seeds": len(per_seed),
        "per_seed": [round(float(x), 6) for x in per_seed],
    }


def rows(pred: np.ndarray, truth: np.ndarray, groups: Iterable[str], **place: str) -> list[dict]:
    """A row for every sentiment score of predictions (s, n) or (n,), clustered by `groups` (n,).

    place: notebook, dataset, model, variant, split. ValueError as in `sentiment_scores`.
    """
    scores, groups = sentiment_scores(pred, truth), list(groups)
    return [
        row(
            np.atleast_1d(values),
            stats.interval(METRICS[name], pred, truth, groups),
            metric=name,
            **place,
        )
        for name, values in scores.items()
    ]


def review_rows(
    pred: Answers,
    truth: Answers,
    groups: Iterable[str],
    *,
    weights: np.ndarray | None = None,
    natural: Answers | None = None,
    **place: str,
) -> list[dict]:
    """A row for every score of reviews, clustered by `groups` (n,), the hotels.

    pred: coarse, fine and intensity, (s, n) or (n,) each; truth: the same, (n,). With weights (n,)
    (`mmlib.data.readers.reviews.natural`) each score stands a second time as `<metric>_natural`, of
    the predictions `natural` if they are others: the best constant is another one there. place:
    notebook, dataset, model, variant, split. ValueError as in `review_scores`.
    """
    groups, lines = list(groups), []
    kinds = [("", pred, None)]
    if weights is not None:
        kinds.append((NATURAL, pred if natural is None else natural, weights))
    for end, said, share in kinds:
        for name, values in review_scores(said, truth, share).items():
            p, y = asked(name, said, truth)
            interval = stats.interval(METRICS[name], p, y, groups, weights=share)
            lines.append(row(np.atleast_1d(values), interval, metric=name + end, **place))
    return lines


def comparisons(
    predictions: Mapping[str, np.ndarray],
    pairs: Iterable[tuple[str, str]],
    truth: np.ndarray,
    groups: Iterable[str],
    *,
    metrics: Iterable[str] = ("mae", "corr", "acc2_non0", "f1_non0"),
    **place: str,
) -> list[dict]:
    """Paired tests of a against b for each pair and metric; Holm over all of them.

    predictions: (s, n) by model name (`daf`, or `daf:tav` where a table holds several variants).
    place: notebook, dataset, variant, split.
    """
    groups, table = list(groups), []
    for a, b in pairs:
        for name in metrics:
            x, y = (checked(predictions[model], truth)[0] for model in (a, b))
            result = stats.compare(METRICS[name], x, y, truth, groups)._asdict()
            table.append({**place, "a": a, "b": b, "metric": name, **result})
    return _with_holm(table)


def review_comparisons(
    predictions: Mapping[str, Answers],
    pairs: Iterable[tuple[str, str]],
    truth: Answers,
    groups: Iterable[str],
    *,
    metrics: Iterable[str] = ("acc_coarse", "acc_fine", "mae"),
    weights: np.ndarray | None = None,
    seeds: Mapping[str, Sequence[int]] | None = None,
    **place: str,
) -> list[dict]:
    """`comparisons` of reviews' predictions, clustered by hotel; Holm over all of them.

    predictions: as in `review_rows`, by model name (`dyfulm`, `dyfulm:no_gate`); those of shape
    (n,) have no randomness and are paired with every seed. seeds: those of each model's rows, if
    models differ in them; a pair takes those that both have. metrics may hold `acc_fine_natural`
    and the like, which take the weights (n,); ValueError where there are none.
    """
    groups, table = list(groups), []
    for a, b in pairs:
        for name in metrics:
            share = weights if name.endswith(NATURAL) else None
            if share is None and name.endswith(NATURAL):
                raise ValueError(f"{name} needs weights: pass those of the reviews, (n,)")
            (x, y), (z, _) = (asked(name, predictions[model], truth) for model in (a, b))
            if seeds and a in seeds and b in seeds:
                common, i, j = np.intersect1d(seeds[a], seeds[b], return_indices=True)
                if not len(common):
                    raise ValueError(f"{a} and {b} have no seed in common; train one of both")
                x, z = x[i], z[j]
            if x.ndim != z.ndim:
                x, z = np.broadcast_arrays(x, z)
            result = stats.compare(named(name), x, z, y, groups, weights=share)._asdict()
            table.append({**place, "a": a, "b": b, "metric": name, **result})
    return _with_holm(table)


def _with_holm(table: list[dict]) -> list[dict]:
    """Comparisons with p values adjusted for all of them, rounded for storing."""
    for line, p in zip(table, stats.holm([line["p"] for line in table]), strict=True):
        line["p_holm"] = float(p)
    numbers = set(COMPARISON) - set(PAIR)
    return [{k: round(t[k], 6) if k in numbers else t[k] for k in COMPARISON} for t in table]


# Checks before anything is written


def _check(entries: list[dict], keys: tuple[str, ...], place: tuple[str, ...], notebook: str):
    """ValueError in one line unless the entries can be stored as they are."""
    seen = set()
    for entry in entries:
        if set(entry) != set(keys):
            odd = sorted(set(entry) ^ set(keys))
            raise ValueError(f"a row needs the keys {', '.join(keys)}; missing or unknown: {odd}")
        at = tuple(entry[key] for key in place)
        where = " ".join(map(str, at))
        if at in seen:
            raise ValueError(f"{where}: the row stands twice")
        seen.add(at)
        _check_names(entry, notebook, where)
        numbers = [v for k, v in entry.items() if k not in (*place, "per_seed")]
        if not all(math.isfinite(x) for x in (*numbers, *entry.get("per_seed", []))):
            raise ValueError(f"{where}: NaN or infinity among {numbers}")
        if entry["ci_low"] > entry["ci_high"]:
            raise ValueError(f"{where}: the interval is upside down")
        if len(entry.get("per_seed", [])) != entry.get("n_seeds", 0):
            raise ValueError(f"{where}: n_seeds is not the number of values in per_seed")


def _check_names(entry: dict, notebook: str, where: str) -> None:
    models = [str(entry[key]).split(":")[0] for key in ("model", "a", "b") if key in entry]
    for what, names, known in (
        ("notebook", [entry["notebook"]], [notebook]),
        ("model", models, MODELS),
        ("metric", [entry["metric"].removesuffix(NATURAL)], METRICS),
        ("split", [entry["split"]], SPLITS),
    ):
        refuse_unknown(what, names, known, where=where)


def folder(run: str) -> Path:
    """Folder of a run; ValueError for a name that is no plain folder name."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", run):
        raise ValueError(f"run {run!r}: use letters, digits, '-', '_' and '.' only")
    return RUNS / run


# Writing and reading


def save(
    rows: list[dict],
    run: str,
    notebook: str,
    *,
    comparisons: Iterable[dict] = (),
    parameters: Mapping[str, object] | None = None,
    checksums: Mapping[str, str] | None = None,
    trained: Mapping[str, object] | None = None,
) -> Path:
    """Store a notebook's results in `run`, in place of what it stored there before.

    checksums: the corpus' (`Corpus.checksums`). trained: device, seconds and versions, where the
    models were trained by other processes than this one. Other notebooks' results stay. All is
    checked before anything is written, files are replaced whole, and two notebooks may save at
    once. A point of a grid saves into its own folder instead of the run's.
    """
    rows, comparisons = list(rows), list(comparisons)
    _check(rows, ROW, PLACE, notebook)
    _check(comparisons, COMPARISON, PAIR, notebook)
    into = point_folder() or folder(run)
    into.mkdir(parents=True, exist_ok=True)
    origin = provenance.here(parameters or {}, checksums or {}) | dict(trained or {})
    with FileLock(into / ".lock"):
        for name, new in (("metrics.json", rows), ("comparisons.json", comparisons)):
            kept = [old for old in _read(into / name, []) if old["notebook"] != notebook]
            merged = sorted(kept + new, key=lambda entry: entry["notebook"])
            write_whole(into / name, "[\n" + ",\n".join(map(json.dumps, merged)) + "\n]\n")
        all_origins = {**_read(into / "provenance.json", {}), notebook: origin}
        write_whole(
            into / "provenance.json", json.dumps(all_origins, indent=1, sort_keys=True) + "\n"
        )
    return into / "metrics.json"


def save_table(frame: pd.DataFrame, run: str, name: str) -> Path:
    """Store another table of a notebook beside a run's rows, as `<name>.json`."""
    path = (point_folder() or folder(run)) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = frame.to_dict(orient="records")
    write_whole(path, "[\n" + ",\n".join(map(json.dumps, lines)) + "\n]\n")
    return path


def load_table(run: str, name: str) -> pd.DataFrame:
    """What `save_table` stored; empty where nothing is."""
    return pd.DataFrame(entries(run, f"{name}.json"))


def _read(path: Path, default):
    return json.loads(path.read_text()) if path.exists() else default


def runs() -> list[str]:
    """Names of the runs that hold results."""
    return sorted(path.parent.name for path in RUNS.glob("*/metrics.json"))


def load(run: str) -> pd.DataFrame:
    """The rows of a run, one line each; ValueError that names the runs there are."""
    return pd.DataFrame(_stored(run, "metrics.json"), columns=list(ROW))


def load_comparisons(run: str) -> pd.DataFrame:
    """The paired tests of a run, one line each; ValueError as in `load`."""
    return pd.DataFrame(_stored(run, "comparisons.json"), columns=list(COMPARISON))


def origins(run: str) -> dict[str, dict]:
    """Where a run's results came from, by notebook; ValueError as in `load`."""
    return _stored(run, "provenance.json")


def entries(run: str, name: str) -> list[dict]:
    """What a file of a run holds, e.g. `metrics.json`; nothing if it is not stored."""
    return _read(folder(run) / name, [])


def _stored(run: str, name: str):
    path = folder(run) / name
    if not path.exists():
        have = ", ".join(runs()) or "none yet"
        raise ValueError(f"no results of run {run!r} (stored: {have}); make run RUN={run} makes it")
    return json.loads(path.read_text())


def table(
    frame: pd.DataFrame,
    metrics=("mae", "corr", "acc2_non0", "f1_non0"),
    line=("notebook", "dataset", "model", "variant"),
) -> pd.DataFrame:
    """Test scores as text, `mean [low, high]`: a line a model and variant, a column a metric."""
    test = frame[(frame["split"] == "test") & frame["metric"].isin(metrics)]
    text = [f"{m:.3f} [{a:.3f}, {b:.3f}]" for m, a, b in test[["mean", "ci_low", "ci_high"]].values]
    wide = test.assign(text=text).pivot(index=list(line), columns="metric", values="text")
    return wide.reindex(columns=[m for m in metrics if m in wide]).fillna("")
