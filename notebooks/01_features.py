# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · From recordings to vectors
#
# About a minute on a laptop's CPU with the embedded corpus. DAF (arXiv 2509.22729) learns on top of
# *frozen* encoders: text, audio and vision are turned into one vector each, once, and never touched
# again. The paper spends a few words on this step; most of what can silently go wrong is in it. So
# this notebook looks at the data (its passport), at a corpus whose truth is known, at the frozen
# text states, at the pooling of frames, and at the scaling, and checks each claim where it is made.
#
# Nothing here reads a label of the test split. After this: [`02_daf`](02_daf.ipynb) (what is learnt
# on top).

# %% tags=["parameters"]
dataset: str = "synthetic"  # synthetic | mosi | mosei | mmmo: which corpus to look at
leak: bool = False  # True: MOSI's other split with its visual features, made from training labels
encoder: str = "minilm"  # frozen text encoder: minilm, a folder, or a hub id (paper: BERT)
layers: str = "all"  # text states kept: of all layers end to end, or of the last
max_length: int = 128  # tokens of a text; what is longer is cut and counted
seed: int = 0  # of the embedded corpus
clip: str = ""  # a recording of yours for section 10; "": one is made here
transcript: str = ""  # its txt, srt, vtt, or json of Whisper or Gentle
faces: str = ""  # its face export (iMotions FACET, OpenFace 2, py-feat); "": none
run: str = "interactive"  # folder under figures that receives the pictures

# %%
from dataclasses import replace
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as chatter

from mmlib.covarep import (
    FEATURES,
    GROUPS,
    envelope,
    extract,
    iaif,
    lf,
    sinusoids,
    utterance_means,
)
from mmlib.covarep.rd import estimate_rd
from mmlib.covarep.stages import Stages
from mmlib.covarep.voice import resonate, synthesise
from mmlib.daf import features
from mmlib.data import Sequences, load
from mmlib.data.embedded.synthetic import noise_of
from mmlib.figures import plots, timelines
from mmlib.recordings.demo import speak, spoken
from mmlib.scores import stats
from mmlib.scores.metrics import METRICS, score
from mmlib.scores.passport import passport
from mmlib.stack import vectors
from mmlib.text import encoding
from mmlib.text.encoder import locate

plots.style()
torch.set_num_threads(1)
pd.set_option("display.precision", 3, "display.width", 110)

# %% [markdown]
# ## 1 · The passport
#
# Before any model: which file is this, how large are its splits, what would a constant score, which
# columns hold NaN, clipped or constant values, does any speaker or video stand in two splits? All
# of it is one call. It holds counts and ids, never an utterance.
#
# The base rates deserve a look. Whoever calls everything positive already has a respectable F1,
# and whoever always says the training median a respectable error: each score in the later
# notebooks is to be read against these rows.

# %%
options = {"split": "bclstm", "modalities": ("text", "audio", "vision")} if leak else {}
embedded = load("synthetic", seed=seed)
corpus = embedded if dataset == "synthetic" else load(dataset, **options)
facts = passport(corpus)
assert not facts.crossing_groups, "a video in two splits is an error, not a note"

# %%
print(facts)

# %% [markdown]
# ## 2 · The record
#
# A corpus is one immutable record. Sequences are *ragged*: all frames end to end and a length for
# each utterance, so no padding is stored anywhere. Axis letters here: `n` utterances, `t` token or
# frame, `d` feature, `m` modality, `l` layer.

# %%
print(f"{len(corpus)} utterances of {len(set(corpus.groups))} groups: {corpus.modalities}")
print("label", corpus.label.shape, "first id", corpus.ids[0], "of", corpus.groups[0])
for m, sequences in corpus.sequences.items():
    print(f"{m}: values {sequences.values.shape}, the first utterance's {sequences[0].shape}")
    assert sequences.lengths.sum() == len(sequences.values)

# %% [markdown]
# ## 3 · A corpus whose truth is known
#
# On real recordings nobody knows how much an utterance's voice was worth, so nobody can say whether
# an attention weight is *right*. The embedded corpus is made so that one can. Each utterance has a
# sentiment $y$ (multiples of 1/3, about a fifth zeros, as in CMU-MOSEI), and each modality $m$ an
# informativeness $q_m \in [0, 1]$ which decides how noisy its evidence is:
#
# $$s_m = 0.2^{\,q_m}\, 6^{\,1-q_m}, \qquad e_m = \mathrm{clip}(y + s_m \varepsilon,\, -3,\, 3)$$
#
# The evidence $e_m$ is what words, voice and face then say. A modality with low $q_m$ often says
# something wrong. Check: where little was clipped, the spread of $e_m - y$ is $s_m$.

