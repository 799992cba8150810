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
# # 00 · Start: two models in ten minutes
#
# **DAF** ([arXiv 2509.22729](https://arxiv.org/abs/2509.22729)) predicts how positive an utterance
# is, from -3 to 3. It reads words, voice and face with encoders that are not trained further. A
# small scorer then decides, for this one utterance, how much each of the three counts.
#
# ![DAF: frozen encoders, embeddings, a scorer that weighs them](../figures/models/daf.svg)
#
# **DyFuLM** ([arXiv 2512.01410](https://arxiv.org/abs/2512.01410)) rates a review. It reads the
# text with two encoders, mixes the layers of each, and joins the encoders by a gate: a gate of 1
# takes encoder A alone, 0 takes B alone. Three classes and an intensity (here the rating as a
# number from 0 to 1) are predicted first, and they guide the five classes.
#
# ![DyFuLM: two encoders, mixed layers, a gate, three heads](../figures/models/dyfulm.svg)
#
# Below, both learn on generated data, whose truth is known. After this:
# [01_features](01_features.ipynb)
#
# **Contents**
#
# - [One utterance](#one-utterance)
# - [One review](#one-review)
# - [Three findings on real data](#three-findings-on-real-data)
# - [Where to go next](#where-to-go-next)
# - [Exercises](#exercises)

# %% tags=["parameters"]
seeds: int = 2  # models trained at once
run: str = "interactive"  # folder under figures that receives the pictures

# %%
from dataclasses import replace

import numpy as np
import pandas as pd

from mmlib.daf import features, train, tune
from mmlib.data import load
from mmlib.data.targets import FINE, targets
from mmlib.dyfulm import frozen
from mmlib.figures import cards, plots
from mmlib.scores import results
from mmlib.text import made

plots.style()

# %% [markdown]
# <a id="one-utterance"></a>
#
# ## One utterance
#
# In this generated data, each modality of each utterance is clear or noisy, and we know how much.
# DAF is not told. It has to learn the difference from the sentiment labels of 4,200 utterances.

# %%
corpus = load("synthetic")
data = features.build(corpus)
daf = train.fit(data, tune.settings("synthetic", data.modalities, "daf"), range(seeds))
rows = data.rows("test")
test, truth = data.take(rows), corpus.truth["weights"][rows]  # truth (n, m): the ideal weights

# %%
seen = daf.predict(test)
weights = seen.weights.mean(axis=0)  # (n, m)

# %% [markdown]
# We pick an utterance of strong sentiment that has every modality, whose voice is clear and whose
# words are not. The choice
# uses the truth alone, not DAF's output. A modality's precision is 1 over the variance of its
# noise. Its ideal weight is its share of the sum of the three precisions
# ([01_features](01_features.ipynb)):

# %%
is_strong = (np.abs(test.label) >= 2) & test.present.all(axis=1)
i = int(np.argmax(is_strong * (truth[:, 1] - truth[:, 0] - truth[:, 2])))
score, opinions = seen.score.mean(axis=0)[i], seen.opinions.mean(axis=0)[i]
print(f'"{corpus.text[rows[i]]}"')
figure = cards.utterance(data.modalities, weights[i], truth[i], opinions, score, test.label[i])
_ = plots.save(figure, "00_utterance", run)

# %%
print(f"DAF gives the voice {weights[i, 1]:.0%} of the weight; ideal is {truth[i, 1]:.0%}.")

# %% [markdown]
# One utterance may be luck. So we take all utterances of the test split and group them by how
# informative their words are:

# %%
clarity = corpus.truth["informativeness"][rows, 0]  # of the words, 0 to 1
by_level = pd.Series(weights[:, 0]).groupby(clarity).mean()
figure = plots.curves(by_level.index, {"text": by_level.to_numpy()})
axes = figure.axes[0]
axes.set(xlabel="how informative the words are", ylabel="DAF's weight of the words")
low, high = by_level.iloc[[0, -1]]
axes.set_title(f"The more informative the words, the more weight: {low:.2f} to {high:.2f}")
_ = plots.save(figure, "00_weight", run)

# %%
assert by_level.is_monotonic_increasing and by_level[1.0] > 3 * by_level[0.0]
print(
    f"Mean weight of the words: {by_level[0.0]:.2f} where they are uninformative, "
    f"{by_level[1.0]:.2f} where they are fully informative."
)

# %% [markdown]
# <a id="one-review"></a>
#
# ## One review
#
# DyFuLM learns on generated hotel reviews, with frozen encoders. A is MiniLM; B is a small encoder
# trained on these reviews' own words. We take the first test review that both seeds get right.
# DyFuLM reads each of its words alone: which encoder does the gate prefer? A word's gate is its
# mean over hidden units and seeds. White is the middle of the drawn range and not one half, so a
# blue word may still prefer A. [07](07_dyfulm_interpretability.ipynb) compares such gates with
# an untrained model's.

# %%
reviews = load("synthetic_reviews").sample(1000)
goal = targets(reviews)
pair = ["minilm", made.named("small", [reviews.text[k] for k in reviews.rows("train")])]
states = frozen.states(reviews, *pair)
dyfulm = frozen.fit(states, goal, frozen.Settings(), range(seeds))

# %%
held = reviews.rows("test")
said = dyfulm.predict(states.take(held))

