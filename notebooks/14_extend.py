# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 14 · Your own rule, metric, modality and table
#
# ![DAF: one weight a modality, for each utterance](../figures/models/daf.svg)
#
# Can you add a fusion rule, a metric, a modality or a table of your own without editing `mmlib`?
# Yes: each is added here in one or two cells of at most 15 lines. Copy, change and run them
# again: the new version replaces the old one. An addition is known only to the process that ran its
# cell.
#
# The notebook takes half a minute on a CPU. All texts and numbers here are generated or made up.
# Before this: [`02_daf`](02_daf.ipynb) and [`05_dyfulm`](05_dyfulm.ipynb). The papers:
# [DAF](https://arxiv.org/abs/2509.22729) and [DyFuLM](https://arxiv.org/abs/2512.01410).
#
# **Contents**
#
# - [A fusion rule](#1--a-fusion-rule)
# - [A metric](#2--a-metric)
# - [A modality](#3--a-modality)
# - [A table of texts](#4--a-table-of-texts)
# - [Takeaways](#takeaways)
# - [Exercises](#exercises)

# %% tags=["parameters"]
utterances: int = 900  # of the embedded corpus
seeds: int = 3  # models trained at once
run: str = "interactive"  # folder under papermill_runs that receives the rows

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from mmlib import daf
from mmlib.daf import features, train
from mmlib.data import Sequences, load
from mmlib.data.targets import targets
from mmlib.dyfulm import frozen
from mmlib.figures import plots
from mmlib.scores import metrics, results

plots.style()
pd.set_option("display.precision", 3, "display.width", 110)
corpus = load("synthetic").sample(utterances)
data = features.build(corpus)
test = data.take(data.rows("test"))
data.modalities, {split: len(data.rows(split)) for split in ("train", "valid", "test")}

# %% [markdown]
# <a id="1--a-fusion-rule"></a>
#
# ## 1 · A fusion rule
#
# A rule is a subclass of `daf.Fusion` with its own `fuse`. This function gets the embeddings $h_m$
# of all $M$ modalities, zero where one is absent, and returns the fused state $z$. `mmlib` provides
# projections, head, training and early stopping. The rule below is bilinear: it adds to the mean
# of the $M_p$ modalities that are present the products of all pairs, with trained weights $\beta$.
#
# $$z = \tfrac{1}{M_p} \sum_m h_m + \beta \odot \sum_{m < n} h_m \odot h_n$$


# %%
class Bilinear(daf.Fusion):
    """The mean, and the products of all pairs of modalities."""

    def add_rule(self, s: int) -> None:
        self.beta = nn.Parameter(torch.zeros(s, 1, self.width))

    def fuse(self, h, present):  # (s, b, m, h), zero where absent
        pairs = (h.sum(2) ** 2 - (h**2).sum(2)) / 2  # (s, b, h), the sum over m < n
        mean = h.sum(2) / present.sum(2, keepdim=True)
        return mean + self.beta * pairs, None


daf.register("bilinear", Bilinear)

# %% [markdown]
# We train `bilinear` and the rules `mean` and `daf` with default settings: nothing is tuned.

# %%
rules = ("bilinear", "mean", "daf")
fits = {rule: train.fit(data, train.Settings(rule), range(seeds)) for rule in rules}

# %%
answers = {rule: fit.predict(test).score for rule, fit in fits.items()}  # (s, n)
assert (fits["bilinear"].model.beta != 0).any(), "beta was trained"

# %% [markdown]
# Paired tests compare `bilinear` with `mean` and with `daf` on the same utterances and seeds.

# %%
place = dict(notebook="14_extend", dataset="synthetic", variant="tav", split="test")
pairs = [("bilinear", "mean"), ("bilinear", "daf")]
tests = results.comparisons(answers, pairs, test.label, test.groups, **place)
_ = plots.save(plots.differences(pd.DataFrame(tests), "mae"), "14_rule", run)

# %%
for pair in (t for t in tests if t["metric"] == "mae"):
    print(
        f"MAE of bilinear minus {pair['b']}: {pair['diff']:+.3f} "
        f"[{pair['ci_low']:+.3f}, {pair['ci_high']:+.3f}], better: {results.better(pair) or 'none'}"
    )

# %% [markdown]
# A misspelt name of a rule is refused in one line:

# %%
try:
    train.fit(data, train.Settings("bilinaer"), [0])
except ValueError as error:
    print(error)

# %% [markdown]
# <a id="2--a-metric"></a>
#
# ## 2 · A metric
#
# `metrics.add` takes a function that gives a value for each utterance; the metric is the mean of
# these values. From then on the metric is in rows, intervals and paired tests. The metric `far`
# below is the share of utterances with an error above 1; `metrics.remove("far")` removes it.

# %%
metrics.add("far", lambda p, y: np.abs(p - y) > 1, better="lower")

# %%
rows = [
    row
    for rule, score in answers.items()
    for row in results.rows(score, test.label, test.groups, model=rule, **place)
]

# %%
tests = results.comparisons(answers, pairs, test.label, test.groups, **place)
assert {"far", "mae"} <= {row["metric"] for row in rows} & {test["metric"] for test in tests}
_ = plots.save(plots.intervals(pd.DataFrame(rows), "far"), "14_metric", run)

# %%
far = {row["model"]: row["mean"] for row in rows if row["metric"] == "far"}
print("wrong by more than 1:", {rule: f"{share:.2f}" for rule, share in far.items()})
_ = results.save(rows, run, "14_extend", comparisons=tests)

# %% [markdown]
# <a id="3--a-modality"></a>
#
# ## 3 · A modality
#
# A modality of a corpus is three things: the frames of all utterances one after the other, the
# number of frames of each utterance, and a name for each column. The modality `pulse` is generated
# from the label and noise, so DAF should give it weight beside the text. Audio and vision are left
# out.