# %%
q, evidence = embedded.truth["informativeness"], embedded.truth["evidence"]  # (n, m) each
clear = (q[:, 1] > 0.95) & (np.abs(embedded.label) < 1.5)  # (n,): clear voices far from the ends
found = (evidence[:, 1] - embedded.label)[clear].std()
wanted = noise_of(q[clear, 1]).mean()
print(f"spread of clear voices: {found:.2f}, by the equation {wanted:.2f}")

# %%
assert abs(found / wanted - 1) < 0.1

# %% [markdown]
# $q_m$ is not among the inputs, but it shows: in the manner of speaking (plain, hedged,
# second-hand, vague, sarcastic), in an unvoiced, restless voice, in a face that is lost from view.
# One utterance for each manner; what the words say (`evidence`) drifts from `y` as $q$ falls:

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
    here = q[:, at] > 0  # 0 stands for a missing modality
    rank = spearmanr(sign[here], q[here, at])[0]
    print(f"{name}: rank correlation with q {rank:.2f} in size")
    assert rank > 0.7, "informativeness has to be visible, or no attention could find it"

# %% [markdown]
# ### The oracle, and what dynamic weighting is worth here
#
# With all $q_m$ known, the prediction with the least expected error is the posterior median of $y$
# given the evidence; evidence then counts by its precision $1/s_m^2$. The best *fixed* weighting of
# the same evidence is a linear regression. The gap between the two is what a dynamic weighting can
# win, and notebook 04 asks which share of it DAF closes.
#
# The negative control is the same corpus with one $q$ for all utterances. There a fixed weighting
# is right, and a method that still gains by weighing dynamically is fooling itself. (The little
# that the oracle is ahead there, it owes to knowing which values a label can take.)


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
# ## 4 · Frozen text states
#
# `text.encode` runs a frozen transformer once over all texts: evaluation mode, no gradient, every
# hidden layer averaged over the text's own $T$ tokens,
#
# $$x_l = \frac{1}{T} \sum_{t \le T} H_{l,t}, \qquad l = 0 \ldots L,$$
#
# where $H_0$ is the embedding layer. (A data set without text borrows the embedded corpus here.)

# %%
worded = corpus if corpus.text is not None else embedded
frozen = {"encoder": encoder, "max_length": max_length}
states, report = encoding.encode(worded.text, layers="all", report=True, **frozen)  # (n, l, d)
print(f"{worded.name}: {report.texts} texts, {report.distinct} distinct, states {states.shape}")
assert states.dtype == np.float32 and np.isfinite(states).all()

# %% [markdown]
# **Check: this is the equation.** Four texts of different lengths, padded into one batch, through
# the plain model. Averaging over the padded length instead is not a small slip:

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
# would be spent on padding. What exceeds `max_length` is cut, and the report says how often.

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
# **Check: the neighbours do not matter.** A text alone in its batch gets the numbers
# it gets among others, to the last bit, since keys come in whole groups (`mmlib.text.attention`):
# whoever encodes a corpus in another order trains the same model. (`cache=False`: both ways are
# really computed.)

