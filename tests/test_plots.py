"""Figures: what is drawn is what was given, names are told apart in grey, files are whole."""

from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from mmlib import files
from mmlib.daf import fusion
from mmlib.figures import architecture, cards, labels, plots, timelines
from mmlib.scores import results, runs
from mmlib.scores.metrics import METRICS

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {"model": ["text", "daf"], "variant": ["t", "ta"], "metric": "mae", "mean": [0.9, 0.8],
     "ci_low": [0.85, 0.7], "ci_high": [0.95, 0.9]}
)  # fmt: skip
ALPHA = RNG.dirichlet([1, 2, 3], 200)
BY = RNG.normal(size=200)
MODALITIES = ("text", "audio", "vision")
TASKS = ("coarse", "fine", "intensity")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FIGURES", tmp_path)
    with plt.rc_context():
        plots.style()
        yield tmp_path
    plt.close("all")


def comparisons_of(*rows):
    """Comparisons of DAF: b, diff, half width, p."""
    return pd.DataFrame(
        {"a": "daf", "b": b, "metric": "mae", "diff": d, "ci_low": d - h, "ci_high": d + h,
         "p_holm": p} for b, d, h, p in rows
    )  # fmt: skip


TESTS = comparisons_of(
    ("text", -0.1, 0.02, 0.01), ("concat", 0.1, 0.02, 0.01), ("gmu", -0.1, 0.2, 0.4)
)


LEDGER = pd.DataFrame(
    {"system": ["MulT", "LMF", "TFN"], "run": "mosi", "metric": "mae",
     "reported": [0.88, 0.97, 0.9], "mean": [0.89, 0.9, np.nan],
     "ci_low": [0.8, 0.85, np.nan], "ci_high": [0.95, 0.95, np.nan],
     "verdict": ["inside", "outside", "not testable here"]}
)  # fmt: skip


def draw_all():
    yield plots.intervals(TABLE, "mae", reference={"MulT": 0.88})
    yield plots.differences(TESTS, "mae")
    yield plots.published(LEDGER, "mae")
    yield architecture.daf()
    yield architecture.dyfulm()
    yield architecture.both()
    yield cards.utterance(MODALITIES, ALPHA[0], ALPHA[1], BY[:3], 1.0, -2.0)
    yield cards.words(["so", "very", "good"], BY[:3], "B", "A")
    yield plots.weights(ALPHA, BY, MODALITIES)
    yield plots.curves([0, 1], {"daf": [[1, 0, 2], [2, 1, 3]], "mine": [1, 2]})
    yield plots.heatmap(np.eye(3), MODALITIES, MODALITIES)
    yield plots.distribution({"gate": ALPHA, "b": BY}, band=(0.45, 0.55))
    yield plots.learning({"train": ALPHA, "valid": ALPHA}, best_epoch=[3, 4])
    yield timelines.sentiment(BY[:5], BY[:5] + 1, *ALPHA[:5].T, {"text": BY[:5]}, {"audio": BY[:5]})
    time, strip = np.arange(10) / 10, BY[:40].reshape(10, 4)
    tracks = {"SRH": (time, strip[:, 0]), "truth": (time, strip[:, 0])}
    table = (time, strip, tuple("abcd"))
    for units in (table, None):
        yield timelines.recording(BY, 200, tracks, table, units, [("word", 0.1, 0.3)])


def test_published_values_are_drawn_beside_ours_and_those_inside_are_counted():
    axes = plots.published(LEDGER, "mae").axes[0]
    assert "1 of 2 published values" in axes.get_title()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["MulT\n(mosi)", "LMF\n(mosi)"]
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    assert [line.get_xdata()[0] for line in diamonds] == [0.88, 0.97]
    assert [line.get_markerfacecolor() == "white" for line in diamonds] == [False, True]
    assert "lower is better" in axes.get_xlabel()
    with pytest.raises(ValueError, match="no published 'corr'"):
        plots.published(LEDGER, "corr")


