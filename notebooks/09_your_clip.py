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
# # 09 · Your clip: a verdict, and what it rests on
#
# ![A clip as a time line: scores, intervals, weights](../figures/example/09_verdict.png)
#
# A recording is cut into utterances by its transcript, and each utterance gets features
# (`mmlib.recordings`; [`01c_covarep`](01c_covarep.ipynb) shows those of the voice step by step). A
# face export, which is a program's table of facial measurements, may be added. A DAF trained on
# CMU-MOSI then predicts the sentiment of each utterance, with an interval. DAF also gives the
# weights of text, audio and vision, and the score without each. The notebook takes about twenty
# seconds on a CPU with a recording that it makes; name your own in the parameters.
#
# Read first: [`02_daf`](02_daf.ipynb) (the model),
# [`04_daf_interpretability`](04_daf_interpretability.ipynb) (what its weights mean, and what not).
# Nothing is trained here, and nothing leaves this computer.
#
# Paper: [arXiv 2509.22729](https://arxiv.org/abs/2509.22729)
# · before: [08_results](08_results.ipynb), [08b_tables](08b_tables.ipynb)
# · after: [10_both_papers](10_both_papers.ipynb)
#
# **Contents**
#
# - [1 · The recording](#1--the-recording)
# - [2 · Features](#2--features)
# - [3 · The model](#3--the-model)
# - [4 · The verdict](#4--the-verdict)
# - [5 · What each modality changes](#5--what-each-modality-changes)
# - [6 · Step through the utterances](#6--step-through-the-utterances)
# - [Takeaways](#takeaways)
# - [Exercises](#exercises)

# %% tags=["parameters"]
clip: str = ""  # your recording (wav, flac, mp3, mp4 ...); "": one is made here
transcript: str = ""  # its txt, srt, vtt, or json of Whisper or Gentle; "": named like the clip
faces: str = ""  # its face export (iMotions FACET, OpenFace 2, py-feat); "": none
model: str = ""  # a .safetensors of mmlib.daf.pretrain; "": the one kept for what the clip has
corpus: str = ""  # folder for the features; "": a temporary one
run: str = "interactive"  # folder under figures that receives the pictures

# %%
import tempfile
from pathlib import Path
from textwrap import shorten

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mmlib.daf import apply, saved
from mmlib.data import load
from mmlib.figures import plots, timelines
from mmlib.figures.stepper import browse
from mmlib.recordings import build_corpus, decode, demo

plots.style()
pd.set_option("display.precision", 2, "display.width", 110, "display.max_colwidth", 40)

# %% [markdown]
# <a id="1--the-recording"></a>
#
# ## 1 · The recording
#
# If you name no clip, the notebook makes one. A synthetic voice speaks six generated sentences (of
# the embedded corpus) and a short seventh; its pitch and tension follow what the voice is to
# express. A face export is made too, of what the face is to express. As in the embedded corpus
# ([01](01_features.ipynb)) voice, face and words may contradict each other. Nobody real speaks, so
# the results show the method and are no finding.
# The seventh utterance is shorter than .82 s, too short for COVAREP, which measures the voice.

# %%
made = not clip
work = Path(tempfile.mkdtemp())
if made:
    files = demo.record(work)
media, said, face = files[:3] if made else (Path(clip), transcript or None, faces or None)

# %%
wave = decode.load(media)
print(f"{media.name}: {len(wave) / decode.RATE:.1f} s")

# %% [markdown]
# <a id="2--features"></a>
#
# ## 2 · Features
#
# These cells do what `python -m mmlib.recordings CLIP --transcript ... --faces ... --out FOLDER`
# does. The transcript is cut into utterances. For each utterance COVAREP measures the sound, and
# the frames of voice and face are averaged. The output counts what was masked or left out.

# %%
folder = Path(corpus) if corpus else work / "corpus"
skipped = build_corpus([media], folder, said, face)
assert skipped.empty, skipped["reason"][0]
data = load(str(folder))
rows = pd.read_csv(folder / "utterances.csv", dtype={"clip": str}, keep_default_na=False)
rows = rows.set_index("id").loc[list(data.ids)]

# %%
data = data.take(np.flatnonzero(rows["clip"] == media.stem))
rows = rows[rows["clip"] == media.stem]
print(f"{len(data)} utterances: {', '.join(data.modalities)}")
print(*data.notes, sep="\n")