# %%
some = [worded.text[i] for i in np.argsort(tokens)[:: len(tokens) // 16]]
together = encoding.encode(some, cache=False, **frozen)  # (16, d)
alone = np.concatenate([encoding.encode([one], cache=False, **frozen) for one in some])
assert np.abs(together - alone).max() < (1e-5 if torch.cuda.is_available() else 1e-12)
print(f"{len(some)} texts of {tokens.min()} to {tokens.max()} tokens: equal bits, alone or not")

# %% [markdown]
# **Check: nothing is encoded twice.** States lie on disk under a hash of everything they depend on
# (text, weights, tokenizer, options, library versions). Another option is another entry.

# %%
again, second = encoding.encode(worded.text, layers="all", report=True, **frozen)
assert second.cached == second.distinct, "cache not writable: set MMLIB_CACHE to another folder"
assert np.array_equal(again, states)
print(f"second call: {second.cached} of {second.distinct} texts from the cache, bit for bit")
print("an entry depends on:", ", ".join(sorted(second.settings)))

# %% [markdown]
# ## 5 · Which layers?
#
# The last layer of a sentence encoder was trained for similarity, not for sentiment. A linear probe
# (ridge regression) on each layer tells what can be read off it. Two ways to hold out data, neither
# of them the test split: five folds over the videos of training and validation together, and the
# data set's own validation split. Every representation may choose among the same three penalties.

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

# %%
figure = plots.curves(
    range(states.shape[1]),
    {way: list(by.values())[:-1] for way, by in errors.items()},
    xlabel="layer",
    ylabel="MAE of the probe",
)
for by, dashes in zip(errors.values(), ("-", "--"), strict=True):
    figure.axes[0].axhline(by["all layers"][0], color="black", lw=1, ls=dashes)
figure.axes[0].set_title("horizontal: all layers end to end (solid: cross-validated)")
_ = plots.save(figure, "01_layers", run)

# %% [markdown]
# The states of all layers end to end are read better than the last layer, so that is our default
# (`layers="all"`); the paper names no layer. The choice was made by cross-validation on purpose.
# The standard validation split of CMU-MOSI has ten videos, and those ten prefer the last layer,
# against all the other videos: with `dataset=mosi` the table above shows both. Ten videos cannot
# settle a choice; this is also why `mmlib.daf.tune` cross-validates.
#
# How sure is each of the two? The same utterances are predicted both ways, so the difference has
# an interval of its own, over videos.

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
if dataset == "mosi" and encoder == "minilm" and not leak:
    assert wins["own validation split"].diff > 0 > wins["cross-validated"].diff
agree = all(win.diff < 0 for win in wins.values())

# %%
print(f"{worded.name}: the two ways of holding out {'agree' if agree else 'DISAGREE'}")

# %% [markdown]
# ## 6 · Pooling frames, and what padding costs
#
# Audio and vision come as $T$ frames, another $T$ for each utterance. We keep the mean and the
# standard deviation over the frames that are really there; a frame of zeros is none, since trackers
# write zeros where they have lost the face:
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
# Peers often pad every utterance to one length with zeros and then average over that length. Their
# mean is $\frac{T}{T_{\max}}\mu$: it measures how long someone spoke. Two checks. The same voice
# said twice over is the same voice; and the pitch of an utterance should not follow its length.


# %%
def padded_mean(sequences: Sequences) -> np.ndarray:
    """Mean over the padded length, as if every utterance were as long as the longest, (n, d)."""
    mean = features.pool(sequences)[:, : len(sequences.columns)]
    return mean * (sequences.lengths / sequences.lengths.max())[:, None]


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
    assert (rank > 0.7) == (name == "padded")

# %% [markdown]
# What does that cost? The probe again, on means alone, averaged both ways. The embedded utterances
# differ in length by a factor of three; so that the effect of uneven lengths can be seen, each is
# also cut to a random share of its frames, down to 5 %. The valid mean of fewer frames loses
# little; the padded mean loses with every step.


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
_ = plots.save(figure, "01_padding", run)

# %%
for m in embedded.sequences:
    assert cost[m, 0.05][0] > cost[m, 1.0][0] > 0, "padding costs, and more if lengths differ more"
    assert cost[m, 0.05][1] > 0, "the interval excludes zero"

# %% [markdown]
# ## 7 · One scale, from the training split only
#
# Every feature is shifted and scaled by its mean and standard deviation over the *training*
# utterances that have the modality, then clipped to ±5 (COVAREP's tails reach hundreds). A missing
# modality is zero and `present` says so. Check: whatever stands in the other splits, the scale is
# the same.

# %%
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
# ## 8 · What each modality knows by itself
#
# The same probe on the finished features (the text was read above): a floor for everything that
# fusion claims later, and the constant beside it.

# %%
folds = folds_of(corpus)
known = {"text": read["cross-validated"]["all layers"]} if worded is corpus else {}
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
# ## 9 · Audio: 74 numbers every 10 ms, from the wave itself
#
# DAF's audio encoder is COVAREP: pitch, the shape of the glottal pulse, the spectral envelope and
# the phase of the voice. `mmlib.covarep` computes its 74 columns from a recording. Whether an
# estimate is right can be seen where the truth is known: on a voice that we make ourselves, from
# the LF model of the glottal pulse with a chosen pitch and shape (Rd: 0.3 pressed ... 2.5
# relaxed) and five formants.

# %%
rate = 16000  # Hz
time = np.arange(3 * rate) / rate  # (n,) s
pitch = 130 + 30 * np.sin(np.pi * time)
shape = np.interp(time, [0, 3], [0.5, 2.3])  # pressed to relaxed
voice = synthesise(pitch, shape, noise=0.01)

# %%
table = extract(voice.wave, rate)  # (t, d)
print(table.shape, {group: len(names) for group, names in GROUPS.items()})

# %% [markdown]
# **Pitch** (SRH) sums the harmonics of the linear-prediction residual, which has no formants left
# to be mistaken for harmonics. The estimate is a whole number of Hz per 100 ms frame, and
# amplitudes are read 1 Hz low, so 0.5 Hz is what can be hoped for. At the ends there is no frame:
# 0.

# %%
inner = table.iloc[15:-15]  # the phase features need 0.14 s on either side
f0 = np.interp(inner.index, time, pitch)
figure, (above, below) = plt.subplots(2, sharex=True, figsize=(7, 4))
above.plot(time, pitch, "k--", label="truth")
above.plot(table.index, table["F0"], label="SRH")
_ = above.set(ylabel="F0 (Hz)"), above.legend()
assert np.abs(inner["F0"] - f0).max() < 2 and (inner["VUV"] == 1).all()

# %% [markdown]
# **Rd** asks for which LF pulse the harmonics' phases are nearest to minimum phase (MSP). The
# papers divide the measured spectrum by the pulse's; the original program lacks one conjugation
# and so *adds* the pulse's phase. The data sets hold the original's numbers, so these are the
# default. On a voice of known shape one sees what that costs: the published form is right, the
# original's only rises.

# %%
stages = Stages(voice.wave, rate, set(), seed=0)
centre, f0_there = stages.centres
frames = sinusoids.harmonic_analysis(stages.wave, centre, f0_there, rate)
published = estimate_rd(frames, published=True)[:, 0]
below.plot(time, shape, "k--")
below.plot(table.index, table["Rd"], ".", ms=3, label="as in the data sets")
below.plot(centre / rate, published, ".", ms=3, label="as published")
_ = below.set(xlabel="seconds", ylabel="Rd"), below.legend()

# %%
rd = np.interp(inner.index, time, shape)
departure = (inner["Rd"] - rd).abs().median(), np.median(np.abs(published - shape[centre]))
assert np.corrcoef(inner["Rd"], rd)[0, 1] > 0.9 and departure[1] < 0.05 < departure[0] < 0.4
print(f"median departure {departure[0]:.2f} as in the data sets, {departure[1]:.2f} as published")
_ = plots.save(figure, "covarep-pitch-rd", run)

# %% [markdown]
# **Glottal closures** (SEDREAMS) are the instants at which the flow stops falling. They come
# about a sample after the truth; the mask of voiced speech drops those of the first and the last
# 50 ms, where no pitch frame is.

# %%
closures = stages.gci  # (f,) samples
apart = closures[:, None] - voice.closures  # (found, true)
late = apart[np.arange(len(closures)), np.abs(apart).argmin(axis=1)]
assert len(closures) > 0.95 * len(voice.closures) and np.abs(late).max() < 4

# %%
print(
    f"{len(closures)} of {len(voice.closures)}, {late.mean():.1f} +- {late.std():.1f} samples late"
)

# %% [markdown]
# **Inverse filtering** (IAIF) takes the vocal tract out again. What is left should be the source.

# %%
flow, slope = iaif.glottal_flow(stages.wave, closures, rate)
part = slice(12000, 12600)
figure, axes = plt.subplots(2, sharex=True, figsize=(7, 3))
axes[0].plot(time[part], voice.wave[part])
_ = axes[0].set_ylabel("amplitude")
axes[1].plot(time[part], slope[part] / -slope[part].min(), label="IAIF")
period = (pitch[part].cumsum() / rate + (pitch[: part.start].sum() / rate)) % 1
axes[1].plot(time[part], lf.waveform(shape[part.start], period), "k--", label="LF")
for instants, sign, name in ((closures, "r^", "SEDREAMS"), (voice.closures, "k|", "closure")):
    shown = instants[(instants >= part.start) & (instants < part.stop)] / rate
    axes[1].plot(shown, np.full(len(shown), -1.2), sign, ms=6, label=name)
axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
_ = axes[1].set(xlabel="seconds", ylabel="flow slope", ylim=(-1.45, 0.6))
_ = plots.save(figure, "covarep-inverse-filtering", run)

# %% [markdown]
# **NAQ, QOQ and H1-H2** describe that pulse in three ways: its height over its steepest fall, the
# part of the period it is high, and the first harmonic over the second. All three have true
# values in the LF model: integrals of the pulse and its Fourier coefficients.


# %%
def of_the_pulse(rd: float) -> tuple[float, float, float]:
    """NAQ, QOQ and H1-H2 of the LF model itself."""
    slope = lf.waveform(rd, (np.arange(4000) + 0.5) / 4000)
    flow = np.cumsum(slope) / 4000
    first, second = np.abs(lf.spectrum(lf.pulse(rd), np.array([1, 2])))
    return flow.max() / -slope.min(), (flow > flow.max() / 2).mean(), 20 * np.log10(first / second)


# %%
grid = np.linspace(0.5, 2.3, 19)
truth = pd.DataFrame([of_the_pulse(r) for r in grid], grid, ["NAQ", "QOQ", "H1H2"])

# %% [markdown]
# QOQ and H1-H2 lie near the truth. NAQ does for pressed voices and drops in the middle: a single
# sample, the steepest one, decides its denominator, and whatever the inverse filter leaves of the
# formants or the noise counts as steepness.

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3))
for axis, name in zip(axes, truth, strict=True):
    axis.plot(rd, inner[name], ".", ms=3, label="measured")
    axis.plot(truth[name], "k--", label="LF model")
    axis.set(xlabel="true Rd", ylabel=f"{name} (dB)" if name == "H1H2" else name)
