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
# # 13 · Your texts: what does DyFuLM say of them?
#
# ![DyFuLM: two encoders, mixed layers, a gate, three heads](../figures/models/dyfulm.svg)
#
# A small DyFuLM, trained on hotel reviews, predicts a class, a number of stars and an intensity for
# each of your texts. This model has one of the two encoders in the picture, and so no gate. The
# notebook also shows which words changed the score, and which texts the model cannot read.
#
# The notebook takes about twenty seconds on a CPU with seven made-up reviews. Long reviews take
# longer, because section 3 predicts once for each word. To predict for texts of your own, paste
# them into the parameter `texts`, or name a file in `table`. Nothing is trained here, and nothing
# leaves this computer.
#
# Before this: [`05_dyfulm`](05_dyfulm.ipynb) (the model). After it: [`14_extend`](14_extend.ipynb),
# with a table of your own to train on.
#
# Paper: [arXiv 2512.01410](https://arxiv.org/abs/2512.01410)
#
# **Contents**
#
# - [The texts](#1--the-texts)
# - [What the model predicts](#2--what-the-model-predicts)
# - [Which words changed the score?](#3--which-words-changed-the-score)
# - [Are these words faithful?](#4--are-these-words-faithful)
# - [Texts that the model cannot read](#5--texts-that-the-model-cannot-read)
# - [How accurate is the model?](#6--how-accurate-is-the-model)
# - [Takeaways](#takeaways)
# - [Exercises](#exercises)

# %% tags=["parameters"]
texts: str = ""  # your texts, one a line; "": seven made-up reviews
table: str = ""  # in their place a table: .csv, .tsv, .jsonl, .txt, .xlsx or .parquet
column: str = ""  # its column of texts; "": the one that is called text, review or so
model: str = ""  # folder of a kept model; "": the one kept in mmlib/dyfulm/weights
most: int = 12  # how many texts of yours are shown and explained, from the first on
run: str = "interactive"  # folder under figures that receives the pictures

# %%
from itertools import islice
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mmlib.data.readers import stream
from mmlib.dyfulm import kept, score, words
from mmlib.figures import cards, plots
from mmlib.figures.stepper import browse
from mmlib.scores import results

plots.style()
pd.set_option("display.precision", 3, "display.width", 110, "display.max_colwidth", 40)
reader = kept.load(Path(model)) if model else kept.load()

# %% [markdown]
# <a id="1--the-texts"></a>
#
# ## 1 · The texts

# %%
MADE = (
    "We stayed for three nights and loved it. The room was bright and clean, the bed was very "
    "comfortable, and the staff at the front desk were friendly and helpful.",
    "The worst night of our trip. The carpet was dirty, the bathroom smelled of smoke, and when we "
    "complained the manager was rude and refused to give us another room.",
    "The location is excellent, close to the train station and many good restaurants. Sadly our "
    "room was small and noisy, and the breakfast was cold every morning.",
    "It is an ordinary hotel near the airport. The room was fine for one night, the price was "
    "average, and the breakfast was neither good nor bad.",
    "Great pool, great view and a wonderful dinner on the terrace. Our children did not want to "
    "leave, and we will certainly come back next summer.",
    "The photos on the website are not honest. The pool was closed, the air conditioning did not "
    "work, and nobody told us before we paid for five nights.",
    "At first we were disappointed because our room was not ready, but the staff gave us a free "
    "drink and a better room with a balcony. In the end we were very happy.",
)

# %% [markdown]
# Your own texts replace these made-up ones: the lines of `texts`, or a column of the file `table`.

# %%
yours = bool(table or texts.strip())
if table:
    with stream.opened(table) as rows:
        name = score.text_column(rows, column or None)
        given = [text for chunk in islice(rows.chunks(), 1) for text in chunk[name][:most]]
else:
    given = [line for line in texts.splitlines() if line.strip()][:most] or list(MADE)
print(f"{len(given)} texts, {sum(len(text.split()) for text in given)} words")