# %% [markdown]
# <a id="3--the-model"></a>
#
# ## 3 · The model
#
# The model was trained on MOSI's texts and audio, reduced to what a new recording also has. Texts
# are in lower case without punctuation. Audio is the mean over an utterance of COVAREP's columns,
# without those in which the original program and ours differ. MOSI's visual features leak its
# labels, so **the model learned faces from the embedded corpus**, as the output says. A weight of
# vision therefore shows how the model would use a face, and not how informative faces are. The
# model card is in `mmlib/daf/weights`.

# %%
judge = saved.load(model) if model else apply.model_for(data)
facts = judge.about["data"]
print(f"trained on {facts['name']}: {facts['variant']}; {len(judge.about['members'])} seeds")
print(f"borrowed from the embedded corpus: {', '.join(apply.borrowed(judge)) or 'nothing'}")
half = {heard: width for heard, width in facts["halfwidth"].items() if heard}

# %%
print(f"the score ± this number holds {facts['coverage']:.0%} of the validation labels:")
print(", ".join(f"{heard} {width:.2f}" for heard, width in half.items()))

# %% [markdown]
# <a id="4--the-verdict"></a>
#
# ## 4 · The verdict
#
# $\hat y = \sum_m \alpha_m o_m$: the score is a weighted mean. The opinion $o_m$ is the score if
# modality $m$ alone decided, and $\alpha_m$ is its weight. Both are means over the model's seeds,
# the opinion weighted by $\alpha_m$, so that the equation holds for the means, too. A missing
# modality has weight 0 and no opinion.

# %%
found = apply.verdict(judge, data)
names = judge.model.modalities
alpha = found[[f"weight_{m}" for m in names]].to_numpy()  # (n, m)
opinion = found[[f"opinion_{m}" for m in names]].to_numpy()  # (n, m)

# %%
shown = found[["heard", "score", "low", "high"]].assign(**dict(zip(names, alpha.T, strict=True)))
shown.columns = [f"weight of {name}" if name in names else name for name in shown]
shown.set_index(rows["text"].str[:40]).round(1)

# %% [markdown]
# Half of an interval is the number that section 3 prints for the text and audio of the utterance.
# It was measured without vision. So nobody has checked that an interval holds as often for a score
# with vision, or for another kind of recording. It has one width for all scores, so it may reach
# beyond the ends of the scale, -3 and 3.
#
# **Checks.** The weights of an utterance add up to one. Weights times opinions give the score. A
# missing modality has weight 0.

# %%
assert np.allclose(alpha.sum(axis=1), 1, atol=1e-5)
assert np.allclose(np.nansum(alpha * opinion, axis=1), found["score"], atol=1e-4)
assert (alpha[np.isnan(opinion)] == 0).all()
counts = found["heard"].value_counts()
print({heard: int(n) for heard, n in sorted(counts.items())})

# %%
if made and not model:
    assert found["heard"].iloc[-1] == "text+vision", "too short for COVAREP: masked, not guessed"

# %%
seen = [m for m in names if found[f"weight_{m}"].any()]
marked = [m for m in seen if m in apply.borrowed(judge)]
note = "Voice and face are synthetic. " * made
note += "Vision is known from the embedded corpus only." * bool(marked)

# %%
figure = timelines.sentiment(
    *(rows[edge].to_numpy() for edge in ("start", "end")),
    *(found[name].to_numpy() for name in ("score", "low", "high")),
    {m: found[f"weight_{m}"].to_numpy() for m in seen},
    {m: found[f"without_{m}"].to_numpy() for m in seen},
    note=note,
    interval=f"{facts['coverage']:.0%} interval",
)
_ = plots.save(figure, "09_verdict", run)
sided = ((found["low"] > 0) | (found["high"] < 0)).sum()
print(f"{sided} of {len(found)} intervals lie on one side of zero.")

# %% [markdown]
# <a id="5--what-each-modality-changes"></a>
#
# ## 5 · What each modality changes
#
# The table has the mean weight of each modality, and by how much the score changes without that
# modality: on average (`mean`) and at most (`max`). Without a modality of large weight the score
# changes little if the others agree with it.

# %%
moved = {m: (found["score"] - found[f"without_{m}"]).abs() for m in seen}
summary = pd.DataFrame({m: change.agg(["mean", "max"]) for m, change in moved.items()}).T
summary.insert(0, "weight", [found[f"weight_{m}"].mean() for m in seen])
summary.round(1)

# %%
if len(seen) > 1:
    print(f"The score changes most without {summary['mean'].idxmax()}: {summary['mean'].max():.1f}")

