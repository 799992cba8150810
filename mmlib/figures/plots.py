"""Figures under one style: arrays in, a figure out, one function that writes it.

Colours are those of Okabe and Ito (distinct to the colour-blind); each name also has a marker, a
hatch and a line style of its own, so that nothing is lost in grey. Functions draw into `ax` where
one is given, else into a new figure, and return the figure.
Axes: k points on the x axis, n utterances, m modality, s seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple
from zlib import crc32

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib import files
from mmlib.scores.results import better, direction

DPI = 150
FORMS = {"png": "Software", "svg": "Date"}  # and what would make equal figures differ


class Look(NamedTuple):
    """How one name is drawn, in every figure."""

    colour: str
    marker: str
    hatch: str
    line: str


LOOKS = {
    "text": Look("#0072B2", "o", "", "-"),
    "audio": Look("#E69F00", "s", "///", "--"),
    "vision": Look("#009E73", "^", "...", ":"),
    "noise": Look("#BBBBBB", "X", "xxx", "-."),
    "daf": Look("#D55E00", "D", "", "-"),
    "mean": Look("#56B4E9", "v", "\\\\\\", "--"),
    "static": Look("#CC79A7", "P", "---", "-."),
    "concat": Look("#0072B2", "p", "|||", ":"),
    "gmu": Look("#009E73", "h", "+++", (0, (5, 1))),
    "lmf": Look("#E69F00", "<", "ooo", (0, (3, 1, 1, 1))),
    "tfn": Look("#F0E442", ">", "OOO", (0, (1, 2))),
    "crossmodal": Look("#666666", "*", "***", (0, (7, 2, 1, 2))),
    "dyfulm": Look("#D55E00", "D", "", "-"),
    "single_a": Look("#0072B2", "o", "///", "--"),
    "single_b": Look("#009E73", "^", "...", "-."),
    "both": Look("#882255", "8", "...\\\\", (0, (6, 1))),
    "late": Look("#56B4E9", "X", "||", (0, (4, 2, 1, 2))),
    "tfidf": Look("#CC79A7", "P", "---", ":"),
    "logistic": Look("#56B4E9", "2", "xxx", (0, (2, 2))),
    "ridge": Look("#56B4E9", "1", "", (0, (1, 1))),
    "constant": Look("#BBBBBB", "|", "", ":"),
    "oracle": Look("#000000", "X", "", "--"),
    "coarse": Look("#0072B2", "o", "", "-"),
    "fine": Look("#D55E00", "D", "///", "--"),
    "intensity": Look("#009E73", "^", "...", ":"),
}
for m in ("text", "audio", "vision"):  # the same modality, seen by a deeper model
    LOOKS[f"{m}_deep"] = LOOKS[m]._replace(marker="H", line=(0, (4, 1, 1, 1)))
    LOOKS[f"{m}_gated"] = LOOKS[m]._replace(marker="d", line=(0, (2, 1)))


COLOURS = ("#332288", "#117733", "#AA4499", "#999933", "#6699CC", "#661100", "#44AA99")
SIGNS = (("8", "//"), (">", "xx"), ("X", "oo"), ("<", "++"), ("p", ".."))
DASHES = ((0, (3, 2)), (0, (8, 2)), (0, (2, 3)), (0, (5, 1, 1, 1, 1, 1)), (0, (9, 3, 2, 3)))


def look(name: str) -> Look:
    """How a modality or model is drawn: by LOOKS, else by its name alone, the same in all runs.

    A name of one's own has one of 175 looks, none of which is in LOOKS.
    """
    at = crc32(name.encode())
    colour, dash = COLOURS[at % len(COLOURS)], DASHES[at // len(COLOURS) % len(DASHES)]
    marker, hatch = SIGNS[at // (len(COLOURS) * len(DASHES)) % len(SIGNS)]
    return LOOKS.get(name) or Look(colour, marker, hatch, dash)


def style() -> None:
    """Set the style of all figures that follow."""
    sizes = {"figure.figsize": (7, 3.6), "figure.dpi": 80, "savefig.dpi": DPI}
    clear = {"hatch.linewidth": 0.6, "axes.titlesize": "medium", "legend.frameon": False}
    font = {"font.family": "DejaVu Sans", "figure.constrained_layout.use": True}
    sns.set_theme(context="notebook", style="whitegrid", rc=sizes | clear | font)


def save(figure: Figure, name: str, run: str, form: str = "png") -> Path:
    """Write figures/<run>/<name>.png, or figures/<name>.png in a grid point's own folder.

    form: "png", or "svg" for drawings. Returns its path. The file appears whole or not at all, and
    equal figures give equal bytes. ValueError for a name or run that is no plain file name.
    """
    name, run = files.plain_name("figure", name), files.plain_name("run", run)
    files.refuse_unknown("form of a figure", [form], FORMS)
    point = files.point_folder()
    path = (point / "figures" if point else files.FIGURES / run) / f"{name}.{form}"
    about = {"format": form, "dpi": DPI, "metadata": {FORMS[form]: None}}
    with plt.rc_context({"svg.hashsalt": "mmlib"}):
        files.write_whole(path, lambda part: figure.savefig(part, **about))
    return path


def intervals(
    table: pd.DataFrame,
    metric: str,
    *,
    reference: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Forest plot: a line for each row of `table` with that metric, in the table's order.

    table: the columns model, variant, metric, mean, ci_low, ci_high of `mmlib.scores.results`, one
    data set and split. reference: name -> value, drawn as labelled vertical lines.
    """
    rows = table[table["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no row of metric {metric!r}; there are {sorted(set(table['metric']))}")
    ax = ax or _axes(height=1.0 + 0.3 * len(rows))
    for y, row in enumerate(rows.itertuples()):
        at = look(row.model)
        ax.plot([row.ci_low, row.ci_high], [y, y], color=at.colour, lw=2.5, ls="-")
        ax.plot(row.mean, y, at.marker, color=at.colour, ms=8, mec="black", mew=0.6)
    for name, value in (reference or {}).items():
        ax.axvline(value, color="black", lw=1, ls=":")
        ax.annotate(name, (value, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    ax.set_yticks(range(len(rows)), [f"{m} ({v})" for m, v in rows[["model", "variant"]].values])
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"{metric}, mean and 95 % interval")
    ax.grid(axis="y", visible=False)
    return ax.figure


def differences(tests: pd.DataFrame, metric: str, ax: Axes | None = None) -> Figure:
    """Forest plot of paired differences, a line a test; the title says which are told apart.

    tests: comparisons of one model with others, as `mmlib.scores.results.comparisons` gives them,
    one data set. A filled marker: told apart by the rule of `mmlib.scores.results.better`.
    """
    rows = tests[tests["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no test of metric {metric!r}; there are {sorted(set(tests['metric']))}")
    winners, model = rows.apply(better, axis=1), rows["a"].iloc[0]
    ax = ax or _axes(height=1.4 + 0.3 * len(rows))
    for y, (row, winner) in enumerate(zip(rows.itertuples(), winners, strict=True)):
        colour = look(row.a if winner == row.a else row.b).colour if winner else "#666666"
        ax.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=2.5, ls="-")
        ax.plot(row.diff, y, "o", color=colour if winner else "white", mec=colour, ms=8)
    ax.axvline(0, color="black", lw=1)
    groups = {"better": rows["b"][winners == model], "worse": rows["b"][winners == rows["b"]]}
    told = [f"{word} than {', '.join(names)}" for word, names in groups.items() if len(names)]
    found = f"{model} is {'; '.join(told) or 'told apart from no other model'}"
    side = "left" if direction(rows.iloc[0]) == "low" else "right"
    ax.set_title("\n".join(wrap(found, 58)), fontsize="medium")
    ax.set_yticks(range(len(rows)), rows["b"])
    ax.set(ylim=(len(rows) - 0.5, -0.5))
    ax.set_xlabel(
        f"{metric} of {model} minus that of the other, 95 % interval\n"
        f"{side}: {model} is better; filled: told apart"
    )
    ax.grid(axis="y", visible=False)
    return ax.figure


def published(lines: pd.DataFrame, metric: str, ax: Axes | None = None) -> Figure:
    """Forest plot of published values (diamonds) beside our means and intervals (dots and lines).

    lines: those of `mmlib.scores.ledger.judged`; drawn are those of the metric that a stored row
    tests. A filled diamond: inside our interval; the title counts them. ValueError if none is.
    """
    rows = lines[(lines["metric"] == metric) & lines[["reported", "mean"]].notna().all(axis=1)]
    if rows.empty:
        raise ValueError(f"no published {metric!r} is tested by a stored row")
    ax = ax or _axes(height=1.6 + 0.35 * len(rows))
    for y, row in enumerate(rows.itertuples()):
        fill = look("daf").colour if row.verdict == "inside" else "white"
        ax.plot([row.ci_low, row.ci_high], [y, y], color="#666666", lw=2.5, ls="-")
        ax.plot(row.mean, y, "o", color="#666666", ms=8)
        ax.plot(row.reported, y, "D", color=fill, mec=look("daf").colour, mew=1.5, ms=8)
    count = f"{rows['verdict'].eq('inside').sum()} of {len(rows)}"
    ax.set_title(f"{count} published values lie inside our intervals", fontsize="medium")
    ax.set_yticks(range(len(rows)), [f"{r.system}\n({r.run})" for r in rows.itertuples()])
    ax.set(ylim=(len(rows) - 0.5, -0.5))
    ax.set_xlabel(
        f"{metric}, {direction({'metric': metric})}er is better\n"
        "diamond: published, filled where inside; dot and line: ours, 95 % interval"
    )
    ax.grid(axis="y", visible=False)
    return ax.figure


def weights(
    alpha: np.ndarray,
    by: np.ndarray,
    modalities: Sequence[str],
    *,
    bins: int | Sequence[float] = 6,
    xlabel: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Mean weight of each modality, stacked, in bins of a variable; below each bar its n.

    alpha (n, m), rows sum to 1; by (n,). bins: how many, of equal counts, or their edges; values
    outside these are left out. ValueError if no value is inside (or `by` is constant).
    """
    cut = (
        pd.qcut(by, bins, duplicates="drop")
        if isinstance(bins, int)
        else pd.cut(by, bins, include_lowest=True)
    )
    groups = pd.DataFrame(np.asarray(alpha), columns=list(modalities)).groupby(cut, observed=True)
    shares, counts = groups.mean(), groups.size()
    if shares.empty:
        raise ValueError(f"no value falls into the bins {bins}: give edges that hold some")
    ax, bottom = ax or _axes(), np.zeros(len(shares))
    for m in modalities:
        drawn = {"color": look(m).colour, "hatch": look(m).hatch, "edgecolor": "white"}
        ax.bar(range(len(shares)), shares[m], bottom=bottom, width=0.85, label=m, **drawn)
        bottom = bottom + shares[m].to_numpy()
    least = np.min(by if isinstance(bins, int) else bins)  # pandas puts the first edge below it
    names = [f"{max(i.left, least):.2g} to\n{i.right:.2g}\nn={n}" for i, n in counts.items()]
    ax.set_xticks(range(len(names)), names, fontsize="small")
    ax.set(ylim=(0, 1), xlabel=xlabel, ylabel="mean weight")
    ax.grid(axis="x", visible=False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(modalities))
    return ax.figure


def curves(
    x: Sequence[float],
    lines: Mapping[str, np.ndarray],
    *,
    xlabel: str = "",
    ylabel: str = "",
    ax: Axes | None = None,
) -> Figure:
    """A line with a band for each name, e.g. a score against the share of a missing modality.

    x (k,); lines[name] (k, 3): mean and the ends of its interval, or (k,) for a bare line.
    """
    ax = ax or _axes()
    for name, values in lines.items():
        at, values = look(name), np.asarray(values, dtype=float)
        mean = values if values.ndim == 1 else values[:, 0]
        some = max(1, len(mean) // 20)  # markers of so many that a line can still be seen
        drawn = {"color": at.colour, "marker": at.marker, "ls": at.line, "markevery": some}
        ax.plot(x, mean, label=name, **drawn)
        if values.ndim == 2:
            ax.fill_between(x, values[:, 1], values[:, 2], color=at.colour, alpha=0.15, lw=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax.figure


def heatmap(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    label: str = "rank correlation",
    limits: tuple[float, float] = (-1.0, 1.0),
    ax: Axes | None = None,
) -> Figure:
    """values (rows, columns) as colours between the limits, each number written in its cell.

    Limits of both signs are to be symmetric: the colours part in their middle. Else they deepen.
    """
    ax = ax or _axes(width=2.2 + 1.0 * len(columns), height=1.2 + 0.5 * len(rows))
    sns.heatmap(
        np.asarray(values, dtype=float), vmin=limits[0], vmax=limits[1],
        cmap="PuOr" if limits[0] < 0 else "Blues", annot=True, fmt=".2f", linewidths=1,
        xticklabels=columns, yticklabels=rows, ax=ax, cbar_kws={"label": label},
    )  # fmt: skip
    ax.tick_params(axis="y", rotation=0)
    return ax.figure


def distribution(
    values: Mapping[str, np.ndarray],
    *,
    bins: int | Sequence[float] = 20,
    limits: tuple[float, float] = (0, 1),
    band: tuple[float, float] | None = None,
    xlabel: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Outlined histograms of several arrays of any shape, as shares, e.g. of gate values by seed.

    bins: how many between the limits, or their edges; band: a stretch of the x axis to shade.
    """
    ax = ax or _axes()
    if band is not None:
        ax.axvspan(*band, color="black", alpha=0.1, lw=0)
    for name, numbers in values.items():
        counts, edges = np.histogram(np.ravel(numbers), bins, limits)
        at = look(name)
        ax.stairs(counts / max(1, np.size(numbers)), edges, color=at.colour, ls=at.line, lw=1.8,
                  label=name)  # fmt: skip
    ax.set(xlim=limits, xlabel=xlabel, ylabel="share")
    ax.legend()
    return ax.figure


def learning(
    curves: Mapping[str, np.ndarray],
    *,
    best_epoch: Sequence[int] | None = None,
    ylabel: str = "mean absolute error",
    ax: Axes | None = None,
) -> Figure:
    """Median over seeds and the whole range, e.g. of "train" and "valid", by epoch from 1.

    curves[name] (epochs, s), as `mmlib.daf.train.Fit.curves`, at most three (ValueError);
    best_epoch (s,), counted from 0, is marked on the axis.
    """
    ax = ax or _axes()
    styles = [(LOOKS["text"], "--"), (LOOKS["daf"], "-"), (LOOKS["audio"], ":")][: len(curves)]
    for (name, values), (at, line) in zip(curves.items(), styles, strict=True):
        epoch = np.arange(1, len(values) + 1)
        ax.plot(epoch, np.median(values, axis=1), color=at.colour, ls=line, label=name)
        ax.fill_between(epoch, values.min(1), values.max(1), color=at.colour, alpha=0.15, lw=0)
    if best_epoch is not None:
        foot = np.zeros(len(best_epoch))
        ax.plot(np.asarray(best_epoch) + 1, foot, "|", color="black", ms=12, mew=1.5,
                transform=ax.get_xaxis_transform(), clip_on=False, label="best epoch")  # fmt: skip
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.legend()
    return ax.figure


def _axes(width: float = 7, height: float = 3.6) -> Axes:
    return plt.subplots(figsize=(width, height))[1]
