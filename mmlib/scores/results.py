"""Stored results: rows of scores, paired comparisons, and their provenance.

A run is a folder `papermill_runs/<run>/` with `metrics.json` (rows), `comparisons.json` (paired
tests) and `provenance.json` (by notebook). Every notebook that computes scores saves its own rows;
the results notebook only reads them. `ci_low` and `ci_high` of a row are the 95 % interval of the
mean over seeds, for other videos and other seeds; `sd` is over seeds alone. Predictions are arrays
of sentiment, or coarse, fine and intensity of reviews (`mmlib.scores.metrics`).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmlib import files
from mmlib.files import refuse_unknown
from mmlib.scores import provenance, stats
from mmlib.scores.metrics import (
    METRICS,
    NATURAL,
    Values,
    added,
    all_scores,
    are_reviews,
    compared,
    named,
)
from mmlib.scores.store import FILES, ORIGINS_FILE, PAIRS_FILE, ROWS_FILE, Store
from mmlib.scores.store import folder as folder  # notebooks say `results.runs()`
from mmlib.scores.store import runs as runs

UNIMODAL = tuple(m + kind for kind in ("", "_deep", "_gated") for m in ("text", "audio", "vision"))
FUSION = ("mean", "static", "concat", "gmu", "lmf", "tfn", "crossmodal", "daf")
DYFULM = ("dyfulm", "single_a", "single_b", "both", "late")  # one encoder; with DAF; mean with DAF
REFERENCE = ("constant", "oracle", "tfidf", "logistic", "ridge")  # no seeds; the last three: linear
MODELS = UNIMODAL + FUSION + DYFULM + REFERENCE
SPLITS = ("test", "valid")

PLACE = ("notebook", "dataset", "model", "variant", "split", "metric")
ROW = (*PLACE, "mean", "sd", "ci_low", "ci_high", "n_seeds", "per_seed")
PAIR = ("notebook", "dataset", "a", "b", "variant", "split", "metric")
COMPARISON = (*PAIR, "diff", "ci_low", "ci_high", "p", "p_holm")
TESTED = ("mae", "corr", "acc2_non0", "f1_non0")  # of sentiment, for paired tests and tables
TESTED_REVIEWS = ("acc_coarse", "acc_fine", "mae")


# Rows


def row(per_seed, interval: tuple[float, float], **place: str) -> dict:
    """One row from the scores of all seeds, (s,), and the interval of their mean.

    place: values of notebook, dataset, model, variant, split, metric.
    """
    summary = stats.over_seeds(per_seed)
    low, high = (round(float(x), 6) for x in interval)
    return {
        **{key: place[key] for key in PLACE}, "mean": round(summary.mean, 6),
        "sd": round(summary.sd, 6), "ci_low": low, "ci_high": high, "n_seeds": len(per_seed),
        "per_seed": [round(float(x), 6) for x in per_seed],
    }  # fmt: skip


def rows(
    pred: Values,
    truth: Values,
    groups: Iterable[str],
    *,
    weights: np.ndarray | None = None,
    natural: Values | None = None,
    **place: str,
) -> list[dict]:
    """One row per score of the predictions; intervals are clustered by `groups` (n,), e.g. videos.

    pred: (s, n) or (n,); truth: (n,). For reviews, coarse, fine and intensity have these shapes.
    With weights (n,) (`mmlib.data.readers.reviews.natural`) each score is stored a second time,
    weighted, as `<metric>_natural`. The weighted scores use the predictions `natural` if given,
    because the best constant differs under weights. place: notebook, dataset, model, variant,
    split. ValueError as in `mmlib.scores.metrics.all_scores`.
    """
    groups, table = list(groups), []
    kinds = [("", pred, None)]
    if weights is not None:
        kinds.append((NATURAL, pred if natural is None else natural, weights))
    for ending, prediction, given in kinds:
        for name, values in all_scores(prediction, truth, given).items():
            p, y = compared(name, prediction, truth)
            interval = stats.interval(METRICS[name], p, y, groups, weights=given)
            table.append(row(np.atleast_1d(values), interval, metric=name + ending, **place))
    return table


def comparisons(
    predictions: Mapping[str, Values],
    pairs: Iterable[tuple[str, str]],
    truth: Values,
    groups: Iterable[str],
    *,
    metrics: Iterable[str] | None = None,
    weights: np.ndarray | None = None,
    seeds: Mapping[str, Sequence[int]] | None = None,
    **place: str,
) -> list[dict]:
    """Paired tests of a against b for each pair and metric, Holm-corrected over all of them.

    predictions: as in `rows`, by model name (`daf`, or `daf:tav` if a table holds several
    variants); those of shape (n,) are not random and are paired with every seed. metrics: default
    `TESTED` or `TESTED_REVIEWS`, and added ones; `acc_fine_natural` and the like use weights (n,).
    seeds: those of each model, if they differ; a pair uses the common ones. place: notebook,
    dataset, variant, split. ValueError if weights are missing or a pair has no common seed.
    """
    groups, table = list(groups), []
    usual = TESTED_REVIEWS if are_reviews(truth) else TESTED
    metrics = list(metrics or (*usual, *added(are_reviews(truth))))
    if weights is None and (natural := [name for name in metrics if name.endswith(NATURAL)]):
        raise ValueError(f"{natural[0]} needs weights: pass those of the reviews, (n,)")
    for a, b in pairs:
        common = _common_seeds(a, b, seeds or {})
        for name in metrics:
            (x, y), (z, _) = (compared(name, predictions[model], truth) for model in (a, b))
            if common:
                x, z = (v[at] if v.ndim > 1 else v for v, at in zip((x, z), common, strict=True))
            if x.ndim != z.ndim:
                x, z = np.broadcast_arrays(x, z)
            given = weights if name.endswith(NATURAL) else None
            test = stats.compare(named(name), x, z, y, groups, weights=given)._asdict()
            own = {"direction": named(name).better} if name in METRICS.added else {}
            table.append({**place, "a": a, "b": b, "metric": name, **test, **own})
    return _with_holm(table)


def _common_seeds(a: str, b: str, seeds: Mapping[str, Sequence[int]]) -> list[np.ndarray]:
    """Positions of the common seeds in a and in b; empty unless the seeds of both are given."""
    if not (a in seeds and b in seeds):
        return []
    common, *positions = np.intersect1d(seeds[a], seeds[b], return_indices=True)
    if not len(common):
        raise ValueError(f"{a} and {b} have no seed in common; train one of both")
    return positions


def _with_holm(table: list[dict]) -> list[dict]:
    """The comparisons, rounded for storing, with p values adjusted for all of them."""
    for line, p in zip(table, stats.holm([line["p"] for line in table]), strict=True):
        line["p_holm"] = float(p)
    numbers = set(COMPARISON) - set(PAIR)
    keys = (*COMPARISON, "direction")
    return [{k: round(t[k], 6) if k in numbers else t[k] for k in keys if k in t} for t in table]


def better(pair: Mapping[str, object]) -> str:
    """The better model of a stored comparison; "" if the two do not differ significantly.

    They differ if the interval of the difference excludes 0 and p is below .05 after Holm's
    correction. Notebooks, ledger and README all use this rule.
    """
    if not (pair["p_holm"] < 0.05 and pair["ci_low"] * pair["ci_high"] > 0):
        return ""
    is_a = (pair["diff"] < 0) == (direction(pair) == "low")
    return pair["a"] if is_a else pair["b"]


def direction(pair: Mapping[str, object]) -> str:
    """Whether "low" or "high" is better: stored with an added metric, otherwise known by name."""
    stored = pair.get("direction")
    return stored if stored in ("low", "high") else named(pair["metric"]).better


# Checks before anything is written


def _check(entries: list[dict], keys: tuple[str, ...], place: tuple[str, ...], notebook: str):
    """ValueError, one line, unless the entries can be stored as they are."""
    seen = set()
    for entry in entries:
        if set(entry) - {"direction"} != set(keys):
            odd = sorted(set(entry) ^ set(keys))
            raise ValueError(f"a row needs the keys {', '.join(keys)}; missing or unknown: {odd}")
        at = tuple(entry[key] for key in place)
        where = " ".join(map(str, at))
        if at in seen:
            raise ValueError(f"{where}: there are two such rows; give one")
        seen.add(at)
        _check_names(entry, notebook, where)
        numbers = [v for k, v in entry.items() if k not in (*place, "per_seed", "direction")]
        if not all(math.isfinite(x) for x in (*numbers, *entry.get("per_seed", []))):
            raise ValueError(f"{where}: NaN or infinity among {numbers}")
        if entry["ci_low"] > entry["ci_high"]:
            raise ValueError(f"{where}: the lower end of the interval, ci_low, is above ci_high")
        if len(entry.get("per_seed", [])) != entry.get("n_seeds", 0):
            raise ValueError(f"{where}: n_seeds is not the number of values in per_seed")


def _check_names(entry: dict, notebook: str, where: str) -> None:
    models = [str(entry[key]).split(":")[0] for key in ("model", "a", "b") if key in entry]
    models = [files.plain_name("model", name) for name in models]  # any plain name is allowed
    for what, names, known in (
        ("notebook", [entry["notebook"]], [notebook]),
        ("model", [m for m in models if m.lower() in MODELS], MODELS),
        ("metric", [entry["metric"].removesuffix(NATURAL)], METRICS),
        ("split", [entry["split"]], SPLITS),
    ):
        refuse_unknown(what, names, known, where=where)


# Writing and reading


def save(
    rows: Iterable[dict],
    run: str,
    notebook: str,
    *,
    comparisons: Iterable[dict] = (),
    parameters: Mapping[str, object] | None = None,
    checksums: Mapping[str, str] | None = None,
    trained: Mapping[str, object] | None = None,
) -> Path:
    """Store a notebook's results in `run`, replacing those that it stored there before.

    checksums: of the corpus (`Corpus.checksums`). trained: device, seconds and versions, if the
    models were trained by other processes than this one. Results of other notebooks are kept.
    Everything is checked before anything is written, each file is replaced whole, and two notebooks
    may save at the same time. A grid point saves into its own folder (`Store`).
    """
    rows, comparisons, store = list(rows), list(comparisons), Store(run)
    _check(rows, ROW, PLACE, notebook)
    _check(comparisons, COMPARISON, PAIR, notebook)
    origin = provenance.here(parameters or {}, checksums or {}) | dict(trained or {})
    try:
        json.dumps([rows, comparisons, origin])
    except TypeError as error:
        raise ValueError(f"{notebook}: {error}; store numbers and texts") from None
    with store.lock():
        for name, new in ((ROWS_FILE, rows), (PAIRS_FILE, comparisons)):
            others = [entry for entry in store.kept(name, []) if entry["notebook"] != notebook]
            store.write(name, sorted(others + new, key=lambda entry: entry["notebook"]))
        store.write(ORIGINS_FILE, {**store.kept(ORIGINS_FILE, {}), notebook: origin})
    return store.into / ROWS_FILE


def save_table(frame: pd.DataFrame, run: str, name: str) -> Path:
    """Store another table of a notebook beside a run's rows, as `<name>.json`.

    ValueError if the name is that of a file of `mmlib.scores.store.FILES`, or no plain file name.
    """
    if f"{files.plain_name('table', name)}.json".lower() in FILES:
        raise ValueError(f"table {name!r}: a run keeps its results there; choose another name")
    store = Store(run)
    with store.lock():
        return store.write(f"{name}.json", frame.to_dict(orient="records"))


def load_table(run: str, name: str) -> pd.DataFrame:
    """The table that `save_table` stored; empty if there is none."""
    return pd.DataFrame(Store(run).read(f"{name}.json", []))


def save_csv(frame: pd.DataFrame, run: str, name: str) -> Path:
    """Write a table as CSV beside a run's rows, as `<name>.csv`; returns its path."""
    path = Store(run).into / f"{files.plain_name('table', name)}.csv"
    files.write_whole(path, frame.to_csv(index=False))
    return path