# %% [markdown]
# <a id="2--what-the-model-predicts"></a>
#
# ## 2 · What the model predicts
#
# The model gives three answers for each text, as in the paper: a coarse class, one to five stars,
# and an intensity in $[0, 1]$. Class and stars get probabilities: their logits $z_k$ are divided by
# a temperature $T$ that was chosen on validation reviews. On test hotels that did not lower
# the calibration error (section 6 of [12](12_compression.ipynb)).
#
# $$p_k = \frac{\exp(z_k / T)}{\sum_j \exp(z_j / T)}$$
#
# The column `stars` has the expected number of stars, $\sum_k k\, p_k$. Unlike the most probable
# number of stars, the expected number can change with every word.

# %%
found = score.predictions(reader, given)
is_read = found["intensity"].notna().to_numpy()
if not is_read.any():
    raise ValueError(f"no text can be read: {'; '.join(found['note'].unique())}; give others")
found["stars"] = found[[f"p_{k}" for k in kept.STARS]].to_numpy() @ np.array(kept.STARS)

# %%
shown = found[["coarse", "stars", "intensity", "p_negative", "p_neutral", "p_positive", "note"]]
shown = shown.set_index(pd.Index([text[:40] for text in given], name="text"))
shown.round(2)

# %%
LOOK = {"cmap": cards.BLUE_TO_ORANGE, "axis": None}
coloured = (
    shown.reset_index()
    .style.format(precision=2, na_rep="")
    .background_gradient(subset=["stars"], vmin=0, vmax=6, **LOOK)
    .background_gradient(subset=["intensity"], vmin=-0.3, vmax=1.3, **LOOK)
    .hide(axis="index")
)
coloured

# %% [markdown]
# **Checks.** The probabilities of a text add up to one, and the class is the most probable one. The
# first text has the same intensity when it is the only text: predictions do not depend on the other
# texts.

# %%
p = found.loc[is_read, [f"p_{name}" for name in reader.coarse]]
assert np.allclose(p.sum(axis=1), 1, atol=1e-3)
assert (p.to_numpy().argmax(axis=1) == found.loc[is_read, "coarse"].map(reader.coarse.index)).all()

# %%
alone = score.predictions(reader, given[:1])
assert np.allclose(alone["intensity"], found["intensity"][:1], atol=1e-3, equal_nan=True)
print({name: int(n) for name, n in found["coarse"].value_counts().sort_index().items()})

# %% [markdown]
# <a id="3--which-words-changed-the-score"></a>
#
# ## 3 · Which words changed the score?
#
# We leave one word out and predict again (occlusion). Let the score $s$ be the expected stars. The
# effect of word $w$ is
#
# $$e_w = s(\text{text}) - s(\text{text without } w).$$
#
# A word with an effect above zero raised the score, and one below zero lowered it. The method needs
# only a model's output, so it works for any model. It costs one prediction for each word.

# %%
legible = [given[i] for i in np.flatnonzero(is_read)]
effects = [words.occlusion(reader, text) for text in legible]  # (words, (w,)) a text
strongest = int(np.argmax([np.abs(effect).max() for _, effect in effects]))

# %%
tokens, effect = effects[strongest]
figure = cards.words(tokens, effect, "lowered the stars", "raised the stars", zero=True)
_ = plots.save(figure, "13_words", run)

# %%
order = np.argsort(-np.abs(effect))[:10][::-1]
colours = [plots.look("daf" if effect[i] > 0 else "text").colour for i in order]
top = tokens[order[-1]].strip(".,")
strongest_word = f"'{top}' has the largest effect: {effect[order[-1]]:+.2f} stars"

# %%
figure, axes = plt.subplots(figsize=(7, 3.2))
axes.barh(range(len(order)), effect[order], color=colours)
axes.set_yticks(range(len(order)), [f"{tokens[i]} ({i + 1})" for i in order], parse_math=False)
axes.axvline(0, color="black", lw=1)
axes.set(xlabel="effect on the expected stars", ylabel="word (its place)", title=strongest_word)
axes.title.set_parse_math(False)
_ = plots.save(figure, "13_effects", run)

# %%
whole = words.stars(reader, [legible[strongest]])[0]
print(f"In this text ({whole:.1f} stars) the word {strongest_word}.")

# %%
largest = [np.abs(e).max() for _, e in effects]
print(f"Largest effect of a single word, by text: {', '.join(f'{x:.2f}' for x in largest)}")

