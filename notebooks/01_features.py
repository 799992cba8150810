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
# # 01 · The data: what goes in, and what is known about it
#
# ![From a corpus to vectors of one scale](../figures/models/data.svg)
#
# **The question**: can the data be trusted before any model is trained on it? The notebook takes a
# quarter of a minute on a laptop's CPU with the embedded corpus, which we generate. DAF ([arXiv
# 2509.22729](https://arxiv.org/abs/2509.22729)) learns on top of *frozen* encoders: text, audio and
# vision become one vector each, once, and these never change. What we worked from (abstracts and
# summaries of the papers) says little about this step, and errors in it raise no message.
#
# This notebook shows a corpus' passport (a summary of sizes, base rates and defects), a corpus
# whose truth is known, and the scaling.
# Labels of the test split describe the corpus here (base rates, checks); nothing is fitted or
# chosen with them. Before it: [`00_start`](00_start.ipynb). After it:
# [`01b_text`](01b_text.ipynb) (from words and frames to vectors) and
# [`01c_covarep`](01c_covarep.ipynb) (from a recording to frames).
#
# **Contents**
#
# - [1 · The passport](#1--the-passport)
# - [2 · The record](#2--the-record)
# - [3 · A corpus whose truth is known](#3--a-corpus-whose-truth-is-known)
# - [4 · One scale, from the training split only](#4--one-scale-from-the-training-split-only)
# - [Takeaways](#takeaways)
# - [Exercises](#exercises)

# %% tags=["parameters"]
dataset: str = "synthetic"  # synthetic | mosi | mosi-leak | mosei | mmmo: which corpus to look at
encoder: str = "minilm"  # frozen text encoder: minilm, a folder, or a hub id (paper: BERT)
layers: str = "all"  # text states kept: of all layers end to end, or of the last
max_length: int = 128  # tokens of a text; what is longer is cut and counted
seed: int = 0  # of the embedded corpus
run: str = "interactive"  # folder under figures that receives the pictures

# %%
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression

from mmlib.daf import features
from mmlib.data import load
from mmlib.data.embedded.synthetic import noise_of
from mmlib.figures import architecture, plots
from mmlib.scores.metrics import score
from mmlib.scores.passport import passport
from mmlib.stack import vectors

plots.style()
torch.set_num_threads(1)
pd.set_option("display.precision", 3, "display.width", 110)

# %%
names = ["corpus", "passport", "splits", "one vector\neach", "one scale"]
boxes = {
    name: architecture.Box(0.09 + 0.82 * k / (len(names) - 1), 0.5, name, architecture.GREY)
    for k, name in enumerate(names)
}
arrows = [architecture.Arrow(*pair) for pair in pairwise(names)]
_ = plots.save(architecture.draw(boxes, arrows, height=1.2), "data", "models", "svg")

# %% [markdown]
# <a id="1--the-passport"></a>
#
# ## 1 · The passport
#
# Before any model is trained, one call answers five questions. Which file is this? How large are
# its splits? What would a constant score? Which columns hold NaN, clipped or constant values? Is
# any speaker or video in two splits? The passport holds counts and ids, never an utterance's text.
#
# A model that always gives the same answer already reaches the base rates. The row `positive`
# predicts +3 for every utterance and still gets more than half of the signs right. Read each score
# of the later notebooks against these rows. In them `acc2_non0` leaves labels of zero out,
# `acc2_has0` counts zero as not negative, and `acc7` rounds to seven classes
# ([scores](book/scores.md)). Three remarks about the embedded corpus are expected: about 5 % of
# its utterances lack a voice or a face, its creak is constant, as in CMU's files, and its short
# texts recur in several splits.

# %%
embedded = load("synthetic", seed=seed)
corpus = embedded if dataset == "synthetic" else load(dataset)
facts = passport(corpus)
assert not facts.crossing_groups, "a video in two splits is an error, not a note"

# %%
print(facts)

# %% [markdown]
# <a id="2--the-record"></a>
#
# ## 2 · The record
#
# A corpus is one immutable record. Sequences are *ragged*: the frames of all utterances are stored
# end to end, with a length for each, so there is no padding. Axis letters here: `n` utterances, `t`
# token or frame, `d` feature, `m` modality, `l` layer.

