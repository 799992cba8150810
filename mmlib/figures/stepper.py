"""Show utterances or reviews one at a time, with a slider and their sound.

A slider needs a person at it. papermill and nbval have none, so there a few figures are drawn.
"""

from collections.abc import Callable, Sequence

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Audio, display
from matplotlib.figure import Figure

from mmlib.files import is_watched


def browse(
    titles: Sequence[str],
    draw: Callable[[int], Figure],
    sound: Callable[[int], np.ndarray] | None = None,
    sample_rate: int = 0,
    still: Sequence[int] = (0,),
) -> None:
    """Show one utterance or review at a time: its figure, and a player if it has sound.

    titles (n,). draw(i) returns the figure of number i. sound(i) returns its samples in [-1, 1], at
    `sample_rate` Hz. still: the numbers that are drawn where there is no slider.
    """
    if not is_watched():
        for i in still:
            display(draw(i))
            plt.close("all")
        return
    choice = widgets.SelectionSlider(
        options=[(title, i) for i, title in enumerate(titles)],
        continuous_update=False,
        layout=widgets.Layout(width="70%"),
    )

    def show(i: int) -> None:
        display(draw(i))
        plt.close("all")
        if sound is not None:
            display(Audio(sound(i), rate=sample_rate, normalize=False))

    def step(by: int) -> Callable:
        def go(_) -> None:
            choice.index = (choice.index + by) % len(titles)

        return go

    buttons = [widgets.Button(description=mark) for mark in ("◀", "▶")]
    for button, by in zip(buttons, (-1, 1), strict=True):
        button.on_click(step(by))
    row = widgets.HBox([buttons[0], choice, buttons[1]])
    display(widgets.VBox([row, widgets.interactive_output(show, {"i": choice})]))
