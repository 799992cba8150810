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
# # 01b · From words and frames to one vector
#
# ![Words and frames become one vector each](../figures/models/vectors.svg)
#
# **The question**: how do a text and a sequence of frames become one vector each, and what does
# averaging over padding cost? The notebook takes about half a minute on a laptop's CPU with the
# embedded corpus. DAF ([arXiv 2509.22729](https://arxiv.org/abs/2509.22729)) freezes its encoders.
# So the choice of their states, and the way these are averaged, is made here and never learned
# later.
#
# Layers are chosen on training and validation videos only. Before this:
# [`01_features`](01_features.ipynb) (the data). After it: [`01c_covarep`](01c_covarep.ipynb) (where
# audio frames come from), or straight on to [`02_daf`](02_daf.ipynb) (what is learnt on top).
#
# **Contents**
#
# - [1 · Frozen text states](#1--frozen-text-states)
# - [2 · Which layers?](#2--which-layers)
# - [3 · Pooling frames, and what padding costs](#3--pooling-frames-and-what-padding-costs)
# - [4 · What each modality knows by itself](#4--what-each-modality-knows-by-itself)
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
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as chatter

# %%
from mmlib.daf import features
from mmlib.data import Sequences, load
from mmlib.figures import architecture, plots
from mmlib.scores import stats
from mmlib.scores.metrics import METRICS, score
from mmlib.text import encoding
from mmlib.text.encoder import locate

plots.style()
torch.set_num_threads(1)
pd.set_option("display.precision", 3, "display.width", 110)

# %%
Box, GREY = architecture.Box, architecture.GREY
boxes = {
    "words": Box(0.09, 0.75, "words", GREY),
    "layers": Box(0.36, 0.75, "states of\nall layers", GREY),
    "mean": Box(0.64, 0.75, "mean over\ntokens", GREY),
    "frames": Box(0.09, 0.25, "frames of\nvoice, face", GREY),
    "there": Box(0.36, 0.25, "those that\nare there", GREY),
    "sd": Box(0.64, 0.25, "mean and\ndeviation", GREY),
    "x": Box(0.91, 0.5, "one vector\neach", GREY),
}
chain = ("words", "layers", "mean", "x"), ("frames", "there", "sd", "x")
arrows = [architecture.Arrow(*pair) for part in chain for pair in pairwise(part)]
_ = plots.save(architecture.draw(boxes, arrows, height=2), "vectors", "models", "svg")

# %%
embedded = load("synthetic", seed=seed)
corpus = embedded if dataset == "synthetic" else load(dataset)

# %% [markdown]
# <a id="1--frozen-text-states"></a>
#
# ## 1 · Frozen text states
#
# `text.encode` runs a frozen transformer once over all texts: evaluation mode, no gradient, every
# hidden layer averaged over the text's own $T$ tokens,
#
# $$x_l = \frac{1}{T} \sum_{t \le T} H_{l,t}, \qquad l = 0 \ldots L,$$
#
# where $H_{l,t}$ is the state of token $t$ in layer $l$. $H_0$ is the embedding layer, $H_L$ the
# last. (A data set without text borrows the embedded corpus here.)

# %%
worded = corpus if corpus.text is not None else embedded
frozen = {"encoder": encoder, "max_length": max_length}
states, report = encoding.encode(worded.text, layers="all", report=True, **frozen)  # (n, l, d)
print(f"{worded.name}: {report.texts} texts, {report.distinct} distinct, states {states.shape}")
assert states.dtype == np.float32 and np.isfinite(states).all()

# %% [markdown]
# **Check: this is the equation, for the last layer.** We pass four texts, padded into one batch,
# through the plain model. Averaging over the padded length (the careless mean) gives another
# vector:

# %%
chatter.set_verbosity_error()
chatter.disable_progress_bar()
tokenizer = AutoTokenizer.from_pretrained(locate(encoder), trust_remote_code=False)
model = AutoModel.from_pretrained(locate(encoder), trust_remote_code=False).eval()
ranked = sorted(set(worded.text), key=lambda words: (len(words), words))