# %% [markdown]
# <a id="6--step-through-the-utterances"></a>
#
# ## 6 · Step through the utterances
#
# A live notebook has a slider and plays the sound of each utterance. This page shows the utterance
# whose opinions are furthest apart.


# %%
def samples(i: int) -> np.ndarray:
    """The sound of utterance i, (n,)."""
    start, end = (int(rows[edge].iloc[i] * decode.RATE) for edge in ("start", "end"))
    return wave[start:end]


# %%
def draw(i: int):
    """Wave and opinions of utterance i; the larger a point, the more it weighs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.8), width_ratios=[1.6, 1])
    figure.suptitle(shorten(rows["text"].iloc[i], 100, placeholder=" ..."), fontsize="medium")
    left.plot(np.arange(len(samples(i))) / decode.RATE, samples(i), lw=0.3)
    left.set(xlabel="seconds", ylabel="amplitude")
    for k, m in enumerate(names):
        look, size = plots.look(m), 30 + 300 * alpha[i, k]
        right.scatter(opinion[i, k], k, size, color=look.colour, marker=look.marker)
    one = found.iloc[i]
    right.errorbar(
        one["score"], len(names), xerr=one["high"] - one["score"], fmt="D", color="black"
    )
    right.set(xlim=(-5, 5), ylim=(len(names) + 0.5, -0.5), xlabel="sentiment; size: weight")
    right.set_yticks(range(len(names) + 1), [*names, "together"])
    return figure


# %%
apart = np.nanmax(opinion, axis=1) - np.nanmin(opinion, axis=1)  # (n,)
titles = [f"{row.start:.1f} s: {row.text[:30]}" for row in rows.itertuples()]
browse(titles, draw, samples, decode.RATE, still=[int(apart.argmax())])

# %%
most = rows.iloc[int(apart.argmax())]
print(f"Furthest apart at {most['start']:.1f} s: opinions differ by {apart.max():.1f}.")

# %% [markdown]
# <a id="takeaways"></a>
#
# ## Takeaways

# %%
top = found.loc[found["score"].idxmax()]
clear = ((found["low"] > 0) | (found["high"] < 0)).sum()
print(f"{len(found)} utterances, mean sentiment {found['score'].mean():+.2f}.")
print(f"For {clear} of them the interval lies on one side of zero.")

# %%
print(
    f"Largest mean weight: {seen[int(alpha[:, [names.index(m) for m in seen]].mean(0).argmax())]}."
)
print(f"Without audio features: {(~found['heard'].str.contains('audio')).sum()}.")

# %% [markdown]
# The intervals are wide because the model's errors are large: with text and audio, 80 % of those on
# MOSI's validation utterances are at most 1.35 (the stored output of section 3). On MOSI the voice
# adds nothing that we can measure: with the voices of other utterances DAF's MAE changes by .000
# [-.013, +.013] (run `mosi`, in [`03_daf_ablations`](03_daf_ablations.ipynb)). That was another
# DAF, of 20 seeds; the model used here was not put to this test. So do not read the weight of audio
# as a finding about your speaker.
#
# The abstract and summaries that we worked from apply the model to no recording.
#
# The command of section 2 also makes a data set from a folder of recordings
# ([how](book/recordings.md)). With labels filled into its `utterances.csv`, `mmlib.data.load` reads
# it like MOSI.

# %% [markdown]
# <a id="exercises"></a>
#
# ## Exercises
#
# Each takes a few lines below the last cell. The solutions run as they are.
#
# **1.** By how much would the score change, at most, if every modality that is heard had the same
# weight?
#
# <details><summary>Solution</summary>
#
# ```python
# even = np.nanmean(opinion, axis=1)  # (n,)
# print(f"largest change: {np.abs(even - found['score'].to_numpy()).max():.2f}")
# ```
#
# </details>
#
# **2.** How many intervals would lie on one side of zero if they were half as wide?
#
# <details><summary>Solution</summary>
#
# ```python
# half_width = (found["high"] - found["low"]) / 4
# print((found["score"].abs() > half_width).sum(), "of", len(found))
# ```
#
# </details>
#
# **3.** Which modality has the most extreme opinion in each utterance? Is its weight the largest?
#
# <details><summary>Solution</summary>
#
# ```python
# extreme = np.nanargmax(np.abs(opinion), axis=1)  # (n,)
# for k, heaviest in zip(extreme, alpha.argmax(axis=1), strict=True):
#     print(f"extreme: {names[k]}, heaviest: {names[heaviest]}")
# ```
#
# </details>