axes[0].legend()
expected = {name: np.interp(rd, grid, truth[name]) for name in truth}
assert np.abs(inner["QOQ"] - expected["QOQ"]).median() < 0.03
assert np.abs(inner["H1H2"] - expected["H1H2"]).median() < 1.5  # dB
_ = plots.save(figure, "covarep-pulse", run)

# %% [markdown]
# **PSP, MDQ and peakSlope** have no true value but a direction: the more relaxed the voice, the
# steeper its spectrum falls (PSP up, peakSlope down) and the less its wavelet maxima meet at the
# closure (MDQ up).

# %%
directions = inner[["PSP", "MDQ", "peakSlope"]].corrwith(
    pd.Series(rd, inner.index), method="spearman"
)
print(directions.round(2).to_dict())
figure, axes = plt.subplots(1, 3, figsize=(10, 3))
for axis, name in zip(axes, directions.index, strict=True):
    axis.plot(rd, inner[name], ".", ms=3)
    axis.set(xlabel="true Rd", ylabel=name)
axes[2].set_ylabel("peakSlope (log10/octave)")
_ = plots.save(figure, "covarep-directions", run)

# %%
assert directions["PSP"] > 0.8 and directions["MDQ"] > 0.6 and directions["peakSlope"] < -0.6

# %% [markdown]
# **MCEP** is the cepstrum, on a mel axis, of the true envelope: the smooth curve that rests on
# the harmonics' tips. Here it is over the curve that the voice was made with: pulse times
# formants.