# %%
print(f"{len(corpus)} utterances of {len(set(corpus.groups))} groups: {corpus.modalities}")
print("label", corpus.label.shape, "first id", corpus.ids[0], "of", corpus.groups[0])
for m, sequences in corpus.sequences.items():
    print(f"{m}: values {sequences.values.shape}, the first utterance's {sequences[0].shape}")
    assert sequences.lengths.sum() == len(sequences.values)

# %% [markdown]
# <a id="3--a-corpus-whose-truth-is-known"></a>
#
# ## 3 · A corpus whose truth is known
#
# On real recordings nobody knows how informative an utterance's voice was, so nobody can say
# whether an attention weight is *right*. On the embedded corpus one can. Each utterance has a
# sentiment $y$ (multiples of 1/3, about a fifth zeros, as in CMU-MOSEI), and each modality $m$ an
# informativeness $q_m \in [0, 1]$ which decides how noisy its evidence is:
#
# $$s_m = 0.2^{\,q_m}\, 6^{\,1-q_m}, \qquad e_m = \mathrm{clip}(y + s_m \varepsilon,\, -3,\, 3)$$
#
# Here $\varepsilon$ is standard normal noise. Words, voice and face express the evidence $e_m$, not
# $y$. A modality with low $q_m$ often says something wrong. Check: where little was clipped, the
# spread of $e_m - y$ is $s_m$.

# %%
q, evidence = embedded.truth["informativeness"], embedded.truth["evidence"]  # (n, m) each
clear = (q[:, 1] > 0.95) & (np.abs(embedded.label) < 1.5)  # (n,): clear voices far from the ends
found = (evidence[:, 1] - embedded.label)[clear].std()
wanted = noise_of(q[clear, 1]).mean()
print(f"spread of clear voices: {found:.2f}, by the equation {wanted:.2f}")

# %%
assert abs(found / wanted - 1) < 0.1

# %% [markdown]
# $q_m$ is not an input, but the inputs reflect it. A low $q_m$ makes the words vague or sarcastic,
# the voice unvoiced and restless, and the face often lost from view. Below is one utterance for
# each manner of speaking. On average, what the words say (`evidence`) departs from `y` more as $q$
# falls:

# %%
examples = [int(np.flatnonzero(q[:, 0] == level)[3]) for level in (1, 0.75, 0.5, 0.25, 0)]
for i in examples:
    print(f"q {q[i, 0]:.2f}  evidence {evidence[i, 0]:+.1f}  y {embedded.label[i]:+.1f}", end="  ")
    print(embedded.text[i])

# %%
audio, vision = embedded.sequences["audio"], embedded.sequences["vision"]
lost = pd.Series(np.all(vision.values == 0, axis=1))  # (sum t,): no face in this frame
spoken_by = np.repeat(np.arange(len(embedded)), vision.lengths)  # utterance of each frame
voiced = features.pool(audio)[:, audio.columns.index("VUV")]  # (n,)
unseen = lost.groupby(spoken_by).mean().reindex(range(len(embedded)), fill_value=0)  # (n,)

# %%
for name, at, sign in (("voiced frames", 1, voiced), ("frames without a face", 2, -unseen)):
    here = q[:, at] > 0  # of voice and face 0 stands for missing; of text for sarcasm
    rank = spearmanr(sign[here], q[here, at])[0]
    print(f"{name}: rank correlation with q {rank:.2f} in absolute value")
    assert rank > 0.7, "informativeness has to be visible, or no attention could find it"

# %% [markdown]
# ### The oracle, and what dynamic weighting is worth here
#
# With all $q_m$ known, the prediction with the least expected error (the oracle) is the posterior
# median of $y$ given the evidence. The evidence then counts by its precision $1/s_m^2$. The best
# *fixed* weighting of the same evidence is a linear regression. The gap between the two is the
# most that a dynamic weighting can win; a little of it is that the oracle also knows which values a
# label can take. Notebook 04 asks which share of the gap DAF closes.
#
# In the negative control each modality has the same $q_m$ in all utterances, and none is missing.
# There a fixed weighting is right, so a gain by dynamic weighting would be spurious. (The oracle's
# small lead there comes from knowing which values a label can take.)