def load(run: str) -> pd.DataFrame:
    """The rows of a run, one line each; ValueError with the names of the stored runs."""
    return pd.DataFrame(Store(run).load(ROWS_FILE), columns=list(ROW))


def load_comparisons(run: str) -> pd.DataFrame:
    """The paired tests of a run, one line each; ValueError as in `load`."""
    pairs = Store(run).load(PAIRS_FILE)
    extra = ["direction"] if any("direction" in pair for pair in pairs) else []
    return pd.DataFrame(pairs, columns=[*COMPARISON, *extra])


def origins(run: str) -> dict[str, dict]:
    """The provenance of a run's results, by notebook; ValueError as in `load`."""
    return Store(run).load(ORIGINS_FILE)


def table(
    frame: pd.DataFrame,
    metrics=None,
    line=("notebook", "dataset", "model", "variant"),
) -> pd.DataFrame:
    """Test scores as text, `mean [low, high]`: a row per `line`, a column per metric (`TESTED`)."""
    metrics = metrics or (*TESTED, *added())
    test = frame[(frame["split"] == "test") & frame["metric"].isin(metrics)]
    text = [f"{m:.3f} [{a:.3f}, {b:.3f}]" for m, a, b in test[["mean", "ci_low", "ci_high"]].values]
    wide = test.assign(text=text).pivot(index=list(line), columns="metric", values="text")
    return wide.reindex(columns=[m for m in metrics if m in wide]).fillna("")
