"""Draw one utterance or one review: what a model predicted, and the truth.

Axes: m modality.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap as Shades
from matplotlib.figure import Figure

from mmlib.figures.plots import look

LINE = 60  # characters of a line of words
BLUE_TO_ORANGE = Shades.from_list("words", ["#75b3d5", "white", "#e8a875"])  # pale: words are black


def utterance(
    modalities: Sequence[str],
    weights: np.ndarray,
    truth: np.ndarray,
    opinions: np.ndarray,
    score: float,
    label: float,
) -> Figure:
    """Draw DAF's weights beside the ideal ones, and the opinions that make its score.

    weights (m,) and truth (m,), the ideal weights of generated data, sum to 1. opinions (m,), score
    and label are on the scale of the labels.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 2.6), sharey=True)
    for y, m in enumerate(modalities):
        at = look(m)
        left.barh(y - 0.19, weights[y], 0.36, color=at.colour, ec="black", lw=0.6)
        left.barh(y + 0.19, truth[y], 0.36, color="white", ec=at.colour, hatch="///")
        right.plot(opinions[y], y, at.marker, color=at.colour, ms=9, mec="black", mew=0.6)
    right.axvline(score, color="black", lw=1.6, label=f"DAF's score {score:+.1f}")
    right.axvline(label, color="black", lw=1.6, ls=":", label=f"label {label:+.1f}")
    left.set(
        xlabel="weight: DAF's (filled),\nideal, known for generated data (hatched)", xlim=(0, 1)
    )
    reach = max(3.0, np.nanmax(np.abs([*opinions, score, label]))) + 0.2
    right.set(xlabel="sentiment by each modality alone", xlim=(-reach, reach))
    left.set_yticks(range(len(modalities)), modalities)
    left.invert_yaxis()
    right.legend(loc="upper center", bbox_to_anchor=(0.5, 1.25), ncols=2, frameon=False)
    return figure


def words(
    texts: Sequence[str], values: np.ndarray, low: str, high: str, ax: Axes | None = None,
    *, zero: bool = False,
) -> Figure:  # fmt: skip
    """Draw words in reading order, orange where their value is high, blue where it is low.

    values (words,); low, high: what the two ends mean. White is 0 if values have both signs or
    `zero` is set, else the middle of their range.
    """
    lines = _lines(texts)
    axes = ax or plt.subplots(figsize=(8.6, 0.7 + 0.36 * len(lines)))[1]
    zero = zero or values.min() < 0 < values.max()
    middle = 0.0 if zero else (values.min() + values.max()) / 2
    reach = np.abs(values - middle).max() or 1.0
    shades = BLUE_TO_ORANGE(0.5 + 0.5 * (values - middle) / reach)  # (words, 4)
    for y, line in enumerate(lines):
        x = 0
        for i in line:
            box = {"facecolor": shades[i], "edgecolor": "none", "pad": 2}
            how = {"family": "monospace", "fontsize": 10, "va": "center", "bbox": box}
            axes.text(x, -y, texts[i], parse_math=False, **how)  # $$ is a price
            x += len(texts[i]) + 1.2
    axes.set(xlim=(0, 1.25 * LINE), ylim=(0.6 - len(lines), 0.6))
    ends = {f"orange: {high} (to {values.max():.2f})": values.max() > middle or not zero,
            f"blue: {low} (to {values.min():.2f})": values.min() < middle or not zero}  # fmt: skip
    axes.set_title("; ".join(words for words, is_there in ends.items() if is_there))
    axes.axis("off")
    return axes.figure


def _lines(texts: Sequence[str]) -> list[list[int]]:
    """Indices of the words of each line."""
    lines: list[list[int]] = [[]]
    for i, word in enumerate(texts):
        if sum(len(texts[j]) + 1 for j in lines[-1]) + len(word) > LINE:
            lines.append([])
        lines[-1].append(i)
    return lines


def review(
    texts: Sequence[str], effects: np.ndarray, heads: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Draw a review's words by their effect on the stars, and below them what each head says.

    effects (words,); heads: for each task (coarse, fine, intensity) a number in [0, 1] by name.
    """
    height = 0.5 + 0.36 * len(_lines(texts))
    figure, axes = plt.subplot_mosaic(
        [["words"] * len(heads), list(heads)], figsize=(8.6, height + 2.2),
        height_ratios=[height, 2.2], width_ratios=[len(bars) + 1 for bars in heads.values()],
    )  # fmt: skip
    words(texts, effects, "lowered the stars", "raised the stars", axes["words"], zero=True)
    for task, bars in heads.items():
        at, ax = look(task), axes[task]
        drawn = ax.bar(list(bars), list(bars.values()), color=at.colour, hatch=at.hatch, ec="white")
        ax.bar_label(drawn, fmt="%.2f", fontsize="small")
        ax.set(ylim=(0, 1.15), title=task, yticks=[])
        ax.grid(visible=False)
    return figure