# %%
def gap(corpus) -> tuple[float, float]:
    """Validation errors of the oracle and of the best fixed weighting of the evidence."""
    heard = corpus.truth["evidence"] * (corpus.truth["precision"] > 0)  # (n, m), 0 if missing
    fit, held = corpus.rows("train"), corpus.rows("valid")
    fixed = LinearRegression().fit(heard[fit], corpus.label[fit]).predict(heard[held])
    guesses = corpus.truth["oracle"][held], fixed
    return tuple(score("mae", guess, corpus.label[held]) for guess in guesses)


# %%
control = load("synthetic", seed=seed, control=True)
(oracle, fixed), (oracle_control, fixed_control) = gap(embedded), gap(control)
print(f"error of the oracle {oracle:.2f}, of the best fixed weighting {fixed:.2f}")
print(f"on the control      {oracle_control:.2f}                           {fixed_control:.2f}")
assert np.ptp(control.truth["weights"], axis=0).max() < 1e-12  # one weighting for all

# %%
assert fixed_control - oracle_control < 0.1 * (fixed - oracle)

# %% [markdown]
# <a id="4--one-scale-from-the-training-split-only"></a>
#
# ## 4 · One scale, from the training split only
#
# Every feature is shifted and scaled by its mean and standard deviation over the *training*
# utterances that have the modality, then clipped to ±5 (some COVAREP values lie hundreds of
# deviations out). A missing modality is zero, and `present` marks it. Check: whatever the other
# splits hold, the scale is the same.

# %%
frozen = {"encoder": encoder, "max_length": max_length}
raw, present = features.raw(corpus, corpus.modalities, layers=layers, **frozen)
train = corpus.rows("train")
scaler = vectors.Scaler.fit(raw, present, train)
other = {m: np.where((corpus.split == "train")[:, None], x, 1e3) for m, x in raw.items()}
spoilt = vectors.Scaler.fit(other, present, train)

# %%
assert all(np.array_equal(scaler.mean[m], spoilt.mean[m]) for m in raw)
assert all(np.array_equal(scaler.scale[m], spoilt.scale[m]) for m in raw)
data = features.build(corpus, layers=layers, **frozen)

# %%
for i, (m, x) in enumerate(data.x.items()):
    limit = (np.abs(x) >= vectors.CLIP).mean()
    mean, sd = x[train][present[train, i]].mean(), x[train][present[train, i]].std()
    print(
        f"{m}: {x.shape}, missing {(~data.present[:, i]).mean():.1%}, at the limit {limit:.2%}, "
        f"training mean {abs(mean):.1f}, sd {sd:.1f}"
    )
    assert abs(mean) < 0.1 and not x[~data.present[:, i]].any()

# %% [markdown]
# <a id="takeaways"></a>
#
# ## Takeaways

# %%
base = facts.frames["base_rates"].loc[("test", "train median"), "mae"]
print(f"1. {corpus.name}: always saying the training median costs {base:.3f} MAE on test.")
print(f"2. Embedded corpus: the oracle's error is {oracle:.2f}, that of fixed weights {fixed:.2f}.")
print(f"   On the negative control they are {oracle_control:.2f} and {fixed_control:.2f}.")
widest = max(data.dims.values())
print(f"3. Vectors of {widest} columns at most; scaled by {len(train)} training utterances alone.")

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# Each takes a few lines below the last cell. The solutions run as they are.
#
# **1.** Does the gap between oracle and fixed weights depend on the seed? Generate the corpus with
# another one.
#
# <details><summary>Solution</summary>
#
# ```python
# for other in (seed, seed + 1):
#     print(other, [round(error, 2) for error in gap(load("synthetic", seed=other))])
# ```
#
# </details>
#
# **2.** Which modality's evidence alone is nearest to the label, where the modality is there?
#
# <details><summary>Solution</summary>
#
# ```python
# for k, m in enumerate(("text", "audio", "vision")):
#     there = embedded.truth["precision"][:, k] > 0
#     print(m, np.abs(evidence[there, k] - embedded.label[there]).mean().round(2))
# ```
#
# </details>
#
# **3.** What share of the scaled values would be cut if the limit were 3 and not 5?
#
# <details><summary>Solution</summary>
#
# ```python
# print({m: f"{(np.abs(x) > 3).mean():.2%}" for m, x in data.x.items()})
# ```
#
# </details>