# %%
four = ranked[:: (len(ranked) - 1) // 3]  # from the shortest to about the longest
batch = tokenizer(four, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
with torch.inference_mode():
    H = model(**batch).last_hidden_state  # (b, t, d)
mask = batch["attention_mask"][..., None]  # (b, t, 1)

# %%
own = ((H * mask).sum(1) / mask.sum(1)).numpy()  # (b, d)
assert np.abs(own - encoding.encode(four, **frozen)).max() < 1e-5
careless = H.mean(1).numpy()  # over padding too
off = np.linalg.norm(careless - own, axis=1) / np.linalg.norm(own, axis=1)  # (b,)
print("tokens", mask.sum((1, 2)).tolist(), "relative error of the careless mean", off.round(2))

# %%
assert off[0] > 0.1, "the shortest text has the most padding"

# %% [markdown]
# **Batches by length.** Texts of like length share a batch, longest first, up to a budget of tokens
# with padding counted; the order is restored afterwards. In the order of arrival, much of the work
# would be spent on padding. Texts longer than `max_length` are cut, and the report counts them.

# %%
tokens = np.array([len(ids) for ids in tokenizer(list(worded.text), verbose=False)["input_ids"]])


def padding(lengths: np.ndarray, b: int = 64) -> float:
    """Share of padding in batches of b texts, in the order given."""
    batches = [lengths[i : i + b] for i in range(0, len(lengths), b)]
    return 1 - lengths.sum() / sum(len(batch) * batch.max() for batch in batches)


# %%
arrival, by_length = padding(tokens), padding(np.sort(tokens))
print(f"padding: {arrival:.0%} in order of arrival, {by_length:.1%} by length")
print("texts cut at", {limit: int((tokens > limit).sum()) for limit in (16, 32, 64, 128)})
assert report.truncated == (tokens > max_length).sum()

# %% [markdown]
# **Check: a text's states do not depend on its batch.** On a CPU a text alone gets the same bits as
# among others (on a GPU equal to 1e-5), because attention pads its keys to whole groups of 16
# (`mmlib.text.attention`). So encoding a corpus in another order trains the same model.
# (`cache=False` makes sure that both ways are computed.)

# %%
some = [worded.text[i] for i in np.argsort(tokens)[:: len(tokens) // 16]]
together = encoding.encode(some, cache=False, **frozen)  # (16, d)
alone = np.concatenate([encoding.encode([one], cache=False, **frozen) for one in some])
assert np.abs(together - alone).max() <= (1e-5 if torch.cuda.is_available() else 0)
print(f"{len(some)} texts of {tokens.min()} to {tokens.max()} tokens: equal states, alone or not")

# %% [markdown]
# **Check: nothing is encoded twice.** States are stored on disk under a hash of everything they
# depend on (text, weights, tokenizer, options, library versions). A changed option makes a new
# entry.

# %%
again, second = encoding.encode(worded.text, layers="all", report=True, **frozen)
assert second.cached == second.distinct, "cache not writable: set MMLIB_CACHE to another folder"
assert np.array_equal(again, states)
print(f"second call: {second.cached} of {second.distinct} texts from the cache, bit for bit")
print("an entry depends on:", ", ".join(sorted(second.settings)))

# %% [markdown]
# <a id="2--which-layers"></a>
#
# ## 2 · Which layers?
#
# The last layer of a sentence encoder was trained for similarity, not for sentiment. A linear probe
# (ridge regression) on each layer shows how well that layer predicts sentiment. We hold out data in
# two ways: five folds over the videos of training and validation together, and the data set's own
# validation split. The test split is not used. Each layer takes the best of the same three
# penalties. The held-out error itself chooses the penalty, so all errors below are optimistic.

# %%
PENALTIES = np.array([300.0, 1000.0, 3000.0])


# %%
class Held(NamedTuple):
    """Held-out utterances of all folds, in the order that mmlib.scores.stats takes them."""

    guess: np.ndarray  # (n,)
    label: np.ndarray  # (n,)
    group: np.ndarray  # (n,)


# %%
def probe(x: np.ndarray, corpus, folds: list) -> Held:
    """What ridge regression with the best of the penalties predicts for the held-out rows."""
    rows, guesses = np.concatenate([held for _, held in folds]), []
    for fit, held in folds:
        scaler = StandardScaler().fit(x[fit])
        targets = np.tile(corpus.label[fit, None], len(PENALTIES))  # one a penalty
        ridge = Ridge(PENALTIES, solver="cholesky").fit(scaler.transform(x[fit]), targets)
        guesses.append(ridge.predict(scaler.transform(x[held])).T)
    guesses = np.concatenate(guesses, axis=1).clip(-3, 3)  # (penalty, n)
    label, group = corpus.label[rows], np.array(corpus.groups)[rows]
    return Held(guesses[score("mae", guesses, label).argmin()], label, group)


# %%
def mae(held: Held) -> tuple[float, float, float]:
    """Mean absolute error and its 95 % interval over videos."""
    return score("mae", *held[:2]), *stats.interval(METRICS["mae"], *held)


# %%
def folds_of(corpus, k: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out rows of k folds of train + valid, cut by group."""
    rows, groups = np.flatnonzero(corpus.split != "test"), np.array(corpus.groups)
    return [(rows[a], rows[b]) for a, b in GroupKFold(k).split(rows, groups=groups[rows])]


# %%
views = {f"layer {i}": states[:, i] for i in range(states.shape[1])}
views["all layers"] = states.reshape(len(states), -1)  # (n, l d)

# %%
ways = {
    "cross-validated": folds_of(worded),
    "own validation split": [(worded.rows("train"), worded.rows("valid"))],
}
read = {way: {v: probe(x, worded, folds) for v, x in views.items()} for way, folds in ways.items()}

# %%
errors = {way: {view: mae(held) for view, held in by.items()} for way, by in read.items()}

# %%
table = pd.DataFrame(errors).map(lambda error: "{:.3f} [{:.3f}, {:.3f}]".format(*error))
print(f"mean absolute error of the probe on {worded.name}, with 95 % interval over videos")
print(table.to_string())

# %%
last = f"layer {states.shape[1] - 1}"
singles = {view: error[0] for view, error in errors["cross-validated"].items()}
together = singles.pop("all layers")
best_one = min(singles, key=singles.get)

# %%
figure = plots.curves(
    range(states.shape[1]),
    {way: list(by.values())[:-1] for way, by in errors.items()},
    xlabel="layer",
    ylabel="MAE of the probe",
)
for by, dashes in zip(errors.values(), ("-", "--"), strict=True):
    figure.axes[0].axhline(by["all layers"][0], color="black", lw=1, ls=dashes)
found = f"best single layer {singles[best_one]:.3f}, all layers {together:.3f}"
figure.axes[0].set_title(f"Cross-validated error: {found} (lower is better)")
_ = plots.save(figure, "01b_layers", run)

# %%
print(f"Best single layer, cross-validated: {best_one}, {singles[best_one]:.3f} MAE.")
print(f"All layers end to end (horizontal lines; solid: cross-validated): {together:.3f}.")
print("Bands: 95 % intervals over videos.")

# %% [markdown]
# The states of all layers end to end predict better than the last layer, so they are our default
# (`layers="all"`). What we worked from names no layer. The choice was made by cross-validation. The
# standard validation split of CMU-MOSI has only ten videos. On these ten the last layer has the
# lower mean error, in cross-validation the higher one: `dataset=mosi` shows both, with intervals.
# Ten videos are too few for a choice, so `mmlib.daf.tune` cross-validates too.
#
# How sure is each result? All layers and the last layer predict the same utterances, so their
# difference has an interval of its own, over videos.

# %%
wins = {}

# %%
for way, by in read.items():
    wins[way] = stats.compare(METRICS["mae"], by["all layers"].guess, *by[last])
    difference, low, high, _ = wins[way]
    print(
        f"{way}, {len(set(by[last].group))} videos: all layers - {last}: "
        f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    )

# %%
if encoder == "minilm":
    assert wins["cross-validated"].diff < 0, "all layers end to end are read better"
if dataset == "mosi" and encoder == "minilm":
    assert wins["own validation split"].diff > 0 > wins["cross-validated"].diff
agree = all(win.diff < 0 for win in wins.values())

# %%
print(f"{worded.name}: the two ways of holding out {'agree' if agree else 'DISAGREE'}")

# %% [markdown]
# <a id="3--pooling-frames-and-what-padding-costs"></a>
#
# ## 3 · Pooling frames, and what padding costs
#
# Audio and vision come as frames, and their number differs between utterances. We keep the mean and
# the standard deviation over the $T$ valid frames $x_t$. A frame of zeros is not valid, since
# trackers write zeros where they have lost the face:
#
# $$\mu = \frac{1}{T} \sum_{t \le T} x_t, \qquad
#   \sigma^2 = \frac{1}{T} \sum_{t \le T} (x_t - \mu)^2$$

# %%
sources = [embedded] if corpus is embedded else [embedded, corpus]

# %%
for sequences in (sequences for source in sources for sequences in source.sequences.values()):
    pooled, d = features.pool(sequences), len(sequences.columns)
    for i in np.flatnonzero(sequences.lengths)[:20]:
        x = sequences[i].astype(float)  # (t, d)
        x = x[x.any(axis=1)]
        assert np.allclose(pooled[i, :d], x.mean(0), rtol=1e-4, atol=1e-4)
        assert pooled.shape[1] == d or np.allclose(pooled[i, d:], x.std(0), rtol=1e-3, atol=1e-3)
    print(f"{sequences.values.shape} frames -> {pooled.shape}")

# %% [markdown]
# Other code often pads every utterance to one length with zeros and then averages over that length.
# With $T$ valid frames this padded mean is $\frac{T}{T_{\max}}\mu$. So it also measures how long
# someone spoke, and of a face how often it was in view. Two checks follow. Repeating an utterance's
# frames must not change its mean, and its mean pitch must not follow its length.


# %%
def padded_mean(sequences: Sequences) -> np.ndarray:
    """Mean over the padded length, as if every utterance were as long as the longest, (n, d)."""
    mean = features.pool(sequences)[:, : len(sequences.columns)]
    valid = np.r_[0, np.cumsum(sequences.values.any(axis=1))][sequences.offsets]  # (n + 1,)
    return mean * (np.diff(valid) / sequences.lengths.max())[:, None]


audio = embedded.sequences["audio"]
twenty = audio.take(np.arange(20))

# %%
frames = np.concatenate([part for i in range(20) for part in (twenty[i], twenty[i])])
twice = replace(twenty, values=frames, lengths=2 * twenty.lengths)
assert np.allclose(features.pool(twice), features.pool(twenty), rtol=1e-3, atol=1e-3)
heard = audio.lengths > 0

# %%
for name, mean in (("valid", features.pool(audio)), ("padded", padded_mean(audio))):
    pitch = mean[heard, audio.columns.index("F0")]
    rank = abs(spearmanr(pitch, audio.lengths[heard])[0])
    print(f"F0, {name} mean: rank correlation with length {rank:.1f}")
    assert rank > 0.7 if name == "padded" else rank < 0.1

# %% [markdown]
# What does padding cost? We fit the same probe to the means alone, averaged both ways. The embedded
# utterances differ in length by a factor of three. To make lengths more uneven, we also cut each to
# a random share of its frames, down to 5 %. The valid mean of fewer frames loses little. The padded
# mean of the voice gets worse. That of the face is *better* than the valid mean here: in this
# corpus a face is often lost where it tells little, and the padded mean shows how often it was
# lost.


# %%
def shorten(sequences: Sequences, least: float) -> Sequences:
    """Keep the first part of each utterance, a random share of its frames between least and 1."""
    share = np.random.default_rng([seed, 1]).uniform(least, 1, len(sequences))
    kept = np.ceil(share * sequences.lengths).astype(int)  # (n,)
    place = np.arange(len(sequences.values)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    inside = place < np.repeat(kept, sequences.lengths)
    return replace(sequences, values=sequences.values[inside], lengths=kept)


# %%
LEAST, cost, folds = (1.0, 0.5, 0.25, 0.05), {}, folds_of(embedded)

# %%
for m, sequences in embedded.sequences.items():
    for least in LEAST:
        cut = shorten(sequences, least)
        mean = features.pool(cut)[:, : len(cut.columns)]
        valid, padded = (probe(x, embedded, folds) for x in (mean, padded_mean(cut)))
        cost[m, least] = stats.compare(METRICS["mae"], padded.guess, *valid)[:3]
        print(
            f"{m}, at least {least:.0%} kept: valid mean {mae(valid)[0]:.3f}, "
            f"padded mean {mae(padded)[0]:.3f}"
        )

# %%
figure = plots.curves(
    LEAST,
    {m: [cost[m, least] for least in LEAST] for m in embedded.sequences},
    xlabel="least share of an utterance's frames that is kept",
    ylabel="MAE added by padding",
)
figure.axes[0].axhline(0, color="black", lw=1)
ends = " to ".join(f"{end(added for added, *_ in cost.values()):+.2f}" for end in (min, max))
figure.axes[0].set_title(f"Padding changes the error (MAE) by {ends}")
_ = plots.save(figure, "01b_padding", run)

# %%
assert cost["audio", 0.05][1] > 0 and cost["audio", 0.05][0] > cost["audio", 1.0][0]
assert cost["vision", 1.0][2] < 0, "how often the face was lost tells something"
added = {at: "{:+.3f} [{:+.3f}, {:+.3f}]".format(*x) for at, x in cost.items()}
for m in embedded.sequences:
    print(f"{m}: padding adds {added[m, 1.0]} MAE, and {added[m, 0.05]} if lengths are uneven.")
print("Bands: 95 % intervals over videos.")

# %% [markdown]
# <a id="4--what-each-modality-knows-by-itself"></a>
#
# ## 4 · What each modality knows by itself
#
# The same probe reads the finished audio and visual features; the text's error is the one above.
# Fusion has to beat these errors later. The last line has a constant's error. On the embedded
# corpus each modality alone has a lower error than the constant.

# %%
data = features.build(corpus, layers=layers, **frozen)

# %%
folds = folds_of(corpus)
view = "all layers" if layers == "all" else last
known = {"text": read["cross-validated"][view]} if worded is corpus else {}
known |= {m: probe(x, corpus, folds) for m, x in data.x.items() if m != "text"}
median = np.concatenate([np.full(len(h), np.median(corpus.label[fit])) for fit, h in folds])
known["constant"] = next(iter(known.values()))._replace(guess=median)

# %%
for name, held in known.items():
    print(
        name,
        "MAE {:.3f} [{:.3f}, {:.3f}],".format(*mae(held)),
        f"Corr {score('corr', *held[:2]):.2f}",
    )

# %% [markdown]
# <a id="takeaways"></a>
#
# ## Takeaways
#
# What differs from the paper: its encoders are BERT and COVAREP / FACET. Our text encoder is a
# small sentence encoder by default. What we worked from names no size, no layer and no
# pooling. `encoder="bert-base-uncased"` is our reading; it needs a network.

# %%
best = min(data.modalities, key=lambda m: mae(known[m])[0])
difference, low, high, _ = wins["cross-validated"]

# %%
print(
    f"1. {worded.name}: all text layers against the last: {difference:+.3f} MAE "
    f"[{low:+.3f}, {high:+.3f}], cross-validated over videos."
)

# %%
print(
    f"2. Embedded corpus: averaging padding changes the MAE by {added['audio', 1.0]} (audio) and "
    f"{added['vision', 1.0]} (vision);\n   where lengths differ more, by "
    f"{added['audio', 0.05]} and {added['vision', 0.05]}."
)

# %%
print(
    f"3. {corpus.name}: {best} alone reaches {mae(known[best])[0]:.3f} MAE, a constant "
    f"{mae(known['constant'])[0]:.3f}."
)

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# Each takes a few lines below the last cell. The solutions run as they are.
#
# **1.** Read the first and the last layer together. Is that better than the last layer alone?
#
# <details><summary>Solution</summary>
#
# ```python
# ends = np.concatenate([states[:, 0], states[:, -1]], axis=1)  # (n, 2 d)
# print("both: {:.3f} [{:.3f}, {:.3f}]".format(*mae(probe(ends, worded, folds_of(worded)))))
# print(f"last alone: {errors['cross-validated'][last][0]:.3f}")
# ```
#
# </details>
#
# **2.** How much padding is there in batches of 8 and of 256 texts?
#
# <details><summary>Solution</summary>
#
# ```python
# for b in (8, 256):
#     print(b, f"{padding(tokens, b):.0%} by arrival, {padding(np.sort(tokens), b):.1%} by length")
# ```
#
# </details>
#
# **3.** Do the deviations over frames tell something that the means do not?
#
# <details><summary>Solution</summary>
#
# ```python
# x, d = features.pool(audio), len(audio.columns)
# for name, part in (("means", x[:, :d]), ("means and deviations", x)):
#     print(name, round(mae(probe(part, embedded, folds_of(embedded)))[0], 3))
# ```
#
# </details>