# %%
rng = np.random.default_rng(0)
five = np.full(len(corpus), 5)  # frames of each utterance
frames = np.repeat(corpus.label, five)[:, None] + rng.normal(0, 2, (five.sum(), 2))  # (t, d)
pulse = Sequences(frames, five, ("rate", "change"))

# %%
with_pulse = replace(corpus, sequences={"pulse": pulse})
two = features.build(with_pulse)
heard = train.fit(two, train.Settings("daf"), range(seeds)).predict(two.take(two.rows("test")))
two.modalities, features.variant(two.modalities)

# %%
weight = heard.weights.mean(axis=(0, 1))  # (m,)
figure = plots.weights(heard.weights.mean(0), test.label, two.modalities, xlabel="sentiment")
figure.suptitle(f"The pulse has {weight[1]:.0%} of the weight on average", fontsize="medium")
_ = plots.save(figure, "14_pulse", run)

# %%
error = np.abs(heard.score - test.label).mean()
assert utterances < 900 or error < np.abs(answers["mean"] - test.label).mean()
print(f"text + pulse: MAE {error:.2f}; mean weight of pulse {weight[1]:.2f}")

# %% [markdown]
# <a id="4--a-table-of-texts"></a>
#
# ## 4 · A table of texts
#
# Any table with a column of texts and a column of labels is a data set. Labels are numbers or words
# such as *negative* and *positive*; DyFuLM needs numbers, or the five words from *very negative* to
# *very positive*. With a column of groups no group is in two splits. On the made-up table below we
# train DAF on the text alone, and DyFuLM. Both then score new texts. DAF's scores are not cut at
# ±3.

# %%
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "mine.csv"
words = {1: "dreadful", 2: "poor", 3: "average", 4: "pleasant", 5: "wonderful"}
things = ("room", "breakfast", "staff", "view", "bed", "price")

# %%
lines = [
    {"Comment": f"On day {day} the {thing} was {word}.", "Stars": stars, "Place": f"h{day}"}
    for day in range(20)
    for thing in things
    for stars, word in words.items()
]
pd.DataFrame(lines).to_csv(path, index=False)

# %% [markdown]
# One call names the columns; ratings from 1 to 5 become labels from -3 to 3.

# %%
mine = load(str(path), text="Comment", label="Stars", group="Place", name="mine")
{split: len(mine.rows(split)) for split in ("train", "valid", "test")}, mine.scale

# %%
new = ["The view was wonderful.", "The breakfast was dreadful.", "The price was average."]
text = train.fit(features.build(mine, ["text"]), train.Settings("daf"), range(seeds))
said = text.predict_texts(new).score.mean(0)

# %%
states = frozen.states(mine, "minilm", "minilm")  # one encoder twice: quick, and enough here
stars = frozen.fit(states, targets(mine), frozen.Settings(), range(seeds))
read = stars.predict_texts(new).intensity.mean(0)

# %%
table = pd.DataFrame({"text": new, "DAF, -3 to 3": said, "DyFuLM, 0 to 1": read}).round(1)
table

# %%
assert said[0] > said[2] > said[1] and read[0] > read[2] > read[1]
print("both put the three new texts in the right order")
folder.cleanup()

# %% [markdown]
# The command for batches needs no code: `dataset` is the path of the table, and the columns are
# parameters.
#
# ```
# .venv/bin/python -m mmlib.batch --run mine --dataset /path/to/mine.csv \
#     --only 05_dyfulm --params mine.yaml
# ```
#
# `mine.yaml` holds `text_column: Comment`, `label_column: Stars` and `group_column: Place`. An
# interval is over places, so the test split must have at least two places; here it has a tenth of
# the 20.
#
# <a id="takeaways"></a>
#
# ## Takeaways

# %%
print(
    f"1. A rule of {len(fits['bilinear'].model.beta[0, 0])} parameters of its own was added in one "
    "cell, then trained, tested and drawn like the others."
)
print(f"2. A metric of one line is in {sum(t['metric'] == 'far' for t in tests)} paired tests.")
print(f"3. A table of {len(mine)} made-up texts trained both papers' models.")

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# **1.** Write a rule that takes the largest value of each unit over the modalities. Is it better
# than the mean?
#
# <details><summary>Solution</summary>
#
# ```python
# class Largest(daf.Fusion):
#     def fuse(self, h, present):
#         largest = h.masked_fill(~present[..., None], -torch.inf).max(2).values
#         return largest.nan_to_num(neginf=0), None  # 0 if no modality is present
#
#
# daf.register("largest", Largest)
# answers["largest"] = train.fit(data, train.Settings("largest"), range(seeds)).predict(test).score
# print({rule: np.abs(answers[rule] - test.label).mean() for rule in ("largest", "mean")})
# ```
#
# </details>
#
# **2.** Add a metric whose higher value is better: the share within half a point.
#
# <details><summary>Solution</summary>
#
# ```python
# metrics.add("near", lambda p, y: np.abs(p - y) <= 0.5, better="higher")
# print(metrics.all_scores(answers["daf"], test.label)["near"])
# ```
#
# </details>
#
# **3.** Make `pulse` pure noise. What weight does DAF give it?
#
# <details><summary>Solution</summary>
#
# ```python
# noise = Sequences(rng.normal(size=frames.shape), five, ("rate", "change"))
# other = features.build(replace(corpus, sequences={"pulse": noise}))
# fit = train.fit(other, train.Settings("daf"), range(seeds))
# print(fit.predict(other.take(other.rows("test"))).weights.mean(axis=(0, 1)))
# ```
#
# </details>
#
# Before this: [`13_your_texts`](13_your_texts.ipynb). Next: [`08_results`](08_results.ipynb).