# %% [markdown]
# **Step through the texts.** In a live notebook a slider steps through all texts. This page shows
# the text that has the largest effect. The bars are the three answers of section 2.


# %%
def draw(i: int):
    """Text i: its words by their effect, and the three answers."""
    row = found[is_read].iloc[i]
    coarse = {name: row[f"p_{name}"] for name in reader.coarse}
    fine = {f"{k} star" + "s" * (k > 1): row[f"p_{k}"] for k in kept.STARS}
    heads = {"coarse": coarse, "fine": fine, "intensity": {"": row["intensity"]}}
    return cards.review(*effects[i], heads)


# %%
browse([text[:40] for text in legible], draw, still=[strongest])

# %%
seen = found[is_read].iloc[strongest]
print(
    f"Shown: coarse {seen['coarse']}, {seen['stars']:.1f} expected stars, "
    f"intensity {seen['intensity']:.2f}."
)

# %% [markdown]
# <a id="4--are-these-words-faithful"></a>
#
# ## 4 · Are these words faithful?
#
# An explanation is faithful if the model depends on the words that the explanation names. So we
# delete words in the order of their effect, first those that moved the score furthest from three
# stars. The score should then move back towards three stars and beyond. Texts within .25 of three
# stars are left out, since they have hardly a side to move from. The baseline deletes words in
# random order, five orders for each text. If the words are faithful, deletion by effect moves the
# score more (Petsiuk et al. 2018, for pictures).
#
# The start of the curve proves little, since its words were chosen by the same measure. So averages
# are over the shares .2 to .5 of words deleted: effects were measured for one word at a time, and
# here many words are deleted together.

# %%
shares = np.linspace(0, 0.5, 6)


def falls(text: str, effect: np.ndarray) -> np.ndarray:
    """How far the stars fall back, by effect and at random, (2, k)."""
    parts, rng = text.split(), np.random.default_rng(0)
    side = np.sign(words.stars(reader, [text])[0] - 3)  # 1: above three stars
    orders = [np.argsort(-side * effect), *(rng.permutation(len(parts)) for _ in range(5))]
    curves = np.array([words.deletion(reader, parts, order, shares) for order in orders])
    change = side * (curves[:, :1] - curves)  # (orders, k)
    return np.stack([change[0], change[1:].mean(axis=0)])


# %%
sided = np.abs(words.stars(reader, legible) - 3) >= 0.25  # (n,)
print(f"{sided.sum()} of {len(legible)} texts are at least .25 from three stars")
sided |= not sided.any()  # if no text has a side: all
chosen = [(t, e) for t, (_, e), far in zip(legible, effects, sided, strict=True) if far]
change = np.array([falls(*one) for one in chosen])  # (n, 2, k)
area = change[..., shares >= 0.2].mean(axis=-1)  # (n, 2), mean height of each curve

# %%
lines = {"by effect": change[:, 0].mean(axis=0), "at random": change[:, 1].mean(axis=0)}
figure = plots.curves(
    shares, lines, xlabel="share of words deleted", ylabel="stars moved to the other side"
)
pace = f"{area[:, 0].mean():.2f} stars by effect, {area[:, 1].mean():.2f} at random"
figure.axes[0].set_title(f"Shares .2 to .5, mean of {len(area)} texts: {pace}")
_ = plots.save(figure, "13_deletion", run)

# %%
print(
    f"Deleted by effect, words move the score by {area[:, 0].mean():.2f} stars on average, "
    f"at random by {area[:, 1].mean():.2f}."
)

# %%
more = int((area[:, 0] > area[:, 1]).sum())
print(f"Deletion by effect moves the score more, on average, in {more} of {len(area)} texts.")
if not yours:
    assert area[:, 0].mean() > area[:, 1].mean(), "the words are no better than random ones"

# %% [markdown]
# <a id="5--texts-that-the-model-cannot-read"></a>
#
# ## 5 · Texts that the model cannot read
#
# A text that the model cannot read gets a note and no prediction. Two limits are our choice. A text
# needs at least four words. And it counts as another language if more than 35 % of its words are
# missing from the vocabulary as whole words. HTML is removed, and the rest is read. Of a long text
# only the first 64 and the last 192 tokens are read; then `cut` is true.