def test_every_model_and_modality_has_a_look_of_its_own():
    assert set(results.MODELS) | set(MODALITIES) <= set(plots.LOOKS)
    for group in (MODALITIES, TASKS, results.FUSION, (*results.DYFULM, "tfidf")):
        for a, b in combinations(map(plots.look, group), 2):  # each sign alone tells them apart
            assert all(one != other for one, other in zip(a, b, strict=True))
    assert plots.look("mine") != plots.look("yours")


def test_every_built_in_name_has_words_and_a_users_name_stays():
    stored = [
        one
        for name in runs.kept()  # a user's runs may have names of their own
        for one in results.load_comparisons(name).to_dict("records")
    ]
    pairs = {one[side] for one in stored for side in "ab"}
    metrics_natural = [f"{name}_natural" for name in METRICS.built_in]
    names = {*METRICS.built_in, *metrics_natural, *results.MODELS, *fusion.BUILT_IN, *pairs}
    for name in names:
        words = plots.label(name)
        assert words != name and "_" not in words.split(", ")[0], name
    for name in ("mine", "my_rule", "mine:ta", "", "far", "_natural"):
        assert plots.label(name) == name
    assert plots.label("no_gate") == plots.label("dyfulm:no_gate") == "DyFuLM without the gate"
    assert plots.label("mae") == "mean absolute error, lower is better"
    assert plots.label("daf:tn") == "DAF, text + noise"
    low = {name for name in METRICS.built_in if METRICS[name].better == "low"}
    assert low == {name for name in METRICS.built_in if "lower is better" in plots.label(name)}


def test_the_books_page_of_names_has_every_model_with_its_words():
    page = (files.NOTEBOOKS / "book" / "intervals.md").read_text()
    for name, words in {**labels.MODELS, **labels.WHOLE}.items():
        assert f"| `{name}` | {words} |" in page


def test_a_labelled_table_changes_names_and_no_number():
    shown = plots.labelled(TESTS)
    assert shown["compared with"].tolist() == [plots.label(b) for b in TESTS["b"]]
    assert shown["difference"].tolist() == TESTS["diff"].tolist() and "diff" in TESTS
    by_model = TABLE.pivot(index="model", columns="metric", values="mean")
    words = plots.labelled(by_model)
    assert words.loc["DAF", plots.label("mae")] == 0.8 and words.index.name == "model"


def test_bins_begin_at_the_least_value():
    ax = plots.weights(ALPHA, np.abs(BY), MODALITIES, bins=[0, 0.25, 4]).axes[0]
    assert [one.get_text().split("\n")[0] for one in ax.get_xticklabels()] == ["0 to", "0.25 to"]
    cut = pd.cut(np.array([0.0, 0.5]), [0, 0.25, 1], include_lowest=True)
    assert plots.stretches(cut.categories, -0.0) == ["0 to 0.25", "0.25 to 1"]
    for edges, words in [
        ([101, 110, 118], ["101 to 110", "110 to 118"]),
        ([0.991, 0.994, 0.999], ["0.991 to 0.994", "0.994 to 0.999"]),
    ]:
        cut = pd.cut(np.array(edges, dtype=float), edges, include_lowest=True)
        assert plots.stretches(cut.categories, edges[0]) == words
    ax = plots.weights(ALPHA, np.where(np.arange(len(BY)) == 3, np.nan, np.abs(BY)), MODALITIES)
    assert not any(one.get_text().startswith("-") for one in ax.axes[0].get_xticklabels())


def test_a_title_is_not_cut_off(folder):
    figure = plots.curves([1, 2], {f"m{i}": np.arange(2.0) for i in range(6)})
    figure.axes[0].set_title("a long title that would not fit above the axes of this figure " * 2)
    plots.save(figure, "one", "mosi")
    box = figure.axes[0].title.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width


def test_a_price_is_no_formula():
    figure = cards.words(["cheap", "$$", "$20_$"], np.array([0.1, 0.2, -0.1]), "low", "high")
    figure.canvas.draw()


def test_a_card_shows_all_opinions():
    figure = cards.utterance(["text", "audio"], [0.5, 0.5], [0.5, 0.5], [4.5, -5.0], 3.5, -3)
    low, high = figure.axes[1].get_xlim()
    assert low < -5 and high > 4.5


