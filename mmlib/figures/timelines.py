"""Figures along a recording: what was extracted from it, and what a model predicts.

Axes: n samples or utterances, t frames, d features, m modality.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmlib.figures.plots import look

READABLE, ACROSS = 150, 180  # upright words, and letters in a row, that fit under a recording


def recording(
    wave: np.ndarray,
    rate: int,
    pitch: Mapping[str, tuple[np.ndarray, np.ndarray]],
    frames: tuple[np.ndarray, np.ndarray, Sequence[str]],
    units: tuple[np.ndarray, np.ndarray, Sequence[str]] | None,
    words: Sequence[tuple[str, float, float]],
) -> Figure:
    """Draw a recording over time: wave, pitch, features, action units and words, one below another.

    wave (n,): samples at `rate` Hz. pitch[name]: time in seconds and frequency in Hz, both
    (t,); 0 Hz is unvoiced. frames and units: time (t,), values (t, d) and names (d,). A feature is
    drawn in standard deviations from its mean, NaN in white. words: text, start and end in seconds;
    a word is written if it fits.
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
                          fontsize=6, rotation=0 if cue else 90, clip_on=True,
                          parse_math=False)  # fmt: skip
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


def sentiment(
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
    """Draw sentiment over time: score and interval, weights, and the score without each modality.

    start and end (n,) in seconds. score, low and high (n,) on the scale from -3 to 3. weights[m]
    (n,) sum to 1 over m. without[m] (n,): the score if m is taken away, NaN if nothing is left.
    note: the title. interval: the words for low and high in the legend.
    """
    figure, axes = plt.subplots(3, sharex=True, figsize=(9, 6.5), height_ratios=[1.4, 1, 1.4])
    width, fine = end - start, 0.5 * (len(score) < 60)  # an edge would hide the narrow bars of many
    for ax, name in ((axes[0], "score"), (axes[2], "with all it has")):
        ax.hlines(score, start, end, color=look("daf").colour, lw=2.5, label=name)
        ax.axhline(0, color="black", lw=0.8)
    axes[0].bar(start, high - low, width, low, align="edge", color=look("daf").colour, alpha=0.2,
                lw=0, label=interval)  # fmt: skip
    bottom = np.zeros(len(score))
    for m, weight in weights.items():
        axes[1].bar(start, weight, width, bottom, align="edge", color=look(m).colour,
                    hatch=look(m).hatch * bool(fine), edgecolor="white", lw=fine,
                    label=m)  # fmt: skip
        bottom = bottom + weight
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
