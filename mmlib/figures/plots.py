"""Figures in one style: each function takes arrays or rows and returns a figure; `save` writes it.

Stored names appear in words (`label`). Functions draw into `ax` if it is given, else into a new
figure.
Axes: k points on the x axis, n utterances, m modality, s seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib import files
from mmlib.figures.labels import MODALITIES, label, measure, of_row
from mmlib.figures.labels import labelled as labelled  # notebooks say `plots.labelled(table)`
from mmlib.figures.labels import source as source
from mmlib.figures.looks import LOOKS, look
from mmlib.scores.metrics import METRICS, NATURAL
from mmlib.scores.results import better, direction

DPI = 150
FORMS = {"png": "Software", "svg": "Date"}  # and the entry that changes from file to file
WIDE = 54  # characters of a line of a title


def style() -> None:
    """Set the style of all later figures."""
    sizes = {"figure.figsize": (7, 3.6), "figure.dpi": 80, "savefig.dpi": DPI}
    clear = {"hatch.linewidth": 0.6, "axes.titlesize": "medium", "legend.frameon": False}
    font = {"font.family": "DejaVu Sans", "figure.constrained_layout.use": True}
    sns.set_theme(context="notebook", style="whitegrid", rc=sizes | clear | font)


def save(figure: Figure, name: str, run: str, form: str = "png") -> Path:
    """Write figures/<run>/<name>.png and return its path; a grid point has its own folder.

    form: "png", or "svg" for drawings. The file appears whole or not at all, and equal figures give
    equal bytes. ValueError for a name or run that is no plain file name.
    """
    name, run = files.plain_name("figure", name), files.plain_name("run", run)
    files.refuse_unknown("form of a figure", [form], FORMS)
    point = files.point_folder()
    path = (point / "figures" if point else files.FIGURES / run) / f"{name}.{form}"
    about = {"format": form, "dpi": DPI, "metadata": {FORMS[form]: None}}
    for ax in figure.axes:
        ax.title.set_wrap(True)  # else a title wider than the figure is cut off
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
    """Draw the mean and interval of each row with that metric, in the table's order.

    table: the columns model, variant, metric, mean, ci_low, ci_high of `mmlib.scores.results`, one
    data set and split. reference: name -> value, drawn as labelled vertical lines. ValueError if no
    row has the metric.
    """
    rows = table[table["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no row of metric {metric!r}; there are {sorted(set(table['metric']))}")
    ax = ax or _axes(8.6, height=1.4 + 0.3 * len(rows))
    several = {v for v in rows["variant"] if len(v) > 1}
    usual = several.pop() if len(several) == 1 else "full"
    names = [of_row(*one, usual) for one in rows[["model", "variant"]].values]
    for y, row in enumerate(rows.itertuples()):
        at = look(row.model)
        ax.plot([row.ci_low, row.ci_high], [y, y], color=at.colour, lw=2.5, ls="-")
        ax.plot(row.mean, y, at.marker, color=at.colour, ms=8, mec="black", mew=0.6)
    for name, value in (reference or {}).items():
        ax.axvline(value, color="black", lw=1, ls=":")
        ax.annotate(f" {name}", (value, 1), xycoords=("data", "axes fraction"), va="top")
    if end := _end(metric):
        best = rows["mean"].argmin() if end == "low" else rows["mean"].argmax()
        ax.set_title(_wrapped(f"Best mean: {names[best]}, {rows['mean'].iloc[best]:.3f}"))
    ax.set_yticks(range(len(rows)), names)
    of_what = "" if usual == "full" else f"; fusion: {label(usual)}"
    ax.set(ylim=(len(rows) - 0.5, -1.2 if reference else -0.5))
    ax.set_xlabel(f"{_directed(metric)}\nmean and 95 % interval{of_what}")
    ax.grid(axis="y", visible=False)
    return ax.figure


def differences(tests: pd.DataFrame, metric: str, ax: Axes | None = None) -> Figure:
    """Draw paired differences, one line a test; the title says which models are told apart.

    tests: comparisons of one model with others, as `mmlib.scores.results.comparisons` gives them,
    one data set. A filled marker: told apart by the rule of `mmlib.scores.results.better`.
    ValueError if no test has the metric.
    """
    rows = tests[tests["metric"] == metric]
    if rows.empty:
        raise ValueError(f"no test of metric {metric!r}; there are {sorted(set(tests['metric']))}")
    winners, model = rows.apply(better, axis=1), rows["a"].iloc[0]
    ours = label(model)
    ax = ax or _axes(8.6, height=1.8 + 0.3 * len(rows))
    for y, (row, winner) in enumerate(zip(rows.itertuples(), winners, strict=True)):
        colour = look(row.a if winner == row.a else row.b).colour if winner else "#666666"
        ax.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=2.5, ls="-")
        ax.plot(row.diff, y, "o", color=colour if winner else "white", mec=colour, ms=8)
    ax.axvline(0, color="black", lw=1)
    groups = {"better": rows["b"][winners == model], "worse": rows["b"][winners == rows["b"]]}
    told = [f"{word} than {_few(names, len(rows))}" for word, names in groups.items() if len(names)]
    found = f"{ours} is {'; '.join(told) or 'told apart from no other model'}"
    side = "left" if direction(rows.iloc[0]) == "low" else "right"
    ax.set_title(_wrapped(found))
    ax.set_yticks(range(len(rows)), rows["b"].map(label))
    ax.set(ylim=(len(rows) - 0.5, -0.5))
    ax.set_xlabel(
        f"{_wrapped(f'{measure(metric)}: {ours} minus the other')}\n"
        f"95 % interval; filled: told apart\n{_wrapped(f'{side}: {ours} is better')}"
    )
    ax.grid(axis="y", visible=False)
    return ax.figure


def published(lines: pd.DataFrame, metric: str, ax: Axes | None = None) -> Figure:
    """Draw published values (diamonds) beside our means (dots) and intervals (lines).

    lines: those of `mmlib.scores.ledger.judged`; only those of the metric that a stored row tests
    are drawn. Filled diamonds are inside our interval, and counted. ValueError without a line.
    """
    rows = lines[(lines["metric"] == metric) & lines[["reported", "mean"]].notna().all(axis=1)]
    if rows.empty:
        raise ValueError(f"no published {metric!r} is tested by a stored row")
    ax = ax or _axes(8.6, height=1.6 + 0.35 * len(rows))
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
        f"{_directed(metric)}\n"
        "diamond: published, filled where inside; dot, line: ours, 95 % interval"
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
    """Draw each modality's mean weight, stacked, in bins of a variable, with n below each bar.

    alpha (n, m), rows sum to 1; by (n,). bins: their number (of equal counts) or their edges;
    values outside the edges are left out. ValueError if no value is inside or `by` is constant.
    """
    by = np.asarray(by)
    cut = (
        pd.qcut(by, bins, duplicates="drop")
        if np.ndim(bins) == 0
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
    least = np.nanmin(by if np.ndim(bins) == 0 else bins)
    ends = zip(stretches(counts.index, least), counts, strict=True)
    names = [stretch.replace("to ", "to\n") + f"\nn={n}" for stretch, n in ends]
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
    """Draw a line for each name, with a band, e.g. a score by the share of a missing modality.

    x (k,); lines[name] (k, 3): mean and the ends of its interval, or (k,) for a line without band.
    """
    ax = ax or _axes()
    for name, values in lines.items():
        at, values = look(name), np.asarray(values, dtype=float)
        mean = values if values.ndim == 1 else values[:, 0]
        some = max(1, len(mean) // 20)  # markers of so many that a line can still be seen
        drawn = {"color": at.colour, "marker": at.marker, "ls": at.line, "markevery": some}
        ax.plot(x, mean, label=name if name in MODALITIES.values() else label(name), **drawn)
        if values.ndim == 2:
            ax.fill_between(x, values[:, 1], values[:, 2], color=at.colour, alpha=0.15, lw=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(**({"loc": "center left", "bbox_to_anchor": (1, 0.5)} if len(lines) > 3 else {}))
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
    """Draw values (rows, columns) as colours between the limits, each number in its cell.

    Limits of both signs should be symmetric: white is their middle. Else the colours deepen from
    the lower limit to the upper.
    """
    ax = ax or _axes(width=max(5.5, 2.2 + 1.0 * len(columns)), height=1.2 + 0.5 * len(rows))
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
    """Draw outlined histograms of arrays of any shape, as shares, e.g. of gate values by seed.

    bins: their number between the limits of the x axis, or their edges; band: a part to shade.
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
    """Draw the median over seeds and the whole range by epoch, e.g. of "train" and "valid".

    curves[name] (epochs, s), as `mmlib.daf.train.Fit.curves`; best_epoch (s,), counted from 0, is
    marked on the axis; drawn epochs begin at 1. ValueError for more than three curves.
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


def stretches(bins: Sequence[pd.Interval], least: float) -> list[str]:
    """Bins in words: "0 to 0.25"; pandas puts the first edge a little below the least value."""
    ends = [(max(i.left, least) + 0.0, i.right) for i in bins]
    edges = {edge for both in ends for edge in both}
    digits = max(2, len(f"{max(map(abs, edges), default=0):.0f}"))  # all of whole numbers
    while digits < 9 and len({f"{edge:.{digits}g}" for edge in edges}) < len(edges):
        digits += 1  # until all edges differ
    return [f"{a:.{digits}g} to {b:.{digits}g}" for a, b in ends]


def _few(names: pd.Series, n: int) -> str:
    """Up to three names in words, or how many of the n they are."""
    return " and ".join(map(label, names)) if len(names) <= 3 else f"{len(names)} of {n} models"


def _directed(metric: str) -> str:
    """A metric in words, and which direction is better if it is known."""
    return measure(metric) + (f", {_end(metric)}er is better" if _end(metric) else "")


def _end(metric: str) -> str:
    """Which end is better, "low" or "high"; "" for a metric that another process added."""
    return direction({"metric": metric}) if metric.removesuffix(NATURAL) in METRICS else ""


def _wrapped(title: str) -> str:
    return "\n".join(wrap(title, WIDE))


def _axes(width: float = 7, height: float = 3.6) -> Axes:
    return plt.subplots(figsize=(width, height))[1]