def test_a_figure_is_written_whole_and_the_same_each_time(folder):
    for first, second in zip(draw_all(), draw_all(), strict=True):
        one, two = plots.save(first, "one", "mosi"), plots.save(second, "two", "mosi")
        assert one == folder / "mosi" / "one.png" and one.read_bytes() == two.read_bytes()
        plt.close("all")
    assert sorted(path.name for path in one.parent.iterdir()) == ["one.png", "two.png"]


def test_a_drawing_is_saved_as_svg_with_equal_bytes(folder):
    one, two = (plots.save(architecture.daf(), name, "mosi", "svg") for name in ("one", "two"))
    assert one.suffix == ".svg" and one.read_bytes() == two.read_bytes()
    assert b"<svg" in one.read_bytes()
    with pytest.raises(ValueError, match="unknown form of a figure 'gif'"):
        plots.save(architecture.daf(), "one", "mosi", "gif")


def test_the_title_of_differences_says_what_is_told_apart():
    axes = plots.differences(TESTS, "mae").axes[0]
    assert axes.get_title() == (
        "DAF is better than text alone, one layer; worse than\nconcatenation"
    )
    assert "left: DAF is better" in axes.get_xlabel()
    filled = [
        line.get_markerfacecolor() != "white" for line in axes.lines if line.get_marker() == "o"
    ]
    assert filled == [True, True, False]
    none = plots.differences(TESTS[2:], "mae").axes[0].get_title()
    assert none == "DAF is told apart from no other model"
    many = pd.concat([TESTS[:1].assign(b=b) for b in ("a", "b", "c", "d")])
    assert plots.differences(many, "mae").axes[0].get_title().endswith("than 4 of 4 models")
    with pytest.raises(ValueError, match=r"no test of metric .r2.; there are .\x27mae\x27."):
        plots.differences(TESTS, "r2")


def test_words_are_readable_in_their_colours_and_keep_their_order():
    words = [f"word{i}" for i in range(30)]
    axes = cards.words(words, np.linspace(0, 1, 30), "B", "A").axes[0]
    assert [text.get_text() for text in axes.texts] == words
    assert len({text.get_position()[1] for text in axes.texts}) > 1  # more than one line
    for text in axes.texts:
        red, green, blue = (
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in text.get_bbox_patch().get_facecolor()[:3]
        )
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert (luminance + 0.05) / 0.05 > 4.5  # to black
    signed = cards.words(["down", "still", "up"], np.array([-0.1, 0.0, 0.9]), "B", "A").axes[0]
    down, still, up = (np.array(text.get_bbox_patch().get_facecolor()) for text in signed.texts)
    assert still[:3].min() > 0.95 and down[2] > down[0] and up[0] > up[2]  # white, blue, orange
    raised = cards.words(["so", "good"], np.array([0.1, 0.5]), "B", "A", zero=True).axes[0]
    assert raised.get_title() == "orange: A (to 0.50)"  # none lowered anything
    assert raised.texts[0].get_bbox_patch().get_facecolor()[2] < 1  # a little orange, not blue
    same = cards.words(["a", "b"], np.ones(2), "B", "A")
    assert same.axes[0].get_title() == "orange: A (to 1.00); blue: B (to 1.00)"


def test_arrows_end_at_boxes_that_are_there():
    boxes = {"a": architecture.Box(0.2, 0.5, "a", architecture.GREY)}
    with pytest.raises(KeyError):
        architecture.draw(boxes, [architecture.Arrow("a", "b")])


def test_a_failed_save_leaves_the_old_file(folder, monkeypatch):
    path = plots.save(plots.heatmap(np.eye(2), "ab", "ab"), "map", "mosi")
    before = path.read_bytes()

    def fail(self, file, **_):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(plots.Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plots.save(plots.heatmap(-np.eye(2), "ab", "ab"), "map", "mosi")
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("name", "run"), [("../x", "mosi"), ("x", ".."), ("", "mosi"), ("x", "")])
def test_names_that_leave_the_folder_are_refused(name, run, folder):
    with pytest.raises(ValueError, match="use letters, digits"):
        plots.save(plt.figure(), name, run)
    assert not list(folder.iterdir())


