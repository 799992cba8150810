"""Figures under one style: arrays in, a figure out, one function that writes it.

Colours are those of Okabe and Ito (distinct to the colour-blind); each name also has a marker, a
hatch and a line style of its own, so that nothing is lost in grey. Functions draw into `ax` where
one is given, else into a new figure, and return the figure.
Axes: k points on the x axis, n utterances, m modality, s seed.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.files import FIGURES, point_folder

DPI = 150
READABLE, ACROSS = 150, 180  # upright words, and letters in a row, that fit under a recording


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
    "tfidf": Look("#CC79A7", "P", "---", ":"),
    "constant": Look("#BBBBBB", "|", "", ":"),
    "oracle": Look("#000000", "X", "", "--"),
    "coarse": Look("#0072B2", "o", "", "-"),
    "fine": Look("#D55E00", "D", "///", "--"),
    "intensity": Look("#009E73", "^", "...", ":"),
}


def look(name: str, i: int = 0) -> Look:
    """How `name` (a modality or a model) is drawn; a name not in LOOKS takes the i-th look."""
    return LOOKS.get(name) or list(LOOKS.values())[i % len(LOOKS)]


def style() -> None:
    """Set the style of all figures that follow."""
    sizes = {"figure.figsize": (7, 3.6), "figure.dpi": 80, "savefig.dpi": DPI}
    clear = {"hatch.linewidth": 0.6, "axes.titlesize": "medium", "legend.frameon": False}
    font = {"font.family": "DejaVu Sans", "figure.constrained_layout.use": True}
    sns.set_theme(context="notebook", style="whitegrid", rc=sizes | clear | font)


def save(figure: Figure, name: str, run: str) -> Path:
    """Write figures/<run>/<name>.png, or figures/<name>.png in a grid point's own folder.

    Returns its path. The file appears whole or not at all, and equal figures give equal bytes.
    ValueError for a name or run that is no plain file name.
    """
    for what, given in (("figure", name), ("run", run)):
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", given):
            raise ValueError(f"{what} {given!r}: use letters, digits, '-', '_' and '.' only")
    own = point_folder()
    path = (own / "figures" if own else FIGURES / run) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
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
    names = [f"{i.left:.2g} to\n{i.right:.2g}\nn={n}" for i, n in counts.items()]
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
    for i, (name, values) in enumerate(lines.items()):
        at, values = look(name, i), np.asarray(values, dtype=float)
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
    for i, (name, numbers) in enumerate(values.items()):
        counts, edges = np.histogram(np.ravel(numbers), bins, limits)
        at = look(name, i)
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


def recording(
    wave: np.ndarray,
    rate: int,
    pitch: Mapping[str, tuple[np.ndarray, np.ndarray]],
    frames: tuple[np.ndarray, np.ndarray, Sequence[str]],
    units: tuple[np.ndarray, np.ndarray, Sequence[str]] | None,
    words: Sequence[tuple[str, float, float]],
) -> Figure:
    """A recording on one time axis: wave, pitch, features, action units and words.

    wave (n,); pitch[name]: time (t,) and Hz, 0 where unvoiced; frames and units: time (t,), values
    (t, d) and names (d,), drawn standardised, NaN white; words: text, start and end in seconds,
    written only where there is room for them.
    """
    heights = [1, 1.2, 1.6, *([1.6] * (units is not None)), 1]
    figure, axes = plt.subplots(
        len(heights), sharex=True, figsize=(9, 1.4 * sum(heights)), height_ratios=heights
    )
    axes[0].plot(np.arange(len(wave)) / rate, wave, color=look("audio").colour, lw=0.3)
    axes[0].set_ylabel("amplitude")
    for i, (name, (time, hertz)) in enumerate(pitch.items()):
        drawn = np.where(hertz > 0, hertz, np.nan)
        axes[1].plot(time, drawn, ("-", "k--")[i % 2], lw=1.5, label=name)
    axes[1].set_ylabel("F0 (Hz)")
    axes[1].legend(ncols=len(pitch), fontsize="small")
    for ax, table, what in zip(axes[2:-1], (frames, units), ("sound", "face"), strict=False):
        _strip(ax, *table)
        ax.set_title(f"{what}: sd from each row's mean, -3 orange to 3 purple", fontsize="small")
    for i, (text, start, end) in enumerate(words):
        axes[-1].axvspan(start, end, color=look("text").colour, alpha=0.25, lw=0)
        cue = " " in text
        if cue:  # as far as it fits in
            text = text[: int(ACROSS * (end - start) * rate / len(wave))]
        if cue or len(words) <= READABLE:  # in two rows, so that neighbours do not meet
            axes[-1].text((start + end) / 2, (0.75, 0.25)[i % 2], text, ha="center", va="center",
                          fontsize=6, rotation=0 if cue else 90, clip_on=True)  # fmt: skip
    axes[-1].set(yticks=[], ylim=(0, 1), xlabel="seconds", ylabel="words")
    figure.align_ylabels(axes)
    axes[-1].grid(visible=False)
    return figure


def _strip(ax: Axes, time: np.ndarray, values: np.ndarray, names: Sequence[str]) -> None:
    """Standardised columns (t, d) as colours over time."""
    z = (values - np.nanmean(values, axis=0)) / (np.nanstd(values, axis=0) + 1e-9)
    ax.pcolormesh(time, np.arange(len(names)), z.T, cmap="PuOr", vmin=-3, vmax=3, rasterized=True)
    shown = np.unique(np.linspace(0, len(names) - 1, 8).astype(int))
    ax.set_yticks(shown, [names[i] for i in shown], fontsize="x-small")
    ax.grid(visible=False)


def verdict(
    start: np.ndarray,
    end: np.ndarray,
    score: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    weights: Mapping[str, np.ndarray],
    without: Mapping[str, np.ndarray],
    *,
    note: str = "",
    interval: str = "interval",
) -> Figure:
    """Sentiment over time with its interval, the weights as a stacked band, and what is left
    without each modality.

    start and end (n,) in seconds; score, low and high (n,); weights[m] (n,) sum to 1; without[m]
    (n,), NaN where there is no such score. note: written above the figure; interval: what low and
    high are.
    """
    figure, axes = plt.subplots(3, sharex=True, figsize=(9, 6.5), height_ratios=[1.4, 1, 1.4])
    width, fine = end - start, 0.5 * (len(score) < 60)  # an edge would hide the narrow bars of many
    for ax, name in ((axes[0], "score"), (axes[2], "with all it has")):
        ax.hlines(score, start, end, color=look("daf").colour, lw=2.5, label=name)
        ax.axhline(0, color="black", lw=0.8)
    axes[0].bar(start, high - low, width, low, align="edge", color=look("daf").colour, alpha=0.2,
                lw=0, label=interval)  # fmt: skip
    bottom = np.zeros(len(score))
    for m, share in weights.items():
        axes[1].bar(start, share, width, bottom, align="edge", color=look(m).colour,
                    hatch=look(m).hatch * bool(fine), edgecolor="white", lw=fine,
                    label=m)  # fmt: skip
        bottom = bottom + share
    for i, (m, left) in enumerate(without.items()):  # side by side, in the order of the weights
        axes[2].plot(start + width * (i + 1) / (len(without) + 1), left, look(m).marker,
                     color=look(m).colour, ms=7 if fine else 3, label=f"without {m}")  # fmt: skip
    most = max(3.2, np.abs([low, high]).max() + 0.2)
    axes[0].set(ylabel="sentiment, -3 to 3", ylim=(-most, most), title=note)
    axes[1].set(ylabel="weight", ylim=(0, 1))
    axes[2].set(ylabel="sentiment, -3 to 3", xlabel="seconds")
    for ax in axes:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.align_ylabels(axes)
    return figure


def _axes(width: float = 7, height: float = 3.6) -> Axes:
    return plt.subplots(figsize=(width, height))[1]