# %%
ODD = (
    "Das Zimmer war sauber, das Personal sehr freundlich, und wir kommen gerne wieder.",
    "房间很干净，工作人员也非常友好，我们还会再来。",
    "Great hotel, thanks!",
    "",
    "<p>The room was <b>very clean</b> and the staff were friendly &amp; helpful.</p>",
    "The room was clean and the staff were friendly. " * 60,
)

# %%
odd = score.predictions(reader, ODD)
odd.index = pd.Index(["German", "Chinese", "three words", "empty", "HTML", "very long"])
odd[["coarse", "intensity", "cut", "note"]].round(2)

# %%
silent = ["German", "Chinese", "three words", "empty"]
assert odd.loc[silent, "intensity"].isna().all() and (odd.loc[silent, "note"] != "").all()

# %%
assert odd.loc["HTML", "note"] == score.HTML and odd.loc["HTML", "coarse"] == "positive"
assert odd.loc["very long", "cut"] and not odd.loc["HTML", "cut"]
print(f"{len(silent)} of {len(odd)} odd texts get a note and no prediction.")

# %% [markdown]
# <a id="6--how-accurate-is-the-model"></a>
#
# ## 6 · How accurate is the model?
#
# The table has the scores of the kept model in the project on 5,531 test reviews of other hotels:
# accuracy in three classes and in five, and the MAE of the intensity. It is better than a bag of
# words that learned from the same reviews: by .018 [.010, .026] in three classes and, at the edge,
# by .024 [.011, .037] in five ([12](12_compression.ipynb), run `compression-hotel`). There p is
# .001, but .124 if all tests of that run are corrected together. Other texts, such as film reviews,
# were not measured.

# %%
print(f"reads {reader.max_length} tokens of a text")
for target, heat in reader.card["temperature"].items():
    print(f"temperature of {target}: {heat:.2f}")

# %%
kept_run = results.load("compression-hotel").query(
    "notebook == 'compression-kept' and model == 'single_a'"
)
scores = kept_run[kept_run["metric"].isin(["acc_coarse", "acc_fine", "mae"])]
scores.set_index("metric")[["mean", "ci_low", "ci_high"]].round(3)

# %% [markdown]
# <a id="takeaways"></a>
#
# ## Takeaways

# %%
print(
    f"1. {int(is_read.sum())} of {len(given)} texts are read; expected stars from "
    f"{found['stars'].min():.1f} to {found['stars'].max():.1f}."
)
print(f"2. The word with the largest effect: '{top}', {effect[order[-1]]:+.2f} stars.")
print(f"   Deletion by effect: {area[:, 0].mean():.2f} stars; at random: {area[:, 1].mean():.2f}")
print(f"   (mean of {len(area)} texts, no interval).")
print(f"3. {len(silent)} of {len(odd)} odd texts get a note and no prediction.")

# %% [markdown]
# One command predicts for a table of any length, and can be stopped and continued
# ([what it reads](book/own_texts.md)):
#
# ```
# .venv/bin/python -m mmlib.dyfulm reviews.csv --text COLUMN --out scored.csv
# ```
#
# What differs from the paper: the paper's model has two encoders, RoBERTa and DeBERTa. We know of
# no published weights of that model.
#
# <a id="exercises"></a>
#
# ## Exercises
#
# 1. Write one review with "not" in it, such as "the room was not clean at all". What are the
#    effects of "not" and of the word after it?
#
# <details><summary>Solution</summary>
#
# `words.occlusion(reader, "The room was not clean at all, and the staff were not friendly.")`. If
# the model reads negation, "not" has an effect below zero, and "clean" has a smaller effect than in
# "the room was clean".
#
# </details>
#
# 2. Explain the intensity in place of the expected stars. Are the words the same?
#
# <details><summary>Solution</summary>
#
# `words.stars = lambda model, texts: model.read(list(texts)).intensity`, then `words.occlusion` and
# `scipy.stats.spearmanr`. Both heads read one vector, so expect a similar order of the words.
#
# </details>
#
# 3. Delete first the words that pushed the score towards three stars. What should the curve do?
#
# <details><summary>Solution</summary>
#
# `np.argsort(side * effect)`. The score moves further from three stars, so the curve goes below
# zero. It stays there: the supporting words come last.
#
# </details>