def test_intervals_draws_mean_and_ends_of_each_row():
    ax = plots.intervals(TABLE, "mae").axes[0]
    drawn = [line.get_xdata() for line in ax.lines]
    assert np.allclose(np.concatenate(drawn), [0.85, 0.95, 0.9, 0.7, 0.9, 0.8])
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "text alone, one layer",
        "DAF",
    ]
    assert ax.get_title() == "Best mean: DAF, 0.800"
    assert "fusion: text + audio" in ax.get_xlabel()
    assert ax.get_xlabel().startswith("mean absolute error, lower is better")
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first row stands on top"
    with pytest.raises(ValueError, match=r"no row of metric 'corr'; there are \['mae'\]"):
        plots.intervals(TABLE, "corr")


def test_weights_takes_a_column_of_a_table_by_its_order():
    shuffled = pd.Series(BY, index=np.arange(len(BY))[::-1])
    one, two = (
        plots.weights(ALPHA, by, MODALITIES, bins=n) for by, n in ((BY, 4), (shuffled, np.int64(4)))
    )
    heights = [[bar.get_height() for bar in figure.axes[0].patches] for figure in (one, two)]
    assert heights[0] == heights[1] and one.axes[0].get_xticklabels()[0].get_text().startswith(
        two.axes[0].get_xticklabels()[0].get_text()
    )


@pytest.mark.parametrize(("bins", "counts"), [(4, [50] * 4), ([-9, 0, 9], None), ([0, 1], None)])
def test_weights_stacks_the_mean_of_each_bin(bins, counts):
    ax = plots.weights(ALPHA, BY, MODALITIES, bins=bins).axes[0]
    n = len(ax.containers[0])
    edges = np.quantile(BY, np.linspace(0, 1, n + 1)) if isinstance(bins, int) else bins
    ends = ax.get_xticklabels()
    for i, (low, high) in enumerate(pairwise(edges)):
        inside = (low <= BY) & (high >= BY)
        heights = [bars[i].get_height() for bars in ax.containers]
        assert np.allclose(heights, ALPHA[inside].mean(axis=0), atol=0.02)  # the edges' own ties
        assert ends[i].get_text().endswith(f"n={counts[i] if counts else inside.sum()}")
        assert ends[i].get_text().startswith(f"{low:.2g} to")
        assert np.isclose(ax.containers[-1][i].get_y() + heights[-1], 1)


def test_weights_with_nothing_inside_says_so():
    with pytest.raises(ValueError, match="no value falls into the bins"):
        plots.weights(ALPHA, BY, MODALITIES, bins=[50, 60])


def test_curves_draws_lines_with_and_without_a_band():
    ax = plots.curves([0, 1], {"daf": [[1, 0, 2], [2, 1, 3]], "mine": [1, 2]}).axes[0]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1, 2], [1, 2]]
    assert len(ax.collections) == 1
    assert ax.collections[0].get_paths()[0].get_extents().intervaly.tolist() == [0, 3]


def test_distribution_draws_shares_of_any_shape():
    ax = plots.distribution({"gate": np.array([[0.1, 0.1], [0.6, 0.9]])}, bins=2).axes[0]
    drawn = ax.patches[0].get_data()
    assert drawn.values.tolist() == [0.5, 0.5] and drawn.edges.tolist() == [0, 0.5, 1]


def test_learning_shows_median_and_range_from_epoch_one():
    values = np.array([[3.0, 4, 9], [1, 2, 8]])  # (epochs, s)
    ax = plots.learning({"valid": values}).axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[1, 4], [2, 2]]
    assert ax.collections[0].get_paths()[0].get_extents().intervaly.tolist() == [1, 9]
    three = {name: values for name in ("coarse", "fine", "intensity")}
    drawn = plots.learning(three).axes[0].lines
    assert [line.get_label() for line in drawn] == list(three)
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 3
    with pytest.raises(ValueError):
        plots.learning({**three, "another": values})


def test_figures_can_share_one_sheet():
    figure, axes = plt.subplots(1, 2)
    assert plots.weights(ALPHA, BY, MODALITIES, ax=axes[0]) is figure
    assert plots.heatmap(np.eye(3), MODALITIES, MODALITIES, ax=axes[1]) is figure
