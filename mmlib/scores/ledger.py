"""The ledger: published results of the papers and related work, compared with our stored rows.

`reported.toml` holds the published results and names the rows that test them.
"""

import tomllib
from pathlib import Path

import pandas as pd

from mmlib.scores.provenance import UNKNOWN
from mmlib.scores.results import better
from mmlib.scores.stats import p_text
from mmlib.scores.store import ORIGINS_FILE, PAIRS_FILE, ROWS_FILE, Store

PUBLISHED = ("kind", "paper", "system", "dataset", "metric", "reported")
OURS = ("mean", "ci_low", "ci_high", "n_seeds", "verdict", "reason", "run", "tested_on")
LEDGER = (*PUBLISHED, *OURS, "command", "hardware", "source")


def judged() -> pd.DataFrame:
    """One line per published number, claim or open question: its verdict by the stored rows.

    A number is "inside" if it lies in our 95 % interval; a claim "a beats b", or an open question,
    if our difference has that sign, its interval excludes 0 and its Holm-adjusted p is below .05.
    Otherwise it is "outside", or "not testable here" without a row. `mean` of a claim: a - b.
    """
    reported = tomllib.loads(Path(__file__).with_name("reported.toml").read_text())
    reported = {kind: [{"kind": kind, **e} for e in group] for kind, group in reported.items()}
    numbers = [line for entry in reported["number"] for line in _judge_entry(entry)]
    claims = [
        _judge_claim(claim, b, metric)
        for claim in reported["claim"] + reported["question"]
        for b in claim["tested_by"]["b"]
        for metric in claim["metrics"]
    ]
    return pd.DataFrame(claims + numbers, columns=list(LEDGER))


def _judge_entry(entry: dict) -> list[dict]:
    """One line per value; notes if it is inside by one convention and outside by another."""
    lines = [_judge_number(entry, metric, value) for metric, value in entry["values"].items()]
    by_kind: dict[str, list[dict]] = {}
    for line in lines:
        by_kind.setdefault(line["metric"].partition("_")[0], []).append(line)
    for alike in by_kind.values():
        outside = [line["metric"] for line in alike if line["verdict"] == "outside"]
        for line in alike if outside else ():
            if line["verdict"] == "inside":
                reason = f"in this convention; outside as {', '.join(outside)}"
                line["reason"] = "; ".join(filter(None, (reason, line["reason"])))
    return lines


def _judge_number(entry: dict, metric: str, value: float) -> dict:
    row = _find(ROWS_FILE, entry, dataset=entry["dataset"], metric=metric)
    line = {**entry, "metric": metric, "reported": value}
    if not row:
        return _untested(line)
    gap = row["mean"] - value
    inside = row["ci_low"] <= value <= row["ci_high"]
    reason = "" if inside else f"ours lies {abs(gap):.3f} {'above' if gap > 0 else 'below'}"
    return _tested(line, row, inside, reason)


def _judge_claim(entry: dict, b: str, metric: str) -> dict:
    row = _find(PAIRS_FILE, entry, b=b, metric=metric)
    line = {
        **entry,
        "system": entry["claim"],
        "metric": f"{metric}: {entry['tested_by']['a']} - {b}",
    }
    if not row:
        return _untested(line)
    reason = f"{p_text(row['p_holm'])} after Holm"
    return _tested({**line, "mean": row["diff"]}, row, better(row) == row["a"], reason)


def _untested(line: dict) -> dict:
    blank = dict.fromkeys(("run", "tested_on", "command", "hardware"), "")
    return {**line, **blank, "verdict": "not testable here", "reason": line["missing"]}


def _tested(line: dict, row: dict, inside: bool, reason: str) -> dict:
    origins = Store(line["tested_by"]["run"]).load(ORIGINS_FILE)
    origin = origins.get(row["notebook"], {})  # missing if a damaged file was moved aside
    return {
        **line, **row, "verdict": "inside" if inside else "outside",
        "reason": "; ".join(text for text in (reason, line.get("caveat")) if text),
        "dataset": line["dataset"], "metric": line["metric"], "run": line["tested_by"]["run"],
        "tested_on": row["dataset"], "command": origin.get("command", UNKNOWN),
        "hardware": origin.get("device", UNKNOWN),
    }  # fmt: skip


def _find(name: str, entry: dict, **wanted: str) -> dict | None:
    """The stored test row that tests an entry, the one with the most seeds; None without any."""
    if "tested_by" not in entry:
        return None
    wanted = {"split": "test", **entry["tested_by"], **wanted}
    store = Store(wanted.pop("run"))
    stored = store.read(name, []) if store.is_whole() else []
    fitting = [row for row in stored if all(row[key] == wanted[key] for key in wanted)]
    return max(fitting, key=lambda row: row.get("n_seeds", 0), default=None)