# %%
k = int(np.argmax((said.fine == goal.fine[held]).mean(axis=0)))  # one that both seeds get right
read = reviews.text[held[k]].split()
names, n = tuple(f"word {j}" for j in range(len(read))), len(read)
parts = dict(ids=names, groups=names, text=tuple(read), split=np.repeat("test", n))
alone = replace(reviews, **parts, label=np.zeros(n), truth={})

# %%
gate = dyfulm.predict(frozen.states(alone, *pair, scaler=states.scaler)).gate.mean(axis=(0, 2))
_ = plots.save(cards.words(read, gate, "lower gate", "higher gate"), "00_gate", run)
found, true = FINE[said.fine[0, k]], FINE[goal.fine[held[k]]]
print(f"DyFuLM: {found}; truth: {true}. The words' gates: {gate.min():.2f} to {gate.max():.2f}.")
print(f"For {(gate > 0.5).sum()} of {n} words the gate is above one half: encoder A counts more.")

# %% [markdown]
# <a id="three-findings-on-real-data"></a>
#
# ## Three findings on real data
#
# The numbers are read from the stored runs; their commands and data are in
# [08b_tables](08b_tables.ipynb). CMU-MOSI has short video monologues. "Error" is the mean absolute
# error (MAE); lower is better. Brackets hold 95 % intervals; if 0 is inside, we cannot tell the two
# models apart ([more](book/intervals.md)).


# %%
def difference(name: str, a: str, other: str, metric: str) -> tuple[str, str]:
    """A stored difference with its 95 % interval, and the model that is told apart as better."""
    tests = results.load_comparisons(name).set_index(["a", "b", "metric"], drop=False)
    pair = tests.loc[(a, other, metric)]
    ends = f"[{pair['ci_low']:+.3f}, {pair['ci_high']:+.3f}]"
    return f"{pair['diff']:+.3f} {ends}", results.better(pair)


# %%
depth, no_depth = difference("mosi", "daf", "text_deep", "mae")
voice, no_voice = difference("mosi", "daf", "daf:t+shuffled", "mae")
assert no_depth == no_voice == ""  # as the lines below say
print("1. CMU-MOSI, MiniLM: DAF with words and voice is not measurably better than words alone,")
print("   equally deep.")
print(f"   Error of DAF minus that of words alone: {depth}.")
print(f"   Error of DAF minus that of DAF with the voices of other utterances: {voice}.")

# %%
bag, beats_bag = difference("hotel", "dyfulm", "tfidf", "acc_fine")
second, no_second = difference("hotel", "dyfulm", "single_a", "acc_fine")
assert beats_bag == "dyfulm" and no_second == ""
print(
    "2. Hotel reviews, fine-tuned: DyFuLM beats a bag of words in five-class accuracy, at the edge."
)
print("   (By a cautious estimate p is .0498: notebook 08b.)")
print(f"   Difference: {bag}.")
print("3. Its second encoder adds nothing there that we can measure.")
print(f"   Difference: {second}.")

# %% [markdown]
# <a id="where-to-go-next"></a>
#
# ## Where to go next
#
# - [02_daf](02_daf.ipynb): DAF, equation by equation; then [03](03_daf_ablations.ipynb), whether
# dynamic weights are what helps, and [04](04_daf_interpretability.ipynb), what the weights mean.
# - [05_dyfulm](05_dyfulm.ipynb): DyFuLM, equation by equation; then
# [06](06_dyfulm_ablations.ipynb), which of its parts help, and
# [07](07_dyfulm_interpretability.ipynb), what gate and layers learn.
# - [08_results](08_results.ipynb): what was found, failed and changed, on one page;
#   [08b_tables](08b_tables.ipynb): every table in full.
# - [09_your_clip](09_your_clip.ipynb): a recording of yours; [13_your_texts](13_your_texts.ipynb):
#   texts of yours.
# - [10_both_papers](10_both_papers.ipynb), [11_transfer](11_transfer.ipynb),
#   [12_compression](12_compression.ipynb): both papers in one model, other data sets and languages,
#   and smaller models.
# - [How to read a number here](book/intervals.md), [your own rule or metric](14_extend.ipynb), and
#   [your own experiment](book/use.md).

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# Each takes a few lines below the last cell. The solutions run as they are.
#
# **1.** On what share of the test utterances does DAF give its largest weight to the modality whose
# ideal weight is largest?
#
# <details><summary>Solution</summary>
#
# ```python
# agree = (weights.argmax(axis=1) == truth.argmax(axis=1)).mean()
# print(f"{agree:.0%} of the test utterances")
# ```
#
# </details>
#
# **2.** Does the weight of the voice rise with its clarity, as that of the words does?
#
# <details><summary>Solution</summary>
#
# ```python
# clear = corpus.truth["informativeness"][rows, 1]  # of the voice, 0 to 1
# print(pd.Series(weights[:, 1]).groupby(pd.cut(clear, 4), observed=True).mean().round(2))
# ```
#
# </details>
#
# **3.** How much better is DAF than saying 0 for every utterance?
#
# <details><summary>Solution</summary>
#
# ```python
# print(f"always 0: MAE {np.abs(test.label).mean():.2f}")
# print(f"DAF: MAE {np.abs(seen.score - test.label).mean():.2f}")
# ```
#
# </details>