# %%
frame = sinusoids.harmonic_analysis(stages.wave, np.array([24000]), np.array([130.0]), rate)
curve = envelope.true_envelope(frame.log_spectrum, np.array([rate // 2 // 130]))[0]
hertz = np.arange(2049) * rate / 4096
harmonic = np.arange(1, 60)
impulse = np.abs(np.fft.rfft(resonate(np.eye(1, 4096)[0], voice.formants, rate)))

# %%
pulse = np.abs(lf.spectrum(lf.pulse(shape[24000]), harmonic))
made = np.log(pulse * np.interp(harmonic * 130, hertz, impulse))
at = np.rint(harmonic[:25] * 130 / rate * 4096).astype(int)  # above, noise fills the gaps
made += np.median(curve[at] - made[:25])

# %%
figure, axis = plt.subplots(figsize=(7, 3))
axis.plot(hertz, frame.log_spectrum[0], lw=0.5, label="spectrum")
axis.plot(hertz, curve, label="true envelope")
axis.plot(harmonic * 130, made, "k--", label="pulse x formants")
_ = axis.set(xlabel="Hz", ylabel="ln amplitude", xlim=(0, 5500), ylim=(-14, -1)), axis.legend()
assert np.abs(curve[at] - made[:25]).mean() < 0.7
_ = plots.save(figure, "covarep-envelope", run)

# %% [markdown]
# **HMPDM and HMPDD** are the mean and the deviation of the harmonics' phase differences. Breath
# noise loosens the phases, so HMPDD_0 rises with it, until it drowns the rest. Beyond the last
# harmonic the original draws phases at random; ours come from a seed and touch HMPDM_24 and,
# slightly, HMPDD.

# %%
noises = [0.01, 0.03, 0.1, 0.3]
breathy = [synthesise(np.full(2 * rate, 130.0), 1.0, noise=noise) for noise in noises]
names = ["HMPDD_0", "MDQ", "Rd_conf"]

# %%
medians = pd.DataFrame(
    [extract(v.wave, rate, names).iloc[15:-15].median() for v in breathy],
    index=pd.Index(noises, name="noise"),
)
print(medians.round(2))

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 2.6))
for axis, name in zip(axes, names, strict=True):
    axis.plot(medians[name], "o-")
    axis.set(xscale="log", xlabel="breath noise", ylabel=name)
axes[0].set_ylabel("HMPDD_0 (ln rad)")
_ = plots.save(figure, "covarep-noise", run)

# %%
assert medians["HMPDD_0"].is_monotonic_increasing

# %% [markdown]
# ### Are these the original's numbers?
#
# Against the original's own output on 17 recordings (arctic and EmoDB, 16 to 32 kHz): median
# difference and 95 % point in standard deviations, and correlation; beside them what the original
# does to itself when it is run again and when the recording is delayed by one sample. HMPDM_24
# and HMPDD differ because the original's random phases are not seeded. VUV is equal in every row,
# and creak is 0 in both (it needs a commercial MATLAB toolbox). The table is what
# `python -m mmlib.covarep --agreement FOLDER` prints for a folder of `.wav` files with the
# original's `.csv` beside each.
#
# | feature | ours: median | p95 | r | again: median | r | one sample later: median | p95 | r |
# |---|---|---|---|---|---|---|---|---|
# | F0 | 0 | 4e-9 | 1.00000 | 0 | 1.00000 | 0 | 0 | 1.00000 |
# | NAQ | 9e-10 | 1e-8 | 1.00000 | 0 | 1.00000 | 2e-3 | 2e-2 | 0.99899 |
# | QOQ | 1e-9 | 2e-9 | 1.00000 | 0 | 1.00000 | 2e-3 | 2e-2 | 0.99837 |
# | H1H2 | 4e-10 | 6e-9 | 1.00000 | 0 | 1.00000 | 1e-3 | 2e-2 | 0.98894 |
# | PSP | 1e-9 | 2e-9 | 1.00000 | 0 | 1.00000 | 2e-3 | 3e-2 | 0.99614 |
# | MDQ | 1e-9 | 1e-8 | 1.00000 | 0 | 1.00000 | 3e-3 | 3e-2 | 0.99583 |
# | peakSlope | 1e-9 | 3e-9 | 1.00000 | 0 | 1.00000 | 0 | 6e-3 | 0.99998 |
# | Rd | 4e-8 | 1e-6 | 1.00000 | 0 | 1.00000 | 2e-3 | 4e-1 | 0.96530 |
# | Rd_conf | 4e-9 | 8e-8 | 1.00000 | 0 | 1.00000 | 7e-3 | 1e-1 | 0.99678 |
# | MCEP_0 | 4e-7 | 1e-6 | 1.00000 | 0 | 1.00000 | 1e-3 | 1e-2 | 0.99999 |
# | MCEP_1..5 | 2e-6 | 5e-6 | 1.00000 | 0 | 1.00000 | 3e-3 | 1e-2 | 0.99998 |
# | MCEP_6..12 | 2e-6 | 7e-6 | 1.00000 | 0 | 1.00000 | 5e-3 | 2e-2 | 0.99995 |
# | MCEP_13..24 | 2e-6 | 5e-6 | 1.00000 | 0 | 1.00000 | 6e-3 | 3e-2 | 0.99993 |
# | HMPDM_5..8 | 5e-10 | 6e-7 | 1.00000 | 0 | 1.00000 | 5e-8 | 6e-3 | 0.99994 |
# | HMPDM_9..13 | 9e-8 | 5e-7 | 1.00000 | 0 | 1.00000 | 7e-3 | 8e-2 | 0.99620 |
# | HMPDM_14..23 | 1e-7 | 6e-7 | 1.00000 | 0 | 1.00000 | 2e-2 | 2e-1 | 0.99080 |
# | HMPDM_24 | 8e-3 | 6e-2 | 0.99937 | 1e-2 | 0.99825 | 2e-2 | 2e-1 | 0.99619 |
# | HMPDD_0 | 9e-4 | 3e-3 | 1.00000 | 2e-3 | 1.00000 | 2e-2 | 8e-2 | 0.99908 |
# | HMPDD_1..4 | 4e-3 | 2e-2 | 0.99997 | 6e-3 | 0.99994 | 3e-2 | 2e-1 | 0.99488 |
# | HMPDD_5..12 | 5e-3 | 2e-2 | 0.99995 | 7e-3 | 0.99992 | 5e-2 | 2e-1 | 0.99427 |
#
# Cost: 0.04 s of one core for a second of speech at 16 kHz, on a core that does 50 GFLOP/s and a
# real FFT of 4096 in 13 us (0.07 s on one of 38 and 30); the original takes 1.9 s at best. Memory
# beyond wave and table stays under 300 MB. `python tests/benchmarks/covarep.py` measures it, the
# share of each stage and the core's own speed beside it.

# %%
again = extract(voice.wave, rate)
assert again.to_numpy().tobytes() == table.to_numpy().tobytes(), "the same bits on a second run"
assert tuple(table) == FEATURES and np.isfinite(table.to_numpy()).all()

# %% [markdown]
# **Waves for the embedded corpus.** Its audio columns are drawn from each utterance's evidence;
# no wave is behind them. `spoken` gives a few utterances one: pitch, voicing, glottal shape and
# loudness of the synthesiser follow the utterance's own frames (our reading: 0.1 s of speech a
# frame), and all 74 columns are then measured from the wave, on the path that a recording takes.
# Here six utterances with a clear voice, from the lowest to the highest evidence. What is measured
# in the voiced rows has to be what the corpus said, and the evidence has to be heard in it.

# %%
heard, evidence = q[:, 1], embedded.truth["evidence"][:, 1]  # (n,) of the voice
clear = np.flatnonzero(heard > 0.9)
clear = clear[np.argsort(evidence[clear])]
rows = clear[np.linspace(0, len(clear) - 1, 6).round().astype(int)]
said, measured = embedded.take(rows), spoken(embedded, rows)

# %%
print(measured.variant, measured.sequences["audio"].lengths.tolist(), "rows of 10 ms")


# %%
def voiced_means(corpus) -> pd.DataFrame:
    """Pitch and shape in the voiced frames, loudness in all; one row an utterance."""
    audio = corpus.sequences["audio"]
    frames = [pd.DataFrame(audio[i], columns=audio.columns) for i in range(len(corpus))]
    means = [f.loc[f["VUV"] >= 0.5, ["F0", "Rd"]].mean() for f in frames]
    return pd.DataFrame(means).assign(MCEP_0=[f["MCEP_0"].mean() for f in frames])


# %%
true, found = voiced_means(said), voiced_means(measured)
pairs = (
    true.add_suffix(", corpus").join(found.add_suffix(", wave")).set_axis(evidence[rows].round(1))
)
assert (found["F0"] - true["F0"]).abs().max() < 15 and (found["Rd"] - true["Rd"]).abs().max() < 0.4

# %%
assert found["MCEP_0"].corr(true["MCEP_0"]) > 0.9  # up to the formants' own gain
for name, sign in (("F0", 1), ("Rd", -1), ("MCEP_0", 1)):
    assert sign * spearmanr(found[name], evidence[rows])[0] > 0.5, f"{name} follows the evidence"
pairs.round(2)

# %% [markdown]
# Pooled over the rows that are there (section 6), they are what CMU's files hold:
# `utterance_means` of the same wave.

# %%
wave = speak(embedded.sequences["audio"], rows[0]).wave
pooled = features.pool(measured.sequences["audio"])[0, : len(FEATURES)]
assert np.allclose(utterance_means(extract(wave, rate), 0, len(wave) / rate), pooled, atol=1e-3)

# %% [markdown]
# ## 10 · A whole recording: sound, words and face on one time axis
#
# What the corpora above hold is made of recordings, and `mmlib.recordings` does the same with any
# clip: the sound is decoded to 16 kHz, the transcript cut into utterances, each utterance's sound
# goes through COVAREP, and frames are averaged over intervals of time. Without a clip of yours
# (parameters) the project makes one: sentences of the embedded corpus, spoken by the synthetic
# voice, with word times and a face export.

# %%
import tempfile

from mmlib import recordings
from mmlib.data.columns import FACET
from mmlib.recordings import collapse, decode, demo

made = demo.record(tempfile.mkdtemp(), seed=seed) if not clip else None
files = tuple(map(str, made[:3])) if made else (clip, transcript, faces)
wave, recording = decode.load(files[0]), decode.probe(files[0])
said = recordings.read_transcript(files[1], recording.seconds)
for one in said.utterances[:3]:
    print(f"{one.start:5.2f} to {one.end:5.2f} s, {len(one.pieces)} words: {one.text[:60]}")

# %% [markdown]
# Frames of each utterance, every 10 ms; their pitch over the pitch that the voice was made with.

# %%
turns = np.array([(one.start, one.end) for one in said.utterances])  # (n, 2) s
frames = [recordings.audio.frames(part) for part in decode.cut(decode.blocks(files[0]), turns)]
print(*(found.missing or found.values.shape for found in frames))
values = np.concatenate([found.values for found in frames])  # (f, d)
intervals = np.concatenate([f.intervals + t[0] for f, t in zip(frames, turns, strict=True)])  # s

# %%
centre = intervals.mean(axis=1)  # (f,) s
if made:
    truth = made.f0[(centre * decode.RATE).astype(int)]
    voiced = (values[:, 1] == 1) & (truth > 0)
    assert np.median(np.abs(values[voiced, 0] - truth[voiced])) < 3  # Hz

# %% [markdown]
# **Intervals to intervals.** A word's features are the plain mean of all frames that reach into it,
# whole frames, however far: the way CMU's SDK collapses one sequence onto another. By hand, and for
# the first word of the recording:

# %%
toy = collapse(
    np.array([[1.0], [2], [4]]), np.array([(0, 1), (1, 2), (2, 3)]), np.array([(0.5, 2)])
)
assert toy == 1.5, "the third frame only touches the interval"
word = said.utterances[0].pieces[0]

# %%
inside = (intervals[:, 0] < word.end) & (intervals[:, 1] > word.start)  # (f,)
of_word = collapse(values, intervals, np.array([(word.start, word.end)]))[0]
assert np.allclose(of_word, values[inside].mean(axis=0))
print(f"{word.text!r}: {inside.sum()} frames, F0 {of_word[0]:.0f} Hz")

# %% [markdown]
# **The face** comes as the export of a program that saw the video: iMotions FACET,
# OpenFace 2 or py-feat, each read by its own column names into the same 35 channels
# (`mmlib.recordings.faces` has the mapping). Frames without a face are left out and counted.

# %%
seen = (
    recordings.read_faces(files[2], recording.seconds, recording.frame_rate) if files[2] else None
)

# %%
if seen:
    print(seen.program, seen.values.shape, seen.counts)
    assert seen.counts["lost"] + len(seen.time) == seen.counts["frames"]

# %%
tracks = {"COVAREP": (centre, values[:, 0] * values[:, 1])}
if made:
    time = np.arange(0, len(made.f0), 160) / decode.RATE
    tracks["truth"] = (time, made.f0[::160])
grid = np.arange(0, recording.seconds, 0.04)  # (t,) s

# %%
spans = np.stack([grid, grid + 0.04], axis=1)
shown = [i for i, name in enumerate(FEATURES) if name != "creak"]

# %%
figure = timelines.recording(
    wave,
    decode.RATE,
    tracks,
    (grid, collapse(values[:, shown], intervals, spans), [FEATURES[i] for i in shown]),
    (grid, collapse(seen.values, seen.intervals, spans), FACET) if seen else None,
    [piece[:3] for one in said.utterances for piece in one.pieces],
)
_ = plots.save(figure, "01_recording", run)

# %% [markdown]
# All of it at once, as `python -m mmlib.recordings` does for one clip or for a folder
# of them: one mean an utterance, and what had to be masked, counted. Notebook 09 puts a trained
# model on top.

# %%
whole = recordings.build(*files[:2], files[2] or None)
print({m: sequences.values.shape for m, sequences in whole.sequences.items()}, dict(whole.counts))
first = collapse(values, intervals, np.array([(whole.start[0], whole.end[0])]))[0]
if whole.sequences["audio"].lengths[0]:
    assert np.allclose(whole.sequences["audio"][0][0], first, rtol=1e-3, atol=1e-3)

# %% [markdown]
# ## Takeaways
#
# What differs from the paper: its encoders are BERT and COVAREP / FACET; ours is a small sentence
# encoder by default (`encoder="bert-base-uncased"` is the paper's, where a network is at hand), and
# it does not say which layer or which pooling it took. Next: [`02_daf`](02_daf.ipynb) puts
# attention on top.

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
    f"2. Averaging padding costs {cost['audio', 1.0][0]:.3f} MAE (audio, embedded corpus), and "
    f"{cost['audio', 0.05][0]:.3f} where lengths differ more."
)

# %%
print(
    f"3. Embedded corpus: {fixed - oracle:.2f} MAE between fixed weights and the oracle; "
    f"{fixed_control - oracle_control:.2f} on the control."
)

# %%
print(
    f"4. {corpus.name}: {best} alone reaches {mae(known[best])[0]:.3f}, a constant "
    f"{mae(known['constant'])[0]:.3f}."
)
