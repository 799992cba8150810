"""The papers' models as pictures, drawn by code: boxes, and arrows between them.

Grey is data and what is frozen, blue DyFuLM's, orange DAF's, white the output. Coordinates are
shares of the picture's width and height.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

GREY, BLUE, ORANGE, WHITE = "#E4E4E4", "#BFE0F5", "#F9D9A8", "#FFFFFF"
TALL, FONT = 0.16, 9  # a box's height, as a share; points


class Box(NamedTuple):
    """A box's middle, its text, fill and width."""

    x: float
    y: float
    text: str
    fill: str
    width: float = 0.16


class Arrow(NamedTuple):
    """From the right side of one box to the left side of another; a bold one is what is new."""

    start: str
    end: str
    bold: bool = False


def draw(boxes: Mapping[str, Box], arrows: Sequence[Arrow], height: float = 3.4) -> Figure:
    """A picture of named boxes and arrows between them; height in inches, 8.6 wide."""
    figure, axes = plt.subplots(figsize=(8.6, height))
    tall = max(TALL, 0.45 / height)  # room for two lines of text
    for x, y, text, fill, width in boxes.values():
        corner = (x - width / 2, y - tall / 2)
        shape = FancyBboxPatch(
            corner, width, tall, "round,pad=0,rounding_size=0.015", fc=fill, ec="black", lw=0.8
        )
        axes.add_patch(shape)
        axes.text(x, y, text, ha="center", va="center", fontsize=FONT)
    for start, end, bold in arrows:
        a, b = boxes[start], boxes[end]
        line = {"arrowstyle": "-|>", "lw": 2.4 if bold else 0.9, "color": "black"}
        ends = (b.x - b.width / 2, b.y), (a.x + a.width / 2, a.y)
        axes.annotate("", *ends, arrowprops=line | {"shrinkA": 0, "shrinkB": 1})
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    return figure


def daf() -> Figure:
    """DAF: frozen encoders, one embedding per modality, a scorer that weighs them, one score."""
    boxes = {
        "words": Box(0.06, 0.85, "words", GREY, 0.11),
        "voice": Box(0.06, 0.5, "voice", GREY, 0.11),
        "face": Box(0.06, 0.15, "face", GREY, 0.11),
        "bert": Box(0.23, 0.85, "text encoder\n(frozen)", GREY, 0.15),
        "covarep": Box(0.23, 0.5, "COVAREP\n(frozen)", GREY, 0.15),
        "facet": Box(0.23, 0.15, "FACET\n(frozen)", GREY, 0.15),
        "h_t": Box(0.43, 0.85, "$h_{text}$", ORANGE, 0.1),
        "h_a": Box(0.43, 0.5, "$h_{audio}$", ORANGE, 0.1),
        "h_v": Box(0.43, 0.15, "$h_{vision}$", ORANGE, 0.1),
        "scorer": Box(0.63, 0.85, "scorer: weights $\\alpha_m$\nof this utterance", ORANGE, 0.2),
        "z": Box(0.74, 0.33, "fusion\n$z = \\sum_m \\alpha_m h_m$", ORANGE, 0.17),
        "y": Box(0.93, 0.33, "sentiment\n$-3 ... 3$", WHITE, 0.12),
    }
    parts = (("words", "bert", "h_t"), ("voice", "covarep", "h_a"), ("face", "facet", "h_v"))
    arrows = [Arrow(a, b) for part in parts for a, b in pairwise(part)]
    arrows += [Arrow(h, end) for h in ("h_t", "h_a", "h_v") for end in ("scorer", "z")]
    figure = draw(boxes, [*arrows, Arrow("z", "y")])
    down = {"arrowstyle": "-|>", "lw": 2.4, "color": "black", "shrinkA": 0, "shrinkB": 1}
    figure.axes[0].annotate("", (0.72, 0.41), (0.69, 0.77), arrowprops=down)
    return figure


def dyfulm() -> Figure:
    """DyFuLM: two encoders, a mixture of each one's layers, a gate, heads that guide a third."""
    boxes = {
        "text": Box(0.06, 0.5, "review", GREY, 0.11),
        "a": Box(0.22, 0.78, "encoder A:\nall its layers", GREY, 0.14),
        "b": Box(0.22, 0.22, "encoder B:\nall its layers", GREY, 0.14),
        "h_A": Box(0.41, 0.78, "BiLSTM mixes\nlayers: $h_A$", BLUE, 0.15),
        "c_B": Box(0.41, 0.22, "BiLSTM mixes\nlayers: $c_B$", BLUE, 0.15),
        "gate": Box(0.62, 0.5, "gate $g$\n$h = g h_A + (1-g) c_B$", BLUE, 0.21),
        "coarse": Box(0.8, 0.86, "3 classes", BLUE, 0.12),
        "intensity": Box(0.8, 0.62, "intensity", BLUE, 0.12),
        "guide": Box(0.93, 0.4, "guidance", BLUE, 0.12),
        "fine": Box(0.8, 0.14, "5 classes", BLUE, 0.12),
    }
    chain = ("text", "a"), ("text", "b"), ("a", "h_A"), ("b", "c_B"), ("h_A", "gate")
    chain += ("c_B", "gate"), ("gate", "coarse"), ("gate", "intensity"), ("gate", "fine")
    figure = draw(boxes, [Arrow(*pair) for pair in chain])
    line = {"arrowstyle": "-|>", "lw": 0.9, "color": "black", "shrinkA": 0, "shrinkB": 1}
    for start, end in (((0.86, 0.86), (0.95, 0.48)), ((0.86, 0.62), (0.91, 0.48))):
        figure.axes[0].annotate("", end, start, arrowprops=line)
    figure.axes[0].annotate("", (0.86, 0.14), (0.93, 0.32), arrowprops=line)
    return figure


def both() -> Figure:
    """DyFuLM's text state among the modalities that DAF weighs."""
    boxes = {
        "a": Box(0.09, 0.9, "text, encoder A", GREY),
        "b": Box(0.09, 0.66, "text, encoder B", GREY),
        "audio": Box(0.09, 0.36, "audio", GREY),
        "vision": Box(0.09, 0.12, "vision", GREY),
        "h_A": Box(0.28, 0.9, "layers mixed: $h_A$", BLUE),
        "c_B": Box(0.28, 0.66, "layers mixed: $c_B$", BLUE),
        "gate": Box(0.48, 0.78, "gate: $h$, tanh", BLUE),
        "h_a": Box(0.48, 0.36, "$h_{audio}$", ORANGE),
        "h_v": Box(0.48, 0.12, "$h_{vision}$", ORANGE),
        "z": Box(0.69, 0.5, "weights $\\alpha_m$\n$z = \\sum_m \\alpha_m h_m$", ORANGE, 0.17),
        "coarse": Box(0.91, 0.82, "3 classes", BLUE),
        "intensity": Box(0.91, 0.5, "intensity", BLUE),
        "fine": Box(0.91, 0.18, "5 classes, guided", BLUE),
    }
    chain = ("a", "h_A"), ("b", "c_B"), ("h_A", "gate"), ("c_B", "gate"), ("audio", "h_a")
    chain += ("vision", "h_v"), ("h_a", "z"), ("h_v", "z"), ("z", "coarse"), ("z", "intensity")
    arrows = [Arrow(*pair) for pair in (*chain, ("z", "fine"))]
    return draw(boxes, [*arrows, Arrow("gate", "z", bold=True)], height=3.8)
